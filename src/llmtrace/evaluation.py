"""A span in, the same span with its violations and evaluations out: the one place that the live path and readers share.

Law: replaying a run's spans in order gives the live verdicts, as long as their content was kept whole; where it was not,
the stored verdicts stand and the re-check says unknown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from llmtrace import semconv
from llmtrace.codec.calls import settled
from llmtrace.content.placeholders import MORE, holds_placeholder
from llmtrace.lineage.tasks import Tasks
from llmtrace.model import (
    INVALID_TOOL_CALL,
    Evaluation,
    Failure,
    FetchResponse,
    Inference,
    JsonValue,
    Message,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    Trace,
    Violation,
    outermost_of,
    replace,
)
from llmtrace.signals import Signal, Stateless, load
from llmtrace.signals._traits import ALONE, CALLS, EXECUTION, INFERENCE, RESULTS, traits_of
from llmtrace.signals._untraced import Untraced
from llmtrace.validation.arguments import check_arguments, check_call, check_output, check_result, find_tool
from llmtrace.validation.pointers import follow, steps
from llmtrace.validation.schema import output_schema
from llmtrace.validation.structured import CONSTRAINTS, check_structured

logger = logging.getLogger("llmtrace")

_failing: set[str] = set()
_NEW: Any = object()
_MOST_LOOKS = 1024
_Look: TypeAlias = tuple[int, Signal, Callable[..., Iterable[Evaluation]]]
"""A signal that looks at a span: its position and step; -1 and the function of a stateless one."""


@dataclass(slots=True)
class RunState:
    """What evaluation remembers of one run: a state for each signal, and the tools that were last on offer."""

    signals: list[Any]
    """By position in `Evaluator.signals`; `_NEW` until the signal sees its first span."""
    on_offer: tuple[ToolDefinition, ...] = ()
    awake: int = 0
    """A bit for each signal that slept at first and was woken, by position."""
    begun: bool = False
    untraced: Untraced = field(default_factory=Untraced)
    tasks: Tasks = field(default_factory=Tasks)


class Evaluator:
    """Validation and quality signals over the spans of one run, in the order in which they ended."""

    def __init__(self, signals: Sequence[Signal] | None = None) -> None:
        """``signals``: default, all that are built in or installed."""
        self.signals: tuple[Signal, ...] = load() if signals is None else tuple(signals)
        self._fresh = [None if type(signal) is Stateless else _NEW for signal in self.signals]
        places = {signal.name: number for number, signal in enumerate(self.signals)}
        self._shared = {
            number: places[shares]
            for number, signal in enumerate(self.signals)
            if (shares := getattr(signal, "shares", None)) in places
        }
        """By position of a signal, that of the signal before it whose state it shares."""
        self._per_task = tuple(number for number, signal in enumerate(self.signals) if getattr(signal, "per_task", False))
        self._sleeping = sum(1 << number for number, signal in enumerate(self.signals) if hasattr(signal, "wakes_on"))
        self._looking: dict[tuple[type, int, int], tuple[_Look, ...]] = {}
        """By a span's class of operations and traits, and the signals that are awake: those that look at it."""
        self._finishing = tuple(
            (number, signal, end, hasattr(signal, "alone"))
            for number, signal in enumerate(self.signals)
            if (end := getattr(signal, "finish", None)) is not None
        )

    def start(self) -> RunState:
        return RunState(self._fresh.copy())

    def step(self, state: RunState, span: Span, *, outermost: bool = False) -> Span:
        """The span with its verdicts. ``span`` carries none yet (see `bare`). ``outermost``: of the run, which ends with it."""
        return self.evaluate(state, self.validate(state, span), outermost=outermost)

    def validate(self, state: RunState, span: Span) -> Span:
        """The span with what breaks a schema. The spans of a run are validated in their order, and evaluated in it; when each
        is evaluated does not matter to validation."""
        violations = _violations(state, span)
        if not violations:
            return span
        return replace(span, violations=violations, failure=span.failure or _failure(span, violations))

    def evaluate(self, state: RunState, span: Span, *, outermost: bool = False) -> Span:
        """The validated span with what the quality signals find."""
        if not self.signals:
            return span
        traits = traits_of(span)
        if outermost and not state.begun:
            traits |= ALONE
        state.begun = True
        evaluations: list[Evaluation] = []
        if traits & INFERENCE:
            if state.tasks.asked(span, span.operation):  # type: ignore[arg-type]
                for number in self._per_task:
                    state.signals[number] = _NEW
        elif traits & EXECUTION:
            state.tasks.executed(span.operation)  # type: ignore[arg-type]
        if traits & (CALLS | EXECUTION | RESULTS):
            for execution in state.untraced.seen(span):
                looking = self._looking_at(type(execution.operation), traits_of(execution), state.awake)
                unchanged = [look for look in looking if getattr(look[1], "untraced", False)]
                self._look(state, execution, unchanged, evaluations)
        self._look(state, span, self._looking_at(type(span.operation), traits, state.awake), evaluations)
        return replace(span, evaluations=(*span.evaluations, *evaluations)) if evaluations else span

    def _look(self, state: RunState, span: Span, looking: Iterable[_Look], evaluations: list[Evaluation]) -> None:
        memories = state.signals
        for number, signal, look in looking:
            try:
                if number < 0:
                    found = look(span)
                else:
                    memory = memories[number]
                    found = look(self._memory(state, number, signal) if memory is _NEW else memory, span)
                if found:
                    evaluations.extend(found)
            except Exception as error:
                _report(signal, error)

    def finish(self, state: RunState, span: Span) -> Span:
        """The run's outermost span with what is only known at the end."""
        evaluations: list[Evaluation] = []
        for number, signal, end, needs_spans in self._finishing:
            memory = state.signals[number]
            if memory is _NEW and needs_spans:
                continue
            try:
                evaluations.extend(end(self._memory(state, number, signal) if memory is _NEW else memory))
            except Exception as error:
                _report(signal, error)
        return replace(span, evaluations=(*span.evaluations, *evaluations)) if evaluations else span

    def _looking_at(self, kind: type, traits: int, awake: int) -> tuple[_Look, ...]:
        known = self._looking.get((kind, traits, awake))
        if known is not None:
            return known
        found: list[_Look] = []
        for number, signal in enumerate(self.signals):
            if _wants(signal, kind, traits, bool(awake >> number & 1)):
                found.append((-1, signal, signal.check) if type(signal) is Stateless else (number, signal, signal.step))
        if len(self._looking) >= _MOST_LOOKS:
            self._looking.clear()
        self._looking[kind, traits, awake] = looks = tuple(found)
        return looks

    def _memory(self, state: RunState, number: int, signal: Signal) -> Any:
        """The signal's state in a run, made when it is first needed: many runs are one span."""
        shared = self._shared.get(number)
        memory = _NEW if shared is None else state.signals[shared]
        if memory is _NEW:
            state.signals[number] = None  # and so it stays if starting fails
            memory = signal.start()
        state.signals[number] = memory
        state.awake |= 1 << number & self._sleeping
        return memory

    def bare(self, span: Span) -> Span:
        """The span as it was before evaluation: verdicts that are not ours to give (an outcome, a budget) stay."""
        own = {signal.name for signal in self.signals}
        failure = span.failure
        if failure is not None and failure.type == INVALID_TOOL_CALL:
            failure = None
        kept = tuple(found for found in span.evaluations if found.name not in own)
        return replace(span, violations=(), evaluations=kept, failure=failure)


def _wants(signal: Signal, kind: type, traits: int, awake: bool) -> bool:
    """Whether a signal is to see spans of this class of operation and with these traits (`signals.Signal` says how it tells);
    that what is true of a class is true of its subclasses is not assumed."""
    looks_at, alone = getattr(signal, "looks_at", None), getattr(signal, "alone", None)
    waits_for, wakes_on = getattr(signal, "waits_for", None), getattr(signal, "wakes_on", None)
    if looks_at is not None and kind not in looks_at:
        return False
    if traits & ALONE and alone is not None and not traits & alone:
        return False
    return (waits_for is None or bool(traits & waits_for)) and (wakes_on is None or awake or bool(traits & wakes_on))


def _report(signal: Signal, error: Exception) -> None:
    """A signal that fails costs its own verdicts, not those of the others."""
    if signal.name not in _failing:
        _failing.add(signal.name)
        logger.warning(
            "llmtrace: quality signal %s failed with %s; its verdicts are incomplete. This is reported once.",
            signal.name,
            type(error).__qualname__,
        )


def _violations(state: RunState, span: Span) -> tuple[Violation, ...]:
    operation = span.operation
    if isinstance(operation, Inference):
        return _of_inference(state, operation)
    if isinstance(operation, FetchResponse):
        return _of_fetched(state, operation)
    if isinstance(operation, ToolExecution):
        return _of_tool_execution(
            state, operation, told=operation.arguments is not None or span.scope.name == semconv.SCOPE_NAME
        )
    return ()


def _of_inference(state: RunState, inference: Inference) -> tuple[Violation, ...]:
    tools, parameters = inference.tools, inference.parameters
    if tools:
        state.on_offer = tools
    if inference.partial:
        return ()  # what was cut off breaks every schema; `partial` says so already
    found: list[Violation] = []
    form = parameters.get("response_format") or parameters.get("text")
    schema = None if form is None else output_schema(form)
    constrained = schema is None and any(map(parameters.__contains__, CONSTRAINTS))
    for choice, message in enumerate(inference.output):
        called = False
        for part in message.parts:
            if type(part) is ToolCall:
                called = True
                checked = _of_call(part, tools)
                if checked:
                    found.extend(replace(violation, choice=choice) for violation in checked)
        if schema is not None and not called:
            found.extend(replace(violation, choice=choice) for violation in _of_answer(message, schema))
        elif constrained and not called:
            found.extend(replace(violation, choice=choice) for violation in _of_constrained(message, inference))
    return tuple(found)


def _of_fetched(state: RunState, fetched: FetchResponse) -> tuple[Violation, ...]:
    """An answer that was made in the background: its calls are judged when they are first seen whole."""
    if fetched.partial or fetched.status not in (None, "completed"):
        return ()
    calls = (call for message in fetched.output for call in message.tool_calls())
    return tuple(found for call in calls for found in _of_call(call, state.on_offer))


def _of_call(call: ToolCall, tools: Sequence[ToolDefinition]) -> tuple[Violation, ...]:
    if tools:
        return check_call(call, tools)
    # which tools were on offer is not visible: only the form of the arguments can be judged
    return check_arguments(call.arguments, ToolDefinition(call.name), call_id=call.id)


def _of_answer(message: Message, schema: Any) -> tuple[Violation, ...]:
    texts = [part.content for part in message.parts if isinstance(part, Text)]
    return check_output("".join(texts), schema) if texts else ()


def _of_constrained(message: Message, inference: Inference) -> tuple[Violation, ...]:
    texts = [part.content for part in message.parts if isinstance(part, Text)]
    return check_structured("".join(texts), inference.parameters) if texts else ()


def _of_tool_execution(state: RunState, execution: ToolExecution, *, told: bool) -> tuple[Violation, ...]:
    """``told``: its arguments are known; another writer may have kept them to itself."""
    definition = execution.definition or find_tool(execution.name, state.on_offer)
    if definition is None:
        return () if execution.executed else (_unknown(execution),)
    found = check_arguments(execution.arguments, definition, call_id=execution.call_id) if told else ()
    if found:
        found = tuple(replace(violation, executed=execution.executed) for violation in found)
    if execution.has_result and definition.output is not None:
        broken = check_result(execution.result, definition, call_id=execution.call_id)
        if broken:
            found += tuple(violation for violation in broken if not _unshown(execution.result, violation))
    return found


def _unshown(result: JsonValue, violation: Violation) -> bool:
    """Whether a violation is one of the snapshot only: JSON has no form for what was returned, or it was left out."""
    path = steps(violation.pointer)
    try:
        if violation.code == "missing":
            return MORE in follow(result, path[:-1])
        return holds_placeholder(follow(result, path))
    except (LookupError, TypeError, ValueError):
        return False


def _unknown(execution: ToolExecution) -> Violation:
    return Violation(
        "unknown_tool",
        pointer="",
        keyword="",
        message="no tool of this name is on offer",
        got=execution.name,
        tool=execution.name,
        call_id=execution.call_id,
        executed=False,
    )


def _failure(span: Span, violations: Iterable[Violation]) -> Failure | None:
    """Invalid arguments make a tool execution an error even where the tool swallowed them; an inference keeps its status."""
    if not isinstance(span.operation, ToolExecution):
        return None
    errors = [found for found in violations if found.severity == "error" and found.where == "arguments"]
    if not errors:
        return None
    return Failure(INVALID_TOOL_CALL, "; ".join(f"{found.pointer or found.code}: {found.message}" for found in errors))


def is_whole(span: Span) -> bool:
    """False when content of the span was cut, redacted or left out, so that it cannot be judged again."""
    return not (
        span.attributes.get(semconv.CONTENT_TRUNCATED)
        or span.attributes.get(semconv.CONTENT_REDACTED)
        or span.attributes.get(semconv.CONTENT_LEVEL)
    )


def evaluate_trace(trace: Trace, evaluator: Evaluator | None = None) -> tuple[Trace, tuple[str, ...]]:
    """The trace with every run judged again, and the ids of the runs whose stored verdicts stand as they are.

    Spans of other instrumentations have no run: those of one trace are judged as one run, in the order in which they
    ended, and their evaluations are marked derived. Unfinished spans are passed through. A model call of which several of
    them tell is counted once (`codec.calls`).
    """
    evaluator = evaluator or Evaluator()
    trace = settled(trace)
    runs: dict[str | None, list[Span]] = {}
    for span in trace.spans:
        runs.setdefault(span.run_id, []).append(span)
    judged: list[Span] = []
    unknown: list[str] = []
    for run_id, spans in runs.items():
        if all(is_whole(span) for span in spans):
            judged.extend(_replay(evaluator, spans, derived=run_id is None))
        else:
            judged.extend(spans)
            unknown.append(run_id or trace.trace_id)
    return on_reading(Trace(judged, alive=trace.alive), evaluator), tuple(unknown)


def on_reading(trace: Trace, evaluator: Evaluator | None = None) -> Trace:
    """The trace with what only a reader can see: spans that were open when their program died. Marked derived."""
    found: dict[str, tuple[Evaluation, ...]] = {}
    for signal in (evaluator or Evaluator()).signals:
        look = getattr(signal, "on_reading", None)
        try:
            told: dict[str, Evaluation] = look(trace) if look is not None else {}
        except Exception as error:
            _report(signal, error)
            continue
        for span_id, evaluation in told.items():
            found[span_id] = (*found.get(span_id, ()), evaluation)
    if not found:
        return trace
    spans = [
        replace(span, evaluations=(*span.evaluations, *(one for one in found[span.span_id] if one not in span.evaluations)))
        if span.span_id in found
        else span
        for span in trace.spans
    ]
    return Trace(spans, alive=trace.alive)


def _replay(evaluator: Evaluator, spans: list[Span], *, derived: bool) -> list[Span]:
    ended = sorted((span for span in spans if span.end is not None), key=_order)
    judged = [span for span in spans if span.end is None]
    state = evaluator.start()
    outermost = outermost_of(spans)
    for span in ended:
        before = evaluator.bare(span)
        after = evaluator.step(state, before, outermost=span is outermost)
        if span is outermost:
            after = evaluator.finish(state, after)
        judged.append(_in_order(span, _mark(before, after) if derived else after))
    return judged


def _in_order(stored: Span, judged: Span) -> Span:
    """Verdicts in the order in which they were stored: an outcome stands after the signals."""
    kept = tuple(found for found in judged.evaluations if found not in stored.evaluations)
    if kept or len(judged.evaluations) != len(stored.evaluations):
        return judged
    return replace(judged, evaluations=stored.evaluations)


def _order(span: Span) -> tuple[int, int]:
    return (span.sequence if span.sequence is not None else 0, span.end or 0)


def _mark(before: Span, after: Span) -> Span:
    new = tuple(found if found in before.evaluations else replace(found, derived=True) for found in after.evaluations)
    return replace(after, evaluations=new)
