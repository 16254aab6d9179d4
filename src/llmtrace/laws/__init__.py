"""Quality signals: each watches the spans of one run and reports problems in them. One file, one signal.

This folder is the registry: every module in it, except `base` and `user_signals` and those with a leading underscore, defines
``SIGNAL`` under the module's own name. Installed packages add theirs by entry points of the group ``llmtrace.laws``,
a program by `llmtrace.signal`.

Each finding is an *evaluation* on a span: a name, a label, a severity (``info``, ``warning``, ``error``) and an explanation
without content. Its evidence is content. Only warnings and errors mark a run. A run is the outermost llmtrace span in a process
and all spans below it. Under ``llmtrace run``, each outermost agent, workflow or span is a run.

* A call counts once: request, execution and result are joined by call id. If tools have no spans, the finding is on the
  inference that got the result.
* *Failed* means that the tool raised, was refused, or returned an error. An error result has ``error``, ``isError``, a false
  ``success`` or an HTTP status of 400 or more, or begins like a program's error.
* Words of a natural language can only lower a finding to ``info``.

``configure(signals=("-repeated_call", "-refusal"))`` or LLMTRACE_SIGNALS=-repeated_call,-refusal switches two off. Names
without a minus keep only those; an empty tuple or variable switches all off. Validation stays. In a backend, a finding is a
span event ``gen_ai.evaluation.result`` and an attribute ``llmtrace.finding.<name>``: see docs/how_to/backends.md. How often
each signal fires in good and bad runs: docs/explanation/benchmarks/verdicts.md.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from llmtrace import installed
from llmtrace.laws import user_signals
from llmtrace.laws.base import AnySignal, Need, Signal, Stateless
from llmtrace.laws.user_signals import UserSignal
from llmtrace.log_once import warn_once
from llmtrace.model import BUDGET_STOPPED, Evaluation
from llmtrace.near_names import most_like

__all__ = [
    "GROUP",
    "AnySignal",
    "Confidence",
    "Need",
    "Signal",
    "Stateless",
    "UserSignal",
    "advice",
    "confidence_of",
    "is_built_in",
    "load",
    "load_background",
    "names",
    "origins",
]

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "llmtrace.signals"
_NOT_SIGNALS = frozenset({"base", "user_signals"})

Confidence: TypeAlias = Literal["certain", "likely", "possible"]
"""``certain``: the record proves the problem. ``likely``: a rule with few exceptions. ``possible``: worth checking. Only
certain and likely findings mark a run."""
_CERTAIN = frozenset(
    {
        "failed_tool never_succeeded",
        "repeated_call same_result",
        "repeated_call cycle",
        "duplicated_effect declared",
        "defective_output cut_arguments",
        "defective_output cut_json",
        "defective_output stream_cut",
        "leaked_tool_call syntax",
        "end_state",
        BUDGET_STOPPED,
    }
)
_LIKELY = frozenset({"ungrounded_argument"})
"""Entries name a signal, or a signal and one of its labels. All other findings of built-in signals are ``possible``."""


@lru_cache(maxsize=1)
def advice() -> Mapping[str, str]:
    """Return the advice of each signal, by its name. Signals without advice are left out."""
    return {signal.name: signal.advice for signal in load() if signal.advice}


def load(names: tuple[str, ...] | None = None) -> tuple[AnySignal, ...]:
    """Load the signals with these names: the built-in ones first, the program's own last. None: all.

    A name with a minus excludes that signal and, without other names, includes all others. Background signals are not included.
    Never raises: an unknown name and a signal that cannot be imported are each logged once and left out.
    """
    built_in, installed_signals, registered = _built_in(), _installed(), user_signals.registered
    signals: list[AnySignal | None] = []
    available = dict.fromkeys((*built_in, *installed_signals, *registered))
    for name in names or ():
        if (bare := name.removeprefix("-")) not in available:
            near = most_like(bare, available)
            hint = f" (did you mean {near!r}?)" if near else ""
            warn_once(f"unknown quality signal {name!r}{hint}; it is ignored")  # once, since signals are loaded repeatedly
    for name in _select(names, available):
        if name in registered:
            signals.append(registered[name])
        elif name in built_in:
            signals.append(_load_built_in(name))
        else:
            signals.append(_load_installed(name, installed_signals[name]))
    background = load_background()
    return tuple(signal for signal in signals if signal is not None and signal not in background)


def load_background(names: tuple[str, ...] | None = None) -> tuple[UserSignal, ...]:
    """Load the program's own background signals with these names; see `load`."""
    signals = {name: signal for name, signal in user_signals.registered.items() if signal.background}
    return tuple(signals[name] for name in _select(names, signals))


def names() -> tuple[str, ...]:
    """Return the names of all built-in and installed signals."""
    return (*_built_in(), *_installed())


def is_built_in(name: str) -> bool:
    """Return True for a signal of llmtrace itself, False for a signal of the program or another package."""
    return name in _built_in()


def confidence_of(evaluation: Evaluation) -> Confidence:
    """Return the confidence of a warning or error, by its signal and its label.

    An error by the program's own signal is certain, since the program decides.
    """
    names = {evaluation.name, f"{evaluation.name} {evaluation.label}"}
    if names & _CERTAIN or (evaluation.severity == "error" and not is_built_in(evaluation.name)):
        return "certain"
    return "likely" if names & _LIKELY else "possible"


def origins() -> dict[str, str]:
    """Return the origin of each signal by name; empty text for built-in ones."""
    origin = dict.fromkeys(_built_in(), "")
    for name, entry in _installed().items():
        origin.setdefault(name, f"installed: {entry.value}")
    for name, signal in user_signals.registered.items():
        origin[name] = f"registered by {signal.origin}{', in the background' if signal.background else ''}"
    return origin


@lru_cache(maxsize=1)
def _built_in() -> tuple[str, ...]:
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(name for name in names if not name.startswith("_") and name not in _NOT_SIGNALS)


def _installed() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in installed.entries(GROUP, _built_in())}


def _select(names: tuple[str, ...] | None, available: Iterable[str]) -> list[str]:
    if names is None:
        return list(available)
    without = {name[1:] for name in names if name.startswith("-")}
    only = {name for name in names if not name.startswith("-")}
    return [name for name in available if name not in without and (name in only or (without and not only))]


def _load_built_in(name: str) -> AnySignal | None:
    try:
        signal: AnySignal = importlib.import_module(f"{__name__}.{name}").SIGNAL
        return signal
    except Exception as error:  # for example, no file descriptor is left
        warn_once(f"quality signal {name} cannot be loaded and is off: {error}")
        return None


def _load_installed(name: str, entry: EntryPoint) -> AnySignal | None:
    signal = installed.load(entry)
    if signal is None or isinstance(signal, Signal):
        return signal
    if callable(signal) and not isinstance(signal, type):
        return Stateless(name, signal)
    installed.log_broken(entry, "it is neither an instance of llmtrace.laws.Signal nor a function of a span")
    return None
