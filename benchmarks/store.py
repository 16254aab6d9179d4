"""What reading a large store costs: one trace of 100,001 spans, and 100,000 spans in 10,000 traces.

    python benchmarks/store.py [--spans 100000] [--json]

Each command runs as a program of its own, in this order, over a store that was only written: the first one indexes. ``CPU``:
seconds of all its processes, which other programs on the machine change little. ``× insert``: that, divided by the CPU
seconds in which SQLite alone inserts the same rows into the same table; it holds for another machine too.
"""

from __future__ import annotations

import argparse
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.viewer.shapes import flat

import report
from llmtrace.model import Span, replace
from llmtrace.store.local import LocalStore
from llmtrace.store.sqlite import Index

COMMANDS = (("ls", "first"), ("ls", "again"), ("why last", "first"), ("stats", "first"), ("stats", "again"))
COMMAND = """
import sys
from llmtrace.cli import main
main()
with open("/proc/self/status") as status:  # getrusage would tell the parent's memory, if that is more
    print(*(line.split()[1] for line in status if line.startswith("VmHWM")), file=sys.stderr)
"""
BESIDE = 10
"""Spans of each of the small traces."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--spans", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, spans in (("one trace", flat(args.spans)), ("many traces", many(args.spans))):
            path = Path(folder) / name
            write(path, spans)
            for command, when in COMMANDS:
                report.progress(f"{name}: {command}")
                rows.append(
                    {"store": name, "command": command, "when": when, **measured([*command.split(), "--store", str(path)])}
                )
            insert = inserted(path, Path(folder) / f"{name}.db")
            for row in rows:
                if row["store"] == name:
                    row["ratio"] = row["cpu"] / insert
            rows.append({"store": name, "command": "SQLite's insert", "when": "", "cpu": insert, "ratio": 1.0})
    head = ["store", "command", "", "s", "CPU, s", "× insert", "memory, MB"]
    fields = ("wall", "cpu", "ratio", "memory")
    body = [[row["store"], row["command"], row["when"], *(shown(row.get(field)) for field in fields)] for row in rows]
    report.done({"rows": rows}, [report.table(f"Reading {args.spans:,} spans", head, body)], args.json)


def many(count: int) -> Iterator[Span]:
    """The same spans in traces of ten, a minute apart."""
    pattern = flat(BESIDE - 1)
    for number in range(count // BESIDE):
        shift = number * 60 * 10**9
        for span in pattern:
            end = None if span.end is None else span.end + shift
            yield replace(span, trace_id=f"{number + 1:032x}", start=span.start + shift, end=end)


def write(path: Path, spans: Iterator[Span] | list[Span]) -> None:
    store = LocalStore(path, background=False)
    for span in spans:
        store.append(span)
    store.close()


def measured(words: list[str]) -> dict[str, float]:
    """Wall and CPU seconds and peak memory of a command."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    answer = subprocess.run([sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.perf_counter() - began, "cpu": cpu, "memory": int(answer.stderr.split()[-1]) / 1e3}


def inserted(path: Path, database: Path) -> float:
    """CPU seconds in which SQLite inserts the index's rows of spans into an empty index, one after the other."""
    rows: list[Any] = []
    Index(path).call(lambda db: rows.extend(db.execute("SELECT * FROM spans").fetchall()))
    times = []
    for attempt in range(3):
        folder = database / str(attempt)
        folder.mkdir(parents=True)

        def insert(db: sqlite3.Connection) -> None:
            began = time.process_time()
            db.execute("BEGIN")
            db.executemany(f"INSERT INTO spans VALUES ({', '.join('?' * len(rows[0]))})", rows)
            db.execute("COMMIT")
            times.append(time.process_time() - began)

        Index(folder).call(insert)
    return min(times)


def shown(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


if __name__ == "__main__":
    main()
