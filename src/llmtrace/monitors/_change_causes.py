"""Tracks the settings at each call of a key, to find the cause of a change: did the provider change something, or the program?

Law: a changed setting is a cause only if it was stable before, for `_STILL` calls in a row. So a setting that alternates is
not a cause.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llmtrace.model import Evaluation, Inference, JsonValue, Operation, Span
from llmtrace.model.value import value
from llmtrace.monitors._monitor import Observation
from llmtrace.monitors._stream import Shift
from llmtrace.semconv import LIBRARIES, SERVICE_VERSION, VCS_REVISION

_STILL: Final = 10
_LOOSE: Final = 50
"""Largest distance in calls between a changed setting and the estimated start of the change."""

WORDS: Final = {
    "model": "model",
    "requested_model": "requested model",
    "system_fingerprint": "the provider's system fingerprint",
    "prompt": "system prompt",
    "tools": "tools",
    "parameters": "parameters",
    "libraries": "library version",
    "version": "service version",
    "revision": "code revision",
}
"""The settings, with their names in reports, the most specific cause first."""


@value
class Cause:
    what: str
    """The setting, a key of `WORDS`."""
    before: str
    now: str
    time: int
    """Start of the first call with the new value, in nanoseconds since the Unix epoch."""

    def text(self) -> str:
        return f"{WORDS[self.what]} changed {self.before} -> {self.now} at {when(self.time)}"


def when(moment: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment // 1_000_000_000))


class InForce:
    """The current settings by name: the value, the time and number of its first call, the number of calls with it, the previous
    value, and the number of calls in a row with that."""

    def __init__(self, state: dict[str, list[Any]] | None = None) -> None:
        self.state: dict[str, list[Any]] = state or {}
        self._resource: Mapping[str, JsonValue] | None = None
        self._versions: list[tuple[str, str]] = []
        """The versions in ``_resource``, cached because many spans share a resource."""

    def see(self, span: Span, call: int) -> bool:
        """Record the settings of a call. Returns True if a setting that had been stable has changed."""
        turned = False
        if span.resource is not self._resource:
            self._resource, self._versions = span.resource, list(_of_resource(span.resource))
        for name, now in (*_of_operation(span.operation), *self._versions):
            entry = self.state.get(name)
            if entry is None:
                self.state[name] = [now, span.start, call, 1, None, 0]
            elif entry[0] == now:
                entry[3] += 1
            else:
                self.state[name] = [now, span.start, call, 1, entry[0], entry[3]]
                turned = turned or entry[3] >= _STILL
        return turned

    def steady(self) -> dict[str, str]:
        """Return the stable settings by name, to save them with a baseline."""
        return {name: entry[0] for name, entry in self.state.items() if entry[3] >= _STILL}

    def compare(self, steady: Mapping[str, Any], call: int) -> None:
        """Treat the settings of a pinned baseline as the previous ones: a setting that differs now changed at this call."""
        for name, before in steady.items():
            entry = self.state.get(name)
            if name not in WORDS or type(before) is not str:
                continue
            if entry is None:
                self.state[name] = [before, 0, 0, _STILL, None, 0]
            elif entry[0] != before:
                self.state[name] = [entry[0], entry[1], call, entry[3], before, _STILL]

    def causes(self, call: int) -> list[Cause]:
        """Return the settings that last changed at about this call, the most specific first."""
        causes = []
        for name in WORDS:
            now, moment, at, _, before, still = self.state.get(name, ("", 0, 0, 0, None, 0))
            if before is not None and still >= _STILL and abs(at - call) <= _LOOSE:
                old, new = before, now
                if name == "libraries":  # only the libraries that are not in both lists
                    libraries, new_libraries = set(before.split(", ")), set(now.split(", "))
                    old = ", ".join(sorted(libraries - new_libraries)) or "none"
                    new = ", ".join(sorted(new_libraries - libraries)) or "none"
                causes.append(Cause(name, old, new, moment))
        return causes


def _of_operation(operation: Operation) -> Sequence[tuple[str, str]]:
    if not isinstance(operation, Inference):
        return ()
    digests = operation.fingerprint
    settings = (
        ("model", operation.response_model),
        ("requested_model", operation.request_model),
        ("system_fingerprint", operation.system_fingerprint),
        ("prompt", digests and digests.system),
        ("tools", digests and digests.tools),
        ("parameters", digests and digests.parameters),
    )
    return [(name, now[:80]) for name, now in settings if now]


def _of_resource(resource: Mapping[str, JsonValue]) -> Iterator[tuple[str, str]]:
    for name, attribute in (("version", SERVICE_VERSION), ("revision", VCS_REVISION), ("libraries", LIBRARIES)):
        written = resource.get(attribute)
        if isinstance(written, (list, tuple)):
            yield name, ", ".join(sorted(str(library) for library in written))
        elif isinstance(written, str):
            yield name, written[:12] if attribute == VCS_REVISION else written


# -- changes in words


PREFIX: Final = "drift."
_UNITS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_SHAPES: Final = {
    "new_type": "holds a type{} that none of the {} before had there",
    "missing_field": "lacks a field{} that all of the {} before had",
    "new_field": "has a field{} that none of the {} before had",
}


def what(seen: Observation, shift: Shift) -> str:
    if seen.kind == "shape":
        stays = f", and so it is in others of the {shift.calls} calls since" if shift.calls > 1 else ""
        where = f" ({shift.pointer})" if shift.pointer else ""
        return f"{seen.noun} {_SHAPES[shift.word].format(where, f'{shift.baseline:,}')}{stays}"
    if seen.kind == "share":
        noun = seen.noun if seen.event else f"{seen.noun}: the share of {shift.word}"
        moved = "rose" if shift.now > shift.before else "fell"
        return f"{noun} {moved} from {shift.before:.1%} to {shift.now:.0%}".replace("%", " %")
    numbers = f"median {_short(shift.before, seen.unit)} -> {_short(shift.now, seen.unit)}"
    if seen.unit not in ("", "s"):
        numbers += f" {seen.unit}"
    change = shift.now / shift.before - 1 if shift.before else 0.0
    if abs(change) < 0.1:
        return f"{seen.noun} is spread otherwise than before ({numbers})"
    moved = f"rose {change:.0%}" if change > 0 else f"fell {-change:.0%}"
    return f"{seen.noun} {moved.replace('%', ' %')} ({numbers})"


def _short(number: float, unit: str) -> str:
    if unit == "s":
        size, unit = next(((size, unit) for size, unit in _UNITS if number >= size), _UNITS[-1])
        return f"{_short(number / size, '')} {unit}"
    return f"{number:,.0f}" if number >= 20 else f"{number:.2g}"


def evaluation(monitor: str, seen: Observation, shift: Shift, causes: Sequence[Cause]) -> Evaluation:
    text = what(seen, shift)
    if seen.kind != "shape":
        calls = f"{shift.calls:,} calls" if shift.calls > 1 else "1 call"
        text += f", told by {calls} since {when(shift.since)} against {shift.baseline:,} before"
    reasons = [cause.text() for cause in causes]
    label = shift.word if seen.kind == "shape" else causes[0].what if causes else "unexplained"
    return Evaluation(
        f"{PREFIX}{monitor}",
        "info" if seen.kind == "shape" and shift.calls == 1 else "warning",
        "; ".join([*reasons, text]) if reasons else f"{text}; nothing that is recorded changed with it",
        label,
        score=round(shift.now, 6),
        pointer=shift.pointer,
        derived=True,
    )
