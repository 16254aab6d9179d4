"""`flush` says whether all was handed over in time."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import llmtrace
from llmtrace import instrumentation
from llmtrace.errors import ConfigurationError
from llmtrace.model import Span
from llmtrace.signals import user_signals
from llmtrace.testing import capture


def test_flush_is_true_where_nothing_waits(tmp_path: Path) -> None:
    """Without `configure`, with a store, and twice."""
    assert llmtrace.flush() is True
    llmtrace.configure(store=tmp_path, instrument=[])
    try:
        with llmtrace.span("x"):
            pass
        assert llmtrace.flush() is True
        assert llmtrace.flush(timeout=0) is True
    finally:
        llmtrace.shutdown()


def test_flush_is_false_while_a_background_signal_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits no longer than it was told to, and what waits is not lost."""
    monkeypatch.setattr(user_signals, "registered", {})
    go_on = threading.Event()

    @llmtrace.signal(background=True)
    def judge(span: Span) -> None:
        go_on.wait(10)

    llmtrace.configure(store="memory:", instrument=[])
    try:
        with llmtrace.span("x"):
            pass
        assert llmtrace.flush(timeout=0.05) is False
        go_on.set()
        assert llmtrace.flush() is True
    finally:
        go_on.set()
        llmtrace.shutdown()


def test_flush_is_false_where_a_collector_is_down(tmp_path: Path) -> None:
    """The spans stay in the journal, and are sent when it is up again."""
    llmtrace.configure(store=tmp_path, instrument=[], exporters=["otlp:http://127.0.0.1:9"])
    try:
        with llmtrace.span("x"):
            pass
        assert llmtrace.flush(timeout=1) is False
    finally:
        llmtrace.shutdown()


@pytest.mark.parametrize("timeout", [-1, "1", True, None])
def test_a_timeout_that_is_none_is_an_error(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected seconds, 0 or more"):
        llmtrace.flush(timeout=timeout)


def test_a_named_library_that_is_not_installed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Code that names it expects its calls in the trace. Of one that is installed, and where none is named, nothing is said."""
    libraries = {name: instrumentation.library_of(name) for name in instrumentation.available()}
    missing = [name for name, (module, package) in libraries.items() if package and not find_spec(module.partition(".")[0])]
    if not missing:
        pytest.skip("every library is installed")
    with capture(), capture(instrument=["openai"]):
        pass
    assert caplog.messages == []
    with capture(instrument=["openai", missing[0]]):
        pass
    assert caplog.messages == [f"llmtrace: {missing[0]} is to be instrumented and is not installed; nothing of it is recorded"]
