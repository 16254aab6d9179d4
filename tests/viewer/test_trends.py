"""Figures over time: each trace in the hour or day in which it began, for whoever looks."""

from __future__ import annotations

from llmtrace.model import AgentInvocation, Evaluation
from llmtrace.viewer.trends import DAY, HOUR, over_time
from tests.cli.traces import Maker, answers, chat, user
from tests.viewer.conftest import Served

NOON = 20_000 * DAY + 12 * HOUR


def test_buckets_and_groups() -> None:
    """By local day, most calls first; sums and quantiles are those of the calls in it, and unknown is None."""
    spans = []
    for number, (start, model) in enumerate([(NOON, "a"), (NOON + HOUR, "a"), (NOON + 13 * HOUR, "b")]):
        made = Maker(f"{number + 1:032x}", start)
        spans.append(
            made.span(1, None, "chat", chat([user("x")], answers("y"), model=model, cost=0.5 if model == "a" else None))
        )
    told = over_time(spans, "model", DAY, 0)
    assert (told["traces"], told["groups"], len(told["buckets"])) == (3, ["a", "b"], 2)
    first, second = told["buckets"]
    assert (first["since"], first["traces"], first["groups"]["a"]["cost"]) == (str(20_000 * DAY), 2, 1.0)
    assert (first["groups"]["a"]["length"][0], second["groups"]["b"]["cost"]) == (18, None)
    assert len(over_time(spans, "model", DAY, -2 * HOUR)["buckets"]) == 1  # west of here it is still the day before


def test_a_share_of_an_agent_is_one_of_its_steps() -> None:
    """Three faulty steps of the four of one run: not three runs of one."""
    made, bad = Maker("1" * 32, NOON), Evaluation("polite", "warning", "it was rude", "fail")
    spans = [made.span(1, None, "invoke_agent a", AgentInvocation("a"), took=9.0)]
    spans += [made.span(n, 1, "chat", chat([user("x")], answers("y")), evaluations=(bad,)) for n in (2, 3, 4)]
    (bucket,) = over_time(spans, "agent", DAY, 0)["buckets"]
    assert (bucket["groups"]["a"]["calls"], bucket["groups"]["a"]["flawed"]) == (1, 0.75)
    assert bucket["all"]["flawed"] == 1.0


def test_the_server_says_what_it_counted(viewer: Served) -> None:
    """As JSON; a grouping that there is not is refused."""
    told = viewer.ask("/api/time?by=model&size=1").json
    assert (told["traces"], told["groups"]) == (2, ["gpt-4o-mini", "local"])
    assert viewer.ask("/api/time?by=weather").status == 400
    compared = viewer.ask(f"/api/compare?left={'0' * 32}&right={'1' * 32}")
    assert compared.status == 404
