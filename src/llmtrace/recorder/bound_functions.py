"""Functions that are bound to a context. Most programs bind none, and wrapt takes long to be imported."""

from __future__ import annotations

from typing import Any

import wrapt


class BoundFunction(wrapt.FunctionWrapper):  # type: ignore[type-arg]  # not generic at run time before wrapt 2
    """A function bound to a context. It is of the function's kind (async, generator), and copied as functions are."""

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self


class NamedFunction(BoundFunction):
    """A decorated function; it replaces the original under its name, so it is pickled by that name."""

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return self.__qualname__
