"""``llmtrace export`` and ``import``: what goes out comes back equal, and counts are told."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.traces import RECOVERED, SILENT
from tests.stored import read


def test_round_trip(llmtrace: Callable[..., Any], store: str, tmp_path: Path) -> None:
    """Every trace, exported and imported elsewhere, is equal; importing twice changes nothing, and says so."""
    path, other = str(tmp_path / "traces.jsonl"), str(tmp_path / "other")
    Path(other).mkdir()
    assert llmtrace("export", "--all", "-o", path, "--store", store) == (0, "", f"exported 10 spans of 2 traces to {path}\n")
    for news in ("", ", none of them new"):
        assert llmtrace("import", path, "--store", other) == (0, f"imported 10 spans of 2 traces{news}\n", "")
        for trace_id in (RECOVERED, SILENT):
            assert read(other, trace_id).spans == read(store, trace_id).spans


def test_a_line_is_a_trace(llmtrace: Callable[..., Any], store: str, tmp_path: Path) -> None:
    """Oldest first, one OTLP request a line; no draft is left beside the file."""
    path = tmp_path / "traces.jsonl"
    llmtrace("export", "--all", "-o", str(path), "--store", store)
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    ids = [line["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] for line in lines]
    assert ids == [RECOVERED, SILENT]
    assert [found.name for found in tmp_path.iterdir()] == ["traces.jsonl", "store"] or len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("output", ["", ".", "folder"])
def test_what_is_no_file_is_refused(
    output: str, llmtrace: Callable[..., Any], store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder, or no name at all."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    ran = llmtrace("export", "-o", output, "--store", store)
    assert ran.code == 2
    assert "Name a file." in ran.err


def test_what_is_no_plain_file_is_written_to_and_stays(llmtrace: Callable[..., Any], store: str, tmp_path: Path) -> None:
    """A link leads to its file, a pipe to its reader."""
    target, link, pipe = tmp_path / "target.jsonl", tmp_path / "link.jsonl", tmp_path / "pipe"
    target.write_text("before")
    link.symlink_to(target)
    assert llmtrace("export", "-o", str(link), "--store", store).code == 0
    assert link.is_symlink()
    assert json.loads(target.read_text())
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert llmtrace("export", "-o", str(pipe), "--store", store).code == 0
        assert os.read(reader, 1) == b"{"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_counts_as_json(llmtrace: Callable[..., Any], store: str, tmp_path: Path) -> None:
    """--json gives the counts; with the spans themselves on stdout there is no room for them."""
    path = str(tmp_path / "one.jsonl")
    ran = llmtrace("export", SILENT[:8], "-o", path, "--json", "--store", store)
    assert json.loads(ran.out) == {"traces": 1, "spans": 4, "output": path}
    assert llmtrace("export", "--json", "--store", store).code == 2
    ran = llmtrace("import", path, "--json", "--store", store)
    expected = {"traces": 1, "spans": 4, "new_traces": 0, "new_spans": 0, "bad_lines": [], "not_stored": {}}
    assert json.loads(ran.out) == expected


def test_content_none(llmtrace: Callable[..., Any], store: str, tmp_path: Path) -> None:
    """--content none: no word of what anybody said, asked or answered is in the file."""
    path = tmp_path / "bare.jsonl"
    assert llmtrace("export", "--all", "--content", "none", "-o", str(path), "--store", store).code == 0
    text = path.read_text()
    for said in ("KS-20457", "KS-20431", "kettle", "42 EUR", "Jonas", "kitchen"):
        assert said not in text
    assert "look_up" in text


def test_pipes(store: str, tmp_path: Path) -> None:
    """``export -o -`` piped into ``import -``."""
    call = [sys.executable, "-m", "llmtrace"]
    exported = subprocess.run([*call, "export", "--all", "--store", store], capture_output=True, check=True)
    assert exported.stderr.decode() == "exported 10 spans of 2 traces to stdout\n"
    other = tmp_path / "piped.jsonl"
    imported = subprocess.run(
        [*call, "import", "-", "--store", str(other)], input=exported.stdout, capture_output=True, check=True
    )
    assert imported.stdout.decode() == "imported 10 spans of 2 traces\n"
    assert read(str(other), SILENT).spans == read(store, SILENT).spans


def test_bad_lines_are_named(llmtrace: Callable[..., Any], store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be read is imported; what cannot is named by line, and the exit code is 2."""
    path = tmp_path / "torn.jsonl"
    llmtrace("export", "--all", "-o", str(path), "--store", store)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes() + b"{oops\n")))
    code, out, err = llmtrace("import", "-", "--store", store)
    assert (code, out) == (2, "imported 10 spans of 2 traces, none of them new\n")
    assert err.startswith("llmtrace import: -, line 3: not JSON")


def test_a_failed_export_leaves_the_old_file(llmtrace: Callable[..., Any], store: str, tmp_path: Path) -> None:
    """An unknown trace ends the export; the file that was there is as it was."""
    path = tmp_path / "kept.jsonl"
    path.write_text("old")
    assert llmtrace("export", SILENT, "feedbeef", "-o", str(path), "--store", store).code == 2
    assert path.read_text() == "old"
    assert not list(tmp_path.glob("*.part"))
    assert not list(tmp_path.glob(".*.part"))


def test_a_store_that_keeps_nothing_is_told(llmtrace: Callable[..., Any], store: str, tmp_path: Path) -> None:
    """Where the spans cannot be written, import does not say that it imported them."""
    path = tmp_path / "traces.jsonl"
    llmtrace("export", "--all", "-o", str(path), "--store", store)
    code, out, err = llmtrace("import", str(path), "--store", str(path / "below a file"))
    assert (code, out) == (2, "")
    assert "the store is not writable" in err
