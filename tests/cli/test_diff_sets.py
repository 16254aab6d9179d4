"""``llmtrace diff --set … --against …``: two sets of runs, of a store, of files, and by filters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from llmtrace.model import Inference, Span, Text, ToolExecution, Usage, replace
from llmtrace.store import open_store
from tests.cli.traces import SECOND, recovered, silent

DAY = 86_400 * SECOND


def run(number: int, spans: tuple[Span, ...], chance: Random, *, days: float, model: str, slower: float = 1.0) -> list[Span]:
    """A copy of these spans as a trace of its own, some days ago, whose calls take other times."""
    copies = []
    for span in spans:
        seconds = (span.duration or 0.0) * slower * chance.uniform(0.8, 1.2)
        start = span.start - int(days * DAY)
        operation = span.operation
        if isinstance(operation, Inference):
            operation = replace(operation, request_model=model, response_model=model, usage=Usage(120, chance.randint(15, 25)))
        copies.append(
            replace(
                span,
                trace_id=f"{number:032x}",
                start=start,
                end=start + int(seconds * SECOND),
                operation=operation,
                attributes={"llmtrace.tags": [model]},
            )
        )
    return copies


@pytest.fixture
def two_weeks(tmp_path: Path) -> str:
    """40 good runs a week ago; 40 since yesterday, half of which call a tool with a made-up number, and slower."""
    url = str(tmp_path / "two_weeks")
    store, chance = open_store(url), Random(3)
    for number in range(40):
        good = tuple(span for span in recovered() if not span.violations and span.failure is None)
        for span in run(number + 1, good, chance, days=4, model="m-1"):
            store.append(span)
        bad = silent() if number % 2 else good
        for span in run(number + 101, bad, chance, days=0.5, model="m-2", slower=3):
            store.append(span)
    store.close()
    return url


def test_two_sets_of_a_store(llmtrace: Callable[..., Any], two_weeks: str) -> None:
    """The cause, what differs by more than chance with its intervals, and the kind of failure that is new."""
    words = ("diff", "--set", "until=2d", "--against", "since=2d", "--store", two_weeks)
    told = json.loads(llmtrace(*words, "--json").out)
    assert told["runs"] == {"set": 40, "against": 40}
    assert (told["causes"][0]["kind"], told["causes"][0]["before"]) == ("model", ["m-1"])
    figures = {figure["name"]: figure for figure in told["figures"]}
    suspects = figures["runs with a certain or likely suspect"]
    assert (suspects["before"], suspects["now"], suspects["changed"]) == (0, 0.5, True)
    assert suspects["now_interval"][0] < 0.5 < suspects["now_interval"][1]
    latency = figures["duration of a model call, p95"]
    assert latency["changed"]
    assert latency["before_interval"][1] < latency["now_interval"][0]
    assert not figures["input tokens of a run"]["changed"] or figures["model calls in a run"]["changed"]
    assert [(kind["before"], kind["now"]) for kind in told["new"]] == [(0, 20)]
    shown = llmtrace(*words).out
    for line in (
        "40 runs against 40 runs",
        "First cause: model of support: m-1 -> m-2",
        "New kinds of failure",
        "0 of 40 -> 20 of 40",
    ):
        assert line in shown
    turned = llmtrace("diff", "--set", "since=2d", "--against", "until=2d", "--store", two_weeks).out
    assert "\nFixed\n" in turned


def test_nothing_is_marked_where_nothing_changed(llmtrace: Callable[..., Any], two_weeks: str) -> None:
    odd, even = ([f"{number:032x}" for number in range(1, 41) if number % 2 == rest] for rest in (1, 0))
    told = json.loads(llmtrace("diff", "--set", *odd, "--against", *even, "--json", "--store", two_weeks).out)
    assert not any(figure["changed"] for figure in told["figures"])
    assert (told["causes"], told["new"], told["fixed"]) == ([], [], [])


def test_files_and_filters(llmtrace: Callable[..., Any], two_weeks: str, tmp_path: Path) -> None:
    """A file of spans is a set; tags and models filter the store."""
    file = tmp_path / "old.jsonl"
    ids = [f"{number:032x}" for number in range(1, 11)]
    file.write_text("".join(llmtrace("export", one, "--store", two_weeks).out for one in ids), encoding="utf-8")
    for filters in (("tag=m-2",), ("model=m-2", "agent=support", "limit=25")):
        told = json.loads(llmtrace("diff", "--set", str(file), "--against", *filters, "--json", "--store", two_weeks).out)
        assert told["runs"] == {"set": 10, "against": 40 if len(filters) == 1 else 25}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--set", "since=2d"), "--against"),
        (("--set", "since=2d", "--against", "since=1d"), "in both sets"),
        (("--set", "until=2d", "--against", "agnet=x"), "Did you mean agent?"),
        (("--set", "until=2d", "--against", "agent=nobody"), "no run matches"),
        (("--set", "until=soon", "--against", "since=2d"), "expected a time"),
        (("last",), "expected two traces"),
    ],
)
def test_bad_input(words: tuple[str, ...], expected: str, llmtrace: Callable[..., Any], two_weeks: str) -> None:
    told = llmtrace("diff", *words, "--store", two_weeks)
    assert (told.code, expected in told.err) == (2, True), told.err


def test_a_tool_that_fails_counts(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """Of recovered runs, too."""
    url = str(tmp_path / "s")
    store, chance = open_store(url), Random(1)
    for number in range(12):
        for span in run(number + 1, recovered(), chance, days=number // 6, model="m"):
            store.append(span)
    store.close()
    told = json.loads(llmtrace("diff", "--set", "until=12h", "--against", "since=12h", "--json", "--store", url).out)
    figures = {figure["name"]: figure for figure in told["figures"]}
    assert figures["runs in which a tool failed"]["now"] == 1
    assert figures["runs with an invalid tool call"]["before"] == 1
    assert any(isinstance(span.operation, ToolExecution) for span in recovered())


def test_a_run_that_is_named_twice_counts_once(llmtrace: Callable[..., Any], two_weeks: str) -> None:
    words = ("diff", "--set", f"{1:032x}", "until=2d", "--against", "since=2d", "--store", two_weeks, "--json")
    assert json.loads(llmtrace(*words).out)["runs"] == {"set": 40, "against": 40}


def with_prompts(url: str, numbers: range, words: Callable[[int], str], *, days: float) -> list[str]:
    store, chance = open_store(url), Random(numbers[0])
    good = tuple(span for span in recovered() if not span.violations and span.failure is None)
    for number in numbers:
        for span in run(number, good, chance, days=days, model="m-1"):
            operation = span.operation
            if isinstance(operation, Inference):
                span = replace(span, operation=replace(operation, system=(Text(words(number)),), fingerprint=None))
            store.append(span)
    store.close()
    return [f"{number:032x}" for number in numbers]


def test_a_change_in_a_part_of_the_runs(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """8 of 20 runs had another prompt. One of 20 may be chance, and is no cause."""
    url = str(tmp_path / "s")
    first = with_prompts(url, range(1, 21), lambda _: "Be short.", days=4)
    second = with_prompts(url, range(101, 121), lambda number: "Be short." if number > 108 else "Be kind.", days=1)
    third = with_prompts(url, range(201, 221), lambda number: "Be short." if number > 201 else "Be odd.", days=1)
    told = json.loads(llmtrace("diff", "--set", *first, "--against", *second, "--json", "--store", url).out)
    assert told["causes"] == []
    (part,) = told["parts"]
    assert (part["kind"], part["runs_before"], part["runs_now"]) == ("system prompt", [0, 20], [8, 20])
    shown = " ".join(llmtrace("diff", "--set", *first, "--against", *second, "--store", url).out.split())
    assert "In a part of the runs (0 of 20 -> 8 of 20 runs): system prompt of support: Be [-short.-] {+kind.+}" in shown
    for sets in ((first, third), (third, second)):
        told = json.loads(llmtrace("diff", "--set", *sets[0], "--against", *sets[1], "--json", "--store", url).out)
        assert told["causes"] == []
        assert len(told["parts"]) == (sets[1] is second)
    told = json.loads(llmtrace("diff", "--set", *first[:10], "--against", *first[10:], "--json", "--store", url).out)
    assert (told["causes"], told["parts"]) == ([], [])
