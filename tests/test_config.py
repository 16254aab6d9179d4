"""Config: argument over variable over default; a wrong value is one clear line, and the default."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def test_far_off_variables_get_no_suggestion(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The prefix alone makes no name similar; a default that is made anew is shown as what it is."""
    monkeypatch.setenv("LLMTRACE_BOGUS", "1")
    monkeypatch.setenv("LLMTRACE_PRICES", "m=1")
    with caplog.at_level(logging.WARNING):
        Config.read()
    assert "did you mean" not in caplog.text
    assert "using the default {}" in caplog.text


def test_wrong_options_are_said(caplog: pytest.LogCaptureFixture) -> None:
    """A misspelt option or value of configure() is a line, not a crash."""
    with caplog.at_level(logging.WARNING):
        assert Config.read(contents="all", on_invalid="explode") == Config()
    assert "did you mean 'content'?" in caplog.text
    assert "record, raise, reply, repair" in caplog.text


def test_the_standard_variable_for_content(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """OpenTelemetry's own switch lets content onto spans; our variable is more specific. Another value of it is told of."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    assert Config.read().content == "local"
    assert "expected one of NO_CONTENT, SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT" in caplog.text
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")
    assert Config.read().content == "all"
    monkeypatch.setenv("LLMTRACE_CONTENT", "local")
    assert Config.read().content == "local"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_store_days": 0}, "a number above 0"),
        ({"max_content_bytes": True}, "a number above 0"),
        ({"max_content_bytes": "big"}, "max_content_bytes='big'"),
        ({"redact": "perhaps"}, "expected on or off"),
        ({"redact": 5}, "True or False"),
        ({"signals": 5}, "a list of names"),
        ({"prices": "x"}, "{model: {input, output}}"),
        ({"store": 5}, "store=5"),
        ({"content": ["all"]}, "one of none, local, all"),
    ],
)
def test_options_of_another_type_are_said_and_left_out(
    options: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """They never get to where they would break something later."""
    with caplog.at_level(logging.WARNING):
        assert Config.read(**options) == Config()
    assert len(caplog.records) == 1
    assert said in caplog.text


def test_options_are_taken_in_the_forms_that_come_naturally(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A path as store, one name for a list of one, a text as the variable would have it."""
    monkeypatch.setenv("LLMTRACE_PRICES", '{"m": {"input": 1, "output": 2}}')
    config = Config.read(
        store=tmp_path, redact_keys="password", signals="a, b", max_store_days="7", instrument=["x"], redact_patterns="a,b"
    )
    assert (config.store, config.redact_keys, config.signals) == (str(tmp_path), ("password",), ("a", "b"))
    assert (config.max_store_days, config.instrument, config.redact_patterns) == (7.0, ("x",), ("a,b",))
    assert config.prices == {"m": {"input": 1, "output": 2}}
    assert caplog.records == []


def test_a_redaction_rule_that_cannot_be_one_is_not_left_out() -> None:
    """What it was to hide must not come out because of it."""
    assert Config.read(redact_keys=5, redact_with=5).redact_keys == (5,)
    assert Config.read(redact_keys=b"ssn").redact_keys == (b"ssn",)

    def names() -> Iterator[str]:
        yield "ssn"
        raise ValueError

    given = names()
    assert Config.read(redact_keys=given).redact_keys == (given,)
