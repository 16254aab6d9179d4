"""Decide reviews from a program: ``llmtrace.reviews.pending()``, then `approve`, `edit`, `reject` or `answer`.

They are those of the store that ``configure()``, or LLMTRACE_STORE, names. Each decision names the digest of what was looked at
(``record.request.digest``), and raises `ReviewConflict` if the call is another one now, if somebody was first, if it is too
late, or if the value breaks the schema.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from llmtrace.config import Config
from llmtrace.errors import ReviewConflict, UnreadableStore
from llmtrace.guards.hold import cleaned_decision
from llmtrace.model import JsonValue
from llmtrace.model.reviews import Decision, DecisionKind, ReviewRecord
from llmtrace.recorder.current import configured
from llmtrace.store import open_store
from llmtrace.store.reviews import Reviews, this_user


def pending(*, limit: int = 100) -> list[ReviewRecord]:
    """Reviews that wait for a decision, newest first."""
    return _reviews().list(limit=limit)


def get(review_id: str) -> ReviewRecord:
    """One review, by its id or the first 4 or more characters of it."""
    return _reviews().get(review_id)


def approve(
    review_id: str, *, digest: str, by: str | None = None, reason: str = "", always: Mapping[str, JsonValue] | None = None
) -> ReviewRecord:
    """Let the call run as it was shown. ``always``: arguments, with values, with which later calls of this tool in this run are
    approved, too. ``by``: who decides; default, the user of this process."""
    return _decide(review_id, digest, by, reason, "approved", always=always)


def edit(
    review_id: str, value: Mapping[str, JsonValue], *, digest: str, by: str | None = None, reason: str = ""
) -> ReviewRecord:
    """Let the call run with these arguments instead. What is left as it was shown, redacted, is what the program has."""
    return _decide(review_id, digest, by, reason, "edited", dict(value) if isinstance(value, Mapping) else value)


def reject(review_id: str, reason: str = "", *, digest: str, by: str | None = None) -> ReviewRecord:
    """Do not let the call run. The model is told the reason, and not to try again."""
    return _decide(review_id, digest, by, reason, "rejected")


def answer(review_id: str, value: JsonValue, *, digest: str, by: str | None = None, reason: str = "") -> ReviewRecord:
    """Answer a question of the program; or stand in for the tool: it does not run, and ``value`` is its result."""
    return _decide(review_id, digest, by, reason, "answered", value)


def settle(review_id: str, *, happened: bool, by: str | None = None) -> ReviewRecord:
    """Say whether a call took effect during which its program died. If not, it may run once the program is resumed."""
    return _reviews().settle(review_id, happened=happened, by=this_user() if by is None else by)


def _decide(
    review_id: str,
    digest: str,
    by: str | None,
    reason: str,
    kind: DecisionKind,
    value: JsonValue = None,
    always: Mapping[str, JsonValue] | None = None,
) -> ReviewRecord:
    if by is not None and not by.strip():
        raise ReviewConflict(
            "invalid", f"review {review_id}: by= names the person who decides; default, the user of this process"
        )
    decision = Decision(kind, value, this_user() if by is None else by, time.time(), reason, dict(always or {}))
    return _reviews().decide(review_id, cleaned_decision(decision), digest=digest)


def of_store(url: str) -> Reviews:
    """The reviews of a local store. Raises `UnreadableStore` for one that has no folder."""
    with open_store(url) as store:
        folder: Path | None = store.folder
    if folder is None:
        raise UnreadableStore(f"{url}: reviews are kept in a local store's folder, which this one has not")
    return Reviews(folder)


def _reviews() -> Reviews:
    if configured() is not None:
        from llmtrace.guards.review_settings import review_settings

        return review_settings().reviews
    return of_store(Config.read().store)
