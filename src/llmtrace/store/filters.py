"""Filters and sort orders of lists of traces, for all stores, `llmtrace ls` and the viewer.

Law: a filter's name is the field of `Query`, the parameter in the viewer's address and, with hyphens, the option of
`llmtrace ls`. Its SQL condition selects the same traces as `Filter.keeps`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmtrace.model import HEALTHS

if TYPE_CHECKING:
    from llmtrace.store import Query
    from llmtrace.store.summary import TraceSummary

_RANKS: Final = " ".join(HEALTHS)
SORTS: Final[dict[str, tuple[str, Callable[[TraceSummary], Any]]]] = {
    "age": ("start", lambda trace: trace.start),
    "duration": ("coalesce(duration, 0)", lambda trace: trace.duration or 0),
    "spans": ("spans", lambda trace: trace.spans),
    "tokens": ("coalesce(tokens, 0)", lambda trace: trace.tokens or 0),
    "cost": ("coalesce(cost, 0)", lambda trace: trace.cost_usd or 0),
    "findings": ("findings", lambda trace: len(trace.findings)),
    # the position in this text is the rank
    "health": (f"instr('{_RANKS}', health)", lambda trace: _RANKS.find(trace.health)),
}
"""By name: an SQL expression, and a function that computes the same from a summary. Among equal traces the newest is first."""

KINDS: Final = ("finding", "agent", "workflow", "model", "user", "conversation", "tag", "used_skill", "used_record")
"""Kinds of names that a trace is found by."""

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DAYS_AGO: Final = {"today": 0, "yesterday": 1}
_DURATIONS: Final = {"ms": 0.001, **_UNITS}
_INT64: Final = 1 << 63


class Filter(NamedTuple):
    """One filter. A trace for which the value is unknown does not pass it."""

    name: str
    help: str
    """Help text, in a few words."""
    parse: Callable[[str], Any]
    """Reads the value that a person wrote. Raises ValueError with a sentence."""
    metavar: str
    condition: str
    """SQL on a row of the index's table ``traces``."""
    keeps: Callable[[TraceSummary, Any], bool]
    choices: tuple[str, ...] = ()


def moment(text: str) -> int:
    """Read a time as nanoseconds since the Unix epoch: that number, a time span before now (``30m``), a date, or ``today`` or
    ``yesterday``, which begin at midnight in local time.

    Raises ValueError.
    """
    number, unit = text[:-1], text[-1:]
    try:
        if text in _DAYS_AGO:
            return int(datetime.combine(date.today() - timedelta(days=_DAYS_AGO[text]), datetime.min.time()).timestamp() * 1e9)
        # eight digits are a date: 20260131
        if text.isascii() and text.isdigit() and len(text) > 8 and int(text) < _INT64:
            return int(text)
        if unit in _UNITS and float(number) >= 0:
            return time.time_ns() - int(float(number) * _UNITS[unit] * 1e9)
        return int(datetime.fromisoformat(text).timestamp() * 1e9)
    except (ValueError, OverflowError):
        raise ValueError(f"expected a time such as 30m, 2h, 7d, yesterday or 2026-01-31, got {text[:40]!r}") from None


def _name(text: str) -> str:
    if not text.strip():
        raise ValueError("expected a name, got an empty text")
    return text


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < _INT64:
        raise ValueError(f"expected a number from 0, got {text[:40]!r}")
    return number


def _seconds(text: str) -> float:
    unit = next(unit for unit in (*_DURATIONS, "") if text.endswith(unit))
    try:
        return _number(text.removesuffix(unit)) * _DURATIONS.get(unit, 1)
    except ValueError:
        raise ValueError(f"expected a time such as 500ms, 30s or 5m, got {text[:40]!r}") from None


def _choice(*names: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f"expected one of {', '.join(names)}, got {text[:40]!r}")
        return text

    return parse


def _finding(text: str) -> str:
    if ":" in (text[:1], text[-1:]):
        raise ValueError(f"expected a name, or a name and a label such as failed_tool:never_succeeded, got {text[:40]!r}")
    return _name(text)


def names_of(summary: TraceSummary, kind: str) -> tuple[str, ...]:
    """Return the names of a kind of `KINDS` that a trace is found by; for findings, also each name with its label."""
    names: tuple[str, ...] = getattr(summary, f"{kind}s")
    return (*names, *summary.finding_labels) if kind == "finding" else names


def _named(kind: str, what: str, parse: Callable[[str], str] = _name) -> Filter:
    condition = f"trace IN (SELECT trace FROM names WHERE kind = '{kind}' AND name = ?)"  # noqa: S608
    return Filter(kind, what, parse, "NAME", condition, lambda trace, name: name in names_of(trace, kind))


def _bound(
    name: str, what: str, metavar: str, column: str, parse: Callable[[str], Any], read: Callable[[TraceSummary], Any]
) -> Filter:
    """Return a filter by a minimum (``min_…``) or a maximum (``max_…``)."""
    if name.startswith("min_"):
        return Filter(name, what, parse, metavar, f"{column} >= ?", lambda t, n: (v := read(t)) is not None and v >= n)
    return Filter(name, what, parse, metavar, f"{column} <= ?", lambda t, n: (v := read(t)) is not None and v <= n)


_HEALTH_CHOICES = ("ok", "recovered", "suspect", "failed", "running")
CONFIDENCES: Final = ("certain", "likely")

FILTERS: Final = (
    Filter(
        "health",
        "of this health",
        _choice(*_HEALTH_CHOICES),
        "HEALTH",
        "(open OR health = ?)",
        lambda trace, health: trace.health == health,
        _HEALTH_CHOICES,
    ),
    Filter(
        "confidence",
        "whose first suspect is this sure",
        _choice(*CONFIDENCES),
        "CONFIDENCE",
        "confidence = ?",
        lambda _trace, _confidence: True,  # a summary does not know it: see `listing`
        CONFIDENCES,
    ),
    _named(
        "finding",
        "in which this was found: a signal (failed_tool, or failed_tool:not_approved), a broken rule of a schema, or an error",
        _finding,
    ),
    _named("agent", "in which this agent took part"),
    _named("workflow", "of this workflow"),
    _named("model", "in which this model was asked for or answered"),
    _named("user", "of this user"),
    _named("conversation", "of this conversation"),
    _named("tag", "with this tag"),
    _named("used_skill", "in which this agent skill was loaded, read or run"),
    _named("used_record", "that found or stored this document or memory, by its id"),
    Filter(
        "since",
        "that began later: 30m, 2h, 7d ago, yesterday, or 2026-01-31[T12:00]",
        moment,
        "WHEN",
        "start >= ?",
        lambda trace, start: trace.start >= start,
    ),
    Filter("until", "that began earlier", moment, "WHEN", "start < ?", lambda trace, end: trace.start < end),
    _bound("min_cost", "that cost at least this much", "USD", "cost", _number, lambda trace: trace.cost_usd),
    _bound("max_cost", "that cost at most this much", "USD", "cost", _number, lambda trace: trace.cost_usd),
    _bound("min_tokens", "with at least so many tokens, in and out", "N", "tokens", _number, lambda trace: trace.tokens),
    _bound("max_tokens", "with at most so many tokens, in and out", "N", "tokens", _number, lambda trace: trace.tokens),
    _bound("min_duration", "that took at least so long: 500ms, 5m", "TIME", "duration", _seconds, lambda trace: trace.duration),
    _bound("max_duration", "that took at most so long: 500ms, 5m", "TIME", "duration", _seconds, lambda trace: trace.duration),
)

OF_START: Final = ("since", "until")
"""Filters by ``start``, the only column that is correct before the summary is made."""


def active(query: Query) -> Iterator[tuple[Filter, Any]]:
    """Yield the filters that a query sets, with their values."""
    for filter_ in FILTERS:
        value = getattr(query, filter_.name)
        if value is not None:
            yield filter_, value


def needs_summaries(query: Query) -> bool:
    """Return True if ``query`` sorts or filters by more than start times and words."""
    return query.sort != "age" or any(filter_.name not in OF_START for filter_, _ in active(query))


def is_applied_after_reading(query: Query) -> bool:
    """Return True if ``query`` has filters that no backend applies exactly, so that more traces must be read than it
    returns. A backend that searches an agent's name also finds workflows of that name."""
    return bool(query.text) or any(filter_.name not in OF_START for filter_, _ in active(query))


def in_order(summaries: list[TraceSummary], query: Query) -> list[TraceSummary]:
    """Return the summaries in the order of ``query``."""
    newest_first = sorted(summaries, key=lambda trace: trace.start, reverse=True)
    return sorted(newest_first, key=SORTS[query.sort][1], reverse=not query.reverse)
