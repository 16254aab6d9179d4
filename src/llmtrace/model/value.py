"""How a value is declared: slots, equality, keyword-friendly; frozen for the type checker.

Law: nobody assigns to a value's field after it was made; `replace` makes a changed copy. The type checker holds this. The
run time does not, since a frozen dataclass takes three times as long to build and values are built on the calling thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        return lambda decorator: decorator


T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """Class decorator: a slotted dataclass that the type checker treats as frozen."""
    made: type[T] = dataclass(slots=True)(cls)
    return made


def replace(this: T, **changes: Any) -> T:
    """A copy of a value with some fields changed. Raises AttributeError on a field that the class does not have.

    What others derived from a value (its ``cache``, by convention the last field) is not true of the changed copy: it starts
    with an empty one.

    Slot by slot, since `dataclasses.replace` goes through ``__init__`` and costs four times as much.
    """
    cls = type(this)
    copy = cls.__new__(cls)
    for name in cls.__slots__:  # type: ignore[attr-defined]
        setattr(copy, name, getattr(this, name))
    if cls.__slots__[-1] == "cache" and copy.cache is not None:  # type: ignore[attr-defined]
        copy.cache = {}  # type: ignore[attr-defined]
    for name, changed in changes.items():
        setattr(copy, name, changed)
    return copy
