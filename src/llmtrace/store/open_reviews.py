"""Adds to the unfinished reviews of a trace what ``reviews.db`` knows of them: their ids, and decisions that came later.

The program writes both with the end of the review's span. If it died while it waited, only ``reviews.db`` has them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from llmtrace.model import Review, Span, replace

if TYPE_CHECKING:
    from llmtrace.model.reviews import ReviewRecord


def with_decisions(folder: Path | None, spans: Iterable[Span]) -> list[Span]:
    """Return the spans; reviews that never ended have their id and decision. ``folder``: of the store, None if it has none."""
    spans = list(spans)
    runs = {span.run_id for span in spans if span.end is None and isinstance(span.operation, Review) and span.run_id}
    if not runs or folder is None:
        return spans
    records = _records(folder, runs)
    return [_filled(span, records[span.span_id]) if span.end is None and span.span_id in records else span for span in spans]


def _records(folder: Path, runs: Iterable[str]) -> dict[str, ReviewRecord]:
    """Return the reviews of these runs by the id of their span; none if they cannot be read."""
    import sqlite3  # late, as is the next: a program that only records needs neither

    from llmtrace.store.reviews import Reviews

    try:
        reviews = Reviews(folder)
        return {record.request.span_id: record for run in runs for record in reviews.of_run(run)}
    except (OSError, sqlite3.Error):
        return {}


def _filled(span: Span, record: ReviewRecord) -> Span:
    review, decision = span.operation, record.decision
    if not isinstance(review, Review):
        return span
    kind = None if decision is None else decision.kind
    if record.state == "proposed" and not record.is_waiting and time.time() >= record.request.deadline:
        kind = "timed_out"
    review = replace(
        review,
        review_id=record.request.review_id,
        decision=kind,
        decided_by=None if decision is None else decision.by or None,
        decided_at=None if decision is None or not decision.at else round(decision.at * 1e9),
        note=None if decision is None else decision.reason or None,
    )
    return replace(span, operation=review)
