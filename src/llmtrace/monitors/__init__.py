"""Monitors: each takes one number, share or shape from a span, to be followed over many runs. One file, one monitor.

This folder is the registry: every module here whose name has no leading underscore defines ``MONITOR``, under the module's
own name. Installed packages add theirs by entry points of the group ``llmtrace.monitors``. `Watch` runs them: it says which
key a span belongs to, keeps a baseline for each key, and tells when what comes now is no longer like it, and what changed
with it.

Laws: a monitor is a pure function of the span and raises nothing; the memory of a key is bounded, and so is the number of
keys; the same spans in the same order give the same changes; an evaluation's explanation holds no content.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil

from llmtrace.monitors._alarm_rate import MINIMUM, RUNS_BEFORE
from llmtrace.monitors._key_state import KINDS
from llmtrace.monitors._keys import Key
from llmtrace.monitors._monitor import Monitor, Observation
from llmtrace.monitors._stream_reports import Block, Report, baselines, pinned, reports
from llmtrace.monitors._turn_kinds import unmixed
from llmtrace.monitors._watch import MAX_KEYS, Shelf, Watch
from llmtrace.monitors._wording import PREFIX

__all__ = [
    "KINDS",
    "MAX_KEYS",
    "MINIMUM",
    "PREFIX",
    "RUNS_BEFORE",
    "Block",
    "Key",
    "Monitor",
    "Observation",
    "Report",
    "Shelf",
    "Watch",
    "baselines",
    "load",
    "pinned",
    "reports",
    "unmixed",
]

logger = logging.getLogger("llmtrace")

GROUP = "llmtrace.monitors"


def load(names: tuple[str, ...] | None = None) -> tuple[Monitor, ...]:
    """The monitors of these names; None: all there are; a name with a minus: all but that one.

    Never raises: an unknown name and a monitor that cannot be imported are each logged once and left out.
    """
    known = {**_installed(), **_built_in()}  # a built-in name is not taken over
    if names is None:
        chosen = list(known)
    else:
        for name in names:
            if name.removeprefix("-") not in known:
                logger.warning("llmtrace: unknown monitor %r; it is ignored. Known: %s", name, ", ".join(sorted(known)))
        without, only = {n[1:] for n in names if n.startswith("-")}, {n for n in names if not n.startswith("-")}
        chosen = [name for name in known if name not in without and (name in only or (without and not only))]
    return tuple(found for name in sorted(chosen) if (found := _load(name, *known[name])) is not None)


def _built_in() -> dict[str, tuple[str, str]]:
    """By name: module and attribute."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return {name: (f"{__name__}.{name}", "MONITOR") for name in names if not name.startswith("_")}


def _installed() -> dict[str, tuple[str, str]]:
    from importlib.metadata import entry_points  # 18 ms, which who only reads a trace need not pay

    try:
        return {entry.name: (entry.module, entry.attr or "MONITOR") for entry in entry_points(group=GROUP)}
    except Exception as error:  # broken metadata of any installed package must not stop the reader
        logger.warning("llmtrace: installed monitors cannot be listed: %s", error)
        return {}


def _load(name: str, module: str, attribute: str) -> Monitor | None:
    try:
        found: Monitor = getattr(importlib.import_module(module), attribute)
        if not callable(found.observe):
            raise TypeError("its observe cannot be called")
        return found
    except Exception as error:  # a third party's import may raise anything
        logger.warning("llmtrace: monitor %s (%s:%s) cannot be loaded and is off: %s", name, module, attribute, error)
        return None
