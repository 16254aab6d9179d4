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
OTHERS = {
    one.name.replace("-", "_")
    for one in importlib.metadata.entry_points(group=GROUP)
    if one.name.replace("-", "_") in instrumentation.available() and not one.value.startswith("llmtrace.")
}
"""Libraries that somebody else instruments too, in this environment."""


def test_every_instrumentor_has_its_entry_point() -> None:
    """The folder is the registry; pyproject.toml repeats it for the launcher."""
    found = {one.name: one for one in importlib.metadata.entry_points(group=GROUP) if one.value.startswith("llmtrace.")}
    assert sorted(found) == [f"llmtrace-{name}" for name in instrumentation.available()]
    for name, entry_point in found.items():
        assert f"llmtrace-{entry_point.load()().name}" == name


def launched(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of one span, run by OpenTelemetry's launcher."""
    launcher = shutil.which("opentelemetry-instrument", path=str(Path(sys.executable).parent))
    if launcher is None:
        pytest.skip("opentelemetry-distro is not installed")
    (tmp_path / "agent.py").write_text("import llmtrace\nwith llmtrace.span('step'):\n    pass\n")
    environment = {
        **os.environ,
        **environment,
        "LLMTRACE_STORE": str(tmp_path / "store"),
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    return subprocess.run(
        [launcher, sys.executable, "agent.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )


def test_the_launcher_turns_recording_on(tmp_path: Path) -> None:
    """``opentelemetry-instrument python agent.py``: our spans are in the store and go to the launcher's exporter."""
    ran = launched(tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["name"] == "step"
    store = open_store(str(tmp_path / "store"))
    assert store.trace("last").root.name == "step"
    store.close()


def test_another_instrumentor_that_fails_does_not_stop_ours(tmp_path: Path) -> None:
    """At it the launcher gives up on all that come after; ours were turned on before."""
    about = tmp_path / "broken-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{GROUP}]\nbroken = broken:Instrumentor\n")
    (tmp_path / "broken.py").write_text("def Instrumentor():\n    raise RuntimeError('broken')\n")
    ran = launched(tmp_path)
    assert ran.returncode == 0
    assert "Instrumenting of broken failed" in ran.stderr
    assert json.loads(ran.stdout)["name"] == "step"
    store = open_store(str(tmp_path / "store"))
    assert store.trace("last").root.name == "step"
    store.close()


@pytest.mark.parametrize(
    ("disabled", "taken", "on"),
    [
        ("", "mistral", set(instrumentation.available()) - {"mistral"}),
        ("llmtrace-ollama, llmtrace-groq", "redis", set(instrumentation.available()) - {"ollama", "groq"}),
        ("*", "redis", set()),
    ],
)
def test_which_are_turned_on_ahead(disabled: str, taken: str, on: set[str], tmp_path: Path) -> None:
    """All but those that are disabled, and those whose library another instruments too: the later one is the outer one."""
    about = tmp_path / "other-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{GROUP}]\n{taken} = other:Instrumentor\n")
    program = "from llmtrace import entry_points, instrumentation; entry_points.ahead(); print(*instrumentation.instrument(()))"
    environment = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": disabled, "LLMTRACE_STORE": "off", "PYTHONPATH": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert (set(ran.stdout.split()), ran.stderr) == (on - OTHERS, "")
