"""What the ranker is told of a team's places; each feature has a line of its own that says what it is."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmtrace.diagnosis.candidates import candidates_of
from llmtrace.diagnosis.features import FEATURES, LED, TEAM, features_of
from llmtrace.diagnosis.flow import Flow
from llmtrace.diagnosis.ranker import shipped
from llmtrace.model import AgentInvocation, Inference, Message, Span, Text, Trace

TRACE, ROOT = "5" * 32, "e" * 16


def told(said: Sequence[tuple[str, str]]) -> list[dict[str, float]]:
    """The features of what the agents of a team said one after the other."""
    spans = [Span(TRACE, ROOT, "team", 0, 10_000, operation=AgentInvocation("team"))]
    for at, (agent, words) in enumerate(said):
        span_id, times = f"{2 * at + 1:016x}", (at * 20 + 1, at * 20 + 9)
        spans.append(Span(TRACE, span_id, agent, *times, ROOT, operation=AgentInvocation(agent)))
        answer = Inference("unknown", output=(Message("assistant", (Text(words),)),))
        spans.append(Span(TRACE, f"{2 * at + 2:016x}", "chat", *times, span_id, operation=answer, sequence=at))
    flow = Flow(Trace(spans))
    return features_of(candidates_of(flow, []), flow)


LED_TEAM = [
    ("Chief", "Please look for the lamp."),
    ("Chief", "Next: Worker"),
    ("Worker", "I clicked 'Lamps'."),
    ("Chief", "Go on."),
]
EQUALS = [
    ("Ada", "Which lamp is it?"),
    ("Bo", "The Orion lamp of Ghent costs 4,211 euros."),
    ("Ada", "Then we agree."),
    ("Bo", "Yes."),
]


def test_every_feature_and_every_weight_says_what_it_is() -> None:
    names = {name for one in (*told(LED_TEAM), *told(EQUALS)) for name in one} | shipped().weights.keys()
    assert {name.removeprefix(TEAM).removeprefix(LED) for name in names} <= FEATURES.keys()


def test_what_is_told_without_a_clue_is_told_in_plain_words() -> None:
    """How a feature is measured is nobody's business who reads why a step is suspected."""
    measured = re.compile(r"divided|logarithm|\bshare of|one by its number|\(")
    assert [line for line in FEATURES.values() if measured.search(line)] == []


def test_position_counts_apart_where_one_agent_leads() -> None:
    assert told(LED_TEAM)[2][f"{LED}worker"] == told(LED_TEAM)[2][f"{TEAM}worker"] == 1.0
    assert not any(name.startswith(LED) for one in told(EQUALS) for name in one)


def test_who_says_names_and_numbers_first_without_having_read_them_recites() -> None:
    assert told(EQUALS)[1][f"{TEAM}recites"] > 0
    read = [EQUALS[0], ("Bo", "I clicked 'Orion'. The Orion lamp of Ghent costs 4,211 euros."), *EQUALS[2:]]
    assert f"{TEAM}recites" not in told(read)[1]


def test_a_number_is_the_same_with_and_without_separators() -> None:
    said = [*EQUALS[:3], ("Bo", "So the answer is 4211.")]
    assert told(said)[1][f"{TEAM}brings in the outcome"] == 1.0
