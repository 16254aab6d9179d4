"""However a library is imported and recording is turned on, a call is recorded. Each case is a program in a process of its own.

These tests also run in environments with the oldest supported version of each library (``scripts/test --all``).
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from documented_calls import EXAMPLES, Example, serving
from tests.frameworks.running import traces_in

from llmtrace import instrumentation

pytestmark = pytest.mark.all

CONFIGURE = "import llmtrace; llmtrace.configure()"
ORDERS = ("configured first", "imported first", "llmtrace run", "opentelemetry-instrument")

_FIRST = {(example.library, example.since): example for example in reversed(EXAMPLES)}
CASES = [(example, order) for example in EXAMPLES for order in (ORDERS if example in _FIRST.values() else ORDERS[:1])]
"""Every example with `configure` first; the first one of each library, and of each way to import it, in every order."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as address:
        yield address


def _program(example: Example, order: str, url: str) -> str:
    before, between = (CONFIGURE if order == chosen else "" for chosen in ORDERS[:2])
    return "\n".join((f"URL = {url!r}", before, example.imports, between, example.call, ""))


def _launcher(order: str) -> list[str]:
    if order == "llmtrace run":
        return [sys.executable, "-m", "llmtrace", "run", "--quiet"]
    if order == "opentelemetry-instrument":
        if find_spec("opentelemetry.distro") is None:
            pytest.skip("opentelemetry-distro is not installed")
        return [str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable]
    return [sys.executable]


def _skip_if_absent(example: Example) -> None:
    statements = ast.parse(example.imports).body
    imported = [alias.name for node in statements if isinstance(node, ast.Import) for alias in node.names]
    imported += [node.module or "" for node in statements if isinstance(node, ast.ImportFrom)]
    library = instrumentation.library_of(example.library)
    missing = [name for name in imported if find_spec(name.partition(".")[0]) is None]
    if missing or not library.is_installed():
        pytest.skip(f"not installed: {', '.join(missing) or library.distribution}")
    version = tuple(int(part) for part in (library.version() or "").split(".")[:2])
    if not example.since <= version < example.until:
        pytest.skip(f"{library.distribution} {version} is imported in another way")


@pytest.mark.parametrize(("example", "order"), CASES, ids=[f"{example.id} - {order}" for example, order in CASES])
def test_a_call_is_recorded(example: Example, order: str, url: str, tmp_path: Path) -> None:
    """Once, and nothing is logged or printed."""
    _skip_if_absent(example)
    (tmp_path / "program.py").write_text(_program(example, order, url))
    environment = {
        **os.environ,
        "LLMTRACE_STORE": str(tmp_path / "store"),
        "OLLAMA_HOST": url,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        **{f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")},
        "NO_PROXY": "*",
    }
    command = [*_launcher(order), "program.py"]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "llmtrace" not in ran.stderr
    spans = [span for trace in traces_in(tmp_path) for span in trace.spans]
    recorded = [(type(span.operation).__name__, span.kind) for span in spans]
    assert recorded.count((example.operation, example.kind)) == 1, recorded
