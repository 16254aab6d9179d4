"""The summary of a trace that `llmtrace ls` and the viewer's list show, computed once per trace.

Law: a summary is a pure function of its trace; None means unknown, never zero.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from llmtrace.codec import json_text
from llmtrace.codec.records import records_of
from llmtrace.codec.writers import looks_like_agent
from llmtrace.model import (
    OUTCOME,
    AgentInvocation,
    Custom,
    Embedding,
    FetchResponse,
    Health,
    Inference,
    Message,
    Span,
    ToolExecution,
    Trace,
    Workflow,
    failure_kind,
    reads_as_data,
    run_health,
    uncharged_spans,
)
from llmtrace.model.value import value
from llmtrace.semconv import CONVERSATION_ID, CREATE_AGENT, OPERATION_NAME, PROGRAM, REPLAY_OF, SERVICE_NAME, TAGS, USER_ID
from llmtrace.text.patterns import lazy_pattern

if TYPE_CHECKING:
    from llmtrace.store.dead_letters import DeadLetter

N = TypeVar("N", int, float)

FORM: Final = 15
"""Version of the summaries. Raise it if a change of the code gives the same trace a different summary: an index then makes
older summaries again when they are shown."""
TEXT_LIMIT = 200
"""Maximum length of task and answer, in characters."""

_OBJECT = lazy_pattern(r'\{"\w+": ?"((?:[^"\\]|\\.)* (?:[^"\\]|\\.)*)')
"""A JSON object, perhaps cut off, whose first member is a text of several words."""

UNFINISHED: Final = "interrupted"
"""The finding of a trace with an unfinished span, unless its program still runs: the label of the law `end_state`."""


class LetterLine(NamedTuple):
    """What a list shows of a dead letter."""

    letter_id: str
    reason: str
    name: str
    at: int
    """Nanoseconds since the Unix epoch."""
    what: str
    """The explanation, or else the arguments, on one line (at most 200 characters)."""


@value
class TraceSummary:
    """One trace in a list."""

    trace_id: str
    name: str
    """Name of the root span."""
    start: int
    """Nanoseconds since the Unix epoch."""
    end: int | None
    """Nanoseconds since the Unix epoch; None while a root is open, also if its program died."""
    duration: float | None
    """Seconds; None if ``end`` is None."""
    spans: int
    health: Health
    """Of the trace; *failed* also after bad feedback or a refused answer."""
    task: str | None
    """The user's first message (at most 200 characters); None if content is off."""
    answer: str | None
    """The last answer (at most 200 characters)."""
    agents: tuple[str, ...]
    models: tuple[str, ...]
    errors: int
    """Number of root causes: an error that its callers pass on counts once."""
    findings: tuple[str, ...]
    """Names of failed evaluations, codes of violations and types of original failures, without repeats, errors first."""
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    """US dollars of the calls whose price is known; None if no price is known."""
    service: str | None
    is_run: bool = True
    """False for a trace in which no span has to do with models, agents or tools, such as the requests of a web server."""
    replay_of: str | None = None
    """The id of the trace that this one is a replay of."""
    letters: tuple[LetterLine, ...] = ()
    """The trace's dead letters, oldest first; see `store.dead_letters`."""
    workflows: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    conversations: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    finding_labels: tuple[str, ...] = ()
    """The failed evaluations that have a label, as ``name:label``, in the order of ``findings``."""
    outer_workflow: str | None = None
    """Name of the workflow around all agents of the trace; None if agents ran only once."""
    used_skills: tuple[str, ...] = ()
    """Agent skills that were loaded, read or run, without a failure."""
    used_records: tuple[str, ...] = ()
    """Ids of documents and memories that were found or stored."""

    @property
    def title(self) -> tuple[str, ...]:
        """The names that a list shows: a workflow and the agents inside it; else the agents, workflows, or the name."""
        if self.outer_workflow is not None:
            return (self.outer_workflow, *self.agents)
        return self.agents or self.workflows or (self.name,)

    @property
    def tokens(self) -> int | None:
        """Tokens in and out; None if both are unknown."""
        return _sum((self.input_tokens, self.output_tokens))


def summarise(trace: Trace) -> TraceSummary:
    """Return the summary of a trace that has at least one span."""
    from llmtrace.store.dead_letters import letters_of  # late: a program that only records needs it for its index

    root, workflow = trace.root, _workflow_around(trace)
    task, answer = (_task(trace), _answer(trace)) if workflow is None else _of_workflow(trace, workflow)
    end = None if any(span.end is None for span in trace.roots) else max(span.end or 0 for span in trace.spans)
    operations = [(span.span_id, span.operation) for span in trace.spans]
    models = [(span_id, call) for span_id, call in operations if isinstance(call, (Inference, Embedding))]
    hidden = uncharged_spans(trace)  # another span counts them already
    calls = [call for span_id, call in models if span_id not in hidden]
    service = root.resource.get(SERVICE_NAME)
    return TraceSummary(
        trace_id=trace.trace_id,
        name=root.name,
        start=trace.spans[0].start,
        end=end,
        duration=None if end is None else (end - trace.spans[0].start) / 1e9,
        spans=len(trace),
        health=run_health(trace.health, is_marked=False, has_failed=trace.is_refused),
        task=task,
        answer=answer,
        agents=_once(operation.name for _, operation in operations if isinstance(operation, AgentInvocation)),
        workflows=_once(operation.name for _, operation in operations if isinstance(operation, Workflow)),
        models=_once([*(call.model for _, call in models), *(call.request_model for _, call in models)]),
        users=_once(_attributes(trace, USER_ID)),
        conversations=_once(_attributes(trace, CONVERSATION_ID)),
        tags=_once(_attributes(trace, TAGS)),
        errors=len(trace.root_causes),
        findings=_findings(trace),
        finding_labels=_finding_labels(trace),
        input_tokens=_sum(call.usage.input_tokens for call in calls if call.usage),
        output_tokens=_sum(call.usage.output_tokens for call in calls if call.usage),
        cost_usd=_sum(call.cost_usd for call in calls if isinstance(call, Inference)),
        service=str(service) if service else None,
        is_run=any(map(_is_of_run, trace.spans)),
        letters=tuple(map(_letter_line, letters_of(trace))),
        replay_of=next((str(span.attributes[REPLAY_OF]) for span in trace.roots if REPLAY_OF in span.attributes), None),
        outer_workflow=None if workflow is None else workflow.name,
        used_skills=_once(map(_skill, trace.spans)),
        used_records=_once(record.id for _, operation in operations for record in records_of(operation)),
    )


def _skill(span: Span) -> str | None:
    execution = span.operation
    return execution.skill if isinstance(execution, ToolExecution) and execution.executed and span.failure is None else None


def _is_of_run(span: Span) -> bool:
    """Return False for a plain span of another program, and for the creation of an agent, which does not run yet."""
    if span.attributes.get(OPERATION_NAME) == CREATE_AGENT:
        return False
    return span.run_id is not None or not isinstance(span.operation, Custom) or looks_like_agent(span)


def _workflow_around(trace: Trace) -> Workflow | None:
    """Return the outermost workflow if agents ran several times, and always inside it. A whole program is no workflow."""
    wholes = [span for _, span in trace.walk() if isinstance(span.operation, (AgentInvocation, Workflow))]
    outer = next((span for span in wholes if PROGRAM not in span.attributes), None)
    if outer is None or not isinstance(outer.operation, Workflow):
        return None
    agents = [span for span in wholes if isinstance(span.operation, AgentInvocation)]
    is_inside = all(any(above is outer for above in trace.ancestors(span)) for span in agents)
    return outer.operation if is_inside and len(agents) > 1 else None


def _of_workflow(trace: Trace, workflow: Workflow) -> tuple[str | None, str | None]:
    """Return the task and the answer of a workflow around agents: its own, which may be data.

    If it has none, they are the first task and the last answer inside.
    """
    own_answer, answer = _last_text(workflow.output), _answer(trace)
    if own_answer is None:
        agents = sorted(trace.spans, key=lambda span: span.end or span.start, reverse=True)
        answers = (_last_text(span.operation.output) for span in agents if isinstance(span.operation, AgentInvocation))
        answer = last_answer(trace.spans) or next((text for text in answers if text), None)
    # a state of data in and out is not a task and an answer: the agents inside have them in words
    is_state = own_answer is not None and answer != own_answer
    return (None if is_state else _asked_in(workflow)) or _task(trace), answer


def _task(trace: Trace) -> str | None:
    """Return the newest user message of the outermost agent, workflow or inference that has one.

    A message that reads as data is skipped if a span below has a better one, up to the first inference.
    """
    first: str | None = None
    for _, span in trace.walk():
        if isinstance(span.operation, (AgentInvocation, Workflow, Inference)) and (text := _asked_in(span.operation)):
            if not reads_as_data(text):
                return text
            first = first or text
            if isinstance(span.operation, Inference):
                break
    return first


def _asked_in(operation: AgentInvocation | Workflow | Inference) -> str | None:
    texts = (unwrap_task(message.text()) for message in reversed(operation.input) if message.role == "user")
    return next((text[:TEXT_LIMIT] for text in texts if text), None)


def unwrap_task(text: str) -> str:
    """Return the task without the JSON object that some frameworks wrap it in."""
    around = _OBJECT.match(text)
    if around is not None:
        with contextlib.suppress(ValueError):
            text = str(json.loads(f'"{around[1]}"', strict=False))
    return text.strip()


def _answer(trace: Trace) -> str | None:
    """Return the answer of the outermost agent or workflow. Without one, or if it is data: the last answer of a model."""
    wholes = (span.operation for _, span in trace.walk() if isinstance(span.operation, (AgentInvocation, Workflow)))
    outer = next((text for whole in wholes if (text := _last_text(whole.output))), None)
    if outer is not None and not reads_as_data(outer):
        return outer
    last_words = last_answer(trace.spans)
    return outer if last_words is None or (outer is not None and reads_as_data(last_words)) else last_words


def last_answer(spans: Iterable[Span]) -> str | None:
    """Return the latest answer with text, by the ends of these model calls (at most 200 characters); None without one."""
    answers = [
        (span.end or span.start, span.operation) for span in spans if isinstance(span.operation, (Inference, FetchResponse))
    ]
    newest = sorted(answers, key=lambda pair: pair[0], reverse=True)
    return next((text for _, operation in newest if (text := _last_text(operation.output))), None)


def _last_text(messages: tuple[Message, ...]) -> str | None:
    for message in reversed(messages):
        if text := message.visible_text().strip():
            return text[:TEXT_LIMIT]
    return None


def _attributes(trace: Trace, key: str) -> Iterator[str | None]:
    """Yield the values of an attribute in all spans; for a list, its items."""
    for span in trace.spans:
        value = span.attributes.get(key)
        yield from map(str, value) if isinstance(value, (list, tuple)) else () if value is None else (str(value),)


def _letter_line(letter: DeadLetter) -> LetterLine:
    what = letter.explanation or ("" if letter.arguments is None else json_text.write(letter.arguments))
    return LetterLine(letter.letter_id, letter.reason, letter.name, letter.at, " ".join(what.split())[:TEXT_LIMIT])


def _findings(trace: Trace) -> tuple[str, ...]:
    names: dict[str, list[str]] = {"error": [], "warning": []}
    began = {span.span_id for span in trace.root_causes}
    for span in trace.spans:
        if trace.interrupted(span):
            names["error"].append(UNFINISHED)
        # a violation names the failure more precisely than its error type
        if span.failure is not None and span.span_id in began and not span.violations:
            names["error"].append(failure_kind(span.failure))
        for violation in span.violations:
            names.get(violation.severity, []).append(violation.code)
        for evaluation in span.evaluations:
            if evaluation.name != OUTCOME:
                names.get(evaluation.severity, []).append(evaluation.name)
    return _once([*names["error"], *names["warning"]])


def _finding_labels(trace: Trace) -> tuple[str, ...]:
    evaluations = [evaluation for span in trace.spans for evaluation in span.evaluations if evaluation.name != OUTCOME]
    return _once(
        f"{evaluation.name}:{evaluation.label}"
        for severity in ("error", "warning")
        for evaluation in evaluations
        if evaluation.severity == severity and evaluation.label
    )


def _once(names: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))


def _sum(numbers: Iterable[N | None]) -> N | None:
    values = [number for number in numbers if number is not None]
    return sum(values[1:], values[0]) if values else None
