"""Imports the agent traces of TRAIL (OpenInference spans, by smolagents) and checks the tool calls in them.

Every file goes through ``llmtrace import`` into a store of its own; what the store gives back is counted against a plain
reading of the files, which knows nothing of llmtrace: spans, tool calls the models asked for, and how many of these
python-jsonschema refuses by the schema that stood in the same request, as it is written and with objects closed. Exit code 1
if a span or a call is lost, or a verdict differs.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema

import report
from llmtrace.cli import main as llmtrace
from llmtrace.model import Inference, Span, ToolCall, Trace, Violation
from llmtrace.store import Query, open_store

SETS = ("gaia", "swe_bench")
MEASURES = ("files", "traces", "spans", "calls", "with_schema", "errors", "warnings")


# -- a plain reading of the files


def document(path: Path) -> list[dict[str, Any]]:
    """The spans of a file, its long texts put back in their places; one that the file holds twice, once."""
    held = json.loads(path.read_bytes())
    blobs = held.get("blobs") or {}

    def whole(value: Any) -> Any:
        if isinstance(value, list):
            return [whole(item) for item in value]
        if isinstance(value, dict):
            return blobs[value["$blob"]] if value.keys() == {"$blob"} else {name: whole(one) for name, one in value.items()}
        return value

    return list({span["span_id"]: whole(span) for span in held["spans"] or []}.values())


def expected(folder: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    for path in sorted(folder.glob("*.json")):
        spans = document(path)
        counts["files"] += 1
        counts["traces"] += bool(spans)
        counts["spans"] += len(spans)
        for span in spans:
            counts += judged(span["span_attributes"])
    return counts


def judged(attributes: dict[str, Any]) -> Counter[str]:
    """The tool calls of one model call, judged by python-jsonschema alone."""
    counts: Counter[str] = Counter()
    offered = {}
    for name, held in attributes.items():
        if name.startswith("llm.tools.") and name.endswith(".json_schema"):
            function = json.loads(held)["function"]
            offered[function["name"]] = function["parameters"]
    for name, called in attributes.items():
        if name.startswith("llm.output_messages.") and name.endswith(".tool_call.function.name"):
            counts["calls"] += 1
            if called in offered:
                arguments = json.loads(attributes[name.removesuffix("name") + "arguments"])
                counts["with_schema"] += 1
                valid = jsonschema.Draft202012Validator(offered[called]).is_valid(arguments)
                counts["errors"] += not valid
                counts["warnings"] += valid and not jsonschema.Draft202012Validator(closed(offered[called])).is_valid(arguments)
    return counts


def closed(schema: Any) -> Any:
    """The schema with every object that names its members, and does not say whether there may be others, closed."""
    made = copy.deepcopy(schema)
    waiting = [made]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if "properties" in part and part.get("type") == "object":
                part.setdefault("additionalProperties", False)
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return made


# -- what llmtrace makes of them


def imported(folder: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as home:
        files = [str(path) for path in sorted(folder.glob("*.json"))]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            llmtrace(["import", *files, "--store", home])
        store = open_store(home)
        for found in store.traces(Query(limit=10_000)):
            counts["traces"] += 1
            counts += verdicts(store.trace(found.trace_id))  # the import has judged it
        store.close()
    counts["files"] = len(files)
    return counts


def verdicts(trace: Trace) -> Counter[str]:
    counts: Counter[str] = Counter(spans=len(trace))
    for span in trace.spans:
        if isinstance(span.operation, Inference):
            offered = {tool.name for tool in span.operation.tools if tool.parameters is not None}
            for message in span.operation.output:
                for call in message.tool_calls():
                    counts["calls"] += 1
                    counts["with_schema"] += call.name in offered
                    found = {violation.severity for violation in of_call(span, call)}
                    counts["errors"] += "error" in found
                    counts["warnings"] += "error" not in found and "warning" in found
    return counts


def of_call(span: Span, call: ToolCall) -> list[Violation]:
    return [found for found in span.violations if found.call_id == call.id and found.where == "arguments"]


def main() -> None:
    arguments = report.parser(__doc__).parse_args()
    folder = report.folder(arguments.data, "trail")
    results = {}
    for name in SETS:
        report.progress(f"{name} …")
        results[name] = {"in the files": expected(folder / name), "by llmtrace": imported(folder / name)}
    head = (
        "set",
        "read",
        "files",
        "with a trace",
        "spans",
        "tool calls",
        "with schema",
        "invalid: errors",
        "invalid: warnings",
    )
    body = [
        (name, reader, *(counts[measure] for measure in MEASURES))
        for name, readers in results.items()
        for reader, counts in readers.items()
    ]
    table = report.table("TRAIL: what is in the files, and what llmtrace reads and finds", head, body)
    shown = {
        name: {reader: {one: counts[one] for one in MEASURES} for reader, counts in found.items()}
        for name, found in results.items()
    }
    report.done(shown, [table], arguments.json)
    if any(found["in the files"] != found["by llmtrace"] for found in results.values()):
        sys.exit("llmtrace and the plain reading differ")


if __name__ == "__main__":
    main()
