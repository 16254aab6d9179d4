"""Feedback that a person gives on the page. It is recorded as by `llmtrace feedback`.

Law: a rating names the full ids of the trace and the span that the page showed, and changes nothing else.
"""

from __future__ import annotations

import json
import os
from typing import Any

from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.model import Evaluation
from llmtrace.store import Store
from llmtrace.store.late_evaluations import Unfinished, attach
from llmtrace.viewer.review_queue import Refused

LONGEST_COMMENT = 10_000
LONGEST_LABEL = 100
_MEMBERS = frozenset({"span", "score", "label", "comment", "user"})


def rate(store: Store, trace_id: str, body: bytes) -> dict[str, Any]:
    """Record a rating that a page sent. Returns the ids of its trace and span. Raises Refused, TraceNotFound,
    UnreadableStore."""
    span_id, evaluation = _read(body)
    place = store.folder or store.path
    if place is None or store.is_remote or not os.access(place, os.W_OK):
        raise Refused(403, "This store is read-only for the viewer, so nothing was recorded.")
    content = Content(Config.read(store=str(place)))
    try:
        span = attach(store, trace_id, (evaluation,), span_id=span_id, clean=content.clean)
    except Unfinished:
        raise Refused(409, "The step has not ended, and its end would replace the feedback. Try again then.") from None
    except KeyError:
        raise Refused(404, "The trace has no such step.") from None
    return {"trace": span.trace_id, "span": span.span_id}


def _read(body: bytes) -> tuple[str, Evaluation]:
    from llmtrace.recorder.feedback import evaluation_of  # imports OpenTelemetry, which reading does not need

    try:
        wish = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "The body is not JSON.") from None
    if not isinstance(wish, dict) or wish.keys() - _MEMBERS or not all(isinstance(text, str) for text in wish.values()):
        raise Refused(400, f"Expected a JSON object of texts: {', '.join(sorted(_MEMBERS))}.")
    texts = {name: wish.get(name, "").strip() for name in _MEMBERS}
    if not texts["span"]:
        raise Refused(400, "A rating needs the id of its 'span'.")
    evaluation = evaluation_of(
        score=_score(texts["score"]),
        label=texts["label"][:LONGEST_LABEL] or None,
        comment=texts["comment"][:LONGEST_COMMENT] or None,
        user=texts["user"][:LONGEST_LABEL] or None,
        source="human",
    )
    if evaluation is None:
        raise Refused(400, "Choose good or bad, give a score, or write a comment.")
    return texts["span"], evaluation


def _score(text: str) -> float | None:
    if not text:
        return None
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise Refused(400, "The score must be a number from 0 to 1.")
    return number
