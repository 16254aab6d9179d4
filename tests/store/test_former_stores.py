"""Stores of every former form are read without a difference: what was said of them is said of them now, beside additions.

`scripts/former_stores.py` wrote them with the code of then.
"""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from llmtrace.cli import main
from llmtrace.store import Query, open_store

FOLDER = Path(__file__).with_name("former_stores")
NAMES = sorted(path.name.removesuffix(".tar.xz") for path in FOLDER.glob("*.tar.xz"))


def unpack(name: str, place: Path) -> tuple[Path, dict[str, Any]]:
    """Unpack a store. Returns its folder, and what was said of it."""
    store = place / "store"
    with tarfile.open(FOLDER / f"{name}.tar.xz") as archive:
        archive.extractall(store, filter="data")
    said: dict[str, Any] = json.loads((store / "said.json").read_text())
    (store / "said.json").unlink()
    for path in store.rglob("*.journal"):
        path.touch()  # a journal of more than seven days is removed
    return store, said


def output(*words: str) -> Any:
    """What a command prints as JSON."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        main(list(words))
    return json.loads(text.getvalue())


def say(store: Path) -> dict[str, Any]:
    """What the commands say of a store."""
    place = ("--store", str(store))
    with contextlib.closing(open_store(str(store))) as opened:
        ids = [summary.trace_id for summary in opened.traces(Query(limit=1000))]
    return {
        "ls": output("ls", "--json", *place),
        "show": [output("show", trace_id, "--json", *place) for trace_id in ids],
        "why": [output("why", trace_id, "--json", *place) for trace_id in ids],
        "review list": output("review", "ls", "--all", "--json", *place),
        "dead-letters": output("dead-letters", "ls", "--all", "--json", *place),
        "drift": output("drift", "--json", *place),
        "stats": output("stats", "--json", *place),
    }


def known(now: Any, then: Any) -> Any:
    """What is said now, without the members that the code of then did not have: a later version may add one."""
    if isinstance(now, dict) and isinstance(then, dict):
        return {name: known(member, then[name]) for name, member in now.items() if name in then}
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        return [known(*pair) for pair in zip(now, then, strict=True)]
    return now


@pytest.mark.parametrize("name", NAMES)
def test_a_former_store_is_read_as_it_always_was(tmp_path: Path, name: str) -> None:
    store, said = unpack(name, tmp_path)
    now = say(store)
    for command, text in said["now"].items():
        assert known(now[command], text) == text, command
    rows = {row["trace_id"]: row for row in now["ls"]}
    for row in said["then"]:
        for member in ("name", "start", "end", "spans", "input_tokens", "output_tokens"):
            assert rows[row["trace_id"]][member] == row[member], member
