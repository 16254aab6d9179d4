"""Records spans that other instrumentations make in this process: same signals, same store as ours.

One span processor, on the program's own TracerProvider and on our recording proxies (`tracer_provider`). It records every span
that a dialect knows, every span below one of these or one of ours, and every span around one, so that the tree is whole. The
outermost of them and all below it are one run (`open_spans`). Other spans of the program (its database, its web server) are
ignored.

Law: one inference per call. If another instrumentation has wrapped the same call, our span is the inference. Their span is
left out if it is inside ours; around ours, or beside ours (`same_call`), it stays as a plain span. Their span of a tool
execution, an agent or a workflow right inside or right around ours of the same one also stays as a plain span. Spans that add
nothing to ours, by their scope, are left out, except model calls that only they tell of (`moved_spans`).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.trace.status import StatusCode

from llmtrace import semconv
from llmtrace.codec.messages import read_definitions
from llmtrace.external.moved_spans import MovedSpans, is_redundant
from llmtrace.external.open_spans import MOST_OPEN, OpenSpans, Place
from llmtrace.external.same_call import OurCalls, is_only_request, remember
from llmtrace.external.tracer_provider import listen
from llmtrace.locks import fork_safe_lock, importing
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Event,
    Inference,
    Kind,
    Link,
    Operation,
    RawSpan,
    Scope,
    Sink,
    Span,
    ToolExecution,
    Workflow,
    replace,
)
from llmtrace.recorder import Recording, active, keys
from llmtrace.recorder.current import is_suppressed
from llmtrace.recorder.guard import guard
from llmtrace.recorder.player import Player, player
from llmtrace.recorder.run import Run

if TYPE_CHECKING:
    from llmtrace.external.ingest import Ingestor

_KINDS: tuple[Kind, ...] = ("internal", "server", "client", "producer", "consumer")

_STEPS = (AgentInvocation, ToolExecution, Workflow)
_MOST_RESOURCES = 256
"""Resources that are remembered, at most; each TracerProvider has one."""


class ExternalSpans(SpanProcessor, Sink):
    """Records external spans. It is also a sink of the recorder, to see our own inferences."""

    wants_start_marks = False

    def __init__(self, make_ingestor: Callable[[], Ingestor]) -> None:
        """``make_ingestor`` is called for the first external span outside all our runs: most programs have none."""
        self._make_ingestor = make_ingestor
        self._ingestor: Ingestor | None = None
        self._open = OpenSpans(_new_run)
        self._calls = OurCalls()
        self._moved = MovedSpans()
        self._within: OrderedDict[str, list[Operation]] = OrderedDict()
        """Inferences, executions, agents and workflows of ours, without content, by the external span that is their parent."""
        self._open_tools: OrderedDict[str, ToolExecution] = OrderedDict()
        """Our open executions that started while an external span was open, by span id."""
        self._resources: dict[int, tuple[object, dict[str, Any]]] = {}
        self._suppressed: OrderedDict[int, None] = OrderedDict()
        """Open spans that began inside `llmtrace.suppress`."""
        self._lock = fork_safe_lock()

    def on_span_end(self, span: Span) -> bool:
        """Remember our ended inferences. Return False, since this sink does not need the ended span."""
        listen()  # the program may have set a provider without `set_tracer_provider`
        if self._open_tools:
            with self._lock:
                self._open_tools.pop(span.span_id, None)
        if self._open.any_open():  # otherwise it cannot be inside an external span, or be the same call
            if isinstance(span.operation, (Inference, *_STEPS)):
                self._note(span.parent_id, span.operation)
            if isinstance(span.operation, Inference) and span.scope.name == semconv.SCOPE_NAME:
                self._calls.ended(span)
        return False

    def append(self, span: Span) -> None:
        self.on_span_end(span)

    def on_span_start(self, span_id: str, operation: Operation) -> None:
        """Remember an inference or an execution of ours that starts."""
        if isinstance(operation, ToolExecution) and self._open.any_open():
            with self._lock:
                remember(self._open_tools, span_id, operation, MOST_OPEN)
        if isinstance(operation, Inference):
            context = otel_context.get_current()
            around, current = self._moved.parent_in(context), otel_trace.get_current_span(context).get_span_context()
            self._calls.started(span_id, operation, around)
            if around is not current:  # no longer its parent, but the same call, as where it is the parent
                self._note(f"{current.span_id:016x}", operation)

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        guard(self._start, span, otel_context.get_current() if parent_context is None else parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        guard(self._end, span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Evaluate the waiting traces, for at most about ``timeout_millis`` milliseconds."""
        if self._ingestor is not None:
            guard(self._ingestor.evaluate_all, timeout_millis / 1000)
        return True

    def close(self) -> None:
        if self._ingestor is not None:
            self._ingestor.close()

    def run_at(self, context: Context) -> Run | None:
        """See `OpenSpans.run_at`."""
        return self._open.run_at(context)

    def place_in(self, context: Context) -> Context:
        """See `MovedSpans.replaced`."""
        return self._moved.replaced(context)

    def conversation_at(self, context: Context) -> str | None:
        """Return the conversation that an open external span around ``context`` names."""
        around = otel_trace.get_current_span(context).get_span_context().span_id
        return self._open.conversation_around(around)

    def _start(self, span: SdkSpan, context: Context) -> None:
        if is_suppressed(context):
            with self._lock:
                remember(self._suppressed, span.get_span_context().span_id, None, MOST_OPEN)
        elif not _is_ours(span):
            self._moved.add(span)
            self._open.add(span, context, self._moved.parent_of(span))
            played = player()
            if played is not None:
                _refuse_tool(played, span, context)

    def _end(self, span: ReadableSpan) -> None:
        span_context = span.get_span_context()
        if span_context is None or _is_ours(span):
            return
        with self._lock:
            if self._suppressed.pop(span_context.span_id, self) is None:
                return
        with importing:  # all dialects: a program without external spans need not load them
            from llmtrace.codec.dialects import decode

        external = decode(self._moved.moved(self._raw(span)))
        is_repeated = is_redundant(span)
        if is_repeated and isinstance(external.operation, _STEPS):
            external = replace(external, operation=Custom())
        place = self._open.remove(span_context.span_id, is_plain=isinstance(external.operation, Custom))
        if place.conversation is not None:
            external = replace(external, attributes={**external.attributes, semconv.CONVERSATION_ID: place.conversation})
        counted = self._count_once(external, place)
        if counted is not None and is_repeated and isinstance(counted.operation, Custom):
            return
        if counted is None:
            return
        recorder, run = active(), place.owner.run if place.run is None and place.owner is not None else place.run
        if recorder is not None and run is not None:
            watchers = place.watchers if place.owner is None else place.owner.watchers
            recorder.adopt(counted, run, watchers, outermost=place.is_outermost)
        else:
            with self._lock:
                self._ingestor = self._ingestor or self._make_ingestor()
            self._ingestor.ingest_span(counted)

    def _count_once(self, span: Span, place: Place) -> Span | None:
        """Return the span as it is recorded: as a plain one if we record the same call; None if it is left out."""
        operation, owner = span.operation, place.owner
        if owner is None and isinstance(operation, (Custom, Inference)):
            if span.parent_id in self._calls:
                return None  # it began below a call of ours that had ended: a report on its stream (logfire)
            if place.run is None and isinstance(operation, Custom):
                return None
        if isinstance(operation, Inference):
            if owner is not None and owner.span_id == span.parent_id and isinstance(owner.operation, Inference):
                return None  # our inference directly around it is the same call
            with self._lock:
                is_around_ours = any(isinstance(inner, Inference) for inner in self._within.pop(span.span_id, ()))
            if is_around_ours or self._calls.take(span, place.worker):
                self._note(span.parent_id, operation)  # another external span of the same call may be around this one
                return replace(span, operation=Custom())
            if is_only_request(span):
                return replace(span, operation=Custom())
            if span.parent_id is not None and not operation.tools:  # recorded perhaps only once, on the agent's span
                definitions = self._open.inherited_attribute(int(span.parent_id, 16), semconv.TOOL_DEFINITIONS)
                return replace(span, operation=replace(operation, tools=read_definitions(definitions) or ()))
        elif isinstance(operation, _STEPS) and self._is_step_of_ours(span, operation, owner):
            return replace(span, operation=Custom())  # it stays, since other spans are below it
        return span

    def _note(self, parent_id: str | None, operation: Operation) -> None:
        """Remember that this span has an operation of ours as a direct child."""
        if parent_id is not None:
            with self._lock:
                within = self._within.get(parent_id, [])
                if not any(_is_same_step(inner, operation) for inner in within):
                    remember(self._within, parent_id, [*within, type(operation)(_name_of(operation))], MOST_OPEN)

    def _is_step_of_ours(self, span: Span, operation: Operation, owner: Recording | None) -> bool:
        """Return True if an execution, agent or workflow is the same as ours directly around it or directly inside it; or if an
        execution is the same as an open one of ours, because some instrumentations use parents of their own."""
        with self._lock:
            within = self._within.pop(span.span_id, [])
            is_open = isinstance(operation, ToolExecution) and any(
                _is_same_step(tool, operation) and tool.arguments == operation.arguments for tool in self._open_tools.values()
            )
        if is_open:
            return True
        ours = [owner.operation] if owner is not None and owner.span_id == span.parent_id else []
        is_same = any(_is_same_step(step, operation) for step in (*ours, *within))
        if is_same and within:
            self._note(span.parent_id, operation)  # another external span of the same step may be around this one
        return is_same

    def _raw(self, span: ReadableSpan) -> RawSpan:
        span_context, parent = span.get_span_context(), span.parent
        assert span_context is not None
        scope = span.instrumentation_scope
        return RawSpan(
            f"{span_context.trace_id:032x}",
            f"{span_context.span_id:016x}",
            span.name,
            span.start_time or 0,
            span.end_time,
            None if parent is None else f"{parent.span_id:016x}",
            _KINDS[span.kind.value],
            {StatusCode.OK: "ok", StatusCode.ERROR: "error"}.get(span.status.status_code, "unset"),  # type: ignore[arg-type]
            span.status.description or "",
            dict(span.attributes or {}),
            tuple([Event(event.name, event.timestamp, dict(event.attributes or {})) for event in span.events]),
            tuple([_link(link) for link in span.links]),
            self._resource(span),
            Scope() if scope is None else Scope(scope.name, scope.version or ""),
        )

    def _resource(self, span: ReadableSpan) -> dict[str, Any]:
        """Return the resource's attributes: the same dict for the same resource, because stores write each dict only once."""
        cached = self._resources.get(id(span.resource))
        if cached is None:
            if len(self._resources) >= _MOST_RESOURCES:
                self._resources.clear()
            cached = self._resources[id(span.resource)] = span.resource, dict(span.resource.attributes)
        return cached[1]


def _new_run() -> Run | None:
    recorder = active()
    return None if recorder is None else recorder.new_run()


def _is_same_step(ours: Operation, theirs: Operation) -> bool:
    """Return True if two steps, one directly inside the other, are the same. Instrumentations write names differently, and name
    a workflow after the method that runs it."""
    return type(ours) is type(theirs) and (isinstance(ours, Workflow) or _name_of(ours) == _name_of(theirs))


def _name_of(operation: Operation) -> str:
    return re.sub(r"\W+", "_", getattr(operation, "name", "").strip().lower())


def _refuse_tool(played: Player, span: SdkSpan, context: Context) -> None:
    """In a replay, refuse a tool that only the library's own span reports, if the span shows it when it starts.

    Raises `ReplayDiverged` unless the tool is meant to run.
    """
    attributes, around = span.attributes or {}, context.get(keys.RECORDING)
    name = attributes.get(semconv.TOOL_NAME)
    is_inside_ours = isinstance(getattr(around, "operation", None), ToolExecution)
    if attributes.get(semconv.OPERATION_NAME) == semconv.EXECUTE_TOOL and isinstance(name, str) and not is_inside_ours:
        played.must_run(None, ToolExecution(name))


def _is_ours(span: ReadableSpan) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and scope.name == semconv.SCOPE_NAME


def _link(link: Any) -> Link:
    return Link(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}", dict(link.attributes or {}))
