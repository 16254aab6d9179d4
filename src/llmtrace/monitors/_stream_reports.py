"""Reports on the stored states of keys: the status of each stream, and the baselines to pin or to ship."""

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
    """When its first call began: nanoseconds since the Unix epoch."""
    calls: int
    level: float
    """Geometric mean of numbers, share of the reported word, share of results with something new."""


@value
class Report:
    key: Key
    monitor: str
    part: str
    noun: str
    unit: str
    kind: str
    calls: int
    """Calls of the baseline."""
    began: int | None
    """When the baseline began."""
    last: int
    """Time of the key's last call."""
    level: float | None
    """The baseline: median of numbers, share of the reported word."""
    word: str
    pinned: bool
    missing: int
    """Calls that are still missing before the stream can report a change; 0 if there are enough."""
    missing_runs: int
    """Runs that are still missing before the stream can report a change."""
    visible: float | None
    """The smallest change that would be found in most cases: of numbers a factor, of a share what it would have to rise to.
    None where not even the largest would be."""
    needed: int | None
    """For numbers: calls that the baseline needs so that a change by a fifth is found."""
    history: tuple[Block, ...]
    """The stream's history in at most 32 blocks of equally many calls, except the last."""
    changes: tuple[Mapping[str, JsonValue], ...]
    """The last ones, oldest first."""


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
    """The baseline of every stream that has enough calls and runs, by key and stream, with what was in force meanwhile: what
    `Watch` takes as ``pins``."""
    by_key: dict[str, dict[str, Any]] = {}
    for row in _rows(states):
        steady = row.in_force.steady()
        for name, stream in row.streams.items():
            if stream.count >= MINIMUM and not _missing_runs(row, stream):
                baseline = row.about[name] | {"baseline": stream.baseline(), "learned_with": steady}
                by_key.setdefault(row.name, {})[name] = baseline
    return by_key


def pinned(state: Mapping[str, Any], pins: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The state of a key whose streams are compared with these baselines from now on, and no others with any."""
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
