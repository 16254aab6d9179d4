"""Reports on the saved states of keys: the status of each stream, and the baselines to pin or to export."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from llmtrace.model import JsonValue
from llmtrace.model.value import value
from llmtrace.monitors._call_keys import Key
from llmtrace.monitors._key_state import KINDS, Row, row_of
from llmtrace.monitors._number_stream import Numbers
from llmtrace.monitors._shape_stream import Shapes
from llmtrace.monitors._share_stream import Shares
from llmtrace.monitors._stream import MINIMUM, RUNS_BEFORE


class Block(NamedTuple):
    start: int
    """Start of the first call, in nanoseconds since the Unix epoch."""
    calls: int
    level: float
    """By kind: the geometric mean of numbers, the share of the reported word, or the share of values with a new shape."""


@value
class Report:
    key: Key
    monitor: str
    part: str
    noun: str
    unit: str
    kind: str
    calls: int
    """Number of calls in the baseline."""
    began: int | None
    """Start of the baseline, in nanoseconds since the Unix epoch."""
    last: int
    """Time of the key's last call, in nanoseconds since the Unix epoch."""
    level: float | None
    """The level of the baseline: median of numbers, or share of the reported word; None for shapes."""
    word: str
    pinned: bool
    missing: int
    """Number of calls that the stream still needs before it can report a change; 0 if it has enough."""
    missing_runs: int
    """Number of runs that the stream still needs before it can report a change."""
    visible: float | None
    """The smallest change that would mostly be found: for numbers a factor, for a share the higher share. None if no change
    would be found yet."""
    needed: int | None
    """For numbers: the number of calls that the baseline needs to find a change by a factor of 1.2."""
    history: tuple[Block, ...]
    """The stream's history in at most 32 blocks with equal numbers of calls; the last block may have fewer."""
    changes: tuple[Mapping[str, JsonValue], ...]
    """The last changes, oldest first."""


def reports(states: Iterable[Mapping[str, Any]]) -> list[Report]:
    return [_report(row, name) for row in _rows(states) for name in sorted(row.streams, key=row.order)]


def _rows(states: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    return (row for state in states if (row := row_of(state)) is not None)


def _report(row: Row, name: str) -> Report:
    stream, about = row.streams[name], row.about[name]
    numbers = stream if isinstance(stream, Numbers) else None
    ours = (change for change in row.changes if all(change[part] == about[part] for part in ("monitor", "part", "unit")))
    return Report(
        **about,
        key=row.key,
        calls=stream.count,
        began=stream.began,
        last=row.last,
        level=stream.level,
        word=stream.event if isinstance(stream, Shares) else "",
        pinned=stream.armed,
        missing=max(0, MINIMUM - stream.count),
        missing_runs=_missing_runs(row, stream),
        visible=None if isinstance(stream, Shapes) else stream.visible,
        needed=numbers.needed(1.2) if numbers is not None else None,
        history=tuple(
            Block(start, calls, math.exp(total / calls) if numbers is not None else total / calls)
            for start, calls, total in stream.history.blocks
        ),
        changes=tuple(ours),
    )


def _missing_runs(row: Row, stream: Any) -> int:
    return 0 if stream.first is None else max(0, RUNS_BEFORE - (row.runs.begun - stream.first))


def baselines(states: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the baseline of every stream with enough calls and runs, by key and stream, with the settings it was learned with.

    `Watch` takes the result as ``pins``.
    """
    by_key: dict[str, dict[str, Any]] = {}
    for row in _rows(states):
        steady = row.in_force.steady()
        for name, stream in row.streams.items():
            if stream.count >= MINIMUM and not _missing_runs(row, stream):
                baseline = row.about[name] | {"baseline": stream.baseline(), "learned_with": steady}
                by_key.setdefault(row.name, {})[name] = baseline
    return by_key


def pinned(state: Mapping[str, Any], pins: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the state of a key after pinning: the streams of ``pins`` are compared with these baselines from now on.

    Other streams lose their pins.
    """
    row = row_of(copy.deepcopy(dict(state)))
    if row is None:
        return dict(state)
    for name, stream in row.streams.items():
        if name not in pins:
            stream.pin, stream.armed = None, False
    row.compare(pins)
    for name, pin in pins.items():
        if name not in row.streams:
            row.about[name] = {part: str(pin[part]) for part in ("monitor", "kind", "noun", "unit", "part")}
            row.streams[name] = KINDS[pin["kind"]]()
        if row.streams[name].pin != pin["baseline"]:
            row.streams[name].start_from(pin["baseline"])
    return row.state()
