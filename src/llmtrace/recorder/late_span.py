"""A span of the SDK's that has no attributes, events and links before somebody looks at them.

It is an instance of the SDK's own class in all that it does. What it consists of is cast in one step, from a mould that the SDK
itself made, and not set name by name; what was to be written on it before its end is written when it is read. Its end hands it
to the processors itself, since nothing can be set on it any more, and not a copy.

Law: whoever looks finds what the public way would have put there; where the SDK is not as we know it, there is no mould.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any, TypeAlias

from opentelemetry.trace import SpanContext, SpanKind

from llmtrace.model import Event, JsonValue, Span
from llmtrace.recorder.guard import report

MOST_ATTRIBUTES, MOST_OF_EVENT, MOST_EVENTS = 72, 16, 32
"""Attributes that we write on a span, beside the program's own, and on the event of a finding, at most; events that we leave
for later."""
MOST_OF_PROGRAM = 32
"""Attributes of the program's own, likewise."""

Said: TypeAlias = "Callable[[], tuple[Mapping[str, JsonValue], Sequence[Event], Any]]"
"""Gives attributes and events."""
Written: TypeAlias = Callable[
    [Mapping[str, JsonValue], Sequence[Event], Any, "int | None"], tuple[Mapping[str, JsonValue], Sequence[Any]]
]
"""Attributes and events as the SDK keeps them; given its class of events, and the most attributes of one."""

_LATE = ("_attributes", "_events", "_links")
_OWN = frozenset({"_name", "_context", "_parent", "_kind", "_start_time", "_lock", *_LATE})
"""What is another with each span."""
_PARTS = _OWN | {
    *("_instrumentation_info", "_instrumentation_scope", "_end_time", "_resource", "_status", "_sampler", "_trace_config"),
    *("_record_exception", "_set_status_on_exception", "_span_processor", "_limits", "_record_end_metrics"),
}
"""What a span consists of in the releases whose insides we know."""
_STEPS = frozenset(
    {
        *("_lock", "_start_time", "RuntimeError", "_end_time", "logger", "warning", "time_ns", "_attributes", "_immutable"),
        *("_record_end_metrics", "_span_processor", "_on_ending", "on_end", "_readable_span"),
    }
)
"""The names in the code of the `Span.end` that `LateSpan.end` stands for."""


class _WhenRead:
    """A part of a span that is made when somebody looks for it; from then on it is the span's own."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, span: Any, owner: type | None = None) -> Any:
        if span is None:
            return self
        span._settle()
        return vars(span)[self._name]


class LateSpan:
    """Stands before the SDK's class of spans; see `Mould`."""

    _attributes: Any = _WhenRead()
    _events: Any = _WhenRead()
    _links: Any = _WhenRead()

    def fill_later(self, ended: Span, said: Said, written: Written) -> bool:
        """Have what ``said`` gives of ``ended`` written when somebody looks. False: somebody has looked already, before the
        end, or there is too much."""
        own = vars(self)
        if "_attributes" in own or ended.events or len(ended.attributes) > MOST_OF_PROGRAM:
            return False
        if len(ended.violations) + len(ended.evaluations) > MOST_EVENTS:
            return False
        late = said, written
        return own.setdefault("_late", late) is late  # in one step: another thread may be looking just now

    def end(self, end_time: int | None = None) -> None:
        own = vars(self)
        with own["_lock"]:
            first = own["_end_time"] is None and "_attributes" not in own
            if first:
                own["_end_time"] = time.time_ns() if end_time is None else end_time
        if not first:  # the SDK says so, or hands on a copy
            super().end(end_time)  # type: ignore[misc]
            return
        processor = own["_span_processor"]
        processor._on_ending(self)
        processor.on_end(self)

    def _settle(self) -> None:
        """Make all the parts. Threads that look at the same moment make the same."""
        own: dict[str, Any] = vars(self)
        mould, limits, begun = own["_mould"], own["_limits"], own["_begun"]
        late = own.setdefault("_late", None)  # from now on nothing is left for later
        attributes, events = mould.attributes_of(limits), mould.events_of(limits)
        attributes._dict.update(begun)
        if late is not None:
            said, written = late
            try:
                kept, made = written(*said()[:2], mould.event, limits.max_event_attributes)
                attributes._dict.update(kept)
                events.extend(made)
            except Exception as error:
                report(self._settle, error)
        attributes._immutable = own["_end_time"] is not None
        own.setdefault("_links", mould.events_of(limits, own["_limits"].max_links))
        own.setdefault("_events", events)
        own.setdefault("_attributes", attributes)
        own["_late"] = None


class Mould:
    """Makes spans of one tracer."""

    def __init__(self, sdk: Any) -> None:
        """``sdk``: its module of traces, for which `is_known` is true."""
        self.event: Any = sdk.Event
        self._attributes, self._lists = sdk.BoundedAttributes, sdk.BoundedList
        self._class: Any = type(sdk._Span.__name__, (LateSpan, sdk._Span), {})
        self._made = sdk._Span
        self._parts: dict[str, Any] = {}

    def fits(self, tracer: Any) -> bool:
        """Whether it can make spans of the tracer, as that is from now on."""
        self._parts = self._taken_from(tracer) if _is_roomy(tracer._span_limits) else {}
        return bool(self._parts)

    def cast(
        self, name: str, own: SpanContext, parent: SpanContext | None, kind: SpanKind, begun: Mapping[str, Any], start: int
    ) -> Any:
        """A span that has started. ``begun``: its first attributes, as the SDK keeps them."""
        span = object.__new__(self._class)
        parts = self._parts.copy()
        parts["_name"], parts["_context"], parts["_parent"], parts["_kind"] = name, own, parent, kind
        parts["_begun"], parts["_start_time"], parts["_lock"] = begun, start, Lock()
        span.__dict__ = parts
        return span

    def attributes_of(self, limits: Any) -> Any:
        return self._attributes(
            limits.max_span_attributes, None, immutable=False, max_value_len=limits.max_span_attribute_length
        )

    def events_of(self, limits: Any, most: int | None = None) -> Any:
        return self._lists(limits.max_events if most is None else most)

    def _taken_from(self, tracer: Any) -> dict[str, Any]:
        """What all spans of a tracer have in common, by one that the SDK made; nothing where it is not as we know it."""
        made = vars(
            self._made(
                "",
                None,
                None,
                tracer.sampler,
                None,
                tracer.resource,
                span_processor=tracer.span_processor,
                instrumentation_info=tracer.instrumentation_info,
                limits=tracer._span_limits,
                instrumentation_scope=tracer._instrumentation_scope,
                record_end_metrics=_nothing,
            )
        )
        if made.keys() != _PARTS:
            return {}
        return {"_mould": self, **{name: part for name, part in made.items() if name not in _OWN}}


def is_known(sdk: Any) -> bool:
    """Whether this is an SDK whose spans are as we know them."""
    return all(hasattr(sdk, name) for name in ("_Span", "Event", "BoundedAttributes", "BoundedList")) and (
        set(sdk.Span.end.__code__.co_names) == _STEPS
    )


def _is_roomy(limits: Any) -> bool:
    """Whether there is room for all that we write: what is written later has no SDK to count what is dropped."""
    if limits.max_attribute_length is not None or limits.max_span_attribute_length is not None:
        return False
    enough = (
        (limits.max_span_attributes, MOST_ATTRIBUTES + MOST_OF_PROGRAM),
        (limits.max_event_attributes, MOST_OF_EVENT),
        (limits.max_events, MOST_EVENTS),
    )
    return all(most is None or most >= needed for most, needed in enough)


def _nothing() -> None:
    """What is to be measured when a span ends."""
