"""How values are worded: unknown is ``-``, never 0."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from llmtrace.cli import format_text
from llmtrace.model import Evaluation, Span, Violation, replace
from tests.strategies import spans


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0000421, "42 µs"),
        (0.31, "310 ms"),
        (0.9999, "1.00 s"),
        (1.306, "1.31 s"),
        (42.2, "42 s"),
        (59.7, "1m 00s"),
        (125, "2m 05s"),
        (7260, "2h 01m"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    """Three digits at most, in the unit that fits."""
    assert format_text.duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(-5, "0s"), (59, "59s"), (61, "1m"), (7200, "2h"), (900000, "10d")])
def test_age(seconds: int, text: str) -> None:
    """In the largest unit that is not zero; what lies in the future is now."""
    assert format_text.age(0, seconds * 1_000_000_000) == text


@pytest.mark.parametrize(
    ("usd", "text"), [(None, "-"), (0.0, "$0.0000"), (0.00002, "<$0.0001"), (0.0123, "$0.0123"), (1234.5, "$1,234.50")]
)
def test_cost(usd: float | None, text: str) -> None:
    """An unknown cost is not free, and a small one is not nothing."""
    assert format_text.cost(usd) == text


def test_tokens_unknown() -> None:
    """A sum of unknown counts is unknown; of some known ones, their sum."""


def test_calls_read_like_code() -> None:
    """A dict is keyword arguments; text is the raw text of the model; None, not known, is an ellipsis."""
    assert format_text.call("refund", {"order_id": "K", "amount": 4.5}) == 'refund(order_id="K", amount=4.5)'
    assert format_text.call("refund", '{"order_id": "K"') == 'refund({"order_id": "K")'
    assert format_text.call("now", {}) == "now()"
    assert format_text.call("now", None) == "now(…)"


def test_violation_says_expected_once() -> None:
    """What was expected is added where the message does not say it already; a missing member has not come at all."""
    broken = Violation("wrong_type", "/amount", "type", "must be a number", expected="number", got="4 EUR")
    assert format_text.violation(broken) == 'wrong_type at /amount: must be a number; got "4 EUR"'
    other = replace(broken, message="does not fit")
    assert format_text.violation(other) == 'wrong_type at /amount: does not fit; expected number; got "4 EUR"'
    missing = Violation("missing", "/amount", "required", "is required")
    assert format_text.violation(missing) == "missing at /amount: is required"
    malformed = Violation("malformed_json", "", "", "ends too early", line=1, column=9)
    assert format_text.violation(malformed) == "malformed_json at line 1, column 9: ends too early"


def test_evaluation_shows_its_evidence() -> None:
    """Name, label, place, explanation, evidence."""
    found = Evaluation("repeated_call", "warning", "third time", label="loop", pointer="/a", evidence={"count": 3})
    assert format_text.evaluation(found) == "repeated_call [loop] at /a: third time (count=3)"


@given(spans())
def test_every_span_is_json(span: Span) -> None:
    """Whatever a span holds can be printed as strict JSON."""
    json.loads(json.dumps(format_text.as_json(span), allow_nan=False))
