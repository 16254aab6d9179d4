"""The program's resource is cleaned before it is written, at every content level, in start marks, too."""

from __future__ import annotations

from pathlib import Path

import pytest

import llmtrace

TOKEN = "ghp_" + "0123456789abcdefghij" * 2


@pytest.mark.parametrize("level", ["all", "none"])
def test_no_secret_of_the_environment_is_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    monkeypatch.setenv("MY_SETTING", TOKEN)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=blue,db.password=hunter2resource,api_key=Kk99resource")
    llmtrace.configure(
        store=str(tmp_path),
        instrument=(),
        exporters=(),
        content=level,
        fingerprint_env=("MY_SETTING",),  # type: ignore[arg-type]
    )
    with llmtrace.agent("x"):
        pass
    llmtrace.shutdown()
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"blue" in written
    for secret in (TOKEN, "hunter2resource", "Kk99resource"):
        assert secret.encode() not in written
