"""A child that is forked while another thread uses a name of llmtrace for the first time does not hang."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")

PROGRAM = """
import os, sys, threading, time
import llmtrace

def use():
    llmtrace.configure(store=sys.argv[1], exporters=())
    with llmtrace.agent("parent"):
        pass

thread = threading.Thread(target=use)
thread.start()
time.sleep(float(sys.argv[2]))
child = os.fork()
if child == 0:
    llmtrace.configure
    llmtrace.tool(lambda: 1, name="t")()
    os._exit(0)
began = time.monotonic()
while os.waitpid(child, os.WNOHANG) == (0, 0):
    if time.monotonic() - began > 20:
        os.kill(child, 9)
        sys.exit("the child hangs")
    time.sleep(0.005)
thread.join()
"""


OFTEN = [0.0, 0.01, 0.03, 0.06, 0.1, 0.15, 0.25, 0.4]
STEPS = [pytest.param(number / 200, marks=pytest.mark.long) for number in range(1, 111)]  # 5 ms to 550 ms


@pytest.mark.parametrize("seconds", [*OFTEN, *STEPS])
def test_a_fork_waits_for_the_first_use_of_a_name(tmp_path: Path, seconds: float) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(seconds)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
