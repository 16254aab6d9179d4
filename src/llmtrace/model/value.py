"""How a value is declared: slots, equality, keyword-friendly; frozen for the type checker.

Law: nobody assigns to a value's field after it was made; `replace` makes a changed copy. The type checker holds this. The
run time does not, since a frozen dataclass takes three times as long to build and values are built on the calling thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        return lambda decorator: decorator


T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """Class decorator: a slotted dataclass that the type checker treats as frozen. It derives from no other value.

    ``__init__`` and ``__eq__`` are compiled when they are first called. To compile them for the 60 values that are
    declared while a program starts takes 30 ms, and most programs use few of those.
    """
    declared: Any = cls
    declared.__doc__ = cls.__doc__ or cls.__name__  # else `dataclass` writes one from the signature, which is slow
    declared.__init__, declared.__eq__, declared.__hash__, declared.__repr__ = _first_init, _first_eq, None, _repr
    return dataclass(slots=True, init=False, eq=False, repr=False)(cls)


def _first_init(this: Any, *args: Any, **kwargs: Any) -> None:
    cls = type(this)
    parameters, lines = ["this"], [" pass"]
    scope: dict[str, Any] = {"absent": MISSING}
    for name, declared in cls.__dataclass_fields__.items():
        scope[f"default_{name}"] = default = declared.default
        scope[f"new_{name}"] = declared.default_factory
        if declared.default_factory is not MISSING:
            parameters.append(f"{name}=absent")
            lines.append(f" this.{name} = new_{name}() if {name} is absent else {name}")
        else:
            parameters.append(name if default is MISSING else f"{name}=default_{name}")
            lines.append(f" this.{name} = {name}")
    cls.__init__ = _compiled(cls, "__init__", parameters, lines, scope)
    this.__init__(*args, **kwargs)


def _first_eq(this: Any, other: object) -> Any:
    cls: Any = type(this)
    names = [name for name, declared in cls.__dataclass_fields__.items() if declared.compare]
    mine, others = ("".join(f"{of}.{name}, " for name in names) for of in ("this", "other"))
    lines = [f" return ({mine}) == ({others}) if other.__class__ is this.__class__ else NotImplemented"]
    cls.__eq__ = _compiled(cls, "__eq__", ["this", "other"], lines, {})
    return cls.__eq__(this, other)


def _compiled(cls: type, name: str, parameters: list[str], lines: list[str], scope: dict[str, Any]) -> Any:
    exec("\n".join((f"def {name}({', '.join(parameters)}):", *lines)), scope)  # noqa: S102
    scope[name].__qualname__ = f"{cls.__qualname__}.{name}"
    return scope[name]


def _repr(this: Any) -> str:
    shown = ", ".join(f"{name}={getattr(this, name)!r}" for name, field in this.__dataclass_fields__.items() if field.repr)
    return f"{type(this).__qualname__}({shown})"


@cache
def _copier(cls: Any) -> Callable[[Any], Any]:
    """Return a function that copies a value of this class.

    Its source is generated, as `dataclasses` generates ``__init__``: one line a field costs a third of what a loop of
    getattr and setattr does (0.35 µs instead of 1.1 for a `Span`).
    """
    lines = [f" copy.{name} = this.{name}" for name in cls.__slots__ if name != "cache"]
    if "cache" in cls.__slots__:
        lines.append(" copy.cache = None if this.cache is None else {}")
    scope = {"cls": cls, "new": cls.__new__}
    return _compiled(cls, "copied", ["this"], [" copy = new(cls)", *lines, " return copy"], scope)  # type: ignore[no-any-return]


def replace(this: T, **changes: Any) -> T:
    """A copy of a value with some fields changed. Raises AttributeError on a field that the class does not have.

    What others derived from a value (its ``cache``, by convention the last field) is not true of the changed copy: it starts
    with an empty one.
    """
    cls: Any = type(this)
    copy: T = _copier(cls)(this)
    for name, changed in changes.items():
        setattr(copy, name, changed)
    return copy
