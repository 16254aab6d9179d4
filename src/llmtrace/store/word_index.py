"""The words of spans, for searches by text. They are indexed only if somebody searches.

Law: once `Words.catch_up` has returned True, a text query finds the same as `search`. Words cost more than the rest of the
index, so they are indexed from the first search on: a store without searches pays nothing for them.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from llmtrace.codec import genai, message_cache
from llmtrace.model import Span
from llmtrace.store import search
from llmtrace.store.transactions import transaction

if TYPE_CHECKING:
    from llmtrace.store.sqlite import Index

ENGINE: Final = "fts5"
"""A SQLite without it cannot search the index, so that a search reads the journal."""
_BATCH: Final = 500
"""Spans in one transaction. Other processes wait for the write lock meanwhile."""
_SEEN: Final = 50_000


class Words:
    """Brings the word tables up to date. One per process and store, since it remembers the texts that it has indexed."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._seen: dict[tuple[str, int], str] = {}

    def catch_up(self, db: sqlite3.Connection, *, seconds: float = float("inf")) -> bool:
        """Index the words of the indexed spans, for at most ``seconds``. Returns True if it has indexed all."""
        deadline = time.monotonic() + seconds
        for file, name in db.execute("SELECT id, name FROM files WHERE words < done ORDER BY name").fetchall():
            while self._batch(db, file, name):
                if time.monotonic() > deadline:
                    return False
        return True

    def _batch(self, db: sqlite3.Connection, file: int, name: str) -> bool:
        """Index the words of some spans of a file. Returns True if there may be more."""
        with transaction(db):
            state = db.execute("SELECT words, done FROM files WHERE id = ?", (file,)).fetchone()
            if state is None or state[0] >= state[1]:
                return False
            with contextlib.closing(self._index.reader(db)) as reader, message_cache.together():
                located = reader.placed(file, state[0], _BATCH)
                spans = [(number, genai.decode(raw)) for number, _, raw in located if raw is not None]
            table = _create_table(db, name)
            rows = [(number, self._new_words(span)) for number, span in spans]
            db.executemany(f"INSERT INTO {table} (rowid, text) VALUES (?, ?)", rows)  # noqa: S608
            # a full batch continues after its last span; otherwise the whole file is done
            upto = located[-1][1] + 1 if len(located) == _BATCH else state[1]
            db.execute("UPDATE files SET words = ? WHERE id = ?", (upto, file))
        return len(located) == _BATCH

    def _new_words(self, span: Span) -> str:
        """Return the words of a span, without texts that are indexed for another ended span of the trace.

        Each call repeats the conversation, and a trace is found by any of its spans.
        """
        if len(self._seen) > _SEEN:
            self._seen.clear()
        words: list[str] = []
        for text in map(search.text_in, search.pieces(span)):
            if span.end is None or self._seen.setdefault((span.trace_id, hash(text)), span.span_id) == span.span_id:
                words += search.words(text)
        return " ".join(words)


def tables(db: sqlite3.Connection) -> list[str]:
    """Return the word tables: one for each day of journal files, so that a removed day costs one dropped table."""
    names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'words_*'")
    return [name for (name,) in names if re.fullmatch(r"words_\d{8}", name)]


def drop_unneeded(db: sqlite3.Connection) -> None:
    """Drop the tables of days without journal files."""
    needed = {_table(name) for (name,) in db.execute("SELECT name FROM files")}
    for table in tables(db):
        if table not in needed:
            db.execute(f"DROP TABLE {table}")


def condition(text: str, among: list[str]) -> Iterator[tuple[str, list[Any]]]:
    """Yield an SQL condition on a row of ``traces``, with its parameters, for each term of a text query."""
    rows = " UNION ALL ".join(f"SELECT rowid FROM {name} WHERE {name} MATCH ?" for name in among) or "SELECT 0"  # noqa: S608
    for phrase in search.phrases(text):
        yield f"trace IN (SELECT trace FROM spans WHERE id IN ({rows}))", [f'"{" ".join(phrase)}" *'] * len(among)  # noqa: S608


def _create_table(db: sqlite3.Connection, file: str) -> str:
    table = _table(file)
    db.execute(
        f"CREATE VIRTUAL TABLE IF NOT EXISTS {table} USING {ENGINE}"
        " (text, content='', columnsize=0, tokenize='unicode61 remove_diacritics 0')"
    )
    return table


def _table(name: str) -> str:
    """Return the word table of a journal file: that of the day on which the file was created."""
    return f"words_{name[:8]}" if re.match(r"[0-9]{8}T", name) else "words_00000000"
