"""Shared by `replay`, `why --prove` and `to-test`: loads a recorded run from the store, and starts its program again."""

from __future__ import annotations

import argparse
import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from llmtrace.cli import format_text
from llmtrace.cli.options import BadInput
from llmtrace.cli.stores import newest_traces, opened, trace_of
from llmtrace.config import Config
from llmtrace.errors import ConfigurationError
from llmtrace.launch.replay_process import find_program
from llmtrace.launch.replayed import Assignment
from llmtrace.model import ToolDefinition, ToolExecution, Trace
from llmtrace.model.traces import short_id
from llmtrace.playback.player import MODEL_CALLS
from llmtrace.playback.recorded_run import is_call, same_program
from llmtrace.reading.calls import is_change
from llmtrace.store import TraceSummary, locks
from llmtrace.store.local import default_folder
from llmtrace.store.replay_key import REPLAYS

ALL = "all"
"""In place of a tool's name: every tool that ran and changes nothing. A tool that changes something must be named."""

LONGEST_PROCESS = 3_600_000_000_000
"""Nanoseconds (one hour) before and after a trace's start, in which other traces of the same program are searched."""


class Recording(NamedTuple):
    """A trace that a program can be replayed from."""

    trace: Trace
    siblings: list[Trace]
    """Other traces of the same program, in all its processes."""
    store: str
    """URL of the store."""
    into: str
    """The folder in which new runs are recorded, see `LocalStore.replays`."""

    def assignment(self) -> Assignment:
        return Assignment(self.store, [trace.trace_id for trace in (self.trace, *self.siblings)], self.into)


def load(args: argparse.Namespace, *, may_be_empty: bool = False) -> Recording:
    """Return the recording that ``args.trace`` names.

    Raises BadInput if it has no call that a replay could answer, unless ``may_be_empty``.
    """
    with opened(args) as store:
        trace = trace_of(store, args.trace)
        first = trace.spans[0]

        def is_near(summary: TraceSummary) -> bool:
            return abs(summary.start - first.start) <= LONGEST_PROCESS

        siblings = same_program(newest_traces(store, is_near), trace)[1:]
        folder = store.folder or default_folder() or Path()
    spans = [*trace.spans, *(span for sibling in siblings for span in sibling.spans)]
    if not may_be_empty and not any(span.run_id is not None and is_call(span.operation) for span in spans):
        raise BadInput(f"trace {short_id(trace.trace_id)} holds no call that llmtrace recorded, so there is nothing to answer.")
    into = folder / REPLAYS
    try:
        locks.make_folder(into)
        if not os.access(into, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise BadInput(f"the new run cannot be recorded in {into}: {error.strerror}.") from None
    url = Config.read(store=args.store).store
    return Recording(trace, siblings, str(Path(url).absolute()) if Path(url).exists() else url, str(into))


def program(words: Sequence[str], example: str) -> list[str]:
    """Return the command line after ``--``. Raises BadInput if it is missing or the program is not found."""
    as_in = f"Give it after --, as in: {example}"
    if not words:
        raise BadInput(f"no program to run.\n{as_in}")
    try:
        return find_program(words)
    except ConfigurationError as error:
        raise BadInput(f"{error}.\n{as_in}") from None


def live_tools(recording: Recording, options: Sequence[str]) -> list[str]:
    """Return the names in ``--tool NAME=live``; for ``all=live``, also the names of all tools that ran and change nothing.

    Raises BadInput for any other policy, and for a tool that did not run.
    """
    ran = tools_that_ran(recording.trace)
    names = live_names(options)
    for name in names:
        if name not in ran and name != ALL:
            raise BadInput(f"--tool {name}=live: no tool of this name ran in trace {short_id(recording.trace.trace_id)}.")
    reading = [name for name, changes in ran.items() if not changes] if ALL in names else []
    return sorted({*names, *reading} - {ALL})


def tools_that_ran(trace: Trace) -> dict[str, bool]:
    """Return the names of the tools that ran, sorted, each with True if it changes something."""
    definitions: dict[str, ToolDefinition | None] = {}
    for span in trace.spans:
        if isinstance(span.operation, ToolExecution):
            definitions[span.operation.name] = definitions.get(span.operation.name) or span.operation.definition
    return {name: is_change(name, definitions[name]) for name in sorted(definitions)}


def calls_made(counts: Mapping[str, int]) -> str:
    """Return in words what was made for real: ``2 model calls, refund 1 time``. ``counts``: as `Progress.ran`."""
    models = counts.get(MODEL_CALLS, 0)
    tools = [f"{name} {format_text.plural(count, 'time')}" for name, count in counts.items() if name != MODEL_CALLS]
    return ", ".join([*([format_text.plural(models, "model call")] if models else ()), *tools])


def live_names(options: Sequence[str]) -> list[str]:
    """Return the names in ``--tool NAME=live``. Raises BadInput for any other policy."""
    names = []
    for text in options:
        name, _, policy = text.partition("=")
        if not name or policy != "live":
            raise BadInput(f"--tool {text}: expected NAME=live, as in --tool search=live")
        names.append(name)
    return names
