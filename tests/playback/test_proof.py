"""What the counts of runs prove, and what is not repeatable."""

from __future__ import annotations

import pytest

from llmtrace.playback.corrections import verdict
from llmtrace.playback.difference import repeatability


@pytest.mark.parametrize(
    ("corrected", "as_recorded", "times", "word"),
    [
        (5, 0, 5, "cause"),
        (4, 0, 5, "cause"),
        (3, 0, 5, "not settled"),
        (1, 0, 1, "not settled"),
        (10, 5, 10, "cause"),
        (0, 0, 5, "no cause"),
        (2, 3, 5, "no cause"),
    ],
)
def test_counts_and_what_they_prove(corrected: int, as_recorded: int, times: int, word: str) -> None:
    assert verdict(corrected, as_recorded, times) == word


def differs(now: str, was: str = "") -> list[dict[str, object]]:
    what = "chat m [abcd] asks for something else: …"
    return [{"kind": "changed", "what": what, "span_id": "abcd", "where": "a.py:1", "was": was, "now": now}]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (("at 12:00:01", "at 12:00:02"), "Only a time differs."),
        (("on 2026-01-31T10:00:00.5", "on 2026-02-01T09:00:00.1"), "Only a time differs."),
        (("tags: red, blue", "tags: blue, red"), "The same words come in another order"),
        (("id 7f1c2d3e-aaaa-bbbb-cccc-1234567890ab", "id 00000000-aaaa-bbbb-cccc-1234567890ab"), "Only a random id differs."),
        (("seed 17", "seed 4"), "Only a random number, or a time differs."),
        (("one thing", "quite another"), "in 2 of 2 runs."),
    ],
)
def test_why_runs_differ(texts: tuple[str, str], said: str) -> None:
    (sentence,) = repeatability([differs(text) for text in texts])
    assert sentence.startswith("Not repeatable: chat m [abcd] (a.py:1), in 2 of 2 runs.")
    assert said in sentence


def test_a_changed_program_is_no_nondeterminism() -> None:
    assert list(repeatability([differs("new"), differs("new")])) == [
        "Every run differs in the same way: the program has changed, and nothing of it is random."
    ]
    (sentence,) = repeatability([differs("new"), []])
    assert "in 1 of 2 runs" in sentence
    assert list(repeatability([[], []])) == []
