"""Forgetting traces: no byte of theirs stays in the folder, and every other trace stays as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmtrace.cli import main
from llmtrace.model import RawSpan
from llmtrace.store import erasure, journal_files
from llmtrace.store.local import FORGETTING, LocalStore

MINE, OTHER = "a" * 32, "b" * 32


def _span(trace: str, text: str, user: str) -> RawSpan:
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.input.messages": text, "user.id": user}
    return RawSpan(trace, trace[:16], "chat", 1_000_000_000, 2_000_000_000, attributes=attributes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "store"
    store = LocalStore(place, background=False)
    messages = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "CANARY" * 60}]}])
    store.append_all([_span(MINE, messages, "u-CANARY"), _span(OTHER, messages.replace("CANARY", "SWALLOW"), "u-other")])
    store.close()
    return place


def _holding(folder: Path, text: bytes) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


def test_no_byte_of_a_user_stays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "--text", "CANARY", "--store", str(folder)]) == 0
    kept = LocalStore(folder, background=False).trace(OTHER).spans
    assert main(["forget", "--user", "u-CANARY", "--yes", "--store", str(folder)]) == 0
    assert "1 trace with 1 span" in capsys.readouterr().out
    assert _holding(folder, b"CANARY") == []
    assert LocalStore(folder, background=False).trace(OTHER).spans == kept
    assert [summary.trace_id for summary in LocalStore(folder, background=False).traces()] == [OTHER]


def test_nothing_is_erased_without_an_answer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forget", MINE, "--store", str(folder)]) == 2
    assert main(["forget", MINE, "--dry-run", "--store", str(folder)]) == 0
    assert "would be erased" in capsys.readouterr().out
    assert _holding(folder, b"CANARY")


def test_a_killed_erasure_is_finished_by_the_next_reader(folder: Path) -> None:
    (folder / FORGETTING).write_text(json.dumps({"traces": [MINE], "runs": [], "letters": []}))
    assert [summary.trace_id for summary in LocalStore(folder, background=False).traces()] == [OTHER]
    assert _holding(folder, b"CANARY") == []
    assert not (folder / FORGETTING).exists()


def test_damaged_bytes_are_erased(folder: Path) -> None:
    (file,) = journal_files.listing(folder / "journal")
    path = folder / "journal" / file.name
    path.write_bytes(path.read_bytes() + journal_files.MARK + b"CANARY")
    erasure.erase(folder, [MINE], [], [])
    assert _holding(folder, b"CANARY") == []
