"""Reads OTLP JSON: a request with spans or log records, or an answer of a backend's API with one inside (Jaeger v3, Tempo)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmtrace.codec import log_records, otlp
from llmtrace.codec.log_records import LogRecord
from llmtrace.model import JsonValue, RawSpan

_OTHER_SIGNALS: Final = ("resourceMetrics", "resource_metrics", "resourceProfiles")


def read(document: Mapping[str, JsonValue]) -> list[RawSpan | LogRecord | str] | None:
    inner = document.get("result", document.get("trace"))
    if isinstance(inner, Mapping) and ("resourceSpans" in inner or "batches" in inner):
        document = inner
    if "batches" in document and isinstance(document["batches"], list):
        document = {"resourceSpans": document["batches"]}
    if "resourceSpans" in document or "resource_spans" in document:
        spans = otlp.from_json(document)
        invalid = otlp.count_json(document) - len(spans)
        return [*spans, f"{invalid} of its spans have no valid trace id and span id"] if invalid > 0 else [*spans]
    if "resourceLogs" in document or "resource_logs" in document:
        return [*log_records.from_json(document)]
    return [] if any(name in document for name in _OTHER_SIGNALS) else None
