"""OpenTelemetry log records beside the events of spans, where the program has set a LoggerProvider.

The conventions report evaluations, exceptions and, if asked for, the details of model calls as log records in the context of
their span; events on spans are deprecated. Both are written: a backend may read either. Content is in a record where it may be
on OpenTelemetry spans. No LoggerProvider is set or replaced, and none of OpenTelemetry's modules for logs is imported here:
what the program has not imported cannot have been set.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context
from opentelemetry.trace import Span as OtelSpan

from llmtrace import semconv as sc
from llmtrace.model import (
    Embedding,
    Event,
    FetchResponse,
    Inference,
    JsonValue,
    Memory,
    Operation,
    Retrieval,
    Scope,
    Span,
    ToolExecution,
)

_API, _PROXIES = "opentelemetry._logs", ("ProxyLoggerProvider", "NoOpLoggerProvider")
_DEBUG, _INFO, _WARN = 5, 9, 13
"""Severity numbers of OpenTelemetry."""
_CLIENT_OPERATIONS = (Inference, Embedding, FetchResponse, Retrieval, Memory)
_STRUCTURED = (sc.INPUT_MESSAGES, sc.OUTPUT_MESSAGES, sc.SYSTEM_INSTRUCTIONS, sc.TOOL_DEFINITIONS)

_last: tuple[object, Any] = (None, None)
"""The provider that was seen last, and its logger for us."""


def find_logger(scope: Scope) -> Any:
    """Return the logger of the program's LoggerProvider; None if it has set none, or one that knows no events."""
    global _last
    api: Any = sys.modules.get(_API)
    if api is None:
        return None
    provider = api.get_logger_provider()
    if provider is not _last[0]:
        is_set = type(provider).__name__ not in _PROXIES and _knows_events(api)
        _last = provider, provider.get_logger(scope.name, scope.version) if is_set else None
    return _last[1]


@lru_cache(maxsize=1)
def _knows_events(api: Any) -> bool:
    return "event_name" in inspect.signature(api.Logger.emit).parameters


def emit_events(logger: Any, span: Span, around: OtelSpan, events: Sequence[Event]) -> None:
    """Emit the evaluations and the exceptions among the events of an ended span of ours. ``around``: its OpenTelemetry span."""
    context = set_span_in_context(around, Context())
    for event in events:
        if event.name == sc.EVALUATION_EVENT:
            _emit(logger, context, event, _INFO)
        elif event.name == sc.EXCEPTION_EVENT:
            _emit(logger, context, event, _WARN, _exception_event(span.operation))


def _exception_event(operation: Operation) -> str:
    """Return the conventions' name for a failure of this operation, or OpenTelemetry's general one."""
    if isinstance(operation, ToolExecution):
        return sc.TOOL_EXCEPTION_EVENT
    return sc.CLIENT_EXCEPTION_EVENT if isinstance(operation, _CLIENT_OPERATIONS) else sc.EXCEPTION_EVENT


def emit_evaluations(logger: Any, span: Span, events: Sequence[Event]) -> None:
    """Emit the evaluations of a span of another instrumentation, on which nothing can be written any more."""
    span_context = SpanContext(int(span.trace_id, 16), int(span.span_id, 16), False, TraceFlags(TraceFlags.SAMPLED))
    context = set_span_in_context(NonRecordingSpan(span_context), Context())
    for event in events:
        if event.name == sc.EVALUATION_EVENT:
            _emit(logger, context, event, _INFO)


def emit_details(logger: Any, span: Span, around: OtelSpan, attributes: Mapping[str, JsonValue]) -> None:
    """Emit the details of a model call, if the standard variables ask for it. ``attributes``: those of its exported span."""
    if not isinstance(span.operation, Inference) or not _wants_details():
        return
    structured = {key: _parsed(attributes[key]) for key in _STRUCTURED if key in attributes}
    event = Event(sc.DETAILS_EVENT, span.end or span.start, {**attributes, **structured})
    _emit(logger, set_span_in_context(around, Context()), event, _DEBUG)


def _wants_details() -> bool:
    asked = os.environ.get("OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT", "").strip().lower()
    mode = os.environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "").strip().upper()
    return asked == "true" if asked else mode in ("EVENT_ONLY", "SPAN_AND_EVENT")


def _parsed(value: JsonValue) -> JsonValue:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _emit(logger: Any, context: Context, event: Event, severity: int, name: str | None = None) -> None:
    logger.emit(
        timestamp=event.time,
        context=context,
        severity_number=sys.modules[_API].SeverityNumber(severity),
        attributes=dict(event.attributes),
        event_name=name or event.name,
    )
