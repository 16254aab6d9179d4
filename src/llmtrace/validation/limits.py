"""Limits on the cost of a check, computed before the validator runs, since a running validator cannot be interrupted.

A schema that refers to itself in more than one way applies itself 2, 4, 8 … times to one value. A deeply nested value
overflows the stack of a native validator. Both are refused before the check begins.

Law: if `Limits.allow` returns True, a validator applies subschemas at most `MAX_VISITS` times, with at most `MAX_STACK`
applications on its stack at once.
"""

from __future__ import annotations

from collections import Counter
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from llmtrace.model import JsonValue
from llmtrace.model.value import value
from llmtrace.validation.keywords import ANY, Applied, Slot, Subschemas

MAX_DEPTH = 200
"""Deepest nesting of a value, in levels; also the deepest nesting of subschemas that apply to the same value."""
MAX_VISITS = 1_000_000
"""Most applications of subschemas in one check. Each takes a native validator 20 to 100 ns."""
MAX_STACK = 2_000
"""Most applications of subschemas on the stack at once. Each takes up to 2 KB of the usual 8 MB stack."""

_WORK = 500_000
"""Most steps of this analysis. A schema that needs more is refused."""
_PEAK = 64
"""Visits per place up to which values are not measured: the cost then stays linear in the size of the value."""

_META_HEIGHT = 16
"""Nesting depth of the subschemas in a draft's own schema, the only other document that a reference may name."""
_TOO_MANY = "it applies too many subschemas at one place"
_COMPOSING = (b'"allOf"', b'"anyOf"', b'"oneOf"', b'"not"', b'"if"', b'"depend', b'"patternProperties"', b'Ref"', b'"$ref"')


class TooCostlyError(Exception):
    """A schema whose checks would cost too much. The message says why, without content."""


class Size(NamedTuple):
    depth: int
    """Levels of nesting; 0 for a value that is not an array or object."""
    values: int
    """Number of values, including members and elements."""


def measure(root: JsonValue, *, limit: int = MAX_VISITS) -> Size:
    """Return the depth and size of a value. Stops below `MAX_DEPTH` levels or above ``limit`` values, so cycles are safe."""
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
    """The limits on values that may be checked against a schema. `limits_of` returns None if all values are cheap."""

    visits: list[int]
    """Most applications at one place, by the depth of the value. The last entry counts for all greater depths."""
    grows: bool
    """True if the number grows without bound beyond the end of ``visits``."""
    recursive: bool
    stack: int
    """Deepest nesting of applications to the same value."""
    budget: int = MAX_VISITS

    def allow(self, value: JsonValue) -> bool:
        depth, values = measure(value, limit=self.budget)
        if depth >= len(self.visits) and self.grows:
            return False
        if self.recursive and (depth > MAX_DEPTH or depth * self.stack > MAX_STACK):
            return False
        return self.visits[min(depth, len(self.visits) - 1)] * values <= self.budget


def limits_of(schema: JsonValue, text: bytes, *, budget: int = MAX_VISITS) -> Limits | None:
    """Return the limits for a schema; None if all values are cheap. ``text``: the schema's JSON. Raises `TooCostlyError`."""
    # Fast path: without these keywords, each place is visited only a few times.
    if budget == MAX_VISITS and not any(word in text for word in _COMPOSING) and len(text) < 1 << 16:
        return None
    reached = _Reached(Subschemas(schema))
    visits, grows = reached.visits(budget)
    recursive = reached.recursive()
    if budget == MAX_VISITS and not grows and not recursive and visits[-1] <= _PEAK:
        return None
    return Limits(visits, grows, recursive, reached.stack(), budget)


class _Reached:
    """The subschemas that can apply to a value, and how often each can apply at one place."""

    def __init__(self, subschemas: Subschemas) -> None:
        self.work = _WORK
        self.root = id(subschemas.root)
        self.applied: dict[int, Applied] = {}
        """By the id of the subschema. Ids stay unique, since the schema keeps its subschemas alive."""
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
        """For each subschema: applications to the same value that one application causes, itself included."""
        self.height: dict[int, int] = {}
        """Nesting depth of these applications."""
        self.inside: dict[int, dict[Slot, Counter[int]]] = {}
        """Subschemas that these applications apply to members and elements, with counts."""
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
        """Return the most applications at one place, by the depth of the value, and True if they grow without bound."""
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
        """Return the number of applications at the busiest member or element of a value."""
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
