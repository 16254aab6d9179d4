"""Claims: one table for reviews and dead letters. Stores of before had a file for each, which is carried over once."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from llmtrace.errors import ReviewConflict
from llmtrace.model.reviews import Decision, ReviewRequest
from llmtrace.store import claims, local
from llmtrace.store.claims import FORMER, NAME, Claim, Claims, Table
from llmtrace.store.letter_states import LetterStates
from llmtrace.store.reviews import Reviews

REVIEWS = """
CREATE TABLE reviews (id TEXT PRIMARY KEY, state TEXT NOT NULL, digest TEXT NOT NULL, run TEXT NOT NULL,
    tool TEXT, asked_at REAL NOT NULL, deadline REAL NOT NULL, owner TEXT NOT NULL, request TEXT NOT NULL, decision TEXT,
    started_at REAL, ended_at REAL, result TEXT) WITHOUT ROWID;
CREATE TABLE standing (review TEXT PRIMARY KEY, run TEXT NOT NULL, tool TEXT NOT NULL, wanted TEXT NOT NULL) WITHOUT ROWID;
"""
LETTERS = """
CREATE TABLE letters (id TEXT PRIMARY KEY, state TEXT NOT NULL, retries INTEGER NOT NULL, by TEXT NOT NULL,
    at REAL NOT NULL, owner TEXT NOT NULL, note TEXT NOT NULL) WITHOUT ROWID;
"""
"""The tables as an older version made them."""
REQUEST = (
    '{"review_id":"ID","question":"refund","digest":"d","payload":{"amount":5},"asked_at":%s,"deadline":%s,"reason":"","tool":'
    '"refund","call_id":null,"run_id":"r1","trace_id":"","span_id":"","hidden":["/to"],"schema":null,"origins":[],"strict":false}'
)
DECISION = '{"kind":"approved","value":null,"by":"ann","at":7.0,"reason":"","always":{"amount":5}}'


def former(folder: Path) -> float:
    """Write the two files of before: a review in each of five states, one that cannot be read, and two letters."""
    now = time.time()
    request = REQUEST % (now, now + 900)
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "reviews.db", isolation_level=None)) as db:
        db.executescript(REVIEWS)
        for number, (state, decision, written) in enumerate(
            [
                ("proposed", None, request),
                ("approved", DECISION, request),
                ("started", DECISION, request),
                ("done", DECISION, request),
                ("rejected", DECISION.replace("approved", "rejected"), request),
                ("proposed", None, "{"),
            ]
        ):
            name = f"rev_0{number}"
            columns = (name, state, "d", "r1", "refund", now, now + 900, "1-gone", written.replace("ID", name), decision)
            db.execute("INSERT INTO reviews VALUES (?,?,?,?,?,?,?,?,?,?,NULL,NULL,?)", (*columns, '{"ok":1}'))
        db.execute("INSERT INTO standing VALUES ('rev_03', 'r1', 'refund', '{\"amount\":5}')")
    with closing(sqlite3.connect(folder / "dead_letters.db", isolation_level=None)) as db:
        db.executescript(LETTERS)
        db.execute("INSERT INTO letters VALUES ('aaaa', 'dropped', 1, 'ann', ?, '', 'twice')", (now,))
        db.execute("INSERT INTO letters VALUES ('bbbb', 'retrying', 2, 'bob', ?, '1-gone', '')", (now,))
    return now


def check(folder: Path) -> None:
    reviews, letters = Reviews(folder), LetterStates(folder).all()
    states = {name: reviews.get(name).state for name in ("rev_00", "rev_01", "rev_02", "rev_03", "rev_04")}
    assert list(states.values()) == ["proposed", "approved", "in_doubt", "done", "rejected"]
    with pytest.raises(ReviewConflict, match="cannot be read"):
        reviews.get("rev_05")
    record = reviews.get("rev_03")
    assert (record.request.hidden, record.request.payload, record.result) == (("/to",), {"amount": 5}, {"ok": 1})
    assert record.decision == Decision("approved", by="ann", at=7.0, always={"amount": 5})
    assert {name: (state.state, state.retries, state.by, state.note) for name, state in letters.items()} == {
        "aaaa": ("dropped", 1, "ann", "twice"),
        "bbbb": ("in_doubt", 2, "bob", ""),
    }


def test_the_files_of_before_are_carried_over(tmp_path: Path) -> None:
    """Each state, also of what was running; an approval of later calls still holds; the old files are gone."""
    now = former(tmp_path)
    check(tmp_path)
    assert sorted(name for name in os.listdir(tmp_path) if name.endswith(".db")) == ["claims.db"]
    request = ReviewRequest("rev_99", "refund", "e", {"amount": 5}, now, now + 900, tool="refund", run_id="r1")
    asked = Reviews(tmp_path).propose(request)
    assert (asked.state, asked.decision is not None and asked.decision.by) == ("approved", "ann")
    Reviews(tmp_path).decide("rev_00", Decision("approved", at=now), digest="d")
    former(tmp_path)  # as a program of the older version that still ran would write it
    assert Reviews(tmp_path).get("rev_00").state == "approved"  # what was decided here stays


def test_a_folder_that_may_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    former(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    check(tmp_path)
    assert sorted(name for name in os.listdir(tmp_path) if name.endswith(".db")) == ["dead_letters.db", "reviews.db"]


@pytest.mark.parametrize("name", ["reviews.db", "dead_letters.db"])
def test_a_damaged_file_of_before_is_named(tmp_path: Path, name: str) -> None:
    former(tmp_path)
    (tmp_path / name).write_bytes(b"garbage" * 1000)
    with pytest.raises(sqlite3.DatabaseError, match=f"{name}: file is not a database"):
        Reviews(tmp_path).list()


def test_killed_while_it_is_carried_over(tmp_path: Path) -> None:
    """At each step: the next that opens it goes on, and nothing is lost."""
    for step in ("_copy", "unlink"):
        folder = tmp_path / step
        former(folder)
        code = (
            "import os, signal, sys, pathlib\nfrom llmtrace.store import claims\nfrom llmtrace.store.reviews import Reviews\n"
            "die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
            "copy = claims._copy\n"
            "def copied(*args):\n    copy(*args)\n    die()\n"
            f"{'claims._copy = copied' if step == '_copy' else 'os.unlink = die'}\n"
            f"Reviews(pathlib.Path({str(folder)!r})).list()\n"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
        check(folder)


def test_several_open_it_at_once(tmp_path: Path) -> None:
    former(tmp_path)
    opens = f"Reviews(pathlib.Path({str(tmp_path)!r})).list()"
    code = f"import pathlib; from llmtrace.store.reviews import Reviews; print(len({opens}))"
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[0].strip() for process in started] == ["1"] * 4
    check(tmp_path)


def test_the_names_are_one(tmp_path: Path) -> None:
    """`local` names the files without importing the module, which programs that only record do not need."""
    assert (claims.NAME, *claims.FORMER) == local.CLAIMS


def test_kinds_do_not_mix(tmp_path: Path) -> None:
    """A letter and a review may have the same id."""
    kept = Claims(tmp_path)
    with kept.write() as db:
        Table(db, "review").put(Claim("abcd1", "a", "r", "", 1.0, "", "{}"))
        Table(db, "letter").put(Claim("abcd1", "b", "r", "", 2.0, "", "{}"))
        Table(db, "letter").put(Claim("abcd2", "b", "r", "", 3.0, "", "{}"))
    with kept.read() as db:
        reviews, letters = Table(db, "review"), Table(db, "letter")
        assert (reviews.count("a"), letters.count("b"), letters.count("a")) == (1, 2, 0)
        assert letters.find("abcd") is None  # two begin with it
        found = reviews.find("abcd")
        assert found is not None
        assert (found.id, [claim.id for claim in letters.select(oldest_first=False)]) == ("abcd1", ["abcd2", "abcd1"])
        assert [claim.id for claim in letters.of_run("r")] == ["abcd1", "abcd2"]


@pytest.mark.skipif(os.name != "posix", reason="symbolic links")
@pytest.mark.parametrize("name", [NAME, *FORMER])
def test_a_link_is_not_followed(name: str, tmp_path: Path) -> None:
    """Another user of a shared folder may place one that leads to a file elsewhere: it stays as it is."""
    folder, target = tmp_path / "store", tmp_path / "elsewhere.db"
    folder.mkdir()
    with closing(sqlite3.connect(target)) as db:
        db.execute("CREATE TABLE reviews (id)")
    before = target.read_bytes()
    (folder / name).symlink_to(target)
    claims = Claims(folder)
    with pytest.raises(OSError) if name == NAME else nullcontext(), claims.write() as db:  # noqa: PT011 - ELOOP
        Table(db, "review").select()
    assert target.read_bytes() == before
    assert (folder / name).is_symlink()
