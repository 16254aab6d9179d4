"""A recorded run as a tree of steps, in which the spans of a new run find their places.

A place is the step above, the kind of step, its name, and the number of such steps before it, never the content. So a request
that changed is found and reported as changed. Two kinds of spans are not steps, and what is below them belongs to the step
above: spans of other instrumentations, and the span of a whole program under ``llmtrace run``.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from llmtrace import semconv
from llmtrace.codec.recorded import request_digest
from llmtrace.errors import StateUnavailable
from llmtrace.guards.checkpoint import lost_state
from llmtrace.model import (
    AgentInvocation,
    Embedding,
    FetchResponse,
    Inference,
    JsonValue,
    Operation,
    Retrieval,
    Span,
    ToolExecution,
    Trace,
    Workflow,
)
from llmtrace.model.traces import short_id
from llmtrace.semconv import (
    HOST_NAME,
    PROCESS_PARENT_PID,
    PROCESS_PID,
    PROCESS_WORKER,
    PROGRAM,
    SCOPE_NAME,
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
)

ANSWERED = (Inference, Embedding, Retrieval, FetchResponse)
"""Operations that a service answers."""


class Step:
    """A recorded span and the steps below it."""

    def __init__(self, span: Span | None) -> None:
        self.span = span
        """None for the root of the tree."""
        self.id = "" if span is None else span.span_id
        self.below: list[Step] = []

    def __iter__(self) -> Iterator[Step]:
        for step in self.below:
            yield step
            yield from step


class RecordedRun:
    """The steps of one or more traces of the same program."""

    def __init__(self, traces: Sequence[Trace]) -> None:
        """``traces``: the first is replayed; the program made the others beside it."""
        self.trace = traces[0]
        self.edited: str | None = None
        """Id of the span whose recorded answer was changed, or whose request is to be changed."""
        self.edit_request: Callable[[bytes], bytes] | None = None
        """Changes the HTTP body of that request, or raises `ConfigurationError`; None: the answer was changed."""
        self.top = Step(None)
        self._steps = {self.top.id: self.top}
        for trace in sorted(traces, key=lambda trace: trace.spans[0].start):
            self._add(trace)

    def _add(self, trace: Trace) -> None:
        steps: dict[str, Step] = {}
        for span in trace.spans:
            is_program = isinstance(span.operation, Workflow) and span.attributes.get(PROGRAM) is True
            if span.run_id is not None and span.scope.name in ("", SCOPE_NAME) and not is_program:
                steps[span.span_id] = Step(span)
        self._steps.update(steps)
        parents = {span.span_id: span.parent_id for span in trace.spans}
        for span in sorted(trace.spans, key=lambda span: (span.start, span.sequence or 0)):
            step = steps.get(span.span_id)
            if step is None:
                continue
            above = span.parent_id
            while above is not None and above not in steps:
                above = parents.get(above)
            (self.top if above is None else steps[above]).below.append(step)

    @property
    def was_killed(self) -> bool:
        """True if the replayed run never ended: its process was killed, or still runs."""
        return self.trace.root.end is None

    @cached_property
    def unclear(self) -> frozenset[str]:
        """Ids of the calls that cannot be told apart from another one: the same request at the same time below the same step,
        with another answer."""
        return frozenset(_unclear(self.top))

    def step(self, span_id: str | None) -> Step | None:
        """Return the step of a recorded span; "" is the top."""
        return None if span_id is None else self._steps.get(span_id)

    def place(self, above: Step | None, operation: Operation, name: str, taken: Container[str]) -> Step | None:
        """Return the next free place for a step of this kind and name. ``above`` None: the step above has no place itself.
        ``taken``: ids of the steps that are not free.

        Among agents, which may run in parallel, one with the same task comes first.
        """
        below = () if above is None else above.below
        free = [step for step in below if step.id not in taken and is_alike(step.span, operation, name)]
        task = getattr(operation, "input", ()) if isinstance(operation, (AgentInvocation, Workflow)) else ()
        same = [step for step in free if task and step.span is not None and getattr(step.span.operation, "input", ()) == task]
        return next(iter(same or free), None)

    def calls(self) -> Iterator[Step]:
        """Return the steps that a service or a tool answers, in order."""
        return (step for step in self.top if step.span is not None and is_call(step.span.operation))

    def unused(self, taken: Container[str]) -> list[Span]:
        """Return the calls of the replayed trace that the new run did not make. ``taken``: as in `place`."""
        ids = {span.span_id for span in self.trace.spans}
        return [step.span for step in self.calls() if step.id not in taken and step.span is not None and step.id in ids]


def _unclear(step: Step) -> Iterator[str]:
    alike: dict[str, list[Span]] = {}
    for below in step.below:
        yield from _unclear(below)
        if below.span is not None and is_call(below.span.operation):
            recorded = "" if below.span.recorded is None else below.span.recorded.request
            alike.setdefault(recorded or request_digest(below.span.operation), []).append(below.span)
    for spans in alike.values():
        for span in spans:
            others = [other for other in spans if other is not span and _answer(other) != _answer(span)]
            if any(other.start < (span.end or 0) and span.start < (other.end or 0) for other in others):
                yield span.span_id


def _answer(span: Span) -> object:
    operation = span.operation
    if isinstance(operation, ToolExecution):
        return operation.result, span.failure
    return getattr(operation, "output", None), span.failure


def is_call(operation: Operation) -> bool:
    """Return True for an operation with an answer from outside: from a service, or from a tool that ran."""
    return isinstance(operation, ANSWERED) or (isinstance(operation, ToolExecution) and operation.executed)


def is_alike(span: Span | None, operation: Operation, name: str) -> bool:
    """Return True if a step has the kind and name of a recorded span. The model is not part of the name of a call."""
    recorded = None if span is None else span.operation
    if span is None or type(recorded) is not type(operation):
        return False
    if isinstance(recorded, ToolExecution) and isinstance(operation, ToolExecution):
        return recorded.name == operation.name and recorded.executed == operation.executed
    return isinstance(recorded, ANSWERED) or span.name == name


def same_program(traces: Iterable[Trace], trace: Trace) -> list[Trace]:
    """Return the traces that the program of ``trace`` made, in all its processes, starting with ``trace``."""
    found, others = [trace], {beside.trace_id: beside for beside in traces if beside.trace_id != trace.trace_id}
    processes = [] if (first := _process(trace)) is None else [first]
    for process in processes:  # grows
        for beside in list(others.values()):
            other = _process(beside)
            if other is not None and _is_same_program(process, other):
                found.append(others.pop(beside.trace_id))
                if other not in processes:
                    processes.append(other)
    return found


class _Process(NamedTuple):
    service: JsonValue
    instance: JsonValue
    host: JsonValue
    pid: JsonValue
    parent: JsonValue
    worker: JsonValue
    """True: started by `multiprocessing`."""


_TELLING = (SERVICE_NAME, SERVICE_INSTANCE_ID, HOST_NAME, PROCESS_PID, PROCESS_PARENT_PID, PROCESS_WORKER)


def _process(trace: Trace) -> _Process | None:
    for span in trace.spans:  # spans of the program's own provider may have no process id
        resource = span.resource
        if resource.get(PROCESS_PID) is not None:
            return _Process(*[resource.get(name) for name in _TELLING])
    return None


def _is_same_program(process: _Process, second: _Process) -> bool:
    """Return True for the same process, for a program and a process that it started, and for two workers of one program."""
    if process.host != second.host:
        return False
    if process.pid == second.pid:
        return (process.service, process.instance) == (second.service, second.instance)
    if _is_child(process, second) or _is_child(second, process):
        return True
    are_workers = process.worker is second.worker is True
    return are_workers and process.parent is not None and process.parent == second.parent


def _is_child(child: _Process, program: _Process) -> bool:
    """Return True if ``program`` started ``child``. In each container the first process has the id 1, so that this id tells
    nothing without the machine's name."""
    return child.parent == program.pid and (program.pid != 1 or program.host is not None)


def find_checkpoint(trace: Trace, name: str | None = None) -> Span:
    """Return the last checkpoint of this name; without a name, the last whose state passed its check or had none.

    Raises `StateUnavailable` if there is none, or if its state was not kept whole.
    """
    checkpoints = [span for span in trace.spans if semconv.CHECKPOINT in span.attributes and span.end is not None]
    matching = [span for span in checkpoints if span.attributes[semconv.CHECKPOINT] == name]
    if name is None:
        matching = [span for span in checkpoints if span.attributes.get(semconv.CHECKPOINT_PASSED) is not False]
    what = f"trace {short_id(trace.trace_id)}"
    if not matching:
        names = ", ".join(dict.fromkeys(repr(span.attributes[semconv.CHECKPOINT]) for span in checkpoints)) or "none"
        which = "good checkpoint" if name is None else f"checkpoint {name!r}"
        raise StateUnavailable(f"{what} has no {which}. Its checkpoints: {names}")
    if problem := lost_state(matching[-1]):
        raise StateUnavailable(f"the state of {matching[-1].name} in {what} was not kept whole: {problem}")
    return matching[-1]
