"""OTLP as JSON: a request, or the answer of a backend's API that holds one (Jaeger v3, Tempo)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmtrace.codec import otlp
from llmtrace.model import JsonValue, RawSpan

_OTHERS: Final = ("resourceLogs", "resourceMetrics", "resource_logs", "resource_metrics", "resourceProfiles")


def read(document: Mapping[str, JsonValue]) -> list[RawSpan | str] | None:
    inner = document.get("result", document.get("trace"))
    if isinstance(inner, Mapping) and ("resourceSpans" in inner or "batches" in inner):
        document = inner
    if "batches" in document and isinstance(document["batches"], list):
        document = {"resourceSpans": document["batches"]}
    if "resourceSpans" in document or "resource_spans" in document:
        spans = otlp.from_json(document)
        lost = _count(document) - len(spans)
        return [*spans, f"{lost} of its spans have no valid trace id and span id"] if lost > 0 else [*spans]
    return [] if any(name in document for name in _OTHERS) else None


def _count(document: Mapping[str, Any]) -> int:
    groups = _lists(document, "resourceSpans", "resource_spans")
    scoped = [one for group in groups for one in _lists(group, "scopeSpans", "scope_spans")]
    return sum(len(_lists(one, "spans")) for one in scoped)


def _lists(held: Any, *names: str) -> list[Any]:
    found: Any = next((held[name] for name in names if name in held), []) if isinstance(held, Mapping) else []
    return found if isinstance(found, list) else []
