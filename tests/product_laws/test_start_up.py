"""What `import llmtrace` and `configure()` import: each module more is paid by every start of every program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LATER_ROOMS = frozenset(
    {
        *("cli", "demo", "diagnosis", "judge", "launch", "monitors", "mcp_server", "pytest_plugin", "receiver", "replay"),
        *("statistics", "testing", "tools", "viewer"),
    }
)
"""Rooms of llmtrace that recording a program does not need."""
LATER_MODULES = frozenset(
    {
        "llmtrace.exporters.forwarding.forwarder",
        "llmtrace.exporters.forwarding.sending",
        "llmtrace.exporters.forwarding.otlp_exporter",
        "llmtrace.external.ingest",
        "llmtrace.store.indexing",
        "llmtrace.store.sqlite",
        "llmtrace.validation.parameters",
        "llmtrace.validation.rust_engine",
    }
)
EVALUATION = frozenset({"llmtrace.evaluation", "llmtrace.reading", "llmtrace.validation.check_values"})
LATER_PACKAGES = frozenset(
    {
        *("genai_prices", "google", "grpc", "httpx", "jsonschema", "jsonschema_rs", "openai", "opentelemetry.exporter"),
        *("prometheus_client", "pydantic", "requests", "sqlite3", "starlette", "uvicorn"),
    }
)
INSTRUMENTORS_AT_ONCE = frozenset({"threads"})
"""Instrumentors whose library every program has loaded."""


def imported_by(program: str, folder: Path, *, first: str = "opentelemetry.sdk.trace") -> set[str]:
    """Names of the modules that a program imports beside those of ``first``."""
    code = f"import sys, {first}\nbefore = set(sys.modules)\n{program}\nprint(*(set(sys.modules) - before))"
    environment = {**os.environ, "LLMTRACE_STORE": str(folder)}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return set(ran.stdout.split())


def test_what_import_llmtrace_imports(tmp_path: Path) -> None:
    """Nothing but the package itself and its version, and no package of others."""
    imported = imported_by("import llmtrace", tmp_path, first="os")
    assert {name for name in imported if name.startswith("llmtrace")} == {"llmtrace", "llmtrace.locks", "llmtrace.version"}
    assert {name.partition(".")[0] for name in imported} & {"opentelemetry", *LATER_PACKAGES} == set()


def test_what_configure_imports(tmp_path: Path) -> None:
    """Only what the first span needs: no room that reads, no sender, no index, no library of which none of it is used yet."""
    imported = imported_by("import llmtrace\nllmtrace.configure()", tmp_path)
    rooms = {name.split(".")[1] for name in imported if name.startswith("llmtrace.")}
    assert rooms & LATER_ROOMS == set()
    assert imported & LATER_MODULES == set()
    assert imported & LATER_PACKAGES == set()
    instrumentors = {name.rpartition(".")[2] for name in imported if name.startswith("llmtrace.instrumentation.")}
    assert {name for name in instrumentors if not name.startswith("_")} == INSTRUMENTORS_AT_ONCE
    assert {name for name in imported if name.startswith("llmtrace.laws.")} <= {
        "llmtrace.laws.base",
        "llmtrace.laws.user_signals",
    }


def test_evaluation_is_imported_by_the_first_run(tmp_path: Path) -> None:
    """Validation, evidence, lineage and signals wait for a span to judge."""
    imported = imported_by("import llmtrace\nllmtrace.configure()", tmp_path)
    assert imported & EVALUATION == set()
    assert imported_by("import llmtrace\nllmtrace.configure()\nwith llmtrace.span('step'): pass", tmp_path) >= EVALUATION


def test_what_a_plain_span_imports(tmp_path: Path) -> None:
    """A function that is no tool has no schema, so that pydantic is not needed for it."""
    imported = imported_by("import llmtrace\nllmtrace.configure()\nwith llmtrace.span('step'): pass", tmp_path)
    assert imported & {"genai_prices", "jsonschema", "jsonschema_rs", "openai", "pydantic", "sqlite3"} == set()


def test_what_a_tool_in_an_agent_imports(tmp_path: Path) -> None:
    """Its schema needs no jsonschema, which costs 100 ms, and no SDK that the program has not loaded."""
    program = (
        "import llmtrace\n"
        "llmtrace.configure()\n"
        "@llmtrace.tool\n"
        "def add(a: int) -> int: return a\n"
        "@llmtrace.agent\n"
        "def run(): return add(1)\n"
        "run()"
    )
    assert imported_by(program, tmp_path) & {"jsonschema", "openai", "anthropic", "grpc"} == set()
