"""The keywords that hold subschemas, the values to which these apply, and the targets of local references.

Covers the keywords of all drafts: a keyword that a draft does not have does no harm.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias
from urllib.parse import unquote

from llmtrace.model import JsonValue
from llmtrace.validation.json_pointers import every_value, follow, steps

SAME_VALUE_LISTS = ("allOf", "anyOf", "oneOf")
SAME_VALUE_MAPS = ("dependentSchemas", "dependencies")
SAME_VALUE = ("not", "if", "then", "else")
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
INSIDE_MAPS = ("properties", "patternProperties")
INSIDE_LISTS = ("prefixItems", "items")
INSIDE = (
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "items",
    "additionalItems",
    "unevaluatedItems",
    "contains",
)
DEFINITIONS = ("$defs", "definitions")
DATA = frozenset({"const", "enum", "default", "examples", "example"})
"""Keywords whose value is data. It may look like a schema, but is not one."""
MAPS_OF_SUBSCHEMAS = frozenset((*SAME_VALUE_MAPS, *INSIDE_MAPS, *DEFINITIONS))

Slot: TypeAlias = tuple[Literal["member", "element", "any"], JsonValue]
"""The members or elements of a value to which a subschema applies."""
ANY: Slot = ("any", None)


class Applied(NamedTuple):
    """The subschemas that a subschema applies, and its own cost."""

    same_value: list[JsonValue]
    """Subschemas applied to the same value."""
    inside: dict[Slot, list[JsonValue]]
    """Subschemas applied to members and elements of the value."""
    cost: int
    """Number of comparisons that the subschema makes itself."""


class Subschemas:
    """The subschemas of a schema. References are followed inside the document only."""

    def __init__(self, root: JsonValue) -> None:
        self.root = root
        self.outside = False
        """True after a reference that leaves the document: to a draft's own schema, or to a missing document."""
        self._by_id: dict[str, list[JsonValue]] = {}
        self._by_anchor: dict[str, list[JsonValue]] = {}
        for node in every_object(root):
            if isinstance(identifier := node.get("$id"), str):
                self._by_id.setdefault(_file(identifier), []).append(node)
            for keyword in ("$anchor", "$dynamicAnchor"):
                if isinstance(anchor := node.get(keyword), str):
                    self._by_anchor.setdefault(anchor, []).append(node)
            if isinstance(identifier, str) and identifier.startswith("#"):  # draft 6 and 7: an anchor
                self._by_anchor.setdefault(identifier[1:], []).append(node)

    def applied(self, node: JsonValue) -> Applied:
        if not isinstance(node, dict):
            return Applied([], {}, 1)
        # Options that are strings or numbers are hashed; arrays and objects are compared one by one.
        options = node.get("enum")
        cost = 1 + sum(isinstance(option, (dict, list)) for option in options) if isinstance(options, list) else 1
        return Applied(list(self._same_value(node)), self._contained(node), cost)

    def targets(self, reference: str) -> list[JsonValue]:
        """Return the subschemas that a reference may mean: several if a name is used twice, none outside the document."""
        location, _, fragment = reference.partition("#")
        fragment = unquote(fragment)
        homes = self._by_id.get(_file(location), []) if location else [self.root]
        if location and not homes:
            self.outside = True
        if not fragment:
            return homes if location else [self.root]
        if not fragment.startswith("/"):
            return self._by_anchor.get(fragment, [])
        subschemas = []
        # A pointer starts at the nearest enclosing $id, or at the root. Which one is unknown here, so all are tried.
        for home in [*homes, *(node for nodes in self._by_id.values() for node in nodes if not location)]:
            try:
                subschemas.append(follow(home, steps(fragment)))
            except (LookupError, TypeError, ValueError):
                continue
        return subschemas

    def _same_value(self, node: dict[str, JsonValue]) -> Iterator[JsonValue]:
        for keyword in SAME_VALUE_LISTS:
            yield from _elements(node.get(keyword))
        for keyword in SAME_VALUE_MAPS:
            yield from _members(node.get(keyword)).values()
        for keyword in SAME_VALUE:
            if isinstance(node.get(keyword), dict):
                yield node[keyword]
        for keyword in REFERENCES:
            if isinstance(node.get(keyword), str):
                yield from self.targets(node[keyword])

    def _contained(self, node: dict[str, JsonValue]) -> dict[Slot, list[JsonValue]]:
        slots: dict[Slot, list[JsonValue]] = {}
        for name, subschema in _members(node.get("properties")).items():
            slots.setdefault(("member", name), []).append(subschema)
        for keyword in INSIDE_LISTS:
            for index, subschema in enumerate(_elements(node.get(keyword))):
                slots.setdefault(("element", index), []).append(subschema)
        anywhere = list(_members(node.get("patternProperties")).values())
        anywhere += [node[keyword] for keyword in INSIDE if isinstance(node.get(keyword), dict)]
        if anywhere:
            slots[ANY] = anywhere
        return slots


def every_object(root: JsonValue) -> Iterator[dict[str, JsonValue]]:
    """Return every object inside a JSON value, subschema or not."""
    return (node for node in every_value(root) if isinstance(node, dict))


def _file(identifier: str) -> str:
    """Return the last segment of an identifier, which is the same whatever base it is resolved against."""
    return identifier.partition("#")[0].rstrip("/").rpartition("/")[2]


def _elements(value: JsonValue) -> list[JsonValue]:
    return [member for member in value if isinstance(member, dict)] if isinstance(value, list) else []


def _members(value: JsonValue) -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        return {}
    return {name: member for name, member in value.items() if isinstance(member, dict)}
