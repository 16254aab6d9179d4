"""Spans as bytes of the journal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from llmtrace.model import RawSpan, Scope, replace
from llmtrace.store import journal_records
from tests.strategies import alike, raw_spans

RAW = RawSpan("1" * 32, "2" * 16, "chat", 1, 2)


def _again(raw: RawSpan) -> RawSpan:
    return journal_records.decode(
        journal_records.encode(raw), *journal_records.decode_context(journal_records.encode_context(raw.resource, raw.scope))
    )


@settings(max_examples=200, deadline=None)
@given(raw=raw_spans())
def test_decode_gives_what_encode_got(raw: RawSpan) -> None:
    """No value that JSON can hold changes on its way, lone surrogates, NaN and large integers included."""
    assert alike(_again(raw), raw)


@pytest.mark.parametrize("text", ["x" * 300, "ä" * 300, "\ud800" * 300, '"\\\n' * 200, "\x00\xff" * 300])
def test_long_texts_stay_as_they_are(text: str) -> None:
    """Texts that travel outside the JSON come back, whatever they hold."""
    raw = replace(RAW, attributes={"a": 1, "long": text, "short": "s", "longer": text + text})
    assert _again(raw) == raw


def _cycle() -> list[Any]:
    held: list[Any] = []
    held += [held, held]
    return held


def _deep() -> list[Any]:
    held: list[Any] = []
    for _ in range(5000):
        held = [held]
    return held


@pytest.mark.parametrize("odd", [object(), b"\xff\xfe", {1: object()}, _cycle(), _deep(), {("a",): 1}, 1 << 5000, {1, 2}])
def test_what_json_cannot_hold_is_marked_and_raises_nothing(odd: Any) -> None:
    """An attribute that should never have come this far costs neither the span nor its other attributes."""
    read = _again(replace(RAW, attributes={"good": "kept", "odd": odd, "long": "x" * 300}))
    assert read.attributes["good"] == "kept"
    assert read.attributes["long"] == "x" * 300
    assert "odd" in read.attributes


@pytest.mark.parametrize(
    "payload", [b"", b"\x00", b"\xff\xff\xff\xff{}", b"\x02\x00\x00\x00{}", b"\x02\x00\x00\x00[]", b"\x00" * 99]
)
def test_a_payload_that_is_no_span_is_told(payload: bytes) -> None:
    """A reader can leave out one record and go on."""
    with pytest.raises(journal_records.NoRecord):
        journal_records.decode(payload, {}, Scope())
    with pytest.raises(journal_records.NoRecord):
        journal_records.decode_context(payload)


def test_richness_is_ended_first_then_size() -> None:
    """A short ended span beats a long start mark; among equals the one that says more wins."""
    mark = replace(RAW, end=None, attributes={"a": "x" * 1000})
    assert journal_records.richness(RAW) > journal_records.richness(mark)
    assert journal_records.richness(replace(RAW, attributes={"a": "b"})) > journal_records.richness(RAW)
    assert journal_records.richness(replace(RAW, attributes={"a": {"b": "c" * 9}})) > journal_records.richness(
        replace(RAW, attributes={"a": {}})
    )
