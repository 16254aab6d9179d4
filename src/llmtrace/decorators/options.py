"""Checks of the decorators' options."""

from __future__ import annotations

from llmtrace.errors import ConfigurationError


def check_text(owner: str, option: str, value: object) -> None:
    """Raise `ConfigurationError` for an option of a decorator that is neither a non-empty text nor None."""
    if value is not None and not (isinstance(value, str) and value):
        raise ConfigurationError(f"{owner}({option}={value!r}): expected a text")
