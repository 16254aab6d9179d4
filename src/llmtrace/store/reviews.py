"""Reviews in a store's folder: what was asked, what was decided and what ran. They are claims (`store.claims`).

Laws: a transaction changes a state only if it is the expected one, so one of two reviewers wins, a decision is used once, and
nothing starts without approval. A call whose process died while it ran is ``in_doubt`` for every reader, and never runs again
automatically.
"""

from __future__ import annotations

import builtins
import getpass
import sqlite3
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter

from llmtrace.codec import json_text
from llmtrace.errors import ReviewConflict
from llmtrace.locks import importing
from llmtrace.model import JsonValue, ToolDefinition, Violation, replace
from llmtrace.model.reviews import Decision, ReviewRecord, ReviewRequest, ReviewState
from llmtrace.store.claims import NAME, Claim, Claims, Table, owner_of
from llmtrace.store.warnings import warn_once

KEEP_SECONDS = 30 * 86400.0
"""Seconds for which ended and expired reviews are kept."""
_REMOVABLE = ", ".join(f"'{state}'" for state in get_args(ReviewState) if state not in ("approved", "started", "in_doubt"))
_FORGET = (
    f"DELETE FROM claims WHERE kind = 'review' AND at < ?1 AND state IN ({_REMOVABLE})"  # noqa: S608
    " AND (state != 'proposed' OR json_extract(data, '$.request.deadline') < ?1)"
)
"""Removes old reviews; those in a state of a later version stay."""
_FORGET_STANDING = (
    "DELETE FROM claims WHERE kind = 'standing' AND id NOT IN (SELECT id FROM claims AS reviews WHERE kind = 'review')"
)
_requests: TypeAdapter[ReviewRequest] = TypeAdapter(ReviewRequest)
_decisions: TypeAdapter[Decision] = TypeAdapter(Decision)
_records: TypeAdapter[ReviewRecord] = TypeAdapter(ReviewRecord)


class Reviews:
    """The reviews of a store. All methods may be called by several threads and processes.

    They raise `sqlite3.Error` and OSError if the folder cannot be read or written.
    """

    def __init__(self, folder: Path | None) -> None:
        """``folder`` None: the reviews are kept in memory and end with this process."""
        self.folder = folder
        self._claims = Claims(folder)

    # -- the program that asks

    def propose(self, request: ReviewRequest) -> ReviewRecord:
        """Store a request. It is approved at once if a reviewer has already approved such calls for this run."""
        owner = owner_of(self.folder)
        with self._claims.write() as db:
            if db.execute(_FORGET, (request.asked_at - KEEP_SECONDS,)).rowcount:
                db.execute(_FORGET_STANDING)
            decision = self._standing(db, request)
            state: ReviewState = "proposed" if decision is None else "approved"
            record = ReviewRecord(request, state, decision, is_waiting=True)
            self._put(db, record, owner)
        return record

    def adopt(self, review_id: str, deadline: float) -> ReviewRecord:
        """Take over a review from the process that asked. A withdrawn review is asked again, until ``deadline``."""
        with self._claims.write() as db:
            record = self._find(db, review_id)
            if record.state in ("proposed", "withdrawn"):
                request = replace(record.request, deadline=deadline) if record.state == "withdrawn" else record.request
                taken_over = replace(record, request=request, state="proposed", ended_at=None)
                self._put(db, taken_over, owner_of(self.folder))
            return self._find(db, record.request.review_id)

    def start(self, review_id: str, digest: str, ran: str) -> bool:
        """Use up an approval before the call runs. Returns False if the call must not run.

        ``digest``: of the call that the reviewer was shown. ``ran``: of the call that is about to run; the two differ only if
        the reviewer edited the call.
        """
        with self._claims.write() as db:
            record = self._find(db, review_id)
            decision = record.decision
            if record.state != "approved" or decision is None or digest != record.request.digest:
                return False
            if decision.kind != "edited" and ran != digest:
                return False
            self._put(db, replace(record, state="started", started_at=time.time()), owner_of(self.folder))
        return True

    def finish(self, review_id: str, state: ReviewState, result: JsonValue = None) -> None:
        """Record that the call is ``done`` or ``failed``, or that the program no longer waits (``withdrawn``)."""
        expected = "proposed" if state == "withdrawn" else "started"
        with self._claims.write() as db:
            claim = Table(db, "review").find(review_id)
            if claim is not None and claim.state == expected:
                record = replace(self._record(claim), state=state, ended_at=time.time(), result=result)
                self._put(db, record, claim.owner)

    # -- the person who decides

    def decide(self, review_id: str, decision: Decision, *, digest: str | None = None) -> ReviewRecord:
        """Decide a review. ``digest``: of the call that the reviewer was shown; None if no person decided, as at a timeout.

        Raises `ReviewConflict` if the review is decided already, its digest differs from ``digest``, the deadline has passed,
        or the decision is not valid (its value breaks the schema, for example).
        """
        with self._claims.write() as db:
            record = self._find(db, review_id)
            request, review_id = record.request, record.request.review_id
            if digest is not None and digest != request.digest:
                raise ReviewConflict("changed", f"review {review_id}: the call is not the one that was shown; look at it again")
            if record.state != "proposed":
                raise ReviewConflict("decided", f"review {review_id} {_was(record)}")
            is_late = decision.kind not in ("timed_out", "unattended") and decision.at >= request.deadline
            if is_late:
                decision = Decision("timed_out", at=request.deadline)
            problem = _problem(request, decision)
            if problem:
                raise ReviewConflict("invalid", f"review {review_id}: {problem}")
            state = "approved" if decision.is_allowed else decision.kind
            self._put(db, replace(record, state=state, decision=decision))
            if decision.always and request.tool is not None and decision.is_allowed:
                wanted = json_text.write({"tool": request.tool, "wanted": dict(decision.always)})
                Table(db, "standing").put(Claim(review_id, "given", request.run_id, "", decision.at, decision.by, wanted))
            record = self._find(db, review_id)
        if is_late:
            raise ReviewConflict("expired", f"review {review_id} has expired; the call was denied")
        return record

    def settle(self, review_id: str, *, happened: bool, by: str) -> ReviewRecord:
        """Record whether a call in doubt had its effect (``happened``). If not, it may run once when the program is resumed.

        Raises `ReviewConflict` if the call is not in doubt.
        """
        with self._claims.write() as db:
            record = self._find(db, review_id)
            review_id = record.request.review_id
            if record.state != "in_doubt":
                raise ReviewConflict("decided", f"review {review_id} is not in doubt: it {_was(record)}")
            before = Decision("approved") if record.decision is None else record.decision
            now = time.time()
            decision = replace(before, by=by, at=now, reason=before.reason or f"settled by {by}")
            state: ReviewState = "done" if happened else "approved"
            self._put(db, replace(record, state=state, decision=decision, ended_at=now if happened else None))
            return self._find(db, review_id)

    # -- looking

    def get(self, review_id: str, *, busy_seconds: float | None = None) -> ReviewRecord:
        """Return a review by its id or the first 4 or more characters of it.

        ``busy_seconds``: how long to wait for another process that writes (default: `BUSY_SECONDS`). Raises `ReviewConflict`
        for an unknown id.
        """
        with self._claims.read(busy_seconds=busy_seconds) as db:
            return self._find(db, review_id)

    def list(
        self,
        *,
        states: tuple[ReviewState, ...] = ("proposed",),
        limit: int = 100,
        before: float = 1e18,
        oldest_first: bool = False,
    ) -> list[ReviewRecord]:
        """Return the reviews in these states, newest first. A review that cannot be read is logged and left out.

        ``before``: only reviews that were asked for before this time, in seconds since the Unix epoch.
        """
        stored = {*states, "started"} if "in_doubt" in states else {*states}  # its process may be gone
        with self._claims.read() as db:
            table = Table(db, "review")
            later = set(table.states()).difference(get_args(ReviewState))  # they are logged
            claims = table.select({*stored, *later}, limit=limit, before=before, oldest_first=oldest_first)
        return [record for record in self._readable(claims) if record.state in states]

    def _readable(self, claims: Iterable[Claim]) -> builtins.list[ReviewRecord]:
        records = []
        for claim in claims:
            try:
                records.append(self._record(claim))
            except ReviewConflict as error:
                warn_once(f"{error}; it is left out")
        return records

    def of_run(self, run_id: str) -> builtins.list[ReviewRecord]:
        """Return the reviews that a run asked for, oldest first. A review that cannot be read is logged and left out."""
        with self._claims.read() as db:
            claims = Table(db, "review").of_run(run_id)
        return self._readable(claims)

    def count(self, state: ReviewState = "proposed") -> int:
        if state in ("started", "in_doubt"):
            return len(self.list(states=(state,), limit=sys.maxsize))
        with self._claims.read() as db:
            return Table(db, "review").count(state)

    # -- inside

    def _find(self, db: sqlite3.Connection, review_id: str) -> ReviewRecord:
        claim = Table(db, "review").find(review_id)
        if claim is None:
            raise ReviewConflict("unknown", f"unknown review {review_id!r}")
        return self._record(claim)

    def _record(self, claim: Claim) -> ReviewRecord:
        """Decode a claim. Raises `ReviewConflict` if it cannot be read, for example because a later llmtrace wrote it."""
        state = claim.state
        if state not in get_args(ReviewState):
            why = f"review {claim.id} in {NAME} has the state {state!r}, which this llmtrace does not know; a later one may"
            raise ReviewConflict("unreadable", why)
        try:
            if state == "started" and not self._claims.is_alive(claim.owner):
                state = "in_doubt"
            kept: Any = json_text.read(claim.data)
            is_waiting = state in ("proposed", "approved") and self._claims.is_alive(claim.owner)
            return _records.validate_python({**kept, "state": state, "is_waiting": is_waiting})
        except (ValueError, TypeError, LookupError) as error:
            why = f"review {claim.id} in {NAME} cannot be read ({type(error).__name__}). A later llmtrace may have written it"
            raise ReviewConflict("unreadable", why) from None

    def _put(self, db: sqlite3.Connection, record: ReviewRecord, owner: str | None = None) -> None:
        """Write a record. ``owner`` None: the process that waits for it, or runs its call, stays the same."""
        request, decision, table = record.request, record.decision, Table(db, "review")
        before = table.find(request.review_id)
        if owner is None:
            owner = "" if before is None else before.owner
        later = {} if before is None else _members(before.data)  # what a later version has added stays
        kept = {
            **later,
            "request": {**_members(later.get("request")), **_requests.dump_python(request, mode="json")},
            "decision": None if decision is None else _decisions.dump_python(decision, mode="json"),
            "started_at": record.started_at,
            "ended_at": record.ended_at,
            "result": record.result,
        }
        by = "" if decision is None else decision.by
        data = json_text.write(kept)
        table.put(Claim(request.review_id, record.state, request.run_id, owner, request.asked_at, by, data))

    def _standing(self, db: sqlite3.Connection, request: ReviewRequest) -> Decision | None:
        if request.tool is None or not isinstance(request.payload, dict):
            return None
        if faults_of(request, Decision("edited", request.payload)):  # an invalid call is always asked about
            return None
        for claim in Table(db, "standing").of_run(request.run_id):
            kept: Any = json_text.read(claim.data)
            if kept["tool"] == request.tool and _fits(kept["wanted"], request.payload):
                by = claim.by or _decided_by(self._find(db, claim.id))
                reason = f"as decided in review {claim.id}, for {json_text.write(kept['wanted'])}"
                return Decision("approved", by=by, at=time.time(), reason=reason)
        return None


def _members(data: Any) -> Mapping[str, Any]:
    """Return the members of a JSON object, which may be a text; none of anything else."""
    read: Any = json_text.read(data) if isinstance(data, str) else data
    return read if isinstance(read, dict) else {}


def _decided_by(record: ReviewRecord) -> str:
    return "" if record.decision is None else record.decision.by


def _was(record: ReviewRecord) -> str:
    decision = record.decision
    if record.state == "proposed":
        return "waits for a decision"
    if decision is None:
        return "was withdrawn: the program does not wait for it any more"
    by = f" by {decision.by}" if decision.by else ""
    at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(decision.at))
    return f"was decided before: {decision.kind.replace('_', ' ')}{by} at {at}{_SINCE.get(record.state, '')}"


_SINCE: dict[ReviewState, str] = {
    "approved": ". The call has not run yet",
    "started": ". The call is running",
    "done": ". The call has run",
    "failed": ". The call has run, and failed",
    "in_doubt": ". The program died while the call ran",
}
"""By state: what happened to the call after its approval, as the end of a message."""


def _problem(request: ReviewRequest, decision: Decision) -> str:
    """Return why a decision is not valid; empty if it is."""
    from llmtrace.validation.json_pointers import steps

    if not isinstance(decision.always, Mapping):
        return "always= takes the arguments, with values, of the later calls that are approved, too"
    hidden = {step for place in request.hidden for step in steps(place)[:1]}
    if decision.always and not request.run_id:
        return "this run is not recorded, so that its later calls are not known"
    if decision.always and (request.tool is None or hidden & decision.always.keys()):
        return "only visible arguments of a tool call can be approved for later calls"
    if decision.always and not (isinstance(request.payload, dict) and _fits(decision.always, request.payload)):
        return "this call does not have the arguments that later calls shall have"
    if decision.kind == "edited" and request.tool is None:
        return "a question is answered, not edited"
    if decision.kind == "edited" and not isinstance(decision.value, dict):
        return "the arguments must be a JSON object"
    if not _is_kept(decision.value):
        return "the value has a number or a text that JSON cannot hold"
    faults = faults_of(request, decision)
    return "; ".join(f"{fault.pointer or 'the value'}: {fault.message}" for fault in faults[:5])


def _is_kept(value: JsonValue) -> bool:
    """Return True if a value is read from the store as it was written: JSON has no infinity. An integer that no float can hold
    would run as infinity where a tool takes a float."""
    try:
        _as_floats(value)
        kept = _decisions.validate_json(_decisions.dump_json(Decision("answered", value))).value
        return json_text.write(kept) == json_text.write(value)
    except (TypeError, ValueError, OverflowError):
        return False


def _as_floats(value: JsonValue) -> None:
    """Raise OverflowError for a number that no float can hold."""
    if isinstance(value, int):
        float(value)
    elif isinstance(value, (dict, list)):
        for member in value.values() if isinstance(value, dict) else value:
            _as_floats(member)


def faults_of(request: ReviewRequest, decision: Decision) -> list[Violation]:
    """Return the schema errors of an edited or answered value. A hidden value that was left as shown counts as valid."""
    with importing:  # listing reviews needs no validation
        from llmtrace.validation.check_values import check_arguments, check_result, errors_in

    if decision.kind == "edited" and request.tool is not None and isinstance(decision.value, dict):
        definition = ToolDefinition(request.tool, parameters=request.schema, strict=request.strict)
        violations = check_arguments(decision.value, definition)
        return [
            violation for violation in errors_in(violations) if not _is_as_shown(violation.pointer, decision.value, request)
        ]
    if decision.kind == "answered" and request.tool is None and request.schema is not None:
        return errors_in(check_result(decision.value, ToolDefinition("", output=request.schema)))
    return []


def _is_as_shown(pointer: str, edited: JsonValue, request: ReviewRequest) -> bool:
    """Return True for a hidden value that the reviewer left as shown: the program then runs with its own value."""
    from llmtrace.validation.json_pointers import follow, steps

    try:
        path = steps(pointer)
        return pointer in request.hidden and follow(edited, path) == follow(request.payload, path)
    except (LookupError, TypeError, ValueError):
        return False


def _fits(wanted: Mapping[str, JsonValue], arguments: Mapping[str, JsonValue]) -> bool:
    return all(name in arguments and arguments[name] == value for name, value in wanted.items())


def this_user() -> str:
    """Return the name of the user of this process; empty if it has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without this user
        return ""
