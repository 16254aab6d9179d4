"""The resource: what of the program and its environment is recorded once for all spans."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.stored import recording

import llmtrace
from llmtrace.recorder.resource import UNSET, describe, packages_digest
from llmtrace.store import open_store


def test_python_packages_and_libraries() -> None:
    resource = describe()
    assert resource["process.runtime.version"] == sys.version.split()[0]
    assert any(str(library).startswith("openai ") for library in resource["llmtrace.libraries"])
    assert resource["llmtrace.packages"] == describe()["llmtrace.packages"]
    assert (
        packages_digest({"a": "1", "b": "2"}) == packages_digest({"b": "2", "a": "1"}) != packages_digest({"a": "1", "b": "3"})
    )


def test_only_allowed_variables_are_recorded_and_secrets_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An allowed one that is not set is recorded as that; what reads as a secret is redacted like other content."""
    monkeypatch.setenv("AGENT_REGION", "eu")
    monkeypatch.setenv("AGENT_TOKEN", "a-token-that-nobody-may-see")
    monkeypatch.setenv("AGENT_OTHER", "not allowed")
    monkeypatch.delenv("AGENT_ABSENT", raising=False)
    url = str(tmp_path / "store")
    names = ("AGENT_REGION", "AGENT_TOKEN", "AGENT_ABSENT")
    with recording(url, fingerprint_env=names), llmtrace.agent("a"):
        pass
    resource = open_store(url).trace("last").root.resource
    assert (resource["llmtrace.env.AGENT_REGION"], resource["llmtrace.env.AGENT_ABSENT"]) == ("eu", UNSET)
    assert "nobody" not in str(resource)
    assert "not allowed" not in str(resource)
