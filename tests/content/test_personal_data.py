"""Cards, IBANs and social security numbers: only for those who ask, and only where the check digits are right."""

from __future__ import annotations

import json
import time

import pytest

from llmtrace.config import Config
from llmtrace.content import Redactor
from llmtrace.errors import ConfigurationError

redactor = Redactor(Config.read(redact=("cards", "iban", "ssn")))


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("pay with 4111 1111 1111 1111 today", "pay with [REDACTED:card] today"),
        ("5555-5555-5555-4444", "[REDACTED:card]"),
        ("amex 378282246310005.", "amex [REDACTED:card]."),
        ("to DE89 3704 0044 0532 0130 00 BY FRIDAY", "to [REDACTED:iban] BY FRIDAY"),
        ("GB29NWBK60161331926819", "[REDACTED:iban]"),
        ("SSN 123-45-6789", "SSN [REDACTED:ssn]"),
        ("password=x1 and 4111111111111111", "password=[REDACTED:key] and [REDACTED:card]"),
    ],
)
def test_numbers_of_persons(text: str, redacted: str) -> None:
    for padding in ("", " ." * 300):
        assert redactor.text(text + padding) == redacted + padding
    assert Redactor(Config()).text(text).count("[REDACTED") == ("password" in text)


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",
        "order 4000000000000",
        "1700000000000 1732786861123456789 0000-0000-0000-0000",
        "DE89 3704 0044 0532 0130 02",
        "000-12-3456 666-12-3456 912-34-5678 123-00-4567 123-45-0000 1234-56-7890",
        "call 555-12-34567, id 3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    assert redactor.text(text) is text


def test_json_stays_json() -> None:
    """A number gives way to a text, in values and in texts that are JSON."""
    value = {"card": 4111111111111111, "cards": [4111111111111111, 5], "n": 4111111111111112}
    redacted = {"card": "[REDACTED:card]", "cards": ["[REDACTED:card]", 5], "n": 4111111111111112}
    assert redactor.value(value) == redacted
    assert json.loads(redactor.text(json.dumps(value))) == redacted
    assert (
        json.loads(redactor.text(json.dumps({"a": json.dumps({"c": "4111111111111111"})})))["a"] == '{"c": "[REDACTED:card]"}'
    )


def test_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """One word or several, as an argument or a variable; secrets are replaced all the same."""
    assert Config.read(redact="cards").redact == ("cards",)
    monkeypatch.setenv("LLMTRACE_REDACT", "iban, SSN")
    assert Config.read().redact == ("iban", "ssn")
    monkeypatch.setenv("LLMTRACE_REDACT", "off")
    assert Config.read().redact is False
    for wrong in ("credit", ["cards", "phones"], (), 5):
        with pytest.raises(ConfigurationError, match="cards, iban, ssn"):
            Config.read(redact=wrong)


@pytest.mark.parametrize("hostile", ["4" * 300_000, "4 " * 150_000, "DE89" * 80_000, "123-45-678" * 30_000, "AA11 " * 60_000])
def test_no_text_takes_long(hostile: str) -> None:
    began = time.process_time()
    redactor.text(hostile)
    assert time.process_time() - began < 5
