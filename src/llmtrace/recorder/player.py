"""Where a replay answers the program's calls in place of the world: see `llmtrace.playback`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmtrace.model import JsonValue, Operation, Review, Span

if TYPE_CHECKING:
    from llmtrace.recorder.recording import Recording


class Player:
    """Answers the calls of a program from a recorded run. At most one is at work in a process."""

    def started(self, recording: Recording) -> None:
        """Take note of a span that the program opened."""
        raise NotImplementedError

    def answer(self, recording: Recording, operation: Operation) -> Span | None:
        """Return the recorded span that answers a call; None: it is to be made.

        ``operation`` is what the call asks for. Raises `ReplayDiverged` if the recording has no answer to that.
        """
        raise NotImplementedError

    def request_body(self, recording: Recording, body: bytes) -> bytes:
        """Return what a call sends in place of ``body``, the HTTP body that the library made of it: the same bytes, unless the
        request is edited. What a call sends that is answered from the recording is only taken note of.

        Raises `ReplayDiverged` if the edit does not fit this body.
        """
        raise NotImplementedError

    def resumes_at(self, recording: Recording) -> Span | None:
        """Return the recorded span if the recording ends with this checkpoint: its state takes the place of the program's."""
        raise NotImplementedError

    def must_run(self, recording: Recording | None, operation: Operation) -> None:
        """Take note of a tool that a library runs by itself, so that no recorded result can take its place. ``recording``: None
        where the span is the library's own.

        Raises `ReplayDiverged` unless the tool is meant to run.
        """
        raise NotImplementedError

    def review_of(self, question: str, digest: str, payload: JsonValue, *, take: bool) -> Review | None:
        """Return the recorded review of a call, with its decision; None if there was none.

        ``digest`` and ``payload``: as of `Review`, before redaction. ``take``: it is used now, and does not answer again.
        """
        raise NotImplementedError

    def will_run(self, tool: str) -> bool:
        """Return True if the body of this tool would run now."""
        raise NotImplementedError


_player: Player | None = None


def player() -> Player | None:
    """The player that is at work; None where the program does not run as a replay."""
    return _player


def use_player(new: Player | None) -> Player | None:
    """Make ``new`` the player of this process. Returns the one before."""
    global _player
    before, _player = _player, new
    return before
