"""How the command line words values: durations, ages, counts, costs, calls. Unknown is ``-``, never 0."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_args

from llmtrace import semconv
from llmtrace.cli.paint import Style, clean
from llmtrace.model import (
    FEEDBACK,
    INVALID_TOOL_CALL,
    Evaluation,
    Failure,
    JsonValue,
    Operation,
    Part,
    ToolCall,
    Trace,
    Violation,
    double_counted_spans,
)

if TYPE_CHECKING:
    from llmtrace.diagnosis import Diagnosis, Suspect

UNKNOWN = "-"

HEALTH_STYLE: dict[str, Style] = {"ok": "green", "recovered": "yellow", "failed": "red", "running": "blue"}
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


def age(start: int, now: int) -> str:
    """How long ago ``start`` was; both in nanoseconds since the Unix epoch. A start in the future is ``0s``."""
    seconds = max(0, now - start) // 1_000_000_000
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def count(number: int | None) -> str:
    return UNKNOWN if number is None else f"{number:,}"


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def cost(usd: float | None) -> str:
    if usd is None:
        return UNKNOWN
    if 0 < usd < 0.0001:
        return "<$0.0001"
    return f"${usd:.4f}" if usd < 1 else f"${usd:,.2f}"


def probability(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"


def confidence(suspect: Suspect) -> str:
    """``likely``; with the probability, ``likely, 70 %``, where it was measured."""
    return suspect.confidence + ("" if suspect.probability is None else f", {probability(suspect.probability)}")


def tokens(*numbers: int | None) -> int | None:
    """Their sum; None where not a single one is known."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def value(content: JsonValue) -> str:
    """A JSON value as compact text; NaN and what else JSON lacks as Python writes it."""
    return json.dumps(content, ensure_ascii=False, default=str)


def call(name: str, arguments: JsonValue) -> str:
    """A tool call as a function call. Arguments that were no JSON object stand as the raw text that the model wrote.

    ``…`` stands for those that are not known: content was left out, or the call has only begun.
    """
    if isinstance(arguments, dict):
        return f"{name}({', '.join(f'{key}={value(content)}' for key, content in arguments.items())})"
    return f"{name}({'…' if arguments is None else arguments})"


def tool_call(asked: ToolCall) -> str:
    return call(asked.name, asked.arguments)


def violation(found: Violation) -> str:
    """The place, what was expected and what came instead."""
    place = f" at {found.pointer}" if found.pointer else ""
    if found.line is not None:
        place += f" at line {found.line}, column {found.column}"
    wanted = "" if found.expected is None else _plain(found.expected)
    expected = f"; expected {wanted}" if wanted and wanted not in found.message else ""
    got = "" if found.got is None or found.code == "missing" else f"; got {value(found.got)}"
    return f"{found.code}{place}: {found.message}{expected}{got}"


def evaluation(found: Evaluation) -> str:
    label = f" [{found.label}]" if found.label not in (None, "fail") else ""
    pointer = f" at {found.pointer}" if found.pointer and found.pointer not in found.explanation else ""
    evidence = ", ".join(f"{key}={value(shown)}" for key, shown in found.evidence.items())
    return f"{found.name}{label}{pointer}: {found.explanation}{f' ({evidence})' if evidence else ''}"


def findings(names: Iterable[str]) -> str:
    """Names of what was found, as words; that a call was invalid only where nothing says in which way. Classes keep theirs."""
    known = list(names)
    told = [name for name in known if name != INVALID_TOOL_CALL] or known
    told = ["bad feedback" if name == FEEDBACK else name for name in told]  # what is good is no finding
    return clean(", ".join(name if "." in name else name.replace("_", " ") for name in told))


def failure(held: Failure) -> str:
    """Type and message; the type alone where there is no message."""
    return f"{held.type}: {held.message}" if held.message else held.type


def _plain(content: JsonValue) -> str:
    return content if isinstance(content, str) else value(content)


def usage_of(trace: Trace) -> tuple[int | None, float | None]:
    """Tokens and US dollars of all inferences of a trace, each once; None where none says."""
    counted: list[int | None] = []
    costs: list[float] = []
    hidden = double_counted_spans(trace)
    for span in trace.spans:
        if span.span_id in hidden:
            continue
        usage = getattr(span.operation, "usage", None)
        if usage is not None:
            counted += [usage.input_tokens, usage.output_tokens]
        paid = getattr(span.operation, "cost_usd", None)
        if paid is not None:
            costs.append(paid)
    return tokens(*counted), sum(costs) if costs else None


def as_json(content: Any) -> JsonValue:
    """A value of the model as JSON: objects by field name, with ``kind`` where several classes could stand."""
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


def diagnosis_as_json(found: Diagnosis) -> dict[str, JsonValue]:
    """A diagnosis as JSON, with what follows from its fields."""
    content: Any = as_json(found)
    return {**content, "is_wrong": found.is_wrong, "running": found.is_running}


_ENGINE = (
    ("queue", semconv.ENGINE_QUEUE),
    ("prefill", semconv.ENGINE_PREFILL),
    ("first token", semconv.ENGINE_FIRST_TOKEN),
    ("decode", semconv.ENGINE_DECODE),
    ("each token", semconv.ENGINE_PER_TOKEN),
)


def engine(attributes: Mapping[str, JsonValue]) -> str:
    """The times that the engine of a call told, in their order; nothing where it told none."""
    told = ((name, attributes.get(key)) for name, key in _ENGINE)
    return ", ".join(f"{name} {duration(held)}" for name, held in told if isinstance(held, (int, float)))
