"""`llmtrace receive`: what it says when it is ended. `tests.receiver` has what it receives."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from llmtrace.codec import otlp
from llmtrace.receiver.request import PROTOBUF
from tests.receiver.test_forward import run


def test_ctrl_c_ends_it_at_once_and_says_what_was_not_judged(tmp_path: Path) -> None:
    """A burst of traces: what could not be judged in a second is stored, and the last line says so."""
    command = [sys.executable, "-m", "llmtrace", "receive", "--http-port", "0", "--no-grpc", "--store", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1"})
    assert process.stdout is not None
    port = int(process.stdout.readline().rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    spans = [raw for number in range(1, 4001) for raw in run(number)[:1]]  # without their roots, so that they wait
    connection.request("POST", "/v1/traces", otlp.to_protobuf(spans), {"content-type": PROTOBUF})
    assert connection.getresponse().status == 200
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert time.monotonic() - began < 20
    assert "evaluating what waits. Press Ctrl-C again to stop at once" in out
    last = out.splitlines()[-1]
    assert last.startswith(("4,000 spans received", "4000 spans received")), last
