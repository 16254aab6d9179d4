"""Numbers, flags and lists are read from any type that a writer gave them; a value that does not fit stays."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrace import semconv as sc
from llmtrace.codec import fields, genai
from llmtrace.model import Inference, RawSpan, Usage


@pytest.mark.parametrize(
    "written",
    [
        ["stop", "length"],
        ("stop", "length"),
        '["stop","length"]',
        '[ "stop", "length" ]',
        "[stop, length]",
        ["stop", None, "length"],
    ],
)
def test_a_list_of_texts_in_each_form(written: Any) -> None:
    """A list may be structured, JSON text, or what other languages print."""
    assert fields.as_texts(written) == ("stop", "length")


def test_one_text_is_a_list_of_one() -> None:
    assert fields.as_texts("stop") == fields.as_texts("[stop]") == fields.as_texts('["stop"]') == ("stop",)


@pytest.mark.parametrize(
    "written", ["", " ", "[]", "null", "None", "[1]", '[["stop"]]', 3, None, [None], [1], {"a": "b"}, True]
)
def test_values_that_are_not_a_list_of_texts(written: Any) -> None:
    assert fields.as_texts(written) is None


@given(st.integers(0, 1 << 50))
def test_a_count_as_text_or_float_is_the_count(count: int) -> None:
    assert fields.as_count(str(count)) == fields.as_count(float(count)) == fields.as_count(count) == count


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_as_text_is_the_number(number: float) -> None:
    assert fields.as_number(repr(number)) == number


@pytest.mark.parametrize("written", ["true", "True", "TRUE", True])
def test_a_flag_as_text_is_the_flag(written: Any) -> None:
    assert fields.as_flag(written) is True


def test_words_are_neither_numbers_nor_flags() -> None:
    """A flag is not a number, and a number is not a flag."""
    written: Any
    for written in ("", "many", "1x", "-", "٣", "1" * 30, [], None, True):
        assert fields.as_count(written) is None
    for written in ("", "nan", "inf", "much", True, None):
        assert fields.as_number(written) is None
    for written in ("yes", "1", 1, 0, None):
        assert fields.as_flag(written) is None


def test_a_model_call_whose_attributes_are_all_text() -> None:
    """Some exporters only support text attributes."""
    raw = RawSpan(
        "1" * 32,
        "2" * 16,
        "chat",
        1,
        2,
        attributes={
            sc.OPERATION_NAME: "chat",
            sc.RESPONSE_FINISH_REASONS: '["stop"]',
            sc.USAGE_INPUT_TOKENS: "117",
            sc.USAGE_OUTPUT_TOKENS: "23",
            sc.REQUEST_STREAM: "true",
            sc.SERVER_PORT: "443",
            f"{sc.REQUEST_PREFIX}temperature": "0.5",
            f"{sc.REQUEST_PREFIX}max_tokens": "8",
            f"{sc.REQUEST_PREFIX}stop_sequences": "[a, b]",
        },
    )
    span = genai.decode(raw)
    assert span.operation == Inference(
        "",
        finish_reasons=("stop",),
        usage=Usage(117, 23),
        stream=True,
        server_port=443,
        parameters={"temperature": 0.5, "max_tokens": 8, "stop_sequences": ["a", "b"]},
    )
    assert span.attributes == {}
    assert genai.decode(genai.encode(span)) == span
