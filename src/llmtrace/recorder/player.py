"""The interface by which a replay answers the program's calls; implemented by `llmtrace.playback`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmtrace.model import Failure, JsonValue, Operation, Review, Span

if TYPE_CHECKING:
    from llmtrace.recorder.recording import Recording


class Player:
    """Answers the calls of a program from a recorded run. At most one is active in a process."""

    def started(self, recording: Recording) -> None:
        """Note a span that the program opened."""
        raise NotImplementedError

    def ended(self, recording: Recording, operation: Operation, failure: Failure | None) -> None:
        """Note the end of a span that the program opened, with what came of it."""
        raise NotImplementedError

    def answer(self, recording: Recording, operation: Operation) -> Span | None:
        """Return the recorded span that answers a call, or None if the call is to be made.

        ``operation``: the request. Raises `ReplayDiverged` if the recording has no answer to it.
        """
        raise NotImplementedError

    def request_body(self, recording: Recording, body: bytes) -> bytes:
        """Return the bytes to send instead of ``body``, the HTTP body of a call: the same bytes, unless the request is edited.
        The body of a call that is answered from the recording is only noted.

        Raises `ReplayDiverged` if the edit does not fit this body.
        """
        raise NotImplementedError

    def resumes_at(self, recording: Recording) -> Span | None:
        """Return the recorded span if the recording ends with this checkpoint: its state replaces the program's."""
        raise NotImplementedError

    def must_run(self, recording: Recording | None, operation: Operation) -> None:
        """Note a tool that a library runs by itself, so that no recorded result can replace it. ``recording``: None if the span
        is the library's own.

        Raises `ReplayDiverged` unless the tool is meant to run.
        """
        raise NotImplementedError

    def review_of(self, question: str, digest: str, payload: JsonValue, *, take: bool) -> Review | None:
        """Return the recorded review of a call, with its decision; None if there was none.

        ``digest`` and ``payload``: as in `Review`, before redaction. ``take``: it is used now, and does not answer again.
        """
        raise NotImplementedError

    def will_run(self, tool: str) -> bool:
        """Return True if the body of this tool would run now."""
        raise NotImplementedError


_player: Player | None = None


def player() -> Player | None:
    """Return the active player, or None if the program does not run as a replay."""
    return _player


def use_player(new: Player | None) -> Player | None:
    """Make ``new`` the player of this process. Returns the previous one."""
    global _player
    before, _player = _player, new
    return before
