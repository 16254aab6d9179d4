"""Figures over time: each trace in the bucket in which it began, for whoever looks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llmtrace.model import AgentInvocation, Evaluation, Fingerprint, Span, replace
from llmtrace.semconv import USER_ID
from llmtrace.statistics import By
from llmtrace.store import Query, open_store
from llmtrace.viewer.trends import DAY, HOUR, MINUTE, over_time
from tests.cli.traces import Maker, answers, chat, user
from tests.viewer.conftest import Served

NOON = 20_000 * DAY + 12 * HOUR
ALL = Query(limit=100)


def counted(spans: Iterable[Span], folder: Path, by: By, size: int, offset: int = 0) -> dict[str, Any]:
    """From a local store, which counts by hour, having been found the same from one that reads all spans."""
    local, memory = open_store(str(folder / f"{by} {size} {offset}")), open_store("memory:")
    for span in spans:
        local.append(span)
        memory.append(span)
    trends = over_time(local, ALL, by, size, offset)
    every = over_time(memory, ALL, by, size, offset)
    assert trends | {"limit": None} == every | {"limit": None}
    local.close()
    return trends


def test_buckets_and_groups(tmp_path: Path) -> None:
    """By local day, most calls first; sums and quantiles are those of the calls in it, and unknown is None."""
    spans = []
    for number, (start, model) in enumerate([(NOON, "a"), (NOON + HOUR, "a"), (NOON + 13 * HOUR, "b")]):
        maker = Maker(f"{number + 1:032x}", start)
        operation = chat([user("x")], answers("y"), model=model, cost=0.5 if model == "a" else None)
        spans.append(maker.span(1, None, "chat", operation, attributes={USER_ID: "ann"}))
    trends = counted(spans, tmp_path, "model", DAY)
    assert (trends["traces"], trends["groups"], len(trends["buckets"])) == (3, ["a", "b"], 2)
    first, second = trends["buckets"]
    assert (first["since"], first["traces"], first["groups"]["a"]["cost"]) == (str(20_000 * DAY), 2, 1.0)
    assert (first["groups"]["a"]["length"][0], second["groups"]["b"]["cost"]) == (18, None)
    assert [(total["name"], total["calls"], total["cost"]) for total in trends["totals"]] == [("a", 2, 1.0), ("b", 1, None)]
    assert len(counted(spans, tmp_path, "model", DAY, -2 * HOUR)["buckets"]) == 1  # west of here it is still the day before
    assert len(counted(spans, tmp_path, "model", HOUR, 90 * MINUTE)["buckets"]) == 3
    assert counted(spans, tmp_path, "user", 10 * MINUTE)["groups"] == ["ann"]


def test_changes_are_first_runs_with_something_new(tmp_path: Path) -> None:
    """Not what an agent began with, and not a prompt that differs each time."""
    spans = []
    for number in range(20):
        operation = chat([user("x")], answers("y"), model="old" if number < 10 else "new")
        operation = replace(operation, fingerprint=Fingerprint(f"{number:016x}", "b" * 16))
        spans.append(Maker(f"{number + 1:032x}", NOON + number * HOUR).span(1, None, "chat", operation))
    changes = counted(spans, tmp_path, "model", DAY // 4)["changes"]
    assert [(change["text"], change["time"]) for change in changes] == [("first run with model new", str(NOON + 10 * HOUR))]


def test_a_share_of_an_agent_is_one_of_its_steps(tmp_path: Path) -> None:
    """Three faulty steps of the four of one run: not three runs of one."""
    maker, bad = Maker("1" * 32, NOON), Evaluation("polite", "warning", "it was rude", "fail")
    spans = [maker.span(1, None, "invoke_agent a", AgentInvocation("a"), took=9.0)]
    spans += [maker.span(n, 1, "chat", chat([user("x")], answers("y")), evaluations=(bad,)) for n in (2, 3, 4)]
    (bucket,) = counted(spans, tmp_path, "agent", DAY)["buckets"]
    assert (bucket["groups"]["a"]["calls"], bucket["groups"]["a"]["flawed"]) == (1, 0.75)
    assert bucket["all"]["flawed"] == 1.0


def test_the_server_says_what_it_counted(viewer: Served) -> None:
    """As JSON; a grouping that there is not is refused. Nothing has drifted."""
    trends = viewer.ask("/api/time?by=model&size=1").json
    assert (trends["traces"], trends["groups"]) == (2, ["gpt-4o-mini", "local"])
    assert viewer.ask("/api/time?by=weather").status == 400
    assert viewer.ask("/api/drift").json == []
    assert viewer.ask("/static/vendor/uPlot.iife.min.js").headers["content-type"].startswith("text/javascript")
    compared = viewer.ask(f"/api/compare?left={'0' * 32}&right={'1' * 32}")
    assert compared.status == 404
