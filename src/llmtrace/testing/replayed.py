"""`ReplayedRun`: a test runs an agent, or a whole program, with every call answered from a recording beside the test."""

from __future__ import annotations

import asyncio
import collections
import inspect
import sys
import tempfile
import warnings
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from llmtrace.errors import ReplayDiverged
from llmtrace.launch.replay_process import SAME, find_program, run_replay
from llmtrace.launch.replayed import Assignment
from llmtrace.model import Trace
from llmtrace.model.value import replace
from llmtrace.playback import Replay
from llmtrace.playback.difference import Loose
from llmtrace.playback.permissions import Permissions
from llmtrace.playback.player import CHANGE
from llmtrace.playback.recording_file import read_recording, write_recording
from llmtrace.playback.replay_block import ToolPolicy, permissions_of, replaying
from llmtrace.store import Query, open_store
from llmtrace.testing.captured import Captured, capture
from llmtrace.testing.run import Run

RECORD = "--llmtrace-record"
"""Option of pytest that records a changed program again."""
ALLOW = "--llmtrace-allow"
"""Option of pytest that names a tool that may then run for real although it changes something."""


class ReplayedRun(Run):
    """A new run of a recorded one: ``with ReplayedRun(file): …`` for code of this process, `run` for another program.

    `call` is the block around one function. Raises AssertionError if the program does not do what the recorded one did. With
    ``record``, it goes on for real from there; `keep` then replaces the recording by the new run.
    """

    def __init__(
        self,
        recording: Path,
        *,
        tools: Mapping[str, ToolPolicy] | None = None,
        programs: Collection[str] = (),
        loose: Loose = False,
        record: bool = False,
        allow: Collection[str] = (),
    ) -> None:
        """``recording``: a file that ``llmtrace to-test`` or ``llmtrace export`` wrote. ``tools``, ``programs``, ``loose``:
        as in `llmtrace.replay`. ``allow``: names of tools that change something, and may run for real with ``record``. Raises
        `ConfigurationError` for a wrong policy of a tool."""
        self._recording = recording
        self._allow = tuple(allow)
        self._permitted = permissions_of(tools or {}, programs=programs)
        self._record = record
        self._loose = loose
        self._open = ExitStack()
        self._captured: Captured | None = None
        self._replay: Replay | None = None
        self._loaded: tuple[Trace, ...] = ()
        self.is_same = True
        """False if the program did not do what the recorded one did. Its traces then do not show the agent's behaviour."""

    @property
    def traces(self) -> tuple[Trace, ...]:
        """The traces of the new run, oldest first."""
        return self._loaded if self._captured is None else self._captured.traces

    def __enter__(self) -> ReplayedRun:
        *_, trace = read_recording(self._recording)
        with ExitStack() as opened:  # a wrong option must not leave the capture open
            self._captured = opened.enter_context(capture())
            block = replaying(
                trace,
                self._permissions(),
                loose=self._loose,
                live_after=CHANGE if self._record else None,
                compares_outputs=False,
            )
            self._replay = opened.enter_context(block)
            self._open = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        __tracebackhide__ = True
        assert self._captured is not None
        assert self._replay is not None
        try:
            self._open.__exit__(kind, error, trace)
            self._warn([divergence.what for divergence in self._replay.divergences if divergence.is_served])
            if isinstance(error, ReplayDiverged):  # the program did not swallow it
                raise error
        except ReplayDiverged as diverged:
            if not (self._record and diverged.kind == "left over"):
                what = [f"{divergence.kind}: {divergence.what}" for divergence in self._replay.divergences]
                raise self._differs(what) from None
        finally:
            self._loaded, self._captured = self._captured.traces, None

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> ReplayedRun:
        """Call an agent's function; await it if it is async. Raises its exceptions, and AssertionError if the run differs."""
        __tracebackhide__ = True
        with self:
            result = function(*args, **kwargs)
            if inspect.isawaitable(result):
                asyncio.run(_awaited(result))
            elif inspect.isgenerator(result):
                collections.deque(result, maxlen=0)
        return self

    def run(self, *command: str, timeout: float | None = None) -> ReplayedRun:
        """Run a program to its end, such as ``run("python", "agent.py")``, with the Python of the test.

        ``timeout``: seconds until it is killed; default, none.

        Raises AssertionError also if the program ends with an exit code other than 0; the message contains its stderr.
        """
        __tracebackhide__ = True
        traces = read_recording(self._recording)
        with tempfile.TemporaryDirectory(prefix="llmtrace-test-") as folder:
            assignment = Assignment(
                str(self._recording),
                [trace.trace_id for trace in reversed(traces)],
                folder,
                permissions=self._permissions(),
                loose=self._loose,
                compares_outputs=False,  # the test says what the answer must be
                live_after=CHANGE if self._record else None,
            )
            words = [sys.executable if command[0] in ("python", "python3") else command[0], *command[1:]]
            ran = run_replay(find_program(words), assignment, quiet=True, timeout=timeout)
            with open_store(folder) as store:
                new_traces = [store.trace(summary.trace_id) for summary in store.traces(Query(limit=1_000_000))]
        self._loaded = tuple(sorted(new_traces, key=lambda trace: trace.spans[0].start))
        self._warn([place["what"] for place in ran.divergences if place["is_served"]])
        unanswered = [place for place in ran.divergences if not place["is_served"]]
        divergences = [place for place in unanswered if not (self._record and place["kind"] == "left over")]
        if divergences and ran.code != SAME:
            raise self._differs([f"{place['kind']}: {place['what']} {place['where']}".rstrip() for place in divergences])
        if ran.exit_code:
            raise AssertionError(f"{' '.join(command)} ended with exit code {ran.exit_code}\n{ran.printed[-4000:]}")
        return self

    def keep(self) -> None:
        """With ``record``, replace the recording by the new run. The fixture calls this when the test has passed.

        Raises AssertionError if there is no new run.
        """
        if not self._record:
            return
        if not self._loaded:
            raise AssertionError(f"nothing was recorded, so {self._recording.name} stays as it was")
        write_recording(self._recording, self._loaded)

    def _warn(self, served: list[str]) -> None:
        """Warn that the recorded answers may not be what a model answers to the new prompts. pytest lists warnings."""
        if served:
            more = f" (and {len(served) - 1} more)" if len(served) > 1 else ""
            text = f"answered as recorded in {self._recording.name}, although the prompt has changed: {served[0]}{more}"
            warnings.warn(f"{text}. pytest {RECORD} asks the models anew", stacklevel=3)

    def _permissions(self) -> Permissions:
        """Return what may run: a tool that changes something only if the test names it, also while a new run is recorded."""
        if not self._record:
            return self._permitted
        after = (*self._permitted.after, *self._allow)
        return replace(self._permitted, after=after, rest="reading", how_to_allow=f"{RECORD} {ALLOW} {{}}")

    def _differs(self, what: list[str]) -> AssertionError:
        self.is_same = False
        listed = "\n".join(f"  {line}" for line in what)
        more = f"\nIf that is meant: pytest {RECORD} runs it for real from there on, and keeps the new run."
        return AssertionError(f"the run differs from {self._recording.name}:\n{listed}{'' if self._record else more}")


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result
