"""A file of OTLP JSON lines: others' lines are taken, bad ones are left out, a disk in trouble is waited for."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest

from llmtrace import log_once
from llmtrace.codec import genai, otlp
from llmtrace.errors import UnreadableStore
from llmtrace.store import open_store
from tests.store.spans import span, trace_id


@pytest.fixture(autouse=True)
def _said_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_once, "_logged", {})


def test_each_span_is_a_line_of_otlp(tmp_path: Path) -> None:
    """The file is what other tools read and write: one request a line, only for the user's eyes."""
    path = tmp_path / "new" / "spans.jsonl"
    store = open_store(str(path))
    store.append(span(1, 1))
    store.append(span(1, 2))
    lines = path.read_bytes().splitlines()
    assert [raw for line in lines for raw in otlp.from_json(line)] == [genai.encode(span(1, number)) for number in (1, 2)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_line_that_was_cut_off_costs_no_other(tmp_path: Path) -> None:
    """Its writer was killed: the next one begins a line of its own."""
    path = tmp_path / "spans.jsonl"
    path.write_bytes(otlp.to_json_line([genai.encode(span(1, 1))])[:50])
    open_store(str(path)).append(span(1, 2))
    assert [each.span_id for each in open_store(str(path)).trace("last").spans] == [span(1, 2).span_id]


def test_several_spans_a_line_and_bad_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A collector writes many spans a line; a line that is cut off is left out and counted in one log line."""
    path = tmp_path / "spans.jsonl"
    line = otlp.to_json_line([genai.encode(span(1, number)) for number in (1, 2, 3)]).rstrip(b"\n")
    path.write_bytes(line + b"\n\n" + line[:50] + b"\n" + line)
    assert len(open_store(str(path)).trace("last")) == 3
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"llmtrace: {path}: 1 of 3 lines are not OTLP JSON and are left out"
    ]


@pytest.mark.parametrize("content", [b"hello\n", b"\xff\xfe\x00", b"[1, 2]\n{]", b'{"name": "x"}\n', b"{}"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file without a line of OTLP is an error that says what was expected."""
    path = tmp_path / "spans.jsonl"
    path.write_bytes(content)
    with pytest.raises(UnreadableStore, match="contains no OTLP JSON"):
        open_store(str(path)).traces()


def test_a_missing_file_is_refused_and_an_empty_one_is_empty(tmp_path: Path) -> None:
    """A misspelt path is an error, a new file is an empty store."""
    with pytest.raises(UnreadableStore, match="No such file"):
        open_store(str(tmp_path / "a.jsonl")).traces()
    (tmp_path / "a.jsonl").touch()
    assert open_store(str(tmp_path / "a.jsonl")).traces() == []


def test_unfinished_spans_of_others_are_interrupted(tmp_path: Path) -> None:
    """A file knows no running program: only what this store began may still end."""
    path = tmp_path / "a.jsonl"
    store = open_store(str(path))
    store.append(span(1, ended=False))
    assert store.trace("last").health == "running"
    assert open_store(str(path)).trace("last").health == "failed"
    store.append(span(1))
    assert store.trace("last").health == "ok"


def test_a_disk_in_trouble_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Appending never raises; what could not be written is readable meanwhile, and goes out later."""
    (tmp_path / "file").touch()
    store = open_store(str(tmp_path / "file" / "a.jsonl"))
    store.append(span(1, 1))
    store.append(span(1, 2))
    assert len(store.trace(trace_id(1))) == 2
    assert len([record for record in caplog.records if "cannot write to" in record.getMessage()]) == 1
    (tmp_path / "file").unlink()
    store.close()
    assert len(open_store(str(tmp_path / "file" / "a.jsonl")).trace("last")) == 2


@pytest.mark.parametrize("content", [b"SQLite format 3\x00\x10", b"- buy milk\n", b"[1, 2]\n", b"\n\nnotes\n"])
def test_a_file_of_something_else_is_not_written_to(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A path that was mistaken for the store's costs nobody a file; spans wait in memory, and go out once it is moved away."""
    path = tmp_path / "app.db"
    path.write_bytes(content)
    store = open_store(str(path))
    store.append(span(1, 1))
    store.append(span(1, 2))
    store.flush()
    assert path.read_bytes() == content
    said = "is not a file of OTLP JSON lines, so nothing is written to it. The last 10000 spans stay in memory"
    lost = "and are lost when the program ends. Choose a folder or another file"
    assert [record.getMessage() for record in caplog.records] == [f"llmtrace: {path} {said} {lost}"]
    assert len(store.trace(trace_id(1))) == 2
    path.unlink()
    store.close()
    assert len(open_store(f"otlp-json:{path}").trace("last")) == 2


@pytest.mark.parametrize("content", [b"", b"\n", b"\n" + otlp.to_json_line([genai.encode(span(1, 1))]) + b"\n"])
def test_a_blank_file_and_one_of_lines_grow(tmp_path: Path, content: bytes) -> None:
    """A file that was made beforehand, or whose first write was cut short, is a store."""
    path = tmp_path / "spans.jsonl"
    path.write_bytes(content)
    open_store(str(path)).append(span(1, 2))
    assert path.read_bytes().startswith(content)
    assert len(open_store(str(path)).trace("last")) == (2 if b"{" in content else 1)
