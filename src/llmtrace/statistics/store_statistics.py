"""Statistics over the spans of a store. The store's database counts them if the figures are the same, else this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from llmtrace.codec import json_text
from llmtrace.errors import UnreadableStore
from llmtrace.model import Span
from llmtrace.statistics import saved_statistics
from llmtrace.statistics.clickhouse_sql import GROUPED, WATCHED, counting
from llmtrace.statistics.distribution import Distribution
from llmtrace.statistics.error_budget import SHARES, Objectives
from llmtrace.statistics.groups import Amount, By, Group, Statistics, collect, count
from llmtrace.store import Query, Store, hourly_results
from llmtrace.store.local import LocalStore
from llmtrace.store.warnings import warn_once

if TYPE_CHECKING:
    from llmtrace.store.clickhouse import ClickHouse

AT_ONCE = 500_000
"""Number of spans that one query may hold in the database's memory. More are counted in several queries."""

PATIENCE = 300.0
"""Seconds that one counting query may take."""
_MODELS = ("inference", "embedding")

Row: TypeAlias = Mapping[str, Any]
"""A row of a query by `clickhouse_sql.counting`."""


def gather(store: Store, query: Query, into: Statistics) -> Statistics:
    """Add the spans that ``query`` matches to ``into``, and return it. Raises UnreadableStore.

    A local store caches the figures of each hour. ClickHouse counts in the database; only traces that SQL cannot judge are
    counted in this process. If ClickHouse refuses (its version is too old, or its memory limit too low), a warning says so, and
    all traces are counted in this process.
    """
    # the figures of an hour are of all its spans, so the query may have no filter except the time
    if isinstance(store, LocalStore) and into.agent is None and query == Query(query.limit, query.since, query.until):
        for _, saved in saved_hours(store, query, into.by, into.now):
            saved_statistics.add(saved, into)
        return into
    if store.is_remote and into.by in GROUPED and query.health is None and not query.text:
        from llmtrace.store.clickhouse import ClickHouse  # only here, since it needs what HTTP needs
        from llmtrace.store.remote import RemoteStore

        if isinstance(store, RemoteStore) and isinstance(store.source, ClickHouse):
            try:
                rows = _counted(store.source, *store.bounds(query), query, into)
            except UnreadableStore as error:
                warn_once(f"statistics are counted here, from all spans: {error}")
            else:
                if rows is not None:
                    return collect(store.spans_of(_add(rows, into), query, prompts=False), into)
    return collect(store.spans(query, prompts=False), into)


def saved_hours(store: LocalStore, query: Query, by: By, now: int | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the start of each hour, the newest first, with the statistics saved for it (see `saved_statistics`).

    Raises UnreadableStore.
    """

    def compute(spans: Iterable[Span]) -> tuple[str, bool]:
        statistics = collect(spans, Statistics(by, now=now))
        return json_text.write(saved_statistics.save(statistics)), saved_statistics.is_lasting(statistics)

    for start, saved in hourly_results.by_hour(store, query, f"statistics {saved_statistics.FORM} {by}", compute):
        yield start, json_text.read(saved)


_SIZE = """
SELECT count() AS spans, uniqExact(TraceId) AS traces
FROM {table}
WHERE TraceId GLOBAL IN (SELECT id FROM ({found}))
FORMAT JSONEachRow
"""
_PART = "SELECT id FROM ({found}) WHERE sipHash64(id) % {parts} = {{part:UInt32}}"


def _counted(engine: ClickHouse, since: int, until: int, query: Query, into: Statistics) -> list[Row] | None:
    """Return the rows of `clickhouse_sql.counting`. None if more traces match than the query's limit."""
    trace_ids, parameters = engine.matching(query, since, until)
    (size,) = engine.rows(_SIZE.format(table=engine.table, found=trace_ids), parameters)
    if int(size["traces"]) > query.limit:
        return None
    parts = max(1, -(-int(size["spans"]) // AT_ONCE))  # rounded up
    sql = counting(into.by, _PART.format(found=trace_ids, parts=parts), engine.table, of_agent=into.agent is not None)
    parameters |= {"now": into.now or 0, "began": query.since or 0, "agent": into.agent}
    return [row for part in range(parts) for row in engine.rows(sql, parameters | {"part": part}, seconds=PATIENCE)]


def _add(rows: Iterable[Row], into: Statistics) -> list[str]:
    """Add counted rows. Returns the ids of the traces that have to be counted in this process."""
    uncounted: dict[str, None] = {}
    rows, calls = list(rows), Counter[str]()
    for row in rows:
        calls[str(row["key"])] += int(row["calls"])
    # large groups first: if there are too many groups, the small ones end up in `OTHERS`
    for row in sorted(rows, key=lambda row: (-calls[str(row["key"])], str(row["key"]))):
        what, key = row["what"], tuple(row["key"])
        if what == "here":
            uncounted[key[0]] = None
            continue
        into.traces += int(row["traces"])
        if what == "another":
            continue
        into.reach(int(row["first"]), int(row["last"]))
        _add_objectives(row, into.objectives)
        if what in _MODELS:
            _add_steps(row, into.total, into.by, is_call=True)
        if key:
            _add_steps(row, into.group(key), into.by, is_call=into.by != "agent" or what == "agent")
    return list(uncounted)


def _add_steps(row: Row, group: Group, by: By, *, is_call: bool) -> None:
    """Add steps that the database counted, as `Group.call`, `Group.answer` and `Group.inside` would count them."""
    what, calls = row["what"], int(row["calls"])
    if is_call:
        group.calls += calls
        _add_words(group.endings, row["endings"])
        for name in ("duration", "first_token"):
            _merge(getattr(group, name), row[name])
    if what == "inference":
        for name in ("per_token", "limits", "output_tokens", "answered"):
            _merge(getattr(group, name), row[name], whole=name in ("limits", "output_tokens"))
        for turns, kind in ((group.answers, "answers"), (group.called, "called")):
            _merge(turns.tokens, row[f"{kind}_tokens"], whole=True)
            _merge(turns.per_token, row[f"{kind}_per_token"])
        if int(row["length"]):
            _merge(group.lengths.setdefault(int(row["length"]), Distribution()), row["answered"])
        group.cut += int(row["cut"])
        _add_amount(group.output, *row["output"])
        _add_amount(group.cost_usd, *row["cost_usd"], whole=False)
    if what in _MODELS:
        group.model_calls += calls
        _add_amount(group.input_tokens, *row["input_tokens"])
        for kind, amount in group.of_kind.items():
            _add_amount(amount, *row[kind])
        _add_words(group.models, row["models"])
        _add_words(group.asked_for, row["asked_for"])
    _add_words(group.steps, row["steps"])
    _add_words(group.evaluations, row["evaluations"])
    group.flawed += int(row["flawed"])
    group.malformed += int(row["malformed"])
    if by != "agent" or what == "inference":
        group.tool_calls += int(row["tool_calls"])
        group.invalid_calls += int(row["invalid_calls"])


def _add_objectives(row: Row, objectives: Objectives) -> None:
    if row["objective"] is None:
        return
    bounds = dict(zip((measure for measure, _ in SHARES.values()), row["bounds"], strict=True))
    for (measure, window), calls, slow in zip(WATCHED, row["watched"], row["slow"], strict=True):
        if int(calls):
            objectives.merge((row["objective"], measure, float(bounds[measure])), window, int(calls), int(slow))


def _add_amount(amount: Amount, total: float | None, unknown: int | str, *, whole: bool = True) -> None:
    amount.merge(total if total is None else int(total) if whole else float(total), int(unknown))


def _add_words(counter: Counter[str], columns: tuple[list[str], list[int | str]]) -> None:
    # frequent words first: `count` puts the rest under one name once a counter is full
    for word, times in sorted(zip(*columns, strict=True), key=lambda pair: -int(pair[1])):
        count(counter, word, int(times))


def _merge(into: Distribution, column: Iterable[Any], *, whole: bool = False) -> None:
    times, total, smallest, largest, numbers, buckets = column
    kind, in_buckets = int if whole else float, zip(*buckets, strict=True)
    sizes = {at: int(many) for at, many in in_buckets}
    into.merge(int(times), total or 0.0, kind(smallest or 0), kind(largest or 0), numbers, sizes)
