"""``llmtrace diff`` and ``llmtrace tail``."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.traces import RECOVERED, SILENT, append_to, silent


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
        append_to(store, replace_trace())
        told = json.loads(process.stdout.readline())
        assert told["trace_id"] == "ee" * 16
    finally:
        stop.cancel()
        process.kill()
        process.wait()


def replace_trace() -> Any:
    from llmtrace.model import replace

    return replace(silent()[2], trace_id="ee" * 16)


def test_tail_of_an_empty_store_says_so(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """As the other commands do; in JSON, nothing."""
    (tmp_path / "store").mkdir()
    assert llmtrace("tail", "--no-follow", "--store", str(tmp_path / "store")).out == "No spans yet. Try: llmtrace demo\n"
    assert llmtrace("tail", "--no-follow", "--json", "--store", str(tmp_path / "store")).out == ""
