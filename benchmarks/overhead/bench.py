"""The cost of tracing, beside other libraries: an uninstrumented and an instrumented process of the same environment take
turns, block by block; a cell is the median over blocks of the difference.

    benchmarks/overhead/install.sh otel llmtrace otelv2 openinference logfire langfuse
    python benchmarks/overhead/bench.py --rounds 5 --pairs 2
    python benchmarks/overhead/bench.py --adapters llmtrace_all,otel,logfire --workloads chat_tools,agent_turn
    python benchmarks/overhead/bench.py --spans logfire:agent_turn      # what a library records

Every library's spans are encoded to OTLP protobuf by the exporter that reads them. ``chat_20ms`` goes to a server on this
machine that answers after 20 ms: what a call takes longer by the wall clock, where other threads work while it waits.

It subtracts two processes: it cannot resolve 200 µs on stream200 nor 150 on long60k. Use it to rank libraries; for our own cost
see direct.py.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import report

HOME = Path(os.environ.get("BENCH_HOME") or Path.home() / ".cache/llmtrace-bench")
COUNTS = {
    "chat_20ms": 40, "chat_tools": 60, "chat_fresh": 60, "chat_bad": 60, "achat_tools": 60,
    "stream200": 12, "stream200_close5": 30, "stream_tools": 30, "astream200": 12,
    "long60k": 60, "long60k_distinct": 40, "long60k_fresh": 30, "loop20": 4,
    "deco_sync": 400, "deco_async": 200, "deco_child": 20, "agent_turn": 25,
}  # fmt: skip
ON_WALL_CLOCK = ("chat_20ms",)
PER_CALL = {"deco_child": 20, "loop20": 20}


def described(adapter: str) -> dict[str, str]:
    """VENV and LABEL of an adapter, read without importing it: its library is in another environment."""
    found = {"VENV": adapter, "LABEL": adapter}
    for node in ast.parse((HERE / f"adapters/{adapter}.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            found.update({target.id: str(node.value.value) for target in node.targets if isinstance(target, ast.Name)})
    return found


class Worker:
    """A `worker.py` process; a context manager."""

    def __init__(self, adapter: str, state: str, sink: str) -> None:
        environment = dict(os.environ, PYTHONHASHSEED="0", HOME=str(HOME / "home"), PYTHONPATH=str(HERE))
        environment["OTEL_SEMCONV_STABILITY_OPT_IN"] = "gen_ai_latest_experimental"
        for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
            environment.pop(proxy, None)
        (HOME / "home").mkdir(parents=True, exist_ok=True)
        python = HOME / "v" / described(adapter)["VENV"] / "bin/python"
        if not python.exists():
            sys.exit(f"{python} is absent: run benchmarks/overhead/install.sh {described(adapter)['VENV']}")
        with (HOME / f"log.{adapter}.{state}").open("w") as log:
            self._process = subprocess.Popen(
                [str(python), str(HERE / "worker.py"), adapter, state, sink],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment,
            )  # fmt: skip
        self.ready = self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker died; see the logs in {HOME}")
        read: dict[str, Any] = json.loads(line)
        return read

    def ask(self, command: str, count: int = 0) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command} {count}\n")
        self._process.stdin.flush()
        return self._read()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def measure(adapter: str, workloads: Sequence[str], rounds: int, pairs: int, sink: str) -> dict[str, Any]:
    """Added microseconds a call: ``{workload: {wall, thread, process: [difference per block]}}``, and start-up."""
    blocks: dict[str, dict[str, list[float]]] = {name: {"wall": [], "thread": [], "process": []} for name in workloads}
    init: list[float] = []
    for pair in range(pairs):
        with Worker(adapter, "off", sink) as off, Worker(adapter, "on", sink) as on:
            init.append(on.ready["init_ms"])
            for name in workloads:
                report.progress(f"{adapter}: pair {pair + 1}/{pairs}, {name}")
                for worker in (off, on):
                    worker.ask(name, max(3, COUNTS[name] // 3))  # warm up
                for turn in range(rounds):
                    order = [("off", off), ("on", on)]
                    got = {state: worker.ask(name, COUNTS[name]) for state, worker in (order if turn % 2 else order[::-1])}
                    for measured, differences in blocks[name].items():
                        differences.append((got["on"][measured] - got["off"][measured]) / PER_CALL.get(name, 1))
    return {"label": described(adapter)["LABEL"], "blocks": blocks, "init_ms": statistics.median(init)}


def served() -> subprocess.Popen[str]:
    """Start ``model_server.py``; its address goes to the workers by the environment."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "model_server.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    os.environ["BENCH_SERVER"] = process.stdout.readline().strip()
    return process


def cell(differences: list[float]) -> str:
    low, _, high = statistics.quantiles(differences, n=4) if len(differences) > 1 else (0, 0, 0)
    return f"{statistics.median(differences):.0f} [{low:.0f}..{high:.0f}]"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapters", default="otel,llmtrace_default,otelv2,openinference,logfire,langfuse")
    parser.add_argument("--workloads", default="chat_20ms,chat_tools,agent_turn,deco_sync,stream200,long60k_fresh")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--spans", metavar="ADAPTER:WORKLOAD", help="print what is recorded, and end")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.spans:
        adapter, name = arguments.spans.split(":")
        with Worker(adapter, "on", "memory") as worker:
            worker.ask(name, 1)
            print(json.dumps(worker.ask("spans")["spans"], indent=1))
        return 0
    names = arguments.workloads.split(",")
    server = served()
    try:
        results = {
            adapter: measure(adapter, names, arguments.rounds, arguments.pairs, "otlp")
            for adapter in arguments.adapters.split(",")
        }
    finally:
        server.kill()
        server.wait()
    tables = []
    for clock, whose in (
        ("thread", "the calling thread's CPU"),
        ("process", "all threads' CPU, with the flush after a block"),
        ("wall", "wall time"),
    ):
        shown = [name for name in names if clock != "wall" or name in ON_WALL_CLOCK]
        body = [
            [found["label"], *(cell(found["blocks"][name][clock]) for name in shown), f"{found['init_ms']:.0f}"]
            for found in results.values()
        ]
        if shown:
            title = f"Added µs of {whose} a call, median [quartiles]; start-up in ms"
            tables.append(report.table(title, ["library", *shown, "init ms"], body))
    report.done(results, tables, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
