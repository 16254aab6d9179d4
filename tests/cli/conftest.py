"""Traces to look at, in a store of their own, and the command line as a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from llmtrace.cli import main
from llmtrace.diagnosis import made_up
from llmtrace.store import open_store
from tests.cli.traces import SILENT, recovered, silent

if TYPE_CHECKING:
    from llmtrace.diagnosis.aftermath import Aftermath
    from llmtrace.diagnosis.clue import Clue
    from llmtrace.diagnosis.flow import Flow
    from llmtrace.model import Trace


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
def broken_finder(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the finders of clues cannot take the silent trace."""
    look = made_up.made_up

    def finder(trace: Trace, flow: Flow, after: Aftermath) -> Iterable[Clue]:
        if trace.trace_id == SILENT:
            raise KeyError("order_id")
        return look(trace, flow, after)

    monkeypatch.setattr(made_up, "made_up", finder)


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A local store with two traces: one that recovered an hour ago, and one that went wrong silently a minute ago."""
    url = str(tmp_path / "store")
    opened = open_store(url)
    for span in (*recovered(), *silent()):
        opened.append(span)
    opened.close()
    return url
