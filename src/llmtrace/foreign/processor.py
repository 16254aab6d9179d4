"""Spans that other instrumentations make in this process: they get the same signals, and stand in the store beside ours.

One span processor, on the program's own TracerProvider and on our stand-in (`provider`). What is taken: every span that a
dialect knows, and every span below one of ours; what else a program traces (its database, its web server) is its own affair.

Law: one inference a call. Where another instrumentation has wrapped the same call, ours is the inference; theirs, inside
ours, is left out, and around ours it stays as a plain span.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.trace.status import StatusCode

from llmtrace import semconv
from llmtrace.codec.dialects import decode
from llmtrace.foreign.intake import Intake
from llmtrace.foreign.provider import listen
from llmtrace.model import Custom, Event, Inference, Kind, Link, RawSpan, Scope, Span, replace
from llmtrace.recorder import Recording, active, keys
from llmtrace.recorder.guard import guard

MOST_OPEN = 4096
"""Spans that are remembered while they are open, or as the parents of our inferences."""

_KINDS: tuple[Kind, ...] = ("internal", "server", "client", "producer", "consumer")


class ForeignSpans(SpanProcessor):
    """Also a sink of the recorder, to see our own inferences."""

    marks = False

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._owners: OrderedDict[int, Recording] = OrderedDict()
        """By the id of a foreign span, the innermost recording of ours around it."""
        self._around: OrderedDict[str, None] = OrderedDict()
        """Spans that have an inference of ours right below them."""
        self._resources: dict[int, tuple[object, dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def append(self, span: Span) -> None:
        listen()  # to a provider that was set in a way that nobody could see
        if isinstance(span.operation, Inference) and span.parent_id is not None:
            with self._lock:
                self._around[span.parent_id] = None
                if len(self._around) > MOST_OPEN:
                    self._around.popitem(last=False)

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

    def _start(self, span: SdkSpan, context: Context) -> None:
        owner = context.get(keys.RECORDING)
        own = span.get_span_context()
        if isinstance(owner, Recording) and own is not None and not _is_ours(span):
            with self._lock:
                self._owners[own.span_id] = owner
                if len(self._owners) > MOST_OPEN:
                    self._owners.popitem(last=False)

    def _end(self, span: ReadableSpan) -> None:
        own = span.get_span_context()
        if own is None or _is_ours(span):
            return
        with self._lock:
            owner = self._owners.pop(own.span_id, None)
        found = decode(self._raw(span))
        if owner is None and isinstance(found.operation, Custom):
            return
        if isinstance(found.operation, Inference):
            if owner is not None and owner.span_id == found.parent_id and isinstance(owner.operation, Inference):
                return
            with self._lock:
                is_around = self._around.pop(found.span_id, self) is None
            if is_around:
                found = replace(found, operation=Custom())
        recorder = active()
        if owner is not None and owner.run.is_here and recorder is not None:
            recorder.adopt(found, owner)
        else:
            self._intake.take_span(found)

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


def _is_ours(span: ReadableSpan) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and scope.name == semconv.SCOPE_NAME


def _link(link: Any) -> Link:
    return Link(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}", dict(link.attributes or {}))
