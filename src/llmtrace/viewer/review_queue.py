"""The calls that wait for a person: the viewer lists them, shows them, and takes decisions.

Laws: reading decides nothing. A decision names the digest of what its reviewer saw. The store refuses the decision if the call
has another digest, or if somebody else decided first.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, get_args

from llmtrace.errors import ReviewConflict, StoreError, TraceNotFound
from llmtrace.model.reviews import DECISIONS, Decision, ReviewRecord, ReviewRequest, ReviewState
from llmtrace.store.claims import NAME
from llmtrace.store.reviews import Reviews, faults_of, this_user
from llmtrace.viewer.js_numbers import plain
from llmtrace.viewer.rows import arguments_text
from llmtrace.viewer.source import Source
from llmtrace.viewer.watch import stamp_of

WAITING: tuple[ReviewState, ...] = ("proposed", "in_doubt")
"""States that need a person."""
DECIDED: tuple[ReviewState, ...] = tuple(state for state in get_args(ReviewState) if state not in WAITING)
LONGEST_CALL = 300
"""Maximum number of characters of a call in the list."""
LONGEST_NAME = 100
LONGEST_TRACE = 5_000
"""Longest run, in spans, that is diagnosed for its reviewer. On a longer one the reviewer would wait too long."""
STATUS = {"unknown": 404, "decided": 409, "changed": 409, "expired": 410, "invalid": 400, "unreadable": 503}
"""HTTP status of a decision that was refused, by the kind of its `ReviewConflict`."""
_OUTCOMES: Mapping[ReviewState, str] = {
    "approved": "It runs as soon as its program goes on.",
    "started": "It runs …",
    "failed": "It ran, and failed.",
    "withdrawn": "The program stopped waiting. Nothing ran.",
    "timed_out": "Nothing ran.",
    "unattended": "Nothing ran.",
    "rejected": "Nothing ran. The model is told.",
    "answered": "The tool does not run.",
    "in_doubt": "The program died while this ran. Whether it took effect is not known. "
    "It does not run again unless you say that it did not.",
}
_ENDED = "Its program has ended. What is decided counts when it is resumed."
_MEMBERS = frozenset({"action", "digest", "value", "reason", "by", "always", "happened"})
_NO_FOLDER = "Reviews are kept in the folder of a local store, which this store is not."
_READ_ONLY = "This store is read-only for the viewer: it shows what waits, and decides nothing."


class Refused(Exception):
    """What a page sent changes nothing. The message is a sentence for the person. ``status``: of the HTTP response."""

    def __init__(self, status: int, message: str, kind: str = "malformed", faults: Sequence[Mapping[str, str]] = ()) -> None:
        """``faults``: the faults of an edit, each with its JSON Pointer."""
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.faults = faults


class ReviewQueue:
    """The reviews of the viewer's store. Methods raise `ReviewConflict`, sqlite3.Error and OSError."""

    def __init__(self, source: Source) -> None:
        folder = source.store.folder
        self._source = source
        self._reviews = None if folder is None else Reviews(folder)
        self._path = None if folder is None else folder / NAME
        self._stamp = stamp_of(self._path)

    # -- reading

    def waiting(self) -> int | None:
        """Return the number of reviews that wait for a person; None if the store keeps no reviews, or they cannot be read."""
        if self._reviews is None:
            return None
        with suppress(sqlite3.Error, OSError):
            return sum(self._reviews.count(state) for state in WAITING)
        return None

    def has_changed(self) -> bool:
        """Return True if a review was written since the last call."""
        stamp, self._stamp = self._stamp, stamp_of(self._path)
        return stamp != self._stamp

    def page(self, *, decided: bool, before: float, limit: int) -> dict[str, Any]:
        """Return a page of reviews, the newest first.

        ``before``: only reviews that were requested earlier, in seconds since the Unix epoch.
        """
        if self._reviews is None:
            return {"reviews": [], "more": False, "waiting": None, "problem": _NO_FOLDER, "user": ""}
        waiting = self.waiting()
        records = self._reviews.list(states=DECIDED if decided else WAITING, limit=limit + 1, before=before)
        return {
            "reviews": [self._row(record) for record in records[:limit]],
            "more": len(records) > limit,
            "waiting": waiting,
            "problem": "" if self._is_writable() else _READ_ONLY,
            "user": this_user(),
        }

    def review(self, review_id: str, *, brief: bool) -> dict[str, Any]:
        """Return one review. ``brief``: without the origins of its values and the suspects of its run, which are slow."""
        reviews = self._local()
        record = reviews.get(review_id)
        content = self._row(record) | _details(record)
        content |= {"problem": "" if self._is_writable() else _READ_ONLY, "user": this_user()}
        return content if brief else content | self._of_run(record.request)

    def of_span(self, span_id: str) -> dict[str, Any]:
        """Return the review that waits in this span; empty if none does."""
        for record in [] if self._reviews is None else self._reviews.list(limit=1_000):
            if record.request.span_id == span_id:
                return self._row(record) | _details(record)
        return {}

    # -- deciding

    def decide(self, review_id: str, body: bytes) -> dict[str, Any]:
        """Store a decision that a page sent, and return its review. Raises Refused if the body is not a decision."""
        reviews = self._local()
        wish = _wish(body)
        by = str(wish.get("by") or "").strip()[:LONGEST_NAME] or this_user()
        if wish["action"] == "settle":
            if not isinstance(wish.get("happened"), bool):
                raise Refused(400, "settle needs 'happened': true or false")
            reviews.settle(review_id, happened=wish["happened"], by=by)
            return self.review(review_id, brief=True)
        digest = wish.get("digest")
        if not isinstance(digest, str) or not digest:
            raise Refused(400, "a decision needs the 'digest' of what was shown")
        if wish["action"] in ("answer", "edit") and "value" not in wish:
            raise Refused(400, f"{wish['action']} needs a 'value'")
        record = reviews.get(review_id)
        payload = record.request.payload if isinstance(record.request.payload, dict) else {}
        names = wish.get("always") or []
        if not isinstance(names, list) or any(not isinstance(name, str) or name not in payload for name in names):
            raise Refused(400, "'always' must be a list of names of arguments of this call")
        always = {name: payload[name] for name in names}
        reason = str(wish.get("reason") or "")
        decision = Decision(DECISIONS[wish["action"]], wish.get("value"), by, time.time(), reason, always)
        try:
            reviews.decide(record.request.review_id, decision, digest=digest)
        except ReviewConflict as conflict:
            if conflict.kind != "invalid":
                raise
            faults = [{"pointer": fault.pointer, "message": fault.message} for fault in faults_of(record.request, decision)]
            raise Refused(400, str(conflict), "invalid", faults) from None
        return self.review(record.request.review_id, brief=True)

    # -- helpers

    def _local(self) -> Reviews:
        if self._reviews is None:
            raise ReviewConflict("unknown", _NO_FOLDER)
        return self._reviews

    def _is_writable(self) -> bool:
        paths = () if self._path is None else (self._path.parent, self._path)
        return all(os.access(path, os.W_OK) for path in paths if path.exists())

    def _row(self, record: ReviewRecord) -> dict[str, Any]:
        """Return a review as a row of the list. Times are milliseconds since the Unix epoch."""
        request, decision = record.request, record.decision
        summary = self._source.find_summary(request.trace_id)
        return {
            "id": request.review_id,
            "question": request.question,
            "tool": request.tool,
            "call": arguments_text(request.payload)[:LONGEST_CALL],
            "reason": request.reason,
            "state": record.state,
            "outcome": _ENDED if record.state == "proposed" and not record.is_waiting else _OUTCOMES.get(record.state, ""),
            "asked": request.asked_at * 1e3,
            "deadline": request.deadline * 1e3,
            "alive": record.is_waiting,
            "trace": request.trace_id,
            "span": request.span_id,
            "agent": None if summary is None else next(iter(summary.agents), summary.name),
            "task": None if summary is None else summary.task,
            "decision": None if decision is None else decision.kind,
            "by": "" if decision is None else decision.by,
            "at": None if decision is None else decision.at * 1e3,
        }

    def _of_run(self, request: ReviewRequest) -> dict[str, Any]:
        """Return the origins of the call's values, and the suspects of the run so far."""
        try:
            view = self._source.trace_view(request.trace_id)
        except (TraceNotFound, StoreError):
            return {"uses": [], "suspects": [], "unread": "The run is not in this store."}
        if len(view.trace) > LONGEST_TRACE:
            return {"uses": [], "suspects": [], "unread": f"The run is too long to be looked through: {len(view.trace)} steps."}
        diagnosis = view.diagnosis
        if diagnosis.get("fault"):
            return {"uses": [], "suspects": [], "unread": diagnosis["fault"]}
        suspects = [suspect for suspect in diagnosis["suspects"] if suspect["confidence"] != "possible"]
        return {"uses": view.origins_of_call(request.call_id), "suspects": suspects, "unread": ""}


def _details(record: ReviewRecord) -> dict[str, Any]:
    request, decision = record.request, record.decision
    return {
        "digest": request.digest,
        "payload": plain(request.payload),
        "schema": plain(request.schema),
        "hidden": list(request.hidden),
        "origins": [
            {"pointer": origin.pointer, "status": origin.status, "text": origin.text, "span": origin.span_id}
            for origin in request.origins
        ],
        "note": "" if decision is None else decision.reason,
        "value": None if decision is None else plain(decision.value),
        "always": {} if decision is None else plain(decision.always),
        "started": None if record.started_at is None else record.started_at * 1e3,
        "ended": None if record.ended_at is None else record.ended_at * 1e3,
        "result": plain(record.result),
    }


def _wish(body: bytes) -> dict[str, Any]:
    """Parse a decision sent by a page. Raises Refused."""
    try:
        wish = json.loads(body, parse_constant=_refuse)
        json.dumps(wish, ensure_ascii=False).encode()  # half a surrogate pair, which no store takes
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(wish, dict) or wish.get("action") not in (*DECISIONS, "settle"):
        raise Refused(400, f"expected a JSON object with an 'action': {', '.join(DECISIONS)} or settle")
    unknown = wish.keys() - _MEMBERS
    if unknown:
        raise Refused(400, f"unknown members: {', '.join(sorted(unknown))}")
    return wish


def _refuse(constant: str) -> None:
    raise ValueError(constant)
