"""Commands of llmtrace that run in processes of their own until they are told to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def heeds_ctrl_c() -> None:
    """Also where the tests themselves were started in the background, which is deaf to it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def running(*words: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The first line that a command prints, and the command, which is killed at the end or when it hangs."""
    command = [sys.executable, "-m", "llmtrace", *words]
    prepare = heeds_ctrl_c if os.name == "posix" else None
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=prepare)
    stop = threading.Timer(90, process.kill)
    stop.start()
    try:
        assert process.stdout is not None
        yield process.stdout.readline(), process
    finally:
        stop.cancel()
        process.kill()
        process.communicate()
