"""A Python function as a tool: its definition, and the conversion of JSON arguments to a call and back.

Law: never raises for any callable, only for a ``schema`` that is not a schema. A callable without a signature accepts any
object, and a parameter without a usable annotation accepts any value. A value that cannot be converted is passed on unchanged.
"""

from __future__ import annotations

import functools
import inspect
import re
import reprlib
from collections.abc import Callable, Mapping
from inspect import _ParameterKind as Kind
from typing import TYPE_CHECKING, Any

from llmtrace.errors import ConfigurationError
from llmtrace.locks import importing, lazy_property
from llmtrace.model import JsonValue, ToolDefinition, replace
from llmtrace.validation.annotations import hints_of, scope_of, target_of, written_signature
from llmtrace.validation.docstrings import Docstring, parse_docstring
from llmtrace.validation.tool_definitions import is_definition, may_have_schema, read_definition, type_schema, unusable_member

if TYPE_CHECKING:  # these import pydantic, which takes 70 ms; functions that are not tools do not need it
    from llmtrace.validation.parameters import Parameter, Refusal

_POSITIONAL = (Kind.POSITIONAL_ONLY, Kind.POSITIONAL_OR_KEYWORD)


class Signature:
    """A function as a tool. Annotations are resolved on first use, so that they may name classes defined later."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        schema: type | Mapping[str, JsonValue] | None = None,
        strict: bool = False,
        changes: bool | None = None,
        polls: bool = False,
        trusted: bool | None = None,
    ) -> None:
        """``name`` and ``description``: default, the function's name and its docstring up to the first section.

        ``schema``: a JSON Schema of the parameters, a pydantic model or other type, or a provider's tool definition; default,
        derived from the signature. ``strict``: arguments that break only the closed form or a format are an error. ``changes``,
        ``polls`` and ``trusted``: see `ToolDefinition`. Raises `ConfigurationError` if ``schema``, or a schema in the
        definition, is not a JSON Schema.
        """
        self.function = function
        self._name = name
        self._description = description
        self._schema = schema
        self._strict = strict
        self._changes, self._polls, self._trusted = changes, polls, trusted
        self._signature, self.has_receiver = _inspect(function)
        """``has_receiver``: True for a function of a class whose first parameter is the object (``self``) or the class."""
        _refuse_no_schema(schema, name or _name_of(function))
        self._hints, resolved = hints_of(function)
        if not resolved:  # the names may be local to where the function is being defined
            self._hints, resolved = hints_of(function, scope_of(function))
        self._resolved = resolved
        parameters = self._signature.parameters.values() if self._signature else ()
        self._positional = tuple(parameter.name for parameter in parameters if parameter.kind in _POSITIONAL)
        self._rest = next((parameter.name for parameter in parameters if parameter.kind is Kind.VAR_POSITIONAL), "args")

    @lazy_property
    def definition(self) -> ToolDefinition:
        """The tool's definition for the model. A derived schema is closed, unless the function has ``**kwargs``."""
        docstring = parse_docstring(_doc_of(self.function))
        provided = self._provided
        definition = ToolDefinition(
            name=self._name or (provided.name if provided else "") or _name_of(self.function),
            parameters=self._parameter_schema(docstring) if provided is None else provided.parameters,
            description=self._description or (provided.description if provided else None) or docstring.description or None,
            strict=self._strict or (provided is not None and provided.strict),
            output=provided.output if provided else None,
            cache={},
            changes=provided.changes if provided and self._changes is None else self._changes,
            polls=self._polls or (provided is not None and provided.polls),
            trusted=provided.trusted if provided and self._trusted is None else self._trusted,
        )
        target = target_of(self.function)
        is_stream = inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target)
        if definition.output is None and not is_stream:
            with importing:
                from llmtrace.validation.result_schema import result_schema

            definition = replace(definition, output=result_schema(self._annotations.get("return", inspect.Parameter.empty)))
        return definition

    def bind(
        self, arguments: Mapping[str, JsonValue], refusals: list[Refusal] | None = None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Convert JSON arguments to the positional and named arguments of a call, each of its annotated type.

        The receiver of a method is not included. Missing and unexpected arguments are left to Python, which raises TypeError.
        ``refusals``: a list to which refusals by the program's own validators are added; such values are passed on unchanged.
        """
        if self._signature is None:
            return (), dict(arguments)
        if self._takes_all is not None:
            return (self._takes_all.convert(dict(arguments), refusals, ()),), {}
        remaining: dict[str, Any] = self._by_model(arguments, refusals)
        by_position: list[Any] = []
        named: dict[str, Any] = {}
        spread = any(parameter.kind is Kind.VAR_POSITIONAL and remaining.get(parameter.name) for parameter in self._parameters)
        reached = True
        for parameter in self._parameters:
            if parameter.kind is Kind.VAR_POSITIONAL:
                items = remaining.pop(parameter.name, [])
                items = items if isinstance(items, (list, tuple)) else [items]
                by_position += [parameter.convert(item, refusals, (parameter.name, at)) for at, item in enumerate(items)]
            elif parameter.kind is Kind.VAR_KEYWORD:
                named |= {name: parameter.convert(remaining.pop(name), refusals, (name,)) for name in list(remaining)}
            elif parameter.kind is Kind.POSITIONAL_ONLY or (spread and parameter.kind is Kind.POSITIONAL_OR_KEYWORD):
                # Python passes these by position, so after a missing one without default, no other can follow.
                reached = reached and (parameter.name in remaining or parameter.has_default)
                if reached:
                    by_position.append(_take_argument(parameter, remaining, refusals))
            elif parameter.name in remaining or parameter.field is not None:
                named[parameter.name] = _take_argument(parameter, remaining, refusals)
        return tuple(by_position), {**named, **remaining}

    def without_receiver(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, bound: bool
    ) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """Return the arguments of a call without ``self`` or ``cls``.

        ``bound``: the method was looked up on its object. This is False if another decorator (``property``, ``lru_cache``)
        wraps ours: it calls our stand-in as a function, with the object as first argument.
        """
        if bound or not self.has_receiver:
            return args, kwargs
        if args:
            return args[1:], kwargs
        return args, {name: argument for name, argument in kwargs.items() if name not in ("self", "cls")}

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a direct call by parameter name, without defaults. Never raises.

        ``args``: without the receiver of a method. Extra ones are listed under the name of the ``*args`` parameter.
        """
        if self._signature is not None and self._takes_all is not None and len(args) + len(kwargs) == 1:
            whole = args[0] if args else next(iter(kwargs.values()))
            with importing:
                from pydantic import BaseModel

            if isinstance(whole, BaseModel):
                return {name: getattr(whole, name) for name in type(whole).model_fields if name in whole.model_fields_set}
            if isinstance(whole, Mapping):
                return dict(whole)
        arguments = dict(zip(self._positional, args, strict=False))
        if len(args) > len(self._positional):
            arguments[self._rest] = list(args[len(self._positional) :])
        arguments.update(kwargs)
        return arguments

    @lazy_property
    def defaults(self) -> dict[str, Any]:
        """Default values by parameter name. Parameters without a default are left out."""
        known = {} if self._signature is None or self._takes_all is not None else self._signature.parameters
        return {name: one.default for name, one in known.items() if one.default is not one.empty}

    @lazy_property
    def _annotations(self) -> dict[str, Any]:
        return self._hints if self._resolved else {**self._hints, **hints_of(self.function)[0]}

    @lazy_property
    def _parameters(self) -> tuple[Parameter, ...]:
        with importing:
            from llmtrace.validation.parameters import parameters_of

        return parameters_of(self._signature, self._annotations) if self._signature is not None else ()

    @lazy_property
    def _provided(self) -> ToolDefinition | None:
        """The definition from ``schema=``, or None if the definition is derived."""
        schema = self._schema
        if schema is None:
            return None
        if isinstance(schema, Mapping):
            return read_definition(schema) if is_definition(schema) else ToolDefinition("", dict(schema))
        return ToolDefinition("", type_schema(schema))

    @lazy_property
    def _takes_all(self) -> Parameter | None:
        """The only parameter, if ``schema=`` has no member of its name: it takes all arguments as one object. Else None."""
        if self._provided is None or len(self._parameters) != 1:
            return None
        only = self._parameters[0]
        schema = self._provided.parameters
        members = schema.get("properties") if isinstance(schema, Mapping) else None
        if only.kind not in _POSITIONAL or not isinstance(members, Mapping) or only.name in members:
            return None
        return only

    def _by_model(self, arguments: Mapping[str, JsonValue], refusals: list[Refusal] | None) -> dict[str, Any]:
        """Convert the arguments with the model from ``schema=``. Returns them unchanged without a model, or if it refuses."""
        model = self._model
        if model is None:
            return dict(arguments)
        try:
            instance = model.model_validate(dict(arguments))
        except Exception as error:
            if refusals is not None:
                with importing:
                    from llmtrace.validation.parameters import refusals_of

                refusals += refusals_of(error, dict(arguments), ())
            return dict(arguments)
        return {name: getattr(instance, name) for name in type(instance).model_fields if name in instance.model_fields_set}

    @lazy_property
    def _model(self) -> Any:
        """The pydantic model from ``schema=``, or None."""
        with importing:
            from pydantic import BaseModel

        return self._schema if isinstance(self._schema, type) and issubclass(self._schema, BaseModel) else None

    @lazy_property
    def has_validators(self) -> bool:
        """True if the types of the parameters may refuse arguments that fit the schema."""
        if self._model is not None:
            with importing:
                from llmtrace.validation.parameters import has_validators

            return has_validators(self._model.__pydantic_core_schema__)
        return any(parameter.has_validators for parameter in self._parameters)

    @property
    def takes_all(self) -> bool:
        """True if the only parameter takes the arguments as one object."""
        return self._signature is not None and self._takes_all is not None

    def _parameter_schema(self, docstring: Docstring) -> JsonValue:
        if self._signature is None:
            return {"type": "object"}
        with importing:
            from llmtrace.validation.parameters import object_schema

        return object_schema(self._parameters, docstring.parameters)


def _refuse_no_schema(schema: Any, name: str) -> None:
    wanted = "a JSON Schema as a dict, a pydantic model or other type, or a provider's tool definition"
    if isinstance(schema, Mapping):
        member = unusable_member(schema) if is_definition(schema) else None
        if member is not None:
            raise ConfigurationError(
                f"tool {name!r}: {member!r} in the definition given as schema= is not a JSON Schema. Give a dict"
            )
    elif isinstance(schema, (str, bytes)):
        raise ConfigurationError(f"tool {name!r}: schema= is text. Give {wanted}, as json.loads() makes of text")
    elif schema is not None and not may_have_schema(schema):
        raise ConfigurationError(f"tool {name!r}: schema={reprlib.repr(schema)} is not a schema. Give {wanted}")


def _inspect(function: Callable[..., Any]) -> tuple[inspect.Signature | None, bool]:
    try:
        signature = written_signature(function)
    except (TypeError, ValueError):
        return None, False
    parameters = list(signature.parameters.values())
    home = getattr(target_of(function), "__qualname__", "").rpartition(".")[0]
    in_class = bool(home) and not home.endswith("<locals>") and inspect.isfunction(function)
    if in_class and parameters and parameters[0].name in ("self", "cls") and parameters[0].kind in _POSITIONAL:
        return signature.replace(parameters=parameters[1:]), True
    return signature, False


def _take_argument(parameter: Parameter, remaining: dict[str, Any], refusals: list[Refusal] | None) -> Any:
    if parameter.name in remaining:
        return parameter.convert(remaining.pop(parameter.name), refusals)
    return parameter.filled()


def _name_of(function: Callable[..., Any]) -> str:
    """Return the function's name in a form that providers accept: letters, digits, underscores and dashes, 64 at most."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    return re.sub(r"[^a-zA-Z0-9_-]+", "_", name).strip("_")[:64] or "tool"


def _doc_of(function: Callable[..., Any]) -> str | None:
    while isinstance(function, functools.partial):
        function = function.func
    doc = function.__doc__
    return doc if isinstance(doc, str) else None
