"""Statistics on ClickHouse: counted there by SQL, and from its spans here. The figures are compared first.

    python benchmarks/clickhouse.py [--spans N] [--rounds N] [--json]

The engine is chdb, ClickHouse in this process (``pip install chdb-core``; `scripts/test --all` makes .venv-clickhouse with it),
behind its HTTP form, so both share the machine's processors. The spans are runs of an agent: 15 each, with three model calls
whose messages are 1 to 3 KB, and four tools.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

from tests.store.remote.backends import ClickHouseEngine

import report
from llmtrace.cli import format_stats
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Failure,
    Fingerprint,
    Inference,
    Message,
    Operation,
    Span,
    Text,
    ToolCall,
    ToolExecution,
    Usage,
)
from llmtrace.statistics import By, Statistics, collect, gather
from llmtrace.store import Query, open_store

ALL = Query(limit=sys.maxsize)
BYS: tuple[By, ...] = ("operation", "agent", "model")


def run(number: int, chance: random.Random, now: int) -> Iterator[Span]:
    start = now - number * 10**9

    def made(place: int, parent: int | None, name: str, operation: Operation, took: float, **more: Any) -> Span:
        at = start + place * 10**8
        above = None if parent is None else f"{parent:016x}"
        return Span(
            f"{number + 1:032x}",
            f"{place:016x}",
            name,
            at,
            at + int(took * 1e9),
            above,
            operation=operation,
            run_id=f"{number + 1:032x}",
            resource={"service.name": "bench"},
            **more,
        )

    yield made(1, None, "invoke_agent support", AgentInvocation(f"support {number % 5}"), 5)
    place, said = 2, [Message("user", (Text("word " * 200),))]
    for turn in range(3):
        yield made(place, 1, f"turn {turn}", Custom(), 1)
        tokens = int(chance.lognormvariate(4, 1)) + 1
        answer = Message("assistant", (Text("word " * 40), ToolCall("look_up", {"id": "A-1"}, f"c{turn}")))
        chat = Inference(
            "openai",
            request_model=chance.choice(["gpt-4o", "gpt-4o-mini"]),
            input=tuple(said),
            output=(answer,),
            usage=Usage(500, tokens),
            cost_usd=tokens / 1e5,
            time_to_first_chunk=chance.lognormvariate(-1, 0.5),
            stream=True,
            fingerprint=Fingerprint(system="c7d4c59c899d569e"),
        )
        failed = Failure("openai.APITimeoutError") if chance.random() < 0.01 else None
        yield made(place + 1, place, "chat", chat, 1 + tokens / 50, failure=failed)
        said += [answer, Message("user", (Text("word " * 100),))]
        place += 2
    for tool in ("look_up", "search", "refund", "mail"):
        yield made(place, 1, f"execute_tool {tool}", ToolExecution(tool), chance.random())
        yield made(place + 1, place, f"GET {tool}", Custom(), 0.05)
        place += 2


def main() -> None:
    options = report.parser(__doc__)
    options.add_argument("--spans", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=2)
    args = options.parse_args()
    os.environ["NO_PROXY"] = "127.0.0.1"
    engine, chance, now = ClickHouseEngine(), random.Random(7), time.time_ns()
    runs = args.spans // 15
    for begun in range(0, runs, 500):
        engine.keep(span for number in range(begun, min(begun + 500, runs)) for span in run(number, chance, now))
    store = open_store(f"{engine.url}?days=1000")
    measured: dict[str, Any] = {"spans": 15 * runs, "seconds": {}}
    for by in BYS:
        took: dict[str, list[float]] = {"sql": [], "spans": []}
        for _ in range(args.rounds):
            began = time.perf_counter()
            counted = gather(store, ALL, Statistics(by, now=now))
            took["sql"].append(time.perf_counter() - began)
            began = time.perf_counter()
            streamed = collect(store.spans(ALL, prompts=False), Statistics(by, now=now))
            took["spans"].append(time.perf_counter() - began)
            told = [
                {key: format_stats.as_json(group, by, suggested=True) for key, group in found.groups.items()}
                for found in (counted, streamed)
            ]
            assert json.dumps(_rounded(told[0]), sort_keys=True) == json.dumps(_rounded(told[1]), sort_keys=True)
        measured["seconds"][by] = {name: statistics.median(times) for name, times in took.items()}
        report.progress(f"{by}: {measured['seconds'][by]}")
    engine.close()
    if args.json:
        print(json.dumps(measured))
        return
    body = [[by, f"{took['sql']:.1f}", f"{took['spans']:.1f}"] for by, took in measured["seconds"].items()]
    print(report.table(f"Seconds for {measured['spans']:,} spans", ["--by", "in SQL", "from spans"], body))


def _rounded(told: Any) -> Any:
    """Floats are summed in another order."""
    if isinstance(told, dict):
        return {str(key): _rounded(held) for key, held in told.items()}
    if isinstance(told, list):
        return [_rounded(held) for held in told]
    return float(f"{told:.9g}") if isinstance(told, float) else told


if __name__ == "__main__":
    main()
