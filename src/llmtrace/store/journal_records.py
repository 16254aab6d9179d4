"""A `RawSpan` as the payload of a journal record: JSON, followed by its long texts as raw bytes.

Law: ``decode(encode(raw), *decode_context(encode_context(raw)))`` equals ``raw`` for every value that JSON can represent, lone
surrogates and NaN included. Other values become a marked text, never an error. Long texts are kept out of the JSON because
escaping 60 KB costs more than writing it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, get_args

from pydantic_core import from_json, to_json

from llmtrace.model import Event, JsonValue, Kind, Link, RawSpan, Scope, replace
from llmtrace.semconv import (
    CONTENT,
    EVALUATION_ROUND,
    INPUT_MESSAGES,
    REPLAY_EXCHANGES,
    REQUEST_OTHER,
    SYSTEM_INSTRUCTIONS,
    TOOL_DEFINITIONS,
)

PROMPTS = frozenset({INPUT_MESSAGES, SYSTEM_INSTRUCTIONS, TOOL_DEFINITIONS, REQUEST_OTHER})
"""The models' input: most of a journal, since each call repeats the messages before it."""

_LONG = 256
_MAY_BE_LONG = CONTENT | {REPLAY_EXCHANGES}
_SIZE = struct.Struct("<I")
_TEXT_OR_NONE, _NUMBER_OR_NONE = (str, type(None)), (int, type(None))
_TYPES = (str, str, _TEXT_OR_NONE, str, str, int, _NUMBER_OR_NONE, str, str, dict, list, list, list)
"""The types of a row's members."""
_KINDS, _STATUSES = frozenset(get_args(Kind)), frozenset(("unset", "ok", "error"))

# On its first call pydantic-core imports modules. If that fails (no file descriptor left, interpreter shutdown) it panics with
# an exception that is not an `Exception`. So make the first call at import time.
to_json(())


class NoRecord(ValueError):
    """The bytes were not written by `encode` or `encode_context`."""


def encode(raw: RawSpan) -> bytes:
    """Encode a span without its resource and scope, which `encode_context` encodes."""
    short = dict(raw.attributes)
    long: list[tuple[str, int]] = []
    blocks: list[bytes] = []
    for name in sorted(_MAY_BE_LONG & short.keys()):
        value = short[name]
        if type(value) is str and len(value) > _LONG:
            block = value.encode("utf-8", "surrogatepass")
            long.append((name, len(block)))
            blocks.append(block)
            del short[name]
    row: Any = (
        raw.trace_id,
        raw.span_id,
        raw.parent_id,
        raw.name,
        raw.kind,
        raw.start,
        raw.end,
        raw.status,
        raw.status_message,
        short,
        [(event.name, event.time, event.attributes) for event in raw.events] if raw.events else (),
        [(link.trace_id, link.span_id, link.attributes) for link in raw.links] if raw.links else (),
        long,
    )
    try:
        row = to_json(row, inf_nan_mode="constants", fallback=repr)
    except Exception:
        row = _to_ascii(row)
    return b"".join((_SIZE.pack(len(row)), row, *blocks))


def without_prompts(raw: RawSpan) -> RawSpan:
    attributes = {name: value for name, value in raw.attributes.items() if name not in PROMPTS}
    return raw if len(attributes) == len(raw.attributes) else replace(raw, attributes=attributes)


def decode(payload: bytes, resource: Mapping[str, JsonValue], scope: Scope, *, prompts: bool = True) -> RawSpan:
    """Decode what `encode` wrote. ``prompts`` False: without `PROMPTS`. Raises NoRecord for any other payload."""
    try:
        (size,) = _SIZE.unpack_from(payload)
        row = _from_json(payload[4 : 4 + size])
        trace_id, span_id, parent_id, name, kind, start, end, status, message, attributes, events, links, long = row[:13]
        if not _are(row, _TYPES):
            raise NoRecord("not a span of this version")
        at = 4 + size
        for key, length in long:
            if prompts or key not in PROMPTS:
                attributes[key] = payload[at : at + length].decode("utf-8", "surrogatepass")
            at += length
        raw = RawSpan(
            trace_id=trace_id,
            span_id=span_id,
            name=name,
            start=start,
            end=end,
            parent_id=parent_id,
            kind=kind if kind in _KINDS else "internal",
            status=status if status in _STATUSES else "unset",
            status_message=message,
            attributes=attributes,
            events=tuple([Event(*event[:3]) for event in events if _are(event, (str, int, dict))]),
            links=tuple([Link(*link[:3]) for link in links if _are(link, (str, str, dict))]),
            resource=resource,
            scope=scope,
        )
        return raw if prompts else without_prompts(raw)
    except (struct.error, TypeError, KeyError, ValueError) as error:
        raise NoRecord("not a span") from error


def trace_of(payload: bytes) -> str:
    """Return the trace id of a span that `encode` wrote, also if a later version wrote more members; empty for other bytes."""
    try:
        (size,) = _SIZE.unpack_from(payload)
        trace_id = _from_json(payload[4 : 4 + size])[0]
    except (struct.error, TypeError, LookupError, ValueError):
        return ""
    return trace_id if isinstance(trace_id, str) else ""


def _are(members: Any, types: tuple[Any, ...]) -> bool:
    """Return True if the members of a list have these types. More members, which a later version may add, are not looked at."""
    return len(members) >= len(types) and all(isinstance(*pair) for pair in zip(members, types, strict=False))


def encode_context(resource: Mapping[str, JsonValue], scope: Scope, mark: str = "") -> bytes:
    """Encode resource and scope, which a process's spans share. ``mark``: where they will be sent, see `decode_mark`."""
    return _to_json((resource, scope.name, scope.version, mark) if mark else (resource, scope.name, scope.version))


def decode_mark(data: bytes) -> str:
    """Return the mark that was passed to `encode_context`; empty without a mark, or if ``data`` is not a context."""
    try:
        (mark,) = _from_json(data)[3:4]
    except (TypeError, KeyError, ValueError):
        return ""
    return mark if isinstance(mark, str) else ""


def decode_context(data: bytes) -> tuple[Mapping[str, JsonValue], Scope]:
    """Decode resource and scope. Raises NoRecord if ``data`` is not a context."""
    try:
        resource, name, version = _from_json(data)[:3]
        return dict(resource), Scope(name, version)
    except (TypeError, KeyError, ValueError) as error:
        raise NoRecord("not a resource and scope") from error


def richness(raw: RawSpan) -> tuple[bool, int]:
    """Return how complete a version of a span is: True if it has ended, and its approximate size in characters.

    A span of another instrumentation is judged again when more of its trace arrives. A later round outweighs any size, so that
    the last verdicts win even if they are fewer.
    """
    size = sum(_weight(value) for value in raw.attributes.values()) + 2 * len(raw.events) + len(raw.links)
    for event in raw.events:
        size += sum(_weight(value) for value in event.attributes.values())
    evaluated = raw.attributes.get(EVALUATION_ROUND)
    if isinstance(evaluated, int) and 0 < evaluated < _MOST_ROUNDS:
        size += evaluated * _ROUND
    return raw.end is not None, size


_ROUND, _MOST_ROUNDS = 1 << 40, 1 << 20


def size_of(richness: tuple[bool, int]) -> int:
    """Return the approximate size in characters, without the rounds."""
    return richness[1] % _ROUND


def _weight(value: JsonValue) -> int:
    if isinstance(value, str):
        return len(value) + 1
    return len(repr(value)) + 1 if isinstance(value, (list, tuple, dict)) else 1


def _to_json(row: Any) -> bytes:
    try:
        return to_json(row, inf_nan_mode="constants", fallback=repr)
    except Exception:  # a lone surrogate, bytes, too deep a nesting, an object whose repr() fails
        return _to_ascii(row)


def _to_ascii(row: Any) -> bytes:
    try:
        return json.dumps(row, default=_show).encode("ascii")
    except Exception:
        return json.dumps(_plain(row, frozenset()), default=_show).encode("ascii")


def _plain(value: Any, above: frozenset[int]) -> Any:
    """Return a copy that json.dumps accepts: text keys only, no cycles, limited nesting."""
    if id(value) in above or len(above) > 64:
        return f"<too deep: {type(value).__name__}>"
    if isinstance(value, Mapping):
        return {str(key): _plain(member, above | {id(value)}) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(member, above | {id(value)}) for member in value]
    return value


def _show(value: object) -> str:
    return f"<unserialisable {type(value).__module__}.{type(value).__qualname__}>"


def _from_json(data: bytes) -> Any:
    try:
        return from_json(data)
    except ValueError:  # the standard library can read lone surrogates and deep nesting
        try:
            return json.loads(data)
        except RecursionError as error:
            raise ValueError("nested too deep") from error
