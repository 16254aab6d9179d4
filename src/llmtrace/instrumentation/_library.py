"""The library of an instrumentor: its module, its distribution, the supported versions, and the installed version.

An instrumentor states them at the left margin of its file, so that they can be read without importing it.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from typing import Literal

from llmtrace import installed

_NAMES = re.compile(r'^LIBRARY, DISTRIBUTION = "(.*)", "(.*)"$', re.MULTILINE)
_SUPPORTED = re.compile(r'^SUPPORTED = ">=([\d.]+),<([\d.]+)"$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Library:
    """The statements of an instrumentor about its library."""

    module: str
    distribution: str
    """The name to install; empty for a part of Python."""
    oldest: str = ""
    """The first version that is recorded in full; empty if any is."""
    untested: str = ""
    """The first version above the tested ones."""

    @property
    def versions(self) -> str:
        """The supported versions as text: ``1.66 to 3.x``."""
        return f"{self.oldest} to {int(self.untested.partition('.')[0]) - 1}.x" if self.oldest else "any version"

    @property
    def requirement(self) -> str:
        """The argument for ``pip install``."""
        return f"{self.distribution}>={self.oldest},<{self.untested}" if self.oldest else self.distribution

    def version(self) -> str | None:
        """Return the installed version, or that of the loaded module if it has no metadata; None if neither is known."""
        found = installed.versions((self.distribution,)) if self.distribution else ()
        if found:
            return found[0][1]
        loaded = getattr(sys.modules.get(self.module), "__version__", None)
        return loaded if isinstance(loaded, str) else None

    def compare(self, version: str | None) -> Literal["older", "supported", "newer"]:
        """Compare a version with the supported ones. An unknown version counts as supported."""
        release = _numbers(version or "")
        if not release or not self.oldest:
            return "supported"
        if release < _numbers(self.oldest):
            return "older"
        return "supported" if release < _numbers(self.untested) else "newer"

    def is_installed(self) -> bool:
        """Return True if a program could import the library. Imports nothing."""
        return self.module in sys.modules or self.version() is not None or _is_found(self.module)


def read_library(source: str | None, name: str) -> Library:
    """Read the statements in the source text of an instrumentor. ``name``: of the library, if the text does not state it."""
    names = _NAMES.search(source or "")
    supported = _SUPPORTED.search(source or "")
    return Library(*(names.groups() if names else (name, name)), *(supported.groups() if supported else ()))


def _numbers(version: str) -> tuple[int, ...]:
    """Parse ``1.66.0rc1`` as (1, 66, 0); empty for a version that does not begin with a number."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, numbers[0].split("."))) if numbers else ()


def _is_found(module: str) -> bool:
    """Look a module up in the folders of ``sys.path``, without importing the package that contains it."""
    names, path = module.split("."), None
    for count in range(1, len(names) + 1):
        spec = PathFinder.find_spec(".".join(names[:count]), path)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return True
