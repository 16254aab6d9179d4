"""Wrappers for functions of a library that are only looked at, before or after they run, or get other arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmtrace.instrumentation._patches import Wrapper
from llmtrace.recorder import active
from llmtrace.recorder.guard import guard


def before(look: Callable[[Any, Any, Any], Any], *, always: bool = False) -> Wrapper:
    """A wrapper that calls ``look(instance, args, kwargs)`` before the function, while recording is on or ``always``."""

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if always or active() is not None:
            guard(look, instance, args, kwargs)
        return wrapped(*args, **kwargs)

    return wrapper


def after(look: Callable[[Any, Any, Any, Any], Any], *, always: bool = False) -> Wrapper:
    """A wrapper that calls ``look(result, instance, args, kwargs)`` after the function, while recording is on or ``always``."""

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        result = wrapped(*args, **kwargs)
        if always or active() is not None:
            guard(look, result, instance, args, kwargs)
        return result

    return wrapper


def changing(change: Callable[[Any, Any, Any], tuple[Any, dict[str, Any]] | None]) -> Wrapper:
    """A wrapper that calls the function with what ``change(instance, args, kwargs)`` returns; None: with what it was given."""

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        changed = guard(change, instance, args, kwargs)
        args, kwargs = (args, kwargs) if changed is None else changed
        return wrapped(*args, **kwargs)

    return wrapper
