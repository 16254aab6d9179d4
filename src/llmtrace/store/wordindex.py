"""The words of spans, for searches by text: indexed when somebody searches, not before.

Law: once `Words.catch_up` has said that nothing is left, a text query finds what `search` says. Words cost more than all the
rest of the index, so a store in which nobody searches pays nothing for them. Where somebody did in the last week, `wanted`
tells whoever indexes in the background to keep them up to date.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from llmtrace.codec import genai, message_cache
from llmtrace.model import Message, Span
from llmtrace.store import search
from llmtrace.store.transactions import transaction

if TYPE_CHECKING:
    from llmtrace.store.sqlite import Index

SCHEMA: Final = ("CREATE TABLE searched (at INTEGER)",)

_BATCH: Final = 500
"""Spans in a transaction; other processes wait that long for the write lock."""
_SEEN: Final = 50_000
_WANTED_SECONDS: Final = 7 * 86400
_NOTE_SECONDS: Final = 3600


class Words:
    """Brings the word tables up to date. One per process and store: it knows which texts it has seen."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._seen: dict[tuple[str, int], str] = {}

    def want(self, db: sqlite3.Connection) -> None:
        """Note that somebody searches."""
        if self._searched(db) < time.time() - _NOTE_SECONDS:
            with transaction(db):
                db.execute("DELETE FROM searched")
                db.execute("INSERT INTO searched VALUES (?)", (int(time.time()),))

    def wanted(self, db: sqlite3.Connection) -> bool:
        """Whether somebody searched lately."""
        return self._searched(db) > time.time() - _WANTED_SECONDS

    def _searched(self, db: sqlite3.Connection) -> float:
        return float(db.execute("SELECT max(at) FROM searched").fetchone()[0] or 0)

    def catch_up(self, db: sqlite3.Connection, *, seconds: float = float("inf")) -> bool:
        """Index the words of what the index holds, for ``seconds`` at most. Returns whether nothing is left."""
        if not self._index.has_words(db):
            return True
        deadline = time.monotonic() + seconds
        for file, name in db.execute("SELECT id, name FROM files WHERE words < done ORDER BY name").fetchall():
            while self._batch(db, file, name):
                if time.monotonic() > deadline:
                    return False
        return True

    def _batch(self, db: sqlite3.Connection, file: int, name: str) -> bool:
        """Index the words of some spans of a file. Returns whether there may be more."""
        with transaction(db):
            state = db.execute("SELECT words, done FROM files WHERE id = ?", (file,)).fetchone()
            if state is None or state[0] >= state[1]:
                return False
            with contextlib.closing(self._index.reader(db)) as reader, message_cache.together():
                found = reader.placed(file, state[0], _BATCH)
                spans = [(number, genai.decode(raw)) for number, _, raw in found if raw is not None]
            table = _made(db, name)
            met: dict[tuple[str, int], str] = {}
            rows = [(number, self._new_words(span, met)) for number, span in spans]
            db.executemany(f"INSERT INTO {table} (rowid, text) VALUES (?, ?)", rows)  # noqa: S608
            upto = found[-1][1] + 1 if len(found) == _BATCH else state[1]
            db.execute("UPDATE files SET words = ? WHERE id = ?", (upto, file))
        return len(found) == _BATCH

    def _new_words(self, span: Span, met: dict[tuple[str, int], str]) -> str:
        """The words of a span, without texts that another ended span of the trace has brought: a conversation is sent again
        with each call, and a trace is found by any of its spans. ``met``: as `_seen`, by the identity of messages."""
        if len(self._seen) > _SEEN:
            self._seen.clear()
            met.clear()
        found = []
        for piece in search.pieces(span):
            if type(piece) is Message and not _is_first(met, id(piece), span):
                continue
            text = search.text_in(piece)
            if _is_first(self._seen, hash(text), span):
                found.append(search.indexed(text))
        return " ".join(found)


def _is_first(seen: dict[tuple[str, int], str], what: int, span: Span) -> bool:
    """Whether no other ended span of the trace has brought this."""
    return span.end is None or seen.setdefault((span.trace_id, what), span.span_id) == span.span_id


def tables(db: sqlite3.Connection) -> list[str]:
    """One table of words for each day of journal files: removing a day is dropping its table, which every SQLite can."""
    names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'words_*'")
    return [name for (name,) in names if re.fullmatch(r"words_\d{8}", name)]


def drop_unneeded(db: sqlite3.Connection) -> None:
    """Drop the tables of days of which there is no journal file left."""
    needed = {_table(name) for (name,) in db.execute("SELECT name FROM files")}
    for table in tables(db):
        if table not in needed:
            db.execute(f"DROP TABLE {table}")


def condition(text: str, among: list[str]) -> Iterator[tuple[str, list[Any]]]:
    """What must hold of a row of ``traces`` for each term of a text query."""
    rows = " UNION ALL ".join(f"SELECT rowid FROM {name} WHERE {name} MATCH ?" for name in among) or "SELECT 0"  # noqa: S608
    for phrase in search.phrases(text):
        yield f"trace IN (SELECT trace FROM spans WHERE id IN ({rows}))", [f'"{" ".join(phrase)}" *'] * len(among)  # noqa: S608


def _made(db: sqlite3.Connection, file: str) -> str:
    table = _table(file)
    db.execute(
        f"CREATE VIRTUAL TABLE IF NOT EXISTS {table} USING fts5"
        " (text, content='', columnsize=0, tokenize='unicode61 remove_diacritics 0')"
    )
    return table


def _table(name: str) -> str:
    """The table for the words of a journal file: that of the day on which it was begun."""
    return f"words_{name[:8]}" if re.match(r"[0-9]{8}T", name) else "words_00000000"
