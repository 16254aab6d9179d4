"""`flush` says whether all was handed over in time, and the program's end loses nothing and waits for nothing."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

import llmtrace
from llmtrace.errors import ConfigurationError
from llmtrace.laws import user_signals
from llmtrace.model import Span
from llmtrace.store import open_store
from tests.stored import recording


def test_flush_is_true_where_nothing_waits(tmp_path: Path) -> None:
    """Without `configure`, with a store, and twice."""
    assert llmtrace.flush() is True
    with recording(tmp_path):
        with llmtrace.span("x"):
            pass
        assert llmtrace.flush() is True
        assert llmtrace.flush(timeout=0) is True


def test_flush_is_false_while_a_background_signal_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits no longer than it was told to, and what waits is not lost."""
    monkeypatch.setattr(user_signals, "registered", {})
    go_on = threading.Event()

    @llmtrace.signal(background=True)
    def judge(span: Span) -> None:
        go_on.wait(10)

    with recording():
        with llmtrace.span("x"):
            pass
        assert llmtrace.flush(timeout=0.05) is False
        go_on.set()
        assert llmtrace.flush() is True


def test_flush_is_false_where_a_collector_is_down(tmp_path: Path) -> None:
    """The spans stay in the journal, and are sent when it is up again."""
    with recording(tmp_path, exporters=["otlp:http://127.0.0.1:9"]):
        with llmtrace.span("x"):
            pass
        assert llmtrace.flush(timeout=1) is False


@pytest.mark.parametrize("timeout", [-1, "1", True, None])
def test_a_timeout_that_is_none_is_an_error(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected seconds, 0 or more"):
        llmtrace.flush(timeout=timeout)


def ends(program: str, *arguments: object, seconds: float = 30) -> None:
    """Run a program to its end, which must come within some seconds and be silent."""
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_spans_of_the_very_end_are_kept(tmp_path: Path) -> None:
    """Of exit handlers that were registered before `configure` and after it, and of a destructor; not after `shutdown`."""
    program = """
    import atexit, sys
    import llmtrace
    def record(name):
        with llmtrace.span(name):
            pass
    atexit.register(record, "registered before")
    llmtrace.configure(store=sys.argv[1], instrument=[])
    atexit.register(record, "registered after")
    class Resource:
        def __del__(self):
            record("destructor")
    resource = Resource()
    record("main")
    """
    ends(program, tmp_path)
    expected = {"registered before", "registered after", "destructor", "main"}
    assert {trace.name for trace in open_store(str(tmp_path)).traces()} == expected
    ends(textwrap.dedent(program) + "llmtrace.shutdown()", tmp_path)
    assert len(open_store(str(tmp_path)).traces()) == 5


_BACKGROUND_IMPORTS = {
    "the price list": "prices.preload()",
    "the transport": "threading.Thread(target=transport._imported, args=(name,), daemon=True).start()",
}


@pytest.mark.parametrize("start", _BACKGROUND_IMPORTS.values(), ids=_BACKGROUND_IMPORTS)
def test_an_import_in_the_background_does_not_outlive_the_program(start: str, tmp_path: Path) -> None:
    """Else its thread is stopped in the middle of it, and a destructor that imports the same module waits for ever."""
    package = tmp_path / "genai_prices"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "data_snapshot.py").write_text("import time\ntime.sleep(0.5)\ndef get_snapshot(): return None\n")
    program = f"""
    import sys, threading, time
    sys.path.insert(0, sys.argv[1])
    import llmtrace
    from llmtrace import prices
    from llmtrace.exporters.forwarding import transport
    llmtrace.configure(store="memory:", instrument=[])
    name = "genai_prices.data_snapshot"
    class Late:
        def __init__(self):
            self.cycle = self  # collected when the interpreter ends
        def __del__(self):
            import genai_prices.data_snapshot
    Late()
    {start}
    while name not in sys.modules:
        time.sleep(0.001)
    """
    ends(program, tmp_path)
