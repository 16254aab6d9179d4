"""What a tool's definition says of a value: that it may be chosen freely, or that it is shown as an example.

Enum members, constants and defaults of the schema, and values of boolean type, are no facts that could be made up. What only
stands in a description or among ``examples`` is there to show the form: a model that sends it sends the example.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from llmtrace.lineage.arguments import Path, name_of, pointer_of_path
from llmtrace.lineage.sources import Source
from llmtrace.lineage.values import Value
from llmtrace.model import JsonValue, ToolDefinition

DEEPEST = 24
_LISTING = frozenset({"enum", "const", "default"})
_COMPOSING = frozenset({"anyOf", "oneOf", "allOf", "$ref"})
_CACHED = "llmtrace.lineage.examples"
_PATHS = "llmtrace.lineage.paths"
_MOST_PATHS = 256


class Argument:
    """A place in the arguments of a tool, and what its definition says of it. Made once for each definition."""

    __slots__ = ("listing", "name", "path", "place", "pointer", "told")

    def __init__(self, tool: str, path: Path, schemas: Sequence[Mapping[str, Any]] | None) -> None:
        """``schemas``: those that apply to the place; None where the tool's definition is not known."""
        self.path = path
        self.name = name_of(path)
        self.pointer = pointer_of_path(path)
        self.place = f"argument {self.pointer} of {tool}"
        """For people."""
        if schemas is None:
            self.told = "an argument of a tool"
        else:
            self.told = f"{self.pointer if schemas or not path else 'an argument'} of {tool}"
        """The same in the program's words alone: names that no definition has were chosen by the model."""
        self.listing = [schema for schema in schemas or () if not _LISTING.isdisjoint(schema)]
        """Those that list a value."""

    def may_choose(self, value: JsonValue) -> bool:
        """True if the schema lists the value itself: as enum member, constant or default."""
        return bool(self.listing) and any(_lists(schema, value) for schema in self.listing)


def argument(definition: ToolDefinition | None, tool: str, path: Path) -> Argument:
    """The place at a path. ``definition``: None where it is not known."""
    if definition is None:
        return Argument(tool, path, None)
    cache, schema = definition.cache, definition.parameters
    if cache is None:
        return Argument(tool, path, tuple(_at(schema, schema, path, 0)))
    known: dict[Path, Argument] | None = cache.get(_PATHS)
    if known is None:
        known = cache[_PATHS] = {}
    found = known.get(path)
    if found is None:
        if len(known) >= _MOST_PATHS:
            known.clear()
        found = known[path] = Argument(tool, path, tuple(_at(schema, schema, path, 0)))
    return found


def _lists(schema: Mapping[str, Any], value: JsonValue) -> bool:
    listed = schema.get("enum")
    if isinstance(listed, list) and value in listed:
        return True
    return any(word in schema and schema[word] == value for word in ("const", "default"))


def _at(root: JsonValue, schema: JsonValue, path: Sequence[str | int], depth: int) -> Iterator[Mapping[str, Any]]:
    """Every schema that applies at a path, through references and alternatives."""
    if not isinstance(schema, Mapping) or depth > DEEPEST:
        return
    if not path:
        yield schema
    if not _COMPOSING.isdisjoint(schema):
        for word in ("anyOf", "oneOf", "allOf"):
            for alternative in _list(schema.get(word)):
                yield from _at(root, alternative, path, depth + 1)
        if "$ref" in schema:
            yield from _at(root, _resolve(root, schema["$ref"]), path, depth + 1)
    if path:
        yield from _at(root, _member(schema, path[0]), path[1:], depth + 1)


def _member(schema: Mapping[str, Any], name: str | int) -> JsonValue:
    if isinstance(name, str):
        properties = schema.get("properties")
        return properties.get(name) if isinstance(properties, Mapping) else None
    first = _list(schema.get("prefixItems"))
    return first[name] if name < len(first) else schema.get("items")


def _resolve(root: JsonValue, reference: JsonValue) -> JsonValue:
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    target = root
    for name in reference[2:].split("/"):
        target = target.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(target, Mapping) else None
    return target


def _list(value: JsonValue) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def shows(definition: ToolDefinition, value: Value) -> bool:
    """True if the value stands somewhere in the definition's descriptions, examples or schema."""
    cache = definition.cache
    shown: frozenset[str] | None = None if cache is None else cache.get(_CACHED)
    if shown is None:
        shown = _examples(definition)
        if cache is not None:
            cache[_CACHED] = shown
    return not shown.isdisjoint(value.keys)


def _examples(definition: ToolDefinition) -> frozenset[str]:
    """The keys of all values in it."""
    texts = (definition.description or "", _schema_text(definition.parameters))
    sources = [Source("", "definition", text) for text in texts if text]
    return frozenset().union(*(source.word_keys() | source.date_keys() for source in sources))


def _schema_text(schema: JsonValue) -> str:
    try:
        return to_json(schema).decode() if schema is not None else ""
    except Exception:  # what is no JSON shows no examples
        return ""
