"""`Replay`: answers the calls of a program from a recorded run, and notes differences between the two."""

from __future__ import annotations

import os
import shlex
import sys
import sysconfig
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from llmtrace import semconv
from llmtrace.codec.recorded import request_digest
from llmtrace.errors import ConfigurationError, ReplayDiverged
from llmtrace.guards.review_settings import is_any_resumed
from llmtrace.model import AgentInvocation, Failure, JsonValue, Operation, Review, Span, ToolExecution, Workflow
from llmtrace.model.traces import short_id
from llmtrace.playback.difference import Difference, Loose, difference, difference_of_outcomes, is_of_prompts
from llmtrace.playback.permissions import Permissions
from llmtrace.playback.progress import Divergence, Kind, Progress
from llmtrace.playback.recorded_run import ANSWERED, RecordedRun, Step, is_alike, is_call
from llmtrace.playback.ways_out import Guard, is_at
from llmtrace.recorder import current
from llmtrace.recorder.player import Player
from llmtrace.recorder.recorded_outcome import recorded_outcome
from llmtrace.recorder.recording import Recording

CHANGE = "change"
"""Value of ``live_after``, instead of a span's id: go on for real from the first call without a recorded answer."""
TOP = ""
"""Id of the top of the tree of recorded steps, see `Progress.places`."""
MODEL_CALLS = "model calls"
"""The name under which calls of models are counted beside tools, see `Progress.ran`."""
_LONGEST_COMMAND = 120
_RECORDED_LIBRARIES = frozenset({"httpx", "botocore"})


class Replay(Player):
    """A replay in progress. All methods may be called from several threads.

    After the first divergence that is not served, every later call is refused with the same message. So a program that swallows
    the first refusal gets no answers that do not fit.
    """

    def __init__(
        self,
        run: RecordedRun,
        permissions: Permissions | None = None,
        *,
        key: bytes | None = None,
        loose: Loose = False,
        live_after: str | None = None,
        request_of: str | None = None,
        compares_outputs: bool = True,
        progress: Progress | None = None,
    ) -> None:
        """``permissions``: what may run for real; default, nothing. ``key``: the secret of the store that recorded the run;
        without it, contents are compared after redaction.

        ``loose``: serve the recorded answer to a request that changed (``"prompts"``: only in the program's own words to a
        model), and note the difference. ``live_after``: id of the
        recorded span with which the recording ends, or `CHANGE`; later calls of models are made for real. ``request_of``: id of
        the recorded span whose new request is kept. ``compares_outputs``: what agents return is compared, too. ``progress``:
        shared with other processes of the program.
        """
        self.run = run
        self.permissions = permissions or Permissions()
        self.progress = progress or Progress()
        self._key = key
        self._loose = loose
        self._live_after = live_after
        self._request_of = request_of
        self._compares_outputs = compares_outputs

    @property
    def divergences(self) -> list[Divergence]:
        return self.progress.read().divergences

    @property
    def served(self) -> int:
        """Calls that were answered from the recording."""
        return self.progress.read().served

    @property
    def live(self) -> int:
        """Calls that were made for real."""
        return sum(self.progress.read().ran.values())

    @property
    def connections(self) -> list[str]:
        """The servers that the program connected to outside of recorded calls, as it was allowed to."""
        return self.progress.read().connections

    # -- called by the recorder

    def started(self, recording: Recording) -> None:
        with self.progress as progress:
            if progress.trace_id is None:
                progress.note("trace", recording.trace_id)
            is_program = recording.attributes.get(semconv.PROGRAM) is True
            if is_program or (recording.outermost and recording.parent is None):
                recording.set({semconv.REPLAY_OF: self.run.trace.trace_id})
                if self.run.edited is not None:
                    recording.set({semconv.REPLAY_EDITED: self.run.edited})
            above, this_pass = self._above(recording), progress.this_pass()
            step = None if progress.is_live else self.run.place(above, recording.operation, recording.name, this_pass.taken)
            if is_program:
                step = self.run.top
            elif step is not None:
                progress.note("take", this_pass.number, step.id)
            elif not is_call(recording.operation):
                step = above  # a new agent or span of the program: match its children with those of the step above
            progress.note("place", this_pass.number, recording.span_id, None if step is None else step.id)

    def ended(self, recording: Recording, operation: Operation, failure: Failure | None) -> None:
        if not isinstance(operation, (AgentInvocation, Workflow)):
            return
        with self.progress as progress:
            step = self._place(recording)
            is_as_recorded = not progress.is_live and progress.stopped_by is None and self.run.edited is None
            if not is_as_recorded or not self._compares_outputs or step is None or step.span is None or step.span.end is None:
                return
            change = difference_of_outcomes(step.span, recording.recorder.clean(operation), failure)
            if change is not None:
                what = f"{_step_name(step.span)}: {change.text}"
                progress.note("diverge", Divergence("output", what, step.id, was=change.was, now=change.now))

    def _above(self, recording: Recording) -> Step | None:
        above = recording.parent_id if recording.parent is None else recording.parent.span_id  # perhaps in another process
        return self.run.top if above is None else self.run.step(self.progress.this_pass().places.get(above, TOP))

    def _place(self, recording: Recording | None) -> Step | None:
        return None if recording is None else self.run.step(self.progress.this_pass().places.get(recording.span_id))

    def answer(self, recording: Recording, operation: Operation) -> Span | None:
        with self.progress as progress:
            self._go_on()
            if progress.is_live:
                self._make_for_real(recording, operation)
                return None
            try:
                step = self._step_for(recording, operation)
                assert step.span is not None
                is_live = isinstance(operation, ToolExecution) and self._may_run_in_record(operation.name)
                is_live |= self.run.edit_request is not None and self.run.edited == step.span.span_id
                if not is_live:
                    self._check_answer(recording, step.span)
            except _LiveFromHere:
                self._make_for_real(recording, operation)
                return None
            progress.note("answer", progress.this_pass().number, step.id)
            if step.id == self._live_after:
                progress.note("live")
            if is_live:
                self._note_real(recording, operation)
                return None
            inner = [below.id for below in step] if isinstance(operation, ToolExecution) else []  # what the tool's body did
            if inner:
                progress.note("take", progress.this_pass().number, *inner)
                progress.note("answer", progress.this_pass().number, *inner)
            progress.note("serve")
            if step.id in self.run.unclear:
                progress.note("unclear", recording.name)
            if step.id == self.run.edited:
                progress.note("edit")
            return step.span

    def _go_on(self) -> None:
        """Raise `ReplayDiverged` if the replay was stopped, in this or another process."""
        stopped = self.progress.stopped_by
        if stopped is not None:
            raise self._error(stopped)

    def _may_run_in_record(self, tool: str) -> bool:
        """Return True if the body of a tool runs although its result is recorded."""
        return tool in self.permissions.tools or (self.progress.is_edit_used and tool in self.permissions.after)

    def request_body(self, recording: Recording, body: bytes) -> bytes:
        with self.progress as progress:
            step = self._place(recording)
            span = None if step is None else step.span
            if span is not None and span.span_id == self._request_of and progress.request is None:
                progress.note("request", body.decode(errors="replace"))
            if span is not None and span.span_id == self.run.edited and self.run.edit_request is not None:
                try:
                    body = self.run.edit_request(body)
                except ConfigurationError as error:
                    what = f"the request of {_step_name(span)} cannot be edited: {error}"
                    self._diverge(None, "incomparable", what, span.span_id)
                progress.note("edit")
                recording.set({semconv.REPLAY_EDITED: span.span_id})
            return body

    def resumes_at(self, recording: Recording) -> Span | None:
        with self.progress as progress:
            step = self._place(recording)
            if progress.is_live or step is None or step.span is None or step.id != self._live_after:
                return None
            progress.note("live")
            return step.span

    def _make_for_real(self, recording: Recording | None, operation: Operation) -> None:
        """Note a call that is made for real. Raises `ReplayDiverged` for a tool that may not run."""
        name = getattr(operation, "name", "")
        definition = getattr(operation, "definition", None)
        if isinstance(operation, ToolExecution) and not self.permissions.may_run_after(name, definition):
            what = f"the tool {name} would run for real, which was not allowed ({self.permissions.how_to_allow.format(name)})"
            self._diverge(None, "missing", what)
        self._note_real(recording, operation)

    def _note_real(self, recording: Recording | None, operation: Operation) -> None:
        self.progress.note("run", operation.name if isinstance(operation, ToolExecution) else MODEL_CALLS)
        if recording is not None:
            recording.set({semconv.REPLAY_LIVE: True})

    def must_run(self, recording: Recording | None, operation: Operation) -> None:
        name = getattr(operation, "name", "")
        with self.progress as progress:
            self._go_on()
            is_allowed = progress.is_live or self._may_run_in_record(name)
            if not is_allowed:
                how = self.permissions.how_to_allow.format(name)
                what = f"a library runs the tool {name} by itself, so its recorded result cannot be given ({how})"
                with suppress(_LiveFromHere):
                    self._diverge(recording, "incomparable", what)
            step = self._place(recording)
            if step is not None:  # the arguments are often unknown before the tool runs, so they are not compared
                progress.note("answer", progress.this_pass().number, step.id)
            if progress.is_live:
                self._make_for_real(recording, operation)
            else:
                self._note_real(recording, operation)

    def review_of(self, question: str, digest: str, payload: JsonValue, *, take: bool) -> Review | None:
        shown = request_digest(ToolExecution(question, payload))
        with self.progress as progress:
            for span in () if progress.is_live else self.run.trace.spans:
                review = span.operation
                if not isinstance(review, Review) or review.question != question or span.span_id in progress.reviewed:
                    continue
                if review.digest == digest or request_digest(ToolExecution(question, review.payload)) == shown:
                    if take:
                        progress.note("review", span.span_id)
                    return review
        return None

    def will_run(self, tool: str) -> bool:
        with self.progress as progress:
            return progress.is_live or self._may_run_in_record(tool)

    def guard(self, variable: str | None = None) -> Guard:
        """Return what refuses the ways out of a process. ``variable``: as in `Guard`."""
        return Guard(self.refuse_network, self.refuse_program, variable)

    def refuse_network(self, address: str) -> ReplayDiverged | None:
        """Return the error for a connection that no recorded call answers, or None if it is allowed; for `ways_out.guarded`."""
        with self.progress as progress:
            recording = current()
            if progress.is_live or _is_within_real_call(recording):
                return None
            if recording is not None and isinstance(recording.operation, ANSWERED):
                library = _calling_library()
                by_hand = "which the program records itself, so that its answer is not kept (a tool around it is)"
                how_sent = f"which is sent by {library or 'the program itself'}, whose answers are not recorded"
                what = f"{recording.name}, {by_hand if library in _RECORDED_LIBRARIES else how_sent}, cannot be answered"
                return self._refusal(recording, "incomparable", what)
            server = next((server for server in self.permissions.servers if is_at(address, server)), None)
            if server is not None:
                if server not in progress.connections:
                    progress.note("connect", server)
                return None
            what = (
                f"the program connects to {address} by {_calling_library() or 'itself'}, and no recorded call answers that "
                f"(what a function with @tool does is recorded; to let it connect: --connect {address})"
            )
            return self._refusal(None, "network", what)

    def refuse_program(self, program: str, words: Sequence[str]) -> ReplayDiverged | None:
        """Return the error for another program that this one starts, or None if it is named; for `ways_out.guarded`."""
        with self.progress as progress:
            if _is_within_real_call(current()):
                return None
            name = os.path.basename(program)
            if self.permissions.may_start(program, is_live=progress.is_live):
                if name not in progress.programs:
                    progress.note("start", name)
                return None
            command = shlex.join(words)
            shown = command if len(command) <= _LONGEST_COMMAND else f"{command[:_LONGEST_COMMAND]}…"
            what = (
                f"the program starts {name}, and what that does is not seen here: {shown} "
                f"(what a function with @tool does is recorded; to let it start: --allow-program {name})"
            )
            return self._refusal(None, "program", what)

    def _refusal(self, recording: Recording | None, kind: Kind, what: str) -> ReplayDiverged | None:
        try:
            self._diverge(recording, kind, what)
        except ReplayDiverged as error:
            return error
        except _LiveFromHere:
            assert recording is not None
            self._note_real(recording, recording.operation)
        return None

    def finish(self) -> None:
        """Note the recorded calls that the program did not make, after it has ended."""
        with self.progress as progress:
            if progress.stopped_by is None and not progress.is_live:
                for taken in [one.taken for one in progress.passes.values()] or [set[str]()]:
                    for span in self.run.unused(taken):
                        what = f"{_step_name(span)} was recorded, and did not happen"
                        progress.note("diverge", Divergence("left over", what, span.span_id))
            if self.run.edited is not None and not progress.is_edit_used and progress.stopped_by is None:
                what = "the edit was not used: the program did not come to this step, or the step was made for real"
                progress.note("diverge", Divergence("incomparable", what, self.run.edited))

    # -- the place of a call

    def _step_for(self, recording: Recording, operation: Operation) -> Step:
        step = self._place(recording)
        if step is None or step.span is None:
            taken = self.progress.this_pass().taken
            expected = next((step.span for step in self.run.calls() if step.id not in taken), None)
            if expected is None and self.run.was_killed:
                self._diverge(
                    recording, "killed", f"{recording.name} comes after the end of the recorded run, which was killed"
                )
            following = "the recording has no further call" if expected is None else f"next was {_step_name(expected)}"
            what = f"the program makes a call that was not recorded there: {recording.name} ({following})"
            self._diverge(recording, "missing", what)
            raise AssertionError
        if step.span.end is None:
            what = f"the recording ends in {_step_name(step.span)}, so that its outcome is not known"
            kind: Kind = "killed" if self.run.was_killed else "incomparable"
            self._diverge(recording, kind, what, step.span.span_id)
        if self._is_same(step.span, recording, operation):
            return step
        sibling = self._sibling(recording, operation)
        if sibling is not None:  # parallel calls may start in another order: swap places with the one whose request is equal
            this_pass = self.progress.this_pass()
            if sibling.id not in this_pass.taken:
                self.progress.note("free", this_pass.number, step.id)
            for span_id in [span_id for span_id, place in this_pass.places.items() if place == sibling.id]:
                self.progress.note("place", this_pass.number, span_id, step.id)
            self.progress.note("take", this_pass.number, sibling.id)
            self.progress.note("place", this_pass.number, recording.span_id, sibling.id)
            return sibling
        now = recording.recorder.clean(operation)
        change = difference(step.span.operation, now)
        how = ", in what was redacted or cut" if change is None else f": {change.text}"
        what = f"{_step_name(step.span)} asks for something else{how}"
        may_serve = self._loose is True or (self._loose == "prompts" and is_of_prompts(step.span.operation, now))
        self._diverge(recording, "changed", what, step.span.span_id, change, may_serve=may_serve)
        return step

    def _sibling(self, recording: Recording, operation: Operation) -> Step | None:
        above, answered = self._above(recording), self.progress.this_pass().answered
        for step in () if above is None else above.below:
            is_free = step.id not in answered and step.span is not None and is_alike(step.span, operation, recording.name)
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
                self._diverge(recording, "incomparable", str(error), span.span_id)
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
        self._diverge(recording, "incomparable", why, span.span_id)

    # -- differences

    def _diverge(
        self,
        recording: Recording | None,
        kind: Kind,
        what: str,
        span_id: str | None = None,
        change: Difference | None = None,
        *,
        may_serve: bool = False,
    ) -> None:
        was, now = ("", "") if change is None else (change.was, change.now)
        divergence = Divergence(kind, what, span_id, _program_line(), may_serve, was, now)
        if recording is not None:
            recording.set({semconv.REPLAY_DIVERGED: kind})
            if self._live_after == CHANGE and not is_any_resumed():  # a resumed run must not repeat what it did before
                self.progress.note("live", divergence)
                raise _LiveFromHere
        self.progress.note("diverge" if may_serve else "stop", divergence)
        if not may_serve:
            raise self._error(divergence)

    def _error(self, divergence: Divergence) -> ReplayDiverged:
        return ReplayDiverged(f"replay of {short_id(self.run.trace.trace_id)}: {divergence.what}", kind=divergence.kind)


def _is_within_real_call(recording: Recording | None) -> bool:
    """Return True within a call that is made for real."""
    while recording is not None and recording.attributes.get(semconv.REPLAY_LIVE) is not True:
        recording = recording.parent
    return recording is not None


class _LiveFromHere(Exception):
    """The recording has no answer to this call, and the replay continues for real."""


def _step_name(span: Span) -> str:
    return f"{span.name} [{span.span_id[:8]}]"


def outcome_of(divergences: Collection[Divergence]) -> Literal["same", "killed", "diverged", "incomparable"]:
    """Return the overall outcome of a replay. ``killed``: the same up to where the recorded run was killed."""
    kinds = {divergence.kind for divergence in divergences}
    if "incomparable" in kinds:
        return "incomparable"
    return "diverged" if kinds - {"killed"} else "killed" if kinds else "same"


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
    """Return the package that the program's own code called on this thread's stack: ``aiohttp``, ``botocore`` …; else ""."""
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
    return library


_BETWEEN = frozenset({"wrapt", "opentelemetry", "site-packages"})
_OURS = str(Path(__file__).resolve().parent.parent) + os.sep
_LIBRARIES = tuple(
    sorted({sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib")}, key=len, reverse=True)
)
"""Longest paths first, because the folder of packages is inside the standard library's folder."""
