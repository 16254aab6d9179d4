"""Formats values as text: durations, ages, counts, costs, calls, findings. Unknown is ``-``, never 0."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

from llmtrace import semconv
from llmtrace.cli.terminal import Style
from llmtrace.model import (
    FEEDBACK,
    INVALID_TOOL_CALL,
    Evaluation,
    Failure,
    Inference,
    JsonValue,
    Operation,
    Part,
    Receipt,
    ToolCall,
    Trace,
    Violation,
)
from llmtrace.text.unsafe_characters import clean

if TYPE_CHECKING:
    from llmtrace.diagnosis import Diagnosis, Suspect
    from llmtrace.list_verdicts import Verdict

UNKNOWN = "-"

HEALTH_STYLE: dict[str, Style] = {
    "ok": "green",
    "recovered": "yellow",
    "suspect": "magenta",
    "failed": "red",
    "running": "blue",
}
_ALTERNATIVES = (*get_args(Operation), *get_args(Part))

SEVERITY_STYLE: dict[str, Style] = {"error": "red", "warning": "yellow", "info": "dim"}
CONFIDENCE_STYLE: dict[str, Style] = {"certain": "red", "likely": "yellow", "possible": "dim"}


def duration(seconds: float | None) -> str:
    if seconds is None:
        return UNKNOWN
    if seconds < 0.9995:
        return f"{seconds * 1e3:.0f} ms" if seconds >= 0.001 else f"{seconds * 1e6:.0f} µs"
    if seconds < 59.5:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m {rest:02}s" if minutes < 60 else f"{minutes // 60}h {minutes % 60:02}m"


def moment(nanoseconds: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return a time, in nanoseconds since the Unix epoch, as text in the time zone of this machine."""
    return datetime.fromtimestamp(nanoseconds / 1e9).astimezone().strftime(form)


def age(start: int, now: int) -> str:
    """Return how long ago ``start`` was; both times in nanoseconds since the Unix epoch. A start in the future is ``0s``."""
    seconds = max(0, now - start) // 1_000_000_000
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def count(number: int | None) -> str:
    return UNKNOWN if number is None else f"{number:,}"


def size(number: float) -> str:
    """Return a number of bytes as text."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def it_or_them(number: int) -> str:
    return "it" if number == 1 else "them"


def cost(usd: float | None) -> str:
    if usd is None:
        return UNKNOWN
    if 0 < usd < 0.0001:
        return "<$0.0001"
    return f"${usd:.4f}" if usd < 1 else f"${usd:,.2f}"


def requests(operation: Operation) -> str:
    """Return ``2 requests`` if the client sent a model call more than once; else ""."""
    attempts = getattr(operation, "attempts", None) or 1
    return plural(attempts, "request") if attempts > 1 else ""


def retried_calls(trace: Trace) -> Iterator[str]:
    """Yield ``chat gpt-4o took 2 requests`` for each retried call that succeeded. Equal texts are yielded once."""
    retried = [(span.operation, span.name) for span in trace.spans if span.failure is None and requests(span.operation)]
    calls = [(call, call.title if isinstance(call, Inference) else name) for call, name in retried]
    return iter(dict.fromkeys(f"{title} took {requests(call)}" for call, title in calls))


def probability(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"


def confidence(suspect: Suspect | Verdict) -> str:
    """Return the confidence, such as ``likely``, or ``likely, 70 %`` if its probability was measured."""
    return (suspect.confidence or "") + ("" if suspect.probability is None else f", {probability(suspect.probability)}")


def value(content: JsonValue) -> str:
    """Return a JSON value as compact text. Values that JSON does not have, such as NaN, are written in Python's way."""
    return json.dumps(content, ensure_ascii=False, default=str)


def text(content: JsonValue) -> str:
    """Return a text unchanged, any other JSON value like `value`."""
    return content if isinstance(content, str) else value(content)


def call(name: str, arguments: JsonValue) -> str:
    """Return a tool call, written as a function call. Arguments that are not a JSON object are the model's raw text.

    ``…`` stands for unknown arguments: content was not recorded, or the call has just started.
    """
    if isinstance(arguments, dict):
        return f"{name}({', '.join(f'{key}={value(content)}' for key, content in arguments.items())})"
    return f"{name}({'…' if arguments is None else arguments})"


def tool_call(requested: ToolCall) -> str:
    return call(requested.name, requested.arguments)


def violation(finding: Violation) -> str:
    """Return a violation: its place, what was expected, and the actual value."""
    place = f" at {finding.pointer}" if finding.pointer else ""
    if finding.line is not None:
        place += f" at line {finding.line}, column {finding.column}"
    wanted = "" if finding.expected is None else text(finding.expected)
    expected = f"; expected {wanted}" if wanted and wanted not in finding.message else ""
    got = "" if finding.got is None or finding.code == "missing" else f"; got {value(finding.got)}"
    said = f"{finding.message}{expected}{got}"
    return f"{finding.code}{place}{f': {said}' if said else ''}"


def receipt(found: Receipt) -> str:
    """Return a receipt on one line, with what was read back."""
    return found.text if found.record is None else f"{found.text}; read back: {value(found.record)}"


def evaluation(finding: Evaluation) -> str:
    label = f" [{finding.label}]" if finding.label not in (None, "fail") else ""
    pointer = f" at {finding.pointer}" if finding.pointer and finding.pointer not in finding.explanation else ""
    evidence = ", ".join(f"{key}={value(shown)}" for key, shown in finding.evidence.items())
    said = f"{finding.explanation}{f' ({evidence})' if evidence else ''}"
    return f"{finding.name}{label}{pointer}{f': {said}' if said else ''}"


def findings(names: Iterable[str]) -> str:
    """Return the names of findings as words, without ``invalid_tool_call`` if another finding says what was invalid.

    Names of classes, which have a dot, are unchanged.
    """
    all_names = list(names)
    shown_names = [name for name in all_names if name != INVALID_TOOL_CALL] or all_names
    shown_names = ["bad feedback" if name == FEEDBACK else name for name in shown_names]  # good feedback is not a finding
    return clean(", ".join(name if "." in name else name.replace("_", " ") for name in shown_names))


def failure(error: Failure) -> str:
    """Return type and message of a failure, or only its type if it has no message."""
    return f"{error.type}: {error.message}" if error.message else error.type


def as_json(content: Any) -> JsonValue:
    """Return a value of the model as JSON: objects by field name, with ``kind`` if a field can have several classes."""
    if is_dataclass(content) and not isinstance(content, type):
        shown = {field.name: as_json(getattr(content, field.name)) for field in fields(content) if field.repr}
        return {"kind": type(content).__name__} | shown if isinstance(content, _ALTERNATIVES) else shown
    if isinstance(content, dict):
        return {str(key): as_json(inner) for key, inner in content.items()}
    if isinstance(content, (list, tuple)):
        return [as_json(inner) for inner in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content if content is None or isinstance(content, (str, int, float, bool)) else str(content)


def diagnosis_as_json(diagnosis: Diagnosis) -> dict[str, JsonValue]:
    """Return a diagnosis as JSON, with its derived properties."""
    content: Any = as_json(diagnosis)
    return {**content, "is_wrong": diagnosis.is_wrong, "running": diagnosis.is_running}


_ENGINE = (
    ("queue", semconv.ENGINE_QUEUE),
    ("prefill", semconv.ENGINE_PREFILL),
    ("first token", semconv.ENGINE_FIRST_TOKEN),
    ("decode", semconv.ENGINE_DECODE),
    ("each token", semconv.ENGINE_PER_TOKEN),
)


def replay(trace: Trace) -> str:
    """Return which trace this trace is a replay of, and which step was edited; "" if it is not a replay."""
    for span in trace.roots:
        if semconv.REPLAY_OF in span.attributes:
            edited = span.attributes.get(semconv.REPLAY_EDITED)
            change = f", with {str(edited)[:8]} edited" if edited else ""
            return f"a replay of {str(span.attributes[semconv.REPLAY_OF])[:8]}{change}"
    return ""


def engine(attributes: Mapping[str, JsonValue]) -> str:
    """Return the times that a call's inference engine reported; "" without any."""
    times = ((name, attributes.get(key)) for name, key in _ENGINE)
    return ", ".join(f"{name} {duration(seconds)}" for name, seconds in times if isinstance(seconds, (int, float)))
