"""What stands in the place of a wrapped function. Loaded with the first patch, because wrapt takes long to be imported."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any

from wrapt import BoundFunctionWrapper, FunctionWrapper

__all__ = ["BoundFunctionWrapper", "PatchedFunction"]


class PatchedMethod(BoundFunctionWrapper):  # type: ignore[type-arg]  # not generic at run time before wrapt 2
    """A bound wrapped method, with the repr, copy and pickle of the method itself."""

    def __reduce_ex__(self, _protocol: Any) -> Any:
        owner = getattr(self, "__self__", None)
        if owner is None:  # looked up on its class
            return resolve_name, (f"{self.__module__}:{self.__qualname__}",)
        return getattr, (owner, self.__name__)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        owner = getattr(self, "__self__", None)
        return self if owner is None else getattr(copy.deepcopy(owner, memo), self.__name__)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)


class PatchedFunction(FunctionWrapper):  # type: ignore[type-arg]  # not generic at run time before wrapt 2
    """A wrapped function, with the repr and copy of the function; unpickled by looking it up again."""

    __bound_function_wrapper__ = PatchedMethod

    def __init__(self, wrapped: Any, wrapper: Callable[..., Any], place: str, enabled: Callable[[], bool]) -> None:
        """``place``: where to look the function up, as ``module:path``."""
        super().__init__(wrapped, wrapper, enabled=enabled)
        self._self_place = place

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return resolve_name, (self._self_place,)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self

    def __repr__(self) -> str:
        return repr(self.__wrapped__)
