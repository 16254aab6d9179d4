"""Our own cost, in one process: a timer inside our wrapper, with the wrapped call taken off; and, for streams, blocks with
and without us in turns.

    python benchmarks/overhead/direct.py [--rounds N] [--json]

The timer leaves out what a call of ours does to the next one's caches, so it reads some way below bench.py.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import openai.resources.chat.completions as completions

import llmtrace
import payloads
import report
import workload
from adapters import _otelsink

MEASURES: dict[str, dict[str, Any]] = {
    "spans only": {"store": "off", "content": "none", "signals": ()},
    "spans and journal": {"content": "all", "signals": ()},
    "all verdicts": {"store": "off", "content": "all"},
    "all and journal": {"content": "all"},
}
inside = [0]
"""Nanoseconds of thread CPU that the wrapped call itself has taken."""


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        began = time.thread_time_ns()
        try:
            return function(*args, **kwargs)
        finally:
            inside[0] += time.thread_time_ns() - began

    return call


def calls(operation: Callable[[], Any], count: int) -> float:
    """Median µs of thread CPU that a call takes outside of what it wraps."""
    found = []
    for _ in range(count):
        inside[0] = 0
        began = time.thread_time_ns()
        operation()
        found.append(time.thread_time_ns() - began - inside[0])
    return statistics.median(found) / 1e3


def direct(options: dict[str, Any], rounds: int) -> dict[str, float]:
    """µs a call over the floor that the same timer reads without us."""
    original = completions.Completions.create
    completions.Completions.create = timed(original)  # type: ignore[method-assign]
    names = ("chat_tools", "chat_fresh", "chat_bad", "long60k_distinct", "long60k_fresh", "deco_sync")
    try:
        plain, asynchronous = workload.clients()
        floor_of = workload.Workloads(plain, asynchronous, lambda function, _: function)
        floor = {name: calls(getattr(floor_of, name), 200) for name in names}
        with tempfile.TemporaryDirectory() as folder:
            llmtrace.configure(**{"store": folder, **options})
            ours = workload.Workloads(
                plain,
                asynchronous,
                lambda function, kind: (llmtrace.tool if kind == "tool" else llmtrace.workflow)(timed(function)),
            )
            found = {name: calls(getattr(ours, name), rounds) - floor[name] for name in names}
            llmtrace.shutdown()
    finally:
        completions.Completions.create = original  # type: ignore[method-assign]
    return found


def streams(options: dict[str, Any], blocks: int) -> dict[str, float]:
    """Added µs a stream of 200 chunks and a chunk, by blocks in turns with and without us."""
    plain, asynchronous = workload.clients()
    times: dict[str, list[float]] = {"off": [], "on": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(blocks):
            for state in ("off", "on") if turn % 2 else ("on", "off"):
                if state == "on":
                    llmtrace.configure(**{"store": folder, **options})
                load = workload.Workloads(plain, asynchronous, lambda function, _: function)
                load.stream200()
                began = time.thread_time_ns()
                for _ in range(5):
                    load.stream200()
                times[state].append((time.thread_time_ns() - began) / 5e3)
                llmtrace.shutdown()
    added = statistics.median(on - off for on, off in zip(times["on"], times["off"], strict=True))
    return {"stream200": added, "a chunk": added / payloads.CHUNKS}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=600, help="calls of each kind (default 600)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    provider = _otelsink.provider("otlp")
    results: dict[str, dict[str, float]] = {}
    for name, options in MEASURES.items():
        report.progress(name)
        results[name] = direct(options, arguments.rounds) | streams(options, 40)
        provider.force_flush()
    head = ["µs, median", *next(iter(results.values()))]
    body = [[name, *(f"{cost:.1f}" for cost in found.values())] for name, found in results.items()]
    title = "Our cost on the calling thread, beside an SDK provider with a batch processor and an exporter that encodes to OTLP"
    report.done(results, [report.table(title, head, body)], arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
