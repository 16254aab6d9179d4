"""Resolves the annotations of a callable, also those written as text, as forward references, or with a function's local names.

Law: never raises; an annotation that cannot be resolved is left out.
"""

from __future__ import annotations

import enum
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

import typing_extensions

if sys.version_info >= (3, 14):
    import annotationlib


def target_of(function: Callable[..., Any]) -> Any:
    """Return the function that holds the annotations and docstring of a callable.

    A partial is unwrapped, as is a decorated function. A class stands for its ``__init__``, another object for its
    ``__call__``.
    """
    if isinstance(function, functools.partial):
        return target_of(function.func)
    if inspect.isclass(function):
        return function.__init__
    if not inspect.isroutine(function):
        function = type(function).__call__
    try:
        return inspect.unwrap(function)
    except ValueError:  # it wraps itself
        return function


def hints_of(function: Callable[..., Any], scope: dict[str, Any] | None = None) -> tuple[dict[str, Any], bool]:
    """Return the resolved annotations by name, and True if all could be resolved. Includes ``return``; keeps ``Annotated``."""
    target = target_of(function)
    try:
        return typing.get_type_hints(target, localns=scope, include_extras=True), True
    except Exception:  # whatever evaluating an annotation raises
        pass
    hints: dict[str, Any] = {}
    # One by one, since get_type_hints fails as a whole if a single annotation cannot be resolved.
    for name, annotation in _written(target).items():
        holder = type("Holder", (), {"__annotations__": {name: annotation}})
        try:
            namespace = getattr(target, "__globals__", {})
            hints |= typing.get_type_hints(holder, globalns=namespace, localns=scope, include_extras=True)
        except Exception:
            continue
    return hints, False


def written_signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a callable with unresolved annotations. Raises TypeError or ValueError if it has no signature."""
    if sys.version_info >= (3, 14):
        return inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(function)


def _written(target: Any) -> dict[str, Any]:
    """Return the unresolved annotations of a function.

    Since Python 3.14, reading annotations evaluates them, and an unknown name raises. `Format.FORWARDREF` avoids that.
    """
    try:
        if sys.version_info >= (3, 14):
            return dict(annotationlib.get_annotations(target, format=annotationlib.Format.FORWARDREF))
        annotations = getattr(target, "__annotations__", None)
    except Exception:
        return {}
    return annotations if isinstance(annotations, dict) else {}


def scope_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the local names of the running calls around a function that is being defined inside another function."""
    module = getattr(target_of(function), "__globals__", None)
    frames = []
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals is module and frame.f_locals is not module:
            frames.append(frame.f_locals)
        frame = frame.f_back  # type: ignore[assignment]
    scope: dict[str, Any] = {}
    for names in reversed(frames):  # inner names hide outer ones
        scope |= names
    return scope


def adapt_annotation(annotation: Any) -> Any:
    """Adapt types that pydantic cannot read from JSON.

    These are literals of enum members and, before Python 3.12, `typing.TypedDict`, which is replaced by a
    `typing_extensions.TypedDict`.
    """
    if sys.version_info < (3, 12) and typing.is_typeddict(annotation):
        return _adapt_typed_dict(annotation)
    origin: Any = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is typing.Literal:
        return _adapt_literal(annotation, arguments)
    adapted = tuple(adapt_annotation(argument) for argument in arguments)
    if all(new is old for new, old in zip(adapted, arguments, strict=True)):
        return annotation
    if origin is typing.Annotated:
        return _annotated(adapted[0], annotation)
    union: tuple[Any, ...] = (typing.Union, types.UnionType)
    return typing.Union[adapted] if origin in union else origin[adapted]


def _adapt_literal(literal: Any, members: tuple[Any, ...]) -> Any:
    """Let a literal also accept the value of an enum member, as its JSON Schema does. Plain values take precedence."""
    named = [(member.value, member) for member in members if isinstance(member, enum.Enum)]
    if not named:
        return literal
    from pydantic import BeforeValidator  # takes 20 ms to import

    values = [(member, member) for member in members if not isinstance(member, enum.Enum)] + named

    def read(item: Any) -> Any:
        return next((member for value, member in values if type(value) is type(item) and value == item), item)

    return typing.Annotated[literal, BeforeValidator(read)]


def or_none(annotation: Any) -> Any:
    """Return the annotation with None allowed. The metadata of `Annotated` stays outermost."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _annotated(or_none(annotation.__origin__), annotation)
    return typing.Optional[annotation]  # noqa: UP045 (also accepts a string annotation, which | does not)


def _annotated(inner: Any, like: Any) -> Any:
    annotated: Any = typing.Annotated
    parts = (inner, *like.__metadata__)
    return annotated[parts]


def typed_dict_fields(annotation: Any) -> dict[str, tuple[Any, bool]]:
    """Return the members of a typed dict: the type of each, and True if it is required."""
    fields = {}
    for name, hint in typing_extensions.get_type_hints(annotation, include_extras=True).items():
        # The marker decides: if annotations are strings, `__required_keys__` ignores it.
        required = name in annotation.__required_keys__
        while typing_extensions.get_origin(hint) in _MARKERS:
            required = _MARKERS.index(typing_extensions.get_origin(hint)) == 0
            hint = typing_extensions.get_args(hint)[0]
        fields[name] = hint, required
    return fields


_MARKERS: tuple[Any, ...] = (typing_extensions.Required, typing_extensions.NotRequired)


@functools.lru_cache(maxsize=256)
def _adapt_typed_dict(annotation: Any) -> Any:
    fields = {}
    for name, (hint, required) in typed_dict_fields(annotation).items():
        # A typed dict that contains itself is not adapted, to end the recursion; pydantic then cannot describe it.
        adapted = hint if hint is annotation else adapt_annotation(hint)
        fields[name] = (typing_extensions.Required if required else typing_extensions.NotRequired)[adapted]
    return typing_extensions.TypedDict(annotation.__name__, fields)  # type: ignore[operator]
