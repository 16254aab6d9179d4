"""Small plots of characters: a histogram of a group's durations, and how they spread at each length of the answer."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

from llmtrace.cli import figures, words
from llmtrace.cli.paint import Screen, cells, cut, pad, short
from llmtrace.monitors import Block
from llmtrace.statistics import Distribution

BINS = 10
_LABEL = 19
_COUNTS = 16
"""Columns at the right for the count and what may be said of it."""
_LEAST, _NARROW = 3, 60
_LEVEL = 22
"""Columns at most for a level."""


def histogram(screen: Screen, found: Distribution) -> Iterator[str]:
    """A line for each interval of time, as wide in proportion as the one before it, with the quantiles that fall in it."""
    if found.smallest is None or found.largest is None:
        yield "no call of known duration"
        return
    bounds = _bounds(found.smallest, found.largest)
    counts = found.over(bounds)
    marks = [_quantiles_in(found, bounds, place) for place in range(len(counts))]
    width = max(_LEAST, screen.width - _LABEL - 3 - max(_COUNTS, 6 + max(map(len, marks))))
    for place, count in enumerate(counts):
        label = f"{words.duration(bounds[place]):>8} - {words.duration(bounds[place + 1]):<8}"
        bar = _bar(screen, count / max(counts), width) if count else ""
        mark = cut(marks[place], screen.width - _LABEL - width - 9)
        yield f"{pad(label, _LABEL)} {screen.paint(pad(bar, width), 'blue')} {count:>6,} {screen.paint(mark, 'bold')}"


def spreads(screen: Screen, lengths: dict[int, Distribution]) -> Iterator[str]:
    """A line for each length bucket: from p50 to p95 and on to p99, all on one logarithmic scale."""
    known = {upper: found for upper, found in lengths.items() if found.count}
    if not known:
        return
    low = min(found.quantile(0.5) or 0 for found in known.values())
    high = max(found.largest or 0 for found in known.values())
    low, high = max(low, 1e-6), max(high, low * 1.01, 1e-6)
    width = max(_LEAST, screen.width - _LABEL - _COUNTS - 3)
    first, last = words.duration(low), words.duration(high)
    scale = first + f"{last:>{width - len(first)}}" if width > len(first) + len(last) else pad("", width)
    yield f"{pad('tokens of the answer', _LABEL)} {screen.paint(scale, 'dim')}  calls"
    for upper in sorted(known):
        found = known[upper]
        at = [_column(found.quantile(share) or low, low, high, width) for share in figures.QUANTILES]
        bar = " " * at[0] + "•" + "─" * (at[1] - at[0]) + "·" * (at[2] - at[1])
        few = figures.FEW if found.is_few(0.95) else ""
        yield f"{figures.length(upper):>{_LABEL}} {screen.paint(pad(bar[:width], width), 'blue')} {found.count:>6,}{few}"


def course(screen: Screen, rows: Sequence[tuple[Block, str]], changes: Sequence[int]) -> Iterator[str]:
    """A line for each block of calls: when it began, a bar as long as its level, the level; and where a change began."""
    highest = max(block.level for block, _ in rows) or 1.0
    narrow = screen.width < _NARROW
    levels = [short(level, 12 if narrow else _LEVEL) for _, level in rows]
    form, change = ("%m-%d %H:%M", " <") if narrow else ("%Y-%m-%d %H:%M", " < change")
    beside = 35 if narrow else _LABEL + 18 + max(18, *map(cells, levels))
    width = max(_LEAST, screen.width - beside - 2)
    for place, ((block, _), level) in enumerate(zip(rows, levels, strict=True)):
        until = rows[place + 1][0].start if place + 1 < len(rows) else None
        here = any(block.start <= at and (until is None or at < until) for at in changes)
        when = time.strftime(form, time.gmtime(block.start // 1_000_000_000))
        bar = _bar(screen, block.level / highest, width) if block.level else ""
        mark = screen.paint(change, "yellow") if here else ""
        yield f"{when}  {screen.paint(pad(bar, width), 'blue')} {block.calls:>6,} {level:>12}{mark}"


def _bounds(low: float, high: float) -> list[float]:
    low = max(low, 1e-6)
    if high <= low * 1.0001:
        return [low, low * 1.0001]
    step = (high / low) ** (1 / BINS)
    return [low * step**place for place in range(BINS)] + [high]


def _bar(screen: Screen, part: float, width: int) -> str:
    return ("█" if screen.unicode else "#") * max(1, round(part * width))


def _quantiles_in(found: Distribution, bounds: list[float], place: int) -> str:
    last = place == len(bounds) - 2
    names = []
    for share in figures.QUANTILES:
        value = found.quantile(share) or 0
        above = value > bounds[place] or place == 0
        if above and (value <= bounds[place + 1] or last):
            names.append(f"p{share * 100:.0f}{figures.FEW if found.is_few(share) else ''}")
    return " ".join(names)


def _column(value: float, low: float, high: float, width: int) -> int:
    return min(width - 1, max(0, round((width - 1) * math.log(max(value, low) / low) / math.log(high / low))))
