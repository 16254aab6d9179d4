"""Runs the monitors over ended spans, in the order of the calls to `Watch.step`, and saves their state on a shelf.

Law: the same spans in the same order give the same states and the same evaluations. The owner of the shelf must pass each span
only once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from llmtrace.log_once import warn_once
from llmtrace.model import Evaluation, Span, Trace
from llmtrace.monitors._call_keys import Key, KeyedCall, Place, key_of
from llmtrace.monitors._key_state import Mark, Pins, Row, row_of
from llmtrace.monitors._monitor import Monitor

MAX_KEYS: Final = 500


class Shelf(Protocol):
    """Storage for states by name. It may drop the least recently used ones."""

    def get(self, name: str) -> dict[str, Any] | None: ...

    def put(self, name: str, state: dict[str, Any], used: int, /) -> None:
        """``used``: time of the last call, in nanoseconds since the Unix epoch."""


class Watch:
    def __init__(self, monitors: Sequence[Monitor], shelf: Shelf, pins: Mapping[str, Pins] | None = None) -> None:
        """``pins``: baselines that new streams start from, by the names of the key and the stream."""
        self._monitors = monitors
        self._shelf = shelf
        self._pins = pins or {}
        self._rows: dict[str, Row] = {}
        self._places: dict[str, Place] = {}
        self._used: dict[str, int] = {}

    def step(self, trace: Trace, fresh: Callable[[Span], bool]) -> Iterator[tuple[Mark, Evaluation]]:
        """Process the ended spans of a trace that are ``fresh``. Yields each evaluation with the span that it belongs to, which
        may be an earlier one."""
        for span in sorted((span for span in trace.spans if span.end is not None), key=lambda span: (span.end, span.span_id)):
            call = key_of(trace, span)
            if call is not None and fresh(span):
                yield from self._see(call, span)

    def save(self) -> None:
        """Write all changed states to the shelf."""
        for name, used in sorted(self._used.items(), key=lambda pair: (pair[1], pair[0])):
            state = self._places[name].state if name in self._places else self._rows[name].state()
            self._shelf.put(name, state, used)
        self._used.clear()

    def _see(self, call: KeyedCall, span: Span) -> list[tuple[Mark, Evaluation]]:
        row = self._row(call.key, span)
        at = row.begin(span, call.run)
        pins = self._pins.get(row.name, {})
        evaluations: list[tuple[Mark, Evaluation]] = []
        for monitor in self._monitors:
            try:
                observations = tuple(monitor.observe(span))
            except Exception as error:  # a failing monitor must not stop the others
                failed = f"monitor {monitor.name} failed with {type(error).__qualname__}"
                warn_once(f"{failed}; what it tells is incomplete. This is reported once.")
                continue
            for seen in observations:
                evaluations += row.see(monitor.name, seen, span, at, pins)
        return evaluations

    def _row(self, key: Key, span: Span) -> Row:
        used = span.end or span.start
        place_name = key.place()
        place = self._places.get(place_name)
        if place is None:
            place = self._places[place_name] = Place(self._shelf.get(place_name))
        key, name, before = place.settle(key, is_known=self._find_row(key.name()) is not None)
        self._used[place_name] = self._used[name] = used
        row = self._find_row(name)
        if row is None:
            former = self._find_row(before) if before is not None else None
            # the successor of a key inherits its state, without the list of changes
            state = None if former is None else copy.deepcopy(former.state() | {"changes": []})
            row = self._rows[name] = Row(key, state)
            row.compare(self._pins.get(name, {}))
        return row

    def _find_row(self, name: str) -> Row | None:
        row = self._rows.get(name)
        if row is None and (state := self._shelf.get(name)) is not None and (row := row_of(state)) is not None:
            self._rows[name] = row
        return row
