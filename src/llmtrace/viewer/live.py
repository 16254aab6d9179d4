"""What a store got just now. Law: nothing is told twice, and nothing in another order than it was written by its process."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from llmtrace.codec import genai
from llmtrace.model import JsonValue, Scope, Span
from llmtrace.store import Store, files, records
from llmtrace.viewer.source import Source

Context = tuple[Mapping[str, JsonValue], Scope]
QUIET_POLLS = 20
"""Polls without news after which traces that look as if they ran are read again."""


class Follower:
    """Polls a store. Of a local one it reads the new records of the journal; of others it sees that their file changed."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._journal = _journal(source.store)
        self._path: Path | None = getattr(source.store, "path", None) if self._journal is None else None
        self._done: dict[str, int] = {}
        self._contexts: dict[str, dict[int, Context]] = {}
        self._quiet = 0
        if self._journal is not None:
            self._done = {file.name: file.size for file in files.listing(self._journal)}
        self._stamp = self._stat()

    def poll(self) -> set[str] | None:
        """Ids of the traces that changed since the last poll; None: any may have."""
        if self._journal is None:
            stamp, self._stamp = self._stamp, self._stat()
            if stamp == self._stamp:
                return set()
            self._source.forget()
            return None
        spans = [span for file in files.listing(self._journal) for span in self._new(file)]
        self._quiet = 0 if spans else self._quiet + 1
        if spans:
            return self._source.tell(spans)
        return self._source.reread() if self._quiet % QUIET_POLLS == 0 else set()

    def _new(self, file: files.Found) -> list[Span]:
        start = self._done.get(file.name, 0)
        if self._journal is None or file.size <= start:
            return []
        path, found = self._journal / file.name, []
        with contextlib.suppress(OSError, files.Unusable):
            contexts = self._contexts.get(file.name)
            if contexts is None:
                contexts = self._contexts[file.name] = _contexts(path, start)
            for record in files.iterate(path, start):
                if isinstance(record, files.Gap):
                    if record.tail:
                        break
                elif record.kind == files.CONTEXT:
                    with contextlib.suppress(records.NoRecord):
                        contexts[record.ref] = records.decode_context(record.payload)
                elif record.kind in (files.START, files.SPAN):
                    with contextlib.suppress(records.NoRecord):
                        raw = records.decode(record.payload, *contexts.get(record.ref, ({}, Scope())))
                        found.append(genai.decode(raw))
                self._done[file.name] = record.offset + record.length
        return found

    def _stat(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat() if self._path is not None else None
        except OSError:
            return None
        return None if found is None else (found.st_mtime_ns, found.st_size)


def _journal(store: Store) -> Path | None:
    folder = getattr(store, "folder", None)
    return folder / "journal" if isinstance(folder, Path) else None


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
