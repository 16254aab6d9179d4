"""What the counts of runs prove, and what is not repeatable."""

from __future__ import annotations

import pytest

from llmtrace.playback.difference import repeatability
from llmtrace.playback.proof import verdict


@pytest.mark.parametrize(
    ("corrected", "as_recorded", "times", "word"),
    [
        (5, 0, 5, "cause"),
        (4, 0, 5, "cause"),
        (3, 0, 5, "not settled"),
        (1, 0, 1, "not settled"),
        (10, 5, 10, "cause"),
        (0, 0, 5, "no help"),
        (2, 3, 5, "no help"),
    ],
)
def test_counts_and_what_they_prove(corrected: int, as_recorded: int, times: int, word: str) -> None:
    assert verdict(corrected, as_recorded, times) == word


@pytest.mark.parametrize(
    ("corrected", "another_way", "word"),
    [(0, 5, "another way"), (1, 4, "another way"), (5, 0, "cause"), (4, 1, "cause"), (0, 3, "not settled"), (0, 0, "no help")],
)
def test_a_run_that_gives_up_proves_nothing(corrected: int, another_way: int, word: str) -> None:
    assert verdict(corrected, 0, 5, another_way=another_way) == word


def test_to_take_a_step_out_is_no_proof() -> None:
    assert verdict(5, 0, 5, takes_out=True) == "taken out"
    assert verdict(0, 5, 5, takes_out=True) == "no help"


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
