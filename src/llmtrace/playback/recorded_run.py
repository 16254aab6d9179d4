"""A recorded run as a tree of steps, in which the spans of a new run find their places.

A place is the step above, the kind of step, its name, and how many such steps came before it: never the content. So a request
that changed is found, and said to have changed. Spans of other instrumentations, and the span of a whole program under
``llmtrace run``, are no steps: what is below them belongs to the step above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from llmtrace import semconv
from llmtrace.errors import StateUnavailable
from llmtrace.guards.checkpoint import lost_state
from llmtrace.model import (
    AgentInvocation,
    Embedding,
    FetchResponse,
    Inference,
    Operation,
    Retrieval,
    Span,
    ToolExecution,
    Trace,
    Workflow,
)
from llmtrace.model.traces import short_id
from llmtrace.semconv import PROGRAM, SCOPE_NAME

ANSWERED = (Inference, Embedding, Retrieval, FetchResponse)
"""Operations that a service answers."""


class Step:
    """A recorded span and the steps below it."""

    def __init__(self, span: Span | None) -> None:
        self.span = span
        """None: above all, the outermost."""
        self.below: list[Step] = []
        self.is_taken = False
        """A span of the new run is in this place."""
        self.is_answered = False
        """Its answer was given to the program."""

    def __iter__(self) -> Iterator[Step]:
        for step in self.below:
            yield step
            yield from step


class RecordedRun:
    """The steps of one or more traces, which one process made."""

    def __init__(self, traces: Sequence[Trace]) -> None:
        """``traces``: the first is the one that is replayed; the others are what the same process did beside it."""
        self.trace = traces[0]
        self.edited: str | None = None
        """Id of the span whose recorded answer was changed, or whose request is to be changed."""
        self.edit_request: Callable[[bytes], bytes] | None = None
        """Changes the HTTP body of that request, or raises `ConfigurationError`; None: the answer was changed."""
        self.top = Step(None)
        for trace in sorted(traces, key=lambda trace: trace.spans[0].start):
            self._add(trace)

    def _add(self, trace: Trace) -> None:
        steps = {span.span_id: Step(span) for span in trace.spans if _is_step(span)}
        parents = {span.span_id: span.parent_id for span in trace.spans}
        for span in sorted(trace.spans, key=lambda span: (span.start, span.sequence or 0)):
            step = steps.get(span.span_id)
            if step is None:
                continue
            above = span.parent_id
            while above is not None and above not in steps:
                above = parents.get(above)
            (self.top if above is None else steps[above]).below.append(step)

    def place(self, above: Step | None, operation: Operation, name: str) -> Step | None:
        """Take the next free place for a step of this kind and name. ``above`` None: the step above has no place itself.

        Of several agents, as they may run in parallel, the first that had the same task.
        """
        below = () if above is None else above.below
        free = [step for step in below if not step.is_taken and step.span is not None and is_alike(step.span, operation, name)]
        task = getattr(operation, "input", ()) if isinstance(operation, (AgentInvocation, Workflow)) else ()
        same = [step for step in free if task and step.span is not None and getattr(step.span.operation, "input", ()) == task]
        step = next(iter(same or free), None)
        if step is not None:
            step.is_taken = True
        return step

    def calls(self) -> Iterator[Step]:
        """The steps that an answer of the world belongs to, in order."""
        return (step for step in self.top if step.span is not None and is_call(step.span.operation))

    def unused(self) -> list[Span]:
        """The calls of the replayed trace that the new run did not make."""
        own = {span.span_id for span in self.trace.spans}
        return [step.span for step in self.calls() if not step.is_taken and step.span is not None and step.span.span_id in own]


def is_call(operation: Operation) -> bool:
    """True for what the world answers: a service, or a tool that ran."""
    return isinstance(operation, ANSWERED) or (isinstance(operation, ToolExecution) and operation.executed)


def is_alike(span: Span, operation: Operation, name: str) -> bool:
    """True if a step has the kind and the name of a recorded span. The model of a call is no part of its name."""
    recorded = span.operation
    if type(recorded) is not type(operation):
        return False
    if isinstance(recorded, ToolExecution) and isinstance(operation, ToolExecution):
        return recorded.name == operation.name and recorded.executed == operation.executed
    return isinstance(recorded, ANSWERED) or span.name == name


def _is_step(span: Span) -> bool:
    is_program = isinstance(span.operation, Workflow) and span.attributes.get(PROGRAM) is True
    return span.run_id is not None and span.scope.name in ("", SCOPE_NAME) and not is_program


def same_process(traces: Iterable[Trace], trace: Trace) -> list[Trace]:
    """Those of ``traces`` that the process of ``trace`` made, that one first."""
    own = _process(trace)
    others = [other for other in traces if other.trace_id != trace.trace_id and own and _process(other) == own]
    return [trace, *others]


def _process(trace: Trace) -> tuple[object, ...]:
    for span in trace.spans:  # those of the program's own provider tell of no process
        if span.resource.get("process.pid") is not None:
            return tuple(span.resource.get(name) for name in ("service.instance.id", "service.name", "process.pid"))
    return ()


def find_checkpoint(trace: Trace, name: str | None = None) -> Span:
    """The last checkpoint of this name; without a name, the last one whose state passed its check or had none.

    Raises `StateUnavailable` if there is none, or if its state was not kept whole.
    """
    checkpoints = [span for span in trace.spans if semconv.CHECKPOINT in span.attributes and span.end is not None]
    found = [span for span in checkpoints if span.attributes[semconv.CHECKPOINT] == name]
    if name is None:
        found = [span for span in checkpoints if span.attributes.get(semconv.CHECKPOINT_PASSED) is not False]
    what = f"trace {short_id(trace.trace_id)}"
    if not found:
        names = ", ".join(dict.fromkeys(repr(span.attributes[semconv.CHECKPOINT]) for span in checkpoints)) or "none"
        which = "good checkpoint" if name is None else f"checkpoint {name!r}"
        raise StateUnavailable(f"{what} has no {which}. Its checkpoints: {names}")
    if problem := lost_state(found[-1]):
        raise StateUnavailable(f"the state of {found[-1].name} in {what} was not kept whole: {problem}")
    return found[-1]
