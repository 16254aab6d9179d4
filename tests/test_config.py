"""Config: argument over variable over default; a wrong argument is an error, a wrong variable one clear line."""

from __future__ import annotations

import inspect
import logging
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import llmtrace
from llmtrace.config import Config
from llmtrace.errors import ConfigurationError
from llmtrace.recorder import active
from llmtrace.testing import capture
from tests.stored import recording


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
        ("LLMTRACE_REDACT", "perhaps", "expected on, off, personal, or some of cards, iban, ssn"),
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


def test_an_unknown_option_is_a_type_error() -> None:
    """A misspelt option names the nearest one, as Python 3.13 does, in every version."""
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'stroe'. Did you mean 'store'?"):
        llmtrace.configure(stroe="x")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'zzz'$"):
        llmtrace.configure(zzz="x")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Did you mean 'content'?"):
        Config.read(contents="all")
    assert active() is None


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("project", "Did you mean 'service_name'?"),
        ("endpoint", "Set OTEL_EXPORTER_OTLP_ENDPOINT in the environment"),
        ("api_key", "Set OTEL_EXPORTER_OTLP_HEADERS in the environment"),
    ],
)
def test_a_word_of_another_tool_is_told_the_right_one(word: str, hint: str) -> None:
    """An option's name in another SDK, or what OpenTelemetry has a variable for."""
    with pytest.raises(TypeError, match=re.escape(f"unexpected keyword argument {word!r}. {hint}")):
        llmtrace.configure(**{word: "x"})


def test_configure_takes_every_option_by_name() -> None:
    """Explicit typed keywords, so that a type checker and an editor know them."""
    parameters = inspect.signature(llmtrace.configure).parameters
    assert {name for name in parameters if name != "tracer_provider"} == {option.name for option in fields(Config)}
    assert all(parameter.kind is parameter.KEYWORD_ONLY and parameter.default is None for parameter in parameters.values())


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
    ("options", "message"),
    [
        ({"max_store_days": 0}, "configure(max_store_days=0): expected a number above 0"),
        ({"max_store_days": float("nan")}, "expected a number above 0"),
        ({"max_content_bytes": True}, "expected a number above 0"),
        ({"max_content_bytes": "big"}, "configure(max_content_bytes='big'): expected a number above 0"),
        ({"redact": "perhaps"}, "expected on, off, personal, or some of cards, iban, ssn"),
        ({"redact": 5}, "expected True, False, personal, or some of cards, iban, ssn"),
        ({"signals": 5}, "expected a list of texts"),
        ({"signals": ["repeated_cal"]}, "configure(signals=['repeated_cal']): did you mean 'repeated_call'?"),
        ({"instrument": ["opnai"]}, "configure(instrument=['opnai']): did you mean 'openai'?"),
        ({"exporters": ["consol"]}, "unknown exporter 'consol'; expected otlp, console, jsonl"),
        ({"exporters": ["jsonl:"]}, "configure(exporters=['jsonl:'])"),
        ({"exporters": ["otlp:nowhere"]}, "expected the address of a collector, as in 'otlp:http://localhost:4318'"),
        ({"prices": "x"}, "{model: {input, output}}"),
        ({"prices": {"m": 5}}, "{model: {input, output}}"),
        ({"prices": {"m": {"input": -1}}}, "US dollars per million tokens, 0 or more, as 'input' of 'm'"),
        ({"store": 5}, "configure(store=5): expected auto, off, or the folder or URL of a store"),
        ({"store": "foo:x"}, "'foo'"),
        ({"store_headers": ["secret"]}, "configure(store_headers=...): expected a mapping of header names to texts"),
        ({"content": ["all"]}, "expected one of none, local, all"),
        ({"on_invalid": "explode"}, "configure(on_invalid='explode'): expected one of record, raise, reply, repair"),
        ({"otlp_sample": 2}, "expected a share from 0 to 1"),
        ({"service_name": 5}, "expected a text"),
        ({"redact_with": 5}, "expected a function from text to text"),
        ({"redact_keys": 5}, "expected a list of texts"),
        ({"redact_keys": ["-"]}, "configure(redact_keys=['-']): this rule cannot be used: expected a key name such as 'ssn'"),
        ({"redact_patterns": ["("]}, "configure(redact_patterns=['(']): this rule cannot be used"),
        ({"redact_paths": ["ssn"]}, "configure(redact_paths=['ssn']): this rule cannot be used"),
        ({"tracer_provider": 5}, "configure(tracer_provider=5): expected an OpenTelemetry TracerProvider"),
    ],
)
def test_a_wrong_value_in_code_is_an_error_at_once(options: dict[str, Any], message: str) -> None:
    """What, where, what to do; what was recorded before is recorded on, and tests see the same error."""
    with recording():
        recorder = active()
        with pytest.raises(ConfigurationError) as error:
            llmtrace.configure(**options)
        assert message in str(error.value)
        assert active() is recorder
    if options.keys().isdisjoint({"store", "exporters", "tracer_provider"}):  # which `capture` has none of
        with pytest.raises(ConfigurationError), capture(**options):
            pass


def test_a_wrong_value_in_a_variable_is_no_error(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The program's code did not ask for it: one line each, and the program goes on with the rest."""
    for name, text in {
        "STORE": "foo:x",
        "SIGNALS": "repeated_cal",
        "INSTRUMENT": "opnai",
        "EXPORTERS": "consol",
        "REDACT_PATTERNS": "(only here",  # a rule that cannot be read is named once a process
        "PRICES": '{"m": 5}',
    }.items():
        monkeypatch.setenv(f"LLMTRACE_{name}", text)
    try:
        llmtrace.configure()
        with llmtrace.span("step"):  # signals are loaded with the first span
            assert active() is not None
    finally:
        llmtrace.shutdown()
    for line in ("'foo'", "'repeated_cal'", "'opnai'", "'consol'", "redact_patterns", "LLMTRACE_PRICES"):
        assert sum(line in record.getMessage() for record in caplog.records) == 1, line


def test_a_store_that_cannot_be_opened_is_replaced_by_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A disk that is full or read-only is not an error of the code: one line, and the program goes on."""
    file = tmp_path / "file"
    file.write_text("")
    with recording(file / "store"), llmtrace.span("x"):
        pass
    assert sum("memory" in record.getMessage() for record in caplog.records) == 1


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


class Unwritable(str):
    """A text whose own methods raise, as those of a broken lazy translation do."""

    def __str__(self) -> str:
        raise RuntimeError("broken")

    def __repr__(self) -> str:
        raise RuntimeError("broken")

    __format__ = __fspath__ = __float__ = __str__  # type: ignore[assignment]


class UnwritableObject:
    __str__ = __repr__ = __fspath__ = __float__ = __iter__ = Unwritable.__str__  # type: ignore[assignment]


@pytest.mark.parametrize("option", [option.name for option in fields(Config)])
def test_an_option_that_cannot_be_written_is_refused_or_read(option: str) -> None:
    """Each option: a `ConfigurationError` that names it, or a plain text."""
    for value in (Unwritable("auto"), UnwritableObject()):
        problem, config = "", Config()
        try:
            config = Config.read(**{option: value})
        except ConfigurationError as error:
            problem = str(error)
        assert problem == "" or f"configure({option}=" in problem
        assert getattr(config, option) is not value
        assert "broken" not in repr(config)
