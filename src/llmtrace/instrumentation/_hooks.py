"""Wrappers that call a callback before or after a library's function, or change its arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmtrace.instrumentation._patches import Wrapper
from llmtrace.recorder import active
from llmtrace.recorder.guard import guard


def before(callback: Callable[[Any, Any, Any], Any], *, always: bool = False) -> Wrapper:
    """Return a wrapper that calls ``callback(instance, args, kwargs)`` before the function.

    ``always``: also while recording is off.
    """

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if always or active() is not None:
            guard(callback, instance, args, kwargs)
        return wrapped(*args, **kwargs)

    return wrapper


def after(callback: Callable[[Any, Any, Any, Any], Any], *, always: bool = False) -> Wrapper:
    """As `before`, after the function: ``callback(result, instance, args, kwargs)``."""

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        result = wrapped(*args, **kwargs)
        if always or active() is not None:
            guard(callback, result, instance, args, kwargs)
        return result

    return wrapper


def changing(change: Callable[[Any, Any, Any], tuple[Any, dict[str, Any]] | None]) -> Wrapper:
    """Return a wrapper that calls the function with the arguments that ``change(instance, args, kwargs)`` returns.

    If it returns None, or recording is off, the function gets what it was given.
    """

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        changed = guard(change, instance, args, kwargs)
        args, kwargs = (args, kwargs) if changed is None else changed
        return wrapped(*args, **kwargs)

    return wrapper
