"""What every benchmark shares: where the recorded runs are, ``--json``, and a table."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

SOURCES = {
    "tau_bench": "github.com/sierra-research/tau-bench, historical_trajectories; github.com/microsoft/AgentRx, data",
    "who_and_when": "github.com/ag2ai/Agents_Failure_Attribution (MIT)",
    "agentrx": "github.com/microsoft/AgentRx, data (MIT)",
    "bfcl": "github.com/HuanzhiMao/BFCL-Result, and github.com/ShishirPatil/gorilla for the function documents",
    "maskbench": "github.com/guidance-ai/jsonschemabench, maskbench/data",
    "llmdrift": "github.com/lchen001/LLMDrift, generation (arXiv:2307.09009)",
    "terminal_bench": "github.com/NJU-LINK/CodeTracer, data/traj (runs of Claude Code with Terminal-Bench's verdicts)",
    "trail": "github.com/patronus-ai/trail-benchmark (traces and annotations, MIT)",
    "foreign": "spans recorded from programs in TypeScript, Java, Kotlin, Go and Rust that talked to a scripted model server",
    "cassettes": "the VCR cassettes of pydantic-ai, logfire, openllmetry, openinference and opentelemetry-python-contrib",
}


def parser(description: str | None) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    default = os.environ.get("LLMTRACE_BENCH_DATA", str(beside) if beside.is_dir() else None)
    made.add_argument("--data", type=Path, default=default, help="folder of the recorded runs (or LLMTRACE_BENCH_DATA)")
    made.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return made


def folder(data: Path | str | None, name: str) -> Path:
    """The folder of one data set; ends the program saying where it can be had when it is absent."""
    found = Path(data) / name if data else None
    if found is None or not found.is_dir():
        origin = f" Origin: {SOURCES[name]}" if name in SOURCES else ""
        sys.exit(f"{name} is absent: give --data DIR (or LLMTRACE_BENCH_DATA) with a folder {name}.{origin}")
    return found


def rows(path: Path) -> list[Any]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def table(title: str, head: Sequence[str], body: Iterable[Sequence[Any]]) -> str:
    """A Markdown table, aligned to be read as text too."""
    lines = [[str(cell) for cell in line] for line in body]
    widths = [max(len(line[column]) for line in [list(head), *lines]) for column in range(len(head))]

    def row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([f"\n{title}\n", row(list(head)), rule, *map(row, lines)])


def progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


def done(results: Mapping[str, Any], tables: Iterable[str], as_json: bool) -> None:
    progress("")
    if as_json:
        print(json.dumps(results, indent=1))
    else:
        print("\n".join(tables))
