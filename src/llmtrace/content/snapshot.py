"""A snapshot of any Python object as a JSON value.

Law: it never raises, never consumes an iterator, never calls ``__repr__`` or ``__str__`` of an unknown type, and stops after a
bounded number of steps. A value that cannot be shown becomes a placeholder in angle brackets that names its class. Plain JSON
values are copied, because the program may change them later.
"""

from __future__ import annotations

import dataclasses
import enum
import io
import ipaddress
import math
import re
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from pathlib import PurePath
from time import perf_counter
from typing import Any, TypeAlias
from uuid import UUID

import pydantic_core

from llmtrace.content.placeholders import MORE
from llmtrace.content.truncation import cut_mark
from llmtrace.model import JsonValue

_UNKNOWN = "unserialisable"
UNSERIALISABLE = f"<{_UNKNOWN} "
"""Beginning of the placeholder for an object of an unknown class; the name of the class follows."""
MAX_DEPTH = 100
"""Levels of nesting; pydantic-core refuses to write more than 255."""
_PLAIN_TEXT = 4096
"""Strings up to this length are copied without checking the remaining room."""
_PLAIN_INT = 1 << 63
_MAX_INT_BITS = 4096
_MAX_ARRAY = 1000
_MAX_FOREIGN = 10_000
"""Items read at most from a container whose iteration runs the program's code, which may be slow."""
_FOREIGN_SECONDS = 0.02
"""Seconds for all such containers of one snapshot together; at least one item of each is read."""


def to_json(value: object, *, limit: int = 1 << 20) -> JsonValue:
    """Return ``value`` as None, bool, int, float, str, list and dict only.

    ``limit``: characters of JSON that the snapshot may have, roughly. The rest is left out, and a placeholder says how much.
    Never raises.
    """
    copied = plain(value) if limit >= _PLAIN_LIMIT else NOT_PLAIN
    if copied is not NOT_PLAIN:
        return copied
    try:
        return _Snapshot(limit).of(value, 0)
    except Exception:
        return _placeholder(_UNKNOWN, value)


NOT_PLAIN: Any = object()
_MEMBERS, _LEVELS, _CHARACTERS, _KEY = 12, 3, 400, 64
_PLAIN_LIMIT = (_MEMBERS + _MEMBERS**2 + _MEMBERS**3) * (_CHARACTERS + _KEY + 8)
"""Characters of JSON that a value copied by `plain` may have at most."""


def plain(value: object) -> JsonValue:
    """Copy a small value that is JSON already, as most arguments and results are, at a third of the cost of a `_Snapshot`.
    Returns `NOT_PLAIN` for any other value. Never raises."""
    try:
        return _plain(value, 0)
    except Exception:  # another thread changed it
        return NOT_PLAIN


def _plain(value: Any, level: int) -> Any:
    """Copy a few levels and members: so few that cycles and the remaining room need no check."""
    kind = type(value)
    if kind is dict or kind is list:
        if len(value) > _MEMBERS or level == _LEVELS:
            return NOT_PLAIN
        if kind is list:
            items = [_plain(item, level + 1) for item in value]
            return NOT_PLAIN if NOT_PLAIN in items else items
        copy: dict[str, Any] = {}
        for key, item in value.items():
            if type(key) is not str or len(key) > _KEY or not key.isascii():
                return NOT_PLAIN
            if type(item) is not str or len(item) > _CHARACTERS or not item.isascii():  # most are such texts
                item = _plain(item, level + 1)
                if item is NOT_PLAIN:
                    return NOT_PLAIN
            copy[key] = item
        return copy
    if kind is str:
        return value if len(value) <= _CHARACTERS and value.isascii() else NOT_PLAIN
    if kind is int:
        return value if -_PLAIN_INT < value < _PLAIN_INT else NOT_PLAIN
    return value if value is None or kind is bool or (kind is float and math.isfinite(value)) else NOT_PLAIN


class _Snapshot:
    __slots__ = ("containers", "deadline", "path", "room")

    def __init__(self, limit: int) -> None:
        self.room = limit
        self.containers = limit >> 4
        """Containers that may still be entered. An empty one that is shared many times would never use up the room."""
        self.deadline: float | None = None
        """When to stop reading containers whose iteration runs the program's code."""
        self.path: set[int] = set()

    def of(self, value: Any, depth: int) -> JsonValue:
        kind = type(value)
        if kind is dict:
            return self._container(self._members, value, value.items(), depth)
        if kind is str:
            return self._text(value)
        if kind is list or kind is tuple:
            return self._container(self._items, value, value, depth)
        self.room -= 8
        if value is None or kind is bool:
            return value
        if kind is int:
            return _number(value)
        if kind is float:
            return value if math.isfinite(value) else _not_finite(value)
        try:
            return self._of_object(value, kind, depth)
        except Exception:
            return _placeholder(_UNKNOWN, value)

    def _container(
        self, read: Callable[[Any, int, int], JsonValue], value: object, content: Iterable[Any], depth: int
    ) -> JsonValue:
        identity = id(value)
        if identity in self.path:
            return "<cycle>"
        if depth >= MAX_DEPTH:
            return f"<nested deeper than {MAX_DEPTH}>"
        self.room -= 2
        self.containers -= 1
        if self.containers < 0:
            self.room = min(self.room, 0)
        self.path.add(identity)
        try:
            return read(content, depth + 1, _length(content))
        except RuntimeError:  # another thread changed it, or the stack is nearly used up
            return _placeholder("changed or too deep", value)
        finally:
            self.path.discard(identity)

    def _members(self, members: Iterable[tuple[Any, Any]], depth: int, count: int) -> JsonValue:
        copy: dict[str, JsonValue] = {}
        for key, item in members:
            if self.room <= 0:
                break
            if type(key) is not str or len(key) > _PLAIN_TEXT or not key.isascii():
                key = self._key(key, copy)
            kind = type(item)
            if kind is str and len(item) < _PLAIN_TEXT and item.isascii():
                self.room -= len(key) + len(item) + 6
                copy[key] = item
            else:
                self.room -= len(key) + 4
                copy[key] = self.of(item, depth)
        if len(copy) < count and (self.room <= 0 or self.deadline is not None):  # else several keys have one name
            copy[MORE] = f"<{count - len(copy)} more members>"
        return copy

    def _items(self, items: Iterable[Any], depth: int, count: int) -> JsonValue:
        copy: list[JsonValue] = []
        for item in items:
            if self.room <= 0:
                break
            copy.append(self.of(item, depth))
        if len(copy) < count:
            copy.append(f"<{count - len(copy)} more items>")
        return copy

    def _text(self, text: str) -> str:
        size = len(text)
        if size > max(self.room, _PLAIN_TEXT):
            kept_length = max(self.room, 0)
            text = text[:kept_length] + cut_mark(size - kept_length)
        self.room -= len(text) + 2
        return text if text.isascii() else well_formed(text)

    def _key(self, key: Any, existing: Mapping[str, JsonValue]) -> str:
        if type(key) is str:
            return self._text(key)
        shown = self.of(key, MAX_DEPTH - 2)
        name = shown if isinstance(shown, str) else _spelt(shown)
        return name if name not in existing else f"{name} <{type(key).__name__}>"

    def _of_object(self, value: Any, kind: type, depth: int) -> JsonValue:
        for base, read in _READERS:
            if issubclass(kind, base):
                return read(self, value, depth)
        for names, read in _BY_ATTRIBUTE:
            if hasattr(kind, names):
                return read(self, value, depth)
        if (text := _text_by_name(value, kind)) is not None:
            return self._text(text)
        if kind.__module__.partition(".")[0] in ("numpy", "torch", "pandas"):
            return _array(self, value, depth)
        for base, read in _ABSTRACT:
            if issubclass(kind, base):
                return read(self, value, depth)
        if hasattr(kind, "__next__") or hasattr(kind, "__anext__"):
            return f"<{kind.__name__}>"
        return _placeholder(_UNKNOWN, value)

    def fields(self, value: Any, names: Iterable[str], depth: int) -> JsonValue:
        """Read the named attributes of an object; those that are not set are left out."""
        missing = object()
        attributes = ((name, getattr(value, name, missing)) for name in names)
        return self._container(self._members, value, [(name, item) for name, item in attributes if item is not missing], depth)

    def mapping(self, value: Any, depth: int) -> JsonValue:
        if issubclass(type(value), dict):
            return self._container(self._members, value, dict.items(value), depth)
        count = _length(value)
        members = self._foreign(value.items())
        return self._container(lambda items, level, _: self._members(items, level, count), value, members, depth)

    def sequence(self, value: Any, depth: int) -> JsonValue:
        # A subclass may override __iter__ with code of the program; its base class's own is safe.
        plain = next((base for base in (list, tuple, set, frozenset, deque) if issubclass(type(value), base)), None)
        count = plain.__len__(value) if plain else _length(value)
        content = plain.__iter__(value) if plain else self._foreign(value)
        return self._container(lambda items, level, _: self._items(items, level, count), value, content, depth)

    def _foreign(self, items: Iterable[Any]) -> Iterator[Any]:
        """Iterate a container whose iteration runs the program's code, up to a number of items and a deadline."""
        if self.deadline is None:
            self.deadline = perf_counter() + _FOREIGN_SECONDS
        for item in islice(items, _MAX_FOREIGN):
            yield item
            if perf_counter() > self.deadline:
                return


def well_formed(text: str) -> str:
    """Return ``text`` with lone surrogates, which cannot be encoded, replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _length(content: Any) -> int:
    try:
        return len(content)
    except Exception:
        return 0


def _number(value: int) -> JsonValue:
    if -_PLAIN_INT < value < _PLAIN_INT or value.bit_length() <= _MAX_INT_BITS:
        return value
    return f"<int of {value.bit_length()} bits>"


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _spelt(scalar: JsonValue) -> str:
    words: dict[Any, str] = {None: "null", True: "true", False: "false"}
    return words[scalar] if scalar is None or isinstance(scalar, bool) else str(scalar)


def _placeholder(why: str, value: object) -> str:
    try:
        return f"<{why} {type(value).__module__}.{type(value).__qualname__}>"
    except Exception:
        return f"<{why} object>"


# -- readers of each kind of object: (snapshot, value, depth) -> JSON value

_Reader: TypeAlias = Callable[[_Snapshot, Any, int], JsonValue]


def _as_text(write: Callable[[Any], str]) -> _Reader:
    return lambda snapshot, value, _: snapshot._text(write(value))


def _bytes(snapshot: _Snapshot, value: Any, _: int) -> str:
    size = value.nbytes if isinstance(value, memoryview) else len(value)
    if size > max(snapshot.room, 0):
        return f"<{size} bytes>"
    try:
        return snapshot._text(bytes(value).decode())
    except UnicodeDecodeError:
        return f"<{size} bytes>"


def _tuple(snapshot: _Snapshot, value: Any, depth: int) -> JsonValue:
    names = getattr(type(value), "_fields", None)
    if isinstance(names, tuple) and len(names) == tuple.__len__(value):
        members = list(zip(names, tuple.__iter__(value), strict=True))
        return snapshot._container(snapshot._members, value, members, depth)
    return snapshot.sequence(value, depth)


def _error(snapshot: _Snapshot, value: BaseException, depth: int) -> str:
    shown = ", ".join(str(snapshot.of(argument, depth + 1)) for argument in value.args[:10])
    return f"{type(value).__qualname__}: {shown}" if shown else type(value).__qualname__


def _named(what: str) -> _Reader:
    def read(_: _Snapshot, value: Any, __: int) -> str:
        name = getattr(value, "__qualname__", None) or getattr(value, "__name__", "")
        module = getattr(value, "__module__", None)
        return f"<{what} {module}.{name}>" if module else f"<{what} {name}>"

    return read


def _pydantic(snapshot: _Snapshot, value: Any, depth: int) -> JsonValue:
    declared = type(value).__pydantic_fields__
    names = [name for name, info in declared.items() if not info.exclude and info.repr]
    if names and getattr(type(value), "__pydantic_root_model__", False):
        return snapshot.of(value.__dict__[names[0]], depth + 1)
    extra = getattr(value, "__pydantic_extra__", None)
    if not extra:
        return snapshot.fields(value, names, depth)
    members = [(name, value.__dict__[name]) for name in names if name in value.__dict__]
    return snapshot._container(snapshot._members, value, [*members, *extra.items()], depth)


def _duration(value: timedelta) -> str:
    """Return a duration in ISO 8601, as pydantic writes it: ``PT3S``."""
    return pydantic_core.to_json(value).decode().strip('"')


_WRITTEN = "__str__"
_TEXT_BY_NAME = {
    ("pydantic.networks", "_BaseUrl"): _WRITTEN,
    ("pydantic.networks", "_BaseMultiHostUrl"): _WRITTEN,
    ("pydantic.networks", "NameEmail"): _WRITTEN,
    ("pydantic_core._pydantic_core", "Url"): _WRITTEN,
    ("pydantic_core._pydantic_core", "MultiHostUrl"): _WRITTEN,
    ("zoneinfo", "ZoneInfo"): "key",
}
"""Classes that are not imported here, by module and name, and the attribute that holds or writes their text."""


def _text_by_name(value: object, kind: type) -> str | None:
    """Return the text of an object of `_TEXT_BY_NAME`, read by the base class's attribute even if a subclass overrides it."""
    for base in kind.__mro__:
        name = _TEXT_BY_NAME.get((base.__module__, base.__qualname__))
        if name is not None and getattr(sys.modules.get(base.__module__), base.__qualname__, None) is base:
            read = base.__dict__[name].__get__(value)
            return str(read()) if name is _WRITTEN else read
    return None


def _dataclass(snapshot: _Snapshot, value: Any, depth: int) -> JsonValue:
    return snapshot.fields(value, [field.name for field in dataclasses.fields(value) if field.repr], depth)


def _attrs(snapshot: _Snapshot, value: Any, depth: int) -> JsonValue:
    return snapshot.fields(value, [field.name for field in type(value).__attrs_attrs__ if field.repr], depth)


def _array(snapshot: _Snapshot, value: Any, depth: int) -> JsonValue:
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and math.prod(shape) <= _MAX_ARRAY and hasattr(value, "tolist"):
        return snapshot.of(value.tolist(), depth + 1)
    size = f" {'x'.join(str(int(extent)) for extent in shape)}" if isinstance(shape, tuple) else ""
    return f"{_placeholder('array', value)[:-1]}{size}>"


_READERS: tuple[tuple[Any, _Reader], ...] = (
    (enum.Enum, lambda snapshot, value, depth: snapshot.of(value.value, depth + 1)),
    (str, _as_text(str.__str__)),
    (int, lambda _, value, __: _number(int.__int__(value))),
    (float, lambda snapshot, value, depth: snapshot.of(float.__float__(value), depth)),
    (dict, _Snapshot.mapping),
    (tuple, _tuple),
    ((list, set, frozenset, deque), _Snapshot.sequence),
    ((bytes, bytearray, memoryview), _bytes),
    (datetime, _as_text(datetime.isoformat)),
    (date, _as_text(date.isoformat)),
    (time, _as_text(time.isoformat)),
    (timedelta, _as_text(_duration)),
    (Decimal, _as_text(Decimal.__str__)),
    (Fraction, _as_text(Fraction.__str__)),
    (UUID, _as_text(UUID.__str__)),
    (PurePath, _as_text(PurePath.__str__)),
    (complex, _as_text(complex.__repr__)),
    (range, _as_text(range.__repr__)),
    ((ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network), _as_text(str)),
    (re.Pattern, lambda snapshot, value, depth: snapshot.of(value.pattern, depth + 1)),
    (BaseException, _error),
    (io.IOBase, lambda _, value, __: "<closed file>" if value.closed else "<open file>"),
    (type, _named("class")),
    (types.ModuleType, lambda _, value, __: f"<module {value.__name__}>"),
    ((types.FunctionType, types.BuiltinFunctionType, types.MethodType), _named("function")),
    ((types.GeneratorType, types.AsyncGeneratorType, types.CoroutineType), _named("unread iterator")),
)
_BY_ATTRIBUTE: tuple[tuple[str, _Reader], ...] = (
    ("__pydantic_fields__", _pydantic),
    ("__dataclass_fields__", _dataclass),
    ("__attrs_attrs__", _attrs),
)
_ABSTRACT: tuple[tuple[Any, _Reader], ...] = (
    (Mapping, _Snapshot.mapping),
    ((Sequence, Set), _Snapshot.sequence),
)
