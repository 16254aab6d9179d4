"""Starting and filling a span of OpenTelemetry's SDK at once, or, better still, when somebody reads it.

The public way looks at every value anew, asks the context for the parent four times, and takes a lock for every event: 15 µs at
the start and 40 at the end of a model's call. What we write is clean by construction, so it goes straight into the span's own
containers; and it is written by whoever first looks into them, mostly an exporter on its own thread, to which it makes no
difference. A span that we make has not even containers before (`late_span`). Law: only where these are the SDK's own, known
ones, every span is recorded, and no limit is set that what we write would break; else `Starter.start` gives None, `fill` and
`fill_later` say False, nothing was done, and the public way is open.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from llmtrace.model import Event, JsonValue, Span
from llmtrace.recorder import late_span
from llmtrace.recorder.guard import report
from llmtrace.recorder.late_span import MOST_ATTRIBUTES, MOST_OF_EVENT, MOST_OF_PROGRAM, LateSpan, Mould, Said

_SCALARS = frozenset({str, bool, int, float})
_TEXTS = frozenset({str})
_KNOWN = frozenset({"_dict", "maxlen", "dropped", "max_value_len", "_lock", "_immutable"})
_KNOWN_OF_LIST = frozenset({"_dq", "dropped", "_lock"})
"""What a `BoundedAttributes` and a `BoundedList` consist of in the releases whose insides we know."""

_STEPS = frozenset(
    {
        *("trace_api", "get_current_span", "get_span_context", "isinstance", "SpanContext", "TypeError", "_is_enabled"),
        *("NonRecordingSpan", "is_valid", "id_generator", "generate_trace_id", "trace_id", "sampler", "should_sample"),
        *("TraceFlags", "SAMPLED", "decision", "is_sampled", "DEFAULT", "is_trace_id_random", "trace_flags"),
        *("random_trace_id", "RANDOM_TRACE_ID", "generate_span_id", "trace_state", "_tracer_metrics", "start_span"),
        *("is_recording", "_Span", "resource", "attributes", "span_processor", "instrumentation_info", "_span_limits"),
        *("_instrumentation_scope", "start"),
    }
)
"""The names in the code of the `Tracer.start_span` that `Starter` stands for. One with others may do something else."""
_SAMPLED = (TraceFlags(1), TraceFlags(3))
"""Flags of a parent that its children have, too: sampled, and whether the trace's id is random."""


class _Kind(NamedTuple):
    """A class of spans that is the SDK's and as we know it."""

    event: Any
    """The SDK's class of events."""
    list: Any
    """The SDK's class of lists of events."""
    later: Any
    """That class, for events that are still to be written."""


_kinds: dict[type, _Kind | None] = {}
"""By class of spans; None where it is not the SDK's, or not as we know it."""


class Starter:
    """Starts spans as one tracer of the SDK does, where its sampler records every span."""

    def __init__(self, tracer: Any) -> None:
        sdk: Any = sys.modules.get("opentelemetry.sdk.trace")  # whoever made the tracer has imported it, if it is the SDK's
        self._tracer = tracer
        self._public: Any = getattr(sdk and sdk.Tracer, "start_span", None)
        known = set(getattr(self._public, "__code__", _nothing.__code__).co_names) == _STEPS
        self._mould = Mould(sdk) if known and late_span.is_known(sdk) else None
        self._of: tuple[Any, ...] = ()
        """What the tracer consisted of when it was last looked at."""
        self._is_plain = False
        self._root_flags = TraceFlags(TraceFlags.SAMPLED)

    def start(
        self,
        parent: SpanContext | None,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, JsonValue],
        start: int,
        context: Any,
    ) -> Any:
        """A span below ``parent`` (valid, if there is one), and its context: a valid one, by which it is another span than its
        parent. None: the public way is needed."""
        tracer, mould = self._tracer, self._mould
        if mould is None or type(tracer).start_span is not self._public:
            return None
        ids = tracer.id_generator
        of = (
            ids,
            tracer.sampler,
            tracer.span_processor,
            tracer.resource,
            tracer._span_limits,
            tracer._instrumentation_scope,
            tracer._tracer_metrics,
        )
        if of != self._of:  # what may be set anew is looked at anew
            self._look_at(tracer, mould)
            self._of = of
        kept = _kept(attributes)
        if kept is None or len(kept) > MOST_OF_PROGRAM or not self._is_plain or not tracer._is_enabled():
            return None
        if parent is None:
            trace_id, flags, state = ids.generate_trace_id(), self._root_flags, None
        else:
            trace_id, _, remote, flags, state, _ = parent
            if remote or flags not in _SAMPLED:
                return None
        own = SpanContext(trace_id, ids.generate_span_id(), False, flags, state)
        if own[0] != trace_id or not own[5] or (parent is not None and own[1] == parent[1]):
            return None  # no context as we know it, no valid one, or no new one
        span = mould.cast(name, own, parent, kind, kept, start)
        tracer.span_processor.on_start(span, parent_context=context)
        return span, own

    def _look_at(self, tracer: Any, mould: Mould) -> None:
        """Plain is a tracer that records all there is, and measures none of it."""
        random = TraceFlags.RANDOM_TRACE_ID if tracer.id_generator.is_trace_id_random() else 0
        self._root_flags = TraceFlags(TraceFlags.SAMPLED | random)
        measures = type(tracer._tracer_metrics).__name__ != "NoOpTracerMetrics"
        self._is_plain = mould.fits(tracer) and _records_all(tracer.sampler) and not measures


def fill(span: Any, attributes: Mapping[str, JsonValue], events: Sequence[Event]) -> bool:
    """Add attributes and events to an open span. False: nothing was done, since the span is none that we know."""
    kind = _kind_of(span)
    made = _kept(attributes)
    if kind is None or made is None:
        return False
    limits, held = span._limits, span._attributes
    if limits.max_attribute_length is not None or held.max_value_len is not None:
        return False
    if held.maxlen is not None and len(held._dict) + len(made) > held.maxlen:
        return False
    if events:
        written = _made(kind.event, events, limits.max_event_attributes)
        if written is None:
            return False
        span._events.extend(written)
    held._dict.update(made)
    return True


def fill_later(span: Any, ended: Span, said: Said) -> bool:
    """Have what ``said`` gives of ``ended`` added when attributes or events of an open span are read. It may be called more
    than once, on any thread, after the span's end. False: nothing was done, since the span is none that we know."""
    if isinstance(span, LateSpan):
        return span.fill_later(ended, said, written)
    kind = _kind_of(span)
    if kind is None or ended.events or not _SCALARS.issuperset(map(type, ended.attributes.values())):
        return False
    limits, held = span._limits, span._attributes
    if limits.max_attribute_length is not None or held.max_value_len is not None or type(span._events) is not kind.list:
        return False
    if held.maxlen is not None and len(held._dict) + MOST_ATTRIBUTES + len(ended.attributes) > held.maxlen:
        return False
    if ended.violations or ended.evaluations:
        found, least = len(ended.violations) + len(ended.evaluations), limits.max_event_attributes
        most = span._events._dq.maxlen
        if (most is not None and found + len(span._events._dq) > most) or (least is not None and least < MOST_OF_EVENT):
            return False
        span._events._waiting = held._waiting = _Waiting(span, kind, said)
        span._events.__class__ = kind.later
    else:
        held._waiting = _Waiting(span, kind, said)
    held.__class__ = _LateAttributes
    return True


class _Waiting:
    """Attributes and events that are still to be written. It does not know whose they are: that would be a cycle for the
    collector. Nor has it a lock, which a fork could leave taken: threads that read at the same moment write the same."""

    __slots__ = ("event", "made", "most", "said", "started")

    def __init__(self, span: Any, kind: _Kind, said: Said) -> None:
        self.said: Said | None = said
        self.event = kind.event
        self.most: int | None = span._limits.max_event_attributes
        self.started = span._attributes._dict, span._events._dq
        self.made: tuple[Any, Any] = self.started

    def written(self) -> tuple[Any, Any]:
        """All attributes and events, those of the start among them."""
        said = self.said
        if said is not None:
            try:
                self.made = self._write(*said()[:2])
            except Exception as error:
                report(self._write, error)
            self.said = None
        return self.made

    def _write(self, attributes: Mapping[str, JsonValue], events: Sequence[Event]) -> tuple[Any, Any]:
        before, queue = self.started
        kept, made = written(attributes, events, self.event, self.most)
        return {**before, **kept}, type(queue)((*queue, *made), queue.maxlen) if made else queue


def written(
    attributes: Mapping[str, JsonValue], events: Sequence[Event], event_of: Any, most: int | None
) -> tuple[Mapping[str, JsonValue], Sequence[Any]]:
    """Attributes as the SDK keeps them, and the SDK's events."""
    kept = _kept(attributes)
    if kept is None:  # the SDK makes something else of some value
        kept = BoundedAttributes(attributes=attributes)._dict
    return kept, (_made(event_of, events, most) or ()) if events else ()


class _LateAttributes(BoundedAttributes):
    """The attributes of a span of which most are still to be written. Once they are, it is a `BoundedAttributes` again."""

    @property
    def _dict(self) -> Any:  # type: ignore[override]
        return _settled(self, "_dict", 0, BoundedAttributes)


def _settled(held: Any, name: str, place: int, kind: type) -> Any:
    """What is in a container, which is one of ``kind`` from now on."""
    own = vars(held)
    waiting = own.get("_waiting")
    if waiting is not None:
        own[name] = waiting.written()[place]
        held.__class__ = kind
        own.pop("_waiting", None)
    return own[name]


def _late(lists: Any) -> Any:
    """The same for the SDK's class of lists of events."""
    return type("_LateEvents", (lists,), {"_dq": property(lambda held: _settled(held, "_dq", 1, lists))})


def _records_all(sampler: Any) -> bool:
    sampling: Any = sys.modules["opentelemetry.sdk.trace.sampling"]
    if type(sampler) is sampling.ParentBased:
        return sampler._root is sampling.ALWAYS_ON and sampler._local_parent_sampled is sampling.ALWAYS_ON
    return sampler is sampling.ALWAYS_ON


def _nothing() -> None:
    """What is to be measured when a span ends."""


def _made(event_of: Any, events: Sequence[Event], most: int | None) -> list[Any] | None:
    """The SDK's events; None where it would have to change one."""
    written = []
    for event in events:
        kept = _kept(event.attributes)
        if kept is None or (most is not None and len(kept) > most):
            return None
        bounded: Any = BoundedAttributes(most)
        bounded._dict = dict(kept)
        written.append(event_of(event.name, bounded, event.time))
    return written


def _kept(attributes: Mapping[str, JsonValue]) -> Mapping[str, JsonValue] | None:
    """Attributes as the SDK keeps them, lists as tuples; None where it would make anything else of them."""
    if not _TEXTS.issuperset(map(type, attributes)) or "" in attributes:
        return None
    if _SCALARS.issuperset(map(type, attributes.values())):
        return attributes
    made = dict(attributes)
    for name, value in attributes.items():
        if type(value) is list and _SCALARS.issuperset(map(type, value)):
            made[name] = tuple(value)
        elif type(value) not in _SCALARS:
            return None
    return made


def _kind_of(span: Any) -> _Kind | None:
    made = type(span)
    return _kinds[made] if made in _kinds else _kinds.setdefault(made, _learn(span))


def _learn(span: Any) -> _Kind | None:
    sdk: Any = sys.modules.get("opentelemetry.sdk.trace")  # whoever made the span has imported it, if it is the SDK's
    try:
        own = all(
            getattr(type(span), name) is getattr(sdk.Span, name) for name in ("set_attributes", "add_event", "_add_event")
        )
        lists = sdk.BoundedList
        known = type(span._attributes) is BoundedAttributes and vars(span._attributes).keys() == _KNOWN
        known = known and type(span._events) is lists and vars(span._events).keys() == _KNOWN_OF_LIST
        limits = span._limits
        ready = hasattr(limits, "max_event_attributes") and hasattr(limits, "max_attribute_length")
        return _Kind(sdk.Event, lists, _late(lists)) if own and known and ready else None
    except Exception:
        return None
