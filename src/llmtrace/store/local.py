"""The default store: a journal that programs write, and an index that readers bring up to date.

Law: appending writes to the journal only. Reading sees everything that any process has appended so far: it first indexes the
new records of all journal files. If the index cannot be used, it reads the journal files themselves, which is slower and gives
the same result.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from llmtrace.codec import genai
from llmtrace.config import Config
from llmtrace.errors import StoreError, TraceNotFound, UnreadableStore
from llmtrace.locks import importing, lazy_property
from llmtrace.model import RawSpan, Span, Trace
from llmtrace.store import NEWEST, Query, Store, baselines, journal_files, journal_limits, journal_records, locks, replay_key
from llmtrace.store.journal import Entry, Journal
from llmtrace.store.open_reviews import with_decisions
from llmtrace.store.summary import TraceSummary, summarise
from llmtrace.store.warnings import warn_once

if TYPE_CHECKING:  # a program that only writes needs none of these
    import sqlite3

    from llmtrace.store.indexing import Indexer
    from llmtrace.store.memory import SpanKey, Spans
    from llmtrace.store.sqlite import Index

logger = logging.getLogger("llmtrace")

SCHEMES = ("local",)

WORDS_STEP = 0.5
"""Seconds that a first search works before it releases the index for others."""

BACKGROUND_AFTER = 30.0
"""Seconds after its first span from which a program indexes in the background. Shorter programs leave it to the next reader."""
BACKGROUND_EVERY = 5.0
BACKGROUND_SHARE = 0.2
"""Share of its time that the background thread works at most."""

SPANS_AT_ONCE = 200
"""`LocalStore.spans` reads about this many spans, in whole traces, before it releases the index for others."""

CLAIMS = ("claims.db", "reviews.db", "dead_letters.db")
"""The file of `store.claims`, and those that held claims before. That module is imported late: a program that only records does
not need it."""
ISSUES = "issues.jsonl"
"""The file of decisions about issues, see `llmtrace.issues`."""
WAITING_LOGS = "waiting_logs.jsonl"
"""The file of `store.waiting_logs`."""
FORGETTING = "forgetting.json"
"""The file of `store.erasure` with what is to be erased, while that is not finished."""
_FILES = (ISSUES, "budgets", "sent", "unsent", "viewer.token", WAITING_LOGS, "reviewing")
BESIDE = frozenset({*_FILES, *CLAIMS, FORGETTING, "forgetting.lock", baselines.NAME, replay_key.NAME})
"""Files in a store's folder other than the journal and its index. A folder with only these is an empty store."""

NO_PLACE = "there is no home folder to keep the store in. Set LLMTRACE_STORE to a folder"

T = TypeVar("T")


class LocalStore(Store):
    """Spans in one folder: ``journal/`` contains them, ``index.db`` finds them."""

    has_index = True

    takes_encoded = True

    def __init__(
        self,
        folder: Path | None,
        *,
        config: Config | None = None,
        may_be_missing: bool = False,
        background: bool = True,
        busy_seconds: float | None = None,
    ) -> None:
        """Open a store without touching the disk.

        ``folder`` None: spans stay in memory. ``may_be_missing``: a folder that does not exist reads as an empty store.
        ``background``: index in a thread once the program has run for a while. ``busy_seconds``: see `Index`.
        """
        config = config or Config()
        self.folder = self._place = folder
        self._may_be_missing = may_be_missing
        journal = None if folder is None else folder / "journal"
        self._journal = Journal(journal, max_bytes=config.max_store_bytes, max_days=config.max_store_days)
        self._contexts: dict[tuple[int, int, str], tuple[object, object, bytes]] = {}
        """Resources, scopes and encoded contexts, by identity and mark: a process has one resource object and few scopes."""
        self.mark: Callable[[], str] = str
        """Returns where spans appended now will be sent; stored with them (see `journal_records.encode_context`)."""
        self._busy_seconds = busy_seconds
        self._replays: LocalStore | None = None
        self._background = None
        if background and folder is not None:
            self._background = BackgroundIndexing(self._index_some)
            self._journal.on_look.append(self._background.wake)

    @property
    def journal(self) -> Journal:
        return self._journal

    @property
    def replays(self) -> LocalStore | None:
        """The store of replays of this store's traces (``llmtrace replay``, ``why --prove``); None if nothing was replayed yet.

        Lists, statistics and exporters do not see its traces. Methods that take a trace id do.
        """
        folder = None if self._place is None else self._place / replay_key.REPLAYS
        if self._replays is None and folder is not None and folder.is_dir():
            self._replays = LocalStore(folder, background=False, busy_seconds=self._busy_seconds)
        return self._replays

    @lazy_property
    def _indexer(self) -> Indexer | None:
        with importing:
            from llmtrace.store.indexing import Indexer
            from llmtrace.store.sqlite import BUSY_SECONDS, Index

        busy_seconds = BUSY_SECONDS if self._busy_seconds is None else self._busy_seconds
        return None if self._place is None else Indexer(Index(self._place, busy_seconds=busy_seconds))

    def check_owner(self) -> None:
        """Raise UnreadableStore if the folder's index belongs to another program."""
        if self._indexer is not None:
            self._indexer.index.check_owner()

    def on_look(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` about once a second from now on, in a thread that appends, so it must return at once."""
        self._journal.on_look.append(callback)

    def replay_key(self) -> bytes:
        if self._replay_key is None and self.folder is not None:
            with contextlib.suppress(OSError):  # not writable: the spans stay in memory as well
                self._replay_key = replay_key.of(self.folder)
        return super().replay_key()

    def append(self, span: Span) -> None:
        """Encode a span and write it to the journal. Never raises for disk errors (see `Journal`)."""
        self.append_encoded(genai.encode(span))

    def append_all(self, raws: Iterable[RawSpan], *, sends: bool = True) -> None:
        self._journal.append_all([self._entry(raw, sends=sends) for raw in raws])

    def append_encoded(self, raw: RawSpan) -> None:
        self._journal.append_all([self._entry(raw)])

    def _entry(self, raw: RawSpan, *, sends: bool = True) -> Entry:
        kind = journal_files.START if raw.end is None else journal_files.SPAN
        mark = self.mark() if sends else ""
        resource, scope, context = self._contexts.get((id(raw.resource), id(raw.scope), mark), (None, None, b""))
        if resource is not raw.resource or scope is not raw.scope:
            if len(self._contexts) >= 64:
                self._contexts.clear()
            context = journal_records.encode_context(raw.resource, raw.scope, mark)
            self._contexts[id(raw.resource), id(raw.scope), mark] = raw.resource, raw.scope, context
        return kind, journal_records.encode(raw), context

    def flush(self) -> None:
        self._journal.flush()

    def has_unwritten(self) -> bool:
        return self._place is not None and bool(self._journal.waiting())

    def traces(self, query: Query = NEWEST) -> list[TraceSummary]:
        def read(indexer: Indexer, db: sqlite3.Connection) -> list[TraceSummary]:
            if not indexer.ready(db, query) and self._background is not None:
                self._background.wake()
            return indexer.index.traces(db, query)

        self._index_words(query)
        return self._read(read, lambda spans: spans.traces(query))

    def trace(self, trace_id: str) -> Trace:
        def read(indexer: Indexer, db: sqlite3.Connection) -> Trace:
            indexer.catch_up(db)
            return indexer.index.trace(db, trace_id)

        def find() -> Trace:
            trace = self._read(read, lambda spans: spans.trace(trace_id))
            if all(span.end is not None for span in trace.spans):
                return trace
            return Trace(with_decisions(self.folder, trace.spans), alive=trace.alive)

        return self._or_replay(trace_id, find, LocalStore.trace)

    def richness_of(self, ids: Collection[SpanKey]) -> dict[SpanKey, tuple[bool, int]]:
        """Return `journal_records.richness` of each of these spans that is stored. Raises UnreadableStore."""

        def find(indexer: Indexer, db: sqlite3.Connection) -> dict[SpanKey, tuple[bool, int]]:
            from llmtrace.store.indexing import richness_of

            indexer.catch_up(db)
            return richness_of(db, ids)

        return self._read(find, lambda spans: spans.richness_of(ids))

    def raw_spans(self, ids: Collection[SpanKey]) -> list[RawSpan]:
        """Return those of these spans that are stored, without prompts, as they were written. Raises UnreadableStore."""

        def find(indexer: Indexer, db: sqlite3.Connection) -> list[RawSpan]:
            indexer.catch_up(db)
            with contextlib.closing(indexer.index.reader(db)) as reader:
                return reader.raw_spans(ids)

        return self._read(find, lambda spans: spans.raw_spans(ids))

    def stored_traces(self, trace_ids: Collection[str]) -> set[str]:
        """Return those of these trace ids of which the store has spans. Raises UnreadableStore."""

        def find(indexer: Indexer, db: sqlite3.Connection) -> set[str]:
            indexer.catch_up(db)
            statement = "SELECT trace FROM traces WHERE trace IN (SELECT value FROM json_each(?))"
            return {trace for (trace,) in db.execute(statement, (json.dumps(list(trace_ids)),))}

        return self._read(find, lambda spans: spans.stored_traces(trace_ids))

    def summary(self, trace_id: str) -> TraceSummary:

        def read(indexer: Indexer, db: sqlite3.Connection) -> TraceSummary:
            from llmtrace.store.sqlite import resolve

            indexer.catch_up(db)
            full_id = resolve(db, trace_id)
            indexer.summarise(db, [full_id])
            return indexer.index.summary(db, full_id)

        return self._or_replay(
            trace_id, lambda: self._read(read, lambda spans: summarise(spans.trace(trace_id))), LocalStore.summary
        )

    def _or_replay(self, trace_id: str, find: Callable[[], T], find_in: Callable[[LocalStore, str], T]) -> T:
        try:
            return find()
        except TraceNotFound:
            if trace_id == "last" or self.replays is None:  # the last trace is never a replay
                raise
            with contextlib.suppress(TraceNotFound):
                return find_in(self.replays, trace_id)
            raise

    def spans(self, query: Query = NEWEST, *, prompts: bool = True) -> Iterator[Span]:
        def find(indexer: Indexer, db: sqlite3.Connection) -> list[tuple[str, int]] | Spans:
            indexer.ready(db, query, summaries=False)
            return indexer.index.ids(db, query)

        self._index_words(query)
        located = self._read(find, lambda spans: spans)
        from llmtrace.store.memory import Spans

        if isinstance(located, Spans):
            for trace_id in located.ids(query):
                yield from located.spans_of(trace_id, prompts=prompts)
            return
        for trace_ids in _batches(located):
            yield from self._spans_of(trace_ids, prompts)

    def _spans_of(self, trace_ids: list[str], prompts: bool) -> list[Span]:
        """Read these traces as a list, so that no connection is open, and no fork waits, while the caller uses the spans."""
        spans = self._read(
            lambda indexer, db: _spans(indexer.index, db, trace_ids, prompts=prompts),
            lambda spans: [span for trace_id in trace_ids for span in spans.spans_of(trace_id, prompts=prompts)],
        )
        return with_decisions(self.folder, spans)

    def newest_ids(self, limit: int) -> list[str]:
        def read(indexer: Indexer, db: sqlite3.Connection) -> list[str]:
            indexer.catch_up(db)
            return [trace_id for (trace_id,) in db.execute("SELECT trace FROM traces ORDER BY start DESC LIMIT ?", (limit,))]

        return self._read(read, lambda spans: spans.ids(Query(limit=limit)))[::-1]

    def names(self, kind: str) -> list[str]:
        statement = "SELECT DISTINCT name FROM names WHERE kind = ? ORDER BY name LIMIT 200"
        return self.with_index(lambda _, db: [name for (name,) in db.execute(statement, (kind,))], [])

    def refresh(self, *, seconds: float = float("inf"), max_spans: int | None = None) -> int:
        """Show new spans to the monitors, for at most ``seconds``, so that their findings appear in the traces.

        `traces` and `spans` do this too, if there are few new spans. ``max_spans``: leave out longer traces (default: none),
        since a trace is shown in one step. Returns the number of traces that the monitors have not seen yet.
        """

        def show(indexer: Indexer, db: sqlite3.Connection) -> int:
            deadline = time.monotonic() + seconds
            if indexer.catch_up(db, seconds=seconds):
                indexer.watch(db, seconds=deadline - time.monotonic(), max_spans=max_spans)
            return indexer.unseen(db)

        return self.with_index(show, 0)

    def monitor_states(self, *, seconds: float = float("inf")) -> list[dict[str, Any]]:
        def read(indexer: Indexer, db: sqlite3.Connection) -> list[dict[str, Any]]:
            from llmtrace.store import monitoring

            indexer.catch_up(db)
            indexer.watch(db, seconds=seconds)
            return monitoring.states(db)

        def learn(spans: Spans) -> list[dict[str, Any]]:
            from llmtrace.store import monitoring

            everything = Query(limit=sys.maxsize)
            return monitoring.learn((spans.trace(trace_id) for trace_id in reversed(spans.ids(everything))), self.pins())

        return self._read(read, learn)

    def pins(self) -> baselines.Pins:
        return {} if self._place is None else baselines.read(self._place)

    def pin(self, pins: baselines.Pins) -> None:
        """Compare with these baselines from now on, instead of those pinned before.

        A store that does not exist yet is created, so that even its first call is compared. Raises StoreError.
        """
        folder = self._place
        if folder is None:
            raise UnreadableStore(NO_PLACE)
        if not os.path.exists(folder):
            if not pins:
                return
            try:
                locks.make_folder(folder)
            except OSError as error:
                raise UnreadableStore(f"cannot create a store at {folder}: {error.strerror}") from error
        self._is_there()
        baselines.write(folder, pins)

        def change(_: Indexer, db: sqlite3.Connection) -> None:
            from llmtrace.store import monitoring
            from llmtrace.store.transactions import transaction

            with transaction(db):
                monitoring.pin(db, pins)

        self.with_index(change, None)

    def close(self) -> None:
        if self._replays is not None:
            self._replays.close()
        self._journal.close()

    def with_index(self, action: Callable[[Indexer, sqlite3.Connection], T], default: T) -> T:
        """Run ``action`` on the index and return its result, or ``default`` if the index cannot be used.

        Raises UnreadableStore.
        """
        return self._read(action, lambda _: default)

    def _read(self, indexed: Callable[[Indexer, sqlite3.Connection], T], direct: Callable[[Spans], T]) -> T:
        with importing:
            from llmtrace.store.memory import Spans
            from llmtrace.store.sqlite import IndexUnusable

        waiting = self._journal.waiting()
        if not waiting and not self._is_there():
            return direct(Spans())
        if self._place is not None and os.path.exists(self._place / FORGETTING):
            self._finish_erasing(self._place)
        indexer = self._indexer
        if indexer is not None and not waiting:  # the index does not have records that wait in memory
            journal_limits.sweep_as_noted(indexer.index.journal)
            try:
                return indexer.call(lambda db: indexed(indexer, db))
            except IndexUnusable as error:
                path = indexer.index.path
                warn_once(f"the index {path} cannot be used ({error}). The journal is read instead, which is slower")
        from llmtrace.store.tail import read_journal

        try:
            return direct(read_journal(self._journal.folder, waiting))
        except OSError as error:
            raise UnreadableStore(f"cannot read {error.filename}: {error.strerror}") from error

    @staticmethod
    def _finish_erasing(folder: Path) -> None:
        """Finish an erasure whose process died. If that fails, its traces are still there, and a warning says so."""
        from llmtrace.store import erasure

        try:
            erasure.finish(folder)
        except (OSError, StoreError) as error:
            warn_once(f"traces in {folder} are still to be forgotten, which failed: {error}")

    def _is_there(self) -> bool:
        """Return True if the store has a journal. Raises UnreadableStore if the folder that the user named does not exist."""
        if self._place is None:
            raise UnreadableStore(NO_PLACE)
        try:
            names = os.listdir(self._place)
            if "journal" in names:
                os.scandir(self._place / "journal").close()
        except FileNotFoundError:
            if self._may_be_missing:
                return False
            raise UnreadableStore(
                f"no store at {self._place}: the folder does not exist.\n"
                "A program makes it when it records its first trace. To read another store: --store or LLMTRACE_STORE"
            ) from None
        except OSError as error:
            raise UnreadableStore(f"cannot read {error.filename}: {error.strerror}") from error
        if "journal" not in names and not BESIDE.issuperset(names):
            raise UnreadableStore(f"{self._place} is not an llmtrace store: it has no folder 'journal'")
        return "journal" in names

    def _index_words(self, query: Query) -> None:
        """Index the words for a text query, in steps between which other threads may read and fork."""

        def step(indexer: Indexer, db: sqlite3.Connection) -> bool:
            return indexer.catch_up(db, seconds=WORDS_STEP) and indexer.words.catch_up(db, seconds=WORDS_STEP)

        while query.text and not self._read(step, lambda _: True):
            pass

    def _index_some(self, seconds: float) -> None:
        indexer = self._indexer
        if indexer is not None:
            from llmtrace.store import word_index

            def work(db: sqlite3.Connection) -> None:
                if indexer.catch_up(db, seconds=seconds):
                    indexer.watch(db, ended=True, seconds=seconds)
                    if word_index.tables(db):  # somebody has searched
                        indexer.words.catch_up(db, seconds=seconds)

            indexer.call(work)
            journal_limits.sweep_as_noted(indexer.index.journal)


class BackgroundIndexing:
    """Indexes now and then in a daemon thread, once the process has run for a while. `wake` starts it."""

    def __init__(self, work: Callable[[float], None]) -> None:
        self._work = work
        self._pid = 0
        self._due = 0.0
        self._running = False

    def wake(self) -> None:
        """Start the thread if work is due. Called by a thread of the program, at most once a second."""
        if self._pid != os.getpid():  # the first time, or after a fork, which threads do not survive
            self._pid, self._due, self._running = os.getpid(), time.monotonic() + BACKGROUND_AFTER, False
        elif not self._running and time.monotonic() >= self._due:
            threading.Thread(target=self._run, name="llmtrace-index", daemon=True).start()
            self._running = True

    def _run(self) -> None:
        """Work once for a limited time; a later `wake` starts the next run."""
        with contextlib.suppress(OSError, AttributeError, PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        started = time.monotonic()
        try:
            self._work(BACKGROUND_EVERY * BACKGROUND_SHARE)
        except Exception as error:  # locked, broken, newer: reading reports it
            logger.debug("llmtrace: indexing in the background failed: %s", error)
        took = time.monotonic() - started
        self._due = time.monotonic() + max(BACKGROUND_EVERY, took / BACKGROUND_SHARE)
        self._running = False


def _spans(index: Index, db: sqlite3.Connection, trace_ids: list[str], *, prompts: bool) -> list[Span]:
    with contextlib.closing(index.reader(db)) as reader:
        return [span for trace_id in trace_ids for span in reader.read(trace_id, prompts=prompts).spans]


def _batches(trace_sizes: list[tuple[str, int]]) -> Iterator[list[str]]:
    """Yield batches of trace ids with about `SPANS_AT_ONCE` spans each."""
    batch, spans = list[str](), 0
    for trace_id, number in trace_sizes:
        batch.append(trace_id)
        spans += number
        if spans >= SPANS_AT_ONCE:
            yield batch
            batch, spans = [], 0
    if batch:
        yield batch


def default_folder() -> Path | None:
    """Return the user's data folder for llmtrace; None without a home folder."""
    import platformdirs  # takes 3 ms, which a program with a named store need not pay

    try:
        folder = Path(platformdirs.user_data_path("llmtrace", appauthor=False))
    except (OSError, RuntimeError, KeyError):
        return None
    return folder if folder.is_absolute() else None


def open(url: str, config: Config) -> LocalStore:  # noqa: A001
    """Open the default folder (``auto`` or empty) or a folder's path, which may be relative to the working folder.

    Raises UnreadableStore for a folder in which another program keeps its own ``index.db``.
    """
    text = url.removeprefix("local:")
    if text.strip().lower() in ("", "auto"):
        return LocalStore(default_folder(), config=config, may_be_missing=True)
    folder = Path(text).expanduser()
    with contextlib.suppress(OSError):  # the working folder was deleted: keep the relative path
        folder = folder.absolute()
    store = LocalStore(folder, config=config)
    if os.path.isfile(folder / "index.db") and not os.path.exists(folder / "journal"):  # `Path.is_file` may raise
        store.check_owner()
    return store
