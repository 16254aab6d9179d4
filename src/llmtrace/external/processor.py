"""Records spans that other instrumentations make in this process: same signals, same store as ours.

One span processor, on the program's own TracerProvider and on our recording proxies (`tracer_provider`). It records every span
that a dialect knows, and every span below one of these or one of ours. All spans below a span of an agent or a model belong to
one run (`open_spans`). Other spans of the program (its database, its web server) are ignored.

Law: one inference per call. If another instrumentation has wrapped the same call, our span is the inference. Their span is
left out if it is inside ours; around ours, or beside ours with the same answer, it stays as a plain span. Their span of a tool
execution, an agent or a workflow right inside or right around ours of the same one also stays as a plain span.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict, deque
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.trace.status import StatusCode

from llmtrace import semconv
from llmtrace.codec.messages import read_definitions
from llmtrace.external.ingest import Ingestor
from llmtrace.external.open_spans import MOST_OPEN, OpenSpans
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
from llmtrace.recorder import Recording, active
from llmtrace.recorder.current import is_suppressed
from llmtrace.recorder.guard import guard
from llmtrace.recorder.run import Run

_KINDS: tuple[Kind, ...] = ("internal", "server", "client", "producer", "consumer")

_STEPS = (AgentInvocation, ToolExecution, Workflow)

_MOST_BESIDE = 64
"""Ended inferences of ours that are remembered per trace. Another instrumentation's span of the same call ends right after."""


class ExternalSpans(SpanProcessor, Sink):
    """Records external spans. It is also a sink of the recorder, to see our own inferences."""

    wants_start_marks = False

    def __init__(self, ingestor: Ingestor) -> None:
        self._ingestor = ingestor
        self._open = OpenSpans(_new_run)
        self._around: OrderedDict[str, None] = OrderedDict()
        """Spans with an inference of ours as a direct child."""
        self._steps_within: OrderedDict[str, list[Operation]] = OrderedDict()
        """Executions, agents and workflows of ours, without content, by the external span right around them."""
        self._open_tools: OrderedDict[str, ToolExecution] = OrderedDict()
        """Our open executions that started while an external span was open, by span id."""
        self._beside: OrderedDict[str, deque[tuple[int, int]]] = OrderedDict()
        """End time and hash of the answer of our inferences that ended while an external span was open, by `_place`."""
        self._under_way: OrderedDict[str, tuple[str | None, int]] = OrderedDict()
        """Model and thread of our open inferences that started while an external span was open, by span id."""
        self._resources: dict[int, tuple[object, dict[str, Any]]] = {}
        self._suppressed: OrderedDict[int, None] = OrderedDict()
        """Open spans that began inside `llmtrace.suppress`."""
        self._lock = fork_safe_lock()

    def on_span_end(self, span: Span) -> bool:
        """Remember our ended inferences. Return False, since this sink does not need the ended span."""
        listen()  # the program may have set a provider without `set_tracer_provider`
        if isinstance(span.operation, _STEPS) and span.parent_id is not None and self._open.any_open():
            self._note_step(span.parent_id, span.operation)
        if self._open_tools:
            with self._lock:
                self._open_tools.pop(span.span_id, None)
        if isinstance(span.operation, Inference):
            if self._under_way:
                with self._lock:
                    self._under_way.pop(span.span_id, None)
            if span.parent_id is not None:
                self._note(span.parent_id)
            is_ours = span.scope.name == semconv.SCOPE_NAME
            answer = _answer_texts(span.operation) if is_ours and self._open.any_open() else []
            if answer:
                with self._lock:
                    ended = self._beside.setdefault(_place(span), deque(maxlen=_MOST_BESIDE))
                    ended.append((span.end or span.start, hash(tuple(answer))))
                    if len(self._beside) > MOST_OPEN:
                        self._beside.popitem(last=False)
        return False

    def append(self, span: Span) -> None:
        self.on_span_end(span)

    def on_span_start(self, span_id: str, operation: Operation) -> None:
        """Remember an inference or an execution of ours that starts."""
        if isinstance(operation, ToolExecution) and self._open.any_open():
            with self._lock:
                self._open_tools[span_id] = operation
                if len(self._open_tools) > MOST_OPEN:
                    self._open_tools.popitem(last=False)
        if isinstance(operation, Inference) and self._open.any_open():
            with self._lock:
                self._under_way[span_id] = operation.request_model, threading.get_ident()
                if len(self._under_way) > MOST_OPEN:
                    self._under_way.popitem(last=False)

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        guard(self._start, span, otel_context.get_current() if parent_context is None else parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        guard(self._end, span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's signature
        """Evaluate the traces that wait for it."""
        guard(self._ingestor.evaluate_all)
        return True

    def close(self) -> None:
        self._ingestor.close()

    def run_at(self, context: Context) -> Run | None:
        """See `OpenSpans.run_at`."""
        return self._open.run_at(context)

    def _start(self, span: SdkSpan, context: Context) -> None:
        if is_suppressed(context):
            self._remember_suppressed(span)
        elif not _is_ours(span):
            self._open.add(span, context)

    def _remember_suppressed(self, span: SdkSpan) -> None:
        with self._lock:
            self._suppressed[span.get_span_context().span_id] = None
            if len(self._suppressed) > MOST_OPEN:
                self._suppressed.popitem(last=False)

    def _was_suppressed(self, span_id: int) -> bool:
        with self._lock:
            return self._suppressed.pop(span_id, self) is None

    def _end(self, span: ReadableSpan) -> None:
        span_context = span.get_span_context()
        if span_context is None or _is_ours(span) or self._was_suppressed(span_context.span_id):
            return
        place = self._open.remove(span_context.span_id)
        with importing:
            from llmtrace.codec.dialects import decode  # all dialects: a program without external spans need not load them

        external = decode(self._raw(span))
        if place.owner is None and place.run is None and isinstance(external.operation, Custom):
            return  # within an agent's run every span stays, since others may have it as their parent
        inference = external.operation
        if isinstance(inference, Inference):
            if place.owner is not None and _is_same_call(place.owner, external):
                return
            if self._is_around_ours(external) or self._is_beside_ours(external):
                self._note(external.parent_id)  # another external span of the same call may be around this one
                external = replace(external, operation=Custom())
            elif span.parent is not None:
                external = replace(external, operation=self._offered(inference, span.parent.span_id))
        elif isinstance(external.operation, _STEPS) and self._is_step_of_ours(external, external.operation, place.owner):
            external = replace(external, operation=Custom())  # it stays, since other spans are below it
        recorder, run = active(), place.owner.run if place.run is None and place.owner is not None else place.run
        if recorder is not None and run is not None:
            watchers = place.watchers if place.owner is None else place.owner.watchers
            recorder.adopt(external, run, watchers, outermost=place.is_outermost)
        else:
            self._ingestor.ingest_span(external)

    def _offered(self, inference: Inference, parent_id: int) -> Inference:
        """Add the tool definitions that a framework records only once, on the agent's span."""
        if inference.tools:
            return inference
        tools = read_definitions(self._open.inherited_attribute(parent_id, semconv.TOOL_DEFINITIONS))
        return replace(inference, tools=tools) if tools else inference

    def _note(self, parent_id: str | None) -> None:
        """Remember that this span has an inference of ours as a direct child."""
        with self._lock:
            if parent_id is not None:
                self._around[parent_id] = None
            if len(self._around) > MOST_OPEN:
                self._around.popitem(last=False)

    def _note_step(self, parent_id: str, operation: Operation) -> None:
        """Remember that this span has a step of ours as a direct child."""
        with self._lock:
            self._steps_within.setdefault(parent_id, []).append(type(operation)(_name_of(operation)))
            if len(self._steps_within) > MOST_OPEN:
                self._steps_within.popitem(last=False)

    def _is_step_of_ours(self, span: Span, operation: Operation, owner: Recording | None) -> bool:
        """True if an execution, an agent's run or a workflow is the same as ours right around it, or right inside it; or if an
        execution is the same as one of ours that is open, where their instrumentation keeps parents of its own."""
        with self._lock:
            within = self._steps_within.pop(span.span_id, [])
            is_open = isinstance(operation, ToolExecution) and any(
                _is_same_step(tool, operation) and tool.arguments == operation.arguments for tool in self._open_tools.values()
            )
        if is_open:
            return True
        ours = [owner.operation] if owner is not None and owner.span_id == span.parent_id else []
        is_same = any(_is_same_step(step, operation) for step in (*ours, *within))
        if is_same and within and span.parent_id is not None:
            self._note_step(span.parent_id, operation)  # another external span of the same step may be around this one
        return is_same

    def _is_around_ours(self, span: Span) -> bool:
        with self._lock:
            return self._around.pop(span.span_id, self) is None

    def _is_beside_ours(self, span: Span) -> bool:
        """True if the span is about a call of ours that it is neither around nor inside.

        Such a call ended while the span was open, with the same answer, or is still open on this thread, with the same model.
        This happens if an instrumentation keeps no span current during the request: with callbacks and streams.
        """
        assert isinstance(span.operation, Inference)
        answer = _answer_texts(span.operation)
        with self._lock:
            ours = self._beside.get(_place(span), deque())
            for ended in ours if answer else ():
                if ended[0] >= span.start and ended[1] == hash(tuple(answer)):
                    ours.remove(ended)
                    return True
            models = {span.operation.request_model, span.operation.response_model} - {None}
            for span_id, (model, thread) in self._under_way.items():
                if model in models and thread == threading.get_ident():
                    del self._under_way[span_id]
                    return True
        return False

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
        """The resource's attributes: the same dict for the same resource, since stores write each dict only once."""
        cached = self._resources.get(id(span.resource))
        if cached is None:
            cached = self._resources[id(span.resource)] = span.resource, dict(span.resource.attributes)
        return cached[1]


def _new_run() -> Run | None:
    recorder = active()
    return None if recorder is None else recorder.new_run()


def _is_same_call(owner: Recording, span: Span) -> bool:
    """True if an inference is the same call as our inference right around it."""
    return owner.span_id == span.parent_id and isinstance(owner.operation, Inference)


def _is_same_step(ours: Operation, theirs: Operation) -> bool:
    """True if two steps, one right inside the other, are one. Instrumentations write a name in their own ways, and call a
    workflow by the method that runs it."""
    return type(ours) is type(theirs) and (isinstance(ours, Workflow) or _name_of(ours) == _name_of(theirs))


def _name_of(operation: Operation) -> str:
    return re.sub(r"\W+", "_", getattr(operation, "name", "").strip().lower())


def _place(span: Span) -> str:
    """The key under which spans of the same call are compared: the trace id; "" for roots, which each have their own trace."""
    return "" if span.parent_id is None else span.trace_id


def _is_ours(span: ReadableSpan) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and scope.name == semconv.SCOPE_NAME


def _link(link: Any) -> Link:
    return Link(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}", dict(link.attributes or {}))


def _answer_texts(inference: Inference) -> list[str]:
    with importing:
        from llmtrace.codec.reconcile import answer_texts

    return answer_texts(inference.output)
