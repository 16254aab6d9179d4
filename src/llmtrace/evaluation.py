"""Adds violations, facts and findings to a span. The live path, `llmtrace check` and the receiver all use this one place.

Law: evaluating a run's spans again in order gives the live verdicts if their content was kept whole. Otherwise the stored
verdicts stand, and the re-check says unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from llmtrace import semconv
from llmtrace.codec.reconcile import reconcile
from llmtrace.content.placeholders import MORE, holds_placeholder
from llmtrace.laws import AnyLaw, Law, Stateless, UserSignal, When, load
from llmtrace.laws.finding import Finding
from llmtrace.laws.judging import judge, report
from llmtrace.model import (
    INVALID_TOOL_CALL,
    Evaluation,
    Failure,
    FetchResponse,
    Inference,
    JsonValue,
    Reasoning,
    Review,
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
from llmtrace.model.traces import runs_of
from llmtrace.reading.ended_run import EndedRun
from llmtrace.reading.order import moments
from llmtrace.reading.timeline import Timeline
from llmtrace.reading.visible_context import is_whole
from llmtrace.run_verdict import ATTRIBUTES, RunVerdict
from llmtrace.validation.check_values import (
    CONSTRAINTS,
    check_arguments,
    check_call,
    check_output,
    check_result,
    check_structured,
    find_tool,
)
from llmtrace.validation.json_pointers import follow, steps
from llmtrace.validation.tool_definitions import output_schema

_Step: TypeAlias = "tuple[When, str, AnyLaw, Callable[[Span], Iterable[Evaluation]] | None]"
"""A law's condition, its name, the law itself, and its function if the law is stateless."""

_CALLING = frozenset({ToolCall, Reasoning})
"""Parts of a message that only asks for tools."""
_FAILED: Any = object()
"""State of a law whose start failed."""


class RunState:
    """State of the evaluation of one run."""

    tools: tuple[ToolDefinition, ...] = ()
    """The tools that the model was last offered, for validation."""

    def __init__(self, spans: Iterable[Span] = (), *, bounded: bool = True) -> None:
        """``spans``: those that will be evaluated, if they are known. ``bounded``: keep only what is newest."""
        self.law_states: dict[str, Any] = {}
        """By name of the law. A state is made when first needed, because many runs are one span."""
        self.timeline = Timeline(spans, bounded=bounded)
        self.verdict = RunVerdict()
        self.held_tools: set[str] = set()
        """Names of the tools of which a call was held for a person's decision. They exist, whatever the request shows."""


class Evaluator:
    """Validation and laws over the spans of one run, in the order in which they ended."""

    def __init__(self, laws: Sequence[AnyLaw] | None = None) -> None:
        """``laws``: default, all built-in and installed ones, then the program's own signals."""
        self.laws: tuple[AnyLaw, ...] = load() if laws is None else tuple(laws)
        self._built_in = tuple(law for law in self.laws if not isinstance(law, UserSignal))
        self._user_signals = tuple(law for law in self.laws if isinstance(law, UserSignal))
        self.has_user_signals = bool(self._user_signals)
        self._finishing = tuple(law for law in self._built_in if type(law).finish is not Law.finish)
        self._names = frozenset(law.name for law in self.laws)
        self._by_kind: dict[type, tuple[_Step, ...]] = {}
        """By class of operation: the laws that look at it, without the program's own signals."""

    def start(self) -> RunState:
        return RunState()

    def step(self, state: RunState, span: Span, *, outermost: bool = False) -> Span:
        """Return the span with its verdicts. ``span`` has none yet (see `without_verdicts`)."""
        span = self.evaluate(state, self.validate(state, span))
        if outermost:
            span = self.finish(state, span)
        if self._user_signals:
            span = self.evaluate_with_user_signals(state, span, outermost=outermost)
        return self.conclude(state, span, outermost=outermost)

    def validate(self, state: RunState, span: Span) -> Span:
        """Return the span with its schema violations. Call this in the order in which the spans of a run ended."""
        operation = span.operation
        violations: tuple[Violation, ...] = ()
        if isinstance(operation, Inference):
            violations = _of_inference(state, span, operation)
        elif isinstance(operation, FetchResponse):
            violations = _of_fetched(state, operation)
        elif isinstance(operation, ToolExecution):
            violations = _of_tool_execution(state, span, operation)
        elif isinstance(operation, Review) and operation.tool is not None:
            state.held_tools.add(operation.tool)
        if not violations:
            return span
        return replace(span, violations=violations, failure=span.failure or _failure(span, violations))

    def evaluate(self, state: RunState, span: Span) -> Span:
        """Return the validated span with facts by all laws but the program's own. Same order as `validate`."""
        if not self.laws:
            return span
        state.timeline.add(span)
        kind = type(span.operation)
        laws = self._by_kind.get(kind)
        if laws is None:
            laws = self._by_kind[kind] = _looking_at(kind, self._built_in)
        return _state_facts(laws, state, span)

    def finish(self, state: RunState, span: Span) -> Span:
        """Return the run's outermost span with the facts that are only known at its end."""
        return _state_last_facts(self._finishing, state, span)

    def evaluate_with_user_signals(self, state: RunState, span: Span, *, outermost: bool) -> Span:
        """Return the evaluated span with facts by the program's own signals, which see those of the built-in laws."""
        span = _state_facts(_looking_at(type(span.operation), self._user_signals), state, span)
        return _state_last_facts(self._user_signals, state, span) if outermost else span

    def conclude(self, state: RunState, span: Span, *, outermost: bool) -> Span:
        """Note all that was said of a span. Returns the outermost one with the run's findings, and attributes to search by."""
        state.timeline.note(span)
        return self._with_findings(state, span) if outermost else span

    def _with_findings(self, state: RunState, span: Span) -> Span:
        findings: Sequence[Finding] = ()
        if self.laws and not (state.timeline.is_quiet and span.failure is None):
            findings = judge(EndedRun(state.timeline, span, is_thorough=False), self.laws).findings
        marks = tuple([finding.as_evaluation() for finding in findings if finding.is_marked])
        attributes = {**span.attributes, **state.verdict.attributes(span, findings, has_error=bool(state.timeline.faulty))}
        return replace(span, evaluations=(*span.evaluations, *marks), attributes=attributes)

    def close(self, state: RunState, span: Span) -> Span:
        """Return the run's outermost span, stepped before others, with what is only known at the end of the run."""
        closed = self.finish(state, span)
        if self._user_signals:
            closed = _state_last_facts(self._user_signals, state, closed)
        last_facts = replace(closed, failure=None, violations=(), evaluations=closed.evaluations[len(span.evaluations) :])
        state.timeline.note(last_facts)
        return self._with_findings(state, closed)

    def without_verdicts(self, span: Span) -> Span:
        """Return the span as it was before evaluation. Verdicts by others (an outcome, a budget) stay."""
        failure = span.failure
        if failure is not None and failure.type == INVALID_TOOL_CALL:
            failure = None
        is_judged = semconv.HEALTH in span.attributes
        if failure is span.failure and not span.violations and not span.evaluations and not is_judged:
            return span
        remaining = tuple(evaluation for evaluation in span.evaluations if evaluation.name not in self._names)
        attributes = span.attributes
        if is_judged:
            attributes = {name: stored for name, stored in attributes.items() if name not in ATTRIBUTES}
        return replace(span, violations=(), evaluations=remaining, failure=failure, attributes=attributes)


def _state_facts(laws: Iterable[_Step], state: RunState, span: Span) -> Span:
    """Return the span with the facts of each law. A law that raises loses only its own facts."""
    timeline = state.timeline
    shows = {
        "": True,
        "attributes": span.attributes,
        "results": timeline.completed,
        "ungrounded": timeline.ungrounded,
        "violations": span.violations,
        "words": isinstance(span.operation, (Inference, FetchResponse)) and _has_words(span.operation),
    }
    states = state.law_states
    facts: list[Evaluation] = []
    for when, name, law, check in laws:
        if not shows[when]:
            continue
        try:
            if check is not None:
                stated = check(span)
            else:
                law_state = states[name] if name in states else _start(law, state)
                stated = () if law_state is _FAILED else law.step(law_state, span)
            if stated:
                facts += tuple(stated)  # all facts of the law, or none if its iterator raises
        except Exception as error:
            report(law, error)
    return replace(span, evaluations=(*span.evaluations, *facts)) if facts else span


def _state_last_facts(laws: Iterable[AnyLaw], state: RunState, span: Span) -> Span:
    """Return the run's outermost span with the facts of each law about the run as a whole."""
    states = state.law_states
    facts: list[Evaluation] = []
    for law in laws:
        try:
            law_state = states[law.name] if law.name in states else _start(law, state)
            if law_state is not _FAILED:
                facts += tuple(law.finish(law_state))
        except Exception as error:
            report(law, error)
    return replace(span, evaluations=(*span.evaluations, *facts)) if facts else span


def _start(law: AnyLaw, state: RunState) -> Any:
    state.law_states[law.name] = _FAILED  # replaced below unless `start` raises
    law_state = state.law_states[law.name] = law.start(state.timeline)
    return law_state


def _has_words(operation: Inference | FetchResponse) -> bool:
    """False if the model answered with tool calls only."""
    for message in operation.output:
        kinds = set(map(type, message.parts))
        if ToolCall not in kinds or not kinds <= _CALLING:
            return True
    return False


def _looking_at(kind: type, laws: Iterable[AnyLaw]) -> tuple[_Step, ...]:
    return tuple(
        (law.when, law.name, law, law.check if isinstance(law, Stateless) else None)
        for law in laws
        if type(law).step is not Law.step and (not law.looks_at or kind in law.looks_at)
    )


def _of_inference(state: RunState, span: Span, inference: Inference) -> tuple[Violation, ...]:
    tools, parameters = inference.tools, inference.parameters
    if tools:
        state.tools = tools
    if inference.partial:
        return ()  # an answer that was cut off breaks every schema; `partial` says so already
    violations: list[Violation] = []
    form = parameters.get("response_format") or parameters.get("text")
    schema = None if form is None else output_schema(form)
    constrained = schema is None and any(map(parameters.__contains__, CONSTRAINTS))
    for choice, message in enumerate(inference.output):
        called = False
        for part in message.parts:
            if type(part) is ToolCall:
                called = True
                checked = _of_call(part, tools)
                if part.arguments is None and span.scope.name != semconv.SCOPE_NAME:  # another writer left them out
                    checked = tuple(violation for violation in checked if violation.code == "unknown_tool")
                if checked:
                    violations.extend(replace(violation, choice=choice) for violation in checked)
        texts = [part.content for part in message.parts if isinstance(part, Text)]
        if texts and not called and (schema is not None or constrained):
            text = "".join(texts)
            broken = check_structured(text, parameters) if schema is None else check_output(text, schema)
            violations.extend(replace(violation, choice=choice) for violation in broken)
    return tuple(violations)


def _of_fetched(state: RunState, fetched: FetchResponse) -> tuple[Violation, ...]:
    """Validate an answer that was made in the background, once it is complete."""
    if fetched.partial or fetched.status not in (None, "completed"):
        return ()
    calls = (call for message in fetched.output for call in message.tool_calls())
    return tuple(violation for call in calls for violation in _of_call(call, state.tools))


def _of_call(call: ToolCall, tools: Sequence[ToolDefinition]) -> tuple[Violation, ...]:
    if tools:
        return check_call(call, tools)
    # the offered tools are unknown, so only the form of the arguments can be checked
    return check_arguments(call.arguments, ToolDefinition(call.name), call_id=call.id)


def _of_tool_execution(state: RunState, span: Span, execution: ToolExecution) -> tuple[Violation, ...]:
    definition = execution.definition or find_tool(execution.name, state.tools)
    if definition is None:
        # somebody answered in the tool's place, or decided on a call of it
        is_known = execution.executed or execution.has_result or execution.name in state.held_tools
        return () if is_known else (_unknown(execution),)
    violations: tuple[Violation, ...] = ()
    is_own = span.scope.name == semconv.SCOPE_NAME
    # arguments that were inferred, or wrapped by a writer, are not what the model wrote
    is_guessed = execution.definition is None and (execution.inferred or (not is_own and execution.call_id is None))
    if not is_guessed and (is_own or isinstance(execution.arguments, dict)):
        violations = check_arguments(execution.arguments, definition, call_id=execution.call_id)
    if violations:
        violations = tuple(replace(violation, executed=execution.executed) for violation in violations)
    if execution.has_result and execution.executed and definition.output is not None:
        broken = check_result(execution.result, definition, call_id=execution.call_id)
        if broken:
            violations += tuple(violation for violation in broken if not _is_snapshot_only(execution.result, violation))
    return violations


def _is_snapshot_only(result: JsonValue, violation: Violation) -> bool:
    """Return True if only the snapshot breaks the schema: the result has no JSON form there, or was left out."""
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
    """Return the failure of a tool execution with invalid arguments, even if the tool accepted them. None for an inference."""
    if not isinstance(span.operation, ToolExecution):
        return None
    errors = [violation for violation in violations if violation.severity == "error" and violation.where == "arguments"]
    if not errors:
        return None
    return Failure(
        INVALID_TOOL_CALL, "; ".join(f"{violation.pointer or violation.code}: {violation.message}" for violation in errors)
    )


def evaluate_trace(trace: Trace, evaluator: Evaluator | None = None) -> tuple[Trace, tuple[str, ...]]:
    """Evaluate every run of the trace again. Returns the trace, and the ids of the runs whose stored verdicts were kept.

    Spans of other instrumentations have no run: those of one trace are evaluated as one run, in causal order, and their
    evaluations are marked derived. Unfinished spans are passed through. A model call that several spans report is counted once
    (`codec.reconcile`).
    """
    evaluator = evaluator or Evaluator()
    trace = reconcile(trace)
    judged: dict[str, Span] = {}
    unknown: list[str] = []
    tasks_below: dict[str | None, list[Span]] = {}
    for task in trace.tasks:
        tasks_below.setdefault(task.parent_id, []).append(task)
    for spans in reversed(runs_of(trace)):  # the runs of a program before the program, whose verdict includes theirs
        run_id = spans[0].run_id
        if all(map(is_whole, spans)):  # otherwise it cannot be evaluated again
            program = outermost_of(spans)
            tasks = [judged[task.span_id] for task in tasks_below.get(program.span_id, ())] if program is not None else []
            spans = _replay(evaluator, spans, tasks, derived=run_id is None)
        else:
            unknown.insert(0, run_id or trace.trace_id)
        judged.update((span.span_id, span) for span in spans)
    return Trace([judged[span.span_id] for span in trace.spans], alive=trace.alive), tuple(unknown)


def with_verdict(trace: Trace) -> Trace:
    """Return an evaluated trace of another writer with the health of the whole trace on its root, to search by."""
    if not trace.spans or trace.root.run_id is not None:
        return trace
    attributes = {**trace.root.attributes, semconv.HEALTH: trace.health}
    if trace.health == "failed":
        attributes[semconv.SUSPECT] = True
    root = replace(trace.root, attributes=attributes)
    return Trace([root if span.span_id == root.span_id else span for span in trace.spans], alive=trace.alive)


def _replay(evaluator: Evaluator, spans: Sequence[Span], tasks: Sequence[Span], *, derived: bool) -> list[Span]:
    """Return the spans of one run with new verdicts. ``tasks``: the outermost spans of the runs of a program."""
    before = [evaluator.without_verdicts(_without_inferred_id(span)) for span in spans]
    after: dict[str, Span] = {}
    state = RunState(before, bounded=False)
    outermost = outermost_of(before)
    for task in tasks:
        if outermost is not None and task.end is not None and task.end <= (outermost.end or 0):
            state.verdict.absorb(task.attributes)
    # the calls of another writer, who recorded nothing around them: the first is no end of the run
    is_flat = derived and outermost is not None and isinstance(outermost.operation, (Inference, FetchResponse, ToolExecution))
    for span, has_ended in moments(before):
        if has_ended:
            after[span.span_id] = evaluator.step(state, span, outermost=span is outermost and not is_flat)
        else:
            state.timeline.begin(span)
    if is_flat and outermost is not None and outermost.end is not None:
        after[outermost.span_id] = evaluator.close(state, after[outermost.span_id])
    judged: list[Span] = []
    for stored, unjudged in zip(spans, before, strict=True):
        span = stored  # if it has not ended
        if stored.span_id in after:
            span = _with_inferred_id(after[stored.span_id], state.timeline)
            span = _in_stored_order(stored, _mark_derived(unjudged, span) if derived else span)
        judged.append(span)
    return judged


def _without_inferred_id(span: Span) -> Span:
    """Return the execution of another writer without a call id that an earlier evaluation inferred. Spans may have arrived."""
    operation = span.operation
    if span.run_id is not None or not isinstance(operation, ToolExecution) or not operation.inferred:
        return span
    return replace(span, operation=replace(operation, call_id=None, inferred=False))


def _with_inferred_id(span: Span, timeline: Timeline) -> Span:
    """Return the execution of another writer, which gave no call id, with the id of the call that it belongs to."""
    operation = span.operation
    if span.run_id is not None or not isinstance(operation, ToolExecution) or operation.call_id is not None:
        return span
    call = timeline.calls.of_execution(span.span_id)
    if call is None or call.id is None:
        return span
    return replace(span, operation=replace(operation, call_id=call.id, inferred=True))


def _in_stored_order(stored: Span, judged: Span) -> Span:
    """Keep the order of the stored verdicts, in which an outcome comes after the facts."""
    if judged.evaluations is stored.evaluations:
        return judged
    new = [evaluation for evaluation in judged.evaluations if evaluation not in stored.evaluations]
    if new or len(judged.evaluations) != len(stored.evaluations):
        return judged
    return replace(judged, evaluations=stored.evaluations)


def _mark_derived(before: Span, after: Span) -> Span:
    if after.evaluations is before.evaluations:
        return after
    new = tuple(
        evaluation if evaluation in before.evaluations else replace(evaluation, derived=True)
        for evaluation in after.evaluations
    )
    return replace(after, evaluations=new)
