"""Runs the monitors over ended spans, in the order in which they are handed over, and keeps what they learned on a shelf.

Law: the same spans in the same order leave the same on the shelf and give the same evaluations. Whoever owns the shelf sees
to it that a span is handed over once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from llmtrace.model import Evaluation, Span, Trace
from llmtrace.monitors._key_state import Mark, Pins, Row, row_of
from llmtrace.monitors._keys import Found, Key, Place, key_of
from llmtrace.monitors._monitor import Monitor, Observation

logger = logging.getLogger("llmtrace")

MAX_KEYS: Final = 500
_failing: set[str] = set()


class Shelf(Protocol):
    """Where states are kept, by name; those that were used least recently may be forgotten."""

    def get(self, name: str) -> dict[str, Any] | None: ...

    def put(self, name: str, state: dict[str, Any], used: int, /) -> None:
        """``used``: time of the last call, in nanoseconds since the Unix epoch."""


class Watch:
    def __init__(self, monitors: Sequence[Monitor], shelf: Shelf, pins: Mapping[str, Pins] | None = None) -> None:
        """``pins``: by name of the key and of the stream, baselines that new streams start from."""
        self._monitors = monitors
        self._shelf = shelf
        self._pins = pins or {}
        self._rows: dict[str, Row] = {}
        self._places: dict[str, Place] = {}
        self._used: dict[str, int] = {}

    def step(self, trace: Trace, fresh: Callable[[Span], bool]) -> Iterator[tuple[Mark, Evaluation]]:
        """Hand over those ended spans of a trace that are ``fresh``. Gives what was found, and which span shows it: it may be
        one that was handed over earlier."""
        for span in sorted((one for one in trace.spans if one.end is not None), key=lambda one: (one.end, one.span_id)):
            found = key_of(trace, span)
            if found is not None and fresh(span):
                yield from self._see(found, span)

    def save(self) -> None:
        """Put everything that changed on the shelf."""
        for name, used in sorted(self._used.items(), key=lambda pair: (pair[1], pair[0])):
            held = self._places[name].held if name in self._places else self._rows[name].state()
            self._shelf.put(name, held, used)
        self._used.clear()

    def _see(self, found: Found, span: Span) -> list[tuple[Mark, Evaluation]]:
        row = self._row(found.key, span)
        at = row.begin(span, found.run)
        pins = self._pins.get(row.name, {})
        told: list[tuple[Mark, Evaluation]] = []
        for monitor in self._monitors:
            for seen in _observations(monitor, span):
                told += row.see(monitor.name, seen, span, at, pins)
        return told

    def _row(self, key: Key, span: Span) -> Row:
        used = span.end or span.start
        place_name = key.place()
        place = self._places.get(place_name)
        if place is None:
            place = self._places[place_name] = Place(self._shelf.get(place_name))
        key, name, before = place.settle(key, known=self._known(key.name()) is not None)
        self._used[place_name] = self._used[name] = used
        row = self._known(name)
        if row is None:
            former = self._known(before) if before is not None else None
            row = self._rows[name] = Row(key, former.successor() if former is not None else None)
            row.compare(self._pins.get(name, {}))
        return row

    def _known(self, name: str) -> Row | None:
        row = self._rows.get(name)
        if row is None and (held := self._shelf.get(name)) is not None and (row := row_of(held)) is not None:
            self._rows[name] = row
        return row


def _observations(monitor: Monitor, span: Span) -> Sequence[Observation]:
    try:
        return tuple(monitor.observe(span))
    except Exception as error:  # a monitor that fails costs its own findings, not those of the others
        if monitor.name not in _failing:
            _failing.add(monitor.name)
            logger.warning(
                "llmtrace: monitor %s failed with %s; what it tells is incomplete. This is reported once.",
                monitor.name,
                type(error).__qualname__,
            )
        return []
