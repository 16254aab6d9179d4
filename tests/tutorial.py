"""The tutorial's agent with one recorded run, the wrong refund: for tests of what a user does with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TASK = "Ada Reyes here. My kettle leaks. Please give me my money back."
PAGE = Path(__file__).parents[1] / "docs" / "tutorial/first_trace.md"


def record(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write ``agent.py`` into ``folder``, work there with a store ``traces``, and run the agent once."""
    agent, *_ = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (folder / "agent.py").write_text(agent, encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LLMTRACE_STORE", str(folder / "traces"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    subprocess.run([sys.executable, "agent.py", TASK], check=True, capture_output=True)
