"""``llmtrace completion``: what a real shell completes with the printed script."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmtrace import cli


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["llmtrace", "wh"], ["why"]),
        (["llmtrace", "why", "--pr"], ["--prove"]),
        (["llmtrace", "review", "app"], ["approve"]),
        (["llmtrace", "import", "spa"], ["spans.json"]),
        (["llmtrace", "completion", ""], ["bash", "fish", "zsh"]),
    ],
)
def test_bash(words: list[str], completed: list[str], llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """Commands, options, choices and files are completed."""
    (tmp_path / "spans.json").write_text("{}")
    script = llmtrace("completion", "bash").out
    asked = f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; COMP_LINE={shlex.quote(' '.join(words))}"
    call = f'_shtab_llmtrace llmtrace {shlex.quote(words[-1])}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    ran = subprocess.run(["bash", "-c", f"{script}\n{asked}\n{call}"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert sorted(word.strip() for word in ran.stdout.splitlines()) == completed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell(shell: str, llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """The script names every command, and the shell can read it."""
    ran = llmtrace("completion", shell)
    assert ran.code == 0
    assert [name for name in cli.commands() if name not in ran.out] == []
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: its script is not read")
    script = tmp_path / "script"
    script.write_text(ran.out)
    assert subprocess.run([shell, "-n", str(script)], check=False).returncode == 0


def test_the_shell_of_the_user(llmtrace: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name it is the shell that SHELL names; where that is none of the three, the message says what to give."""
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert llmtrace("completion").out == llmtrace("completion", "fish").out
    monkeypatch.setenv("SHELL", "/bin/sh")
    ran = llmtrace("completion")
    assert ran.code == 2
    assert "bash, zsh, fish" in ran.err


def test_without_shtab(llmtrace: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, "shtab", None)
    ran = llmtrace("completion", "bash")
    assert ran.code == 2
    assert 'pip install "llmtrace-otel[completion]"' in ran.err
