"""What a later llmtrace may write into a store: it is read as far as it is known, or named in a sentence, and never removed.

Each field of each kind of row is changed to words, numbers and types that no version has written.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmtrace.cli import main
from llmtrace.store import baselines, journal_files, sqlite
from llmtrace.store.reviews import Reviews
from tests.store.test_former_stores import known, output, unpack

STORE = "index-6-summary-14"
UNKNOWN: tuple[Any, ...] = ("later", "", 7, -1.5, 10**30, True, None, [], ["later"], {}, {"later": {"x": 1}})
Place = tuple[Any, ...]
"""The keys that lead to a field; ``None`` steps into JSON that is inside a text."""


def run(*words: str) -> str:
    """Run a command. Returns what it printed, and what it said about errors."""
    written = io.BytesIO()
    text = io.TextIOWrapper(written, errors="surrogatepass", write_through=True)
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text), contextlib.suppress(SystemExit):
        main(list(words))
    printed = written.getvalue().decode(errors="replace")
    assert "Traceback" not in printed
    return printed


def places(value: Any, above: Place = ()) -> Iterator[Place]:
    """The place of each field of a JSON value."""
    if above:
        yield above
    if isinstance(value, str) and value[:1] in ("{", "["):
        with contextlib.suppress(ValueError):
            yield from list(places(json.loads(value), (*above, None)))[1:]
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*above, key))


def changed(value: Any, place: Place, field: Any) -> Any:
    """A copy of a JSON value with another value at this place."""
    if not place:
        return field
    key, *rest = place
    if key is None:
        return json.dumps(changed(json.loads(value), tuple(rest), field))
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = changed(value[key], tuple(rest), field)
    return copy


def mutants(value: Any, chance: random.Random, number: int | None) -> list[Any]:
    """Copies with one field changed each, and one with a member more in each object; ``number``: so many of them by chance."""
    pairs = [(place, field) for place in places(value) for field in UNKNOWN]
    chosen = pairs if number is None else chance.sample(pairs, min(number, len(pairs)))
    return [changed(value, place, field) for place, field in chosen]


# -- the journal


def rows_of(store: Path) -> tuple[bytes, dict[str, list[Any]]]:
    """The context records of a journal of one file, as bytes, and by trace its rows."""
    (file,) = (store / "journal").glob("*.journal")
    contexts, rows = b"", dict[str, list[Any]]()
    for record in journal_files.iterate(file):
        assert isinstance(record, journal_files.Record)
        if record.kind == journal_files.CONTEXT:
            contexts += journal_files.frame(record.kind, record.ref, record.payload)
            continue
        (size,) = struct.unpack_from("<I", record.payload)
        row, at = json.loads(record.payload[4 : 4 + size]), 4 + size
        for name, length in row[12]:
            row[9][name] = record.payload[at : at + length].decode()
            at += length
        rows.setdefault(row[0], []).append((record.kind, record.ref, [*row[:12], []]))
    return contexts, rows


def frame(kind: int, ref: int, row: Any) -> bytes:
    data = json.dumps(row).encode()
    return journal_files.frame(kind, ref, struct.pack("<I", len(data)) + data)


def check_rows(tmp_path: Path, number: int | None) -> None:
    chance = random.Random(1)
    store, said = unpack(STORE, tmp_path)
    contexts, rows = rows_of(store)
    journal, ids = journal_files.head() + contexts, []
    for trace_id, members in rows.items():
        for position, (kind, _, row) in enumerate(members):
            if kind != journal_files.SPAN:
                continue
            for mutant in mutants(row, chance, number):
                ids.append(f"{len(ids):032x}")
                for at, (member_kind, ref, member) in enumerate(members):
                    written = mutant if at == position else member
                    text = json.dumps(written).replace(trace_id, ids[-1])
                    journal += frame(member_kind, ref, json.loads(text))
    file = store / "journal" / "20990101T000000000000-1-00000001.00000.journal"
    file.write_bytes(journal)
    place = ("--store", str(store))
    for words in (["ls"], ["ls", "--json"], ["stats"], ["check", "--all"], ["dead-letters"], ["drift"], ["export", "--all"]):
        run(*words, *place)
    for trace_id in ids:
        for words in (
            ["show", trace_id, "--full"],
            ["show", trace_id, "--json"],
            ["why", trace_id],
            ["why", trace_id, "--json"],
        ):
            run(*words, *place)
    for trace in said["now"]["show"]:
        assert known(output("show", trace["trace_id"], "--json", *place), trace) == trace
    assert file.read_bytes() == journal


def test_changed_rows_are_read_or_named(tmp_path: Path) -> None:
    check_rows(tmp_path, 1)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_each_field_of_each_row_may_change(tmp_path: Path) -> None:
    check_rows(tmp_path, None)


def test_rows_with_more_members_and_records_of_other_kinds_are_read(tmp_path: Path) -> None:
    store, said = unpack(STORE, tmp_path)
    contexts, rows = rows_of(store)
    (file,) = (store / "journal").glob("*.journal")
    written = journal_files.head() + contexts
    for kind, ref, row in [record for members in rows.values() for record in members]:
        written += journal_files.frame(77, ref, b"later")
        written += frame(kind, ref, [*row, {"later": 1}, "later"])
    file.write_bytes(written)
    for trace in said["now"]["show"]:
        assert known(output("show", trace["trace_id"], "--json", "--store", str(store)), trace) == trace


def test_a_journal_of_a_later_format_is_named_and_left(tmp_path: Path) -> None:
    store, said = unpack(STORE, tmp_path)
    file = store / "journal" / "20990101T000000000000-1-00000001.00000.journal"
    content = journal_files.head(journal_files.VERSION + 1) + b"later"
    file.write_bytes(content)
    assert known(output("ls", "--json", "--store", str(store)), said["now"]["ls"]) == said["now"]["ls"]
    assert file.read_bytes() == content


# -- reviews and letters


def claims(store: Path) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(store / "claims.db")) as db:
        return sorted(db.execute("SELECT * FROM claims"), key=repr)


def check_claims(tmp_path: Path, number: int | None) -> None:
    chance = random.Random(2)
    store, _ = unpack(STORE, tmp_path)
    written = []
    with contextlib.closing(sqlite3.connect(store / "claims.db")) as db:
        for row in claims(store):
            mutated = mutants([*row[2:7], json.loads(row[7])], chance, number)
            for *columns, data in mutated:
                plain = [json.dumps(column) if isinstance(column, (dict, list)) else column for column in columns]
                values = [min(value, 2**62) if isinstance(value, int) else value for value in plain]
                if None not in values:
                    written.append((row[0], f"{len(written):06}", *values, json.dumps(data)))
        db.executemany("INSERT INTO claims VALUES (?,?,?,?,?,?,?,?)", written)
        db.execute("INSERT INTO claims VALUES ('later', 'x', 'later', '', '', 0, '', 'later')")
        db.commit()
    before = claims(store)
    place = ("--store", str(store))
    for words in (
        ["review", "ls", "--all"],
        ["review", "ls", "--all", "--json"],
        ["dead-letters", "ls", "--all"],
        ["ls"],
        ["why"],
    ):
        run(*words, *place)
    for kind, claim_id, *_ in written:
        run("review" if kind == "review" else "dead-letters", "show", claim_id, *place)
    assert claims(store) == before


def test_changed_claims_are_read_or_named_and_stay(tmp_path: Path) -> None:
    check_claims(tmp_path, 20)


@pytest.mark.long
def test_each_field_of_each_claim_may_change(tmp_path: Path) -> None:
    check_claims(tmp_path, None)


def test_columns_members_and_states_of_a_later_version_stay(tmp_path: Path) -> None:
    """Also where this version writes the same row, and where it removes old ones."""
    store, _ = unpack(STORE, tmp_path)
    with contextlib.closing(sqlite3.connect(store / "claims.db")) as db:
        db.execute("ALTER TABLE claims ADD COLUMN later TEXT DEFAULT 'later'")
        db.execute("CREATE TABLE later (x)")
        state = (
            "UPDATE claims SET state = 'proposed', later = 'mine', data = json_set(data, '$.later', 1, '$.request.later', 2,"
        )
        db.execute(state + " '$.request.deadline', 9e9, '$.decision', NULL) WHERE kind = 'review' AND state = 'rejected'")
        db.execute("UPDATE claims SET state = 'later', at = 1 WHERE state = 'timed_out'")
        db.execute("UPDATE claims SET state = 'later', at = 1 WHERE kind = 'letter'")
        db.commit()
        ((claim_id,),) = db.execute("SELECT id FROM claims WHERE state = 'proposed'").fetchall()
    assert "rejected" in run("review", "reject", claim_id, "--store", str(store))
    reviews = Reviews(store)
    reviews.propose(reviews.get(claim_id).request)  # removes old reviews
    letters = json.loads(run("dead-letters", "ls", "--json", "--store", str(store)))["letters"]
    run("dead-letters", "drop", letters[0]["letter_id"], "--store", str(store))
    with contextlib.closing(sqlite3.connect(store / "claims.db")) as db:
        query = "SELECT json_extract(data, '$.later', '$.request.later'), later FROM claims WHERE id = ?"
        written, later = db.execute(query, (claim_id,)).fetchone()
        assert (json.loads(written), later) == ([1, 2], "mine")
        assert db.execute("SELECT count(*) FROM claims WHERE state = 'later'").fetchone() == (2,)


# -- the index and the files beside it


def test_an_index_and_summaries_of_a_later_form_are_read_or_refused(tmp_path: Path) -> None:
    store, _ = unpack(STORE, tmp_path)
    path, place = store / "index.db", ("--store", str(store))
    output("ls", "--json", *place)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE traces SET form = 99, summary = json_set(CAST(summary AS TEXT), '$.later', 1, '$.models', 'later')")
        db.execute("CREATE TABLE later (x)")
        db.commit()
    sqlite.seal(path)
    assert "refunds" in run("ls", *place)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {sqlite.SCHEMA_VERSION + 1}")
    (store / "index.lock").write_bytes(b"%s %06d" % (sqlite._stamp(path), sqlite.SCHEMA_VERSION + 1))
    content = path.read_bytes()
    assert "was written by a newer llmtrace" in run("ls", *place)
    assert path.read_bytes() == content


def test_baselines_of_a_later_version_are_named_and_stay(tmp_path: Path) -> None:
    store, said = unpack(STORE, tmp_path)
    file, place = store / baselines.NAME, ("--store", str(store))
    content = json.dumps({"llmtrace_baselines": 99, "keys": "later"})
    file.write_text(content)
    assert known(output("ls", "--json", *place), said["now"]["ls"]) == said["now"]["ls"]
    for words in (["drift"], ["drift", "baseline", "unpin"], ["drift", "baseline", "show"]):
        run(*words, *place)
    assert file.read_text() == content
