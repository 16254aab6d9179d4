"""Stores with spans in them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from llmtrace.model import Span, Trace
from llmtrace.store import open_store


def append(store: str | Path, *spans: Span) -> str:
    """Append spans to a store as a program does that then ends. Returns the store's URL."""
    with contextlib.closing(open_store(str(store))) as opened:
        for span in spans:
            opened.append(span)
    return str(store)


def read(store: str | Path, trace_id: str = "last") -> Trace:
    """Read one trace of a store."""
    with contextlib.closing(open_store(str(store))) as opened:
        return opened.trace(trace_id)
