"""Elicitations of MCP as reviews: the server asks a person something in the middle of a call.

``accept`` is an answer; ``decline`` and ``cancel`` are rejections. Until July 2026 the server sends a request of its own, and
waits; since then it answers the call with its questions, by key, and the call comes again with the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context

from llmtrace.content import to_json
from llmtrace.instrumentation._mcp_tools import wire
from llmtrace.instrumentation._reviews import ANSWERED, PENDING, REJECTED, UNATTENDED, record_review
from llmtrace.model import Review, replace

ELICIT = "elicitation/create"
_DECISIONS = {"accept": ANSWERED, "decline": REJECTED, "cancel": REJECTED}
_FORM = frozenset({"requestedSchema", "url"})


def review_of(params: Mapping[str, Any], review_id: Any) -> Review:
    """Return the review of an elicitation that waits. ``params``: as on the wire."""
    form = {name: to_json(value) for name, value in params.items() if name in _FORM}
    return Review(
        str(params.get("message") or "elicitation"), None if review_id is None else str(review_id), payload=form or None
    )


def decide(review: Review, result: Any) -> Review:
    """Add what the client answered: an ElicitResult, or an error where nobody can be asked."""
    answer = wire(result)
    if not isinstance(answer, Mapping):
        return review
    action = answer.get("action")
    if action in _DECISIONS:
        value = to_json(answer.get("content")) if action == "accept" else None
        return replace(review, decision=_DECISIONS[action], value=value, note="dismissed" if action == "cancel" else None)
    return replace(review, decision=UNATTENDED, note=str(answer["message"])) if "message" in answer else review


def record_questions(answer: Mapping[str, Any], context: Context) -> None:
    """Record what a server asks before it answers a call (an ``InputRequiredResult`` as on the wire)."""
    for key, request in (answer.get("inputRequests") or {}).items():
        if request.get("method") == ELICIT:
            record_review(replace(review_of(request.get("params") or {}, key), decision=PENDING), context)


def record_decisions(responses: Any, context: Context) -> None:
    """Record the answers that a call brings along, by key. The questions stand in an earlier round."""
    for key, response in responses.items() if isinstance(responses, Mapping) else ():
        answer = wire(response)
        if isinstance(answer, Mapping) and answer.get("action") in _DECISIONS:
            record_review(decide(Review(str(key), str(key)), answer), context)
