"""Watches a store for new spans. Law: no span is reported twice, and each process's spans come in the order in which it wrote
them."""

from __future__ import annotations

import time
from pathlib import Path

from llmtrace.store import Query, TraceSummary
from llmtrace.store.tail import Tail
from llmtrace.viewer.source import Source

QUIET_POLLS = 20
"""Number of polls without changes after which traces that seem to be running are read again."""
EVERY = 5.0
"""Seconds between two requests to a remote store."""
NEWEST = 50
"""Number of a remote store's newest traces that are watched."""


class Follower:
    """Polls a store for changes.

    From a local store it reads the new journal records. For a store in one file it compares the file's time and size. It asks a
    remote store for its newest traces every few seconds.
    """

    def __init__(self, source: Source, *, every: float = EVERY) -> None:
        self._source = source
        self._every = every
        store = source.store
        self._tail = None if store.folder is None else Tail(store.folder / "journal")
        self._path = store.path
        self._quiet = 0
        self._stamp = stamp_of(self._path)
        self.is_remote = source.store.is_remote
        self._summaries: dict[str, TraceSummary] | None = None
        self._due = 0.0

    def poll(self) -> set[str] | None:
        """Return the ids of the traces that changed since the last poll; None if any trace may have changed."""
        if self.is_remote:
            return self._poll_remote()
        if self._tail is None:
            stamp, self._stamp = self._stamp, stamp_of(self._path)
            if stamp == self._stamp:
                return set()
            self._source.forget()
            return None
        spans = [written.span for written in self._tail.poll()]
        self._quiet = 0 if spans else self._quiet + 1
        if spans:
            return self._source.add(spans)
        return self._source.reread(self._source.running()) if self._quiet % QUIET_POLLS == 0 else set()

    def _poll_remote(self) -> set[str]:
        """Compare the newest traces of a remote store with those of the last poll. Raises UnreadableStore."""
        now = time.monotonic()
        if now < self._due:
            return set()
        self._due = now + self._every
        newest = {summary.trace_id: summary for summary in self._source.store.traces(Query(limit=NEWEST))}
        before, self._summaries = self._summaries, newest
        changed = {trace_id for trace_id, summary in newest.items() if before is not None and before.get(trace_id) != summary}
        self._source.reread(changed)
        return changed


def stamp_of(path: Path | None) -> tuple[int, int] | None:
    """Return the time of a file's last change, in nanoseconds since the Unix epoch, and its size; None without a file."""
    try:
        status = None if path is None else path.stat()
    except OSError:
        return None
    return None if status is None else (status.st_mtime_ns, status.st_size)
