"""What was in force at each call of a key, so that a change can be told apart by its cause: "they changed it", "we did".

Law: a cause is named only where it had held still before (`_STILL` calls in a row), so that what alternates anyway is none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llmtrace.model import Inference, JsonValue, Operation, Span
from llmtrace.model.value import value
from llmtrace.semconv import LIBRARIES, SERVICE_VERSION, VCS_REVISION

_STILL: Final = 10
_LOOSE: Final = 50
"""Calls by which the place of a change may be mistaken."""

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
"""What can be a cause, most telling first, and how it is called."""


@value
class Cause:
    what: str
    """A name of `WORDS`."""
    before: str
    now: str
    time: int
    """When the first call with the new one began: nanoseconds since the Unix epoch."""

    def text(self) -> str:
        return f"{WORDS[self.what]} changed {self.before} -> {self.now} at {when(self.time)}"


def when(moment: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment // 1_000_000_000))


class InForce:
    """What is in force, by name: the value, since which time and call, for how many calls, and the same of the one before."""

    def __init__(self, state: dict[str, list[Any]] | None = None) -> None:
        self.held: dict[str, list[Any]] = state or {}
        self._resource: Mapping[str, JsonValue] | None = None
        self._versions: list[tuple[str, str]] = []
        """What that resource says; one resource goes with many spans."""

    def see(self, span: Span, call: int) -> bool:
        """Take in a call. True if something that had held still is another one now."""
        turned = False
        if span.resource is not self._resource:
            self._resource, self._versions = span.resource, list(_of_resource(span.resource))
        for name, now in (*_of_operation(span.operation), *self._versions):
            known = self.held.get(name)
            if known is None:
                self.held[name] = [now, span.start, call, 1, None, 0]
            elif known[0] == now:
                known[3] += 1
            else:
                self.held[name] = [now, span.start, call, 1, known[0], known[3]]
                turned = turned or known[3] >= _STILL
        return turned

    def steady(self) -> dict[str, str]:
        """What has held still, by name: with what a baseline was learned."""
        return {name: held[0] for name, held in self.held.items() if held[3] >= _STILL}

    def compare(self, steady: Mapping[str, Any], call: int) -> None:
        """Take what a pinned baseline was learned with for what was in force until now: another one changed at this call."""
        for name, held in steady.items():
            known = self.held.get(name)
            if name not in WORDS or type(held) is not str:
                continue
            if known is None:
                self.held[name] = [held, 0, 0, _STILL, None, 0]
            elif known[0] != held:
                self.held[name] = [known[0], known[1], call, known[3], held, _STILL]

    def causes(self, call: int) -> list[Cause]:
        """What changed at about this call and has held since, most telling first."""
        found = []
        for name in WORDS:
            now, moment, at, _, before, still = self.held.get(name, ("", 0, 0, 0, None, 0))
            if before is not None and still >= _STILL and abs(at - call) <= _LOOSE:
                old, new = _difference(before, now) if name == "libraries" else (before, now)
                found.append(Cause(name, old, new, moment))
        return found


def _of_operation(operation: Operation) -> Sequence[tuple[str, str]]:
    if not isinstance(operation, Inference):
        return ()
    digests = operation.fingerprint
    held = (
        ("model", operation.response_model),
        ("requested_model", operation.request_model),
        ("system_fingerprint", operation.system_fingerprint),
        ("prompt", digests and digests.system),
        ("tools", digests and digests.tools),
        ("parameters", digests and digests.parameters),
    )
    return [(name, now[:80]) for name, now in held if now]


def _of_resource(resource: Mapping[str, JsonValue]) -> Iterator[tuple[str, str]]:
    for name, attribute in (("version", SERVICE_VERSION), ("revision", VCS_REVISION), ("libraries", LIBRARIES)):
        written = resource.get(attribute)
        if isinstance(written, (list, tuple)):
            yield name, ", ".join(sorted(str(one) for one in written))
        elif isinstance(written, str):
            yield name, written[:12] if attribute == VCS_REVISION else written


def _difference(before: str, now: str) -> tuple[str, str]:
    """Of two lists of libraries, those that are not in both."""
    old, new = set(before.split(", ")), set(now.split(", "))
    return ", ".join(sorted(old - new)) or "none", ", ".join(sorted(new - old)) or "none"
