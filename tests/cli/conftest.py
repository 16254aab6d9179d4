"""Traces to look at, in a store of their own, and the command line as a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from llmtrace import diagnosis
from llmtrace.cli import main
from llmtrace.diagnosis import Finding
from llmtrace.diagnosis.causes import Cause
from llmtrace.reading.graph import Graph
from tests.cli.traces import SILENT, recovered, silent
from tests.stored import append


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
def broken_diagnosis(monkeypatch: pytest.MonkeyPatch) -> None:
    """The diagnosis of the silent trace fails."""
    join = diagnosis.causes_of

    def causes_of(findings: Iterable[Finding], graph: Graph) -> list[Cause]:
        if graph.trace.trace_id == SILENT:
            raise KeyError("order_id")
        return join(findings, graph)

    monkeypatch.setattr(diagnosis, "causes_of", causes_of)


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A local store with two traces: one that recovered an hour ago, and one that went wrong silently a minute ago."""
    url = str(tmp_path / "store")
    append(url, *recovered(), *silent())
    return url
