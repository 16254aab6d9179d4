"""Evaluations that arrive after their span has ended: a person's feedback, a slow judge.

The span is appended again with them; in every store the richer version wins. Law: no evaluation overwrites another. `attach`
reads the newest version first, and in all processes that use one store folder only one attaches at a time.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

from llmtrace.model import Evaluation, Span, replace
from llmtrace.store import Store, locks

PATIENCE = 2.0
"""Seconds to wait for another process. After that `attach` goes on without the lock, and one of two evaluations may be lost."""

_lock = threading.Lock()


class Unfinished(Exception):
    """The span has not ended. Its end would replace an evaluation that is attached now."""


def attach(
    store: Store,
    trace_id: str,
    evaluations: Sequence[Evaluation],
    *,
    span_id: str | None = None,
    clean: Callable[[Span], Span] = lambda span: span,
) -> Span:
    """Add evaluations to a span of the store and return the new span.

    ``trace_id``: see `Store.trace`. ``span_id``: default, the trace's root. ``clean``: applied to a span that has only the new
    evaluations (see `Content`); the rest of the span is stored already, perhaps under other rules.
    Raises TraceNotFound, UnreadableStore, KeyError (the trace has no such span), Unfinished.
    """
    with _lock, contextlib.ExitStack() as stack:
        if store.folder is not None:
            with contextlib.suppress(OSError):  # in use for too long; or no store, or a read-only one, which reading reports
                stack.enter_context(locks.locked(store.folder / "attach.lock", exclusive=True, seconds=PATIENCE))
        trace = store.trace(trace_id)
        span = trace.root if span_id is None else trace.span(span_id)
        if span.end is None:
            raise Unfinished(f"span {span.span_id} of trace {trace.trace_id} has not ended")
        cleaned = clean(Span(span.trace_id, span.span_id, "", span.start, span.end, evaluations=tuple(evaluations))).evaluations
        new = tuple(evaluation for evaluation in cleaned if evaluation not in span.evaluations)
        updated = replace(span, evaluations=(*span.evaluations, *new))
        if new:
            store.append(updated)
        return updated
