"""Spans of agent libraries in other languages: is each field read right, and are the verdicts right?

Every recorded trace is received into an empty store, with its log records where its writer sends content that way, and then
listed, shown and diagnosed. The truth beside the traces comes from the programs and from the log of the model server.
Fields that a writer does not export are skipped. A run without an answer and without a call that llmtrace read is unjudged;
it must not be called ok. The last columns take the same traces with all content removed, and with every name of an attribute,
scope and span replaced: the first must be called unjudged, the second must be called unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import report
from llmtrace.codec import formats
from llmtrace.codec.log_records import LogRecord
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.diagnosis import Diagnosis, diagnose
from llmtrace.external.ingest import Ingestor
from llmtrace.model import Inference, RawSpan, Span, ToolCall, ToolExecution, Trace, replace
from llmtrace.store import TraceSummary
from llmtrace.store.memory import MemoryStore
from llmtrace.store.summary import summarise

BARS = {"fields": 0.99, "fields of one writer": 0.97, "good runs accused": 0, "faults": 0.95, "unjudged runs called ok": 0}
_NEVER = 1e9
_REASONS = {"tool_calls": "tool_call", "toolcalls": "tool_call", "tool_use": "tool_call", "function_call": "tool_call"}
_REASONS |= {"end_turn": "stop", "max_tokens": "length", "max_output_tokens": "length", "tool_execution": "tool_call"}


@dataclass
class Received:
    trace: Trace
    summary: TraceSummary
    diagnosis: Diagnosis


@dataclass
class Score:
    """What was right in one or more runs."""

    runs: int = 0
    fields: int = 0
    right: int = 0
    good: int = 0
    accused: int = 0
    faults: int = 0
    found: int = 0
    called_ok: int = 0
    """Unjudged runs that were called ok."""
    wrong: list[str] = field(default_factory=list)
    """What was wrong, for a person."""

    def __add__(self, other: Score) -> Score:
        numbers = {name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__}
        return Score(**numbers)


# -- receiving


def receive(paths: Sequence[Path], *, change: Any = None) -> Received:
    """Store the spans and log records of these files, evaluate them, and read them back as the commands do."""
    store = MemoryStore()
    ingestor = Ingestor(store, content=Content(Config()), quiet=_NEVER)
    trace_id = ""
    for path in paths:
        with path.open("rb") as file:
            items = list(formats.read(file))
        spans = [item for item in items if isinstance(item, RawSpan)]
        trace_id = next((span.trace_id for span in spans), trace_id)
        ingestor.ingest(spans if change is None else [change(span) for span in spans])
        ingestor.ingest_logs([item for item in items if isinstance(item, LogRecord)])
    ingestor.evaluate_all()
    ingestor.close()
    trace = store.trace(trace_id)  # also one that is no run, which lists leave out
    return Received(trace, summarise(trace), diagnose(trace))


def without_content(span: RawSpan) -> RawSpan:
    """The span without long texts, JSON and events: what a writer sends whose content is off."""
    short = {key: value for key, value in span.attributes.items() if not _is_content(key, value)}
    return replace(span, attributes=short, events=())


def _is_content(key: str, value: Any) -> bool:
    words = re.split(r"[._:]", key.lower())
    held = {
        "message",
        "messages",
        "content",
        "input",
        "output",
        "prompt",
        "prompts",
        "completion",
        "arguments",
        "args",
        "result",
    }
    held |= {"text", "value", "toolcalls", "calls", "instructions", "definitions", "functions", "tools", "schema"}
    is_text = isinstance(value, (str, list, tuple, dict))
    return is_text and not held.isdisjoint(words) and not key.endswith((".id", ".name", ".type", "span.kind"))


def as_unknown_writer(span: RawSpan) -> RawSpan:
    """The same span by a writer that nobody knows: other names of scope, span and attributes."""
    attributes = {f"acme.{re.sub(r'[^a-z]', '_', key.lower())[::-1]}": value for key, value in span.attributes.items()}
    scope = replace(span.scope, name="acme-tracing")
    return replace(span, name="step", attributes=attributes, events=(), scope=scope)


# -- fields


class Truth:
    """One row of the truth, and which fields its writer exports."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.row = row
        self._absent = set(row["not_written"])

    def exports(self, path: str, position: int | None = None) -> bool:
        head, rest = path.split(".", maxsplit=1)[0], path.partition(".")[2]
        names = {path, head}
        if position is not None:
            names |= {f"{head}[{position}]", f"{head}[{position}]" + (f".{rest}" if rest else "")}
        return names.isdisjoint(self._absent)


def fields_of(truth: Truth, received: Received) -> Iterator[tuple[str, bool, Any]]:
    """Each exported field: its name, whether it was read right, and what was read."""
    spans = sorted(received.trace.spans, key=lambda span: (span.start, span.end or 0))
    yield from _model_calls(truth, [span for span in spans if isinstance(span.operation, Inference)])
    if truth.exports("tool_runs"):
        yield from _tool_runs(truth, [span for span in spans if isinstance(span.operation, ToolExecution)])
    row, summary = truth.row, received.summary
    if truth.exports("task"):
        readings = [row["task"], *row.get("task_also", ())]
        contained = summary.task is not None and " ".join(row["task"].split()) in " ".join(summary.task.split())
        yield "task", contained or any(_is_same_text(summary.task, text) for text in readings), summary.task
    if truth.exports("answer"):
        yield "answer", _is_same_text(summary.answer, row["answer"]), summary.answer
    if truth.exports("session"):
        sessions = {span.attributes.get("gen_ai.conversation.id") for span in spans} - {None}
        yield "session", sessions == ({row["session"]} if row["session"] else set()), sorted(map(str, sessions))


def _model_calls(truth: Truth, spans: list[Span]) -> Iterator[tuple[str, bool, Any]]:
    calls = truth.row["model_calls"]
    yield "model calls", len(spans) == len(calls), len(spans)
    for position, call in enumerate(calls):
        span = spans[position] if position < len(spans) else None
        inference = span.operation if span is not None and isinstance(span.operation, Inference) else Inference("")
        for name, right, read in _model_call(truth, position, call, inference):
            yield f"call {position} {name}", span is not None and right, read
        if truth.exports("model_calls.error", position):
            failed = span is not None and span.failure is not None and span.failure.type != "invalid_tool_call"
            yield f"call {position} error", span is not None and failed == call["error"], failed


def _model_call(truth: Truth, position: int, call: dict[str, Any], inference: Inference) -> Iterator[tuple[str, bool, Any]]:
    models = (inference.request_model or "", inference.response_model or "")
    if truth.exports("model_calls.request_model", position):
        wanted = call["request_model"]
        yield "model", models[0] == wanted or models[0].endswith("/" + wanted), models[0]
    elif call.get("response_model") and truth.exports("model_calls.response_model", position):
        yield "model", call["response_model"] in models, models
    usage = inference.usage
    counts = {
        "input_tokens": usage and usage.input_tokens,
        "output_tokens": usage and usage.output_tokens,
        "cached_tokens": usage and usage.cache_read_input_tokens,
    }
    for name, count in counts.items():
        if call[name] is not None and truth.exports(f"model_calls.{name}", position):
            yield name, count == call[name], count
    if truth.exports("model_calls.finish_reasons", position):
        written = inference.finish_reasons or tuple(m.finish_reason for m in inference.output if m.finish_reason)
        reasons = {_REASONS.get(reason, reason) for reason in written}
        yield "finish reason", reasons == set(call["finish_reasons"]), sorted(reasons)
    if truth.exports("model_calls.tool_calls", position):
        made = [part for message in inference.output for part in message.parts if isinstance(part, ToolCall)]
        read = sorted(_key(part.name, part.arguments) for part in made)
        yield "tool calls", read == sorted(_key(one["name"], one["arguments"]) for one in call["tool_calls"]), read
        if call["tool_calls"] and truth.exports("model_calls.tool_calls.id", position):
            ids = sorted(str(part.id) for part in made)
            yield "call ids", ids == sorted(one["id"] for one in call["tool_calls"]), ids


def _key(name: str, arguments: Any) -> str:
    return json.dumps([name, arguments], sort_keys=True)


def _tool_runs(truth: Truth, spans: list[Span]) -> Iterator[tuple[str, bool, Any]]:
    runs = [(position, run) for position, run in enumerate(truth.row["tool_runs"]) if truth.exports("tool_runs", position)]
    yield "tool runs", len(spans) == len(runs), len(spans)
    remaining = list(spans)
    for position, run in runs:
        span = _find_run(run, remaining)
        execution = span.operation if span is not None else None
        if span is not None:
            remaining.remove(span)
        if truth.exports("tool_runs.name", position):
            yield f"run {position} name", getattr(execution, "name", None) == run["name"], getattr(execution, "name", None)
        if truth.exports("tool_runs.arguments", position):
            yield f"run {position} arguments", _has_arguments(run, execution), getattr(execution, "arguments", None)
        if truth.exports("tool_runs.failed", position):
            failed = span is not None and _has_failed(span)
            yield f"run {position} failed", span is not None and failed == run["failed"], failed


def _find_run(run: dict[str, Any], spans: list[Span]) -> Span | None:
    alike = [span for span in spans if getattr(span.operation, "name", None) == run["name"]]
    exact = [span for span in alike if _has_arguments(run, span.operation)]
    return next(iter([*exact, *alike, *spans]), None)


def _has_arguments(run: dict[str, Any], execution: Any) -> bool:
    arguments = getattr(execution, "arguments", None)
    if execution is not None and arguments == run["arguments"]:
        return True
    only = run.get("as_written")
    return only is not None and (arguments == only or (isinstance(arguments, dict) and list(arguments.values()) == [only]))


def _has_failed(span: Span) -> bool:
    if any(found.name == "failed_action" and found.label in ("raised", "error_result") for found in span.evaluations):
        return True
    execution = span.operation
    assert isinstance(execution, ToolExecution)
    if span.failure is None:
        return False
    return span.failure.type != "invalid_tool_call" or not (execution.executed and execution.has_result)


def _is_same_text(read: str | None, wanted: str | None) -> bool:
    if read is None or wanted is None:
        return read is wanted
    read, wanted = " ".join(read.split()), " ".join(wanted.split())
    if read == wanted or (len(read) >= 199 and wanted.startswith(read)):
        return True
    try:
        return bool(json.loads(read) == json.loads(wanted))
    except ValueError:
        return False


# -- verdicts


def accusations(received: Received) -> list[str]:
    """What is said against a run: warnings, errors, and suspects that mark it."""
    spans = received.trace.spans
    names = {found.name for span in spans for found in span.evaluations if found.severity in ("warning", "error")}
    names |= {violation.code for span in spans for violation in span.violations if violation.severity == "error"}
    return [*sorted(names), *(suspect.title for suspect in received.diagnosis.marked)]


def finds(fault: dict[str, Any], received: Received) -> bool:
    spans, tool = received.trace.spans, fault.get("tool")
    names = {found.name for span in spans for found in span.evaluations}
    labels = {(found.name, found.label) for span in spans for found in span.evaluations}
    what = fault["what"]
    if what == "invalid_call":
        shown = "|fail|error|exception|cannot" if "shown_by" in fault else ""
        return _names_invalid(received, tool) or _says(received, tool, f"invalid|schema|must be|not one of|expected{shown}")
    if what == "failed_tool_claimed":
        return "failed_tool_ignored" in names or _says(received, tool, "fail|error|exception|refused")
    if what == "repeated_call":
        return not names.isdisjoint({"repeated_call", "loop"}) or _says(received, tool, "repeat|again|loop|times|same")
    if what == "cut_answer":
        return "truncated_output" in names or ("end_state", "cut") in labels or _says(received, None, r"\bcut\b|length|truncat")
    if what == "server_error":
        failed = any(span.failure is not None and isinstance(span.operation, Inference) for span in spans)
        return failed and received.summary.health in ("failed", "recovered")
    return what == "failed_run" and received.summary.health == "failed"


def _names_invalid(received: Received, tool: str | None) -> bool:
    for span in received.trace.spans:
        if any(violation.tool == tool for violation in span.violations):
            return True
        about = [found for found in span.evaluations if found.name == "invalid_tool_call"]
        if any(tool in found.explanation or tool == getattr(span.operation, "name", None) for found in about if tool):
            return True
    return False


def _says(received: Received, tool: str | None, words: str) -> bool:
    for suspect in received.diagnosis.suspects:
        text = f"{suspect.check} {suspect.label} {suspect.title} {suspect.evidence}"
        if (tool is None or tool in text) and re.search(words, text.replace(tool or "\0", ""), re.I):
            return True
    return False


def is_unjudged(trace: Trace) -> bool:
    """True if neither an answer nor a call was read: whatever is said of such a run, it is not that it is ok."""
    operations = [span.operation for span in trace.spans]
    answered = any(isinstance(operation, Inference) and operation.output for operation in operations)
    return not answered and not any(isinstance(operation, ToolExecution) for operation in operations)


def score(row: dict[str, Any], folder: Path) -> Score:
    paths = [folder / row["file"], *([folder / row["logs"]] if "logs" in row else [])]
    received, truth = receive(paths), Truth(row)
    result = Score(runs=1)
    for name, right, read in fields_of(truth, received):
        result.fields += 1
        result.right += right
        if not right:
            result.wrong.append(f"{row['file']}: {name}: {read!r}"[:200])
    if row["good"]:
        against = accusations(received)
        result.good, result.accused = 1, bool(against)
        result.wrong += [f"{row['file']}: ACCUSED of {', '.join(against)}"] if against else []
    for fault in row["wrong"]:
        if truth.exports("wrong." + fault["what"]):
            found = finds(fault, received)
            result.faults, result.found = result.faults + 1, result.found + found
            result.wrong += [] if found else [f"{row['file']}: NOT FOUND: {fault['what']}"]
    variants = [received, receive(paths[:1], change=without_content), receive(paths[:1], change=as_unknown_writer)]
    result.called_ok = sum(_is_called_ok(variant) for variant in variants)
    result.wrong += [f"{row['file']}: variant {number} called ok" for number in range(3) if _is_called_ok(variants[number])]
    return result


def _is_called_ok(received: Received) -> bool:
    return is_unjudged(received.trace) and received.diagnosis.is_judged and not received.diagnosis.is_wrong


# -- tables


def main() -> None:
    options = report.parser(__doc__)
    options.add_argument("--writer", help="only this writer")
    options.add_argument("--wrong", action="store_true", help="print what was wrong")
    arguments = options.parse_args()
    folder = report.folder(arguments.data, "foreign")
    rows = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    scores: dict[str, Score] = {}
    for row in rows:
        if arguments.writer in (None, row["writer"]) and (folder / row["file"]).is_file():
            report.progress(f"{row['file']} …")
            scores[row["writer"]] = scores.get(row["writer"], Score()) + score(row, folder)
    scores["all"] = sum(scores.values(), Score())
    head = ("writer", "runs", "fields right", "good runs accused", "faults found", "unjudged called ok")
    table = report.table("Spans of other languages", head, [(name, *_cells(one)) for name, one in scores.items()])
    details = ["\n".join(["", *scores["all"].wrong])] if arguments.wrong else []
    report.done({name: vars(one) for name, one in scores.items()}, [table, *details], arguments.json)


def _cells(one: Score) -> tuple[object, ...]:
    share = f"{one.right} of {one.fields} ({100 * one.right / one.fields:.1f} %)" if one.fields else "–"
    return one.runs, share, f"{one.accused} of {one.good}", f"{one.found} of {one.faults}", one.called_ok


if __name__ == "__main__":
    main()
