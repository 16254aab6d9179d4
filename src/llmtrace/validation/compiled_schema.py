"""A compiled schema: one validator for the schema as written, one for its closed form with formats asserted.

The closed form forbids members that the schema does not list. Law: a value that fails the schema as written is an error, a
value that fails only the closed form a warning. A schema that cannot be used, or costs too much, is reported as a reason and
never raises. Nothing is fetched for a schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from types import ModuleType
from urllib.parse import unquote

from pydantic_core import from_json, to_json

from llmtrace.log_once import warn_once
from llmtrace.model import JsonValue
from llmtrace.validation.json_pointers import follow, steps
from llmtrace.validation.keywords import every_object
from llmtrace.validation.limits import MAX_VISITS, Limits, TooCostlyError, limits_of
from llmtrace.validation.schema_errors import INVALID, NOT_CHECKED, BrokenSchemaError, Engine, Fault

MAX_BYTES = 1 << 19
"""Length in bytes of the longest schema, as JSON, that is compiled."""

_MAX_PATTERNS = 200
"""Most patterns of a schema. Each takes up to 40 ms to compile."""


class Compiled:
    """A compiled schema. `passes` is the hot path. `problem` says why the schema cannot be used; empty if it can."""

    __slots__ = ("_closed", "_limits", "_passes_closed", "_passes_written", "_written", "problem", "schema")

    def __init__(self, text: bytes) -> None:
        self.problem = ""
        self.schema: JsonValue = None
        self._limits: Limits | None = None
        try:
            self._compile(text)
        except (BrokenSchemaError, TooCostlyError) as error:
            self.problem = str(error)
        except RecursionError:
            self.problem = "it is nested too deeply"

    def _compile(self, text: bytes) -> None:
        if len(text) > MAX_BYTES:
            raise BrokenSchemaError(f"it is longer than {MAX_BYTES >> 10} KiB")
        try:
            self.schema = from_json(text, allow_inf_nan=False)
        except ValueError as error:
            raise BrokenSchemaError("it is not JSON, or nested too deeply") from error
        if text.count(b'"pattern') > _MAX_PATTERNS:
            raise BrokenSchemaError(f"it has more than {_MAX_PATTERNS} patterns")
        self._limits = limits_of(self.schema, text)
        self._written, visits = compile_engine(self.schema, formats=False)
        if visits != MAX_VISITS:  # the slower engine affords less
            self._limits = limits_of(self.schema, text, budget=visits)
        self._passes_written = self._written.is_valid
        self._closed: Engine | None = None
        closed = close(self.schema)
        if closed is not self.schema or b'"format"' in text:
            self._closed, _ = compile_engine(closed, formats=True)
            self._passes_closed = self._closed.is_valid

    @property
    def is_schema(self) -> bool:
        """False if this is not a JSON Schema. A valid schema that cannot be used has a `problem`, but is a schema."""
        return not self.problem.startswith(INVALID)

    def passes(self, value: JsonValue) -> bool:
        """Return True if a value fits the closed form. False may have other reasons: call `faults` for the verdict."""
        if self.problem or (self._limits is not None and not self._limits.allow(value)):
            return False
        try:
            return bool(self._passes_written(value) and (self._closed is None or self._passes_closed(value)))
        except Exception:  # a value that is not JSON
            return False

    def faults(self, value: JsonValue) -> tuple[list[Fault], list[Fault], str]:
        """Return the faults against the schema as written, those against its closed form only, and why a value was not checked.

        The reason is empty if the value was checked.
        """
        if self.problem:
            return [], [], f"its schema cannot be used: {self.problem}"
        try:
            value = _as_json(value)
            if self._limits is not None and not self._limits.allow(value):
                return [], [], "it is too large or too deeply nested for its schema to be checked"
            written = self._written.faults(value)
            closed = self._closed.faults(value) if self._closed is not None else []
        except BrokenSchemaError as error:  # the Python engine resolves references only during a check
            return [], [], f"its schema cannot be used: {error}"
        except Exception as error:
            return [], [], f"it cannot be checked: {type(error).__name__}"
        keys = {(fault.keyword, fault.path, fault.names) for fault in written}
        return written, [fault for fault in closed if (fault.keyword, fault.path, fault.names) not in keys], ""

    def report(self, owner: str, faults: Iterable[Fault] = ()) -> None:
        """Log once that the schema cannot be used, or that one of its patterns cannot, according to ``faults``."""
        if self.problem:
            warn_once(f"{owner} goes unvalidated: its schema cannot be used: {self.problem}")
        elif _name_unusable_pattern(faults):
            warn_once(f"{owner} goes unvalidated in part: a pattern in its schema cannot be used")


def _name_unusable_pattern(faults: Iterable[Fault]) -> bool:
    """Return True if a fault names a pattern that no engine supports. A pattern that only took too long is not named."""
    return any(
        (fault.keyword == NOT_CHECKED and fault.limit is not None) or any(map(_name_unusable_pattern, fault.branches))
        for fault in faults
    )


def _as_json(value: JsonValue) -> JsonValue:
    """Return a copy of pure JSON types, without tuples, subclasses, keys that are not strings, and unpaired surrogates.

    Raises for cycles, and for nesting deeper than about 200 levels.
    """
    try:
        text = to_json(value, fallback=_named, inf_nan_mode="constants")
    except ValueError:
        text = json.dumps(value, ensure_ascii=False, default=_named).encode(errors="replace")
    return from_json(text)


def _named(value: object) -> str:
    return f"<{type(value).__name__}>"


@lru_cache(maxsize=512)
def compiled(text: bytes) -> Compiled:
    """Compile a schema from its JSON. Cached by that text, so equal dicts that a program rebuilds are compiled once."""
    return Compiled(text)


def compile_schema(schema: JsonValue) -> Compiled:
    """Compile any object that is meant as a schema. Never raises."""
    try:
        return compiled(to_json(schema, inf_nan_mode="constants"))
    except Exception:  # nested too deeply, cyclic, or not JSON
        return _NO_JSON


_NO_JSON = Compiled(b"")


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
"""Key that holds the closed copies of definitions. The originals stay, since other parts of the schema may refer to them."""


def close(schema: JsonValue) -> JsonValue:
    """Return the closed form as a new schema, or the same object if nothing is closed."""
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
        """Number of objects that were closed."""
        self.copies: dict[str, JsonValue] = {}
        self.names: dict[str, str] = {}
        """Names of the copies, by the references to their originals."""
        # A nested identifier changes the base of "#/…", and a copy would duplicate it: then no reference is followed.
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
        """Close the only branch that matters: X in ``anyOf: [X, null]``, or the single member of ``allOf``."""
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
            # The name is entered before closing, since a definition may refer to itself.
            self.names[reference] = name = str(len(self.names))
            self.copies[name] = self.close(target, root=reference == "#")
        return {**node, "$ref": f"#/{_HOME}/{self.names[reference]}"}


def _closable(node: dict[str, JsonValue], *, root: bool) -> bool:
    members = node.get("properties")
    if not isinstance(members, dict) or not _SPEAKS.isdisjoint(node):
        return False
    # At the root, empty properties mean a tool without parameters; deeper down, they mean a free-form object.
    if not members and not root:
        return False
    required = node.get("required")
    if isinstance(required, list) and not all(name in members for name in required):
        return False
    least = node.get("minProperties")
    return not (isinstance(least, int) and least > len(members))


_FALLBACK_VISITS = 50_000
"""Most subschemas that the slower validator applies during one check, at about 10 µs each."""


def load_rust_engine() -> ModuleType | None:
    """Return `rust_engine`, or None if jsonschema-rs has no wheel for this platform, or is too old to explain faults.

    A failure is not cached: a program that has run out of file descriptors may have one when the next schema is compiled.
    """
    try:
        from llmtrace.validation import rust_engine
    except ImportError:
        return None
    return rust_engine


def compile_engine(schema: JsonValue, *, formats: bool) -> tuple[Engine, int]:
    """Return a validator for a schema, and how many subschemas it may apply in one check. Raises `BrokenSchemaError`."""
    rust_engine = load_rust_engine()
    if rust_engine is not None:
        try:
            return rust_engine.compile_schema(schema, formats=formats), MAX_VISITS
        except rust_engine.OtherEngineError:
            pass
    # imported only when needed: jsonschema takes 100 ms to import, or a second with its extras
    from llmtrace.validation import python_engine

    return python_engine.compile_schema(schema, formats=formats), _FALLBACK_VISITS
