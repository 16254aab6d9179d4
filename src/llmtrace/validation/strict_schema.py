"""The closed form of a schema: objects that list members and do not mention others refuse others.

Law: only narrows: what the closed form takes, the schema as written takes. Free-form objects (no members listed), composed
ones (allOf, anyOf, not, if …) and what a reference cannot be followed to are left as they are; of alternatives only the
"this or null" pattern is entered.
"""

from __future__ import annotations

from urllib.parse import unquote

from llmtrace.model import JsonValue
from llmtrace.validation.json_pointers import follow, steps
from llmtrace.validation.keywords import every_object

_COMPOSED = frozenset(
    (
        *("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"),
        *("$ref", "$dynamicRef", "$recursiveRef"),
    )
)
_SPEAKS = frozenset(("additionalProperties", "unevaluatedProperties"))
_IDENTIFIERS = frozenset(("$id", "$anchor", "$dynamicAnchor"))
_NULL: JsonValue = {"type": "null"}
_HOME = "llmtrace:closed"
"""Key of the closed copies of definitions. The originals stay, since other parts of the schema may refer to them."""


def close(schema: JsonValue) -> JsonValue:
    """Return the closed form as a new schema, or the same object if it needs no change."""
    if not isinstance(schema, dict):
        return schema
    closing = _Closing(schema)
    closed = closing.close(schema, root=True)
    if not closing.closed:
        return schema
    return {**closed, _HOME: closing.copies} if closing.copies else closed


class _Closing:
    def __init__(self, root: dict[str, JsonValue]) -> None:
        self.root = root
        self.closed = 0
        """Objects that were closed."""
        self.copies: dict[str, JsonValue] = {}
        self.names: dict[str, str] = {}
        """Names of the copies, by the references to their originals."""
        # With an identifier inside, "#/…" may count from there, and a copy would repeat it: then no reference is followed.
        self.follows = all(_IDENTIFIERS.isdisjoint(node) for node in every_object(root) if node is not root)

    def close(self, node: JsonValue, *, root: bool = False) -> JsonValue:
        if not isinstance(node, dict):
            return node
        if _COMPOSED.isdisjoint(node):
            return self._plain(node, root=root)
        if "$ref" in node and _COMPOSED.isdisjoint(node.keys() - {"$ref"}) and "properties" not in node:
            return self._reference(node)
        for keyword in ("anyOf", "oneOf", "allOf"):
            if keyword in node and _COMPOSED.isdisjoint(node.keys() - {keyword}) and "properties" not in node:
                return self._wrapped(node, keyword)
        return node

    def _plain(self, node: dict[str, JsonValue], *, root: bool) -> dict[str, JsonValue]:
        changed: dict[str, JsonValue] = {}
        for keyword in ("properties", "patternProperties"):
            members = node.get(keyword)
            if isinstance(members, dict):
                changed[keyword] = {name: self.close(member) for name, member in members.items()}
        for keyword in ("items", "additionalProperties", "additionalItems"):
            if isinstance(node.get(keyword), dict):
                changed[keyword] = self.close(node[keyword])
        for keyword in ("items", "prefixItems"):
            if isinstance(node.get(keyword), list):
                changed[keyword] = [self.close(element) for element in node[keyword]]
        if _closable(node, root=root):
            self.closed += 1
            changed["additionalProperties"] = False
        return {**node, **changed} if any(changed[keyword] != node.get(keyword) for keyword in changed) else node

    def _wrapped(self, node: dict[str, JsonValue], keyword: str) -> dict[str, JsonValue]:
        """``anyOf: [X, null]``, and allOf with one member, say no more than X does."""
        branches = node[keyword]
        if not isinstance(branches, list):
            return node
        meant = [branch for branch in branches if branch != _NULL]
        if len(meant) != 1 or (keyword == "allOf" and len(branches) != 1):
            return node
        closed = [self.close(branch) if branch is meant[0] else branch for branch in branches]
        return {**node, keyword: closed} if closed != branches else node

    def _reference(self, node: dict[str, JsonValue]) -> dict[str, JsonValue]:
        reference = node["$ref"]
        if not self.follows or not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            return node
        if reference not in self.names:
            try:
                target = follow(self.root, steps(unquote(reference)))
            except (LookupError, TypeError, ValueError):
                return node
            # Named before it is closed, for a definition that refers to itself.
            self.names[reference] = name = str(len(self.names))
            self.copies[name] = self.close(target, root=reference == "#")
        return {**node, "$ref": f"#/{_HOME}/{self.names[reference]}"}


def _closable(node: dict[str, JsonValue], *, root: bool) -> bool:
    members = node.get("properties")
    if not isinstance(members, dict) or not _SPEAKS.isdisjoint(node):
        return False
    # A tool without parameters lists none and means it; deeper down, an empty list is a free-form object.
    if not members and not root:
        return False
    required = node.get("required")
    if isinstance(required, list) and not all(name in members for name in required):
        return False
    least = node.get("minProperties")
    return not (isinstance(least, int) and least > len(members))
