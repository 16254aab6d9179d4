"""Reads Langfuse's exports: traces with observations (API, download), and observations (API, UI, blob storage).

A record becomes a span with the attributes of Langfuse's SDKs, which the dialect `langfuse` reads. Names may be in camel or
snake case. Values in tables may be JSON text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import fields as values
from llmtrace.codec.formats import _parse
from llmtrace.codec.formats._parse import Skipped
from llmtrace.model import JsonValue, RawSpan, Scope

_SCOPE: Final = Scope("langfuse-sdk")
_TYPES: Final = frozenset(
    "span generation event agent tool chain retriever evaluator embedding guardrail".split()  # noqa: SIM905
)
_PREFIX: Final = "langfuse.observation."
_TRACE_NAMES: Final = {
    "sessionid": "session.id",
    "userid": sc.USER_ID,
    "tags": "langfuse.trace.tags",
    "tracetags": "langfuse.trace.tags",
    "release": "langfuse.release",
}
_NAMES: Final = {
    "input": _PREFIX + "input",
    "output": _PREFIX + "output",
    "modelparameters": _PREFIX + "model.parameters",
    "metadata": _PREFIX + "metadata",
    "promptname": _PREFIX + "prompt.name",
    "promptversion": _PREFIX + "prompt.version",
    "version": "langfuse.version",
    "environment": "langfuse.environment",
    "level": _PREFIX + "level",
}
_STRUCTURED: Final = frozenset({"modelparameters", "metadata", "tags", "tracetags"})
_NO_OBSERVATIONS: Final = Skipped("Langfuse trace without observations", "Export the observations, and import that file")


def read(document: Mapping[str, JsonValue]) -> list[RawSpan | Skipped | str] | None:
    inner = document.get("trace")
    if isinstance(inner, Mapping) and isinstance(document.get("observations"), list):
        document = {**inner, "observations": document["observations"]}  # the download of a trace
    data = document.get("data")
    if isinstance(data, list) and isinstance(document.get("meta"), Mapping):  # a page of the API
        pages = [read(item) if isinstance(item, Mapping) else None for item in data]
        return None if None in pages else [item for page in pages for item in page or ()]
    record = _parse.fields(document)
    if not isinstance(record.get("id"), str):
        return None
    if "traceid" in record:
        kind = record.get("type")
        if isinstance(kind, str) and kind.lower() in _TYPES and "starttime" in record:
            return [_observation(record)]
        return [Skipped("Langfuse score")] if "name" in record and {"value", "stringvalue"} & record.keys() else None
    return _trace(record) if "timestamp" in record and {"sessionid", "userid", "htmlpath"} & record.keys() else None


def _trace(trace: dict[str, Any]) -> list[RawSpan | Skipped | str]:
    """Read the observations of a trace. The outermost ones get its session, user and tags."""
    records = [_parse.fields(item) for item in _parse.items(_parse.structured(trace.get("observations")))]
    notes: list[RawSpan | Skipped | str] = [Skipped("Langfuse score") for _ in _parse.items(trace.get("scores"))]
    if not records:
        return [_NO_OBSERVATIONS, *notes]
    shared = {name: trace[name] for name in _TRACE_NAMES if not _parse.is_empty(trace.get(name))}
    return [*[_observation({**(shared if not item.get("parentobservationid") else {}), **item}) for item in records], *notes]


def _observation(record: dict[str, Any]) -> RawSpan | str:
    trace_id, span_id = _parse.convert_id(record.get("traceid"), 32), _parse.convert_id(record["id"], 16)
    start = _parse.time_of(record.get("starttime"))
    if trace_id is None or span_id is None or start is None:
        return "a Langfuse observation without id, trace id or start time"
    kind = str(record.get("type", "span")).lower()
    end = _parse.time_of(record.get("endtime"))
    message = record.get("statusmessage")
    return RawSpan(
        trace_id,
        span_id,
        str(record.get("name") or ""),
        start,
        start if kind == "event" and end is None else end,
        _parse.convert_id(record.get("parentobservationid"), 16),
        status="error" if record.get("level") == "ERROR" else "unset",
        status_message=message if isinstance(message, str) else "",
        attributes={_PREFIX + "type": kind, **dict(_attributes(record))},
        scope=_SCOPE,
    )


def _attributes(record: Mapping[str, Any]) -> Iterator[tuple[str, JsonValue]]:
    for name, attribute in {**_TRACE_NAMES, **_NAMES}.items():
        value = _parse.structured(record.get(name)) if name in _STRUCTURED else record.get(name)
        if not _parse.is_empty(value) and (name, value) not in (("level", "DEFAULT"), ("environment", "default")):
            yield attribute, value
    model = record.get("model") or record.get("providedmodelname")
    if isinstance(model, str) and model:
        yield _PREFIX + "model.name", model
    usage = _counts(record.get("usagedetails")) or _counts(record.get("usage"))
    if any(usage.values()):
        yield _PREFIX + "usage_details", usage
    cost = _cost(record)
    if cost:
        yield _PREFIX + "cost_details", {"total": cost}
    first = _parse.time_of(record.get("completionstarttime"))
    if first is not None:
        yield _PREFIX + "completion_start_time", datetime.fromtimestamp(first / 1e9, timezone.utc).isoformat()
    definitions = list(_definitions(_parse.structured(record.get("tooldefinitions"))))
    if definitions:
        yield sc.TOOL_DEFINITIONS, definitions


def _counts(value: JsonValue) -> dict[str, JsonValue]:
    details = _parse.mapping(_parse.structured(value))
    return {name: count for name, member in details.items() if (count := values.as_count(member)) is not None}


def _cost(record: Mapping[str, Any]) -> float | None:
    """Return the cost in US dollars: Langfuse's total, else the sum of the parts."""
    parts = {
        name: number
        for name, member in _parse.mapping(_parse.structured(record.get("costdetails"))).items()
        if (number := values.as_number(member)) is not None
    }
    total = parts.get("total", sum(parts.values()) if parts else None)
    return total or values.as_number(record.get("totalcost")) or values.as_number(record.get("calculatedtotalcost"))


def _definitions(definitions: JsonValue) -> Iterator[JsonValue]:
    """Read the offered tools. The blob storage has an object with a definition as JSON text for each name."""
    for name, text in _parse.mapping(definitions).items():
        definition = _parse.mapping(_parse.structured(text))
        if definition:
            yield {"type": "function", "name": name, **_parse.mapping(definition.get("function", definition))}
