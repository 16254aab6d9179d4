"""Exporters of other packages."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

import llmtrace
from llmtrace.errors import ConfigurationError
from tests.stored import recording

MODULE = """
from llmtrace.model import Sink

names = []

class Names(Sink):
    wants_start_marks = False

    def append(self, span):
        names.append(span.name)

def open(argument, content):
    return Names() if argument == "names" else None
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with one exporter, and one whose module cannot be imported."""
    info = tmp_path / "span_names-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: span-names\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[llmtrace.exporters]\nspan_names = span_names:open\nbroken = no_such_module:open\n")
    (tmp_path / "span_names.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "span_names", raising=False)


@pytest.mark.usefixtures("package")
def test_an_exporter_of_another_package_gets_spans() -> None:
    """Its entry point names a function of the argument and the content rules."""
    with recording(exporters=["span_names:names"]), llmtrace.span("step"):
        pass
    assert sys.modules["span_names"].names == ["step"]


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("exporter", "reason"),
    [("broken", "cannot be loaded"), ("span_names:other", "not a llmtrace.model.Sink"), ("spans", "unknown")],
)
def test_an_exporter_that_cannot_work_is_an_error_in_code_and_a_line_elsewhere(
    exporter: str, reason: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong value in code is raised at once; one in the environment costs one line."""
    with pytest.raises(ConfigurationError, match=reason):
        llmtrace.configure(store="memory:", exporters=[exporter])
    monkeypatch.setenv("LLMTRACE_EXPORTERS", exporter)
    with caplog.at_level(logging.WARNING):
        llmtrace.configure(store="memory:")
    llmtrace.shutdown()
    assert reason in caplog.text
