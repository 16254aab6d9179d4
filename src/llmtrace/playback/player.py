"""`Replay`: answers the calls of a program from a recorded run, and notes differences between the two."""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeAlias

from llmtrace import semconv
from llmtrace.codec.recorded import request_digest
from llmtrace.errors import ConfigurationError, ReplayDiverged
from llmtrace.guards.review_settings import is_any_resumed
from llmtrace.model import JsonValue, Operation, Review, Span, ToolExecution
from llmtrace.model.traces import short_id
from llmtrace.model.value import value
from llmtrace.playback.difference import Difference, difference
from llmtrace.playback.network_guard import is_at
from llmtrace.playback.recorded_run import ANSWERED, RecordedRun, Step, is_alike, is_call
from llmtrace.recorder import current
from llmtrace.recorder.player import Player
from llmtrace.recorder.recorded_outcome import recorded_outcome
from llmtrace.recorder.recording import Recording

CHANGE = "change"
"""Value of ``live_after``, instead of a span's id: go on for real from the first call without a recorded answer."""

Kind: TypeAlias = Literal["changed", "missing", "incomparable", "network", "left over"]


@value
class Divergence:
    """A difference between the new run and the recorded one."""

    kind: Kind
    what: str
    """One sentence."""
    span_id: str | None = None
    """The recorded span."""
    where: str = ""
    """The line of the program that made the call, as ``file:line``; empty if no such line was found."""
    is_served: bool = False
    """True if the program got the recorded answer all the same (`Replay` with ``loose``)."""
    was: str = ""
    """For ``changed``: the whole recorded text at the first difference."""
    now: str = ""
    """For ``changed``: the text of the new run at the same place."""


class Replay(Player):
    """A replay in progress. All methods may be called from several threads.

    After the first divergence that is not served, every later call is refused with the same message. So a program that swallows
    the first refusal gets no answers that do not fit.
    """

    def __init__(
        self,
        run: RecordedRun,
        *,
        key: bytes | None = None,
        loose: bool = False,
        live_tools: Collection[str] = (),
        live_after: str | None = None,
        may_run: Collection[str] | None = None,
        request_of: str | None = None,
        connect: Collection[str] = (),
    ) -> None:
        """``key``: the secret of the store that recorded the run; without it, contents are compared after redaction.

        ``loose``: serve the recorded answer to a request that changed, and note the difference. ``live_tools``: names of tools
        whose bodies run. ``live_after``: id of the recorded span with which the recording ends, or `CHANGE`; later calls are
        made for real. ``may_run``: names of the tools whose bodies may run after that; default, all. ``request_of``: id of the
        recorded span whose new request is kept in ``request``. ``connect``: ``HOST:PORT`` of servers that the program may
        connect to outside of a recorded call.
        """
        self.run = run
        self.divergences: list[Divergence] = []
        self.served = 0
        """Calls that were answered from the recording."""
        self.live = 0
        """Calls that were made for real."""
        self.went_live: Divergence | None = None
        """With `CHANGE`: the first difference, after which calls were made for real."""
        self.request: bytes | None = None
        """The HTTP body that the program makes for the span of ``request_of``."""
        self.trace_id: str | None = None
        """The trace of the new run; None before its first span."""
        self._key = key
        self._loose = loose
        self._live_tools = frozenset(live_tools)
        self._live_after = live_after
        self._may_run = may_run
        self._request_of = request_of
        self._connect = tuple(connect)
        self.connections: list[str] = []
        """The servers in ``connect`` that the program connected to."""
        self._is_edit_used = False
        self._is_live = False
        self._stopped_by: ReplayDiverged | None = None
        self._reviewed: set[str] = set()
        """Ids of the recorded reviews whose decision was used."""
        self._places: dict[str, Step | None] = {}
        """The place of each span of the new run, by span id."""
        self._lock = threading.RLock()

    @property
    def has_begun(self) -> bool:
        """Return True if the program opened a span or tried to use the network."""
        return self.trace_id is not None or bool(self.divergences)

    # -- called by the recorder

    def started(self, recording: Recording) -> None:
        with self._lock:
            self.trace_id = self.trace_id or recording.trace_id
            is_program = recording.attributes.get(semconv.PROGRAM) is True
            if is_program or (recording.outermost and recording.parent is None):
                recording.set({semconv.REPLAY_OF: self.run.trace.trace_id})
                if self.run.edited is not None:
                    recording.set({semconv.REPLAY_EDITED: self.run.edited})
            if is_program:
                self._places[recording.span_id] = self.run.top
                return
            above = self._above(recording)
            step = None if self._is_live else self.run.place(above, recording.operation, recording.name)
            if step is None and not is_call(recording.operation):
                step = above  # a new agent or span of the program: match its children with those of the step above
            self._places[recording.span_id] = step

    def _above(self, recording: Recording) -> Step | None:
        above = recording.parent_id if recording.parent is None else recording.parent.span_id  # perhaps in another process
        return self.run.top if above is None else self._places.get(above, self.run.top)

    def answer(self, recording: Recording, operation: Operation) -> Span | None:
        with self._lock:
            if self._stopped_by is not None:
                raise self._stopped_by
            if self._is_live:
                self._check_may_run(operation)
                self._make_for_real(recording)
                return None
            try:
                step = self._step_for(recording, operation)
                assert step.span is not None
                is_live = isinstance(operation, ToolExecution) and operation.name in self._live_tools
                is_live |= self.run.edit_request is not None and self.run.edited == step.span.span_id
                if not is_live:
                    self._check_answer(recording, step.span)
            except _LiveFromHere:
                self._make_for_real(recording)
                return None
            step.is_answered = True
            self._is_live = step.span.span_id == self._live_after
            if is_live:
                self._make_for_real(recording)
                return None
            for inner in step if isinstance(operation, ToolExecution) else ():  # what the tool's body did
                inner.is_taken = inner.is_answered = True
            self.served += 1
            self._is_edit_used |= step.span.span_id == self.run.edited
            return step.span

    def request_body(self, recording: Recording, body: bytes) -> bytes:
        with self._lock:
            step = self._places.get(recording.span_id)
            span = None if step is None else step.span
            if span is not None and span.span_id == self._request_of:
                self.request = body
            if span is not None and span.span_id == self.run.edited and self.run.edit_request is not None:
                try:
                    body = self.run.edit_request(body)
                except ConfigurationError as error:
                    what = f"the request of {_step_name(span)} cannot be edited: {error}"
                    self._diverge(None, "incomparable", what, span.span_id)
                self._is_edit_used = True
                recording.set({semconv.REPLAY_EDITED: span.span_id})
            return body

    def resumes_at(self, recording: Recording) -> Span | None:
        with self._lock:
            step = self._places.get(recording.span_id)
            if self._is_live or step is None or step.span is None or step.span.span_id != self._live_after:
                return None
            self._is_live = True
            return step.span

    def _check_may_run(self, operation: Operation) -> None:
        is_tool = isinstance(operation, ToolExecution)
        name = getattr(operation, "name", "")
        if is_tool and self._may_run is not None and name not in self._may_run:
            what = f"the tool {name} would run for real, which was not allowed (--tool {name}=live)"
            self._diverge(None, "missing", what, None)

    def _make_for_real(self, recording: Recording | None) -> None:
        self.live += 1
        if recording is not None:
            recording.set({semconv.REPLAY_LIVE: True})

    def must_run(self, recording: Recording | None, operation: Operation) -> None:
        name = getattr(operation, "name", "")
        with self._lock:
            if self._stopped_by is not None:
                raise self._stopped_by
            if self._is_live:
                self._check_may_run(operation)
            elif name not in self._live_tools:
                what = f"a library runs the tool {name} by itself, so its recorded result cannot be given (--tool {name}=live)"
                with suppress(_LiveFromHere):
                    self._diverge(recording, "incomparable", what, None)
            step = None if recording is None else self._places.get(recording.span_id)
            if step is not None:  # the arguments are often unknown before the tool runs, so they are not compared
                step.is_answered = True
            self._make_for_real(recording)

    def review_of(self, question: str, digest: str, payload: JsonValue, *, take: bool) -> Review | None:
        shown = request_digest(ToolExecution(question, payload))
        with self._lock:
            for span in () if self._is_live else self.run.trace.spans:
                review = span.operation
                if not isinstance(review, Review) or review.question != question or span.span_id in self._reviewed:
                    continue
                if review.digest == digest or request_digest(ToolExecution(question, review.payload)) == shown:
                    if take:
                        self._reviewed.add(span.span_id)
                    return review
        return None

    def will_run(self, tool: str) -> bool:
        with self._lock:
            return self._is_live or tool in self._live_tools

    def refuse_network(self, address: str) -> ReplayDiverged | None:
        """Return the error for a connection that no recorded call answers, or None if it is allowed; for `no_network`."""
        with self._lock:
            recording = around = current()
            while around is not None and around.attributes.get(semconv.REPLAY_LIVE) is not True:
                around = around.parent
            if self._is_live or around is not None:  # the span around is a call that is made for real
                return None
            if recording is not None and isinstance(recording.operation, ANSWERED):
                sender = f"by {_calling_library()}, and not by httpx or botocore"
                unanswered = f"{recording.name} is sent {sender}, so that its answer is not recorded"
                how: tuple[Recording | None, Kind, str] = recording, "incomparable", unanswered
            elif (server := next((server for server in self._connect if is_at(address, server)), None)) is not None:
                self.connections += [] if server in self.connections else [server]
                return None
            else:
                unanswered = (
                    f"the program connects to {address} by {_calling_library()}, and no recorded call answers that "
                    f"(what a function with @tool does is recorded; to let it connect: --connect {address})"
                )
                how = None, "network", unanswered
            try:
                self._diverge(*how, None)
            except ReplayDiverged as error:
                return error
            except _LiveFromHere:
                self._make_for_real(how[0])
        return None

    def finish(self) -> None:
        """Note the recorded calls that the program did not make, after it has ended."""
        with self._lock:
            if self._stopped_by is None and not self._is_live:
                for span in self.run.unused():
                    self.divergences.append(
                        Divergence("left over", f"{_step_name(span)} was recorded, and did not happen", span.span_id)
                    )
            if self.run.edited is not None and not self._is_edit_used and self._stopped_by is None:
                what = "the edit was not used: the program did not come to this step, or the step was made for real"
                self.divergences.append(Divergence("incomparable", what, self.run.edited))

    # -- the place of a call

    def _step_for(self, recording: Recording, operation: Operation) -> Step:
        step = self._places.get(recording.span_id)
        if step is None or step.span is None:
            expected = next((step.span for step in self.run.calls() if not step.is_taken), None)
            following = "the recording has no further call" if expected is None else f"next was {_step_name(expected)}"
            what = f"the program makes a call that was not recorded there: {recording.name} ({following})"
            self._diverge(recording, "missing", what, None)
            raise AssertionError
        if step.span.end is None:
            what = f"the recording ends in {_step_name(step.span)}, so that its outcome is not known"
            self._diverge(recording, "incomparable", what, step.span.span_id, may_serve=False)
        if self._is_same(step.span, recording, operation):
            return step
        sibling = self._sibling(recording, operation)
        if sibling is not None:  # parallel calls may start in another order: swap places with the one whose request is equal
            sibling.is_taken, step.is_taken = True, sibling.is_taken
            for span_id, place in list(self._places.items()):
                if place is sibling:
                    self._places[span_id] = step
            self._places[recording.span_id] = sibling
            return sibling
        change = difference(step.span.operation, recording.recorder.clean(operation))
        how = ", in what was redacted or cut" if change is None else f": {change.text}"
        what = f"{_step_name(step.span)} asks for something else{how}"
        self._diverge(recording, "changed", what, step.span.span_id, change)
        return step

    def _sibling(self, recording: Recording, operation: Operation) -> Step | None:
        above = self._above(recording)
        for step in () if above is None else above.below:
            is_free = not step.is_answered and step.span is not None and is_alike(step.span, operation, recording.name)
            if is_free and step.span is not None and self._is_same(step.span, recording, operation):
                return step
        return None

    def _is_same(self, span: Span, recording: Recording, operation: Operation) -> bool:
        recorded = "" if span.recorded is None else span.recorded.request
        if recorded and self._key is not None:
            return request_digest(operation, self._key) == recorded
        return request_digest(span.operation) == request_digest(recording.recorder.clean(operation))

    def _check_answer(self, recording: Recording, span: Span) -> None:
        """Raise `ReplayDiverged` if the recorded answer cannot be given again."""
        if isinstance(span.operation, ToolExecution):
            try:
                recorded_outcome(span)
            except ReplayDiverged as error:
                self._diverge(recording, "incomparable", str(error), span.span_id, may_serve=False)
            return
        recorded = span.recorded
        if recorded is not None and recorded.exchanges:
            return
        name = _step_name(span)
        if recorded is not None and recorded.unusable:
            why = f"the recorded answer of {name} was {recorded.unusable}, so the program cannot be given what it read then"
        elif recorded is None:
            why = f"{name} was recorded without what a replay needs (configure(replayable=False), or an older llmtrace)"
        else:
            transport = "a transport that is recorded (httpx, botocore)"
            why = f"{name} was not answered over {transport}, so its answer cannot be given again"
        self._diverge(recording, "incomparable", why, span.span_id, may_serve=False)

    # -- differences

    def _diverge(
        self,
        recording: Recording | None,
        kind: Kind,
        what: str,
        span_id: str | None,
        change: Difference | None = None,
        *,
        may_serve: bool = True,
    ) -> None:
        is_served = self._loose and kind == "changed" and may_serve
        was, now = ("", "") if change is None else (change.was, change.now)
        divergence = Divergence(kind, what, span_id, _program_line(), is_served, was, now)
        if recording is not None:
            recording.set({semconv.REPLAY_DIVERGED: kind})
            if self._live_after == CHANGE and not is_any_resumed():  # a resumed run must not repeat what it did before
                self.went_live, self._is_live = divergence, True
                raise _LiveFromHere
        self.divergences.append(divergence)
        if not is_served:
            self._stopped_by = ReplayDiverged(f"replay of {short_id(self.run.trace.trace_id)}: {what}", kind=kind)
            raise self._stopped_by


class _LiveFromHere(Exception):
    """The recording has no answer to this call, and the replay continues for real."""


def _step_name(span: Span) -> str:
    return f"{span.name} [{span.span_id[:8]}]"


def outcome_of(divergences: Collection[Divergence]) -> Literal["same", "diverged", "incomparable"]:
    """Return the overall outcome of a replay."""
    if any(divergence.kind == "incomparable" for divergence in divergences):
        return "incomparable"
    return "diverged" if divergences else "same"


# -- where the program made a call


def _program_line() -> str:
    """Return the innermost line of the program's own code on this thread's stack, not of llmtrace or a library."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((_OURS, *_LIBRARIES, "<")):
            return f"{os.path.relpath(file) if file.startswith(os.getcwd() + os.sep) else file}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def _calling_library() -> str:
    """Return the package that the program's own code called on this thread's stack: ``aiohttp``, ``botocore`` …"""
    frame, library = sys._getframe(1), ""
    while frame is not None:
        file = frame.f_code.co_filename
        folder = next((folder for folder in _LIBRARIES if file.startswith(folder)), None)
        if folder is not None and not file.startswith(_OURS):
            name = file[len(folder) :].partition(os.sep)[0].removesuffix(".py")
            library = library if name in _BETWEEN else name
        elif not file.startswith((_OURS, "<")):
            break
        frame = frame.f_back  # type: ignore[assignment]
    return library or "itself"


_BETWEEN = frozenset({"wrapt", "opentelemetry", "site-packages"})
_OURS = str(Path(__file__).resolve().parent.parent) + os.sep
_LIBRARIES = tuple(
    sorted({sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib")}, key=len, reverse=True)
)
"""Longest paths first, because the folder of packages is inside the standard library's folder."""
