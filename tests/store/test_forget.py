"""Forgetting traces: no byte of theirs stays in the folder, and every other trace stays as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmtrace.cli import main
from llmtrace.model import RawSpan
from llmtrace.store import erasure, journal_files
from llmtrace.store.claims import Claim, Claims, Table
from llmtrace.store.local import FORGETTING, LocalStore
from llmtrace.store.sqlite import Index

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


def test_what_was_set_aside_is_removed(folder: Path) -> None:
    """An index or a journal file that could not be read holds the content of anyone."""
    for name in ("index.db.corrupt", "journal/old.journal.corrupt", "journal/0-9.0.journal"):
        (folder / name).write_bytes(b"not a journal: CANARY")
    erasure.erase(folder, [MINE], [], [])
    assert _holding(folder, b"CANARY") == []


def test_a_file_of_a_newer_llmtrace_is_refused_before_anything_is_erased(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "journal" / "9-9.0.journal").write_bytes(journal_files.head(journal_files.VERSION + 1) + b"later")
    assert main(["forget", MINE, "--yes", "--store", str(folder)]) != 0
    assert "newer llmtrace" in capsys.readouterr().err
    assert _holding(folder, b"CANARY")
    assert not (folder / FORGETTING).exists()


def test_reviews_and_letters_go_with_their_run(folder: Path) -> None:
    claims = Claims(folder)
    with claims.write() as db:
        for kind, claim_id, run in (("review", "r1", MINE), ("review", "r2", OTHER), ("letter", "l1", "")):
            data = json.dumps({"text": "SWALLOW" if run == OTHER else "CANARY"})
            Table(db, kind).put(Claim(claim_id, "done", run, "", 1.0, "", data))  # type: ignore[arg-type]
    erasure.erase(folder, [MINE], [], ["l1"])
    assert _holding(folder, b"CANARY") == []
    with claims.read() as db:
        assert [claim.id for claim in Table(db, "review").select()] == ["r2"]


@pytest.mark.parametrize("step", range(1, 8))
def test_stopped_at_any_step_it_is_finished_by_the_next_reader(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """A process that is killed does nothing more; here each step in turn is the one that it does not reach."""
    steps = [
        (Claims, "erase"), (erasure, "_erase_names"), (erasure, "_erase_in"), (journal_files, "erase"),
        (erasure, "_remove_unreadable"), (erasure, "_erase_logs"), (Index, "remove"),
    ]  # fmt: skip
    where, name = steps[step - 1]

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(where, name, killed)
        with pytest.raises(KeyboardInterrupt):
            erasure.erase(folder, [MINE], [], [])
    assert [summary.trace_id for summary in LocalStore(folder, background=False).traces()] == [OTHER]
    assert _holding(folder, b"CANARY") == []
