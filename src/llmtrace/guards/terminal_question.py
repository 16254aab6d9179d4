"""Asks the person at the program's own terminal about a call that waits: ``llmtrace review ask`` in a process of its own.

Laws: the program waits for the store's decision as it does without; a decision made elsewhere takes the question away; two
questions never stand on one terminal. Nobody is asked unless stdin and stderr are a terminal and the program is in the
foreground.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from llmtrace.locks import fork_safe_lock

_STDIN, _STDERR = 0, 2
_one_at_a_time = fork_safe_lock()


def is_possible() -> bool:
    """Return True if a person sits at this program's terminal."""
    try:
        if not (sys.executable and os.isatty(_STDIN) and os.isatty(_STDERR)):
            return False
        foreground = os.tcgetpgrp(_STDIN) if hasattr(os, "tcgetpgrp") else None
        return foreground is None or foreground == os.getpgrp()
    except OSError:
        return False


class TerminalQuestion:
    """A question on the terminal. It is asked from a thread, so that nothing waits for it."""

    def __init__(self, folder: Path, review_id: str) -> None:
        self._command = [sys.executable, "-m", "llmtrace", "review", "ask", review_id, "--store", str(folder)]
        self._lock = threading.Lock()
        self._is_over = False
        self._process: subprocess.Popen[bytes] | None = None
        threading.Thread(target=self._ask, name="llmtrace asks", daemon=True).start()

    def take_away(self) -> None:
        """End the question, if it still stands: it is decided, or the program does not wait any more."""
        with self._lock:
            self._is_over, process = True, self._process
        if process is not None and process.poll() is None:
            with suppress(OSError):
                process.terminate()

    def _ask(self) -> None:
        with _one_at_a_time:
            with self._lock:
                if self._is_over:
                    return
                # not below `llmtrace run`: the question is no part of the program
                inherited = {name: value for name, value in os.environ.items() if not name.startswith("_LLMTRACE")}
                paths = inherited.get("PYTHONPATH", "").split(os.pathsep)
                inherited["PYTHONPATH"] = os.pathsep.join(path for path in paths if not path.endswith(_HOOK))
                with suppress(OSError):
                    self._process = subprocess.Popen(self._command, stdout=_STDERR, env=inherited)  # noqa: S603
            if self._process is not None:
                self._process.wait()


_HOOK = os.path.join("llmtrace", "launch", "path")
"""End of the folder by which ``llmtrace run`` traces the processes of a program."""
