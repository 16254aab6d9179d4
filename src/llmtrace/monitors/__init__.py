"""Monitors: each takes one number, share or shape from a span, to find drift over many runs. One file, one monitor.

This folder is the registry: every module in it without a leading underscore defines ``MONITOR``, named as the module. Installed
packages add monitors by entry points of the group ``llmtrace.monitors``. `Watch` runs the monitors: it finds the key of each
span, keeps a baseline for each key, and reports if new calls differ from the baseline, with the settings that changed as well.

Laws: a monitor is a pure function of the span and never raises. The memory of a key and the number of keys are bounded. The
same spans in the same order give the same changes. The explanation of an evaluation contains no recorded content.
"""

from __future__ import annotations

import importlib
import pkgutil

from llmtrace import installed
from llmtrace.monitors._call_keys import Key
from llmtrace.monitors._change_causes import PREFIX
from llmtrace.monitors._key_state import KINDS
from llmtrace.monitors._monitor import Monitor, Observation
from llmtrace.monitors._stream import MINIMUM, RUNS_BEFORE
from llmtrace.monitors._stream_reports import Block, Report, baselines, pinned, reports
from llmtrace.monitors._watch import MAX_KEYS, Shelf, Watch

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
]

GROUP = "llmtrace.monitors"


def load() -> tuple[Monitor, ...]:
    """Return all monitors, in alphabetical order. Never raises: a monitor that cannot be loaded is logged and left out."""
    built_in = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    added = {entry.name: entry for entry in installed.entries(GROUP, built_in)}
    monitors: list[Monitor] = []
    for name in sorted((*built_in, *added)):
        if name not in added:
            monitors.append(importlib.import_module(f"{__name__}.{name}").MONITOR)
            continue
        monitor = installed.load(added[name])
        if isinstance(monitor, Monitor) and not isinstance(monitor, type):
            monitors.append(monitor)
        elif monitor is not None:
            installed.log_broken(added[name], "a monitor is an object with a name and a method observe(span)")
    return tuple(monitors)
