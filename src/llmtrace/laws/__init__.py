"""Quality signals: what may be said of a run. Inside llmtrace, each is called a law, and one file is one law.

This folder is the registry: every module in it, except `base`, `finding`, `judging` and `user_signals` and those with a leading
underscore, defines ``SIGNAL`` under the module's own name. Installed packages add theirs by entry points of the group
``llmtrace.signals``, a program by `llmtrace.signal`.

A signal speaks twice. When a step ends, it states *facts* about the step: evaluations on its span, with a name, a label, a
severity (``info``, ``warning``, ``error``) and an explanation without content. When the run ends, it *judges* the run: each
finding has a confidence, certain, likely or possible. Only certain and likely findings mark a run. The outermost span carries
them, and every reader derives the same ones from the stored trace. A run is the outermost llmtrace span in a process and all
spans below it. Under ``llmtrace run``, each outermost agent, workflow or span is a run.

* A call counts once: request, execution and result are joined by call id. If tools have no spans, the finding is on the
  inference that got the result.
* *Failed* means that the tool raised, was refused, or returned an error. An error result has ``error``, ``isError``, a false
  ``success`` or an HTTP status of 400 or more, or begins like a program's error.
* Words of a natural language can only lower a finding.

``configure(signals=("-repeated_call", "-refusal"))`` or LLMTRACE_SIGNALS=-repeated_call,-refusal switches two off. Names
without a minus keep only those; an empty tuple or variable switches all off. Validation stays. In a backend, a finding is a
span event ``gen_ai.evaluation.result`` and an attribute ``llmtrace.finding.<name>``: see docs/how_to/backends.md. How often
each signal marks good and bad runs: docs/explanation/benchmarks/diagnosis.md.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from llmtrace import installed
from llmtrace.laws import user_signals
from llmtrace.laws.base import AnyLaw, Law, Stateless, When
from llmtrace.laws.user_signals import UserSignal
from llmtrace.log_once import warn_once
from llmtrace.near_names import most_like

__all__ = [
    "GROUP",
    "AnyLaw",
    "Law",
    "Stateless",
    "UserSignal",
    "When",
    "is_built_in",
    "load",
    "load_background",
    "names",
    "origins",
]

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "llmtrace.signals"
_NOT_LAWS = frozenset({"base", "finding", "judging", "user_signals"})


def load(names: tuple[str, ...] | None = None) -> tuple[AnyLaw, ...]:
    """Load the laws with these names: the built-in ones first, the program's own last. None: all.

    A name with a minus excludes that law and, without other names, includes all others. Background signals are not included.
    Never raises: an unknown name and a law that cannot be imported are each logged once and left out.
    """
    built_in, installed_laws, registered = _built_in(), _installed(), user_signals.registered
    laws: list[AnyLaw | None] = []
    available = dict.fromkeys((*built_in, *installed_laws, *registered))
    for name in names or ():
        if (bare := name.removeprefix("-")) not in available:
            near = most_like(bare, available)
            hint = f" (did you mean {near!r}?)" if near else ""
            warn_once(f"unknown quality signal {name!r}{hint}; it is ignored")  # once, since laws are loaded repeatedly
    for name in _select(names, available):
        if name in registered:
            laws.append(registered[name])
        elif name in built_in:
            laws.append(_load_built_in(name))
        else:
            laws.append(_load_installed(name, installed_laws[name]))
    background = load_background()
    return tuple(law for law in laws if law is not None and law not in background)


def load_background(names: tuple[str, ...] | None = None) -> tuple[UserSignal, ...]:
    """Load the program's own background signals with these names; see `load`."""
    signals = {name: signal for name, signal in user_signals.registered.items() if signal.background}
    return tuple(signals[name] for name in _select(names, signals))


def names() -> tuple[str, ...]:
    """Return the names of all built-in and installed laws."""
    return (*_built_in(), *_installed())


def is_built_in(name: str) -> bool:
    """Return True for a law of llmtrace itself, False for a signal of the program or another package."""
    return name in _built_in()


def origins() -> dict[str, str]:
    """Return the origin of each law by name; empty text for built-in ones."""
    origin = dict.fromkeys(_built_in(), "")
    for name, entry in _installed().items():
        origin.setdefault(name, f"installed: {entry.value}")
    for name, signal in user_signals.registered.items():
        origin[name] = f"registered by {signal.origin}{', in the background' if signal.background else ''}"
    return origin


@lru_cache(maxsize=1)
def _built_in() -> tuple[str, ...]:
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(name for name in names if not name.startswith("_") and name not in _NOT_LAWS)


def _installed() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in installed.entries(GROUP, _built_in())}


def _select(names: tuple[str, ...] | None, available: Iterable[str]) -> list[str]:
    if names is None:
        return list(available)
    without = {name[1:] for name in names if name.startswith("-")}
    only = {name for name in names if not name.startswith("-")}
    return [name for name in available if name not in without and (name in only or (without and not only))]


def _load_built_in(name: str) -> AnyLaw | None:
    try:
        law: AnyLaw = importlib.import_module(f"{__name__}.{name}").SIGNAL
        return law
    except Exception as error:  # for example, no file descriptor is left
        warn_once(f"quality signal {name} cannot be loaded and is off: {error}")
        return None


def _load_installed(name: str, entry: EntryPoint) -> AnyLaw | None:
    law = installed.load(entry)
    if law is None or isinstance(law, Law):
        return law
    if callable(law) and not isinstance(law, type):
        return Stateless(name, law)
    installed.log_broken(entry, "it is neither an instance of llmtrace.laws.Law nor a function of a span")
    return None
