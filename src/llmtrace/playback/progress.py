"""How far a replay has come, for all processes of the program.

Each change is a line of JSON in one file. A process that takes a step locks the file, reads the lines that others have added,
decides, and adds its own. So a recorded answer is given once, whoever asks for it; a process that dies gives up the lock; and
nothing needs to be reported when a process ends, because it may be killed.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, TypeAlias

from llmtrace.locks import fork_safe_lock
from llmtrace.model.value import value

try:
    import fcntl
except ImportError:  # Windows has other locks: there two processes may take the same step
    fcntl = None  # type: ignore[assignment]

Kind: TypeAlias = Literal["changed", "missing", "incomparable", "network", "program", "killed", "left over", "output"]


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


class Pass:
    """One pass over the recording. A program and its workers make one together. Programs that a script starts one after the
    other, and that were recorded as runs of their own, make one each."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.places: dict[str, str | None] = {}
        """Ids of recorded spans by the ids of the new run's spans: its place; "" for the top, None for none."""
        self.taken: set[str] = set()
        """Ids of the recorded spans at whose place there is a span of the new run."""
        self.answered: set[str] = set()
        """Ids of the recorded spans whose answer the program got."""


class Progress:
    """``with progress:`` reads what other processes have done, and keeps them out until the block ends."""

    def __init__(self, file: Path | None = None) -> None:
        """``file``: shared by the processes of the replay; None: the replay is in this process alone."""
        self._file = file
        self._lock = fork_safe_lock()
        self._depth = 0
        self._process = os.getpid()
        self._open: BinaryIO | None = None
        self._read = 0
        self._new: list[bytes] = []
        self.trace_id: str | None = None
        """The trace of the new run; None before its first span."""
        self.passes: dict[int, Pass] = {}
        """By number, which is the id of the process that began it."""
        self._pass_of: dict[int, int] = {}
        """By the id of a process that opened a span, the number of its pass."""
        self.reviewed: list[str] = []
        """Ids of the recorded reviews whose decision was used."""
        self.served = 0
        self.ran: dict[str, int] = {}
        """How often each tool ran for real, by name; model calls by ``chat`` and so on."""
        self.divergences: list[Divergence] = []
        self.went_live: Divergence | None = None
        self.stopped_by: Divergence | None = None
        self.is_live = False
        self.is_edit_used = False
        self.is_over = False
        """True once the processes are ended: one that only now begins to take part must end itself."""
        self.is_online = False
        """True if a process could not give up the network, see `no_network`."""
        self.connections: list[str] = []
        self.programs: list[str] = []
        """Other programs that it started, as allowed."""
        self.unclear: list[str] = []
        """Names of the answered calls that had an equal one at the same time, with another answer: which of both the program
        got is chance."""
        self.request: str | None = None
        """The HTTP body that was asked for with ``request_of`` of a `Replay`."""
        self.processes: list[int] = []
        """Ids of the Python processes that take part."""

    def __enter__(self) -> Progress:
        self._lock.__enter__()
        if self._process != os.getpid():  # forked, perhaps while another thread was in the block
            self._process, self._depth, self._open = os.getpid(), 0, None
            self._new.clear()
        self._depth += 1
        if self._depth == 1 and self._file is not None:
            try:
                self._open = self._file.open("a+b")
                if fcntl is not None:
                    fcntl.flock(self._open, fcntl.LOCK_EX)
                self._catch_up(self._open)
            except OSError:
                self._close()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self._depth == 1 and self._open is not None:
                data = b"".join(self._new)
                self._new.clear()
                with suppress(OSError):  # the disk is full: other processes do not see it
                    self._open.write(data)
                    self._open.flush()
                    self._read += len(data)
                self._close()
        finally:
            self._depth -= 1
            self._lock.__exit__(kind, error, trace)

    def _close(self) -> None:
        file, self._open = self._open, None
        if file is not None:
            with suppress(OSError):
                file.close()  # gives up the lock

    def note(self, change: str, *values: Any) -> None:
        """Make a change, here and for the other processes. Call it in the block."""
        values = tuple(asdict(value) if isinstance(value, Divergence) else value for value in values)
        self._apply(change, *values)
        if self._file is not None:
            self._new.append(json.dumps([change, *values]).encode() + b"\n")

    def this_pass(self) -> Pass:
        """Return this process's pass over the recording. Call it in the block."""
        process = os.getpid()
        if process not in self._pass_of:
            is_worker, parent = _parent()
            self.note("pass", process, self._pass_of.get(parent, parent if is_worker else process))
        return self.passes[self._pass_of[process]]

    def read(self) -> Progress:
        """Return it with all changes so far."""
        with self:
            return self

    @property
    def has_begun(self) -> bool:
        """True if the program opened a span, or tried something that a replay refuses."""
        return self.trace_id is not None or bool(self.divergences)

    def _catch_up(self, file: BinaryIO) -> None:
        file.seek(self._read)
        for line in file:
            if not line.endswith(b"\n"):
                file.truncate(self._read)  # the process was killed while it wrote
                break
            self._read += len(line)
            self._apply(*json.loads(line))

    def _apply(self, change: str, *values: Any) -> None:
        if change in _LISTS:
            getattr(self, _LISTS[change]).extend(values)
        elif change in _SETS:
            number, *spans = values
            getattr(self.passes[number], _SETS[change]).update(spans)
        elif change == "free":
            number, *spans = values
            self.passes[number].taken.difference_update(spans)
        elif change == "place":
            number, span_id, place = values
            self.passes[number].places[span_id] = place
        elif change == "pass":
            process, number = values
            self._pass_of[process] = number
            self.passes.setdefault(number, Pass(number))
        elif change == "run":
            self.ran[values[0]] = self.ran.get(values[0], 0) + 1
        elif change == "serve":
            self.served += 1
        else:
            self._turn(change, *values)

    def _turn(self, change: str, *values: Any) -> None:
        """Apply a change that comes once in a replay, or that the whole replay turns on."""
        if change == "trace":
            self.trace_id = values[0]
        elif change == "request":
            self.request = values[0]
        elif change == "edit":
            self.is_edit_used = True
        elif change == "online":
            self.is_online = True
        elif change == "over":
            self.is_over = True
        elif change == "live":
            self.is_live = True
            self.went_live = Divergence(**values[0]) if values else self.went_live
        else:  # "diverge", "stop"
            divergence = Divergence(**values[0])
            self.divergences.append(divergence)
            self.stopped_by = divergence if change == "stop" else self.stopped_by


_LISTS = {
    "process": "processes",
    "review": "reviewed",
    "connect": "connections",
    "start": "programs",
    "unclear": "unclear",
}
_SETS = {"take": "taken", "answer": "answered"}
"""Changes that add to a list, or to a set of a pass, and its name."""

_is_forked = False


def _note_fork() -> None:
    global _is_forked
    _is_forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def _parent() -> tuple[bool, int]:
    """Return True for a worker of a program, and the id of the process that it belongs to."""
    workers = sys.modules.get("multiprocessing.process")
    parent = None if workers is None else workers.parent_process()
    if parent is not None and parent.pid is not None:
        return True, parent.pid
    return _is_forked, os.getppid()
