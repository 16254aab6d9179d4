"""Text plots: a histogram of durations, durations by length of the answer, and a course over time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

from llmtrace.cli import format_stats, format_text
from llmtrace.cli.terminal import Screen, cells, cut, pad, short
from llmtrace.monitors import Block
from llmtrace.statistics import Distribution

BINS = 10
_LABEL = 19
_COUNTS = 16
"""Columns at the right for the count and its mark."""
_LEAST, _NARROW = 3, 60
_LEVEL = 22
"""Columns at most for a level."""


def histogram(screen: Screen, distribution: Distribution) -> Iterator[str]:
    """A line for each interval of a logarithmic scale, with its count and the quantiles in it."""
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
    """A line for each bucket of answer lengths, from p50 to p95 and p99, all on one logarithmic scale."""
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
        at = [_column(distribution.quantile(share) or low, low, high, width) for share in format_stats.QUANTILES]
        bar = " " * at[0] + "•" + "─" * (at[1] - at[0]) + "·" * (at[2] - at[1])
        few = format_stats.FEW if distribution.is_few(0.95) else ""
        painted = screen.paint(pad(bar[:width], width), "blue")
        yield f"{format_stats.length(upper):>{_LABEL}} {painted} {distribution.count:>6,}{few}"


def course(screen: Screen, rows: Sequence[tuple[Block, str]], changes: Sequence[int]) -> Iterator[str]:
    """A line for each block of calls: its start, a bar, its level, and a mark if a change began in it."""
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
    for share in format_stats.QUANTILES:
        value = distribution.quantile(share) or 0
        above = value > bounds[place] or place == 0
        if above and (value <= bounds[place + 1] or last):
            names.append(f"p{share * 100:.0f}{format_stats.FEW if distribution.is_few(share) else ''}")
    return " ".join(names)


def _column(value: float, low: float, high: float, width: int) -> int:
    return min(width - 1, max(0, round((width - 1) * math.log(max(value, low) / low) / math.log(high / low))))
