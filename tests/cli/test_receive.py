"""`llmtrace receive`: what it says when it is ended. `tests.receiver` has what it receives."""

from __future__ import annotations

import io
import signal
import time
from pathlib import Path

from llmtrace.cli import receive
from llmtrace.cli.terminal import Screen
from tests.commands import running
from tests.receiver.test_forward import run, send


def test_an_end_that_takes_long_is_announced() -> None:
    """After a second; a quick one says nothing, and JSON output has no such line."""
    for seconds, as_json, said in ((1.3, False, True), (0.0, False, False), (1.3, True, False)):
        out = io.StringIO()
        with receive._announced(Screen(out), "evaluating what waits", as_json):
            time.sleep(seconds)
        assert ("evaluating what waits. Press Ctrl-C again to stop at once" in out.getvalue()) is said


def test_ctrl_c_ends_it_at_once_and_says_what_was_not_judged(tmp_path: Path) -> None:
    """A burst of traces: what could not be judged in a second is stored, and the last line says so."""
    spans = [raw for number in range(1, 4001) for raw in run(number)[:1]]  # without their roots, so that they wait
    with running("receive", "--http-port", "0", "--no-grpc", "--store", str(tmp_path)) as (line, process):
        send(int(line.rpartition(":")[2]), *spans)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert time.monotonic() - began < 20
    last = out.splitlines()[-1]
    assert last.startswith(("4,000 spans received", "4000 spans received")), last
