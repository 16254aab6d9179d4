"""Evaluations that come after their span has ended: a person's feedback, a judge that takes its time.

The span is appended once more with them, and the richer version wins, in every store. Law: who attaches reads the newest
version first, and only one does at a time, in all processes of a store that has a folder, so that no evaluation is lost to
another.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from llmtrace.model import Evaluation, Span, replace
from llmtrace.store import Store, locks

PATIENCE = 2.0
"""Seconds that another process is waited for; after that it is done without the lock, and one of two may get lost."""

_lock = threading.Lock()


class Unfinished(Exception):
    """The span has not ended: what is said of it now would give way to its end."""


def attach(
    store: Store,
    trace_id: str,
    evaluations: Sequence[Evaluation],
    *,
    span_id: str | None = None,
    clean: Callable[[Span], Span] = lambda span: span,
) -> Span:
    """Put evaluations on a span of the store; gives it with them. ``trace_id``: as `Store.trace` takes it.

    ``span_id``: default, the trace's root. ``clean``: what a span, here of the evaluations alone, goes through before it is
    stored (see `Content`); the rest is stored already, perhaps under other rules.
    Raises TraceNotFound, UnreadableStore, KeyError where the trace has no such span, Unfinished.
    """
    with _lock, _alone(getattr(store, "folder", None)):
        trace = store.trace(trace_id)
        span = trace.root if span_id is None else trace.span(span_id)
        if span.end is None:
            raise Unfinished(f"span {span.span_id} of trace {trace.trace_id} has not ended")
        cleaned = clean(Span(span.trace_id, span.span_id, "", span.start, span.end, evaluations=tuple(evaluations))).evaluations
        new = tuple(found for found in cleaned if found not in span.evaluations)
        made = replace(span, evaluations=(*span.evaluations, *new))
        if new:
            store.append(made)
        return made


@contextlib.contextmanager
def _alone(folder: Path | None) -> Iterator[None]:
    descriptor = None if folder is None else _opened(folder / "attach.lock")
    if descriptor is None:
        yield
        return
    try:
        deadline = time.monotonic() + PATIENCE
        while locks.take(descriptor, exclusive=True) is False and time.monotonic() < deadline:
            time.sleep(0.005)
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | locks.FLAGS, 0o600)
    except OSError:  # no store yet, or a read-only one: reading says which
        return None
