"""OTLP as JSON: a request of spans or of log records, or the answer of a backend's API that holds one (Jaeger v3, Tempo)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmtrace.codec import log_records, otlp
from llmtrace.codec.log_records import LogRecord
from llmtrace.model import JsonValue, RawSpan

_OTHERS: Final = ("resourceMetrics", "resource_metrics", "resourceProfiles")


def read(document: Mapping[str, JsonValue]) -> list[RawSpan | LogRecord | str] | None:
    inner = document.get("result", document.get("trace"))
    if isinstance(inner, Mapping) and ("resourceSpans" in inner or "batches" in inner):
        document = inner
    if "batches" in document and isinstance(document["batches"], list):
        document = {"resourceSpans": document["batches"]}
    if "resourceSpans" in document or "resource_spans" in document:
        spans = otlp.from_json(document)
        lost = otlp.count_json(document) - len(spans)
        return [*spans, f"{lost} of its spans have no valid trace id and span id"] if lost > 0 else [*spans]
    if "resourceLogs" in document or "resource_logs" in document:
        return [*log_records.from_json(document)]
    return [] if any(name in document for name in _OTHERS) else None
