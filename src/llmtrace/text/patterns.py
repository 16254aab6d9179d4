"""Regular expressions that are compiled at their first use. Compiling all of llmtrace's patterns at start-up takes 30 ms."""

from __future__ import annotations

import re
from typing import Any, cast

_METHODS = ("findall", "finditer", "fullmatch", "match", "search", "split", "sub")


class _LazyPattern:
    def __init__(self, source: str, flags: int) -> None:
        self._source = source
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        """Compile the pattern at the first use of a method. From then on, the compiled pattern's methods are attributes."""
        pattern = re.compile(self._source, self._flags)
        self.__dict__.update({method: getattr(pattern, method) for method in _METHODS})
        return getattr(pattern, name)


def lazy_pattern(source: str, flags: int = 0) -> re.Pattern[str]:
    """Return a pattern like that of `re.compile`, but compiled at its first use."""
    return cast("re.Pattern[str]", _LazyPattern(source, flags))
