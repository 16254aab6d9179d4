"""The proxy that replaces a decorated function, and behaves like it even if it is copied or pickled."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import wrapt

from llmtrace.errors import ConfigurationError

if TYPE_CHECKING:
    from llmtrace.validation.signature import Signature


class BoundWrapper(wrapt.BoundFunctionWrapper):  # type: ignore[type-arg]  # not generic at run time before wrapt 2
    """A decorated method that was looked up on an object or class."""

    def __reduce_ex__(self, _protocol: Any) -> Any:
        owner = getattr(self, "__self__", None)
        if owner is None:  # a static method, or a method looked up on its class
            return _find, (self.__module__, self.__qualname__)
        return getattr, (owner, self.__name__)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self


class Wrapper(wrapt.FunctionWrapper):  # type: ignore[type-arg]  # not generic at run time before wrapt 2
    """A decorated function. All attributes, the signature and ``isinstance`` behave as those of the function itself."""

    __bound_function_wrapper__ = BoundWrapper

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return self.__qualname__  # by name, as functions are

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self


def _find(module: str, qualified: str) -> Any:
    return functools.reduce(getattr, qualified.split("."), importlib.import_module(module))


def without_receiver(
    signature: Signature, bound: bool, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return the arguments of a call without ``self`` or ``cls``.

    ``bound``: the method was looked up on its object. This is False if another decorator (``property``, ``lru_cache``) wraps
    ours: it calls our wrapper as a function, with the object as first argument.
    """
    if bound or not signature.has_receiver:
        return args, kwargs
    if args:
        return args[1:], kwargs
    return args, {name: argument for name, argument in kwargs.items() if name not in ("self", "cls")}


def check_text(owner: str, option: str, value: object) -> None:
    """Raise `ConfigurationError` for an option of a decorator that is neither a non-empty text nor None."""
    if value is not None and not (isinstance(value, str) and value):
        raise ConfigurationError(f"{owner}({option}={value!r}): expected a text")
