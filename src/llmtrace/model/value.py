"""How a value is declared: slots, equality, keyword-friendly; frozen for the type checker.

Law: nobody assigns to a value's field after it was made; `replace` makes a changed copy. The type checker holds this. The
run time does not, since a frozen dataclass takes three times as long to build and values are built on the calling thread.
"""

from __future__ import annotations

import dataclasses
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
    """A copy of a value with some fields changed."""
    copy: T = dataclasses.replace(this, **changes)  # type: ignore[type-var]
    return copy
