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
from tests.stored import read

GROUP = "opentelemetry_instrumentor"


def test_every_instrumentor_has_its_entry_point() -> None:
    """The folder is the registry; pyproject.toml repeats it for the launcher."""
    found = {one.name: one for one in importlib.metadata.entry_points(group=GROUP) if one.value.startswith("llmtrace.")}
    assert sorted(found) == [f"llmtrace-{name}" for name in instrumentation.available()]
    for name, entry_point in found.items():
        assert f"llmtrace-{entry_point.load()().name}" == name


STEP = "import llmtrace\nwith llmtrace.span('step'):\n    pass\n"


def launched(tmp_path: Path, program: str = STEP, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program run by OpenTelemetry's launcher."""
    launcher = shutil.which("opentelemetry-instrument", path=str(Path(sys.executable).parent))
    if launcher is None:
        pytest.skip("opentelemetry-distro is not installed")
    (tmp_path / "agent.py").write_text(program)
    environment = {
        **os.environ,
        "LLMTRACE_STORE": str(tmp_path / "store"),
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "NO_PROXY": "*",
        **environment,
    }
    return subprocess.run(
        [launcher, sys.executable, "agent.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )


def test_the_launcher_turns_recording_on(tmp_path: Path) -> None:
    """``opentelemetry-instrument python agent.py``: our spans are in the store and go to the launcher's exporter."""
    ran = launched(tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["name"] == "step"
    assert read(tmp_path / "store").root.name == "step"


BROKEN = """
def Instrumentor():
    raise RuntimeError("broken")

def missing():
    import nowhere

class Late:
    def instrument(self, **_):
        import openai.resources.chat.completions as chat
        made = chat.Completions.create

        def create(*given, **named):
            print("by another, too")
            return made(*given, **named)

        chat.Completions.create = create
"""
PROGRAM = """
import llmtrace, openai
from opentelemetry.instrumentation.distro import BaseDistro
with llmtrace.span("step"):
    try:
        openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="none", max_retries=0).chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "Hello"}]
        )
    except openai.APIConnectionError:
        print(hasattr(BaseDistro.load_instrumentor, "__wrapped__"))
"""


def test_an_instrumentor_that_fails_stops_no_other(tmp_path: Path) -> None:
    """Neither ours nor other people's, in whatever order they come, and whichever library they are for; what is missing is
    passed over as ever. When all are on, the launcher is as it was."""
    about = tmp_path / "broken-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    broken = ("a_broken", "openai", "zz_broken")
    lines = [*(f"{name} = broken:Instrumentor" for name in broken), "missing = broken:missing", "other = broken:Late"]
    (about / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))
    (tmp_path / "broken.py").write_text(BROKEN)
    ran = launched(tmp_path, PROGRAM, OTEL_TRACES_EXPORTER="none")
    assert (ran.returncode, ran.stdout.splitlines()) == (0, ["by another, too", "False"])
    assert all(f"instrumenting of {name} failed; the others go on" in ran.stderr for name in broken)
    assert "missing" not in ran.stderr
    assert "Failed to auto initialize" not in ran.stderr
    assert sorted(span.name for span in read(tmp_path / "store").spans) == ["chat gpt-4o", "step"]
