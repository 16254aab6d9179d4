"""Function parameters as members of a JSON object: their schemas, and the conversion of JSON values to their types.

Law: never raises. A type that pydantic cannot describe gets the open schema ``{}``. A value that it cannot convert is passed on
unchanged, and a `Refusal` says why.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable
from typing import Any, TypeAlias, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, ValidationError, from_json, to_json
from typing_extensions import Unpack, is_typeddict

from llmtrace.model import JsonValue
from llmtrace.model.value import value as value_class
from llmtrace.validation.annotations import adapt_annotation, or_none, typed_dict_fields

Kind: TypeAlias = inspect._ParameterKind
MISSING: Any = inspect.Parameter.empty
OMITTED: Any = object()
"""Marks a member that is optional and has no default."""

_DESCRIBED = frozenset(
    (
        *("any", "none", "bool", "int", "float", "str", "literal", "enum", "list", "tuple", "set", "frozenset", "dict"),
        *("nullable", "default", "union", "tagged-union", "definitions", "definition-ref", "model", "model-field"),
        *("model-fields", "dataclass", "dataclass-args", "dataclass-field", "typed-dict", "typed-dict-field"),
    )
)
"""Kinds of pydantic's core schemas that JSON Schema describes fully: they accept every value that fits the schema."""
_INNER = (
    *("schema", "items_schema", "keys_schema", "values_schema", "extras_schema", "fields", "choices", "definitions"),
    *("steps", "lax_schema", "strict_schema", "json_schema", "python_schema"),
)


@value_class
class Refusal:
    """A value that the type of a parameter refuses."""

    path: tuple[str | int, ...]
    """Path from the arguments to the value."""
    reason: str
    """The validator's message; it may quote the value."""
    got: JsonValue
    error: str
    """Class of the exception, as ``module.Class``."""


class Parameter:
    """A parameter of a function. ``adapter`` is None if pydantic does not support its type."""

    __slots__ = ("adapter", "annotation", "default", "description", "field", "has_validators", "kind", "name")

    def __init__(self, name: str, kind: Kind, annotation: Any, default: Any) -> None:
        self.field = default if isinstance(default, FieldInfo) and not default.is_required() else None
        """Set for ``amount: int = Field(5)``, since Python would pass the `FieldInfo` itself as default."""
        if isinstance(default, FieldInfo):
            annotation = typing.Annotated[Any if annotation is MISSING else annotation, default]
            default = MISSING if default.is_required() else default.default
            default = OMITTED if default is PydanticUndefined else default
        if default is None and annotation is not MISSING:  # ``limit: int = None`` also accepts None
            annotation = or_none(annotation)
        self.name = name
        self.kind = kind
        self.annotation = annotation
        self.default = default
        self.description = _description_in(annotation)
        self.adapter = None if annotation is MISSING else adapter_of(annotation)
        self.has_validators = self.adapter is not None and has_validators(self.adapter.core_schema)
        """True if the type may refuse a value that its JSON Schema accepts."""

    @property
    def required(self) -> bool:
        return self.default is MISSING and self.kind not in (Kind.VAR_POSITIONAL, Kind.VAR_KEYWORD)

    @property
    def has_default(self) -> bool:
        return self.field is not None or (self.default is not MISSING and self.default is not OMITTED)

    def filled(self) -> Any:
        """Return the value that a call without this argument gets."""
        return self.default if self.field is None else self.field.get_default(call_default_factory=True)

    def convert(
        self, value: JsonValue, refusals: list[Refusal] | None = None, path: tuple[str | int, ...] | None = None
    ) -> Any:
        """Convert a JSON value to the annotated type. Returns the value unchanged if that fails.

        ``refusals``: a list to which the reasons for a failure are added. ``path``: from the arguments to the value; default,
        the parameter's name.
        """
        if self.adapter is None or type(value) is self.annotation:
            return value
        try:
            return self.adapter.validate_python(value)
        except Exception:
            pass
        try:  # strict types accept more from JSON text than from Python values, such as a string for a date
            return self.adapter.validate_json(to_json(value))
        except Exception as error:
            if refusals is not None and self.has_validators:
                refusals += refusals_of(error, value, (self.name,) if path is None else path)
            return value


def refusals_of(error: Exception, value: JsonValue, path: tuple[str | int, ...]) -> list[Refusal]:
    """Turn an exception of a validator into refusals of parts of ``value``. Skips missing members: the schema reports those."""
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    if not isinstance(error, ValidationError):
        return [Refusal(path, f"its validator failed with {type(error).__qualname__}", value, name)]
    refusals: list[Refusal] = []
    for problem in error.errors(include_url=False, include_context=False):
        if problem["type"] != "missing":
            steps, got = _find(value, problem["loc"])
            reason = problem["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
            refusals.append(Refusal((*path, *steps), reason, got, name))
    return refusals


def _find(value: JsonValue, location: tuple[str | int, ...]) -> tuple[list[str | int], JsonValue]:
    """Return the path to a value and the value. Skips the alternatives and validators in pydantic's ``location``."""
    path: list[str | int] = []
    for step in location:
        is_member = isinstance(value, dict) and step in value
        if is_member or (isinstance(value, list) and isinstance(step, int) and step < len(value)):
            path.append(step)
            value = value[step]
    return path, value


def has_validators(core_schema: Any) -> bool:
    """Return True if pydantic may refuse a value that fits the JSON Schema, as custom validators of the program may."""
    waiting = [core_schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (list, tuple)):
            waiting += node
        elif isinstance(node, dict):
            kind = node.get("type")
            if isinstance(kind, str) and (kind not in _DESCRIBED or node.get("post_init") or node.get("custom_init")):
                return True
            waiting += node.values() if not isinstance(kind, str) else [node[name] for name in _INNER if name in node]
    return False


def parameters_of(signature: inspect.Signature, hints: dict[str, Any]) -> tuple[Parameter, ...]:
    """Return the parameters of a signature. ``**kwargs: Unpack[SomeTypedDict]`` becomes one parameter for each member."""
    parameters: list[Parameter] = []
    for parameter in signature.parameters.values():
        annotation = hints.get(parameter.name, MISSING)
        members = get_args(annotation)[0] if get_origin(annotation) is Unpack else None
        if parameter.kind is Kind.VAR_KEYWORD and members is not None and is_typeddict(members):
            for name, (member, required) in typed_dict_fields(members).items():
                parameters.append(Parameter(name, Kind.KEYWORD_ONLY, member, MISSING if required else OMITTED))
        else:
            parameters.append(Parameter(parameter.name, parameter.kind, annotation, parameter.default))
    return tuple(parameters)


def object_schema(parameters: Iterable[Parameter], descriptions: dict[str, str]) -> dict[str, JsonValue]:
    """Return the schema of the object that holds the parameters. ``descriptions``: from the docstring, by parameter."""
    parameters = tuple(parameters)
    inputs = [(parameter.name, "validation", parameter.adapter) for parameter in parameters if parameter.adapter is not None]
    described, shared = TypeAdapter.json_schemas(inputs)  # type: ignore[arg-type]
    schemas: dict[str, Any] = {name: schema for (name, _), schema in described.items()}
    rest: JsonValue = False
    properties: dict[str, JsonValue] = {}
    for parameter in parameters:
        schema = schemas.get(parameter.name, {})
        if parameter.kind is Kind.VAR_KEYWORD:
            rest = schema or True
            continue
        if parameter.kind is Kind.VAR_POSITIONAL:
            schema = {"type": "array", "items": schema}
        properties[parameter.name] = _described(parameter, dict(schema), descriptions)
    members_schema: dict[str, JsonValue] = {"type": "object", "properties": properties}
    if required := [parameter.name for parameter in parameters if parameter.required]:
        members_schema["required"] = required
    members_schema["additionalProperties"] = rest
    return {**members_schema, **({"$defs": shared["$defs"]} if shared.get("$defs") else {})}


def adapter_of(annotation: Any) -> TypeAdapter[Any] | None:
    """Return pydantic's adapter for a type, or None if pydantic cannot parse and describe the type."""
    try:
        adapter = TypeAdapter(adapt_annotation(annotation))
        adapter.json_schema()
    except Exception:
        return None
    return adapter


def _described(parameter: Parameter, schema: dict[str, JsonValue], descriptions: dict[str, str]) -> dict[str, JsonValue]:
    # Precedence: the schema's own description, the one beside the parameter, the docstring.
    description = schema.get("description") or parameter.description or descriptions.get(parameter.name)
    if description:
        schema["description"] = description
    if "default" not in schema and parameter.default is not MISSING and parameter.default is not OMITTED:
        default, adapter = parameter.default, parameter.adapter
        try:
            schema["default"] = (
                from_json(to_json(default)) if adapter is None else adapter.dump_python(default, mode="json", warnings="error")
            )
        except Exception:  # a default that is not JSON is left out
            pass
    return schema


def _description_in(annotation: Any) -> str | None:
    """Return a description from the metadata: plain text, ``Annotated[str, "the id"]``, or a documentation marker."""
    for metadata in getattr(annotation, "__metadata__", ()):
        if isinstance(metadata, str):
            return metadata
        documentation = getattr(metadata, "documentation", None)
        if isinstance(documentation, str):
            return documentation
    return None
