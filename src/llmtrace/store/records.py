"""A `RawSpan` as the payload of a journal record: as JSON, with the long texts of its content raw behind it.

Law: ``decode(encode(raw), *decode_context(encode_context(raw)))`` equals ``raw`` for every value that JSON can hold, lone
surrogates and NaN included; what JSON cannot hold becomes a marked text, never an error. Long texts stay out of the JSON
because escaping 60 KB costs more than writing it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json, to_json

from llmtrace.model import Event, JsonValue, Link, RawSpan, Scope, replace
from llmtrace.semconv import CONTENT, INPUT_MESSAGES, REQUEST_OTHER, SYSTEM_INSTRUCTIONS, TOOL_DEFINITIONS

PROMPTS = frozenset({INPUT_MESSAGES, SYSTEM_INSTRUCTIONS, TOOL_DEFINITIONS, REQUEST_OTHER})
"""What a model was given; most of what a journal holds, since each call repeats the messages before it."""

_LONG = 256
_SIZE = struct.Struct("<I")

# On its first call pydantic-core imports modules. Where that fails (no descriptor left, the interpreter's end) it panics, with
# an exception that is no `Exception`. So the first call is here.
to_json(())


class NoRecord(ValueError):
    """Bytes that `encode` or `encode_context` did not write."""


def encode(raw: RawSpan) -> bytes:
    """Everything of ``raw`` but its resource and scope, which `encode_context` holds."""
    short: Mapping[str, JsonValue] = raw.attributes
    long: list[tuple[str, int]] = []
    blocks: list[bytes] = []
    for name in sorted(CONTENT & short.keys()):
        held = short[name]
        if type(held) is str and len(held) > _LONG:
            block = held.encode("utf-8", "surrogatepass")
            long.append((name, len(block)))
            blocks.append(block)
    if long:
        short = dict(short)
        for name, _ in long:
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
    kept = {name: held for name, held in raw.attributes.items() if name not in PROMPTS}
    return raw if len(kept) == len(raw.attributes) else replace(raw, attributes=kept)


def decode(payload: bytes, resource: Mapping[str, JsonValue], scope: Scope, *, prompts: bool = True) -> RawSpan:
    """The span that `encode` wrote. Raises NoRecord if the payload is no such thing. ``prompts`` False: without `PROMPTS`."""
    try:
        (size,) = _SIZE.unpack_from(payload)
        row = _from_json(payload[4 : 4 + size])
        trace_id, span_id, parent_id, name, kind, start, end, status, message, attributes, events, links, long = row[:13]
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
            kind=kind,
            status=status,
            status_message=message,
            attributes=attributes,
            events=tuple(Event(*event) for event in events),
            links=tuple(Link(*link) for link in links),
            resource=resource,
            scope=scope,
        )
        return raw if prompts else without_prompts(raw)
    except (struct.error, TypeError, KeyError, ValueError) as error:
        raise NoRecord("not a span") from error


def encode_context(resource: Mapping[str, JsonValue], scope: Scope, mark: str = "") -> bytes:
    """What a process's spans share; written once per journal file. ``mark``: where they are to be sent, see `decode_mark`."""
    return _to_json((resource, scope.name, scope.version, mark) if mark else (resource, scope.name, scope.version))


def decode_mark(data: bytes) -> str:
    """The mark that `encode_context` was given; empty where there is none, or ``data`` holds no context."""
    try:
        (mark,) = _from_json(data)[3:4]
    except (TypeError, KeyError, ValueError):
        return ""
    return mark if isinstance(mark, str) else ""


def decode_context(data: bytes) -> tuple[Mapping[str, JsonValue], Scope]:
    """Resource and scope. Raises NoRecord if ``data`` holds none."""
    try:
        resource, name, version = _from_json(data)[:3]
        return dict(resource), Scope(name, version)
    except (TypeError, KeyError, ValueError) as error:
        raise NoRecord("not a resource and scope") from error


def richness(raw: RawSpan) -> tuple[bool, int]:
    """How much a span says, to choose between two versions of it: whether it has ended, then its rough size in characters."""
    size = sum(_weight(held) for held in raw.attributes.values()) + 2 * len(raw.events) + len(raw.links)
    for event in raw.events:
        size += sum(_weight(held) for held in event.attributes.values())
    return raw.end is not None, size


def _weight(held: JsonValue) -> int:
    if isinstance(held, str):
        return len(held) + 1
    return len(repr(held)) + 1 if isinstance(held, (list, tuple, dict)) else 1


def _to_json(row: Any) -> bytes:
    try:
        return to_json(row, inf_nan_mode="constants", fallback=repr)
    except Exception:  # a lone surrogate, bytes, too deep a nesting, an object that will not be shown
        return _to_ascii(row)


def _to_ascii(row: Any) -> bytes:
    try:
        return json.dumps(row, default=_show).encode("ascii")
    except Exception:
        return json.dumps(_plain(row, frozenset()), default=_show).encode("ascii")


def _plain(held: Any, above: frozenset[int]) -> Any:
    """A copy without what json.dumps chokes on: odd keys, cycles, nesting without end."""
    if id(held) in above or len(above) > 64:
        return f"<too deep: {type(held).__name__}>"
    if isinstance(held, Mapping):
        return {str(key): _plain(value, above | {id(held)}) for key, value in held.items()}
    if isinstance(held, (list, tuple)):
        return [_plain(value, above | {id(held)}) for value in held]
    return held


def _show(held: object) -> str:
    return f"<unserialisable {type(held).__module__}.{type(held).__qualname__}>"


def _from_json(data: bytes) -> Any:
    try:
        return from_json(data)
    except ValueError:  # lone surrogates and deep nesting are for the standard library
        try:
            return json.loads(data)
        except RecursionError as error:
            raise ValueError("nested too deep") from error
