"""One line on a terminal for what takes long, of which nothing stays; elsewhere a line now and then."""

from __future__ import annotations

import io
import time

import pytest

from llmtrace.cli import terminal as terminal_module
from llmtrace.cli.terminal import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, with a count, no control character and no more than one line; also where the block raises."""
    monkeypatch.setattr(terminal_module, "AFTER", 0.05)
    monkeypatch.setenv("COLUMNS", "40")
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        with pytest.raises(KeyError), Progress("reading \x1b[2J" + "runs " * 20, stream) as line:
            assert list(line.count("abc")) == ["a", "b", "c"]
            deadline = time.monotonic() + 20
            while stream is terminal and not stream.getvalue() and time.monotonic() < deadline:
                time.sleep(0.01)
            raise KeyError
    assert pipe.getvalue() == ""
    first, *_, last = terminal.getvalue().split("\r\x1b[K")[1:]
    assert first.startswith("reading ")
    assert "\x1b" not in first
    assert len(first) <= 39
    assert last == ""


def test_what_is_quick_shows_nothing() -> None:
    """Not even on a terminal."""
    terminal = Terminal()
    with Progress("counting", terminal):
        pass
    assert terminal.getvalue() == ""


def test_lines_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole lines without control characters, so that a log shows that the work goes on."""
    monkeypatch.setattr(terminal_module, "AFTER_IN_PIPE", 0.05)
    pipe = io.StringIO()
    with Progress("running", pipe) as progress:
        progress.text = "run 2 of 5"
        deadline = time.monotonic() + 20
        while pipe.getvalue().count("\n") < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    lines = pipe.getvalue().splitlines()
    assert len(lines) >= 2
    assert all(line.startswith("llmtrace: run 2 of 5 … ") for line in lines)
    assert "\r" not in pipe.getvalue()
