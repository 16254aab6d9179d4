"""A killed program: whatever it had appended is there, however and whenever it died."""

from __future__ import annotations

import re
from pathlib import Path

from llmtrace.store import journal_files, open_store
from llmtrace.store.local import LocalStore
from tests.store.programs import run, start
from tests.store.spans import trace_id

KILLS = 200

_KILLER = """
import random

def append_until_killed(number, pipe):
    chance = random.Random(number)
    sizes = [10, 100, 1000, 5000, 70_000]
    for at in range(1, 1_000_000):
        one = span(number, at, attributes={"text": "x" * chance.choice(sizes)})
        if at % 3 == 0:
            store.append(span(number, at, ended=False))
        store.append(one)
        os.write(pipe, f"{number} {at}\\n".encode())

chance = random.Random()
for number in range(1, KILLS + 1):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        append_until_killed(number, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        first = pipe.readline() if number % 2 else b""  # of the others some die before they write anything
        time.sleep(chance.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        sys.stdout.buffer.write(first + b"".join(line for line in pipe.readlines() if line.endswith(b"\\n")))
"""


def test_no_span_is_lost_in_200_kills(tmp_path: Path) -> None:
    """Every span whose append had returned is read back whole, after 200 kills at random moments."""
    printed, _ = run(_KILLER.replace("KILLS", str(KILLS)), tmp_path / "store")
    appended: dict[int, set[int]] = {}
    for line in printed.splitlines():
        number, at = map(int, line.split())
        appended.setdefault(number, set()).add(at)
    assert len(appended) >= KILLS // 2
    store = open_store(str(tmp_path / "store"))
    for number, steps in appended.items():
        read = {int(one.span_id, 16): one for one in store.trace(trace_id(number)).spans if one.end is not None}
        assert steps <= set(read)
        assert all(set(one.attributes["text"]) == {"x"} for one in read.values())
        assert all(one.name == f"step {at}" for at, one in read.items())


def test_a_killed_program_is_told_from_a_running_one(tmp_path: Path) -> None:
    """An unfinished span is running while its program lives, and interrupted from the moment it is killed."""
    process = start("store.append(span(1, ended=False)); print('on', flush=True); sys.stdin.read()", tmp_path / "store")
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    for store in (LocalStore(tmp_path / "store"), _without_index(tmp_path / "store")):
        assert [(one.health, one.findings) for one in store.traces()] == [("running", ())]
        assert store.trace("last").health == "running"
    process.kill()
    process.communicate()
    for store in (LocalStore(tmp_path / "store"), _without_index(tmp_path / "store")):
        assert [(one.health, one.findings) for one in store.traces()] == [("failed", ("interrupted",))]
        assert store.trace("last").interrupted(store.trace("last").spans[0])


def test_a_torn_record_is_named_once_and_costs_nothing_else(tmp_path: Path, caplog: object) -> None:
    """A record cut off by death is left out with one line; what other programs append later is read as ever."""
    folder = tmp_path / "store"
    run("store.append(span(1, 1)); store.append(span(1, 2))", folder)
    (file,) = (folder / "journal").glob("*.journal")
    file.write_bytes(file.read_bytes()[:-5])
    store = LocalStore(folder)
    assert len(store.trace("last")) == 1
    run("store.append(span(2, 1))", folder)
    assert [one.spans for one in store.traces()] == [1, 1]
    assert [one.spans for one in store.traces()] == [1, 1]
    lines = [line for line in caplog.messages if "torn" in line]  # type: ignore[attr-defined]
    assert len(lines) == 1
    assert re.search(r"the last \d+ bytes are incomplete", lines[0])
    assert journal_files.listing(folder / "journal")[0].size > 0


def _without_index(folder: Path) -> LocalStore:
    """A store that reads the journals, since nobody lets it have the index."""
    store = LocalStore(folder)
    store._indexer = None
    return store
