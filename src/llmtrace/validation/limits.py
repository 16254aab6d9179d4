"""Limits on what a check may cost, computed before a validator runs that cannot be interrupted.

A schema that refers to itself in more than one way applies itself 2, 4, 8 … times to one value; a value nested deep enough
walks a native validator off its stack. Neither can be stopped once begun, so both are refused before.

Law: with `Limits.allow` true, a validator makes at most `MAX_VISITS` applications of a subschema, and at most `MAX_STACK`
of them stand on its stack at once.
"""

from __future__ import annotations

from collections import Counter
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from llmtrace.model import JsonValue
from llmtrace.model.value import value
from llmtrace.validation.keywords import ANY, Applied, Slot, Subschemas

MAX_DEPTH = 200
"""Deepest nesting of a value, in levels; also the most subschemas that may apply inside one another at one place."""
MAX_VISITS = 1_000_000
"""Subschemas applied during one check. Each costs a native validator 20 to 100 ns."""
MAX_STACK = 2_000
"""Subschemas under application at one time. Each takes a native validator up to 2 KB of stack, of the usual 8 MB."""

_WORK = 500_000
"""Steps of the analysis itself; a schema that needs more is refused."""
_PEAK = 64
"""Visits of one place up to which a value is not measured: few enough to be linear in the size of the value."""

_META_HEIGHT = 16
"""Nesting depth of the subschemas in a draft's own schema, the only other document that may be referred to."""
_TOO_MANY = "it applies too many subschemas at one place"
_COMPOSING = (b'"allOf"', b'"anyOf"', b'"oneOf"', b'"not"', b'"if"', b'"depend', b'"patternProperties"', b'Ref"', b'"$ref"')


class TooCostlyError(Exception):
    """A schema whose cost has no bound. The message says why, free of content."""


class Size(NamedTuple):
    depth: int
    """Levels of nesting; 0 for a value that is not an array or object."""
    values: int
    """Values in all, members and elements included."""


def measure(root: JsonValue, *, limit: int = MAX_VISITS) -> Size:
    """Depth and count of a value, cyclic ones too: it stops below `MAX_DEPTH` levels, and above ``limit`` values."""
    depth, count, level = 0, 1, [root]
    while level and count <= limit and depth <= MAX_DEPTH:
        inner: list[JsonValue] = []
        for node in level:
            if isinstance(node, dict):
                inner.extend(node.values())
            elif isinstance(node, (list, tuple)):
                inner.extend(node)
        count += len(inner)
        if count > limit:
            return Size(depth + 1, count)
        nested = any(isinstance(node, (dict, list, tuple)) for node in level)
        depth += nested
        level = inner if nested else []
    return Size(depth, count)


@value
class Limits:
    """The limits on values that may be checked against a schema. `limits_of` returns None if every value is cheap."""

    visits: list[int]
    """Most applications at one place of a value, by its depth; the last one counts for all deeper places."""
    grows: bool
    """True: beyond the end of ``visits`` the number grows without bound."""
    recursive: bool
    stack: int
    """Most applications inside one another at one place."""
    budget: int = MAX_VISITS

    def allow(self, value: JsonValue) -> bool:
        depth, values = measure(value, limit=self.budget)
        if depth >= len(self.visits) and self.grows:
            return False
        if self.recursive and (depth > MAX_DEPTH or depth * self.stack > MAX_STACK):
            return False
        return self.visits[min(depth, len(self.visits) - 1)] * values <= self.budget


def limits_of(schema: JsonValue, text: bytes, *, budget: int = MAX_VISITS) -> Limits | None:
    """Return the limits on values of a schema; None if all values are cheap. ``text``: its JSON. Raises `TooCostlyError`."""
    if budget == MAX_VISITS and not any(word in text for word in _COMPOSING) and len(text) < 1 << 16:
        return None
    reached = _Reached(Subschemas(schema))
    visits, grows = reached.visits(budget)
    recursive = reached.recursive()
    if budget == MAX_VISITS and not grows and not recursive and visits[-1] <= _PEAK:
        return None
    return Limits(visits, grows, recursive, reached.stack(), budget)


class _Reached:
    """The subschemas that can apply to a value, and how often each applies at one place of it."""

    def __init__(self, subschemas: Subschemas) -> None:
        self.work = _WORK
        self.root = id(subschemas.root)
        self.applied: dict[int, Applied] = {}
        """By the id of the subschema; all of them live as long as the schema does."""
        stack = [subschemas.root]
        while stack:
            node = stack.pop()
            if id(node) not in self.applied:
                applied = self.applied[id(node)] = subschemas.applied(node)
                self._spend(1 + len(applied.same_value))
                stack.extend(applied.same_value)
                stack.extend(child for children in applied.inside.values() for child in children)
        self.outside = subschemas.outside
        self.weight: dict[int, int] = {}
        """Applications at its own place that one application entails, itself included."""
        self.height: dict[int, int] = {}
        """Nesting depth of these applications."""
        self.inside: dict[int, dict[Slot, Counter[int]]] = {}
        """Subschemas that these apply to members and elements, with counts."""
        graph = {number: [id(child) for child in applied.same_value] for number, applied in self.applied.items()}
        try:
            for number in TopologicalSorter(graph).static_order():  # children come before their parents
                self._weigh(number, graph[number])
        except CycleError:
            raise TooCostlyError("it refers to itself without end") from None

    def recursive(self) -> bool:
        """Return True if a subschema can apply to a value inside a value to which it applies."""
        if self.outside:
            return True
        graph = {
            node: {id(child) for children in (applied.same_value, *applied.inside.values()) for child in children}
            for node, applied in self.applied.items()
        }
        try:
            TopologicalSorter(graph).prepare()
        except CycleError:
            return True
        return False

    def stack(self) -> int:
        return max(self.height.values()) + (_META_HEIGHT if self.outside else 0)

    def visits(self, budget: int) -> tuple[list[int], bool]:
        """Most applications at one place, by the depth of the value; and whether they grow for ever with that."""
        counts = self.weight
        visits = [counts[self.root]]
        for _ in range(MAX_DEPTH):
            deeper = {node: max(counts[node], self._busiest(node, counts)) for node in self.applied}
            if deeper == counts:
                return visits, False
            counts = deeper
            visits.append(counts[self.root])
            if visits[-1] > budget:
                return visits[:-1], True
        return visits, True

    def _busiest(self, node: int, counts: dict[int, int]) -> int:
        """Applications at that member or element of a value at which most are made."""
        slots = self.inside[node]
        self._spend(1 + sum(map(len, slots.values())))
        sums = {slot: sum(times * counts[target] for target, times in targets.items()) for slot, targets in slots.items()}
        return sums.pop(ANY, 0) + max(sums.values(), default=0)

    def _weigh(self, node: int, children: list[int]) -> None:
        applied = self.applied[node]
        self.weight[node] = applied.cost + sum(self.weight[child] for child in children)
        self.height[node] = 1 + max((self.height[child] for child in children), default=0)
        if self.weight[node] > MAX_VISITS or self.height[node] > MAX_DEPTH:
            raise TooCostlyError(_TOO_MANY)
        slots = {slot: Counter(map(id, targets)) for slot, targets in applied.inside.items()}
        for child in children:
            self._spend(len(self.inside[child]))
            for slot, targets in self.inside[child].items():
                self._spend(len(targets))
                slots.setdefault(slot, Counter()).update(targets)
        self.inside[node] = slots

    def _spend(self, steps: int) -> None:
        self.work -= steps
        if self.work < 0:
            raise TooCostlyError(_TOO_MANY)
