"""The loop of corrections (``on_invalid="reply"``) on calls of recorded customer-service runs in which a fault is planted.

The model is a script, so this measures the loop and no model: one that makes the recorded call after the reply, one that
repeats the fault, and one that makes up a new tool name each time; the last two under ``Budget(corrections=3)``. Counted:
calls that did not run, replies that name the place, runs that were corrected as ``llmtrace stats`` counts them, model calls
until the budget ended the loop, and dead letters.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import faults
import llmtrace
import report
from llmtrace.errors import BudgetExceeded
from llmtrace.model import Trace
from llmtrace.statistics import Statistics
from llmtrace.store.dead_letters import letters_of
from llmtrace.testing import capture
from replay_tau import SETS, tools_of

CALLS = 150
MOST_TURNS = 20


def recorded_calls(data: Any) -> Iterator[tuple[list[dict[str, Any]], str, dict[str, Any]]]:
    """Tool definitions, name and arguments of each recorded call."""
    for _, file, tools in SETS:
        definitions = json.loads((data / tools).read_text(encoding="utf-8"))
        for run in report.rows(data / file):
            for message in run["traj"]:
                for call in message.get("tool_calls") or ():
                    yield definitions, call["function"]["name"], json.loads(call["function"]["arguments"])


def drive(tools: llmtrace.Tools, turns: Iterator[tuple[str, str]]) -> tuple[Trace, int, list[str]]:
    """An agent whose model makes these calls (name and arguments) until one runs. The trace, its model calls, the replies."""
    asked, replies = 0, list[str]()
    with capture(on_invalid="reply", signals=[]) as captured:
        try:
            with llmtrace.agent("shop"), llmtrace.Budget(corrections=3):
                for number, (name, arguments) in zip(range(MOST_TURNS), turns, strict=False):
                    call = {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
                    message = {"role": "assistant", "tool_calls": [call]}
                    with llmtrace.inference("script", model="script", tools=tools.definitions) as inference:
                        asked += 1
                        inference.output = message
                    (answer,) = tools.run(message)
                    if answer["content"] == "done":
                        break
                    replies.append(answer["content"])
        except BudgetExceeded:
            pass
    return captured.trace, asked, replies


def main() -> None:
    options = report.parser(__doc__).parse_args()
    every = list(recorded_calls(report.folder(options.data, "tau_bench")))
    tally: dict[str, Counter[str]] = defaultdict(Counter)
    loops: dict[str, Counter[str]] = defaultdict(Counter)
    for number, (definitions, name, arguments) in enumerate(random.Random(1).sample(every, CALLS)):
        report.progress(f"call {number + 1}/{CALLS}")
        tools = tools_of(definitions, lambda: "done")
        schema = next(tool["function"]["parameters"] for tool in definitions if tool["function"]["name"] == name)
        for fault in faults.plant(schema, arguments, tool=name):
            broken, right = (fault.name or name, fault.raw), (name, json.dumps(arguments))
            trace, _, replies = drive(tools, iter((broken, right)))
            counts = Statistics("model")
            counts.add(trace)
            row = tally[fault.code]
            row["planted"] += 1
            row["refused"] += bool(replies)
            row["named"] += bool(replies) and (fault.pointer or f"`{broken[0]}`") in replies[0]
            row["corrected"] += counts.total.corrected
            row["letters"] += len(letters_of(trace))
            if not replies:
                continue
            repeats = iter([broken] * MOST_TURNS)
            inventions = iter([(f"{name}_{turn}", fault.raw) for turn in range(MOST_TURNS)])
            for kind, turns in (("repeats the fault", repeats), ("makes up a tool name each time", inventions)):
                trace, asked, _ = drive(tools, turns)
                loops[kind]["runs"] += 1
                loops[kind][f"ended after {asked}"] += 1
                loops[kind]["letters"] += bool(letters_of(trace))
    keys = ("planted", "refused", "named", "corrected", "letters")
    head = ("fault", "planted", "refused", "reply names the place", "corrected", "dead letters")
    rows = [(code, *(row[key] for key in keys)) for code, row in sorted(tally.items())]
    tables = [report.table("A model that makes the recorded call after the reply", head, rows)]
    rows = []
    for kind, row in loops.items():
        ends = ", ".join(f"{key.removeprefix('ended after ')}: {row[key]}" for key in row if "ended" in key)
        rows.append((kind, row["runs"], ends, row["letters"]))
    tables.append(report.table("A model that", ("", "runs", "model calls: runs", "with a dead letter"), rows))
    report.done({"faults": {code: dict(row) for code, row in tally.items()}, "loops": loops}, tables, options.json)


if __name__ == "__main__":
    main()
