"""Python objects as JSON, and back: what a tool gave or raised, for a replay.

Kept are plain JSON values, tuples, sets, bytes, dates, enums, exceptions, and objects that only hold data: pydantic models,
dataclasses, named tuples, classes derived from ``str``, ``int`` or ``float``, and requests and responses of ``httpx``. Each is
an object ``{"$class": …}`` with what it holds.

Laws: an object is made again only of a class that the program has loaded itself; nothing is imported, and neither the
constructor nor a validator of the class runs. What cannot be kept whole is not kept: `dump` raises.
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
_HOLDS: Final = "$holds"
_MAX_DEPTH = 60
_PLAIN = frozenset({str, int, bool, type(None)})
_SEQUENCES: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset}
_TEXTS: dict[type, tuple[Callable[[Any], str], Callable[[str], Any]]] = {
    bytes: (lambda value: b64encode(value).decode(), b64decode),
    datetime: (datetime.isoformat, datetime.fromisoformat),
    date: (date.isoformat, date.fromisoformat),
    time: (time.isoformat, time.fromisoformat),
    timedelta: (lambda value: repr(value.total_seconds()), lambda text: timedelta(seconds=float(text))),
    UUID: (str, UUID),
    Decimal: (str, Decimal),
}
"""Classes whose objects are one text: how it is written, and read."""
_BY_TEXT = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in _TEXTS}


class NotKept(TypeError):
    """An object that JSON cannot hold so that it could be made again; the message is its class."""


def dump(value: Any) -> JsonValue:
    """Return the object as JSON. Raises `NotKept`."""
    return _dump(value, 0)


def load(value: JsonValue) -> Any:
    """Return the object that `dump` has written. Raises an exception of any kind where it cannot be made again."""
    if isinstance(value, list):
        return [load(item) for item in value]
    if not isinstance(value, dict):
        return value
    name = value.get(CLASS)
    if name is None:
        return {key: load(item) for key, item in value.items()}
    return _make(str(name), load(value[_HOLDS]))


def held(value: Any) -> Any:
    """What an object holds, by the names of its fields, where it is not to be made; other JSON as it is."""
    holds = value[_HOLDS] if isinstance(value, dict) and CLASS in value else value
    return holds["__dict__"] if isinstance(holds, dict) and "__pydantic_fields_set__" in holds else holds


def class_name(kind: type) -> str:
    """``module.Class``."""
    return f"{kind.__module__}.{kind.__qualname__}"


def loaded_class(name: str) -> Any:
    """The class of that name, where the program has loaded it; else None. Nothing is imported."""
    parts = name.split(".")
    for length in range(len(parts) - 1, -1, -1):
        found: Any = sys.modules.get(".".join(parts[:length])) if length else builtins
        if found is not None:
            for part in parts[length:]:
                found = vars(found).get(part) if hasattr(found, "__dict__") else None
            return found if isinstance(found, type) else None
    return None


# -- writing and reading


def _dump(value: Any, depth: int) -> Any:
    kind: Any = type(value)
    if kind in _PLAIN or (kind is float and math.isfinite(value)):
        return value
    if depth > _MAX_DEPTH:
        raise NotKept(class_name(kind))
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
    if form is None or loaded_class(class_name(kind)) is not kind:  # or made inside a function, or under another name
        raise NotKept(class_name(kind))
    return _object(class_name(kind), _dump(form.write(value), depth))


def _object(name: str, holds: Any) -> dict[str, Any]:
    return {CLASS: name, _HOLDS: holds}


def _make(name: str, holds: Any) -> Any:
    if name in _SEQUENCES:
        return _SEQUENCES[name](holds)
    if name == "dict":
        return dict(holds)
    if name in _BY_TEXT:
        return _TEXTS[_BY_TEXT[name]][1](holds)
    kind = loaded_class(name)
    form = None if kind is None else _form(kind)
    if form is None:
        raise NotKept(name)
    return form.read(kind, holds)


class _Form(NamedTuple):
    """Classes that are kept in one way: which they are, what is written of an object, and how it is made again."""

    matches: Callable[[Any], bool]
    write: Callable[[Any], Any]
    read: Callable[[Any, Any], Any]


def _form(kind: Any) -> _Form | None:
    return next((form for form in _FORMS if form.matches(kind)), None)


# -- exceptions


def _write_exception(error: BaseException) -> dict[str, Any]:
    """What the built-in class behind it keeps, which every exception has, whatever constructor its class has."""
    _, arguments, *state = _builtin_base(type(error)).__reduce__(error)
    return {"args": arguments, "attributes": dict(state[0]) if state and state[0] else {}}


def _read_exception(kind: Any, holds: Any) -> Any:
    base = _builtin_base(kind)
    made = base.__new__(kind, *holds["args"])
    base.__init__(made, *holds["args"])
    made.__setstate__(holds["attributes"] or None)
    return made


def _builtin_base(kind: Any) -> Any:
    """The first built-in class that it derives from."""
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
        raise NotKept(class_name(type(value)))
    return {name: getattr(value, name) for name in names}


def _read_data(kind: Any, holds: Any) -> Any:
    made = object.__new__(kind)
    for field in dataclasses.fields(kind):
        object.__setattr__(made, field.name, holds[field.name])
    return made


def _write_scalar(value: Any) -> dict[str, Any]:
    base = _builtin_base(type(value))
    return {"value": base.__getnewargs__(value)[0], "attributes": getattr(value, "__dict__", {})}


def _read_scalar(kind: Any, holds: Any) -> Any:
    made = _builtin_base(kind).__new__(kind, holds["value"])
    if holds["attributes"]:
        vars(made).update(holds["attributes"])
    return made


_MODEL = ("__dict__", "__pydantic_extra__", "__pydantic_private__")


def _write_model(value: Any) -> dict[str, Any]:
    return {**{name: getattr(value, name) for name in _MODEL}, "__pydantic_fields_set__": {*value.__pydantic_fields_set__}}


def _read_model(kind: Any, holds: Any) -> Any:
    made = kind.__new__(kind)
    for name in (*_MODEL, "__pydantic_fields_set__"):
        object.__setattr__(made, name, holds[name])
    return made


def _is_model(kind: Any) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(kind, pydantic.BaseModel)


def _is_text(kind: Any) -> bool:
    is_url = kind.__module__ in ("pydantic.networks", "pydantic_core._pydantic_core") and kind.__name__.endswith("Url")
    return is_url or issubclass(kind, PurePath)


# -- requests and answers, without cookies and without the headers of a request, which hold the key


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
    _Form(lambda kind: issubclass(kind, enum.Enum), lambda member: member.value, lambda kind, holds: kind(holds)),
    _Form(
        lambda kind: hasattr(kind, "from_exception_data"),
        _write_validation_error,
        lambda kind, holds: kind.from_exception_data(holds["title"], holds["errors"]),
    ),
    _Form(lambda kind: issubclass(kind, BaseException), _write_exception, _read_exception),
    _Form(lambda kind: issubclass(kind, tuple) and hasattr(kind, "_fields"), tuple, tuple.__new__),
    _Form(lambda kind: issubclass(kind, (str, int, float)), _write_scalar, _read_scalar),
    _Form(_is_text, str, lambda kind, holds: kind(holds)),
    _Form(
        lambda kind: _is_http(kind, "Request"),
        lambda request: {"method": request.method, "url": str(request.url)},
        lambda kind, holds: kind(**holds),
    ),
    _Form(lambda kind: _is_http(kind, "Response"), _write_response, lambda kind, holds: kind(**holds)),
    _Form(dataclasses.is_dataclass, _write_data, _read_data),
    _Form(_is_model, _write_model, _read_model),
)
