"""Runs the monitors over ended spans, in the order in which they are handed over, and keeps what they learned on a shelf.

Law: the same spans in the same order leave the same on the shelf and give the same evaluations. Whoever owns the shelf sees
to it that a span is handed over once.
"""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from llmtrace.model import Evaluation, JsonValue, Span, Trace
from llmtrace.model.value import value
from llmtrace.monitors._causes import Cause, InForce, when
from llmtrace.monitors._keys import Key, Place, key_of
from llmtrace.monitors._numbers import Numbers, Shift
from llmtrace.monitors._observation import Monitor, Observation
from llmtrace.monitors._rate import MINIMUM
from llmtrace.monitors._shapes import Shapes
from llmtrace.monitors._shares import Shares

logger = logging.getLogger("llmtrace")

PREFIX: Final = "drift."
MAX_KEYS: Final = 500
_MOST_CHANGES: Final = 8
_MOST_STREAMS: Final = 24
_KINDS: Final[Mapping[str, Any]] = {"number": Numbers, "share": Shares, "shape": Shapes}
_failing: set[str] = set()


class Shelf(Protocol):
    """Where states are kept, by name; those that were used least recently may be forgotten."""

    def get(self, name: str) -> dict[str, Any] | None: ...

    def put(self, name: str, state: dict[str, Any], used: int) -> None:
        """``used``: time of the last call, in nanoseconds since the Unix epoch."""


@value
class Report:
    """One stream of one key, as it stands."""

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
    """Calls without which nothing is told; 0 if there are enough."""
    visible: float | None
    """Of numbers: the smallest change that would be found in most cases, as a factor."""
    needed: int | None
    """Of numbers: calls of the baseline that a change by a fifth needs to be found."""
    history: tuple[float, ...]
    """Means of the blocks of calls since the stream began; of logarithms, where numbers are followed."""
    changes: tuple[Mapping[str, JsonValue], ...]
    """The last ones, oldest first."""


class Watch:
    def __init__(self, monitors: Sequence[Monitor], shelf: Shelf, pins: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """``pins``: by name of the key and of the stream, baselines that new streams start from."""
        self._monitors = monitors
        self._shelf = shelf
        self._pins = pins or {}
        self._rows: dict[str, _Row] = {}
        self._places: dict[str, Place] = {}
        self._used: dict[str, int] = {}

    def step(self, trace: Trace, fresh: Callable[[Span], bool]) -> dict[str, tuple[Evaluation, ...]]:
        """Hand over those ended spans of a trace that are ``fresh``; what was found, by span id."""
        found: dict[str, tuple[Evaluation, ...]] = {}
        for span in sorted((one for one in trace.spans if one.end is not None), key=lambda one: (one.end, one.span_id)):
            key = key_of(trace, span)
            if key is not None and fresh(span):
                evaluations = tuple(self._see(key, span))
                if evaluations:
                    found[span.span_id] = evaluations
        return found

    def save(self) -> None:
        """Put everything that changed on the shelf."""
        for name, used in sorted(self._used.items(), key=lambda pair: (pair[1], pair[0])):
            held = self._places[name].held if name in self._places else self._rows[name].state()
            self._shelf.put(name, held, used)
        self._used.clear()

    def _see(self, key: Key, span: Span) -> Iterator[Evaluation]:
        row = self._row(key, span)
        row.calls += 1
        row.last = max(row.last, span.end or span.start)
        hinted = row.in_force.see(span, row.calls)
        for monitor in self._monitors:
            for seen in _observations(monitor, span):
                shift = row.observe(monitor.name, seen, span, hinted, self._pins.get(row.name, {}))
                if shift is not None:
                    causes = row.in_force.causes(shift.call)
                    row.note(monitor.name, seen, shift, causes, span)
                    yield _evaluation(monitor.name, seen, shift, causes)

    def _row(self, key: Key, span: Span) -> _Row:
        used = span.end or span.start
        place_name = Key(key.agent, key.operation, tool=key.tool).name() + " place"
        place = self._places.get(place_name)
        if place is None:
            place = self._places[place_name] = Place(self._shelf.get(place_name))
        key, before = place.settle(key, known=self._known(key) is not None)
        self._used[place_name] = self._used[key.name()] = used
        row = self._known(key)
        if row is None:
            row = _Row(key)
            former = self._known_name(before) if before is not None else None
            if former is not None:
                row = _Row(key, former.successor())
            self._rows[key.name()] = row
        return row

    def _known(self, key: Key) -> _Row | None:
        return self._known_name(key.name())

    def _known_name(self, name: str) -> _Row | None:
        row = self._rows.get(name)
        if row is None and (held := self._shelf.get(name)) is not None:
            row = self._rows[name] = _Row(Key(*held["key"]), held)
        return row


class _Row:
    """All that is kept of one key."""

    def __init__(self, key: Key, state: dict[str, Any] | None = None) -> None:
        held = state or {}
        self.name = key.name()
        self.key = key
        self.calls: int = held.get("calls", 0)
        self.last: int = held.get("last", 0)
        self.in_force = InForce(held.get("in_force"))
        self.changes: list[dict[str, Any]] = held.get("changes", [])
        self.about: dict[str, dict[str, str]] = held.get("about", {})
        """By stream: monitor, kind, noun, unit, part."""
        self.streams: dict[str, Any] = {
            name: _KINDS[self.about[name]["kind"]](inner) for name, inner in held.get("streams", {}).items()
        }

    def state(self) -> dict[str, Any]:
        return {
            "key": list(self.key),
            "calls": self.calls,
            "last": self.last,
            "in_force": self.in_force.held,
            "changes": self.changes,
            "about": self.about,
            "streams": {name: stream.state() for name, stream in self.streams.items()},
        }

    def successor(self) -> dict[str, Any]:
        """What a key that succeeds this one starts with: all but the changes that were found."""
        return copy.deepcopy(self.state() | {"changes": []})

    def observe(
        self, monitor: str, seen: Observation, span: Span, hinted: bool, pins: Mapping[str, Mapping[str, Any]]
    ) -> Shift | None:
        name = f"{monitor}:{seen.part}:{seen.unit}"
        stream = self.streams.get(name)
        if stream is None:
            if len(self.streams) >= _MOST_STREAMS:
                return None
            stream = self.streams[name] = _KINDS[seen.kind]()
            self.about[name] = {"monitor": monitor, "kind": seen.kind, "noun": seen.noun, "unit": seen.unit, "part": seen.part}
            if name in pins and pins[name].get("kind") == seen.kind:
                stream.start_from(pins[name]["baseline"])
        moment = span.start
        if isinstance(stream, Numbers):
            return stream.observe(seen.value, _tie(span, name), moment, self.calls, hinted=hinted)
        if isinstance(stream, Shares):
            return stream.observe(seen.value, seen.event, moment, self.calls, hinted=hinted)
        found: Shift | None = stream.observe(seen.value, moment, self.calls)
        return found

    def note(self, monitor: str, seen: Observation, shift: Shift, causes: Iterable[Cause], span: Span) -> None:
        self.changes.append(
            {
                "monitor": monitor,
                "part": seen.part,
                "unit": seen.unit,
                "what": _what(seen, shift),
                "since": shift.since,
                "found": span.end or span.start,
                "calls": shift.calls,
                "baseline": shift.baseline,
                "before": shift.before,
                "now": shift.now,
                "causes": [{"what": one.what, "before": one.before, "now": one.now, "time": one.time} for one in causes],
                "trace_id": span.trace_id,
                "span_id": span.span_id,
            }
        )
        del self.changes[:-_MOST_CHANGES]


def _observations(monitor: Monitor, span: Span) -> list[Observation]:
    try:
        return list(monitor.observe(span))
    except Exception as error:  # a monitor that fails costs its own findings, not those of the others
        if monitor.name not in _failing:
            _failing.add(monitor.name)
            logger.warning(
                "llmtrace: monitor %s failed with %s; what it tells is incomplete. This is reported once.",
                monitor.name,
                type(error).__qualname__,
            )
        return []


def _tie(span: Span, stream: str) -> float:
    """A number in (0, 1) that is random, and the same whenever the span is seen."""
    digest = hashlib.blake2b(f"{span.trace_id}{span.span_id}{stream}".encode(), digest_size=6).digest()
    return (int.from_bytes(digest, "big") + 0.5) / (1 << 48)


_SHAPES: Final = {
    "new_type": "holds a type that none of the {} results before had there",
    "missing_field": "lacks a field that all of the {} results before had",
    "new_field": "has a field that none of the {} results before had",
}


def _what(seen: Observation, shift: Shift) -> str:
    if seen.kind == "shape":
        return f"{seen.noun} {_SHAPES[shift.word].format(f'{shift.baseline:,}')}"
    if seen.kind == "share":
        noun = seen.noun if seen.event else f"{seen.noun}: the share of {shift.word}"
        moved = "rose" if shift.now > shift.before else "fell"
        return f"{noun} {moved} from {shift.before:.1%} to {shift.now:.0%}".replace("%", " %")
    numbers = f"median {_short(shift.before)} -> {_short(shift.now)} {seen.unit}".rstrip()
    change = shift.now / shift.before - 1 if shift.before else 0.0
    if abs(change) < 0.1:
        return f"{seen.noun} is spread otherwise than before ({numbers})"
    moved = f"rose {change:.0%}" if change > 0 else f"fell {-change:.0%}"
    return f"{seen.noun} {moved.replace('%', ' %')} ({numbers})"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 20 else f"{number:.2g}"


def _evaluation(monitor: str, seen: Observation, shift: Shift, causes: Sequence[Cause]) -> Evaluation:
    what = _what(seen, shift)
    if seen.kind != "shape":
        calls = f"{shift.calls:,} calls" if shift.calls > 1 else "1 call"
        what += f", told by {calls} since {when(shift.since)} against {shift.baseline:,} before"
    said = [cause.text() for cause in causes]
    label = shift.word if seen.kind == "shape" else causes[0].what if causes else "unexplained"
    return Evaluation(
        f"{PREFIX}{monitor}",
        "info" if shift.word == "new_field" else "warning",
        "; ".join([*said, what]) if said else f"{what}; nothing that is recorded changed with it",
        label,
        score=round(shift.now, 6),
        pointer=shift.pointer,
        derived=True,
    )


def reports(states: Iterable[Mapping[str, Any]]) -> list[Report]:
    """What stands on the shelf, stream by stream; the states of keys only."""
    return [_report(row, name) for state in states for row in (_Row(Key(*state["key"]), dict(state)),) for name in row.streams]


def _report(row: _Row, name: str) -> Report:
    stream, about = row.streams[name], row.about[name]
    numbers = stream if isinstance(stream, Numbers) else None
    ours = (one for one in row.changes if (one["monitor"], one["part"], one["unit"]) == _identity(about))
    return Report(
        key=row.key,
        monitor=about["monitor"],
        part=about["part"],
        noun=about["noun"],
        unit=about["unit"],
        kind=about["kind"],
        calls=stream.count,
        began=stream.began,
        last=row.last,
        level=stream.level,
        word=stream.event if isinstance(stream, Shares) else "",
        pinned=stream.armed,
        missing=max(0, MINIMUM - stream.count),
        visible=numbers.visible if numbers is not None else None,
        needed=numbers.needed(1.2) if numbers is not None else None,
        history=tuple(stream.history.means()),
        changes=tuple(ours),
    )


def _identity(about: Mapping[str, str]) -> tuple[str, str, str]:
    return about["monitor"], about["part"], about["unit"]


def baselines(states: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The baseline of every stream that has enough calls, by key and stream: what `Watch` takes as ``pins``."""
    found: dict[str, dict[str, Any]] = {}
    for state in states:
        row = _Row(Key(*state["key"]), dict(state))
        for name, stream in row.streams.items():
            if stream.count >= MINIMUM:
                found.setdefault(row.name, {})[name] = row.about[name] | {"baseline": stream.baseline()}
    return found


def pinned(state: Mapping[str, Any], pins: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The state of a key whose streams are compared with these baselines from now on."""
    row = _Row(Key(*state["key"]), copy.deepcopy(dict(state)))
    for name, pin in pins.items():
        if name not in row.streams:
            row.about[name] = {part: str(pin[part]) for part in ("monitor", "kind", "noun", "unit", "part")}
            row.streams[name] = _KINDS[pin["kind"]]()
        row.streams[name].start_from(pin["baseline"])
    return row.state()
