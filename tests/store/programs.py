"""Runs small programs in processes of their own: those that die, fork, or break their surroundings."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_BEGINNING = """
import os, signal, sys, time
from pathlib import Path
from llmtrace.store import journal_files, journal, open_store
from llmtrace.store.local import LocalStore
from tests.store.spans import span
store = LocalStore(Path(sys.argv[1]))
"""


def start(program: str, store: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a program that has ``store``, a LocalStore, and ``span``; its output and log lines are pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", _BEGINNING + textwrap.dedent(program), str(store)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def run(program: str, store: Path, **environment: str) -> tuple[str, str]:
    """Run a program to its good end. Returns what it printed and what was logged."""
    process = start(program, store, **environment)
    printed, logged = process.communicate(timeout=60)
    assert process.returncode == 0, logged
    return printed, logged
