"""Reads spans that Phoenix exports: ``get_spans_dataframe`` (JSON, CSV, parquet), ``get_spans``, and its former JSON lines.

They are OpenInference spans. Each export splits attribute names differently: ``attributes.llm.input_messages`` with a list of
objects, ``llm.input_messages.0.message.role``, or nested objects. All are joined to the names that the writer used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmtrace.codec.formats import _parse, span_records
from llmtrace.model import JsonValue, RawSpan

_FIELDS: Final = ("name", "start_time", "end_time", "parent_id", "status_code", "status_message")
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
    ids = {name: document.get(f"context.{name}", context.get(name)) for name in ("trace_id", "span_id")}
    if None in ids.values() or "start_time" not in document:
        return None
    record = {name: document.get(name) for name in _FIELDS}
    events = _parse.structured(document.get("events"))
    items = span_records.read({**record, **ids, "events": events, "attributes": dict(_attributes(document))})
    return ["a span without a valid start_time"] if items is None else items


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
