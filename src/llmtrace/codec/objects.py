"""Writes what a tool returned or raised as JSON for a replay, and restores the Python objects.

Supported are plain JSON values, tuples, sets, bytes, dates, enums, exceptions, and classes that only contain data: pydantic
models, dataclasses, named tuples, classes derived from ``str``, ``int`` or ``float``, and requests and responses of ``httpx``.
Such an object is written as ``{"$class": name, "$holds": content}``.

Laws: `load` only creates objects of classes that the program has loaded. It imports nothing and runs neither a constructor nor
a validator of the class. `dump` raises if the object could not be restored completely.
"""

from __future__ import annotations

import builtins
import dataclasses
import enum
import json
import math
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final, NamedTuple
from uuid import UUID

from llmtrace.model import JsonValue

CLASS: Final = "$class"
_CONTENT: Final = "$holds"
_MAX_DEPTH = 60
_PLAIN = frozenset({str, int, bool, type(None)})
_TEXTS: dict[type, tuple[Callable[[Any], str], Callable[[str], Any]]] = {
    bytes: (lambda value: b64encode(value).decode(), b64decode),
    datetime: (datetime.isoformat, datetime.fromisoformat),
    date: (date.isoformat, date.fromisoformat),
    time: (time.isoformat, time.fromisoformat),
    timedelta: (lambda value: repr(value.total_seconds()), lambda text: timedelta(seconds=float(text))),
    UUID: (str, UUID),
    Decimal: (str, Decimal),
}
"""Classes whose objects are written as one text, with the functions that write and read it."""


class NotSerializable(TypeError):
    """An object that could not be restored from JSON. The message is the name of its class."""


def dump(value: Any) -> JsonValue:
    """Return the object as JSON. Raises `NotSerializable`."""
    return _dump(value, 0)


def load(value: JsonValue) -> Any:
    """Restore the object that `dump` wrote. Raises any exception if it cannot be restored."""
    if isinstance(value, list):
        return [load(item) for item in value]
    if not isinstance(value, dict):
        return value
    name = value.get(CLASS)
    if name is None:
        return {key: load(item) for key, item in value.items()}
    return _restore(str(name), load(value[_CONTENT]))


def fields_of(value: Any) -> Any:
    """Return the fields of an object in the JSON of `dump`, without restoring it. Other JSON is returned unchanged."""
    content = value[_CONTENT] if isinstance(value, dict) and CLASS in value else value
    return content["__dict__"] if isinstance(content, dict) and "__pydantic_fields_set__" in content else content


def class_name(kind: type) -> str:
    """``module.Class``."""
    return f"{kind.__module__}.{kind.__qualname__}"


def _loaded_class(name: str) -> Any:
    """Return the class with this name if the program has loaded it, else None. Imports nothing."""
    parts = name.split(".")
    for length in range(len(parts) - 1, -1, -1):
        member: Any = sys.modules.get(".".join(parts[:length])) if length else builtins
        if member is not None:
            for part in parts[length:]:
                member = vars(member).get(part) if hasattr(member, "__dict__") else None
            return member if isinstance(member, type) else None
    return None


# -- writing and reading


def _dump(value: Any, depth: int) -> Any:
    kind: Any = type(value)
    if kind in _PLAIN or (kind is float and math.isfinite(value)):
        return value
    if depth > _MAX_DEPTH:
        raise NotSerializable(class_name(kind))
    depth += 1
    if kind is list:
        return [_dump(item, depth) for item in value]
    if kind is dict:
        if CLASS not in value and all(type(key) is str for key in value):
            return {key: _dump(item, depth) for key, item in value.items()}
        return _object("dict", [[_dump(key, depth), _dump(item, depth)] for key, item in value.items()])
    if kind in (tuple, set, frozenset):
        items = [_dump(item, depth) for item in value]
        return _object(kind.__name__, items if kind is tuple else sorted(items, key=json.dumps))
    if kind in _TEXTS:
        return _object(class_name(kind), _TEXTS[kind][0](value))
    form = _form(kind)
    if form is None or _loaded_class(class_name(kind)) is not kind:  # the second: a class that a function defined, for example
        raise NotSerializable(class_name(kind))
    return _object(class_name(kind), _dump(form.write(value), depth))


def _object(name: str, content: Any) -> dict[str, Any]:
    return {CLASS: name, _CONTENT: content}


_BUILTINS: Final[dict[str, Callable[[Any], Any]]] = {
    **{kind.__name__: kind for kind in (dict, tuple, set, frozenset)},
    **{class_name(kind): read for kind, (_, read) in _TEXTS.items()},
}
"""Functions that restore objects of Python's own classes, by class name."""


def _restore(name: str, content: Any) -> Any:
    if name in _BUILTINS:
        return _BUILTINS[name](content)
    kind = _loaded_class(name)
    form = None if kind is None else _form(kind)
    if form is None:
        raise NotSerializable(name)
    return form.read(kind, content)


class _Form(NamedTuple):
    """How one family of classes is written."""

    matches: Callable[[Any], bool]
    """Tells whether a class belongs to the family."""
    write: Callable[[Any], Any]
    """Returns the content of an object."""
    read: Callable[[Any, Any], Any]
    """Restores an object from its class and content."""


def _form(kind: Any) -> _Form | None:
    return next((form for form in _FORMS if form.matches(kind)), None)


# -- exceptions


def _write_exception(error: BaseException) -> dict[str, Any]:
    """Return what the built-in base class stores. This works whatever constructor the class has."""
    _, arguments, *state = _builtin_base(type(error)).__reduce__(error)
    return {"args": arguments, "attributes": dict(state[0]) if state and state[0] else {}}


def _read_exception(kind: Any, content: Any) -> Any:
    base = _builtin_base(kind)
    error = base.__new__(kind, *content["args"])
    base.__init__(error, *content["args"])
    error.__setstate__(content["attributes"] or None)
    return error


def _builtin_base(kind: Any) -> Any:
    """Return the nearest built-in base class."""
    return next(base for base in kind.__mro__ if base.__module__ == "builtins")


def _write_validation_error(error: Any) -> dict[str, Any]:
    details = [
        {name: detail[name] for name in ("type", "loc", "input", "ctx") if name in detail}
        for detail in error.errors(include_url=False)
    ]
    return {"title": error.title, "errors": details}


# -- data


def _write_data(value: Any) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(value)]
    if hasattr(value, "__dict__") and vars(value).keys() - {*names}:
        raise NotSerializable(class_name(type(value)))  # it has attributes beside its fields
    return {name: getattr(value, name) for name in names}


def _read_data(kind: Any, content: Any) -> Any:
    instance = object.__new__(kind)
    for field in dataclasses.fields(kind):
        object.__setattr__(instance, field.name, content[field.name])  # also if the dataclass is frozen
    return instance


def _write_scalar(value: Any) -> dict[str, Any]:
    base = _builtin_base(type(value))
    return {"value": base.__getnewargs__(value)[0], "attributes": getattr(value, "__dict__", {})}


def _read_scalar(kind: Any, content: Any) -> Any:
    scalar = _builtin_base(kind).__new__(kind, content["value"])
    if content["attributes"]:
        vars(scalar).update(content["attributes"])
    return scalar


_MODEL = ("__dict__", "__pydantic_extra__", "__pydantic_private__")


def _write_model(value: Any) -> dict[str, Any]:
    return {**{name: getattr(value, name) for name in _MODEL}, "__pydantic_fields_set__": {*value.__pydantic_fields_set__}}


def _read_model(kind: Any, content: Any) -> Any:
    model = kind.__new__(kind)
    for name in (*_MODEL, "__pydantic_fields_set__"):
        object.__setattr__(model, name, content[name])
    return model


def _is_model(kind: Any) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(kind, pydantic.BaseModel)


def _is_url_or_path(kind: Any) -> bool:
    is_url = kind.__module__ in ("pydantic.networks", "pydantic_core._pydantic_core") and kind.__name__.endswith("Url")
    return is_url or issubclass(kind, PurePath)


# -- HTTP requests without their headers, since these contain the API key, and responses without cookies


def _is_http(kind: Any, name: str) -> bool:
    return kind.__name__ == name and kind.__module__.partition(".")[0] in ("httpx", "httpx2")


def _write_response(response: Any) -> dict[str, Any]:
    return {
        "status_code": response.status_code,
        "headers": {name: text for name, text in response.headers.items() if name not in ("set-cookie", "content-encoding")},
        "content": response.content,
        "request": getattr(response, "_request", None),
    }


_FORMS = (
    _Form(lambda kind: issubclass(kind, enum.Enum), lambda member: member.value, lambda kind, content: kind(content)),
    _Form(
        lambda kind: hasattr(kind, "from_exception_data"),
        _write_validation_error,
        lambda kind, content: kind.from_exception_data(content["title"], content["errors"]),
    ),
    _Form(lambda kind: issubclass(kind, BaseException), _write_exception, _read_exception),
    _Form(lambda kind: issubclass(kind, tuple) and hasattr(kind, "_fields"), tuple, tuple.__new__),
    _Form(lambda kind: issubclass(kind, (str, int, float)), _write_scalar, _read_scalar),
    _Form(_is_url_or_path, str, lambda kind, content: kind(content)),
    _Form(
        lambda kind: _is_http(kind, "Request"),
        lambda request: {"method": request.method, "url": str(request.url)},
        lambda kind, content: kind(**content),
    ),
    _Form(lambda kind: _is_http(kind, "Response"), _write_response, lambda kind, content: kind(**content)),
    _Form(dataclasses.is_dataclass, _write_data, _read_data),
    _Form(_is_model, _write_model, _read_model),
)
