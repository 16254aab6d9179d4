"""Figures that the index keeps for each hour are those that are counted from the spans, whatever happened since."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmtrace.model import Span, replace
from llmtrace.statistics import Statistics, collect, gather
from llmtrace.statistics import saved_statistics as saved
from llmtrace.store import Query, hourly_results
from llmtrace.store.local import LocalStore
from tests.statistics.test_store_statistics import ALL, BYS, HOUR, NOW, run, same, told

RUNS = 40
LATER = NOW + 48 * HOUR
"""A day after the last call, so that objectives count nothing as recent."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    store = LocalStore(tmp_path / "store", background=False)
    for number in range(RUNS):
        for span in run(number):
            store.append(span)
    yield store
    store.close()


def counted(store: LocalStore, query: Query = ALL, **more: Any) -> Statistics:
    """Gathered twice, having been found the same as from the spans both times."""
    more = {"by": "operation", "now": LATER} | more
    expected = told(collect(store.spans(query, prompts=False), Statistics(**more)))
    same(told(gather(store, query, Statistics(**more))), expected)
    again = gather(store, query, Statistics(**more))
    same(told(again), expected)
    return again


def hours_read(store: LocalStore, monkeypatch: pytest.MonkeyPatch, query: Query = ALL, now: int = LATER) -> int:
    """How often spans are read: several hours may be read together."""
    queries: list[Query] = []
    spans = LocalStore.spans

    def seen(self: LocalStore, query: Query, **options: Any) -> Iterator[Span]:
        queries.append(query)
        return spans(self, query, **options)

    with monkeypatch.context() as patched:
        patched.setattr(LocalStore, "spans", seen)
        gather(store, query, Statistics("operation", now=now))
    return len(queries)


def test_each_grouping_and_time(store: LocalStore) -> None:
    """Percentiles, sums, words, lengths and objectives; also of a part of an hour, and of one agent."""
    for by in BYS:
        assert counted(store, by=by).traces == RUNS
    assert counted(store).objectives.burns
    some = counted(store, replace(ALL, since=NOW - 3 * HOUR + 5 * 60 * 10**9, until=NOW - HOUR))
    assert 0 < some.traces < RUNS
    assert counted(store, replace(ALL, agent="inner"), by="agent", agent="inner").traces == RUNS


def test_hours_with_few_spans_are_read_together(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours that are not counted yet need one query together, since each query takes milliseconds; large hours one each."""
    with monkeypatch.context() as patched:
        patched.setattr(hourly_results, "_SPANS_AT_ONCE", 1)
        alone = hours_read(store, monkeypatch, replace(ALL, until=NOW - HOUR))
    assert alone > 2
    for span in store.spans(ALL):
        store.append(replace(span, span_id=span.span_id[::-1]))  # so that every hour has changed
    assert hours_read(store, monkeypatch) == 1


def test_only_what_changed_is_counted_again(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A span that ends, one that comes late, and a trace of another time each have their own hour counted again."""
    assert hours_read(store, monkeypatch) >= 1
    assert hours_read(store, monkeypatch) == 0
    spans = list(run(RUNS - 1))
    store.append(replace(spans[-1], span_id="f" * 16, end=None))
    assert hours_read(store, monkeypatch) == 1
    assert counted(store).unfinished == 1
    store.append(replace(spans[-1], span_id="f" * 16))
    assert hours_read(store, monkeypatch) == 1
    assert counted(store).unfinished == 0
    for span in run(500):
        store.append(span)
    assert hours_read(store, monkeypatch) == 1
    assert counted(store).traces == RUNS + 1


def test_recent_hours_with_objectives_are_not_kept(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """They tell what burned in the last hour and day, which changes with the time."""
    first = hours_read(store, monkeypatch, now=NOW)
    assert hours_read(store, monkeypatch, now=NOW) == first
    recent = counted(store, now=NOW).objectives.burns["support", "p99", 2.0]
    assert 0 < recent.calls["1h"] < recent.calls["1d"] == recent.calls["all"]


def test_without_an_index(store: LocalStore, tmp_path: Path) -> None:
    """An index that cannot be used costs time only."""
    (tmp_path / "store" / "index.db").mkdir()
    assert counted(store).traces == RUNS


def test_saved_is_json() -> None:
    """And all of it comes back."""
    statistics = collect((span for number in range(RUNS) for span in run(number)), Statistics("name", now=NOW))
    copy = Statistics("name", now=NOW)
    saved.add(json.loads(json.dumps(saved.save(statistics))), copy)
    same(told(copy), told(statistics))
    assert copy.settings.uses == statistics.settings.uses
