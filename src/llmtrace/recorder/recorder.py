"""The recorder: the only place that starts and ends spans.

A span's way: started (ids, parent, start mark to the sinks), ended (evaluated in its run, cleaned, handed to the sinks), and
then the OpenTelemetry span is filled and ended, at the content level that may leave. Sinks never see raw content; nothing of
theirs reaches the program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import TracerProvider

from llmtrace import semconv
from llmtrace.codec import genai
from llmtrace.config import OnInvalid
from llmtrace.content import Content
from llmtrace.errors import LlmtraceError
from llmtrace.evaluation import Evaluator
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Evaluation,
    Failure,
    JsonValue,
    Kind,
    Link,
    Operation,
    RawSpan,
    Scope,
    Span,
    ToolExecution,
    Workflow,
    replace,
)
from llmtrace.recorder import keys, objectives, otel, root
from llmtrace.recorder.deferred import defer
from llmtrace.recorder.failures import failure_of, is_failure
from llmtrace.recorder.guard import guard, report
from llmtrace.recorder.identity import Identity
from llmtrace.recorder.recording import NoRecording, Recording
from llmtrace.recorder.run import Ended, Run, here
from llmtrace.signals import user_signals


class Sink(Protocol):
    """Where spans go. Called on the calling thread, with a start mark (``end`` None) and then with the ended span.

    A sink whose ``marks`` is False is not told of starts. One that writes what `genai.encode` gives has
    ``append_encoded(raw)``: it is called in place of ``append``, so that a span is encoded once for all of them. One that only
    counts what is under way has ``started(span_id, operation)`` and ``answering(span_id)``, for the first chunk of a stream.
    One that often has no use for a span has ``passes(span)``: it is asked first, with the span as it is before cleaning, of
    which it keeps nothing; True: the sink needs no more of it. One that has ``is_idle()`` needs no span while that is True.
    """

    def append(self, span: Span) -> None: ...


class Watcher(Protocol):
    """Sees every span below the place where it was set; may stop the program, where the program asked it to."""

    def before(self, operation: Operation) -> None:
        """Called before a span starts. A `LlmtraceError` that it raises reaches the program."""

    def withdraw(self, operation: Operation) -> None:
        """What `before` was called for does not start after all."""

    def after(self, span: Span, recording: Recording | None) -> Sequence[Evaluation]:
        """Called when a span has ended. ``recording``: it, while it was open; None for a span that was not started here."""
        ...


class _Taking:
    """How a sink takes spans."""

    __slots__ = ("append", "encoded", "passes")

    def __init__(self, sink: Any) -> None:
        encoded = getattr(sink, "append_encoded", None)
        self.passes: Callable[[Span], bool] | None = getattr(sink, "passes", None)
        self.encoded = encoded is not None
        self.append: Callable[[Any], None] = sink.append if encoded is None else encoded


class Recorder:
    def __init__(
        self,
        *,
        content: Content,
        evaluator: Evaluator,
        sinks: Sequence[Sink] = (),
        enrich: Callable[[Operation], Operation] = lambda operation: operation,
        resource: Mapping[str, JsonValue] | None = None,
        scope: Scope | None = None,
        identity: Identity | None = None,
        tracer_provider: TracerProvider | None = None,
        on_invalid: OnInvalid = "record",
    ) -> None:
        """``enrich`` adds what is computed from an operation (cost, fingerprint). ``tracer_provider``: default, the
        global one if the program has set it, by the time that a span starts; else no OpenTelemetry span is recorded."""
        self.content = content
        self.evaluator = evaluator
        self.sinks = tuple(sinks)
        self._starting = tuple(sink.started for sink in self.sinks if hasattr(sink, "started"))
        self.told_of_answers = tuple(sink.answering for sink in self.sinks if hasattr(sink, "answering"))
        self.identity = identity or Identity()
        self.on_invalid: OnInvalid = on_invalid
        self.foreign_run: Callable[[Context], Run | None] | None = None
        """Gives the run of another instrumentation's agent for a span of ours below it; see `external.open_spans`."""
        self.signal_names: tuple[str, ...] | None = None
        """Which quality signals are on, see `llmtrace.signals.load`."""
        self.vllm_tool_parser = ""
        """See `Config`; the instrumentor of vLLM asks for it."""
        self.renewed: Callable[[], Evaluator] | None = None
        """Makes the evaluator anew, when the program has registered another signal."""
        self._enrich = enrich
        self._resource = dict(resource or {})
        self._scope = scope or Scope()
        self._tracers = otel.Tracers(tracer_provider, self._scope)

    @property
    def sinks(self) -> tuple[Sink, ...]:
        return self._sinks

    @sinks.setter
    def sinks(self, sinks: tuple[Sink, ...]) -> None:
        self._sinks = sinks
        self._taking = tuple([_Taking(sink) for sink in sinks])
        self._marked = tuple([_Taking(sink) for sink in sinks if getattr(sink, "marks", True)])
        idle = [getattr(sink, "is_idle", None) for sink in sinks]
        self._idle: list[Any] | None = None if None in idle else idle
        """What says of each sink that it needs no span; None where one needs them always."""

    def start(
        self,
        operation: Operation,
        *,
        name: str | None = None,
        kind: Kind | None = None,
        attributes: Mapping[str, JsonValue] | None = None,
        context: Context | None = None,
        links: Sequence[Link] = (),
        may_wait: bool = False,
    ) -> Recording:
        """Open a span below the current one. Raises only what a watcher raises (``BudgetExceeded``).

        ``name`` and ``kind``: default, as the conventions say for the operation. ``context``: the span goes below what is
        current there, not here (`Recording.context` of a parent that is known by other means). ``links``: spans to point at.
        ``may_wait``: the span is one of many, so its start mark and what it is ended with by `Recording.end_later` are
        deferred, unless somebody looks at each span as it ends: a budget, or the program's own TracerProvider.
        """
        context = otel_context.get_current() if context is None else context
        if root.program is not None:
            context = guard(root.program.around, context) or context
        watchers: tuple[Watcher, ...] = context.get(keys.WATCHERS, ())  # type: ignore[assignment]
        if watchers:
            _admit(watchers, operation)
        try:
            return self._start(context, operation, name, kind, attributes, watchers, tuple(links), may_wait)
        except Exception as error:
            report(Recorder.start, error)
            _withdraw(watchers, operation)
            return NoRecording(self, operation)

    def cost_of(self, operation: Operation) -> float | None:
        """US dollars that an operation with its usage costs; None where its price is not known. Never raises."""
        cost: float | None = getattr(guard(self._enrich, operation), "cost_usd", None)
        return cost

    def _start(
        self,
        context: Context,
        operation: Operation,
        name: str | None,
        kind: Kind | None,
        attributes: Mapping[str, JsonValue] | None,
        watchers: tuple[Watcher, ...],
        links: tuple[Link, ...],
        may_wait: bool,
    ) -> Recording:
        owner: Any = context.get(keys.RECORDING)
        run = owner.run if owner is not None and owner.run.is_here else None
        if run is None:
            run = None if self.foreign_run is None else guard(self.foreign_run, context)
        elif root.is_program(owner):
            run = self._below_program(run, operation, context)
        elif run.evaluator is not self.evaluator:
            run.renew(self.evaluator)
        usual_name, usual_kind, known = genai.opening(operation)
        name, kind = name or usual_name, kind or usual_kind
        inherited: Any = context.get(keys.ATTRIBUTES)
        own: dict[str, JsonValue] = {**(inherited or {}), **(attributes or {})}
        if objectives.declared:
            own.update(objectives.attributes_of(operation, name, known.get(semconv.OPERATION_NAME)))
        start = self.identity.clock()
        span, trace_id, span_id, parent_id = self._tracers.start(context, name, kind, start, self.identity, known, links)
        recording = Recording(
            self,
            self.new_run() if run is None else run,
            trace_id=trace_id,
            span_id=span_id,
            parent_id=parent_id,
            outermost=run is None,
            parent=owner if run is not None and owner is not None and owner.run is run else None,
            name=name,
            kind=kind,
            operation=operation,
            start=start,
            attributes=own,
            watchers=watchers,
            otel=span,
            around=context,
            links=links,
        )
        if may_wait and not watchers and not span.is_recording():
            recording.may_wait = True
            if self._marked:
                defer(recording.run, lambda: self._mark(recording, known) if recording.is_open else None)
        elif self._marked:
            self._mark(recording, known)
        for started in self._starting:
            try:
                started(recording.span_id, operation)
            except Exception as error:
                report(started, error)
        return recording

    def _below_program(self, run: Run, operation: Operation, context: Context) -> Run | None:
        """The run of a span that has nothing around it but the program, whose run is ``run``; None: it begins one."""
        found = None if self.foreign_run is None else guard(self.foreign_run, context)
        if found is not None or isinstance(operation, (AgentInvocation, Custom, Workflow)):
            return found
        if run.evaluator is not self.evaluator:
            run.renew(self.evaluator)
        return run

    def _mark(self, recording: Recording, known: Mapping[str, JsonValue]) -> None:
        """Tell the sinks that a span started: small, without content, so that a killed run shows what it was doing."""
        raw = RawSpan(
            recording.trace_id,
            recording.span_id,
            recording.name,
            recording.start,
            None,
            recording.parent_id,
            recording.kind,
            attributes={**known, semconv.RUN_ID: recording.run.id},
            resource=self._resource,
            scope=self._scope,
        )
        if recording.attributes:
            raw = genai.encode(self.content.clean(replace(genai.decode(raw), attributes=recording.attributes)))
        for taking in self._marked:
            try:
                taking.append(raw if taking.encoded else genai.decode(raw))
            except Exception as error:
                report(taking.append, error)

    def finish(
        self,
        recording: Recording,
        operation: Operation,
        failure: Failure | None,
        exception: BaseException | None,
        end: int | None,
    ) -> Span:
        """What `Recording.end` does, once."""
        end = self.identity.clock() if end is None else end
        waits = self._has_only_readers() and not here.evaluating and not user_signals.is_judging.get()
        enrich = self._enriched if waits and not recording.watchers else None  # a budget asks what it cost
        if enrich is None:
            try:
                operation = self._enrich(operation)
            except Exception as error:
                report(self._enrich, error)
        if failure is None and exception is not None and is_failure(exception):
            failure = guard(failure_of, exception)
        run, watchers = recording.run, recording.watchers
        ended = run.enter(self._span, recording, operation, failure, end, outermost=recording.outermost, enrich=enrich)
        if watchers or run.told or run.outcome is not None:
            self._tell(ended, run, watchers, recording)
        if waits and otel.finish_later(recording.otel, ended, self.content):
            run.evaluate_oldest()
            return ended.span
        span = ended.whole()
        clean, raw = self._hand_on(span)
        otel.finish(recording.otel, span, clean, raw, self.content)
        return span

    def _span(self, sequence: int, recording: Recording, operation: Operation, failure: Failure | None, end: int) -> Span:
        return Span(
            recording.trace_id,
            recording.span_id,
            recording.name,
            recording.start,
            max(end, recording.start),
            recording.parent_id,
            recording.kind,
            operation,
            recording.run.id,
            sequence,
            failure,
            attributes=recording.attributes,
            events=tuple(recording.events),
            links=recording.links,
            resource=self._resource,
            scope=self._scope,
        )

    def _has_only_readers(self) -> bool:
        """Whether nobody needs what signals find but who reads the OpenTelemetry span."""
        idle = self._idle
        return idle is not None and bool(self.evaluator.signals) and all(is_idle() for is_idle in idle)

    def _enriched(self, span: Span) -> Span:
        operation = self._enrich(span.operation)
        return span if operation is span.operation else replace(span, operation=operation)

    @staticmethod
    def _tell(ended: Ended, run: Run, watchers: Sequence[Watcher], recording: Recording | None) -> None:
        """Add what the program and its watchers say of a span."""
        outcome = run.outcome_of(ended)
        if outcome is not None:
            ended.told = (outcome,)
        for watcher in watchers:
            ended.told += tuple(guard(watcher.after, ended.span, recording) or ())

    def new_run(self) -> Run:
        return Run(self.identity.run_id(), self.evaluator)

    def adopt(self, span: Span, run: Run, watchers: Sequence[Watcher], *, outermost: bool) -> None:
        """Take a span that another instrumentation made into a run, as if it were ours."""
        span = replace(span, run_id=run.id, operation=_joined(run, self._enrich(span.operation)))
        ended = run.enter(lambda sequence: replace(span, sequence=sequence), outermost=outermost)
        self._tell(ended, run, watchers, None)
        self._hand_on(ended.whole())

    def _hand_on(self, span: Span) -> tuple[Span | None, RawSpan | None]:
        """Clean a span and give it to the sinks. Returns it cleaned, and encoded, where one of them needed that."""
        clean: Span | None = None
        raw: RawSpan | None = None
        for taking in self._taking:
            step: Any = taking.passes
            try:
                if step is not None and step(span):
                    continue
                if clean is None:
                    step = self.content.clean
                    clean = step(span)
                if taking.encoded and raw is None:
                    step = genai.encode
                    raw = step(clean)
                step = taking.append
                step(raw if taking.encoded else clean)
            except Exception as error:
                report(step, error)
        return clean, raw


def _joined(run: Run, operation: Operation) -> Operation:
    """An execution that does not say which call it answers, or with which arguments, joined to the call that it must be."""
    if not isinstance(operation, ToolExecution):
        return operation
    if operation.call_id is not None:
        call = run.answered(operation.call_id)
        if call is None or operation.arguments is not None or call.name != operation.name:
            return operation
        return replace(operation, arguments=call.arguments, inferred=True)
    found = run.match(operation.name, operation.arguments)
    return operation if found is None else replace(operation, call_id=found, inferred=True)


def _admit(watchers: tuple[Watcher, ...], operation: Operation) -> None:
    """Ask the watchers, the innermost first. What one of them refuses does not count with the others."""
    asked: list[Watcher] = []
    for watcher in reversed(watchers):
        try:
            watcher.before(operation)
        except LlmtraceError:
            _withdraw(asked, operation)
            raise
        except Exception as error:
            report(watcher.before, error)
        asked.append(watcher)


def _withdraw(watchers: Sequence[Watcher], operation: Operation) -> None:
    for watcher in watchers:
        guard(watcher.withdraw, operation)
