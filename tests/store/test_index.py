"""The index: whatever happens to it, the journal has it all; what the journal loses, the index forgets."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import stat
import time
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrace import log_once
from llmtrace.errors import TraceNotFound, UnreadableStore
from llmtrace.model import Message, Text
from llmtrace.store import (
    Query,
    indexing,
    journal,
    journal_files,
    local,
    open_store,
    search,
    sqlite,
    word_index,
)
from llmtrace.store.journal_files import head
from llmtrace.store.local import LocalStore
from tests.store.programs import run, start
from tests.store.spans import agent, inference, span, trace_id


@pytest.fixture(autouse=True)
def _said_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_once, "_logged", {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with two traces, indexed."""
    store = LocalStore(tmp_path / "store")
    store.append(span(1, operation=inference("refund my order", "done")))
    store.append(span(2, operation=agent("support")))
    store.traces()
    store.close()
    return tmp_path / "store"


def _ids(store: LocalStore, **query: object) -> list[int]:
    return [int(one.trace_id, 16) for one in store.traces(Query(**query))]  # type: ignore[arg-type]


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_only_the_user_may_read_it(folder: Path) -> None:
    """The index holds words of conversations: 0600, whatever the umask."""
    before = os.umask(0)
    try:
        (folder / "index.db").unlink()
        LocalStore(folder).traces()
        with sqlite3.connect(folder / "index.db") as db:
            db.execute("SELECT count(*) FROM spans").fetchone()
            modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.glob("index*")}
    finally:
        os.umask(before)
    assert modes == {0o600}


def test_a_summary_by_itself(folder: Path) -> None:
    """One trace's summary is that of the list, by id, beginning or "last", also where the index cannot be read."""
    store = LocalStore(folder)
    newest, oldest = store.traces()
    assert store.summary("last") == newest
    assert store.summary(trace_id(1)) == oldest
    with pytest.raises(TraceNotFound):
        store.summary("ffff")
    LocalStore(folder).append(span(3))
    (folder / "index.db").unlink()
    (folder / "index.db").mkdir()
    assert LocalStore(folder).summary("last").trace_id == trace_id(3)


def test_an_index_that_is_gone_is_made_again(folder: Path) -> None:
    """Removing the index loses nothing."""
    for path in folder.glob("index*"):
        path.unlink()
    assert _ids(LocalStore(folder)) == [2, 1]
    assert _ids(LocalStore(folder), text="refund") == [1]


@pytest.mark.parametrize("damage", ["garbage", "middle", "no table", "empty"])
def test_a_broken_index_is_set_aside_and_rebuilt(folder: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    """A broken index costs one line in the log; nothing that was stored is lost, and the broken file stays to be looked at."""
    path = folder / "index.db"
    if damage == "garbage":
        path.write_bytes(b"this is no database" * 1000)
    elif damage == "middle":
        data = bytearray(path.read_bytes())
        data[4096:] = b"\xa5" * len(data[4096:])
        path.write_bytes(data)
    elif damage == "no table":
        with sqlite3.connect(path) as db:
            db.execute("DROP TABLE spans")
        db.close()
    else:
        path.write_bytes(b"")
    store = LocalStore(folder)
    store.append(span(3))
    assert _ids(store) == [3, 2, 1]
    assert len(store.trace(trace_id(1))) == 1
    assert (folder / "index.db.corrupt").exists() == (damage != "empty")
    assert len(_warnings(caplog)) == (damage != "empty")


def test_an_index_of_a_newer_llmtrace_is_refused_untouched(folder: Path) -> None:
    """A newer index is not guessed at: the message says what to do, the file stays as it is, spans are still taken."""
    with sqlite3.connect(folder / "index.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with mock.patch("llmtrace.store.sqlite.SCHEMA_VERSION", 99):
        sqlite.seal(folder / "index.db")
    before = (folder / "index.db").read_bytes()
    store = LocalStore(folder)
    store.append(span(3))
    for read in (store.traces, lambda: store.trace("last")):
        with pytest.raises(UnreadableStore, match=r"newer llmtrace \(index version 99; this one reads 6\)\. Upgrade"):
            read()
    assert (folder / "index.db").read_bytes() == before
    assert len(journal_files.listing(folder / "journal")) == 2


@pytest.mark.parametrize(("application", "version"), [(7, 0), (0, 0), (0, 5), (0, 99)])
def test_a_database_of_another_program_is_refused_untouched(tmp_path: Path, application: int, version: int) -> None:
    """A folder in which somebody else keeps an index.db is not ours, whatever numbers that has."""
    (tmp_path / "journal").mkdir()
    with sqlite3.connect(tmp_path / "index.db") as db:
        db.execute(f"PRAGMA application_id = {application}")
        db.execute(f"PRAGMA user_version = {version}")
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    before = (tmp_path / "index.db").read_bytes()
    with pytest.raises(UnreadableStore, match="another program"):
        LocalStore(tmp_path).traces()
    assert (tmp_path / "index.db").read_bytes() == before


@pytest.mark.parametrize("is_database", [True, False])
def test_a_program_does_not_write_beside_the_database_of_another(tmp_path: Path, is_database: bool) -> None:
    """The folder of another program does not become a store: it is refused when it is opened, and left as it is."""
    if is_database:
        with sqlite3.connect(tmp_path / "index.db") as db:
            db.execute("CREATE TABLE theirs (x)")
        db.close()
    else:
        (tmp_path / "index.db").write_text("their own format, long enough for a header" * 10)
    before = (tmp_path / "index.db").read_bytes()
    with pytest.raises(UnreadableStore, match="belongs to another program"):
        open_store(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["index.db"]
    assert (tmp_path / "index.db").read_bytes() == before


def test_a_store_without_its_journal_is_still_ours(folder: Path) -> None:
    """Somebody removed the journal by hand: the index beside it is no reason to refuse the folder."""
    shutil.rmtree(folder / "journal")
    open_store(str(folder)).append(span(9))
    assert [one.trace_id[-1] for one in open_store(str(folder)).traces()] == ["9"]


def test_a_locked_index_is_done_without(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While another process holds the index, reading waits its time, then reads the journals, and says so."""
    db = sqlite3.connect(folder / "index.db", isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    store = LocalStore(folder, busy_seconds=0.2)
    store.append(span(3))
    started = time.monotonic()
    assert _ids(store) == [3, 2, 1]
    assert 0.2 <= time.monotonic() - started < 2
    assert len(store.trace(trace_id(3))) == 1
    assert len(_warnings(caplog)) == 1
    assert "The journal is read instead" in _warnings(caplog)[0]
    db.execute("ROLLBACK")
    db.close()
    assert _ids(store) == [3, 2, 1]


def test_two_readers_at_once_index_each_record_once(tmp_path: Path) -> None:
    """Readers that start together on a store without an index share the work; none fails, nothing is there twice."""
    writer = LocalStore(tmp_path / "store")
    for number in range(2000):
        writer.append(span(number % 20 + 1, number + 1, operation=inference(f"question {number}", "answer")))
    program = "from llmtrace.store import Query\nprint(sum(one.spans for one in store.traces(Query(text='question'))))"
    readers = [start(program, tmp_path / "store") for _ in range(3)]
    for reader in readers:
        printed, logged = reader.communicate(timeout=60)
        assert (printed, logged) == ("2000\n", "")
    with sqlite3.connect(tmp_path / "store" / "index.db") as db:
        assert db.execute("SELECT count(*) FROM spans").fetchone() == (2000,)
        (table,) = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE name GLOB 'words_????????'")]
        assert db.execute(f"SELECT count(*) FROM {table} WHERE {table} MATCH 'question'").fetchone() == (2000,)
    db.close()


def test_files_that_are_gone_are_forgotten(folder: Path) -> None:
    """When a journal file was removed to keep the bounds, its spans, summaries and words go from the index."""
    store = LocalStore(folder)
    store.append(span(1, 2, operation=inference("again", "yes")))
    assert [one.spans for one in store.traces()] == [1, 2]
    (folder / "journal" / journal_files.listing(folder / "journal")[0].name).unlink()
    assert [(one.trace_id, one.spans) for one in store.traces()] == [(trace_id(1), 1)]
    assert _ids(store, text="refund") == []
    assert _ids(store, text="again") == [1]
    assert len(store.trace("last")) == 1


def test_words_of_days_that_are_gone_go_too(folder: Path) -> None:
    """Words are there from the first search on, kept by day, and a day's words go with its last file."""
    journals = folder / "journal"
    (found,) = journal_files.listing(journals)
    shutil.copy(journals / found.name, journals / ("20200101" + found.name[8:]))
    store = LocalStore(folder)
    store.traces()
    assert _tables(folder) == set()
    assert _ids(store, text="refund") == [1]
    assert _tables(folder) == {"words_20200101", f"words_{found.name[:8]}"}
    (journals / ("20200101" + found.name[8:])).unlink()
    store.traces()
    assert _tables(folder) == {f"words_{found.name[:8]}"}


def _tables(folder: Path) -> set[str]:
    db = sqlite3.connect(folder / "index.db")
    try:
        return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE name GLOB 'words_????????'")}
    finally:
        db.close()


def test_words_are_indexed_once_that_becomes_possible(folder: Path) -> None:
    """A store indexed by a Python whose SQLite has no FTS5 is found by words by one that has it."""
    (folder / "index.db").unlink()
    with mock.patch("llmtrace.store.word_index.ENGINE", "absent"):
        assert _ids(LocalStore(folder), text="refund") == [1]
        assert [span.trace_id for span in LocalStore(folder).spans(Query(text="refund"))]
    assert _tables(folder) == set()
    assert _ids(LocalStore(folder), text="refund") == [1]
    assert len(_tables(folder)) == 1


def test_the_background_keeps_words_up_to_date_where_somebody_searches(folder: Path) -> None:
    """Until then it leaves them."""
    store = LocalStore(folder)
    store._index_some(10)
    assert _tables(folder) == set()
    assert _ids(store, text="refund") == [1]
    store.append(span(3, operation=inference("a refund again", "done")))
    store._index_some(10)
    with sqlite3.connect(folder / "index.db") as db:
        (table,) = _tables(folder)
        assert db.execute(f"SELECT count(*) FROM {table} WHERE {table} MATCH 'refund'").fetchone() == (2,)
    db.close()


def test_garbage_among_the_journals_is_set_aside(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is no journal is renamed, with one line; a newer one stays; neither hides the rest."""
    garbage, newer = folder / "journal" / "1.journal", folder / "journal" / "2.journal"
    garbage.write_bytes(b"garbage" * 100)
    newer.write_bytes(head(99) + b"?" * 100)
    for _ in range(2):
        assert _ids(LocalStore(folder)) == [2, 1]
    assert not garbage.exists()
    assert garbage.with_name("1.journal.corrupt").read_bytes() == b"garbage" * 100
    assert newer.exists()
    assert len(_warnings(caplog)) == 2
    assert any("newer llmtrace" in line and "Upgrade" in line for line in _warnings(caplog))


def test_damage_in_the_middle_is_named_and_skipped(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A record with a flipped bit is left out; those around it are indexed."""
    store = LocalStore(folder)
    for number in range(3, 6):
        store.append(span(number))
    path = folder / "journal" / journal_files.listing(folder / "journal")[-1].name
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    assert _ids(store) == [5, 3, 2, 1] or _ids(store) == [4, 3, 2, 1] or _ids(store) == [5, 4, 2, 1]
    assert len([line for line in _warnings(caplog) if "damaged" in line or "torn" in line]) <= 1


def test_a_record_half_written_by_a_running_program_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A reader that comes while a record is being written takes it the next time."""
    store = LocalStore(tmp_path)
    store.append(span(1, 1))
    (path,) = (tmp_path / "journal").glob("*.journal")
    whole = path.read_bytes()
    store.append(span(1, 2))
    rest = path.read_bytes()[len(whole) :]
    os.truncate(path, len(whole) + 30)
    assert len(store.trace("last")) == 1
    assert len(store.trace("last")) == 1
    os.truncate(path, len(whole))
    with path.open("ab") as file:
        file.write(rest)
    assert len(store.trace("last")) == 2
    assert _warnings(caplog) == []


def test_a_program_that_runs_long_indexes_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while a thread indexes what the program wrote; a program that ends before leaves it to the reader."""
    monkeypatch.setattr(journal, "LOOK_SECONDS", 0.0)
    store = LocalStore(tmp_path)
    store.append(span(1))
    assert not (tmp_path / "index.db").exists()
    monkeypatch.setattr(local, "BACKGROUND_EVERY", 0.1)
    monkeypatch.setattr(local, "BACKGROUND_AFTER", 0.0)
    store = LocalStore(tmp_path)
    deadline = time.monotonic() + 20
    while not _rows(tmp_path) and time.monotonic() < deadline:
        store.append(span(1, time.monotonic_ns()))
        time.sleep(0.01)
    assert _rows(tmp_path) > 0


def _rows(folder: Path) -> int:
    if not (folder / "index.db").exists():
        return 0
    db = sqlite3.connect(folder / "index.db")
    try:
        return int(db.execute("SELECT count(*) FROM traces WHERE NOT stale").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        db.close()


def test_the_background_thread_survives_a_fork(tmp_path: Path) -> None:
    """A child starts a thread of its own, and a program with such a thread ends at once."""
    program = """
    from llmtrace.store import local
    journal.LOOK_SECONDS = local.BACKGROUND_AFTER = 0.0
    local.BACKGROUND_EVERY = 0.1
    import threading
    def work(trace):
        seen = False
        for number in range(1, 200):
            store.append(span(trace, number))
            seen = seen or any(thread.name == "llmtrace-index" for thread in threading.enumerate())
            time.sleep(0.001)
        return seen
    assert work(1)
    child = os.fork()
    if child == 0:
        os._exit(not work(2))
    assert os.waitpid(child, 0)[1] == 0
    """
    run(program, tmp_path / "store")
    assert [one.spans for one in open_store(str(tmp_path / "store")).traces()] == [199, 199]


def test_reading_an_unchanged_store_writes_nothing(folder: Path) -> None:
    """A reader that finds nothing new takes no write lock, so that readers do not hinder each other."""
    db = sqlite3.connect(folder / "index.db", isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    assert _ids(LocalStore(folder, busy_seconds=0.0)) == [2, 1]
    assert indexing._BATCH > 1
    db.execute("ROLLBACK")
    db.close()


def test_half_a_surrogate_pair_does_not_hide_the_store(folder: Path) -> None:
    """An emoji that was cut in two, in an answer or a name, is one odd letter; all traces are still listed and found."""
    store = LocalStore(folder)
    store.append(span(3, name="\ud83d", operation=agent("\ud83d", output=(Message("assistant", (Text("halved \ud83d"),)),))))
    assert sorted(_ids(store)) == [1, 2, 3]
    assert _ids(store, text="halved") == [3]
    assert store.trace(trace_id(3)).root.name == "\ud83d"
    store.close()


_PLAIN = st.text([chr(code) for code in range(128)], max_size=300)


@given(_PLAIN | st.text("abC1 _-.\0", max_size=300) | st.text("aB", max_size=200))
def test_words_in_the_index_are_the_words_of_a_query(text: str) -> None:
    """However they are found: an index and a store without one agree on what a text says."""
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        table = word_index._create_table(db, "20260101T")
        db.execute(f"INSERT INTO {table} (rowid, text) VALUES (1, ?)", (" ".join(search.words(text)),))
        db.execute(f"CREATE VIRTUAL TABLE held USING fts5vocab({table}, instance)")
        assert [term for (term,) in db.execute("SELECT term FROM held ORDER BY offset")] == search.words(text)
