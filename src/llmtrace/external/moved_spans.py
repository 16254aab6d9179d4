"""Places of external spans that are not stored where OpenTelemetry has them.

Spans of some scopes add nothing to ours (`redundant_scopes`). Another instrumentation may listen to a framework's own events,
as an instrumentor of ours does: its spans stand beside ours, often in a trace of their own, and say the same. A framework may
write spans of its own steps, or one for each message between its parts. Some of these spans are current while the framework
goes on. What starts below one of them, ours or another's, belongs below the span that was current when it started.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, SpanContext

from llmtrace.external.same_call import remember
from llmtrace.locks import fork_safe_lock
from llmtrace.model import RawSpan, replace

MOST_MOVED = 4096
"""Moved spans that are remembered, at most. What starts later below a forgotten one stays below it."""

redundant_scopes: set[str] = set()
"""Scopes whose spans add nothing to those of the instrumentors of ours that are on."""


class _Place(NamedTuple):
    parent: SpanContext
    """Where the span belongs; invalid for a root."""
    below: SpanContext
    """What is the parent of the spans below it."""


class MovedSpans:
    """The places of the last moved spans, by span id."""

    def __init__(self) -> None:
        self._places: OrderedDict[int, _Place] = OrderedDict()
        self._lock = fork_safe_lock()

    def add(self, span: SdkSpan) -> None:
        """Note the place of a span that starts, if it is not the one that the span has."""
        span_context, parent = span.get_span_context(), span.parent
        if is_redundant(span):
            around = self.parent_in(otel_context.get_current())
            place = _Place(around, around)
        elif parent is not None and parent.span_id in self._places:
            around = self._places[parent.span_id].below
            trace_id = around.trace_id if around.is_valid else span_context.trace_id
            place = _Place(around, SpanContext(trace_id, span_context.span_id, False, span_context.trace_flags))
        else:
            return
        with self._lock:
            remember(self._places, span_context.span_id, place, MOST_MOVED)

    def parent_of(self, span: SdkSpan) -> SpanContext | None:
        """Return the parent of a span as it is stored; None for a root."""
        span_context = span.get_span_context()
        place = self._places.get(span_context.span_id)
        parent = span.parent if place is None else place.parent
        return parent if parent is not None and parent.is_valid else None

    def parent_in(self, context: Context) -> SpanContext:
        """Return the parent of a span that starts in ``context``; invalid for a root."""
        current = trace.get_current_span(context).get_span_context()
        place = self._places.get(current.span_id)
        return current if place is None else place.below

    def replaced(self, context: Context) -> Context:
        """Return ``context`` with the span below which one of ours belongs that starts in it."""
        if not self._places:
            return context
        parent = self.parent_in(context)
        if parent is trace.get_current_span(context).get_span_context():
            return context
        return trace.set_span_in_context(NonRecordingSpan(parent if parent.is_valid else INVALID_SPAN_CONTEXT), context)

    def moved(self, raw: RawSpan) -> RawSpan:
        """Return an ended span in its place."""
        place = self._places.get(int(raw.span_id, 16))
        if place is None:
            return raw
        if not place.parent.is_valid:
            return replace(raw, parent_id=None)
        return replace(raw, trace_id=f"{place.parent.trace_id:032x}", parent_id=f"{place.parent.span_id:016x}")


def is_redundant(span: ReadableSpan) -> bool:
    """Return True if a span adds nothing to ours."""
    scope = span.instrumentation_scope
    return scope is not None and scope.name in redundant_scopes
