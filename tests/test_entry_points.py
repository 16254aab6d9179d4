"""OpenTelemetry's own launcher finds every instrumentor, and one that fails stops no other."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llmtrace import instrumentation
from llmtrace.store import open_store

GROUP = "opentelemetry_instrumentor"


def test_every_instrumentor_has_its_entry_point() -> None:
    """The folder is the registry; pyproject.toml repeats it for the launcher."""
    found = {one.name: one for one in importlib.metadata.entry_points(group=GROUP) if one.value.startswith("llmtrace.")}
    assert sorted(found) == [f"llmtrace-{name}" for name in instrumentation.available()]
    for name, entry_point in found.items():
        assert f"llmtrace-{entry_point.load()().name}" == name


def test_the_launcher_turns_recording_on(tmp_path: Path) -> None:
    """``opentelemetry-instrument python agent.py``: our spans are in the store and go to the launcher's exporter."""
    launcher = shutil.which("opentelemetry-instrument", path=str(Path(sys.executable).parent))
    if launcher is None:
        pytest.skip("opentelemetry-distro is not installed")
    (tmp_path / "agent.py").write_text("import llmtrace\nwith llmtrace.span('step'):\n    pass\n")
    environment = {
        **os.environ,
        "LLMTRACE_STORE": str(tmp_path / "store"),
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    ran = subprocess.run(
        [launcher, sys.executable, "agent.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["name"] == "step"
    store = open_store(str(tmp_path / "store"))
    assert store.trace("last").root.name == "step"
    store.close()
