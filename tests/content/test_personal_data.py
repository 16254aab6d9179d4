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
    ("text", "redacted"),
    [
        ("mail ann.smith+x@example.co.uk.", "mail [REDACTED:email]."),
        ("call +49 171 1234567 or (555) 234-5678", "call [REDACTED:phone] or [REDACTED:phone]"),
        ("212-555-0199", "[REDACTED:phone]"),
        ("DNI 12345678Z, X1234567L", "DNI [REDACTED:national_id], [REDACTED:national_id]"),
        ("RSSMRA85T10A562S", "[REDACTED:national_id]"),
        ("NIR 1 85 05 78 006 084 91", "NIR [REDACTED:national_id]"),
        ("CPF 529.982.247-25", "CPF [REDACTED:national_id]"),
        ("AB 12 34 56 C", "[REDACTED:national_id]"),
        ('{"tax": 86095742719}', '{"tax": "[REDACTED:national_id]"}'),
    ],
)
def test_one_word_for_all_personal_data(text: str, redacted: str) -> None:
    everything = Redactor(Config.read(redact="personal"))
    for padding in ("", " ." * 300):
        assert everything.text(text + padding) == redacted + padding
    assert redactor.text(text) is text


def test_personal_numbers_that_are_no_text() -> None:
    everything = Redactor(Config.read(redact=" Personal "))
    assert everything.value({"tax": 86095742719, "nir": 185057800608491, "n": 86095742718}) == {
        "tax": "[REDACTED:national_id]",
        "nir": "[REDACTED:national_id]",
        "n": 86095742718,
    }


@pytest.mark.parametrize(
    "text",
    [
        "order 12345678901, ts 1700000000000, v1.2.3, 2026-12-03 10:20:30, 192.168.100.200, EU 12 34 56 D",
        "12345678A X1234567A RSSMRA85T10A562T 1 85 05 78 006 084 92 529.982.247-26 86095742710",
        "user@host, @ann, a+1, 1+1=2, C++17, 555-0199, 3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    ],
)
def test_other_texts_stay(text: str) -> None:
    assert Redactor(Config.read(redact="personal")).text(text) is text


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
