"""Converts a `Span` to an OpenTelemetry span with the attributes and events of the GenAI conventions, and back.

Laws: ``decode(encode(span)) == span``. `decode` accepts a span of any writer; what it does not understand stays in
``attributes`` and ``events``. A span without a known operation becomes a `Custom` one, and `encode` restores it unchanged.

Content is JSON text. A user's attribute that would be read as one of llmtrace's gets `semconv.ATTRIBUTE_PREFIX`, a user's event
`semconv.EVENT_PREFIX`. Only other writers set the status ``ok``; in a `Span` it is the attribute ``otel.status_code``.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from llmtrace import semconv as sc
from llmtrace.codec import fields, findings, operations, recorded
from llmtrace.codec.content_writer import PLAIN, ContentWriter
from llmtrace.codec.fields import Attributes
from llmtrace.codec.findings import events
from llmtrace.model import Custom, JsonValue, Kind, Operation, RawSpan, Span

__all__ = [
    "attributes",
    "decode",
    "encode",
    "events",
    "opening",
]

_RUN: Final = (fields.text("run_id", sc.RUN_ID), fields.count("sequence", sc.SEQUENCE))
_READ_RUN: Final = fields.row_reader(_RUN)
_RESERVED: Final = frozenset(row.key for row in _RUN) | findings.DERIVED | recorded.KEYS
"""Attributes that llmtrace reads on every span."""
_RESERVED_BY: Final = {operation_class: keys | _RESERVED for operation_class, keys in operations.RESERVED.items()}
_AMBIGUOUS: Final = findings.FAILURE_ATTRIBUTES | {sc.OPERATION_NAME}
"""Attributes that llmtrace reads or not, depending on the value and the span."""
_PREFIXES: Final = (sc.ATTRIBUTE_PREFIX, sc.FINDING_PREFIX)
_STATUS_KEYS: Final = (sc.OTEL_STATUS_CODE, sc.OTEL_STATUS_DESCRIPTION)
_OK: Final = "OK"


def encode(span: Span, writer: ContentWriter = PLAIN) -> RawSpan:
    """Return the span in OpenTelemetry's form. Its attributes are a new dict. It shares the values of the user's attributes,
    the resource and the links. ``writer``: default, content is written unchanged.
    """
    out: Attributes = {}
    operations.write(span.operation, out, writer)
    name, span = writer.span_name(span), writer.rest(span)
    _write_rest(span, out)
    if span.recorded is not None:
        recorded.write(writer.recorded(span.recorded), out, PLAIN)
    status, message = _status(span)
    return RawSpan(
        span.trace_id,
        span.span_id,
        name,
        span.start,
        span.end,
        span.parent_id,
        span.kind,
        status,
        message,
        out,
        events(span),
        span.links,
        span.resource,
        span.scope,
    )


def attributes(span: Span) -> Attributes:
    """Return every attribute of the span as a new dict: llmtrace's first, then the user's."""
    out: Attributes = {}
    operations.write(span.operation, out)
    _write_rest(span, out)
    return out


def _write_rest(span: Span, out: Attributes) -> None:
    """Set the attributes that are not the operation's."""
    if span.run_id is not None:
        out[sc.RUN_ID] = span.run_id
    if span.sequence is not None:
        out[sc.SEQUENCE] = span.sequence
    findings.attributes(span, out)
    if span.attributes:
        _add_user_attributes(span, out)


def _add_user_attributes(span: Span, out: Attributes) -> None:
    reserved = _RESERVED_BY[type(span.operation)]
    for key, value in span.attributes.items():
        is_reserved = key in reserved or (key in _AMBIGUOUS and _is_reserved(key, value, span))
        if is_reserved or key in out or key.startswith(_PREFIXES):
            out[sc.ATTRIBUTE_PREFIX + key] = value
        elif key not in _STATUS_KEYS or not _is_status(key, value, span):
            out[key] = value


def _is_reserved(key: str, value: JsonValue, span: Span) -> bool:
    """Return True if `decode` would not read this as an attribute of the user."""
    if key == sc.OPERATION_NAME:  # the attribute of a `Custom` span that came with an unknown operation
        return not isinstance(span.operation, Custom) or operations.is_known(value)
    if span.failure is not None:
        return key == sc.ERROR_TYPE and isinstance(value, str)
    return span.run_id is None and findings.says_failure(key, value)


def _is_status(key: str, value: JsonValue, span: Span) -> bool:
    """Return True if `encode` writes this attribute as the status of the span."""
    if span.failure is not None or not isinstance(value, str):
        return False
    return value == _OK if key == sc.OTEL_STATUS_CODE else value != ""


def _status(span: Span) -> tuple[Literal["unset", "ok", "error"], str]:
    if span.failure is not None:
        return "error", span.failure.message
    if not span.attributes:
        return "unset", ""
    code, description = span.attributes.get(sc.OTEL_STATUS_CODE), span.attributes.get(sc.OTEL_STATUS_DESCRIPTION)
    return "ok" if code == _OK else "unset", description if isinstance(description, str) else ""


def decode(raw: RawSpan) -> Span:
    """Read a span that `encode` or another library wrote. Never raises."""
    rest = dict(raw.attributes)
    for key in findings.derived_in(rest):
        del rest[key]
    run_fields = _READ_RUN(rest)
    operation = operations.read(rest)
    recording = recorded.read(rest)
    verdicts = findings.read(raw, rest, is_external=run_fields.get("run_id") is None)
    if raw.status == "ok":
        rest.setdefault(sc.OTEL_STATUS_CODE, _OK)
    if raw.status_message and raw.status != "error":
        rest.setdefault(sc.OTEL_STATUS_DESCRIPTION, raw.status_message)
    return Span(
        trace_id=raw.trace_id,
        span_id=raw.span_id,
        name=raw.name,
        start=raw.start,
        end=raw.end,
        parent_id=raw.parent_id,
        kind=raw.kind,
        operation=operation,
        **run_fields,
        **verdicts,
        attributes=_user_attributes(rest),
        links=raw.links,
        resource=raw.resource,
        scope=raw.scope,
        recorded=recording,
    )


def _user_attributes(rest: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Give escaped attributes their own names again, unless the name is in use."""
    if not rest:
        return {}  # a dict that was emptied still takes the memory that it needed when it was full
    escaped = [key for key in rest if key.startswith(sc.ATTRIBUTE_PREFIX)]
    for key in sorted(escaped, key=len):  # a key that was escaped twice needs the name of the one escaped once
        name = key[len(sc.ATTRIBUTE_PREFIX) :]
        if name not in rest:
            rest[name] = rest.pop(key)
    return rest


# -- the start of a span


class Opening(NamedTuple):
    """Name, kind and attributes of a span when it starts."""

    name: str
    """Name by the conventions: the operation and its subject (``chat gpt-4o``, ``execute_tool refund``)."""
    kind: Kind
    """``client`` if a service does the work, ``internal`` if this process does."""
    attributes: dict[str, JsonValue]
    """Attributes that a sampler may need: operation, provider, model, names, server; but not `operations.ids`. A new dict."""


def opening(operation: Operation) -> Opening:
    shape = operations.BY_CLASS[type(operation)]
    start_attributes = operations.at_start(operation)
    name = start_attributes.get(sc.OPERATION_NAME)
    subject = getattr(operation, shape.subject) if shape.subject else None
    return Opening(f"{name} {subject}" if subject else name or "span", shape.kind, start_attributes)
