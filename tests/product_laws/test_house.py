"""The house holds: imports go down the floors."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def lint(source: Path) -> subprocess.CompletedProcess[str]:
    program = "import sys; sys.path.insert(0, 'src'); from importlinter.cli import lint_imports_command as run; run()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache"], cwd=source, capture_output=True, text=True, check=False
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=ignored)
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


def test_floors_hold(copy: Path) -> None:
    """Imports go down the floors."""
    ran = lint(copy)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize(
    ("module", "planted"),
    [
        ("model/spans.py", "import llmtrace.store"),
        ("laws/repeated_call.py", "import llmtrace.recorder"),
        ("store/memory.py", "import llmtrace.diagnosis"),
        ("model/spans.py", "import opentelemetry.trace"),
        ("recorder/run.py", "import openai"),
    ],
)
def test_a_planted_upward_import_is_found(copy: Path, module: str, planted: str) -> None:
    """The contract can fail: up a floor, sideways, OpenTelemetry in the model, an SDK in the recorder."""
    path = copy / "src/llmtrace" / module
    path.write_text(path.read_text(encoding="utf-8") + f"\n{planted}\n", encoding="utf-8")
    assert lint(copy).returncode != 0
