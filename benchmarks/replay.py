"""Replays recorded runs many times: is each repetition the same run, how fast is it, and what does recording for it cost?

    python benchmarks/replay.py [--times 20] [--runs 100] [--json]

Three tables: programs (the examples and the demo), each repetition a process of its own; recorded customer-service runs
(tau-bench) through the real client in this process, where a connection would end the run; and what is journaled beside a call
for a replay: CPU of the calling thread and bytes, as a ratio within one process. Exit code 1 if a repetition is not the same as
its recording, ids and times apart.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import llmtrace
import report
from llmtrace.codec import genai
from llmtrace.model import ToolExecution, Trace
from llmtrace.playback.recorded_run import same_process
from llmtrace.store import Query
from llmtrace.store.local import LocalStore
from llmtrace.testing import capture
from replay_tau import SETS, client_of
from replay_tau import Replay as Drive

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PROGRAMS = (
    "01_support_agent",
    "03_policies",
    "04_budget",
    "05_parallel_tools",
    "06_own_tracer_provider",
    "08_why_in_code",
    "09_openai_responses",
    "10_anthropic",
    "11_mcp",
    "12_langgraph",
    "13_openai_agents",
    "14_budgets",
    "15_own_signals",
    "17_by_hand",
    "18_checkpoints",
    "19_reviews",
)
ROUNDS = 30
CALLS = 20
_OF_ITS_OWN = (
    "time",
    "duration",
    "replay",
    "run.",
    "sequence",
    "program",
    "thread.id",
    "review.id",
    "waited",
    "first_chunk",
    "server.port",
    "vcs",
)
"""Parts of the names of attributes that differ from run to run: times, ids, ports, and the marks of a replay."""


def form(trace: Trace) -> list[str]:
    """The trace without ids and times: what each span says, and the name of the one above it, in any order, since parallel
    calls have none. Left out: the program's own span, spans of other tracers, and what a tool did, which does not run."""
    lines = []
    for span in trace.spans:
        parent = trace.parent(span)
        while parent is not None and (parent.run_id is None or parent.attributes.get("llmtrace.program") is True):
            parent = trace.parent(parent)
        is_program = span.attributes.get("llmtrace.program") is True
        if is_program or span.run_id is None or (parent is not None and isinstance(parent.operation, ToolExecution)):
            continue
        attributes = genai.encode(span).attributes
        kept = {name: value for name, value in attributes.items() if not any(part in name for part in _OF_ITS_OWN)}
        place = "" if parent is None else parent.name
        lines.append(json.dumps([place, span.name, kept, span.failure and span.failure.type], default=str, sort_keys=True))
    return sorted(lines)


# -- programs


def programs(times: int) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        commands = {name: [sys.executable, f"{name}.py"] for name in PROGRAMS}
        commands["the demo"] = [sys.executable, "-m", "llmtrace", "demo"]
        for name, command in commands.items():
            report.progress(f"{name} …")
            store = str(Path(folder) / name)
            run = {"cwd": EXAMPLES, "env": {**os.environ, "LLMTRACE_STORE": store}, "capture_output": True}
            subprocess.run(command, check=True, **run)
            replay = [sys.executable, "-m", "llmtrace", "replay", "last", "--times", str(times), "--json", "--", *command]
            replayed = subprocess.run(replay, check=False, **run)
            printed = replayed.stdout.decode()  # what the program prints, and then the report
            place = printed.rfind('{\n  "of"')
            if place < 0:
                sys.exit(f"{name} was not replayed: {replayed.stderr.decode()}")
            yield {"program": name, **_judged(store, json.loads(printed[place:]))}


def _judged(store: str, outcome: dict[str, Any]) -> dict[str, Any]:
    opened = LocalStore(Path(store))
    runs = outcome["runs"]
    assert opened.replays is not None
    replays = [opened.replays.trace(summary.trace_id) for summary in opened.replays.traces(Query(limit=1_000_000))]
    forms = [_joined(same_process(replays, opened.trace(run["trace_id"]))) for run in runs]
    recorded = _joined(opened.trace(summary.trace_id) for summary in opened.traces())
    same = sum(run["code"] == 0 and found == recorded for run, found in zip(runs, forms, strict=True))
    return {"times": len(runs), "same": same, "calls": runs[0]["served"], "live": sum(run["live"] for run in runs)}


def _joined(traces: Iterable[Trace]) -> list[str]:
    return sorted(line for trace in traces for line in form(trace))


# -- recorded runs


def customer_service(data: Path, times: int, most: int) -> dict[str, Any]:
    same = calls = done = 0
    seconds: list[float] = []
    for name, file, tools in SETS:
        definitions = json.loads((data / tools).read_text(encoding="utf-8"))
        for run in report.rows(data / file)[: (most + 1) // 2]:
            if done == most:
                break
            done += 1
            report.progress(f"{name}: run {done} of {most}")
            with capture(instrument=("openai",)) as captured, llmtrace.agent(name):
                Drive(run["traj"], definitions).drive()
            recorded = captured.trace
            expected = form(recorded)
            for _ in range(times):
                with capture(instrument=("openai",)) as captured, llmtrace.replay(recorded) as replayed:
                    began = time.thread_time()
                    with llmtrace.agent(name):
                        Drive(run["traj"], definitions).drive()
                    seconds.append((time.thread_time() - began) / max(1, replayed.served))
                same += form(captured.trace) == expected
                calls += replayed.served
    return {"runs": done, "times": times, "same": same, "calls": calls, "events_per_second": 1 / statistics.median(seconds)}


# -- what recording costs


def cost() -> list[dict[str, Any]]:
    """Thread CPU and journaled bytes of a call with and without what a replay needs, in turns, over the same transport."""
    rows = []
    for name, size in (("a chat of 1 KB", 1_000), ("a chat of 60 KB", 60_000)):
        took: dict[bool, list[float]] = {True: [], False: []}
        written: dict[bool, list[int]] = {True: [], False: []}
        for number in range(ROUNDS):
            for replayable in (number % 2 == 0, number % 2 == 1):
                with tempfile.TemporaryDirectory() as folder:
                    llmtrace.configure(store=folder, replayable=replayable, instrument=["openai"])
                    client = client_of(lambda: {"role": "assistant", "content": "A short answer."})
                    messages: Any = [{"role": "user", "content": "word " * (size // 5)}]
                    client.chat.completions.create(model="gpt-4o", messages=messages)
                    began = time.thread_time()
                    for call in range(CALLS):
                        messages[0]["content"] = f"{call} " + "word " * (size // 5)
                        client.chat.completions.create(model="gpt-4o", messages=messages)
                    took[replayable].append((time.thread_time() - began) / CALLS)
                    llmtrace.shutdown()
                    written[replayable].append(
                        sum(file.stat().st_size for file in Path(folder, "journal").iterdir()) // (CALLS + 1)
                    )
        without = statistics.median(_plain(size) for _ in range(5))
        rows.append({"call": name, **_ratio(took, written, without)})
    return rows


def _plain(size: int) -> float:
    """Thread CPU of a call without llmtrace."""
    client = client_of(lambda: {"role": "assistant", "content": "A short answer."})
    messages: Any = [{"role": "user", "content": "word " * (size // 5)}]
    with llmtrace.suppress():
        client.chat.completions.create(model="gpt-4o", messages=messages)
        began = time.thread_time()
        for _ in range(CALLS):
            client.chat.completions.create(model="gpt-4o", messages=messages)
        return (time.thread_time() - began) / CALLS


def _ratio(took: dict[bool, list[float]], written: dict[bool, list[int]], without: float) -> dict[str, Any]:
    kept, off = (statistics.median(took[replayable]) - without for replayable in (True, False))
    more = statistics.median(written[True]) - statistics.median(written[False])
    return {"own_us": off * 1e6, "more_us": (kept - off) * 1e6, "more": (kept - off) / off, "bytes": more}


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--times", type=int, default=20, help="repetitions of each run (default: 20)")
    parser.add_argument("--runs", type=int, default=100, help="recorded customer-service runs (default: 100)")
    args = parser.parse_args()
    found = list(programs(args.times))
    served = customer_service(report.folder(args.data, "tau_bench"), args.times, args.runs)
    costs = cost()
    tables = [
        report.table(
            "Programs, each repetition in a process of its own",
            ("program", "calls answered", "made for real", "same"),
            ((row["program"], row["calls"], row["live"], f"{row['same']} of {row['times']}") for row in found),
        ),
        report.table(
            "Recorded customer-service runs through the real client",
            ("runs", "repetitions the same", "calls answered", "calls a second (CPU)"),
            [
                (
                    served["runs"],
                    f"{served['same']} of {served['runs'] * served['times']}",
                    served["calls"],
                    f"{served['events_per_second']:.0f}",
                )
            ],
        ),
        report.table(
            "What a call costs more because it can be replayed",
            ("call", "own cost without", "more", "share", "bytes more"),
            (
                (
                    row["call"],
                    f"{row['own_us']:.0f} µs",
                    f"{row['more_us']:.0f} µs",
                    f"{row['more']:.0%}",
                    f"{row['bytes']:.0f}",
                )
                for row in costs
            ),
        ),
    ]
    report.done({"programs": found, "customer_service": served, "cost": costs}, tables, args.json)
    is_same = all(row["same"] == row["times"] for row in found) and served["same"] == served["runs"] * served["times"]
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())
