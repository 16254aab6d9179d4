"""Statistics as JSON, as table cells, and as text plots.

Law: a number is shown beside the count of calls that it was computed from. Unknown is None or ``-``.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from llmtrace.cli import format_text
from llmtrace.cli.terminal import Cell, Screen, cells, cut, pad, short
from llmtrace.model import CANCELLED, DEADLINE, TIMEOUT, JsonValue
from llmtrace.monitors import Block
from llmtrace.statistics import PARTS, Burn, By, Distribution, Group, Objective, burn_rate, suggest

QUANTILES = (0.5, 0.95, 0.99)
FEW = "*"
"""Mark of a quantile that has so few values that it is just the largest one."""


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
    """Return a count with its percentage of ``of``."""
    if not of or not count:
        return format_text.count(count) if of else format_text.UNKNOWN
    part = 100 * count / of
    return f"{count:,} {part:.0f}%" if part >= 9.5 else f"{count:,} {part:.1f}%"


def short_count(number: float | None) -> str:
    """Return a count with at most three digits: 812, 8.1k, 81k, 1.2M."""
    if number is None:
        return format_text.UNKNOWN
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:
            scaled = number / size
            return f"{scaled:.1f}{unit}" if scaled < 9.95 else f"{scaled:.0f}{unit}"
    return f"{number:.0f}"


def frequent(counted: Counter[str], limit: int | None = None) -> list[tuple[str, int]]:
    """Return words with their counts, the most frequent first. Words with the same count are sorted by name."""
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
    """Return the range of a bucket of lengths: ``17-32``."""
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


# -- plots


BINS = 10
_LABEL = 19
_COUNTS = 16
"""Width of the columns at the right, for the count and its mark."""
_LEAST, _NARROW = 3, 60
_LEVEL = 22
"""Maximum width of a level."""


def histogram(screen: Screen, distribution: Distribution) -> Iterator[str]:
    """Yield a line for each interval of a logarithmic scale, with its count and the quantiles in it."""
    if distribution.smallest is None or distribution.largest is None:
        yield "no call with a known duration"
        return
    bounds = _bounds(distribution.smallest, distribution.largest)
    counts = distribution.over(bounds)
    marks = [_quantiles_in(distribution, bounds, place) for place in range(len(counts))]
    width = max(_LEAST, screen.width - _LABEL - 3 - max(_COUNTS, 6 + max(map(len, marks))))
    for place, count in enumerate(counts):
        label = f"{format_text.duration(bounds[place]):>8} - {format_text.duration(bounds[place + 1]):<8}"
        bar = _bar(screen, count / max(counts), width) if count else ""
        mark = cut(marks[place], screen.width - _LABEL - width - 9)
        yield f"{pad(label, _LABEL)} {screen.paint(pad(bar, width), 'blue')} {count:>6,} {screen.paint(mark, 'bold')}"


def spreads(screen: Screen, lengths: dict[int, Distribution]) -> Iterator[str]:
    """Yield a line for each bucket of answer lengths: a bar from p50 to p95 and p99, all on one logarithmic scale."""
    non_empty = {upper: distribution for upper, distribution in lengths.items() if distribution.count}
    if not non_empty:
        return
    low = min(distribution.quantile(0.5) or 0 for distribution in non_empty.values())
    high = max(distribution.largest or 0 for distribution in non_empty.values())
    low, high = max(low, 1e-6), max(high, low * 1.01, 1e-6)
    width = max(_LEAST, screen.width - _LABEL - _COUNTS - 3)
    first, last = format_text.duration(low), format_text.duration(high)
    scale = first + f"{last:>{width - len(first)}}" if width > len(first) + len(last) else pad("", width)
    yield f"{pad('tokens of the answer', _LABEL)} {screen.paint(scale, 'dim')}  calls"
    for upper in sorted(non_empty):
        distribution = non_empty[upper]
        parts = [math.log(max(distribution.quantile(share) or low, low) / low) / math.log(high / low) for share in QUANTILES]
        at = [min(width - 1, max(0, round((width - 1) * part))) for part in parts]
        bar = " " * at[0] + "•" + "─" * (at[1] - at[0]) + "·" * (at[2] - at[1])
        few = FEW if distribution.is_few(0.95) else ""
        painted = screen.paint(pad(bar[:width], width), "blue")
        yield f"{length(upper):>{_LABEL}} {painted} {distribution.count:>6,}{few}"


def course(screen: Screen, rows: Sequence[tuple[Block, str]], changes: Sequence[int]) -> Iterator[str]:
    """Yield a line for each block of calls: its start, a bar, its level, and a mark if a change began in it."""
    highest = max(block.level for block, _ in rows) or 1.0
    narrow = screen.width < _NARROW
    levels = [short(level, 12 if narrow else _LEVEL) for _, level in rows]
    form, change = ("%m-%d %H:%M", " <") if narrow else ("%Y-%m-%d %H:%M", " < change")
    beside = 35 if narrow else _LABEL + 18 + max(18, *map(cells, levels))
    width = max(_LEAST, screen.width - beside - 2)
    for place, ((block, _), level) in enumerate(zip(rows, levels, strict=True)):
        until = rows[place + 1][0].start if place + 1 < len(rows) else None
        has_change = any(block.start <= at and (until is None or at < until) for at in changes)
        when = time.strftime(form, time.gmtime(block.start // 1_000_000_000))
        bar = _bar(screen, block.level / highest, width) if block.level else ""
        mark = screen.paint(change, "yellow") if has_change else ""
        yield f"{when}  {screen.paint(pad(bar, width), 'blue')} {block.calls:>6,} {level:>12}{mark}"


def _bounds(low: float, high: float) -> list[float]:
    low = max(low, 1e-6)
    if high <= low * 1.0001:
        return [low, low * 1.0001]
    step = (high / low) ** (1 / BINS)
    return [low * step**place for place in range(BINS)] + [high]


def _bar(screen: Screen, part: float, width: int) -> str:
    return ("█" if screen.unicode else "#") * max(1, round(part * width))


def _quantiles_in(distribution: Distribution, bounds: list[float], place: int) -> str:
    last = place == len(bounds) - 2
    names = []
    for share in QUANTILES:
        value = distribution.quantile(share) or 0
        above = value > bounds[place] or place == 0
        if above and (value <= bounds[place + 1] or last):
            names.append(f"p{share * 100:.0f}{FEW if distribution.is_few(share) else ''}")
    return " ".join(names)
