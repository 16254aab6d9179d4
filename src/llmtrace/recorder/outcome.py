"""The outcome of a run as the program itself reports it."""

from __future__ import annotations

import logging
from typing import Literal

from llmtrace.content import to_json
from llmtrace.model import OUTCOME, Evaluation, Severity
from llmtrace.recorder import root
from llmtrace.recorder.current import active, current
from llmtrace.recorder.guard import guard

logger = logging.getLogger("llmtrace")

_SEVERITY: dict[str, Severity] = {"success": "info", "unknown": "info", "failure": "error"}


def outcome(
    status: Literal["success", "failure", "unknown"],
    *,
    score: float | None = None,
    reason: str | None = None,
) -> None:
    """Record how the current run's task ended: call it inside the run. The last call counts.

    ``status`` decides the trace's health (``failure`` makes it *failed*); ``score`` is in the program's own unit; ``reason``
    is content: it stays in the local store unless content may leave. Never raises; outside a run, or with another word for
    ``status``, one line is logged and nothing is recorded.
    """
    if active() is not None:
        guard(_outcome, status, score, reason)


def _outcome(status: object, score: object, reason: object) -> None:
    shown = repr(status) if type(status) is str else type(status).__name__  # no other class is asked to describe itself
    recording = current()
    if recording is None:
        logger.warning("llmtrace: outcome(%s) was called outside a run and is not recorded", shown)
        return
    if type(status) is not str or status not in _SEVERITY:
        logger.warning("llmtrace: outcome(%s): expected success, failure or unknown; it is not recorded", shown)
        return
    evaluation = Evaluation(
        OUTCOME,
        _SEVERITY[status],
        f"the program reported {status}",
        label=status,
        score=number(score, "outcome"),
        evidence={} if reason is None else {"reason": to_json(reason)},
    )
    recording.run.outcome = evaluation
    program = None if root.program is None else root.program.recording
    if program is None or recording.run is not program.run or recording is program:
        return
    top = recording  # the run is the whole program's, which may read this trace before it ends
    while top.parent is not None and top.parent is not program:
        top = top.parent
    recording.run.outcomes[top.span_id] = evaluation


def number(score: object, of: str) -> float | None:
    """Return a score as a number. Any other value is logged in one line and left out."""
    try:
        return None if score is None else float(score)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        logger.warning("llmtrace: %s(score=...): expected a number, got %s; it is left out", of, type(score).__name__)
        return None
