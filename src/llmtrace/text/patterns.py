"""Regular expressions that are compiled when they are first used: compiling those of all rooms takes 30 ms at start-up."""

from __future__ import annotations

import re
from typing import Any, cast

_METHODS = ("findall", "finditer", "fullmatch", "match", "search", "split", "sub")


class _LazyPattern:
    def __init__(self, source: str, flags: int) -> None:
        self._source = source
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        """Called for the first method only: the methods of the compiled pattern are attributes from then on."""
        pattern = re.compile(self._source, self._flags)
        self.__dict__.update({method: getattr(pattern, method) for method in _METHODS})
        return getattr(pattern, name)


def lazy_pattern(source: str, flags: int = 0) -> re.Pattern[str]:
    """Return what behaves as `re.compile` of the same arguments, but compiles at its first use."""
    return cast("re.Pattern[str]", _LazyPattern(source, flags))
