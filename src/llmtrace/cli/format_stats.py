"""Statistics as JSON and as the words of a table. Law: a count stands beside what was made of it; unknown is None or ``-``."""

from __future__ import annotations

from collections import Counter

from llmtrace.cli import format_text
from llmtrace.cli.terminal import Cell
from llmtrace.model import CANCELLED, DEADLINE, TIMEOUT, JsonValue
from llmtrace.statistics import PARTS, Burn, By, Distribution, Group, Objective, burn_rate, suggest

QUANTILES = (0.5, 0.95, 0.99)
FEW = "*"
"""Marks a quantile of so few values that it is just the largest one."""


def seconds(distribution: Distribution, share: float) -> Cell:
    quantile = distribution.quantile(share)
    return _marked(format_text.duration(quantile), distribution, share)


def tokens(distribution: Distribution, share: float) -> Cell:
    quantile = distribution.quantile(share)
    return _marked(short_count(quantile), distribution, share)


def _marked(text: str, distribution: Distribution, share: float) -> Cell:
    few = distribution.count > 0 and distribution.is_few(share)
    return Cell(text + FEW, ("dim",)) if few else Cell(text + " " if distribution.count else text)


def share(count: int, of: int) -> str:
    """A count with its percentage of ``of``."""
    if not of or not count:
        return format_text.count(count) if of else format_text.UNKNOWN
    part = 100 * count / of
    return f"{count:,} {part:.0f}%" if part >= 9.5 else f"{count:,} {part:.1f}%"


def short_count(number: float | None) -> str:
    """Three digits: 812, 8.1k, 81k, 1.2M."""
    if number is None:
        return format_text.UNKNOWN
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:
            scaled = number / size
            return f"{scaled:.1f}{unit}" if scaled < 9.95 else f"{scaled:.0f}{unit}"
    return f"{number:.0f}"


def frequent(counted: Counter[str], limit: int | None = None) -> list[tuple[str, int]]:
    """Words with their counts, the most frequent first; words with the same count by name."""
    return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]


def as_json(group: Group, by: By, *, suggested: bool) -> dict[str, JsonValue]:
    spent = {"input_tokens": group.input_tokens, "output_tokens": group.output, **group.of_kind, "cost_usd": group.cost_usd}
    shown: dict[str, JsonValue] = {
        "key": dict(zip(PARTS[by], group.key, strict=False)),
        "calls": group.calls,
        "duration": distribution(group.duration),
        "time_to_first_token": distribution(group.first_token),
        "seconds_per_output_token": distribution(group.per_token),
        "output_tokens_per_call": distribution(group.output_tokens),
        "given_output_tokens": [
            {"from": _lower(upper), "to": upper} | distribution(group.lengths[upper]) for upper in sorted(group.lengths)
        ],
        "errors": _rate(group.errors, group.calls),
        "timeouts": _rate(group.endings[TIMEOUT], group.calls),
        "deadlines": _rate(group.endings[DEADLINE], group.calls),
        "cancelled": _rate(group.endings[CANCELLED], group.calls),
        "endings": dict(frequent(group.endings)),
        "model_calls": group.model_calls,
        "tool_calls": group.tool_calls,
        "invalid_tool_calls": _rate(group.invalid_calls, group.tool_calls),
        "corrected": _rate(group.corrected, group.corrections),
        "malformed": _rate(group.malformed, group.model_calls),
        "failed_evaluations": group.flawed,
        "evaluations": dict(frequent(group.evaluations)),
        "models": dict(frequent(group.models)),
        "steps": dict(frequent(group.steps)),
        **{name: {"sum": amount.sum, "unknown": amount.unknown} for name, amount in spent.items()},
    }
    if suggested:
        shown["suggested"] = format_text.as_json(suggest(group))
    return shown


def distribution(numbers: Distribution) -> dict[str, JsonValue]:
    return {
        "count": numbers.count,
        "mean": numbers.mean,
        **{f"p{share * 100:.0f}": numbers.quantile(share) for share in QUANTILES},
        "largest": numbers.largest,
        "few": [f"p{share * 100:.0f}" for share in QUANTILES if numbers.is_few(share)],
    }


def _rate(count: int, of: int) -> dict[str, JsonValue]:
    return {"count": count, "of": of, "rate": count / of if of else None}


def _lower(upper: int) -> int:
    return 0 if upper == 16 else upper // 2 + 1


def length(upper: int) -> str:
    """A length bucket: ``17-32``."""
    return f"{_lower(upper):,}-{upper:,}"


def objective_as_json(objective: Objective, burn: Burn) -> dict[str, JsonValue]:
    windows = {
        window: {"calls": calls, "breaches": burn.breaches[window], "burn_rate": burn_rate(objective, burn, window)}
        for window, calls in burn.calls.items()
    }
    return {
        "name": objective.name,
        "measure": objective.measure,
        "seconds": objective.seconds,
        "share": objective.share,
        "windows": windows,
    }
