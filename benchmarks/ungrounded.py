"""Identifiers that lineage calls ungrounded in recorded runs, and how many planted ones it finds.

Every assistant message becomes an inference that was sent all messages before it, every call an execution. In a good run an
ungrounded identifier may be a false alarm, though a run may go well with a made-up value: read the examples. Then one
grounded identifier at a time is changed into another of the same form, in a copy of the run up to its call: the share of
these that is found is the recall. The whole lineage and the live one must agree.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import recorded
import report
from llmtrace.model import Inference, Span, ToolCall, Trace, replace
from llmtrace.reading.graph import analyze
from llmtrace.reading.provenance import ValueUse
from llmtrace.reading.timeline import Timeline

PLANTED_PER_SET = 300


@dataclass
class Tally:
    runs: Counter[bool] = field(default_factory=Counter)
    calls: Counter[bool] = field(default_factory=Counter)
    runs_with_alarm: Counter[bool] = field(default_factory=Counter)
    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Of the values in arguments of good runs, by kind and status."""
    planted: int = 0
    found: int = 0
    live_seconds: float = 0.0
    disagreements: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)


def runs(data: Path) -> Iterator[tuple[str, Trace, bool]]:
    """The set, the run, and whether it went well."""
    if (data / "tau_bench").is_dir():
        for name, trace, is_good in recorded.customer_service(data / "tau_bench"):
            yield f"tau-bench {name}", trace, is_good
    if (data / "terminal_bench").is_dir():
        for _, trace, is_good in recorded.terminal(data / "terminal_bench"):
            yield "Terminal-Bench", trace, is_good
    if (data / "recorded_runs").is_dir():
        for name, _, trace, label, _ in recorded.mixed(data / "recorded_runs"):
            if label is not None:
                yield name, trace, label


def live_uses(spans: list[Span]) -> list[ValueUse]:
    timeline, uses = Timeline(bounded=True), list[ValueUse]()
    for span in spans:
        timeline.add(span)
        uses += timeline.ungrounded
    return uses


def in_order(trace: Trace) -> list[Span]:
    return sorted((span for span in trace.spans if span.end is not None), key=lambda span: (span.end or 0, span.sequence or 0))


def measure(tally: Tally, trace: Trace, is_good: bool) -> list[ValueUse]:
    """Count the values of one run. Returns those in its calls."""
    spans = in_order(trace)
    start = time.perf_counter()
    live = live_uses(spans)
    tally.live_seconds += time.perf_counter() - start
    arguments = [use for use in analyze(trace).uses if use.part == "argument"]
    ungrounded = [use for use in arguments if use.provenance.status == "ungrounded"]
    tally.disagreements += [(use.span_id, use.pointer) for use in live] != [(use.span_id, use.pointer) for use in ungrounded]
    tally.runs[is_good] += 1
    tally.runs_with_alarm[is_good] += bool(ungrounded)
    for span in spans:
        if isinstance(span.operation, Inference):
            tally.calls[is_good] += sum(len(message.tool_calls()) for message in span.operation.output)
    if is_good:
        tally.statuses.update((use.kind, use.provenance.status) for use in arguments if use.whole)
    tally.examples += [{"good": is_good, "tool": u.tool, "pointer": u.pointer, "value": u.value} for u in ungrounded]
    return arguments


def changed(value: str, chance: random.Random) -> str:
    """Another value of the same form: other digits, and other capitals in a code."""

    def other(match: re.Match[str]) -> str:
        return chance.choice("123456789") if match.group().isdigit() else chance.choice("ABCDEFGHJKLMNPQRSTUVWXYZ")

    return re.sub(r"\d|[A-Z]" if value.upper() == value else r"\d", other, value)


def plant(tally: Tally, trace: Trace, arguments: list[ValueUse], chance: random.Random) -> None:
    """Change one grounded identifier of one call; the run goes on only up to that call."""
    grounded = [u for u in arguments if u.kind == "identifier" and u.whole and u.provenance.status == "grounded"]
    if not grounded:
        return
    use, spans = chance.choice(grounded), in_order(trace)
    at = next(number for number, span in enumerate(spans) if span.span_id == use.span_id)
    inference = spans[at].operation
    assert isinstance(inference, Inference)
    value = changed(str(use.value), chance)
    parts = tuple(
        replace(part, arguments=json.loads(json.dumps(part.arguments).replace(json.dumps(use.value), json.dumps(value), 1)))
        if isinstance(part, ToolCall) and part.id == use.call_id
        else part
        for part in inference.output[0].parts
    )
    planted = replace(spans[at], operation=replace(inference, output=(replace(inference.output[0], parts=parts),)))
    tally.planted += 1
    tally.found += any(found.value == value for found in live_uses([*spans[:at], planted]))


def share(part: int, whole: int) -> str:
    return f"{part}/{whole} ({100 * part / whole:.1f} %)" if whole else "-"


def main() -> None:
    arguments = report.parser(__doc__)
    arguments.add_argument("--examples", action="store_true", help="list every alarm with its value")
    options = arguments.parse_args()
    tallies: dict[str, Tally] = defaultdict(Tally)
    traces: dict[str, list[tuple[Trace, list[ValueUse]]]] = defaultdict(list)
    for name, trace, is_good in runs(options.data or Path()):
        traces[name].append((trace, measure(tallies[name], trace, is_good)))
    chance = random.Random(7)
    for name, found in traces.items():
        for _ in range(PLANTED_PER_SET):
            plant(tallies[name], *chance.choice(found), chance)
    report.done({name: as_json(tally) for name, tally in tallies.items()}, tables(tallies, options.examples), options.json)


def as_json(tally: Tally) -> dict[str, Any]:
    return {
        "good_runs": tally.runs[True],
        "good_runs_with_alarm": tally.runs_with_alarm[True],
        "bad_runs": tally.runs[False],
        "bad_runs_with_alarm": tally.runs_with_alarm[False],
        "calls": sum(tally.calls.values()),
        "planted": tally.planted,
        "found": tally.found,
        "disagreements": tally.disagreements,
        "live_microseconds_per_call": 1e6 * tally.live_seconds / max(1, sum(tally.calls.values())),
        "statuses": {f"{kind} {status}": count for (kind, status), count in sorted(tally.statuses.items())},
        "examples": tally.examples,
    }


def tables(tallies: dict[str, Tally], examples: bool) -> Iterator[str]:
    total = Counter[bool]()
    alarmed = Counter[bool]()
    for tally in tallies.values():
        total.update(tally.runs)
        alarmed.update(tally.runs_with_alarm)
    rows: list[tuple[Any, ...]] = [
        (
            name,
            share(tally.runs_with_alarm[True], tally.runs[True]),
            share(tally.runs_with_alarm[False], tally.runs[False]),
            share(tally.found, tally.planted),
            f"{1e6 * tally.live_seconds / max(1, sum(tally.calls.values())):.1f}",
            tally.disagreements,
        )
        for name, tally in tallies.items()
    ]
    rows.append(("all", share(alarmed[True], total[True]), share(alarmed[False], total[False]), "", "", ""))
    head = ("set", "good runs with an alarm", "bad runs", "planted and found", "live, µs a call", "live ≠ whole")
    yield report.table("Ungrounded identifiers in calls", head, rows)
    statuses = sum((tally.statuses for tally in tallies.values()), Counter[tuple[str, str]]())
    kinds = sorted({kind for kind, _ in statuses})
    words = ("grounded", "ungrounded", "unknown")
    body = [(kind, *(statuses[kind, word] for word in words)) for kind in kinds]
    yield report.table("Values in calls of good runs", ("kind", *words), body)
    if examples:
        rows = [
            (name, e["good"], e["tool"], e["pointer"], e["value"]) for name, tally in tallies.items() for e in tally.examples
        ]
        yield report.table("Every alarm", ("set", "good", "tool", "argument", "value"), rows)


if __name__ == "__main__":
    main()
