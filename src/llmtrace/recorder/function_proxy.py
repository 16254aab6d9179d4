"""Stand-ins for functions that llmtrace wraps: called, inspected, copied, pickled and printed as the functions themselves."""

from __future__ import annotations

import copy
from pkgutil import resolve_name
from typing import Any

import wrapt


class BoundProxy(wrapt.BoundFunctionWrapper):  # type: ignore[type-arg]  # not generic at run time before wrapt 2
    """A wrapped method that was looked up on an object or class."""

    def __reduce_ex__(self, _protocol: Any) -> Any:
        owner = getattr(self, "__self__", None)
        if owner is None:  # a static method, or a method looked up on its class
            return resolve_name, (f"{self.__module__}:{self.__qualname__}",)
        return getattr, (owner, self.__name__)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        owner = getattr(self, "__self__", None)
        return self if owner is None else getattr(copy.deepcopy(owner, memo), self.__name__)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)


class FunctionProxy(wrapt.FunctionWrapper):  # type: ignore[type-arg]  # not generic at run time before wrapt 2
    """A wrapped function. It cannot be pickled: nothing says under which name it is found again."""

    __bound_function_wrapper__ = BoundProxy

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self

    def __repr__(self) -> str:
        return repr(self.__wrapped__)


class DecoratedProxy(FunctionProxy):
    """A decorated function. It replaces the original under its name, and is pickled by that name, as functions are."""

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return self.__qualname__


class PatchedProxy(FunctionProxy):
    """A wrapped function of a library, pickled by its place."""

    def __init__(self, wrapped: Any, wrapper: Any, place: str, enabled: Any) -> None:
        """``place``: ``module:path``."""
        super().__init__(wrapped, wrapper, enabled=enabled)
        self._self_place = place

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return resolve_name, (self._self_place,)
