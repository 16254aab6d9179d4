"""Config: argument over variable over default; a wrong value is one clear line, and the default."""

from __future__ import annotations

import logging

import pytest

from llmtrace.config import Config


def test_defaults() -> None:
    """Nothing set: everything on, content local."""
    config = Config.read()
    assert (config.store, config.content, config.redact, config.on_invalid) == ("auto", "local", True, "record")


def test_argument_over_variable_over_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """What code says wins over what the environment says."""
    monkeypatch.setenv("LLMTRACE_CONTENT", "none")
    monkeypatch.setenv("LLMTRACE_MAX_STORE_BYTES", "1000000")
    monkeypatch.setenv("LLMTRACE_SIGNALS", "")
    assert Config.read().content == "none"
    assert Config.read(content="all").content == "all"
    assert Config.read(content=None).content == "none"
    assert (Config.read().max_store_bytes, Config.read().signals) == (1000000, ())


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("LLMTRACE_CONTENT", "some", "expected one of none, local, all"),
        ("LLMTRACE_REDACT", "perhaps", "expected on or off"),
        ("LLMTRACE_MAX_STORE_BYTES", "-1", "expected a number above 0"),
        ("LLMTRACE_MAX_STORE_DAYS", "soon", "LLMTRACE_MAX_STORE_DAYS='soon'"),
        ("LLMTRACE_STROE", "off", "did you mean 'LLMTRACE_STORE'?"),
    ],
)
def test_wrong_variables_are_said_once_and_left_out(
    variable: str, text: str, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What, where, what to do; and the program goes on."""
    monkeypatch.setenv(variable, text)
    with caplog.at_level(logging.WARNING):
        assert Config.read() == Config()
    assert len(caplog.records) == 1
    assert said in caplog.text
    assert variable in caplog.text


def test_wrong_options_are_said(caplog: pytest.LogCaptureFixture) -> None:
    """A misspelt option or value of configure() is a line, not a crash."""
    with caplog.at_level(logging.WARNING):
        assert Config.read(contents="all", on_invalid="explode") == Config()
    assert "did you mean 'content'?" in caplog.text
    assert "record, raise, reply, repair" in caplog.text


def test_the_standard_variable_for_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenTelemetry's own switch lets content onto spans; our variable is more specific."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")
    assert Config.read().content == "all"
    monkeypatch.setenv("LLMTRACE_CONTENT", "local")
    assert Config.read().content == "local"
