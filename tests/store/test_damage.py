"""Damage to a store's files, wherever it is: nothing undamaged is lost, the index mends itself, and no command crashes."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llmtrace.cli import main
from llmtrace.model import Span, replace
from llmtrace.store import Query, journal_files, journal_records
from llmtrace.store.local import LocalStore
from tests.store.spans import agent, inference, span, trace_id

EVERYTHING = Query(limit=10_000)
EXPORT, SEARCH = ["export", "last", "-o", os.devnull], ["ls", "--text", "refund"]
COMMANDS = (["ls"], ["why"], ["show"], ["stats"], ["check"], ["doctor"], ["drift"], EXPORT, SEARCH)


def spans_of(number: int) -> list[Span]:
    question = f"a refund of order {number} please " * 20
    return [
        span(number, 2, parent=1, operation=inference(question, "done")),
        span(number, 3, parent=1, name="refund"),
        span(number, 1, operation=agent("support")),
    ]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of three journal files, indexed and searched."""
    folder = tmp_path_factory.mktemp("original") / "store"
    for process in range(3):
        store = LocalStore(folder, background=False)
        for number in range(4):
            for one in spans_of(1 + 4 * process + number):
                store.append(one)
        store.close()
    LocalStore(folder, background=False).traces(Query(text="refund"))
    LocalStore(folder, background=False).monitor_states()
    return folder


@contextlib.contextmanager
def copied(original: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy with the same times, so that the index counts as ours."""
    folder = tmp_path / "copy"
    shutil.copytree(original, folder)  # keeps times
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def undamaged(before: Path, after: Path) -> dict[tuple[str, str], bool]:
    """The spans whose record is unchanged, and whether its context is."""
    kept = {}
    for path in sorted((before / "journal").glob("*.journal")):
        data, changed = path.read_bytes(), after / "journal" / path.name
        now = changed.read_bytes() if changed.exists() else b""
        contexts: dict[int, bool] = {}
        for record in journal_files.iterate(path):
            assert isinstance(record, journal_files.Record)
            place = slice(record.offset, record.offset + record.length)
            same = data[place] == now[place]
            if record.kind == journal_files.CONTEXT:
                contexts[record.ref] = same
            elif same:
                raw = journal_records.decode(record.payload, {}, span(1).scope)
                kept[raw.trace_id, raw.span_id] = contexts[record.ref]
    return kept


def check(folder: Path, original: Path) -> None:
    """Everything that is undamaged is read, as it was; nothing else is; a second reading finds the same."""
    expected = undamaged(original, folder)
    whole = {(one.trace_id, one.span_id): one for number in range(1, 13) for one in spans_of(number)}
    for _ in range(2):
        store = LocalStore(folder, background=False)
        assert {trace for trace, _ in expected} <= {summary.trace_id for summary in store.traces(EVERYTHING)}
        read = {(one.trace_id, one.span_id): one for one in store.spans(EVERYTHING)}
        assert set(read) == set(expected)
        listed = {summary.trace_id: summary.spans for summary in store.traces(EVERYTHING)}
        for ids, context_is_whole in expected.items():
            same = whole[ids] if context_is_whole else replace(whole[ids], resource=read[ids].resource, scope=read[ids].scope)
            assert replace(read[ids], evaluations=()) == same
        assert listed == {trace: sum(ids[0] == trace for ids in expected) for trace, _ in expected}
        for trace, number in listed.items():
            assert len(store.trace(trace)) == number
        found = {summary.trace_id for summary in store.traces(Query(limit=100, text="refund"))}
        assert {trace for trace, name in expected if name == span(1, 2).span_id} <= found
        store.close()


def run_commands(folder: Path) -> None:
    for command in COMMANDS:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
            code = main([*command, "--store", str(folder)])
        assert code in (0, 1, 2, 4), (command, code, errors.getvalue())
        assert "Traceback" not in errors.getvalue()
        assert "fault of llmtrace" not in errors.getvalue()


def damage(path: Path, at: float, kind: str) -> None:
    """Change one file: flip a bit at a place (0 to 1), cut the file there, or fill a block with zeros."""
    data = bytearray(path.read_bytes())
    offset = min(int(at * len(data)), len(data) - 1)
    if kind == "cut":
        del data[offset:]
    elif kind == "zeros":
        data[offset : offset + 512] = bytes(len(data[offset : offset + 512]))
    else:
        data[offset] ^= 1 << int(kind)
    time.sleep(0.01)  # a file system may keep times in steps of 4 ms
    path.write_bytes(data)


_places = st.floats(0, 1, allow_nan=False, exclude_max=True)
_kinds = st.sampled_from(["cut", "zeros", *"01234567"])
_settings = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@settings(_settings, max_examples=4)
@example(0, 0.0, "3")  # the head
@example(1, 0.001, "0")
@example(2, 0.0, "cut")
@example(2, 0.5, "cut")
@given(st.integers(0, 2), _places, _kinds)
def test_damage_to_the_journal(original: Path, tmp_path: Path, number: int, at: float, kind: str) -> None:
    """After it was indexed, as a power cut or a bad disk do it."""
    with copied(original, tmp_path) as folder:
        damage(sorted((folder / "journal").iterdir(), key=lambda path: (path.suffix != ".journal", path))[number], at, kind)
        check(folder, original)


@settings(_settings, max_examples=4)
@example(0.0, "3")
@example(0.5, "cut")
@given(_places, _kinds)
def test_damage_to_the_index(original: Path, tmp_path: Path, at: float, kind: str) -> None:
    """Any bit of any row."""
    with copied(original, tmp_path) as folder:
        damage(folder / "index.db", at, kind)
        check(folder, original)


HEADER = [16, 18, 28, 40, 44, 52, 56, 60, 62, 63, 68, 71, 92, 96, 100]
"""Places in SQLite's file header: page size, format, pages, schema, encoding, version, application …"""


@pytest.mark.parametrize("offset", [60, 63, *(pytest.param(offset, marks=pytest.mark.all) for offset in HEADER)])
@pytest.mark.parametrize("bit", "0167")
def test_damage_to_the_head_of_the_index(original: Path, tmp_path: Path, offset: int, bit: str) -> None:
    """A version that seems newer or older, another page size: it is rebuilt."""
    with copied(original, tmp_path) as folder:
        path = folder / "index.db"
        damage(path, (offset + 0.5) / path.stat().st_size, bit)
        check(folder, original)


@pytest.mark.all
@pytest.mark.timeout(900)
@settings(_settings, max_examples=40)
@given(st.sampled_from(["index.db", "index.lock", "0", "1", "2", ".bounds"]), _places, _kinds)
def test_no_command_crashes(original: Path, tmp_path: Path, name: str, at: float, kind: str) -> None:
    """Any file, with the commands first, and then all that is undamaged."""
    with copied(original, tmp_path) as folder:
        journals = sorted((folder / "journal").glob("*.journal"))
        path = journals[int(name)] if name.isdigit() else folder / ("journal" if name == ".bounds" else "") / name
        damage(path, at, kind)
        run_commands(folder)
        check(folder, original)


def test_a_journal_shorter_than_its_index(original: Path, tmp_path: Path) -> None:
    """A power cut took its end: every command works, and the spans before the end are there."""
    with copied(original, tmp_path) as folder:
        damage(max((folder / "journal").glob("*.journal")), 0.6, "cut")
        run_commands(folder)
        check(folder, original)


def test_rows_are_mended_although_nobody_noticed_the_change(original: Path, tmp_path: Path) -> None:
    """A flipped bit that leaves size and time of the file as they are: seen where a row does not fit the journal."""
    for column, value in (("offset", "offset + 1"), ("length", "length - 1"), ("ref", "7")):
        with copied(original, tmp_path) as folder:
            with contextlib.closing(sqlite3.connect(folder / "index.db")) as db:
                ids = span(5, 3).span_id, trace_id(5)
                db.execute(f"UPDATE spans SET {column} = {value} WHERE span = ? AND trace = ?", ids)
                db.commit()
            with mock.patch("llmtrace.store.sqlite.is_changed", return_value=False):
                store = LocalStore(folder, background=False)
                if column == "trace":
                    store.traces(EVERYTHING)
                    with contextlib.suppress(LookupError):
                        store.trace(trace_id(99))
                assert len(store.trace(trace_id(5))) == 3, column
                assert len(list(store.spans(EVERYTHING))) == 36


def test_a_copied_store_keeps_what_monitors_learned(original: Path, tmp_path: Path) -> None:
    """A copy has other times, so its rows are made anew; states of monitors cannot be."""
    states = LocalStore(original, background=False).monitor_states()
    assert states
    with copied(original, tmp_path) as folder:
        os.utime(folder / "index.db")
        assert LocalStore(folder, background=False).monitor_states() == states
        check(folder, original)


def test_reading_does_not_rebuild_what_is_whole(original: Path, tmp_path: Path) -> None:
    """Neither after another process wrote, nor after one was killed while it read."""
    program = """
    from llmtrace.store.local import LocalStore
    import os, signal, sys
    from pathlib import Path
    store = LocalStore(Path(sys.argv[1]), background=False)
    store.append(__import__("tests.store.spans").store.spans.span(50))
    indexer = store._indexer
    def die(db):
        indexer.catch_up(db)
        os.kill(os.getpid(), signal.SIGKILL)
    indexer.index.call(die) if sys.argv[2] == "die" else store.traces()
    """
    lines = textwrap.dedent(program)
    for ending in ("end", "die"):
        with copied(original, tmp_path) as folder:
            subprocess.run([sys.executable, "-c", lines, str(folder), ending], check=False, timeout=60)
            with mock.patch("llmtrace.store.sqlite.Index._rebuild", side_effect=AssertionError):
                assert len(LocalStore(folder, background=False).traces(EVERYTHING)) == 13
                assert (folder / "index.db.corrupt").exists() is False


def test_a_journal_that_may_not_be_read(original: Path) -> None:
    """An error that names the folder, not a traceback."""
    if os.name != "posix" or os.getuid() != 0:
        pytest.skip("needs root to become a user that may not read it")
    program = """
    import sys
    from llmtrace.cli import main
    import llmtrace.cli.ls, llmtrace.cli.why, llmtrace.cli.stats, llmtrace.cli.doctor, llmtrace.cli.doctor_checks
    import llmtrace.store.indexing, llmtrace.store.memory, llmtrace.store.local, llmtrace.statistics
    import os
    os.setuid(54321)
    for command in ("ls", "why", "stats"):
        assert main([command, "--store", sys.argv[1]]) == 2
    """
    with tempfile.TemporaryDirectory() as outside, copied(original, Path(outside)) as folder:
        Path(outside).chmod(0o755)
        folder.chmod(0o755)
        command = [sys.executable, "-c", textwrap.dedent(program), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("journal: Permission denied") == 3
