"""The state of one key: its streams, its current settings, and its last changes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llmtrace.model import Evaluation, Span
from llmtrace.monitors._call_keys import Key
from llmtrace.monitors._change_causes import WORDS, InForce, evaluation, what
from llmtrace.monitors._monitor import CALLS, Observation
from llmtrace.monitors._number_stream import Numbers
from llmtrace.monitors._run_similarity import Runs
from llmtrace.monitors._shape_stream import Shapes
from llmtrace.monitors._share_stream import Shares
from llmtrace.monitors._stream import At, Shift

FORMAT: Final = 2
"""Version of the state's format. A state of another version is not read."""
MOST_CHANGES: Final = 12
_MOST_STREAMS: Final = 24
KINDS: Final[Mapping[str, Any]] = {"number": Numbers, "share": Shares, "shape": Shapes}

Pins = Mapping[str, Mapping[str, Any]]
Mark = tuple[str, str]
"""The ids of a trace and of a span in it."""


class Row:
    """The streams, settings and changes of one key. ``state()`` returns the complete state as JSON."""

    def __init__(self, key: Key, state: Mapping[str, Any] | None = None) -> None:
        saved = state or {}
        self.name = key.name()
        self.key = key
        self.calls: int = saved.get("calls", 0)
        self.last: int = saved.get("last", 0)
        self.in_force = InForce(saved.get("in_force"))
        self.runs = Runs(saved.get("runs"))
        self.changes: list[dict[str, Any]] = saved.get("changes", [])
        self.about: dict[str, dict[str, str]] = saved.get("about", {})
        """Monitor, kind, noun, unit and part of each stream."""
        self.streams: dict[str, Any] = {
            name: KINDS[self.about[name]["kind"]](inner) for name, inner in saved.get("streams", {}).items()
        }
        self.unaware: list[str] = saved.get("unaware", [])
        """Names of the streams that had no observation since a setting changed. Their next one is hinted."""

    def state(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "key": list(self.key),
            "calls": self.calls,
            "last": self.last,
            "in_force": self.in_force.state,
            "runs": self.runs.state,
            "changes": self.changes,
            "about": self.about,
            "streams": {name: stream.state() for name, stream in self.streams.items()},
            "unaware": self.unaware,
        }

    def order(self, stream: str) -> tuple[str, bool]:
        """Return the sort key of a stream in reports: by monitor, turns that answer before turns that call tools."""
        about = self.about[stream]
        return about["monitor"], about["part"] == CALLS

    def compare(self, pins: Pins) -> None:
        """Treat the settings that pinned baselines were learned with as those before the next call."""
        for pin in pins.values():
            self.in_force.compare(pin.get("learned_with") or {}, self.calls + 1)

    def begin(self, span: Span, run: str) -> At:
        """Record a call. Returns its position."""
        self.calls += 1
        self.last = max(self.last, span.end or span.start)
        number, alike = self.runs.number(run)
        if self.in_force.see(span, self.calls):
            self.unaware = [*self.streams]
        return At(span.start, self.calls, number, alike)

    def see(self, monitor: str, seen: Observation, span: Span, at: At, pins: Pins) -> Sequence[tuple[Mark, Evaluation]]:
        """Process an observation of a call. Returns the evaluations, each with the span that it belongs to."""
        name = f"{monitor}:{seen.part}:{seen.unit}"
        stream = self.streams.get(name) or self._begun(name, monitor, seen, pins)
        if name in self.unaware:
            self.unaware.remove(name)
            at = at._replace(hinted=True)
        mark = (span.trace_id, span.span_id)
        if type(stream) is Numbers:
            digest = hashlib.blake2b(f"{span.trace_id}{span.span_id}{name}".encode(), digest_size=6).digest()
            tie = (int.from_bytes(digest, "big") + 0.5) / (1 << 48)  # like a random number, but reproducible
            shift = stream.observe(seen.value, tie, at)
        elif type(stream) is Shares:
            shift = stream.observe(seen.value, seen.event, at)
        elif type(stream) is Shapes:
            shifts = stream.observe(seen.value, at, mark)
            return [self._report(monitor, seen, shift, (first[0], first[1])) for shift, first in shifts]
        else:
            return ()
        return () if shift is None else (self._report(monitor, seen, shift, mark),)

    def _report(self, monitor: str, seen: Observation, shift: Shift, mark: Mark) -> tuple[Mark, Evaluation]:
        causes = self.in_force.causes(shift.call)
        change = {
            "monitor": monitor,
            "part": seen.part,
            "unit": seen.unit,
            "what": what(seen, shift),
            **{name: getattr(shift, name) for name in ("since", "calls", "baseline", "before", "now", "word", "pointer")},
            "causes": [
                {"what": cause.what, "word": WORDS[cause.what], "before": cause.before, "now": cause.now, "time": cause.time}
                for cause in causes
            ],
            "trace_id": mark[0],
            "span_id": mark[1],
        }
        # a confirmed change of shape replaces its first report
        same = ("monitor", "part", "unit", "word", "pointer", "trace_id", "span_id")
        earlier = [cause for cause in self.changes if any(cause[name] != change[name] for name in same)]
        self.changes = [*earlier, change][-MOST_CHANGES:]
        return mark, evaluation(monitor, seen, shift, causes)

    def _begun(self, name: str, monitor: str, seen: Observation, pins: Pins) -> Any:
        """Add a stream and return it; None if there are `_MOST_STREAMS` already."""
        if len(self.streams) >= _MOST_STREAMS:
            return None
        stream = self.streams[name] = KINDS[seen.kind]()
        self.about[name] = {"monitor": monitor, "kind": seen.kind, "noun": seen.noun, "unit": seen.unit, "part": seen.part}
        if name in pins and pins[name].get("kind") == seen.kind:
            stream.start_from(pins[name]["baseline"])
        return stream


def row_of(state: Mapping[str, Any]) -> Row | None:
    """Return the row with this state; None if another version wrote the state, or if it is damaged."""
    try:
        return Row(Key(*state["key"]), state) if state.get("format") == FORMAT else None
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
