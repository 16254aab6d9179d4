"""Checks: each looks for one kind of fault that a trace can prove or make likely. The folder is the registry.

Each module of this folder is about one idea and has ``CHECKS``, a tuple of `Check`. Law: if the run may have been right, the
finding is only ``possible``, which does not mark the run.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Literal, TypeAlias

from llmtrace.diagnosis.finding import Finding
from llmtrace.diagnosis.flow import Flow
from llmtrace.model.value import value

Need: TypeAlias = Literal["calls", "results", "schemas", "content", "inferences", "lineage"]
"""Data that a check needs to see."""


@value
class Check:
    """A check and the data that it needs to see. One check may yield findings of several names."""

    name: str
    """The subject of the check, as listed under "checked"."""
    look: Callable[[Flow], Iterator[Finding]]
    needs: tuple[Need, ...] = ()


@lru_cache(maxsize=1)
def all_checks() -> tuple[Check, ...]:
    """Return every check, ordered by file name and by position in `CHECKS`."""
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(check for name in modules for check in importlib.import_module(f"{__name__}.{name}").CHECKS)
