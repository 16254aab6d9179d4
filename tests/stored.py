"""Stores with spans in them, and recording into a store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llmtrace
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


@contextlib.contextmanager
def recording(store: str | Path = "memory:", **options: Any) -> Iterator[None]:
    """Record into a store, with these options of `llmtrace.configure`, until the block ends."""
    llmtrace.configure(store=store, **{"instrument": [], **options})
    try:
        yield
    finally:
        llmtrace.shutdown()
