"""Reads LangSmith's runs from ``list_runs``, its API or its bulk export: an object or a table row for each run.

A run becomes a span with the attributes of LangSmith's own OpenTelemetry exporter, which the dialect `langsmith` reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import json_members
from llmtrace.codec.formats import _parse
from llmtrace.codec.formats._parse import Skipped
from llmtrace.model import Event, JsonValue, RawSpan, Scope

_SCOPE: Final = Scope("langsmith")
_INPUTS, _OUTPUTS = "gen_ai.prompt", "gen_ai.completion"
_METADATA: Final = "langsmith.metadata."
_ERROR: Final = re.compile(r"([A-Za-z_][\w.]*)\((.*)\)$", re.DOTALL)
"""``repr`` of an exception, which the SDK writes before the traceback."""
_NUMBERS: Final = (
    ("prompt_tokens", sc.USAGE_INPUT_TOKENS),
    ("completion_tokens", sc.USAGE_OUTPUT_TOKENS),
    ("total_cost", "langsmith.total_cost"),
)
_NO_OUTPUTS: Final[tuple[dict[str, None], ...]] = ({}, {"output": None})
"""Outputs of a run that returned nothing."""
_SESSIONS: Final = ("session_id", "thread_id", "conversation_id")
"""Metadata by which LangSmith groups runs into threads."""


def read(document: Mapping[str, JsonValue]) -> list[RawSpan | Skipped | str] | None:
    runs = document.get("runs")
    if isinstance(runs, list) and runs:  # an answer of the API
        read_runs = [read(run) if isinstance(run, Mapping) else None for run in runs]
        return None if None in read_runs else [item for items in read_runs for item in items or ()]
    if "id" not in document:
        return None
    if "run_type" in document and "start_time" in document:
        return list(_runs(document))
    is_example = "dataset_id" in document and "inputs" in document
    return [Skipped("LangSmith dataset example", "Export the runs of its project instead")] if is_example else None


def _runs(run: Mapping[str, Any]) -> Iterator[RawSpan | str]:
    """Yield a run, and the runs below it if the export nests them."""
    waiting = [run]
    while waiting:
        run = waiting.pop()
        yield _span(run)
        waiting += _parse.items(_parse.structured(run.get("child_runs")))


def _span(run: Mapping[str, Any]) -> RawSpan | str:
    # a step of ``dotted_order`` is a time and the run's UUID, which has 36 characters
    path = [step[-36:] for step in str(run.get("dotted_order") or "").split(".") if len(step) > 36]
    trace = run.get("trace_id") or (path[0] if path else run["id"])
    trace_id, span_id = _parse.convert_id(str(trace), 32), _parse.convert_id(str(run["id"]), 16)
    start = _parse.time_of(run.get("start_time"))
    if trace_id is None or span_id is None or start is None:
        return "a LangSmith run without id or start_time"
    end = _parse.time_of(run.get("end_time"))
    error = run.get("error")
    failed = (isinstance(error, str) and error != "") or run.get("status") == "error"
    event = _exception(error, end or start) if isinstance(error, str) and error else None
    return RawSpan(
        trace_id,
        span_id,
        str(run.get("name") or ""),
        start,
        end,
        _parse.convert_id(_parent(run, path), 16),
        status="error" if failed else "unset",
        status_message=str(event.attributes[sc.EXCEPTION_MESSAGE]) if event is not None else "",
        attributes=dict(_attributes(run)),
        events=() if event is None else (event,),
        scope=_SCOPE,
    )


def _parent(run: Mapping[str, Any], path: list[str]) -> JsonValue:
    """Return the id of the parent run, else the last but one of the ids in ``dotted_order``."""
    parents = _parse.structured(run.get("parent_run_ids"))
    last = parents[-1] if isinstance(parents, list) and parents else None
    return run.get("parent_run_id") or last or (path[-2] if len(path) > 1 else None)


def _exception(error: str, time: int) -> Event:
    text, _, trace = error.partition("Traceback (most recent call last)")
    text = text.strip() or error.strip()
    match = _ERROR.match(text)
    kind, message = match.groups() if match is not None else ("", text)
    if len(message) > 1 and message[0] in "'\"" and message[-1] == message[0]:
        message = message[1:-1]
    attributes: dict[str, JsonValue] = {sc.EXCEPTION_MESSAGE: message}
    if kind:
        attributes[sc.EXCEPTION_TYPE] = kind
    if trace:
        attributes[sc.EXCEPTION_STACKTRACE] = f"Traceback (most recent call last){trace}"
    return Event(sc.EXCEPTION_EVENT, time, attributes)


def _attributes(run: Mapping[str, Any]) -> Iterator[tuple[str, JsonValue]]:
    yield "langsmith.span.kind", str(run.get("run_type") or "chain")
    for name, attribute in (("inputs", _INPUTS), ("outputs", _OUTPUTS)):
        value = _parse.structured(run.get(name))
        if value is not None and not (name == "outputs" and value in _NO_OUTPUTS):
            yield attribute, value
    for name, attribute in _NUMBERS:
        if run.get(name):
            yield attribute, run[name]
    extra = _parse.mapping(_parse.structured(run.get("extra")))
    yield from _metadata_attributes(_parse.mapping(extra.get("metadata")))
    if not _parse.is_empty(extra.get("invocation_params")):
        yield "langsmith.invocation_params", extra["invocation_params"]
    tags = _parse.structured(run.get("tags"))
    if isinstance(tags, list) and tags:
        yield sc.TAGS, [str(tag) for tag in tags]
    if not _parse.is_empty(run.get("session_name")):
        yield "langsmith.trace.session_name", run["session_name"]
    first, start = _parse.time_of(run.get("first_token_time")), _parse.time_of(run.get("start_time"))
    if first is not None and start is not None and first >= start:
        yield sc.RESPONSE_TIME_TO_FIRST_CHUNK, (first - start) / 1e9


def _metadata_attributes(metadata: Mapping[str, Any]) -> Iterator[tuple[str, JsonValue]]:
    for name, value in metadata.items():
        if not _parse.is_empty(value):
            yield f"{_METADATA}{name}", value
    session = json_members.text(metadata, *_SESSIONS)
    if session:
        yield sc.CONVERSATION_ID, session
    if isinstance(metadata.get("user_id"), str):
        yield sc.USER_ID, metadata["user_id"]
