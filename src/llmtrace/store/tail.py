"""What programs write to a local store just now, span by span, as `tail -f` gives lines.

Law: nothing is told twice, and nothing in another order than its process wrote it; a record that is still being written is
told when it is whole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from llmtrace.codec import genai
from llmtrace.model import JsonValue, Scope, Span
from llmtrace.store import files, records

Context = tuple[Mapping[str, JsonValue], Scope]


class Written(NamedTuple):
    span: Span
    """One that has begun (``end`` None) or ended."""
    file: str
    """Name of the journal file; see `files.Running`."""


class Tail:
    """Follows the journal of a local store."""

    def __init__(self, journal: Path, *, whole: bool = False) -> None:
        """``journal``: the folder of that name in the store. ``whole``: begin with what is there already."""
        self.journal = journal
        self._contexts: dict[str, dict[int, Context]] = {}
        self._done = {} if whole else {file.name: file.size for file in files.listing(journal)}

    def poll(self) -> Iterator[Written]:
        """What was written since the last time."""
        for file in files.listing(self.journal):
            if file.size > self._done.get(file.name, 0):
                with contextlib.suppress(OSError, files.Unusable):
                    yield from self._new(file.name)

    def _new(self, name: str) -> Iterator[Written]:
        path, start = self.journal / name, self._done.get(name, 0)
        contexts = self._contexts.get(name)
        if contexts is None:
            contexts = self._contexts[name] = _contexts(path, start)
        for record in files.iterate(path, start):
            if isinstance(record, files.Gap):
                if record.tail:
                    return
            elif record.kind == files.CONTEXT:
                with contextlib.suppress(records.NoRecord):
                    contexts[record.ref] = records.decode_context(record.payload)
            elif record.kind in (files.START, files.SPAN):
                with contextlib.suppress(records.NoRecord):
                    raw = records.decode(record.payload, *contexts.get(record.ref, ({}, Scope())))
                    self._done[name] = record.offset + record.length
                    yield Written(genai.decode(raw), name)
            self._done[name] = record.offset + record.length


def _contexts(path: Path, until: int) -> dict[int, Context]:
    """The contexts that a file states before the place from which it is followed."""
    found: dict[int, Context] = {}
    for record in files.iterate(path) if until else ():
        if record.offset >= until:
            break
        if isinstance(record, files.Record) and record.kind == files.CONTEXT:
            with contextlib.suppress(records.NoRecord):
                found[record.ref] = records.decode_context(record.payload)
    return found
