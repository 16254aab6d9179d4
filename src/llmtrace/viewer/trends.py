"""Trends of quality, speed and cost: the statistics of `llmtrace stats` by hour or day, and by model or prompt. Pure.

Law: a trace belongs to the hour or day in which it started. The page shows how many traces were counted (``traces`` of
``limit``).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from llmtrace.model import Span, Trace
from llmtrace.statistics import By, Group, Statistics

HOUR = 3600 * 1_000_000_000
DAY = 24 * HOUR
MOST_GROUPS = 5
"""Groups that are shown at most: those with the most calls."""


def over_time(spans: Iterable[Span], by: By, size: int, offset: int) -> dict[str, Any]:
    """Count spans in buckets of time.

    ``spans``: the spans of a trace must be adjacent. ``size``: nanoseconds of one bucket. ``offset``: nanoseconds by which the
    browser's clock is ahead of UTC.
    """
    buckets: dict[int, Statistics] = {}
    traces = 0
    for _, together in itertools.groupby(spans, lambda span: span.trace_id):
        trace = Trace(list(together))
        start = (trace.spans[0].start + offset) // size * size - offset
        buckets.setdefault(start, Statistics(by)).add(trace)
        traces += 1
    calls: dict[str, int] = {}
    for statistics in buckets.values():
        for key, group in statistics.groups.items():
            calls[_name(key)] = calls.get(_name(key), 0) + group.calls
    shown = sorted(calls, key=lambda name: (-calls[name], name))[:MOST_GROUPS]
    bucket_rows = [_bucket(start, size, buckets[start], shown) for start in sorted(buckets)]
    return {"by": by, "groups": shown, "left_out": len(calls) - len(shown), "traces": traces, "buckets": bucket_rows}


def _bucket(start: int, size: int, statistics: Statistics, shown: list[str]) -> dict[str, Any]:
    groups = {_name(key): _figures(group) for key, group in statistics.groups.items() if _name(key) in shown}
    return {
        "since": str(start),
        "until": str(start + size),
        "traces": statistics.traces,
        "all": _figures(statistics.total),
        "groups": groups,
    }


def _figures(group: Group) -> dict[str, Any]:
    """The plotted numbers of a group. Times in milliseconds; shares from 0 to 1; None if unknown."""
    common = max(group.lengths.items(), key=lambda item: item[1].count, default=(None, None))
    return {
        "calls": group.calls,
        "length": [group.output_tokens.quantile(share) for share in (0.5, 0.95)],
        "token": [_ms(group.per_token.quantile(share)) for share in (0.5, 0.95, 0.99)],
        "first": [_ms(group.first_token.quantile(share)) for share in (0.5, 0.95)],
        "given": None if common[1] is None else [common[0], _ms(common[1].quantile(0.5)), common[1].count],
        "malformed": group.rate(group.malformed, group.model_calls),
        "invalid": group.rate(group.invalid_calls, group.tool_calls),
        "flawed": group.rate(group.flawed, sum(group.steps.values())),  # a call of an agent is many steps
        "errors": group.rate(group.errors),
        "cost": group.cost_usd.sum,
        "tokens": [group.input_tokens.sum, group.output.sum],
        "evaluations": dict(group.evaluations.most_common(6)),
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _name(key: tuple[str | None, ...]) -> str:
    return key[0] or "unknown"
