"""Traces to look at, in a store of their own, and the command line as a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from llmtrace import diagnosis
from llmtrace.cli import main
from llmtrace.diagnosis import Finding, Run
from llmtrace.diagnosis.checks import Check, all_checks
from tests.cli.traces import SILENT, append_to, recovered, silent


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """80 columns, and no colour unless a test asks for it."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "UTC")
    for variable in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def llmtrace(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    def call(*words: str) -> Ran:
        capsys.readouterr()
        try:
            code = main(words)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return call


@pytest.fixture
def broken_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more check, which fails on the silent trace."""

    def look(run: Run) -> Iterator[Finding]:
        if run.trace.trace_id == SILENT:
            raise KeyError("order_id")
        yield from ()

    checks = (*all_checks(), Check("broken", look))
    monkeypatch.setattr(diagnosis, "all_checks", lambda: checks)


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A local store with two traces: one that recovered an hour ago, and one that went wrong silently a minute ago."""
    url = str(tmp_path / "store")
    append_to(url, *recovered(), *silent())
    return url
