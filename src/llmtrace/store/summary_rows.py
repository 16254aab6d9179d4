"""The columns of the index's table ``traces`` that come from a trace's summary, and a query's conditions on them."""

from __future__ import annotations

import sqlite3
from typing import Any

from llmtrace.codec import json_text
from llmtrace.model import Trace
from llmtrace.store import Query, filters
from llmtrace.store.summary import FORM, TraceSummary


def write_summary(db: sqlite3.Connection, trace: Trace, summary: TraceSummary) -> None:
    """Write a trace's summary, computed as if none of its programs were still running.

    A trace that is not a run gets the health ``none``, so that lists leave it out.
    """
    is_open = [span.span_id for span in trace.spans if span.end is None]
    # the health to show while the programs with unfinished spans still run, which only a reader can check
    running = Trace(trace.spans, alive=frozenset(is_open)).health if is_open else summary.health
    fields = {name: getattr(summary, name) for name in TraceSummary.__slots__}  # type: ignore[attr-defined]
    columns = {
        "stale": 0,
        "open": len(is_open),
        "form": FORM,
        "health": summary.health if summary.is_run else "none",
        "running": running,
        "spans": summary.spans,
        "findings": len(summary.findings),
        "tokens": summary.tokens,
        "cost": summary.cost_usd,
        "duration": summary.duration,
        "confidence": None,
        "judged": None,
        "verdict": None,
        "summary": json_text.write(fields).encode(),
    }
    assignments = ", ".join(f"{column} = ?" for column in columns)
    db.execute(f"UPDATE traces SET {assignments} WHERE trace = ?", (*columns.values(), summary.trace_id))  # noqa: S608
    db.execute("DELETE FROM names WHERE trace = ?", (summary.trace_id,))
    names = [(kind, sql_text(name), summary.trace_id) for kind in filters.KINDS for name in getattr(summary, f"{kind}s")]
    db.executemany("INSERT OR IGNORE INTO names (kind, name, trace) VALUES (?, ?, ?)", names)


def sql_text(text: str) -> str:
    """Return the text without lone surrogates, which SQLite refuses."""
    return text.encode("utf-8", "replace").decode()


def read_summary(data: bytes) -> TraceSummary:
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in json_text.read(data.decode()).items()
    }
    return TraceSummary(**fields)


def summary_conditions(query: Query) -> tuple[str, list[Any]]:
    """Return the SQL condition of a query on the columns of a summary. Open traces are checked later, when they are read."""
    where, values = ["health IS NOT 'none'"], list[Any]()  # see `write_summary`
    for filter_, value in filters.active(query):
        if filter_.name not in filters.OF_START:
            where.append(filter_.condition)
            values.append(sql_text(value) if isinstance(value, str) else value)
    return f"({' AND '.join(where)})", values
