"""Quality signals: each watches the spans of one run and says what is wrong with them. One file, one signal.

This folder is the registry: every module here whose name has no leading underscore defines ``SIGNAL``, under the module's
own name. Installed packages add theirs by entry points of the group ``llmtrace.signals``, a program by `llmtrace.signal`.

Laws: a signal is deterministic, its state is bounded however long the run, it never changes a span, and its explanations and
labels hold no content; what a model or a user said stands in ``evidence`` only. So replaying a run's spans in order gives the
live evaluations.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint
from typing import Any, Protocol

from llmtrace.installed import entry_points
from llmtrace.model import Evaluation, Span
from llmtrace.signals import _own

logger = logging.getLogger("llmtrace")

GROUP = "llmtrace.signals"


class Signal(Protocol):
    """What watches one run. A method ``finish(state) -> Iterable[Evaluation]`` is optional: it is called once, when the
    run's outermost span has been stepped, and its evaluations go on that span. A signal that needs to see spans which never
    ended has ``on_reading`` (see `unfinished_run`). One that has ``looks_at``, a tuple of classes of operations, is stepped
    with spans of these only: most spans then cost it nothing. One that has ``shares``, the name of another, gets the state of
    that one, where it is on. Three more say when it need not be called at all, by traits of spans (see `_traits`):
    ``waits_for``, those of which a span must have one; ``wakes_on``, those of which one must have been seen in the run;
    ``alone``, those of which the only span of a run must have one (0: such a run is nothing to it, nor is its end).
    One that has ``untraced = True`` is also stepped with the tool executions that only messages tell of (see `_untraced`).
    One that has ``per_task = True`` begins anew where a program turns to its next task (see `lineage.tasks`).
    ``advice``, a sentence, says what to do about a finding; `llmtrace why` tells it.
    """

    @property
    def name(self) -> str:
        """The name of every evaluation that it gives."""
        ...

    def start(self) -> Any:
        """The state for one new run: whatever `step` needs to remember, bounded. It is freed with the run."""
        ...

    def step(self, state: Any, span: Span) -> Iterable[Evaluation]:
        """What is found on a span that has just ended; spans come in the order of ending, with violations filled in."""
        ...


class Stateless:
    """A signal that is a plain function of the span."""

    __slots__ = ("advice", "check", "looks_at", "name", "waits_for")

    def __init__(
        self,
        name: str,
        check: Callable[[Span], Iterable[Evaluation]],
        looks_at: tuple[type, ...] | None = None,
        waits_for: int | None = None,
        advice: str = "",
    ) -> None:
        """``looks_at``: classes of operations; ``waits_for``: traits of which a span must have one. Default, all spans."""
        self.name = name
        self.check = check
        self.looks_at = looks_at
        self.waits_for = waits_for
        self.advice = advice

    def start(self) -> None:
        return None

    def step(self, _state: None, span: Span) -> Iterable[Evaluation]:
        return self.check(span)


@lru_cache(maxsize=1)
def advice() -> Mapping[str, str]:
    """By the name of a signal, what to do about its findings."""
    return {signal.name: told for signal in load() if (told := getattr(signal, "advice", ""))}


def load(names: tuple[str, ...] | None = None) -> tuple[Signal, ...]:
    """The signals of these names, the built-in ones first, the program's own last; None: all there are; a name with a minus:
    all but that one. Those that judge in the background are not among them.

    Never raises: an unknown name and a signal that cannot be imported are each logged once and left out.
    """
    known = dict(_built_in())
    for name, entry in _installed():
        if name in known:
            logger.warning("llmtrace: quality signal %s of %s has a name that is taken; it is off", name, entry.value)
        else:
            known[name] = entry
    own = _own.live()
    chosen = _chosen(names, {**known, **_own.registered})
    found = (own.get(name) if name in _own.registered else _load(name, known[name]) for name in chosen)
    return tuple(signal for signal in found if signal is not None)


def names() -> tuple[str, ...]:
    """The names of all that are built in or installed: they are taken."""
    return tuple(name for name, _ in (*_built_in(), *_installed()))


def origins() -> dict[str, str]:
    """All there are by name, and where each comes from; nothing for those that are built in."""
    found = {name: "" for name, _ in _built_in()}
    for name, entry in _installed():
        found.setdefault(name, f"installed: {entry.value}")
    for name, own in _own.registered.items():
        found[name] = f"registered by {own.origin}{', in the background' if own.background else ''}"
    return found


def judging(names: tuple[str, ...] | None = None) -> tuple[_own.Own, ...]:
    """The program's own signals of these names (see `load`) that judge in the background."""
    own = _own.judges()
    return tuple(own[name] for name in _allowed(names, own))


def _built_in() -> Iterator[tuple[str, EntryPoint]]:
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            yield module.name, EntryPoint(module.name, f"{__name__}.{module.name}:SIGNAL", GROUP)


def _installed() -> Iterator[tuple[str, EntryPoint]]:
    try:
        for entry in entry_points(group=GROUP):
            yield entry.name, entry
    except Exception as error:  # broken metadata of any installed package must not stop the program
        logger.warning("llmtrace: installed quality signals cannot be listed: %s", error)


def _chosen(names: tuple[str, ...] | None, known: Mapping[str, object]) -> list[str]:
    for name in names or ():
        if name.removeprefix("-") not in known:
            near = difflib.get_close_matches(name.removeprefix("-"), known, n=1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            logger.warning("llmtrace: unknown quality signal %r%s; it is ignored", name, meant)
    return _allowed(names, known)


def _allowed(names: tuple[str, ...] | None, known: Iterable[str]) -> list[str]:
    if names is None:
        return list(known)
    without = {name[1:] for name in names if name.startswith("-")}
    only = {name for name in names if not name.startswith("-")}
    return [name for name in known if name not in without and (name in only or (without and not only))]


def _load(name: str, entry: EntryPoint) -> Signal | None:
    try:
        module = importlib.import_module(entry.module)
        return _as_signal(name, getattr(module, entry.attr or "SIGNAL"))
    except Exception as error:  # a third party's import may raise anything
        logger.warning("llmtrace: quality signal %s (%s) cannot be loaded and is off: %s", name, entry.value, error)
        return None


def _as_signal(name: str, found: Any) -> Signal:
    if isinstance(found, type):
        raise TypeError("it is a class; name an instance or a function of a span")
    if all(hasattr(found, part) for part in ("name", "start", "step")):
        signal: Signal = found
        return signal
    if callable(found):
        return Stateless(name, found)
    raise TypeError("it has no name, start and step, and is no function of a span")
