"""`ReplayedRun` as a ``with`` block: what is left behind where it cannot begin, or where nothing runs in it."""

from __future__ import annotations

from pathlib import Path

import pytest

import llmtrace
from llmtrace.errors import ConfigurationError
from llmtrace.playback.recording_file import read_recording, write_recording
from llmtrace.recorder import active
from llmtrace.testing import ReplayedRun, capture


@llmtrace.tool
def look_up(order: str) -> str:
    return order


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    with capture() as captured, llmtrace.agent("support"):
        look_up("A1")
    write_recording(tmp_path / "run.jsonl", captured.traces)
    return tmp_path / "run.jsonl"


def test_nothing_records_on_after_a_wrong_option(recording: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected 'recorded', 'live' or 'after'"):
        ReplayedRun(recording, tools={"a": "?"})  # type: ignore[dict-item]
    assert active() is None


def test_a_block_that_records_nothing_keeps_the_recording(recording: Path) -> None:
    before = recording.read_bytes()
    run = ReplayedRun(recording, record=True)
    with run:
        pass
    with pytest.raises(AssertionError, match=r"nothing was recorded, so run\.jsonl stays"):
        run.keep()
    assert recording.read_bytes() == before
    assert len(read_recording(recording)) == 1
