"""Programs of frameworks, each run in a process of its own, and what they leave. Not run by itself."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest

from llmtrace.model import Span, Trace
from llmtrace.store import Query, open_store

MODULES = {
    "autogen": "autogen_agentchat",
    "google_adk": "google.adk",
    "langchain": "langgraph",
    "llama_index": "llama_index.core",
    "openai_agents": "agents",
}
"""Modules that are not called as their framework is here."""
_QUIET = {
    **dict.fromkeys(("CREWAI_DISABLE_TELEMETRY", "CREWAI_DISABLE_VERSION_CHECK", "LITELLM_LOCAL_MODEL_COST_MAP"), "true"),
    "AGNO_TELEMETRY": "false",
    "HAYSTACK_TELEMETRY_ENABLED": "false",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "PYTHONWARNINGS": "ignore",
    **{f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")},
}


def is_here(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nor what it is a part of
        return False


def skip_if_absent(name: str) -> None:
    if not is_here(MODULES.get(name, name)):
        pytest.skip(f"{name} is not installed here; scripts/test --all has an environment for it")


def run_program(command: list[str], home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program with its store in ``home``. It ends well, and llmtrace has nothing to say about it."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "LLMTRACE_", "OTEL_"))}
    ran = subprocess.run(
        command,
        env={**kept, **_QUIET, "HOME": str(home), "LLMTRACE_STORE": str(home / "store"), **environment},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "llmtrace: " not in ran.stderr, ran.stderr
    assert "detach" not in ran.stderr, ran.stderr
    return ran


def traces_in(home: Path) -> list[Trace]:
    """The traces of the store in ``home``, the oldest first."""
    if not (home / "store").exists():
        return []
    opened = open_store(str(home / "store"))
    try:
        return [opened.trace(found.trace_id) for found in reversed(opened.traces(Query(limit=100)))]
    finally:
        opened.close()


def of(trace: Trace, kind: type) -> list[Span]:
    return [span for span in trace.spans if isinstance(span.operation, kind)]
