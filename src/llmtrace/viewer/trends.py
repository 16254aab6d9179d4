"""Trends of quality, speed and cost: the statistics of `llmtrace stats`, per bucket of time.

Law: a trace belongs to the bucket in which it started. A bucket without traces is absent, not zero.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from llmtrace.model import Trace
from llmtrace.model.traces import in_traces
from llmtrace.monitors import reports
from llmtrace.statistics import By, Distribution, Group, Key, Statistics, joined_groups, joined_keys, saved_statistics
from llmtrace.statistics.store_statistics import saved_hours
from llmtrace.store import Query, Store
from llmtrace.store.local import LocalStore

MINUTE = 60 * 1_000_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MOST_GROUPS = 5
"""Maximum number of plotted groups: those with the most calls."""
MOST_LISTED = 50
"""Maximum number of groups in the table of totals."""
MOST_CHANGES = 100
_PATIENCE = 2.0
"""Seconds that the monitors may spend on new traces before their findings are returned."""
_KINDS = {"model": "model", "prompt": "system prompt", "tools": "tools", "code": "code version"}
_SHARES = (0.5, 0.95, 0.99)


def over_time(store: Store, query: Query, by: By, size: int, offset: int, seconds: float = float("inf")) -> dict[str, Any]:
    """Count the traces of a store in buckets of time. Raises UnreadableStore.

    ``size``: nanoseconds of one bucket. ``offset``: nanoseconds by which the browser's clock is ahead of UTC. ``seconds``: time
    limit, after which the counts so far are returned and ``complete`` is false. A local store saves its counts of whole hours,
    so the next call continues after them.
    """
    now, deadline = time.time_ns(), time.monotonic() + seconds
    hourly = None
    if size % HOUR == 0:
        offset = offset // HOUR * HOUR  # saved counts of an hour cannot be split
        hourly = store if isinstance(store, LocalStore) else None
    since = None if query.since is None else _floor(query.since, size, offset)
    query = Query(query.limit if hourly is None else sys.maxsize, since, query.until)
    buckets: dict[int, Statistics] = {}
    complete = True
    traces = ((trace.spans[0].start, trace) for trace in in_traces(store.spans(query, prompts=False)))
    for start, counted in traces if hourly is None else saved_hours(hourly, query, by, now):
        bucket = buckets.setdefault(_floor(start, size, offset), Statistics(by, now=now))
        if isinstance(counted, Trace):
            bucket.add(counted)
        else:
            saved_statistics.add(counted, bucket)
        if time.monotonic() > deadline:
            complete = False
            break
    whole = Statistics(by, now=now)
    for bucket in buckets.values():
        saved_statistics.add(saved_statistics.save(bucket), whole)
    keys = joined_keys(whole)
    ordered = sorted(joined_groups(whole, keys).values(), key=lambda group: (-group.calls, _name(group.key)))
    shown = [_name(group.key) for group in ordered[:MOST_GROUPS]]
    first_end = min(buckets, default=0) + size  # settings in the first bucket were probably used before it
    changes = sorted(
        (change for change in whole.settings.changes() if change.time >= first_end), key=lambda change: change.time
    )
    return {
        "by": by,
        "since": str(min(buckets, default=0) if since is None else since),
        "groups": shown,
        "left_out": max(0, len(ordered) - MOST_GROUPS),
        "traces": whole.traces,
        "limit": None if hourly is not None else query.limit,
        "complete": complete,
        "buckets": [_bucket(start, size, buckets[start], shown, keys) for start in sorted(buckets)],
        "total": _figures(whole.total),
        "totals": [{"name": _name(group.key), **_figures(group)} for group in ordered[:MOST_LISTED]],
        "changes": [
            {"time": str(change.time), "text": _with_agent(change.agent, f"first run with {_KINDS[change.kind]} {change.now}")}
            for change in changes[-MOST_CHANGES:]
        ],
    }


def drift(store: Store, since: int, until: int) -> list[dict[str, Any]]:
    """Return the changes that the monitors of a store found in this period, the oldest first. Raises UnreadableStore."""
    changes = [
        {"time": str(change["since"]), "text": _with_agent(report.key.agent, change["what"]), "trace": change["trace_id"]}
        for report in reports(store.monitor_states(seconds=_PATIENCE))
        for change in report.changes
        if since <= int(str(change["since"])) < until
    ]
    return sorted(changes, key=lambda change: int(str(change["time"])))[-MOST_CHANGES:]


def _with_agent(agent: str | None, what: object) -> str:
    return f"{agent}: {what}" if agent else str(what)


def _floor(moment: int, size: int, offset: int) -> int:
    return (moment + offset) // size * size - offset


def _bucket(start: int, size: int, statistics: Statistics, shown: list[str], keys: Mapping[Key, Key]) -> dict[str, Any]:
    groups = {_name(key): _figures(group) for key, group in joined_groups(statistics, keys).items() if _name(key) in shown}
    return {
        "since": str(start),
        "until": str(start + size),
        "traces": statistics.traces,
        "all": _figures(statistics.total),
        "groups": groups,
    }


def _figures(group: Group) -> dict[str, Any]:
    """Return the plotted numbers of a group. Times are in milliseconds, shares from 0 to 1; None if unknown."""
    common = max(group.lengths.values(), key=lambda times: times.count, default=Distribution())
    return {
        "calls": group.calls,
        "duration": _quantiles(group.duration, 1e3),
        "first": _quantiles(group.first_token, 1e3),
        "token": _quantiles(group.per_token, 1e3),
        "length": _quantiles(group.output_tokens, 1),
        "given": _quantiles(common, 1e3),
        "malformed": group.rate(group.malformed, group.model_calls),
        "invalid": group.rate(group.invalid_calls, group.tool_calls),
        "flawed": group.rate(group.flawed, sum(group.steps.values())),  # one call of an agent is many steps
        "errors": group.rate(group.errors),
        "cost": group.cost_usd.sum,
        "unpriced": group.cost_usd.unknown,
        "tokens": [group.input_tokens.sum, group.output.sum],
    }


def _quantiles(numbers: Distribution, unit: float) -> list[float | None]:
    quantiles = [numbers.quantile(share) for share in _SHARES]
    return [None if quantile is None else quantile * unit for quantile in quantiles]


def _name(key: tuple[str | None, ...]) -> str:
    return key[0] or "unknown"
