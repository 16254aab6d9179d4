"""Spans that other instrumentations make in this process: they get the same signals, and stand in the store beside ours.

One span processor, on the program's own TracerProvider and on our stand-in (`provider`). What is taken: every span that a
dialect knows, and every span below one of these or of ours; what is below a span that tells of an agent or a model is one run
with it (`runs`). What else a program traces (its database, its web server) is its own affair.

Law: one inference a call. Where another instrumentation has wrapped the same call, ours is the inference; theirs, inside
ours, is left out, and around ours, or beside ours with the same answer, it stays as a plain span. So does theirs of an
execution right inside ours of the same tool.
"""

from __future__ import annotations

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
from llmtrace.foreign.intake import Intake
from llmtrace.foreign.provider import listen
from llmtrace.foreign.runs import MOST_OPEN, OpenSpans
from llmtrace.imports import importing
from llmtrace.model import Custom, Event, Inference, Kind, Link, Operation, RawSpan, Scope, Span, ToolExecution, replace
from llmtrace.recorder import Recording, active
from llmtrace.recorder.guard import guard
from llmtrace.recorder.run import Run

_KINDS: tuple[Kind, ...] = ("internal", "server", "client", "producer", "consumer")

_MOST_BESIDE = 64
"""Ended inferences of ours that are remembered for each place; those of others that tell of the same call end right after."""


class ForeignSpans(SpanProcessor):
    """Also a sink of the recorder, to see our own inferences."""

    marks = False

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._open = OpenSpans(_new_run)
        self._around: OrderedDict[str, None] = OrderedDict()
        """Spans that have an inference of ours right below them."""
        self._beside: OrderedDict[str, deque[tuple[int, int]]] = OrderedDict()
        """By trace (roots, of whatever trace, by none), of each inference of ours that ended while a span of others was open:
        when it ended, its answer's hash."""
        self._under_way: OrderedDict[str, tuple[str | None, int]] = OrderedDict()
        """Inferences of ours that are open, and began while a span of others was: the model, the thread."""
        self._resources: dict[int, tuple[object, dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def passes(self, span: Span) -> bool:
        """Of a span that ended, it is of interest what it is."""
        listen()  # to a provider that was set in a way that nobody could see
        if isinstance(span.operation, Inference):
            if self._under_way:
                with self._lock:
                    self._under_way.pop(span.span_id, None)
            if span.parent_id is not None:
                self._note(span.parent_id)
            answer = _said(span.operation) if self._open.some() else []
            if answer:
                with self._lock:
                    ended = self._beside.setdefault(_place(span), deque(maxlen=_MOST_BESIDE))
                    ended.append((span.end or span.start, hash(tuple(answer))))
                    if len(self._beside) > MOST_OPEN:
                        self._beside.popitem(last=False)
        return True

    def append(self, span: Span) -> None:
        self.passes(span)

    def started(self, span_id: str, operation: Operation) -> None:
        """An inference of ours begins."""
        if isinstance(operation, Inference) and self._open.some():
            with self._lock:
                self._under_way[span_id] = operation.request_model, threading.get_ident()
                if len(self._under_way) > MOST_OPEN:
                    self._under_way.popitem(last=False)

    def answering(self, span_id: str) -> None:
        """The first chunk is no news here."""

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        guard(self._start, span, otel_context.get_current() if parent_context is None else parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        guard(self._end, span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's signature
        """Judge what waits for its verdicts."""
        guard(self._intake.judge_all)
        return True

    def close(self) -> None:
        self._intake.close()

    def run_at(self, context: Context) -> Run | None:
        """See `OpenSpans.run_at`."""
        return self._open.run_at(context)

    def _start(self, span: SdkSpan, context: Context) -> None:
        if not _is_ours(span):
            self._open.add(span, context)

    def _end(self, span: ReadableSpan) -> None:
        own = span.get_span_context()
        if own is None or _is_ours(span):
            return
        place = self._open.remove(own.span_id)
        with importing:
            from llmtrace.codec.dialects import decode  # all dialects, which a program without others' spans need not load

        found = decode(self._raw(span))
        if place.owner is None and place.run is None and isinstance(found.operation, Custom):
            return  # in the run of an agent it stays, whatever it is: else what is below it has no parent
        inference = found.operation
        if isinstance(inference, Inference):
            if place.owner is not None and _is_same_call(place.owner, found):
                return
            if self._is_around_ours(found) or self._is_beside_ours(found):
                self._note(found.parent_id)  # one more of theirs may be around this one
                found = replace(found, operation=Custom())
            elif span.parent is not None:
                found = replace(found, operation=self._offered(inference, span.parent.span_id))
        elif place.owner is not None and _is_same_execution(place.owner, found):
            found = replace(found, operation=Custom())  # it stays, since what the tool did stands below it
        recorder, run = active(), place.owner.run if place.run is None and place.owner is not None else place.run
        if recorder is not None and run is not None:
            watchers = place.watchers if place.owner is None else place.owner.watchers
            recorder.adopt(found, run, watchers, outermost=place.is_outermost)
        else:
            self._intake.take_span(found)

    def _offered(self, inference: Inference, parent_id: int) -> Inference:
        """With the tools that a framework names once, with the agent."""
        if inference.tools:
            return inference
        tools = read_definitions(self._open.told_around(parent_id, semconv.TOOL_DEFINITIONS))
        return replace(inference, tools=tools) if tools else inference

    def _note(self, parent_id: str | None) -> None:
        """An inference of ours is right below this span."""
        with self._lock:
            if parent_id is not None:
                self._around[parent_id] = None
            if len(self._around) > MOST_OPEN:
                self._around.popitem(last=False)

    def _is_around_ours(self, span: Span) -> bool:
        with self._lock:
            return self._around.pop(span.span_id, self) is None

    def _is_beside_ours(self, span: Span) -> bool:
        """Whether it tells of a call of ours that it is neither around nor inside: one that ended while it was open, with the
        same answer, or that is still open on this very thread, of the same model. So it is where others hold no span current
        while the client makes its request: callbacks, and streams."""
        assert isinstance(span.operation, Inference)
        answer = _said(span.operation)
        with self._lock:
            ours = self._beside.get(_place(span), deque())
            for one in ours if answer else ():
                if one[0] >= span.start and one[1] == hash(tuple(answer)):
                    ours.remove(one)
                    return True
            models = {span.operation.request_model, span.operation.response_model} - {None}
            for span_id, (model, thread) in self._under_way.items():
                if model in models and thread == threading.get_ident():
                    del self._under_way[span_id]
                    return True
        return False

    def _raw(self, span: ReadableSpan) -> RawSpan:
        own, parent = span.get_span_context(), span.parent
        assert own is not None
        scope = span.instrumentation_scope
        return RawSpan(
            f"{own.trace_id:032x}",
            f"{own.span_id:016x}",
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
        """One dict for a resource, since stores write each only once."""
        known = self._resources.get(id(span.resource))
        if known is None:
            known = self._resources[id(span.resource)] = span.resource, dict(span.resource.attributes)
        return known[1]


def _new_run() -> Run | None:
    recorder = active()
    return None if recorder is None else recorder.new_run()


def _is_same_call(owner: Recording, span: Span) -> bool:
    """Whether an inference is the very call that ours, right around it, stands for."""
    return owner.span_id == span.parent_id and isinstance(owner.operation, Inference)


def _is_same_execution(owner: Recording, span: Span) -> bool:
    """The same of an execution of a tool."""
    ours, theirs = owner.operation, span.operation
    of_tools = isinstance(ours, ToolExecution) and isinstance(theirs, ToolExecution) and ours.name == theirs.name
    return of_tools and owner.span_id == span.parent_id


def _place(span: Span) -> str:
    """Where its like is looked for: in its trace; roots are each a trace of their own."""
    return "" if span.parent_id is None else span.trace_id


def _is_ours(span: ReadableSpan) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and scope.name == semconv.SCOPE_NAME


def _link(link: Any) -> Link:
    return Link(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}", dict(link.attributes or {}))


def _said(inference: Inference) -> list[str]:
    with importing:
        from llmtrace.codec.calls import said

    return said(inference.output)
