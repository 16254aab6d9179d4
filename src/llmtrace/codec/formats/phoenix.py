"""Reads spans that Phoenix exports: ``get_spans_dataframe`` (JSON, CSV, parquet), ``get_spans``, and its former JSON lines.

They are OpenInference spans. Each export splits the names of attributes in another way: ``attributes.llm.input_messages`` with
a list of objects, ``llm.input_messages.0.message.role``, or nested objects. All become the names that the writer used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmtrace.codec.formats import _parse
from llmtrace.model import Event, JsonValue, RawSpan

_PREFIX: Final = "attributes."
_KIND: Final = "openinference.span.kind"
_VALUES: Final = ("parameters", "metadata", "arguments", "json_schema", "value", "variables", "invocation_parameters")
"""Last words of attribute names whose objects are values, not split names."""
_TEXTS: Final = (".value", ".arguments", ".json_schema")
"""Last words of attribute names whose values stay text, even if the text is JSON."""


def read(document: Mapping[str, JsonValue]) -> list[RawSpan | str] | None:
    if "status_code" not in document and "span_kind" not in document:
        return None
    context = _parse.mapping(document.get("context"))
    trace = document.get("context.trace_id", context.get("trace_id"))
    span = document.get("context.span_id", context.get("span_id"))
    if trace is None or span is None or "start_time" not in document:
        return None
    trace_id, span_id = _parse.id_of(trace, 32), _parse.id_of(span, 16)
    start = _parse.time_of(document["start_time"])
    if trace_id is None or span_id is None or start is None:
        return ["a span without a valid trace id (32 hex digits), span id (16) and start_time"]
    end = _parse.time_of(document.get("end_time"))
    return [
        RawSpan(
            trace_id,
            span_id,
            str(document.get("name") or ""),
            start,
            end,
            _parse.id_of(document.get("parent_id"), 16),
            status=_parse.status_of(document.get("status_code")),
            status_message=str(document.get("status_message") or ""),
            attributes=dict(_attributes(document)),
            events=tuple([_event(item, end or start) for item in _parse.items(_parse.structured(document.get("events")))]),
        )
    ]


def _attributes(document: Mapping[str, Any]) -> Iterator[tuple[str, JsonValue]]:
    yield from _flat("", _parse.mapping(_parse.structured(document.get("attributes"))))
    for name, value in document.items():
        if name.startswith(_PREFIX):
            name = name.removeprefix(_PREFIX)
            yield from _flat(name, value if name.endswith(_TEXTS) else _parse.structured(value))
    kind = document.get("span_kind")
    if isinstance(kind, str) and kind not in ("", "UNKNOWN") and f"{_PREFIX}{_KIND}" not in document:
        yield _KIND, kind


def _flat(name: str, value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    """Join the names of nested objects and the numbers of list items with dots."""
    if _parse.is_empty(value):
        return
    if isinstance(value, Mapping) and not name.endswith(_VALUES):
        for key, member in value.items():
            yield from _flat(f"{name}.{key}" if name else str(key), member)
    elif isinstance(value, list) and all(isinstance(item, Mapping) for item in value) and not name.endswith(_VALUES):
        for number, item in enumerate(value):
            yield from _flat(f"{name}.{number}", item)
    else:
        yield name, value


def _event(item: dict[str, Any], end: int) -> Event:
    attributes = _parse.mapping(item.get("attributes"))
    return Event(str(item.get("name", "")), _parse.time_of(item.get("timestamp")) or end, attributes)
