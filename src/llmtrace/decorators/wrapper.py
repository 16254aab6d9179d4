"""What the decorators share: arguments without the receiver, and checks of options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmtrace.errors import ConfigurationError

if TYPE_CHECKING:
    from llmtrace.validation.signature import Signature


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
