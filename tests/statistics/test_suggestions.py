"""Suggested limits: from enough answers, none of them cut, and never below what was seen."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrace.statistics import Group, Statistics, collect, suggest
from llmtrace.statistics.suggestions import ENOUGH
from tests.statistics.spans import call, span


def group(*outputs: int, pace: float = 0.01, **more: Any) -> Group:
    spans = [span(number, call(output, **more), took=max(1, output) * pace) for number, output in enumerate(outputs, 1)]
    return collect(spans, Statistics("model")).groups["m",]


def test_half_as_much_again_as_the_p99_rounded_up() -> None:
    """And the time that an answer of that length takes at the p95 of the time per token."""
    found = suggest(group(*[200] * 100))
    assert (found.max_tokens, found.timeout) == (384, 4.0)
    assert found.why == "p99 of 200 tokens x 1.5; 384 tokens x 10 ms"


def mixed(answers: int, calls: int, *, answered: int = 400, called: int = 20) -> Group:
    """Turns that answer, and others that call tools and take five times as long for each token."""
    kinds = [(answered, 0.01, ("stop",))] * answers + [(called, 0.05, ("tool_call",))] * calls
    spans = [
        span(number, call(tokens, finish_reasons=reasons), took=tokens * pace)
        for number, (tokens, pace, reasons) in enumerate(kinds, 1)
    ]
    return collect(spans, Statistics("model")).groups["m",]


def test_answers_and_tool_calls_are_looked_at_apart() -> None:
    """However many short turns call tools, the answers' own p99 and pace decide; where calls are the longer ones, theirs do."""
    found = suggest(mixed(100, 9_000))
    assert (found.max_tokens, found.timeout, found.why) == (768, 8.0, "p99 of 400 tokens x 1.5; 768 tokens x 10 ms")
    found = suggest(mixed(30, 100, answered=20, called=400))
    assert (found.max_tokens, found.why) == (768, "p99 of 400 tokens of tool calls x 1.5; 768 tokens x 50 ms")
    assert suggest(mixed(19, 100)).why == "19 of at least 20 answers"
    assert suggest(mixed(0, 100)).max_tokens == 32
    assert suggest(mixed(20, 1, called=700)).max_tokens == 768


def test_streams_wait_for_their_first_chunk() -> None:
    """The p99 of the time to the first token is added."""
    found = suggest(group(*[101] * 100, pace=0.1, stream=True, time_to_first_chunk=5.0))
    assert found.max_tokens == 192
    assert found.timeout == 15.0
    assert found.why.endswith("5 s + 192 tokens x 51 ms")


def test_where_the_pace_is_not_known_twice_the_p99() -> None:
    """Such as streams whose first chunk was not seen."""
    found = suggest(group(*[10] * 30, pace=0.1, stream=True))
    assert (found.timeout, found.why) == (2.0, "p99 of 10 tokens (the longest of 30) x 1.5; p99 of 1 s x 2")


def test_a_limit_that_is_not_set_or_far_over_is_said() -> None:
    def set_to(limit: int | None) -> str:
        return suggest(group(*[200] * 100, parameters={} if limit is None else {"max_tokens": limit})).set_to

    assert set_to(None) == "no limit is set"
    assert set_to(384) == set_to(3_000) == ""
    assert set_to(16_000) == "16,000 is set, 42 times as much"


def test_too_few_answers_suggest_nothing() -> None:
    """And say how many it takes."""
    found = suggest(group(*[10] * (ENOUGH - 1)))
    assert (found.max_tokens, found.timeout, found.why) == (None, None, "19 of at least 20 answers")
    assert suggest(group(*[10] * ENOUGH)).max_tokens is not None


def test_cut_answers_suggest_nothing() -> None:
    """How long they would have become is not known."""
    found = suggest(group(*[10] * 30, finish_reasons=("length",)))
    assert (found.max_tokens, found.why) == (None, "30 of 30 answers were cut at their limit: raise it first")


@given(st.lists(st.integers(0, 100_000), min_size=ENOUGH, max_size=200))
@settings(deadline=None, max_examples=50)
def test_no_answer_that_was_seen_would_have_been_cut_or_timed_out(outputs: list[int]) -> None:
    """Whatever their lengths; and the limit is not more than three times what it must be."""
    made = group(*outputs)
    found = suggest(made)
    assert found.max_tokens is not None
    assert found.timeout is not None
    assert max(outputs) <= found.max_tokens <= max(64, 3 * max(outputs))
    assert found.timeout >= (made.duration.largest or 0)
