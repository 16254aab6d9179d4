"""Alarms of the quality signal ungrounded_argument on recorded customer-service runs, by kind of value.

Every assistant message becomes an inference that was sent all messages before it, every call an execution. Successful runs
show false alarms (a value may be made up in a run that succeeds all the same: read the examples). Then one traced value at a
time is changed into another of the same form, in a copy of the run up to its call: the share of these that is found is the
recall. For comparison: plain substring matching.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import report
from llmtrace.lineage import SPECIFIC, Lineage
from llmtrace.lineage.values import Value, is_round
from llmtrace.model import (
    Evaluation,
    Inference,
    Message,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    ToolResult,
    replace,
)
from llmtrace.signals.ungrounded_argument import SIGNAL
from llmtrace.validation.parsing import parse_arguments
from llmtrace.validation.schema import read_definition

SETS = (("airline", "gpt-4o-airline.jsonl", "airline_tools.json"), ("retail", "retail_agentrx.jsonl", "retail_tools.json"))
PLANTED_PER_SET = 300
TRACE = "0" * 31 + "1"


@dataclass
class Tally:
    runs: Counter[bool] = field(default_factory=Counter)
    calls: Counter[bool] = field(default_factory=Counter)
    alarmed_runs: Counter[bool] = field(default_factory=Counter)
    substring_runs: Counter[bool] = field(default_factory=Counter)
    alarms: Counter[tuple[bool, str]] = field(default_factory=Counter)
    values: Counter[tuple[bool, str]] = field(default_factory=Counter)
    planted: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    examples: list[dict[str, Any]] = field(default_factory=list)


def message_of(raw: dict[str, Any]) -> Message:
    if raw["role"] == "tool":
        return Message("tool", (ToolResult(raw["content"], raw["tool_call_id"]),))
    parts: list[Any] = [Text(raw["content"])] if raw.get("content") else []
    calls = [(call["function"], call["id"]) for call in raw.get("tool_calls") or ()]
    parts += [ToolCall(function["name"], parse_arguments(function["arguments"]), call_id) for function, call_id in calls]
    return Message(raw["role"], tuple(parts))


def spans_of(trajectory: list[dict[str, Any]], tools: tuple[ToolDefinition, ...]) -> list[Span]:
    """The run as the live path would see it: spans in the order in which they ended."""
    spans: list[Span] = []
    messages = [message_of(raw) for raw in trajectory]

    def add(operation: Any) -> None:
        number = len(spans)
        spans.append(
            Span(TRACE, f"{number + 1:016x}", "s", number, number + 1, operation=operation, run_id=TRACE, sequence=number)
        )

    for position, message in enumerate(messages):
        if message.role != "assistant":
            continue
        add(Inference("openai", input=tuple(messages[:position]), output=(message,), tools=tools))
        results = {part.id: part for later in messages[position + 1 :] for part in later.parts if isinstance(part, ToolResult)}
        for call in message.tool_calls():
            if call.id in results:
                add(ToolExecution(call.name, call.arguments, results[call.id].response, True, call.id))
    return spans


def alarms_of(spans: list[Span]) -> list[Evaluation]:
    state = SIGNAL.start()
    return [found for span in spans for found in SIGNAL.step(state, span)]


def substring_alarm(trajectory: list[dict[str, Any]]) -> bool:
    """Plain substring matching of every argument value against all earlier user, system and tool messages."""
    seen = ""
    for raw in trajectory:
        if raw["role"] != "assistant":
            seen += str(raw.get("content"))
            continue
        for call in raw.get("tool_calls") or ():
            if any(str(value) not in seen for value in scalars(parse_arguments(call["function"]["arguments"]))):
                return True
    return False


def scalars(value: Any) -> Iterator[Any]:
    if isinstance(value, (dict, list)):
        for member in value.values() if isinstance(value, dict) else value:
            yield from scalars(member)
    elif value is not None and not isinstance(value, bool):
        yield value


def measure(tally: Tally, number: int, run: dict[str, Any], tools: tuple[ToolDefinition, ...]) -> list[Span]:
    good = run["reward"] == 1.0
    spans = spans_of(run["traj"], tools)
    start = time.perf_counter()
    alarms = alarms_of(spans)
    tally.seconds += time.perf_counter() - start
    tally.runs[good] += 1
    tally.alarmed_runs[good] += bool(alarms)
    tally.substring_runs[good] += substring_alarm(run["traj"])
    lineage = Lineage()
    for span in spans:
        for use in lineage.add(span):
            if use.part == "argument" and use.kind in SPECIFIC:
                tally.values[good, use.kind] += 1
        if isinstance(span.operation, Inference):
            tally.calls[good] += len(span.operation.output[0].tool_calls())
    for alarm in alarms:
        tally.alarms[good, str(alarm.evidence["kind"])] += 1
        tally.examples.append({"run": number, "success": good, "what": alarm.explanation, **alarm.evidence})
    return spans


def changed(value: str, chance: random.Random) -> str:
    """Another value of the same form: other digits, and other capitals in a code."""

    def other(match: re.Match[str]) -> str:
        return chance.choice("123456789") if match.group().isdigit() else chance.choice("ABCDEFGHJKLMNPQRSTUVWXYZ")

    pattern = r"\d|[A-Z]" if re.search(r"\d", value) and value.upper() == value else r"\d"
    return re.sub(pattern, other, value)


def moved(day: str, chance: random.Random) -> str:
    """A date some days or weeks off, which is harder to tell than one of another year."""
    return (date.fromisoformat(day[:10]) + timedelta(chance.choice((-1, 1)) * chance.randint(2, 90))).isoformat()


def plant(tally: Tally, spans: list[Span], chance: random.Random) -> None:
    """Change one traced value of one call; the run goes on only up to that call."""
    lineage = Lineage()
    uses = [(at, use) for at, span in enumerate(spans) for use in lineage.add(span) if use.part == "argument"]
    places = [(at, use) for at, use in uses if use.kind in SPECIFIC and use.provenance.status == "grounded"]
    if not places:
        return
    at, use = chance.choice(places)
    if use.kind == "date":
        value: Any = moved(use.value, chance)
    elif isinstance(use.value, str):
        value = changed(use.value, chance)
    else:
        value = chance.randint(300, 9999)
    inference = spans[at].operation
    assert isinstance(inference, Inference)
    text = json.dumps(use.value)
    output = tuple(
        replace(part, arguments=json.loads(json.dumps(part.arguments).replace(text, json.dumps(value), 1)))
        if isinstance(part, ToolCall) and part.id == use.call_id
        else part
        for part in inference.output[0].parts
    )
    mutated = replace(spans[at], operation=replace(inference, output=(replace(inference.output[0], parts=output),)))
    tally.planted[use.kind] += 1
    tally.found[use.kind] += any(found.evidence["value"] == value for found in alarms_of([*spans[:at], mutated]))


def invent(tally: Tally, spans: list[Span], chance: random.Random) -> None:
    """A call with one random amount, in whole units and to the cent, put at the end of a run: is it found, or taken for a
    number that follows from others?"""
    last = next(span for span in reversed(spans) if isinstance(span.operation, Inference))
    for kind, amount in (("whole", chance.randint(101, 2999)), ("to the cent", chance.randint(10_101, 299_999) / 100)):
        call = ToolCall("pay", {"amount": amount}, "invented")
        asked = replace(last, operation=replace(last.operation, output=(Message("assistant", (call,)),)))
        if not is_round(Value(amount, "number")):
            tally.planted[f"invented number, {kind}"] += 1
            tally.found[f"invented number, {kind}"] += any(found.pointer == "/amount" for found in alarms_of([*spans, asked]))


def share(part: int, whole: int) -> str:
    return f"{part}/{whole} ({100 * part / whole:.1f} %)" if whole else "-"


def main() -> None:
    arguments = report.parser(__doc__)
    arguments.add_argument("--examples", action="store_true", help="list every alarm with its value")
    options = arguments.parse_args()
    folder = report.folder(options.data, "tau_bench")
    tallies: dict[str, Tally] = defaultdict(Tally)
    for name, runs, definitions in SETS:
        tools = tuple(replace(read_definition(raw), cache={}) for raw in json.loads((folder / definitions).read_text()))
        chance = random.Random(7)
        all_spans = [measure(tallies[name], number, run, tools) for number, run in enumerate(report.rows(folder / runs))]
        for _ in range(PLANTED_PER_SET):
            plant(tallies[name], chance.choice(all_spans), chance)
            invent(tallies[name], chance.choice(all_spans), chance)
    report.done(as_json(tallies), tables(tallies, options.examples), options.json)


def as_json(tallies: dict[str, Tally]) -> dict[str, Any]:
    return {
        name: {
            "runs": tally.runs[True],
            "alarmed_runs": tally.alarmed_runs[True],
            "substring_alarmed_runs": tally.substring_runs[True],
            "failed_runs": tally.runs[False],
            "alarmed_failed_runs": tally.alarmed_runs[False],
            "calls": tally.calls[True],
            "alarms_by_kind": {kind: count for (good, kind), count in tally.alarms.items() if good},
            "planted": dict(tally.planted),
            "found": dict(tally.found),
            "milliseconds_per_run": 1000 * tally.seconds / sum(tally.runs.values()),
            "examples": tally.examples,
        }
        for name, tally in tallies.items()
    }


def tables(tallies: dict[str, Tally], examples: bool) -> Iterator[str]:
    yield report.table(
        "Runs with an alarm",
        ("set", "runs", "plain substring", "ungrounded_argument", "alarms per call", "ms per run"),
        [
            (
                name,
                "successful" if good else "failed",
                share(tally.substring_runs[good], tally.runs[good]),
                share(tally.alarmed_runs[good], tally.runs[good]),
                share(sum(count for (of, _), count in tally.alarms.items() if of == good), tally.calls[good]),
                f"{1000 * tally.seconds / sum(tally.runs.values()):.2f}",
            )
            for name, tally in tallies.items()
            for good in (True, False)
        ],
    )
    kinds = sorted({kind for tally in tallies.values() for kind in (*(kind for _, kind in tally.values), *tally.planted)})
    yield report.table(
        "By kind of value",
        ("set", "kind", "alarms / values, successful", "alarms / values, failed", "planted and found"),
        [
            (
                name,
                kind,
                *(share(tally.alarms[good, kind], tally.values[good, kind]) for good in (True, False)),
                share(tally.found[kind], tally.planted[kind]),
            )
            for name, tally in tallies.items()
            for kind in kinds
        ],
    )
    if examples:
        yield report.table(
            "Every alarm",
            ("set", "run", "success", "value", "what"),
            [(name, e["run"], e["success"], e["value"], e["what"]) for name, tally in tallies.items() for e in tally.examples],
        )


if __name__ == "__main__":
    main()
