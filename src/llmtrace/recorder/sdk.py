"""Filling a span of OpenTelemetry's SDK at once.

The public way looks at every value anew and takes a lock for every event: 40 µs for a model's call. What we write is clean by
construction, so it goes straight into the span's own containers. Law: only where these are the SDK's own, known ones and no
limit is set that what we write would break; else `fill` says False, has written nothing, and the public way is open.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.attributes import BoundedAttributes

from llmtrace.model import Event, JsonValue

_SCALARS = frozenset({str, bool, int, float})
_TEXTS = frozenset({str})
_KNOWN = frozenset({"_dict", "maxlen", "dropped", "max_value_len", "_lock", "_immutable"})
"""What a `BoundedAttributes` consists of in the releases whose insides we know."""

_makes: dict[type, Any] = {}
"""By class of spans: the SDK's class of events; None where the class is not the SDK's, or not as we know it."""


def fill(span: Any, attributes: Mapping[str, JsonValue], events: Sequence[Event]) -> bool:
    """Add attributes and events to an open span. False: nothing was done, since the span is none that we know."""
    kind = type(span)
    event_of = _makes[kind] if kind in _makes else _makes.setdefault(kind, _learn(span))
    made = _kept(attributes)
    if event_of is None or made is None:
        return False
    limits, held = span._limits, span._attributes
    if limits.max_attribute_length is not None or held.max_value_len is not None:
        return False
    if held.maxlen is not None and len(held._dict) + len(made) > held.maxlen:
        return False
    if events:
        written = _made(event_of, events, limits.max_event_attributes)
        if written is None:
            return False
        span._events.extend(written)
    held._dict.update(made)
    return True


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


def _learn(span: Any) -> Any:
    sdk: Any = sys.modules.get("opentelemetry.sdk.trace")  # whoever made the span has imported it, if it is the SDK's
    try:
        own = all(
            getattr(type(span), name) is getattr(sdk.Span, name) for name in ("set_attributes", "add_event", "_add_event")
        )
        known = type(span._attributes) is BoundedAttributes and vars(span._attributes).keys() == _KNOWN
        limits = span._limits
        ready = hasattr(limits, "max_event_attributes") and hasattr(limits, "max_attribute_length")
        return sdk.Event if own and known and ready and hasattr(span._events, "extend") else None
    except Exception:
        return None
