"""The default store: a journal that programs write and an index that whoever reads brings up to date.

Law: appending touches the journal only. Reading sees all that any process has appended so far: it indexes the journals' new
tails first; where the index cannot be used it reads the journals themselves, which is slower and gives the same.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from llmtrace.codec import genai
from llmtrace.config import Config
from llmtrace.errors import UnreadableStore
from llmtrace.imports import importing
from llmtrace.model import JsonValue, RawSpan, Scope, Span, Trace
from llmtrace.store import NEWEST, Query, Store, baselines, files, records, sent
from llmtrace.store.journal import Journal
from llmtrace.store.notices import say
from llmtrace.store.summary import TraceSummary, summarise

if TYPE_CHECKING:  # a program that only writes needs none of these
    import sqlite3

    from llmtrace.store.indexing import Indexer
    from llmtrace.store.memory import Spans
    from llmtrace.store.sqlite import Index

logger = logging.getLogger("llmtrace")

SCHEMES = ("local",)

BACKGROUND_AFTER = 30.0
"""Seconds after its first span from which a program indexes by itself; shorter ones leave it to the next reader."""
BACKGROUND_EVERY = 5.0
BACKGROUND_SHARE = 0.2
"""Greatest part of its time that the background thread works."""

WORDS_STEP = 0.5
"""Seconds that a first search works before it gives the index free again."""

SPANS_AT_ONCE = 200
"""Spans, and the rest of a trace, that `LocalStore.spans` reads before it gives the index free again."""

BESIDE = frozenset({"budgets", "sent", "unsent", baselines.NAME})
"""What a store's folder has beside spans to read: one with nothing else is an empty store."""

NO_PLACE = "no place for a store: there is no home folder. Set LLMTRACE_STORE to a folder"

T = TypeVar("T")
_Shared: TypeAlias = "tuple[object, object, str, bytes]"
"""Resource and scope, a mark, and all of it encoded."""


class LocalStore(Store):
    """Spans under one folder: ``journal/`` holds them, ``index.db`` finds them."""

    takes_encoded = True

    def __init__(
        self,
        folder: Path | None,
        *,
        config: Config | None = None,
        may_be_missing: bool = False,
        background: bool = True,
        busy_seconds: float | None = None,
        words: bool = True,
    ) -> None:
        """``folder`` None: there is no place, spans stay in memory. ``may_be_missing``: a folder that is not there reads as an
        empty store. ``background``: index in a thread when the program has run for a while.
        ``busy_seconds``, ``words``: see `Index`."""
        config = config or Config()
        self.folder = folder
        self._may_be_missing = may_be_missing
        journal = None if folder is None else folder / "journal"
        self._journal = Journal(journal, max_bytes=config.max_store_bytes, max_days=config.max_store_days)
        self._contexts: dict[tuple[int, int], _Shared] = {}
        self._shared: _Shared = (None, None, "", b"")
        self.mark: Callable[[], str] = str
        """Says of what is appended now where it is to be sent; written beside it (see `records.encode_context`)."""
        self._busy_seconds = busy_seconds
        self._words = words
        self._background = None
        if background and folder is not None:
            self._background = _Background(self._index_some)
            self._journal.on_look = self._background.wake

    @property
    def journal(self) -> Journal:
        return self._journal

    @cached_property
    def _index(self) -> Index | None:
        with importing:
            from llmtrace.store.sqlite import BUSY_SECONDS, Index

        busy_seconds = BUSY_SECONDS if self._busy_seconds is None else self._busy_seconds
        return None if self.folder is None else Index(self.folder, busy_seconds=busy_seconds, words=self._words)

    @cached_property
    def _indexer(self) -> Indexer | None:
        with importing:
            from llmtrace.store.indexing import Indexer

        return None if self._index is None else Indexer(self._index)

    def tell(self, looked: Callable[[], None]) -> None:
        """Have ``looked`` called, too, about once a second by whoever appends then, so it must return at once."""
        wake = None if self._background is None else self._background.wake

        def both() -> None:
            looked()
            if wake is not None:
                wake()

        self._journal.on_look = both

    def append(self, span: Span) -> None:
        """Journal a span: encode it, one write. Never raises for what the disk does (see `Journal`)."""
        self.append_encoded(genai.encode(span))

    def append_encoded(self, raw: RawSpan) -> None:
        kind = files.START if raw.end is None else files.SPAN
        resource, scope, mark, context = self._shared
        if resource is not raw.resource or scope is not raw.scope or mark != self.mark():
            context = self._context(raw.resource, raw.scope)
        self._journal.append(kind, records.encode(raw), context)

    def flush(self) -> None:
        self._journal.flush()

    def traces(self, query: Query = NEWEST) -> list[TraceSummary]:
        def read(index: Index, indexer: Indexer, db: sqlite3.Connection) -> list[TraceSummary]:
            if not indexer.ready(db, query) and self._background is not None:
                self._background.wake()
            return index.traces(db, query)

        self._index_words(query)
        return self._read(read, lambda spans: spans.traces(query))

    def trace(self, trace_id: str) -> Trace:
        def read(index: Index, indexer: Indexer, db: sqlite3.Connection) -> Trace:
            indexer.catch_up(db)
            return index.trace(db, trace_id)

        return self._read(read, lambda spans: spans.trace(trace_id))

    def summary(self, trace_id: str) -> TraceSummary:
        """Of the trace that `trace` would give, without reading it. Raises TraceNotFound, UnreadableStore."""

        def read(index: Index, indexer: Indexer, db: sqlite3.Connection) -> TraceSummary:
            from llmtrace.store.sqlite import resolved

            indexer.catch_up(db)
            found = resolved(db, trace_id)
            indexer.summarise(db, [found])
            return index.summary(db, found)

        return self._read(read, lambda spans: summarise(spans.trace(trace_id)))

    def spans(self, query: Query = NEWEST, *, prompts: bool = True) -> Iterator[Span]:
        def find(index: Index, indexer: Indexer, db: sqlite3.Connection) -> list[tuple[str, int]] | Spans:
            indexer.ready(db, query, summaries=False)
            return index.ids(db, query)

        self._index_words(query)
        found = self._read(find, lambda spans: spans)
        from llmtrace.store.memory import Spans

        if isinstance(found, Spans):
            for trace_id in found.ids(query):
                yield from found.of(trace_id, prompts=prompts)
            return
        for some in _few(found):
            yield from self._of(some, prompts)

    def outline(self, trace_id: str) -> list[tuple[str, str | None, bool]]:
        """Of each span of a trace its id, its parent's and whether it failed, in order of start, without reading them; nothing
        where there is no index. Raises UnreadableStore."""
        return self._read(lambda index, _, db: index.outline(db, trace_id), lambda _: [])

    def pick(self, trace_id: str, span_ids: Collection[str], *, prompts: bool = True) -> list[Span]:
        """Some spans of a trace, without reading the others where there is an index. ``prompts``: see `Store.spans`. Raises
        UnreadableStore."""
        return self._read(
            lambda index, _, db: _spans(index, db, [trace_id], only=span_ids, prompts=prompts) if span_ids else [],
            lambda spans: [span for span in spans.of(trace_id, prompts=prompts) if span.span_id in span_ids],
        )

    def _of(self, trace_ids: list[str], prompts: bool) -> list[Span]:
        """The spans of these traces. No connection is open, and no fork waits, while a reader looks at them."""
        return self._read(
            lambda index, _, db: _spans(index, db, trace_ids, prompts=prompts),
            lambda spans: [span for one in trace_ids for span in spans.of(one, prompts=prompts)],
        )

    def refresh(self, *, seconds: float = float("inf")) -> int:
        """Show the monitors what is new, for ``seconds`` at most, so that what they find is told of a trace. `traces` and
        `spans` do so for a moment. Gives how many traces they have not seen."""

        def show(_: Index, indexer: Indexer, db: sqlite3.Connection) -> int:
            deadline = time.monotonic() + seconds
            if indexer.catch_up(db, seconds=seconds):
                indexer.watch(db, seconds=deadline - time.monotonic())
            return indexer.unseen(db)

        return self._read(show, lambda _: 0)

    def monitored(self) -> list[dict[str, Any]]:
        """What monitors know of each key (`llmtrace.monitors.reports` reads it), the key that was used last first."""

        def read(_: Index, indexer: Indexer, db: sqlite3.Connection) -> list[dict[str, Any]]:
            from llmtrace.store import monitoring

            indexer.catch_up(db)
            indexer.watch(db)
            return monitoring.states(db)

        def learn(spans: Spans) -> list[dict[str, Any]]:
            from llmtrace.store import monitoring

            everything = Query(limit=sys.maxsize)
            return monitoring.learn((spans.trace(one) for one in reversed(spans.ids(everything))), self.pins())

        return self._read(read, learn)

    def pins(self) -> baselines.Pins:
        """The baselines that are pinned."""
        return {} if self.folder is None else baselines.read(self.folder)

    def pin(self, pins: baselines.Pins) -> None:
        """Compare with these baselines from now on, and with no others that were pinned. Where there is no store yet, one is
        begun, so that its first call is compared already. Raises StoreError."""
        folder = self.folder
        if folder is None:
            raise UnreadableStore(NO_PLACE)
        if not folder.exists():
            if not pins:
                return
            _begin(folder)
        self._is_there()
        baselines.write(folder, pins)

        def change(_index: Index, _indexer: Indexer, db: sqlite3.Connection) -> None:
            from llmtrace.store import monitoring
            from llmtrace.store.transactions import transaction

            with transaction(db):
                monitoring.pin(db, pins)

        self._read(change, lambda _: None)

    def close(self) -> None:
        self._journal.close()

    def _context(self, resource: Mapping[str, JsonValue], scope: Scope) -> bytes:
        """The encoded context, by identity: a process has one resource object and few scopes."""
        known, mark = self._contexts.get((id(resource), id(scope))), self.mark()
        if known is None or known[0] is not resource or known[1] is not scope or known[2] != mark:
            if len(self._contexts) >= 64:
                self._contexts.clear()
            known = (resource, scope, mark, records.encode_context(resource, scope, mark))
            self._contexts[id(resource), id(scope)] = known
        self._shared = known
        return known[3]

    def _read(self, indexed: Callable[[Index, Indexer, sqlite3.Connection], T], direct: Callable[[Spans], T]) -> T:
        with importing:
            from llmtrace.store.memory import Spans
            from llmtrace.store.sqlite import IndexUnusable

        waiting = self._journal.waiting()
        if not waiting and not self._is_there():
            return direct(Spans())
        index, indexer, folder = self._index, self._indexer, self.folder
        if index is not None and indexer is not None and not waiting:
            files.sweep_as_noted(index.journal, sent.note_removed)
            try:
                return index.call(lambda db: indexed(index, indexer, db))
            except IndexUnusable as error:
                say(f"{index.path} cannot be used ({error}): reading the journal itself, which is slower")
        return direct(_journaled(None if folder is None else folder / "journal", waiting))

    def _is_there(self) -> bool:
        """Whether there is something to read. Raises UnreadableStore where one was named and is not there."""
        if self.folder is None:
            raise UnreadableStore(NO_PLACE)
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            if self._may_be_missing:
                return False
            raise UnreadableStore(f"there is no store at {self.folder}") from None
        except OSError as error:
            raise UnreadableStore(f"cannot read the store at {self.folder}: {error.strerror}") from error
        if "journal" not in names and not BESIDE.issuperset(names):
            raise UnreadableStore(f"{self.folder} is no llmtrace store: it has no folder 'journal'")
        return "journal" in names

    def _index_words(self, query: Query) -> None:
        """What a first search waits for, in steps between which others may read and fork."""

        def some(_: Index, indexer: Indexer, db: sqlite3.Connection) -> bool:
            indexer.words.want(db)
            return indexer.catch_up(db, seconds=WORDS_STEP) and indexer.words.catch_up(db, seconds=WORDS_STEP)

        while query.text and not self._read(some, lambda _: True):
            pass

    def _index_some(self, seconds: float) -> None:
        index, indexer = self._index, self._indexer
        if index is not None and indexer is not None:

            def work(db: sqlite3.Connection) -> None:
                if indexer.catch_up(db, seconds=seconds):
                    indexer.watch(db, ended=True, seconds=seconds)
                    if indexer.words.wanted(db):
                        indexer.words.catch_up(db, seconds=seconds)

            index.call(work)
            files.sweep_as_noted(index.journal, sent.note_removed)


def _begin(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UnreadableStore(f"cannot begin a store at {folder}: {error.strerror}") from error


def _spans(index: Index, db: sqlite3.Connection, trace_ids: list[str], **which: Any) -> list[Span]:
    with contextlib.closing(index.reader(db)) as reader:
        return [span for one in trace_ids for span in reader.read(one, **which).spans]


def _few(found: list[tuple[str, int]]) -> Iterator[list[str]]:
    """Traces that are read at once: some with many spans, or many with few."""
    some, spans = list[str](), 0
    for trace_id, number in found:
        some.append(trace_id)
        spans += number
        if spans >= SPANS_AT_ONCE:
            yield some
            some, spans = [], 0
    if some:
        yield some


def _journaled(journal: Path | None, waiting: list[tuple[int, bytes, bytes]]) -> Spans:
    """All spans of all journal files, and those that wait in this process's memory."""
    from llmtrace.store.memory import Spans

    spans = Spans()
    if journal is not None:
        running = files.Running(journal)
        for file in files.listing(journal):
            with contextlib.suppress(OSError, files.Unusable):
                _add_file(spans, journal / file.name, running)
    for _, payload, context in waiting:
        spans.add(records.decode(payload, *records.decode_context(context)), alive=True)
    return spans


def _add_file(spans: Spans, path: Path, running: files.Running) -> None:
    contexts: dict[int, tuple[Mapping[str, JsonValue], Scope]] = {}
    for record in files.iterate(path):
        if isinstance(record, files.Gap):
            continue
        with contextlib.suppress(records.NoRecord):
            if record.kind == files.CONTEXT:
                contexts[record.ref] = records.decode_context(record.payload)
            elif record.kind in (files.START, files.SPAN):
                raw: RawSpan = records.decode(record.payload, *contexts.get(record.ref, ({}, Scope())))
                spans.add(raw, alive=raw.end is None and running.wrote(path.name))


class _Background:
    """Indexes now and then in a daemon thread, which the journal's look starts once the process has run a while."""

    def __init__(self, work: Callable[[float], None]) -> None:
        self._work = work
        self._pid = 0
        self._due = 0.0
        self._running = False

    def wake(self) -> None:
        """Called by a thread of the program, once a second at most."""
        if self._pid != os.getpid():  # the first time, or after a fork, which threads do not survive
            self._pid, self._due, self._running = os.getpid(), time.monotonic() + BACKGROUND_AFTER, False
        elif not self._running and time.monotonic() >= self._due:
            self._running = True
            threading.Thread(target=self._run, name="llmtrace-index", daemon=True).start()

    def _run(self) -> None:
        """One stretch of work; the next look starts the next."""
        with contextlib.suppress(OSError, AttributeError, PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        started = time.monotonic()
        try:
            self._work(BACKGROUND_EVERY * BACKGROUND_SHARE)
        except Exception as error:  # locked, broken, newer: whoever reads will say so
            logger.debug("llmtrace: indexing in the background failed: %s", error)
        took = time.monotonic() - started
        self._due = time.monotonic() + max(BACKGROUND_EVERY, took / BACKGROUND_SHARE)
        self._running = False


def default_folder() -> Path | None:
    """The user's data folder for llmtrace; None where there is no home to put it in."""
    import platformdirs  # 3 ms, that a named store need not pay

    try:
        folder = Path(platformdirs.user_data_path("llmtrace", appauthor=False))
    except (OSError, RuntimeError, KeyError):
        return None
    return folder if folder.is_absolute() else None


def open(url: str, config: Config) -> LocalStore:  # noqa: A001
    """``auto`` or empty: the default folder. Else a folder's path; a relative one counts from where the program is now."""
    text = url.removeprefix("local:")
    if text.strip().lower() in ("", "auto"):
        return LocalStore(default_folder(), config=config, may_be_missing=True)
    folder = Path(text).expanduser()
    with contextlib.suppress(OSError):  # the working folder is gone: stay with the relative path
        folder = folder.absolute()
    return LocalStore(folder, config=config)
