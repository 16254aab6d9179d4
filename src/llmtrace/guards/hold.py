"""`Hold`: a tool call, or a question of the program, that waits for a person.

Laws: the answer is no if the time limit passes, nobody can review, or the store cannot be written. A decision counts once, for
one call, and only if the payload that was shown is the one that would run. The wait is a span of its own, not an error.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import secrets
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, get_args

from llmtrace.codec import json_text
from llmtrace.config import Config
from llmtrace.content import Redactor
from llmtrace.content.placeholders import holds_placeholder
from llmtrace.errors import ConfigurationError, LlmtraceError, ReviewConflict, ReviewDenied, ReviewPending
from llmtrace.guards import terminal_question
from llmtrace.guards.review_settings import ReviewSettings, review_settings, take_resumed
from llmtrace.model import JsonValue, Review, replace
from llmtrace.model.reviews import Decision, DecisionKind, ReviewRecord, ReviewRequest, ValueOrigin
from llmtrace.recorder import Recording, active, current
from llmtrace.recorder.current import configured
from llmtrace.recorder.guard import guard
from llmtrace.recorder.player import player
from llmtrace.text.unsafe_characters import clean
from llmtrace.validation.json_pointers import pointer

logger = logging.getLogger("llmtrace")

SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Shortest and longest pause in seconds between two reads of the store."""
_NOTIFY_SECONDS = 10.0
_UNREADABLE = (sqlite3.Error, OSError, ValueError)
"""Errors of a store that cannot be read or written, or that was written by another version."""
_LONGEST_TIMEOUT = 100 * 365 * 86400.0
"""Longest timeout in seconds, so that a deadline stays a time that JSON can hold."""


class Hold:
    """One wait for a decision. Use `wait` or `wait_async`, once."""

    def __init__(
        self,
        question: str,
        payload: JsonValue,
        *,
        reason: str = "",
        tool: str | None = None,
        call_id: str | None = None,
        schema: Mapping[str, JsonValue] | None = None,
        strict: bool = False,
        origins: tuple[ValueOrigin, ...] = (),
        timeout: float | None = None,
    ) -> None:
        """``payload``: the arguments, or the content of a question, before redaction. ``timeout``: seconds; default, as
        configured."""
        self.settings: ReviewSettings = review_settings()
        self.payload = payload
        self.review_id: str | None = None
        """None if the store has no review of this call: nobody can review, or the decision is from a recorded run."""
        self.recorded_id: str | None = None
        """In a replay, the id of the review whose recorded decision was taken."""
        self.digest = digest_of(self.settings, tool, call_id, payload)
        self.question = Review(question, tool=tool, call_id=call_id, reason=reason, payload=payload, digest=self.digest)
        self._schema, self._strict, self._origins = schema, strict, origins
        self._timeout = min(self.settings.timeout if timeout is None else timeout, _LONGEST_TIMEOUT)
        self._recording: Recording | None = None
        self._shown: JsonValue = None
        self._began = self._paused = 0.0
        self._is_pending = False
        """True if the wait ended with `ReviewPending`: the review stays open, and the program may end."""
        self._has_left = False
        self._terminal: terminal_question.TerminalQuestion | None = None
        self._woken = threading.Event()

    # -- waiting

    def wait(self) -> Decision:
        """Wait on this thread. Raises `ReviewPending`, and `ReviewDenied` with ``unattended="raise"``."""
        decision = self._begin()
        try:
            while decision is None:
                self._woken.wait(self._pause())
                self._woken.clear()
                decision = self._look()
        except BaseException:
            self._leave()
            raise
        return self._end(decision)

    async def wait_async(self) -> Decision:
        """Wait while the event loop goes on: a thread reads the store, which may wait for a disk or another process."""
        try:
            decision = await asyncio.to_thread(self._begin_apart)
            while decision is None:
                await asyncio.sleep(self._pause())
                decision = await asyncio.to_thread(self._look)
        except BaseException:
            self._has_left = True
            # not awaited: this task may be cancelled, and `_leave` may wait for the disk
            try:
                asyncio.get_running_loop().run_in_executor(None, self._leave)
            except RuntimeError:  # the event loop is closed
                self._leave()
            raise
        return self._end(decision)

    def raw(self, edited: JsonValue) -> JsonValue:
        """Return the arguments to run after a reviewer's edit.

        The reviewer saw redacted values; those that the edit left unchanged are replaced by the original values.
        """
        return _merged(self.payload, self._shown, edited)

    # -- the steps of one wait

    def _begin(self) -> Decision | None:
        """Ask for a review. Returns the decision if it is known at once."""
        operation, settings = self.question, self.settings
        recorder = active()
        played = player()
        recorded = None if played is None else played.review_of(operation.question, self.digest, self.payload, take=True)
        if recorder is not None:
            self._recording = recorder.start(replace(operation, payload=None))
        operation = _cleaned(operation)
        self._shown = operation.payload
        earlier = take_resumed(self.digest)
        if recorded is not None and recorded.decision not in (None, "pending"):
            self.recorded_id = recorded.review_id
            kind: Any = recorded.decision
            at = (recorded.decided_at or 0) / 1e9
            return Decision(kind, recorded.value, recorded.decided_by or "", at, recorded.note or "")
        if not settings.is_attended and earlier is None:
            return Decision("unattended", at=time.time(), reason="nobody is there to review it")
        self._began = time.monotonic()
        try:
            record = self._propose(settings, operation) if earlier is None else self._resume(settings, earlier)
        except (ReviewConflict, *_UNREADABLE) as error:
            return Decision("unattended", at=time.time(), reason=f"the review could not be kept: {error}")
        self.review_id, self._shown = record.request.review_id, record.request.payload
        if record.state == "proposed":
            self._tell(record)
        return _decided(record)

    def _begin_apart(self) -> Decision | None:
        """Run `_begin` in a thread. If the program stopped waiting in the meantime, the review is withdrawn."""
        decision = self._begin()
        if self._has_left:
            self._leave()
        return decision

    def _propose(self, settings: ReviewSettings, operation: Review) -> ReviewRecord:
        recording = self._recording
        now = time.time()
        request = ReviewRequest(
            f"rev_{secrets.token_hex(8)}",
            operation.question,
            self.digest,
            self._shown,
            now,
            now + self._timeout,
            reason=operation.reason or "",
            tool=operation.tool,
            call_id=operation.call_id,
            run_id="" if recording is None else recording.run.id,
            trace_id="" if recording is None else recording.trace_id,
            span_id="" if recording is None else recording.span_id,
            hidden=tuple(_differences(self.payload, self._shown)),
            schema=self._schema,
            origins=self._origins,
            strict=self._strict,
        )
        return settings.reviews.propose(request)

    def _resume(self, settings: ReviewSettings, review_id: str) -> ReviewRecord:
        record = settings.reviews.adopt(review_id, time.time() + self._timeout)
        self._timeout = max(record.request.deadline - time.time(), 0.0)
        return record

    def _tell(self, record: ReviewRecord) -> None:
        request, settings = record.request, self.settings
        logger.warning(
            "llmtrace: %s waits for a review, %d s at most: llmtrace review show %s",
            clean(request.question),
            math.ceil(self._timeout if settings.wait is None else min(self._timeout, settings.wait)),
            request.review_id,
        )
        folder = settings.reviews.folder
        if settings.asks_at_terminal and folder is not None and terminal_question.is_possible():
            self._terminal = terminal_question.TerminalQuestion(folder, request.review_id)
        if settings.notify is not None:
            threading.Thread(target=self._notify, args=(settings, request), name="llmtrace notify", daemon=True).start()

    def _notify(self, settings: ReviewSettings, request: ReviewRequest) -> None:
        try:
            if isinstance(settings.notify, str):
                _post(settings.notify, request)
            elif settings.notify is not None:
                decision = settings.notify(request)
                if decision is not None:
                    if not isinstance(decision, Decision):
                        raise ConfigurationError(f"expected a Decision or None, got {type(decision).__name__}")
                    if decision.kind not in get_args(DecisionKind):
                        kinds = ", ".join(get_args(DecisionKind))
                        raise ConfigurationError(f"{decision.kind!r} is no kind of decision: {kinds}")
                    decision = replace(decision, at=decision.at or time.time(), by=decision.by or "notify")
                    settings.reviews.decide(request.review_id, cleaned_decision(decision), digest=request.digest)
        except Exception as error:
            # the text of any other error may hold content, or a secret in the URL
            text = f": {error}" if isinstance(error, (LlmtraceError, OSError)) else ""
            problem = f"{type(error).__name__}{text}"
            logger.warning("llmtrace: notify= failed for review %s (%s); it still waits", request.review_id, problem)
        finally:
            self._woken.set()

    def _pause(self) -> float:
        self._paused = min(max(self._paused * 1.5, SHORTEST_PAUSE), LONGEST_PAUSE)
        return self._paused

    def _look(self) -> Decision | None:
        assert self.review_id is not None
        reviews, waited = self.settings.reviews, time.monotonic() - self._began
        try:
            decision = _decided(reviews.get(self.review_id, busy_seconds=SHORTEST_PAUSE))
            if decision is None and waited >= self._timeout:
                decision = reviews.decide(self.review_id, Decision("timed_out", at=time.time())).decision
        except ReviewConflict as error:  # somebody decided just now (the next look reads it), or the review is gone
            # a decision that never becomes readable must not hold the program for ever
            if error.kind == "decided" and waited < self._timeout + 2 * LONGEST_PAUSE:
                return None
            return Decision("timed_out" if error.kind == "decided" else "unattended", at=time.time(), reason=str(error))
        except _UNREADABLE as error:
            if waited < self._timeout:
                return None  # probably locked by another process that writes: look again
            return Decision("timed_out", at=time.time(), reason=f"the store cannot be read: {error}")
        wait = self.settings.wait
        if decision is None and wait is not None and waited >= wait:
            self._is_pending = True
            self._end_span(Decision("timed_out"), "pending")
            raise ReviewPending(self.review_id, self.question.question)
        return decision

    def _leave(self) -> None:
        if self._is_pending:
            return
        if self.review_id is not None:
            guard(self.settings.reviews.finish, self.review_id, "withdrawn")
        self._end_span(Decision("timed_out"), "pending")

    def _end(self, decision: Decision) -> Decision:
        self._end_span(decision, decision.kind)
        if decision.kind == "unattended" and self.settings.unattended == "raise":
            raise ReviewDenied(denial(self.question, decision), decision=decision)
        return decision

    def _end_span(self, decision: Decision, outcome: str) -> None:
        if self._terminal is not None:
            guard(self._terminal.take_away)
        if self._recording is None:
            return
        operation = replace(
            self.question,
            review_id=self.review_id,
            decision=outcome,
            decided_by=decision.by or None,
            decided_at=round(decision.at * 1e9) if decision.at else None,
            note=decision.reason or None,
            value=decision.value,
        )
        self._recording.end(operation)


def digest_of(settings: ReviewSettings, tool: str | None, call_id: str | None, payload: JsonValue) -> str:
    """Return the keyed digest of one call with its arguments."""
    text = json_text.write([tool, call_id, payload])
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=settings.key).hexdigest()


def denial(review: Review, decision: Decision) -> str:
    """Return the tool result for a call that may not run; for a question of the program, its outcome.

    The result is not an error, so that the model goes on and does not retry.
    """
    because = f": {decision.reason}" if decision.reason else ""
    tool = review.tool
    if tool is None:
        return f"{review.question!r} was {decision.kind.replace('_', ' ')}{because}"
    if decision.kind == "rejected":
        who = decision.by or "A person"
        return f"{who} rejected this call of {tool}, so it did not run{because}. Do not call it again with these arguments."
    if decision.kind == "timed_out":
        return f"Nobody reviewed this call of {tool} in time, so it did not run{because}. Do not try it again."
    return f"This call of {tool} needs a person's review, and there is none, so it did not run{because}. Do not try it again."


def active_recording() -> Recording | None:
    """Return the current recording, or None if nothing is recorded."""
    return current() if active() is not None else None


def _cleaned(operation: Review) -> Review:
    """Redact an operation before it is shown and stored, even while recording is suppressed."""
    recorder = configured()
    if recorder is None:
        return operation
    cleaned = recorder.clean(operation)
    if isinstance(cleaned, Review):
        return cleaned
    return replace(operation, question=operation.tool or "A question", reason="", payload=None)  # redaction failed


def cleaned_decision(decision: Decision) -> Decision:
    """Redact what is told about a decision. Its value is what the program gets, and stays."""
    recorder = configured()
    redactor = Redactor(Config.read()) if recorder is None else recorder.content.values.redactor
    return replace(decision, by=redactor.text(decision.by), reason=redactor.text(decision.reason))


def _decided(record: ReviewRecord) -> Decision | None:
    if record.state == "withdrawn":
        return Decision("unattended", at=time.time(), reason="the review was withdrawn")
    return None if record.state == "proposed" else record.decision


def _post(url: str, request: ReviewRequest) -> None:
    from pydantic import TypeAdapter

    body = TypeAdapter(ReviewRequest).dump_json(request)
    headers = {"Content-Type": "application/json"}
    sent = urllib.request.Request(url, body, headers)  # noqa: S310  the program's own URL
    with urllib.request.urlopen(sent, timeout=_NOTIFY_SECONDS):  # noqa: S310
        pass


def _differences(raw: JsonValue, shown: JsonValue, place: str = "") -> list[str]:
    """Return JSON Pointers to the values that were redacted or cut."""
    if isinstance(raw, dict) and isinstance(shown, dict) and raw.keys() == shown.keys():
        return [path for name in raw for path in _differences(raw[name], shown[name], place + pointer((name,)))]
    if isinstance(raw, list) and isinstance(shown, list) and len(raw) == len(shown):
        pairs = enumerate(zip(raw, shown, strict=True))
        return [path for index, pair in pairs for path in _differences(*pair, f"{place}/{index}")]
    return [] if json.dumps(raw) == json.dumps(shown) and not holds_placeholder(shown) else [place]


def _merged(raw: JsonValue, shown: JsonValue, edited: JsonValue) -> JsonValue:
    if edited == shown:
        return raw
    if isinstance(edited, dict) and isinstance(shown, dict) and isinstance(raw, dict):
        both = {name for name in edited if name in shown and name in raw}
        return {name: _merged(raw[name], shown[name], value) if name in both else value for name, value in edited.items()}
    if isinstance(edited, list) and isinstance(shown, list) and isinstance(raw, list) and len(edited) == len(shown) == len(raw):
        return [_merged(*values) for values in zip(raw, shown, edited, strict=True)]
    return edited
