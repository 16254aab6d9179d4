"""What a store got just now. Law: nothing is told twice, and nothing in another order than it was written by its process."""

from __future__ import annotations

import time

from llmtrace.model import Span
from llmtrace.store import Query, TraceSummary
from llmtrace.store.tail import Tail
from llmtrace.viewer.source import Source

QUIET_POLLS = 20
"""Polls without news after which traces that look as if they ran are read again."""
EVERY = 5.0
"""Seconds between two questions to a store elsewhere."""
NEWEST = 50
"""Its newest traces, whose growth is news."""


class Follower:
    """Polls a store. Of a local one it reads the new records of the journal; of a file it sees that it changed; one elsewhere
    is asked now and then for its newest traces."""

    def __init__(self, source: Source, *, every: float = EVERY) -> None:
        self._source = source
        self._every = every
        store = source.store
        self._tail = None if store.folder is None else Tail(store.folder / "journal")
        self._path = store.path
        self._quiet = 0
        self._stamp = self._stat()
        self.elsewhere = source.store.is_remote
        self._known: dict[str, TraceSummary] | None = None
        self._due = 0.0

    def poll(self) -> set[str] | None:
        """Ids of the traces that changed since the last poll; None: any may have."""
        if self.elsewhere:
            return self._asked()
        if self._tail is None:
            stamp, self._stamp = self._stamp, self._stat()
            if stamp == self._stamp:
                return set()
            self._source.forget()
            return None
        spans = self.fresh() or []
        self._quiet = 0 if spans else self._quiet + 1
        if spans:
            return self._source.tell(spans)
        return self._source.reread() if self._quiet % QUIET_POLLS == 0 else set()

    def _asked(self) -> set[str]:
        """Raises UnreadableStore."""
        now = time.monotonic()
        if now < self._due:
            return set()
        self._due = now + self._every
        found = {one.trace_id: one for one in self._source.store.traces(Query(limit=NEWEST))}
        known, self._known = self._known, found
        changed = {trace_id for trace_id, one in found.items() if known is not None and known.get(trace_id) != one}
        self._source.drop(changed)
        return changed

    def fresh(self) -> list[Span] | None:
        """The spans that were written since the last time, unfinished ones among them. None: this store does not say."""
        return None if self._tail is None else [written.span for written in self._tail.poll()]

    def _stat(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat() if self._path is not None else None
        except OSError:
            return None
        return None if found is None else (found.st_mtime_ns, found.st_size)
