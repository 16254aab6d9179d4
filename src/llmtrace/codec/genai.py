"""A `Span` as OpenTelemetry sees it, by today's GenAI conventions and llmtrace's own names, and back.

Laws: ``decode(encode(span)) == span``; `decode` takes any span of any writer, and what it does not understand stays in
``attributes`` and ``events``. A span without a known operation is a `Custom` one and encodes back as it came.

Content is JSON text. A user's attribute whose name llmtrace writes or reads itself on such a span goes out under
`semconv.ATTRIBUTE_PREFIX`, a user's event that reads like one of llmtrace's under `semconv.EVENT_PREFIX`. A status ``ok``,
which only other writers set, is the attribute ``otel.status_code`` in a `Span`.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from llmtrace import semconv as sc
from llmtrace.codec import fields, findings, operations, recorded
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
_READ_RUN: Final = fields.reader(_RUN)
_RESERVED: Final = frozenset(row.key for row in _RUN) | findings.DERIVED | recorded.KEYS
"""Attributes that are ours on every span."""
_RESERVED_BY: Final = {
    operation_class: keys | _RESERVED | {sc.OPERATION_NAME} for operation_class, keys in operations.RESERVED.items()
}
_PREFIXES: Final = (sc.ATTRIBUTE_PREFIX, sc.FINDING_PREFIX)
_OK: Final = "OK"


def encode(span: Span) -> RawSpan:
    """The span as it goes to OpenTelemetry. Shares attributes' values, resource and links with it."""
    status, message = _status(span)
    span_attributes = attributes(span)
    if span.recorded is not None:
        recorded.write(span.recorded, span_attributes)
    return RawSpan(
        span.trace_id,
        span.span_id,
        span.name,
        span.start,
        span.end,
        span.parent_id,
        span.kind,
        status,
        message,
        span_attributes,
        events(span),
        span.links,
        span.resource,
        span.scope,
    )


def attributes(span: Span) -> dict[str, JsonValue]:
    """Every attribute of the span; a new dict. Order: ours, then the user's."""
    out: dict[str, JsonValue] = {}
    operations.write(span.operation, out)
    if span.run_id is not None:
        out[sc.RUN_ID] = span.run_id
    if span.sequence is not None:
        out[sc.SEQUENCE] = span.sequence
    findings.attributes(span, out)
    if span.attributes:
        _add_user_attributes(span, out)
    return out


def _add_user_attributes(span: Span, out: dict[str, JsonValue]) -> None:
    reserved = _RESERVED_BY[type(span.operation)]
    status = span.failure is None and (sc.OTEL_STATUS_CODE in span.attributes or sc.OTEL_STATUS_DESCRIPTION in span.attributes)
    for key, value in span.attributes.items():
        if key in reserved or key in out or key.startswith(_PREFIXES) or key in findings.FAILURE_ATTRIBUTES:
            key = _escaped_key(key, value, span, out)
        elif status and _is_status(key, value):
            continue
        out[key] = value


def _escaped_key(key: str, value: JsonValue, span: Span, out: dict[str, JsonValue]) -> str:
    if key not in out:
        if key == sc.OPERATION_NAME and isinstance(span.operation, Custom) and not operations.is_known(value):
            return key  # `Custom` is how a span of an operation that is not known here was read
        if key in findings.FAILURE_ATTRIBUTES and not _is_misread(key, value, span):
            return key
    return sc.ATTRIBUTE_PREFIX + key


def _is_misread(key: str, value: JsonValue, span: Span) -> bool:
    """Return True if a user's attribute would be read as the failure, or as its type."""
    if span.failure is not None:
        return key == sc.ERROR_TYPE and isinstance(value, str)
    return span.run_id is None and findings.says_failure(key, value)


def _is_status(key: str, value: JsonValue) -> bool:
    if key == sc.OTEL_STATUS_CODE:
        return isinstance(value, str) and value == _OK
    return key == sc.OTEL_STATUS_DESCRIPTION and isinstance(value, str) and value != ""


def _status(span: Span) -> tuple[Literal["unset", "ok", "error"], str]:
    if span.failure is not None:
        return "error", span.failure.message
    if not span.attributes:
        return "unset", ""
    code, description = span.attributes.get(sc.OTEL_STATUS_CODE), span.attributes.get(sc.OTEL_STATUS_DESCRIPTION)
    return "ok" if code == _OK else "unset", description if isinstance(description, str) else ""


def decode(raw: RawSpan) -> Span:
    """The span that another writer, or `encode`, wrote. Never raises."""
    rest = dict(raw.attributes)
    for key in findings.derived_in(rest):
        del rest[key]
    run_fields = _READ_RUN(rest)
    operation = operations.read(rest)
    replayable = recorded.read(rest)
    verdicts = findings.read(raw, rest, is_external=run_fields.get("run_id") is None)
    if raw.status != "error":
        _keep_status(raw, rest)
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
        recorded=replayable,
    )


def _keep_status(raw: RawSpan, rest: dict[str, JsonValue]) -> None:
    if raw.status == "ok":
        rest.setdefault(sc.OTEL_STATUS_CODE, _OK)
    if raw.status_message:
        rest.setdefault(sc.OTEL_STATUS_DESCRIPTION, raw.status_message)


def _user_attributes(rest: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Users' attributes under their own names. One whose name is in use stays where it is."""
    if not rest:
        return {}  # the emptied one still takes the memory that it needed when it was full
    escaped = sorted([key for key in rest if key.startswith(sc.ATTRIBUTE_PREFIX)], key=len)  # the inner ones make room first
    for key in escaped:
        name = key[len(sc.ATTRIBUTE_PREFIX) :]
        if name not in rest:
            rest[name] = rest.pop(key)
    return rest


# -- what is known when a span starts


class Opening(NamedTuple):
    """The name, kind and attributes of a span when it starts."""

    name: str
    """Name by the conventions: the operation and its object (``chat gpt-4o``, ``execute_tool refund``)."""
    kind: Kind
    """``client`` for what a service answers, ``internal`` for what happens in this process."""
    attributes: dict[str, JsonValue]
    """Those that a sampler may want: operation, provider, model, names, server; a new dict."""


def opening(operation: Operation) -> Opening:
    shape = operations.BY_CLASS[type(operation)]
    start_attributes = operations.at_start(operation)
    name = start_attributes.get(sc.OPERATION_NAME)
    about = getattr(operation, shape.title) if shape.title else None
    return Opening(f"{name} {about}" if about else name or "span", shape.kind, start_attributes)
