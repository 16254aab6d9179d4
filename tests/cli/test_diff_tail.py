"""``llmtrace diff`` and ``llmtrace tail``."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmtrace.cli import tail
from llmtrace.store import open_store
from llmtrace.store.otlp_file import OtlpFileStore
from tests.cli.traces import RECOVERED, SILENT, recovered, silent
from tests.stored import append


def test_diff_says_where_they_part(llmtrace: Callable[..., Any], store: str) -> None:
    """The step in which they part stands on top; what only one has is marked."""
    out = llmtrace("diff", SILENT[:8], RECOVERED[:8], "--store", store).out
    assert "The first difference is at step 1: agent support" in out
    assert '    + refund(order_id="KS-20457", amount=42.0)' in out
    assert '    - look_up(order_id="KS-20431")' in out
    told = json.loads(llmtrace("diff", SILENT, SILENT, "--json", "--store", store).out)
    assert (told["first"], {pair["what"] for pair in told["pairs"]}) == (None, {"same"})
    same = llmtrace("diff", SILENT, SILENT, "--store", store).out
    assert "Both traces have the same steps" in same
    assert "4 steps the same in both" in same


def test_tail_shows_what_ended_last(llmtrace: Callable[..., Any], store: str) -> None:
    """One line a span with its verdict, the latest last."""
    lines = llmtrace("tail", "-n", "3", "--no-follow", "--store", store).out.splitlines()
    assert len(lines) == 3
    assert all(SILENT[:8] in line for line in lines)
    everything = llmtrace("tail", "-n", "30", "--no-follow", "--store", store).out
    assert "wrong type" in everything
    assert len(everything.splitlines()) == 10


def test_tail_follows_another_process(store: str) -> None:
    """A span that somebody else stores meanwhile appears, once."""
    command = [sys.executable, "-m", "llmtrace", "tail", "-n", "1", "--json", "--store", store]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    stop = threading.Timer(60, process.kill)
    stop.start()
    try:
        assert process.stdout is not None
        process.stdout.readline()
        append(store, replace_trace())
        told = json.loads(process.stdout.readline())
        assert told["trace_id"] == "ee" * 16
    finally:
        stop.cancel()
        process.kill()
        process.wait()


def replace_trace() -> Any:
    from llmtrace.model import replace

    return replace(silent()[2], trace_id="ee" * 16)


def test_tail_follows_a_file(llmtrace: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is read again only when it has changed; earlier spans beyond the first lines are not printed then."""
    url, reads = f"otlp-json:{tmp_path / 'spans.jsonl'}", list[int]()
    with closing(open_store(url)) as store:
        for span in recovered():
            store.append(span)
        calls = iter(["", "", "new", ""])
        spans = OtlpFileStore.spans

        def sleep(seconds: float) -> None:
            if next(calls, None) == "new":
                store.append(silent()[-1])
                store.flush()
            elif len(reads) > 1:
                raise KeyboardInterrupt

        def counted(store: OtlpFileStore, *args: Any, **options: Any) -> Any:
            reads.append(1)
            return spans(store, *args, **options)

        store.flush()
        monkeypatch.setattr(OtlpFileStore, "spans", counted)
        monkeypatch.setattr(tail.time, "sleep", sleep)
        lines = llmtrace("tail", "-n", "1", "--json", "--store", url).out.splitlines()
    assert [json.loads(line)["trace_id"] for line in lines] == [RECOVERED, SILENT]
    assert len(reads) == 2


def test_tail_of_an_empty_store_says_so(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """As the other commands do; in JSON, nothing."""
    (tmp_path / "store").mkdir()
    assert llmtrace("tail", "--no-follow", "--store", str(tmp_path / "store")).out == "No spans yet. Try: llmtrace demo\n"
    assert llmtrace("tail", "--no-follow", "--json", "--store", str(tmp_path / "store")).out == ""
