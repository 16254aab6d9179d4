"""The recorder: the only place that starts and ends spans.

Life of a span: it starts (ids, parent, start mark to the sinks); it ends (evaluated in its run, cleaned, given to the sinks);
then its OpenTelemetry span is filled at the allowed content level, and ended. All of it happens at once, on the calling thread.
Sinks never see raw content, and no error of theirs reaches the program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import TracerProvider

from llmtrace import semconv
from llmtrace.codec import genai
from llmtrace.codec.skills import with_skill
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.content.clean import Start
from llmtrace.errors import LlmtraceError
from llmtrace.locks import lazy_property
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Evaluation,
    Event,
    Failure,
    Inference,
    JsonValue,
    Kind,
    Link,
    Operation,
    RawSpan,
    Review,
    Scope,
    Sink,
    Span,
    Text,
    ToolExecution,
    Workflow,
    is_stopped_by_budget,
    replace,
)
from llmtrace.recorder import keys, objectives, otel, root
from llmtrace.recorder.failures import failure_of, is_failure
from llmtrace.recorder.guard import guard, report
from llmtrace.recorder.hooks import Hooks
from llmtrace.recorder.identity import Identity
from llmtrace.recorder.player import player
from llmtrace.recorder.recording import NoRecording, Recording
from llmtrace.recorder.run import Run
from llmtrace.store import Store

if TYPE_CHECKING:
    from llmtrace.evaluation import Evaluator

_LONGEST_TASK = 4000
"""Characters of a task that is stored in the start mark of its agent, at most."""


class Watcher(Protocol):
    """Sees every span below the place where it was set. It may stop the program if the program asked for that."""

    def before(self, operation: Operation) -> None:
        """Called before a span starts. A `LlmtraceError` that it raises reaches the program."""

    def withdraw(self, operation: Operation) -> None:
        """Undo `before`: the span does not start."""

    def report_refusal(self, error: LlmtraceError) -> Evaluation | None:
        """Return what to record on the span around a call that `before` refused with ``error``."""
        ...

    def after(self, span: Span, recording: Recording | None) -> Sequence[Evaluation]:
        """Called when a span has ended. ``recording``: the span's recording; None for an external span."""
        ...


class Recorder:
    def __init__(
        self,
        config: Config,
        *,
        content: Content,
        make_evaluator: Callable[[], Evaluator],
        hooks: Hooks | None = None,
        sinks: Sequence[Sink] = (),
        resource: Mapping[str, JsonValue] | None = None,
        scope: Scope | None = None,
        identity: Identity | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        """``make_evaluator``: called with the first span, and again after `use_evaluator`. ``tracer_provider``: default, the
        global one if the program has set it by the time that a span starts; else no OpenTelemetry span is recorded."""
        self.config = config
        self.content = content
        self._make_evaluator = make_evaluator
        self._evaluator: Evaluator | None = None
        self.hooks = hooks or Hooks()
        self.sinks = tuple(sinks)
        self.identity = identity or Identity()
        self._resource = dict(resource or {})
        self._scope = scope or Scope()
        self._tracers = otel.Tracers(tracer_provider, self._scope)

    @property
    def evaluator(self) -> Evaluator | None:
        """The evaluator; None while it cannot be imported, for example because no file descriptor is left."""
        if self._evaluator is None:
            self._evaluator = guard(self._make_evaluator)
        return self._evaluator

    @lazy_property
    def replay_key(self) -> bytes | None:
        """The secret key for the digests of requests; None if spans keep nothing for a replay. Asked once, even if it fails."""
        return None if self.hooks.make_replay_key is None else guard(self.hooks.make_replay_key)

    @property
    def store(self) -> Store | None:
        """The store that spans are recorded into; None if they are only sent, or given to other sinks."""
        return next((sink for sink in self.sinks if isinstance(sink, Store)), None)

    def add_sink(self, sink: Sink) -> None:
        """Give the spans that start or end from now on to this sink, too."""
        self.sinks = (*self.sinks, sink)

    def use_evaluator(self, make_evaluator: Callable[[], Evaluator] | None = None) -> None:
        """Use another evaluator from the next run on. None: make it again, since the program has registered a signal."""
        self._make_evaluator = make_evaluator or self._make_evaluator
        self._evaluator = None

    def start(
        self,
        operation: Operation,
        *,
        name: str | None = None,
        kind: Kind | None = None,
        attributes: Mapping[str, JsonValue] | None = None,
        context: Context | None = None,
        links: Sequence[Link] = (),
        can_be_answered: bool = False,
    ) -> Recording:
        """Open a span below the current one. Raises only the error of a watcher (``BudgetExceeded``), and in a replay
        `ReplayDiverged`.

        ``name`` and ``kind``: default, by the conventions for the operation. ``context``: where to find the parent; default,
        the current context. ``links``: spans to link to. ``can_be_answered``: the caller will ask the player of a replay for
        the tool's result instead of running the tool.
        """
        if isinstance(operation, ToolExecution):
            operation = self._enrich(operation)  # a sampler sees the skill
        context = otel_context.get_current() if context is None else context
        if self.hooks.place_in is not None:
            context = guard(self.hooks.place_in, context) or context
        if root.program is not None:
            context = guard(root.program.around, context) or context
        watchers: tuple[Watcher, ...] = context.get(keys.WATCHERS, ())  # type: ignore[assignment]
        if watchers:
            _admit(watchers, operation, context.get(keys.RECORDING))
        try:
            recording = self._start(context, operation, name, kind, attributes, watchers, tuple(links))
        except Exception as error:
            report(Recorder.start, error)
            _withdraw(watchers, operation)
            return NoRecording(self, operation)
        played = player()
        if played is not None:
            guard(played.started, recording)
            if not can_be_answered and isinstance(operation, ToolExecution) and operation.executed:
                try:
                    played.must_run(recording, operation)
                except BaseException as error:
                    recording.end(exception=error)
                    raise
        return recording

    def clean(self, operation: Operation) -> Operation:
        """Return an operation as it is read from the store: redacted and truncated."""
        return self.content.clean(Span("0" * 32, "0" * 16, "", 0, operation=operation)).operation

    def cost_of(self, inference: Inference) -> float | None:
        """Return the cost of a model call in US dollars, or None if its price is unknown. Never raises."""
        enriched = self._enrich(inference)
        return enriched.cost_usd if isinstance(enriched, Inference) else None

    def _enrich(self, operation: Operation) -> Operation:
        if isinstance(operation, ToolExecution):
            return guard(with_skill, operation) or operation
        if self.hooks.enrich is None or not isinstance(operation, Inference):
            return operation
        return guard(self.hooks.enrich, operation) or operation

    def _start(
        self,
        context: Context,
        operation: Operation,
        name: str | None,
        kind: Kind | None,
        attributes: Mapping[str, JsonValue] | None,
        watchers: tuple[Watcher, ...],
        links: tuple[Link, ...],
    ) -> Recording:
        owner: Any = context.get(keys.RECORDING)
        parent = otel.span_context_in(context)
        run = owner.run if owner is not None and owner.run.is_here else None
        is_below_program = run is not None and root.is_program(owner)
        external_run = None
        hooks = self.hooks
        if parent.is_valid and hooks.external_run is not None and (run is None or is_below_program):
            external_run = guard(hooks.external_run, context)
        if external_run is not None:
            run = external_run
        elif is_below_program and isinstance(operation, (AgentInvocation, Custom, Workflow)):
            run = None  # each task of a program is a run of its own
        elif run is not None and run.evaluator is not self.evaluator:
            run.renew(self.evaluator)
        opening = self.content.opening(operation, name)
        name, kind, exported = opening.name, kind or opening.kind, opening.exported
        inherited: Any = context.get(keys.ATTRIBUTES)
        span_attributes: dict[str, JsonValue] = {**(inherited or {}), **(attributes or {})}
        if run is not None and (owner is None or owner.run is not run) and hooks.external_conversation is not None:
            conversation = guard(hooks.external_conversation, context)
            if conversation is not None:
                span_attributes.setdefault(semconv.CONVERSATION_ID, conversation)
        events: list[Event] = []
        if objectives.declared:
            kind_name = opening.stored.attributes.get(semconv.OPERATION_NAME)
            span_attributes.update(objectives.attributes_of(operation, name, kind_name))
        start = self.identity.clock()
        started = self._tracers.start(
            context, parent, exported.name, kind, start, self.identity, {**exported.attributes}, links, span_attributes, events
        )
        recording = Recording(
            self,
            self.new_run() if run is None else run,
            started,
            outermost=run is None,
            parent=owner if run is not None and owner is not None and owner.run is run else None,
            name=name,
            kind=kind,
            operation=operation,
            start=start,
            attributes=span_attributes,
            events=events,
            watchers=watchers,
            otel_name=exported.name,
            otel_attributes=exported.attributes,
            around=context,
            links=links,
        )
        if isinstance(operation, (AgentInvocation, Workflow)):
            opened = Span(recording.trace_id, recording.span_id, name, start, None, recording.parent_id, operation=operation)
            guard(recording.run.begin_span, opened)
        self._tell_start(recording, opening.stored)
        return recording

    def _tell_start(self, recording: Recording, opening: Start) -> None:
        """Tell the sinks that a span started, and write a start mark, which shows what a killed run was doing."""
        mark: RawSpan | None = None
        for sink in self.sinks:
            step: Any = sink.on_span_start
            try:
                step(recording.span_id, recording.operation)
                if sink.wants_start_marks:
                    step, mark = sink.append, mark or self._start_mark(recording, *opening)
                    if sink.takes_encoded:
                        sink.append_encoded(mark)
                    else:
                        sink.append(genai.decode(mark))
            except Exception as error:
                report(step, error)

    def _start_mark(self, recording: Recording, name: str, attributes: Mapping[str, JsonValue]) -> RawSpan:
        """Return the start mark of a span. It is small: its only content is a short task of an agent or workflow."""
        raw = RawSpan(
            recording.trace_id,
            recording.span_id,
            name,
            recording.start,
            None,
            recording.parent_id,
            recording.kind,
            attributes={**attributes, semconv.RUN_ID: recording.run.id},
            resource=self.content.clean_resource(self._resource),
            scope=self._scope,
        )
        task = _short_task(recording.operation)
        if recording.attributes or task is not None:
            mark = replace(genai.decode(raw), attributes=recording.attributes)
            raw = self.content.write(mark if task is None else replace(mark, operation=task))
        return raw

    def finish(
        self,
        recording: Recording,
        operation: Operation,
        failure: Failure | None,
        exception: BaseException | None,
        end: int | None,
    ) -> Span:
        """Do the work of `Recording.end`, which calls this once."""
        end = self.identity.clock() if end is None else end
        if failure is None and exception is None:
            failure = recording.recorded_failure
        if failure is None and exception is not None and is_failure(exception):
            failure = guard(failure_of, exception)
        has_failed = failure is not None or exception is not None
        failure = otel.read_program_changes(recording, has_failed=has_failed) or failure
        played = player()
        if played is not None:
            guard(played.ended, recording, operation, failure)
        if isinstance(operation, Review) and end > recording.start:
            _add_wait(recording, end)
        if recording.waits:
            recording.attributes[semconv.REVIEW_WAITED] = _seconds(recording.waits)
        tree = self.hooks.working_tree
        if recording.outermost and tree is not None and tree.changes is not None:
            recording.attributes[semconv.VCS_CHANGES] = tree.changes
        span = Span(
            recording.trace_id,
            recording.span_id,
            recording.name,
            recording.start,
            max(end, recording.start),
            recording.parent_id,
            recording.kind,
            self._enrich(operation),
            failure=failure,
            attributes=dict(recording.attributes),
            events=tuple(recording.events),
            links=recording.links,
            resource=self._resource,
            scope=self._scope,
            recorded=recording.recorded,
        )
        fill = partial(otel.finish, recording)
        return self._end(span, recording.run, recording.watchers, fill, recording, outermost=recording.outermost)

    def adopt(self, span: Span, run: Run, watchers: Sequence[Watcher], *, outermost: bool) -> None:
        """Add a span of another instrumentation to a run, as if it were ours."""
        operation = span.operation
        operation = run.join_call(operation) if isinstance(operation, ToolExecution) else operation
        self._end(replace(span, operation=self._enrich(operation)), run, watchers, otel.report_evaluations, outermost=outermost)

    def _end(
        self,
        span: Span,
        run: Run,
        watchers: Sequence[Watcher],
        fill: Callable[[Span, RawSpan | None, Content, Scope], None],
        recording: Recording | None = None,
        *,
        outermost: bool,
    ) -> Span:
        """Judge a span, add what the program and its watchers report, give it to the sinks, and ``fill`` OpenTelemetry's.

        ``recording``: None for a span of another instrumentation.
        """
        span = run.end_span(span, outermost=outermost)
        try:
            if run.evaluator is not None and run.evaluator.has_user_signals:
                span = run.judge(span, outermost=outermost)
            outcome = run.outcome if outermost else run.outcomes.pop(span.span_id, None)
            if outcome is not None or watchers or (recording is not None and recording.refusals):
                span = self._with_reports(span, outcome, watchers, recording)
            if outermost or span.failure or span.evaluations or span.violations:
                span = run.conclude(span, outermost=outermost)
                if outermost:
                    guard(root.absorb, span)
        finally:  # after Ctrl-C in a signal of the program, only its verdict is missing, not the span
            guard(fill, span, self._export(span), self.content, self._scope)
        return span

    @staticmethod
    def _with_reports(span: Span, outcome: Evaluation | None, watchers: Sequence[Watcher], recording: Recording | None) -> Span:
        """Add what the program and its watchers report about a span."""
        reports: tuple[Evaluation, ...] = () if outcome is None else (outcome,)
        if recording is not None and recording.refusals and not is_stopped_by_budget(span):
            reports += tuple(recording.refusals)
        for watcher in watchers:
            reports += tuple(guard(watcher.after, span, recording) or ())
        return replace(span, evaluations=(*span.evaluations, *reports)) if reports else span

    def new_run(self) -> Run:
        return Run(self.identity.run_id(), self.evaluator)

    def _export(self, span: Span) -> RawSpan | None:
        """Write a span as it may be stored, and give it to the sinks. Returns the written span; None if no sink needed it."""
        raw: RawSpan | None = None
        for sink in self.sinks:
            step: Any = sink.on_span_end
            try:
                if not step(span):
                    continue
                raw = raw or self.content.write(span)
                if sink.takes_encoded:
                    step = sink.append_encoded
                    step(raw)
                else:
                    step = sink.append
                    step(genai.decode(raw))
            except Exception as error:
                report(step, error)
        return raw


def _add_wait(review: Recording, end: int) -> None:
    """Tell every open span around a review that it waited."""
    around = review.parent
    while around is not None:
        around.waits.append((review.start, end))
        around = around.parent


def _seconds(waits: Sequence[tuple[int, int]]) -> float:
    """Return the seconds covered by the waits; overlapping ones count once."""
    total = until = 0
    for start, end in sorted(waits):
        total += max(0, end - max(start, until))
        until = max(until, end)
    return total / 1e9


def _short_task(operation: Operation) -> Operation | None:
    """Return an agent or workflow whose task is a short text, or None for any other operation."""
    if not isinstance(operation, (AgentInvocation, Workflow)) or len(operation.input) != 1:
        return None
    parts = operation.input[0].parts
    is_short = len(parts) == 1 and isinstance(parts[0], Text) and len(parts[0].content) <= _LONGEST_TASK
    return operation if is_short else None


def _admit(watchers: tuple[Watcher, ...], operation: Operation, around: Any) -> None:
    """Ask the watchers, the innermost first. If one refuses, those asked before it forget the operation.

    ``around``: the recording that notes a refusal, because the program may catch the error; None: no span is open.
    """
    admitted: list[Watcher] = []
    for watcher in reversed(watchers):
        try:
            watcher.before(operation)
        except LlmtraceError as error:
            _withdraw(admitted, operation)
            evaluation = None if around is None else guard(watcher.report_refusal, error)
            if evaluation is not None:
                around.refusals.append(evaluation)
            raise
        except Exception as error:
            report(watcher.before, error)
        admitted.append(watcher)


def _withdraw(watchers: Sequence[Watcher], operation: Operation) -> None:
    for watcher in watchers:
        guard(watcher.withdraw, operation)
