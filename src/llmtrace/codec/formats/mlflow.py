"""Reads MLflow's traces: ``Trace.to_json()`` of versions 2 and 3, rows of ``search_traces``, and answers of its server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import json_members, otlp
from llmtrace.codec.fields import as_json
from llmtrace.codec.formats import _parse, span_records
from llmtrace.codec.formats._parse import Skipped
from llmtrace.model import JsonValue, RawSpan, Scope, replace

_PREFIX: Final = "mlflow."
_SCOPE: Final = Scope("mlflow")
_TRACE_NAMES: Final = {"mlflow.trace.session": "session.id", "mlflow.trace.user": sc.USER_ID}


def read(document: Mapping[str, JsonValue]) -> list[RawSpan | Skipped | str] | None:
    trace = _parse.structured(document.get("trace"))
    if isinstance(trace, Mapping) and ("data" in trace or "spans" in trace):
        return read(trace)
    data = document.get("data")
    info = json_members.object_(document, "info", "trace_info")
    spans = data.get("spans") if isinstance(data, Mapping) else None
    if not info or spans is None:
        spans = _parse.structured(document.get("spans"))
        if not isinstance(spans, list) or not ({"trace_metadata", "trace_info", "request_metadata"} & document.keys()):
            return None
        info = info or document
    notes: list[RawSpan | Skipped | str] = [Skipped("MLflow assessment")] * len(_parse.items(_structured(info, "assessments")))
    items = _parse.items(spans)
    if not items:
        notes.append(Skipped("MLflow trace without spans"))
    trace_attributes = dict(_trace_attributes(info))
    return [*[_span(item, trace_attributes) for item in items], *notes]


def _structured(item: Mapping[str, Any], name: str) -> JsonValue:
    return _parse.structured(item.get(name))


def _trace_attributes(info: Mapping[str, Any]) -> Iterator[tuple[str, JsonValue]]:
    """Yield session, user and tags of the trace, which become attributes of its root."""
    metadata = _parse.mapping(_structured(info, "trace_metadata") or _structured(info, "request_metadata"))
    for name, attribute in _TRACE_NAMES.items():
        if isinstance(metadata.get(name), str):
            yield attribute, metadata[name]
    tags = _parse.mapping(_structured(info, "tags"))
    user_tags = [f"{name}={value}" if value else name for name, value in tags.items() if not name.startswith(_PREFIX)]
    if user_tags:
        yield sc.TAGS, user_tags


def _span(item: Mapping[str, Any], trace_attributes: Mapping[str, JsonValue]) -> RawSpan | str:
    if isinstance(item.get("attributes"), list):  # OTLP's JSON
        otlp_spans = otlp.from_json({"resourceSpans": [{"scopeSpans": [{"spans": [item]}]}]})
        if not otlp_spans:
            return "a span without trace_id or span_id"
        attributes = _attributes(otlp_spans[0].attributes, otlp_spans[0].parent_id, trace_attributes)
        return replace(otlp_spans[0], attributes=attributes, scope=_SCOPE)
    context = json_members.object_(item, "context")
    ids = {
        "trace_id": _parse.convert_id(context.get("trace_id", item.get("trace_id")), 32),
        "span_id": _parse.convert_id(context.get("span_id", item.get("span_id")), 16),
        "parent_id": _parse.convert_id(json_members.first(item, "parent_span_id", "parent_id"), 16),
    }
    record = {name: value for name, value in item.items() if name not in ("context", "parent_span_id", "children")}
    attributes = _attributes(_parse.mapping(item.get("attributes")), ids["parent_id"], trace_attributes)
    spans = span_records.read({**record, **ids, "attributes": attributes, "links": list(_links(item))})
    if not spans or not isinstance(spans[0], RawSpan):
        return "a span without trace_id, span_id or start time"
    return replace(spans[0], scope=_SCOPE)


def _attributes(
    attributes: Mapping[str, JsonValue], parent: JsonValue, trace_attributes: Mapping[str, JsonValue]
) -> dict[str, JsonValue]:
    """Parse the values, which MLflow writes as JSON text, except MLflow's own, which its dialect parses."""
    parsed = {name: value if name.startswith(_PREFIX) else _value(value) for name, value in attributes.items()}
    return parsed if parent else {**trace_attributes, **parsed}


def _value(value: JsonValue) -> JsonValue:
    content = as_json(value)
    return value if content is None else content


def _links(item: Mapping[str, Any]) -> Iterator[JsonValue]:
    for link in _parse.items(item.get("links")):
        ids = {"trace_id": _parse.convert_id(link.get("trace_id"), 32), "span_id": _parse.convert_id(link.get("span_id"), 16)}
        yield {**link, **ids}
