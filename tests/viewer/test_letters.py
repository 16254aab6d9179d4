"""Dead letters in the viewer: what runs gave up, what happened, and the command that sends it again."""

from __future__ import annotations

from llmtrace.store.dead_letters import DeadLetter
from llmtrace.store.letter_states import LetterStates
from llmtrace.store.memory import MemoryStore
from llmtrace.viewer.letter_list import letters
from llmtrace.viewer.source import Source
from tests.cli.test_dead_letters import refused, traced
from tests.viewer.conftest import Served


def test_what_was_given_up_is_listed_until_somebody_deals_with_it(viewer: Served) -> None:
    """One row a letter, with its step, its reason and its command; retried and dropped ones are not listed."""
    assert viewer.ask("/api/reviews?given_up=1").json == {"reviews": [], "more": False, "problem": ""}
    trace = traced(refused)
    for span in trace.spans:
        viewer.store.append(span)
    (row,) = viewer.ask("/api/reviews?given_up=1").json["reviews"]
    assert row["question"].startswith("invalid call: refund: /amount: ")
    assert (row["state"], row["agent"]) == ("open", "shop")
    assert trace.span(row["id"]).name == "execute_tool refund"
    assert row["reason"] == f"llmtrace dead-letters retry {row['id'][:8]} --with MODULE:FUNCTION"
    assert viewer.store.folder is not None
    states = LetterStates(viewer.store.folder)
    states.begin(DeadLetter(row["id"], "e" * 32, "invalid_call", "refund", 0), "ann")
    states.finish(DeadLetter(row["id"], "e" * 32, "invalid_call", "refund", 0), "ValueError: no")
    (row,) = viewer.ask("/api/reviews?given_up=1").json["reviews"]
    assert (row["state"], row["question"]) == ("failed", "invalid call: refund: the retry failed: ValueError: no")
    states.drop(DeadLetter(row["id"], "e" * 32, "invalid_call", "refund", 0), "ann")
    assert viewer.ask("/api/reviews?given_up=1").json["reviews"] == []


def test_a_store_without_a_folder_says_so() -> None:
    assert "local store" in letters(Source(MemoryStore()))["problem"]
