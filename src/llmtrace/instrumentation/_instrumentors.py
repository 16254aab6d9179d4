"""The registry of instrumentors, and the switch that turns them on and off.

Built-in instrumentors are the files of this folder. Other packages add theirs by entry points of the group
``llmtrace.instrumentors``: the name of the instrumentor, and the module that holds it.

A module states its library at the left margin, which is read from its text, and ``PATCHES``. It is imported when its library
is, and the library itself never by us (see `_patches`): what a program does not use costs it nothing. A version of the library
that is too old is left alone, and an installed package that is broken is off, each with one line in the log.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import pkgutil
import re
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.machinery import PathFinder
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from llmtrace import installed
from llmtrace.external.moved_spans import redundant_scopes
from llmtrace.instrumentation._after_import import after_import
from llmtrace.instrumentation._patches import Patch, Patches
from llmtrace.near_names import most_like
from llmtrace.recorder.guard import guard

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "llmtrace.instrumentors"

logger = logging.getLogger("llmtrace")

T = TypeVar("T")


# -- what an instrumentor states about its library, read without importing either

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


@dataclass(frozen=True, slots=True)
class Instrumentor:
    patches: tuple[Patch, ...]
    """``PATCHES``: the functions to wrap."""
    clients: Mapping[str, str] = field(default_factory=dict)
    """``CLIENTS``: classes whose objects `instrument` accepts, as ``module.Class``. The value is the attribute that
    `Endpoint.client` returns; empty text for the client object itself."""
    redundant_scopes: frozenset[str] = frozenset()
    """``REDUNDANT_SCOPES``: scopes of spans that add nothing to those of this instrumentor."""


_PACKAGE = __name__.rpartition(".")[0]


class _Switch:
    """An instrumentor: off, on, or on for selected clients only. Its module is loaded when its library is."""

    def __init__(self, name: str) -> None:
        self._on = False
        self._name = name
        self._library = library_of(name)
        self._is_too_old = False
        self._patches: Patches | None = None
        self._redundant_scopes: frozenset[str] = frozenset()
        self._is_awaited = False

    @property
    def is_on(self) -> bool:
        return self._on and not self._is_too_old

    def turn_on(self) -> None:
        self._on = True
        deselect(self._library.module)
        if self._library.module in sys.modules:
            self._apply()
        elif not self._is_awaited:
            self._is_awaited = True
            after_import(self._library.module, lambda: guard(self._apply) if self._on else None)

    def turn_on_for(self, client: Any) -> None:
        """Record the calls of one client, if its library is not recorded as a whole."""
        if not self.is_on:
            select(self._library.module, client)
            self._apply()

    def turn_off(self) -> None:
        self._on = False
        deselect(self._library.module)
        if self._patches is not None:
            self._patches.undo()
        redundant_scopes.difference_update(self._redundant_scopes)

    def _apply(self) -> None:
        library, version = self._library, self._library.version()
        if self._patches is None and library.compare(version) == "older":  # it could be recorded only in part
            if not self._is_too_old:
                self._is_too_old = True
                logger.warning(
                    "llmtrace: %s %s is older than the first supported version, %s, and is not recorded. Use: pip install '%s'",
                    *(library.distribution, version, library.oldest, library.requirement),
                )
            return
        if self._patches is None:
            instrumentor = load(self._name)
            if instrumentor is None:
                return
            self._patches = Patches(instrumentor.patches)
            self._redundant_scopes = instrumentor.redundant_scopes
        self._patches.apply()
        redundant_scopes.update(self._redundant_scopes)


_switches: dict[str, _Switch] = {}


def available() -> tuple[str, ...]:
    """Return the names of all instrumentors, built-in and installed, in order."""
    return tuple(sorted((*_built_in(), *_installed())))


@cache
def _built_in() -> tuple[str, ...]:
    folder = importlib.import_module(_PACKAGE).__path__
    return tuple([module.name for module in pkgutil.iter_modules(folder) if not module.name.startswith("_")])


def _installed() -> dict[str, EntryPoint]:
    """Return the entry points of other packages. A built-in instrumentor is not replaced by one of the same name."""
    return {entry.name: entry for entry in installed.entries(GROUP, reserved=_built_in())}


def load(name: str) -> Instrumentor | None:
    """Import the module of an instrumentor. Returns None, and logs one line, if that of another package fails."""
    if name in _built_in():
        return _read_statements(f"{_PACKAGE}.{name}")
    return _guard_package(_installed()[name], _read_statements)


def _read_statements(module: str) -> Instrumentor:
    statements = vars(importlib.import_module(module))
    patches = tuple(statements["PATCHES"])
    if not all(isinstance(patch, Patch) for patch in patches):
        raise TypeError("PATCHES holds something that is not a Patch")
    return Instrumentor(patches, dict(statements.get("CLIENTS", {})), frozenset(statements.get("REDUNDANT_SCOPES", ())))


def _guard_package(entry: EntryPoint, read: Callable[[str], T]) -> T | None:
    """Read the module of an entry point. Returns None, and logs one line, if that fails."""
    try:
        return read(entry.module)
    except Exception as error:  # importing a third party's module may raise anything
        installed.log_broken(entry, f"{type(error).__qualname__}: {error}")
        return None


@cache
def library_of(name: str) -> Library:
    """Return the library that an instrumentor states, without loading either."""
    if name in _built_in():
        # to read a file of this folder takes a fraction of looking it up as a module
        return read_library((pkgutil.get_data(_PACKAGE, f"{name}.py") or b"").decode(), name)
    return read_library(_guard_package(_installed()[name], _source_of), name)


def _source_of(module: str) -> str | None:
    package = module.rpartition(".")[0]
    spec = PathFinder.find_spec(module, importlib.import_module(package).__path__ if package else None)
    spec = importlib.util.find_spec(module) if spec is None else spec  # found by a hook: an editable install, say
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {module!r}")
    source: str | None = spec.loader.get_source(module)  # type: ignore[attr-defined]  # of all loaders of source files
    return source


def enable(names: Iterable[str] | None = None) -> tuple[str, ...]:
    """Turn on the instrumentors with these names, or all. Returns the names of those that are on now.

    Libraries are not imported: one that is not loaded yet is patched when it is. An unknown name is logged and ignored.
    """
    all_names = available()
    for name in all_names if names is None else names:
        if name in all_names:
            guard(lambda name: _switch(name).turn_on(), name)
        else:
            similar = most_like(name, all_names)
            hint = f"did you mean {similar!r}?" if similar else f"use one of: {', '.join(all_names)}"
            logger.warning("llmtrace: unknown instrumentor %r (%s); it is ignored", name, hint)
    return tuple(name for name, switch in sorted(_switches.items()) if switch.is_on)


def warn_of_absent(names: Iterable[str]) -> None:
    """Log one line for each instrumentor whose library is not installed. Only for names that the program passed explicitly."""
    for name in names:
        library = library_of(name) if name in available() else None
        if library is not None and not library.is_installed():
            logger.warning(
                "llmtrace: instrument names %r, but %s is not installed, so nothing is recorded. Use: pip install '%s'",
                *(name, library.distribution, library.requirement),
            )


def disable(names: Iterable[str] | None = None) -> None:
    """Turn off the instrumentors with these names, or all: every wrapped function is restored.

    If all are turned off, streams that are still open end their spans now.
    """
    wanted = None if names is None else set(names)
    for name, switch in _switches.items():
        if wanted is None or name in wanted:
            switch.turn_off()
    if wanted is None:
        end_streams()


def end_streams() -> None:
    """End the span of every stream that is still open, with the data so far."""
    if f"{_PACKAGE}._streams" in sys.modules:  # else no provider is loaded that has streams
        from llmtrace.instrumentation._streams import end_open

        end_open()


def is_on(name: str) -> bool:
    """Return True if this instrumentor is on. Then a framework above it does not record model calls itself."""
    return name in _switches and _switches[name].is_on


def _switch(name: str) -> _Switch:
    if name not in _switches:
        _switches[name] = _Switch(name)
    return _switches[name]


# -- one client, where its library is not recorded as a whole

selected: dict[str, weakref.WeakValueDictionary[int, Any]] = {}
"""For each library with only some recorded clients: those clients, by their ids. A library that is not a key is recorded as a
whole."""


def select(library: str, client: Any) -> None:
    """Record the calls of ``client``. Other clients of its library are recorded only if they are selected too."""
    selected.setdefault(library, weakref.WeakValueDictionary())[id(client)] = client
    _library_of.cache_clear()


def deselect(library: str) -> None:
    selected.pop(library, None)
    _library_of.cache_clear()


def copying(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for a client's method that makes another client with other options: it is recorded if the first one is."""
    client = wrapped(*args, **kwargs)
    kind: Any = type(instance)
    library = guard(_library_of, kind) if selected else None
    if library is not None and not is_left_out(instance):
        guard(select, library, client)
    return client


def is_left_out(client: object) -> bool:
    """Return True if ``client`` belongs to a library of which only other clients are recorded."""
    kind: Any = type(client)
    clients = selected.get(_library_of(kind) or "")
    return clients is not None and id(client) not in clients


@lru_cache(maxsize=256)
def _library_of(kind: Any) -> str | None:
    modules = [base.__module__ for base in kind.__mro__]
    return next((library for library in selected for name in modules if f"{name}.".startswith(f"{library}.")), None)


def instrument(client: T) -> T:
    """Record the calls of one client object, and return it.

    For a program that turned its library off (``configure(instrument=[])``) and wants some of its clients recorded. Nothing
    changes if the library is recorded as a whole, or the client is recorded already. Nothing is recorded before `configure`.

    Raises TypeError if ``client`` is not a client object of an instrumented library.
    """
    for name in available():
        instrumentor = load(name) if library_of(name).module in sys.modules else None
        for path, attribute in () if instrumentor is None else instrumentor.clients.items():
            module, _, class_name = path.rpartition(".")
            kind = getattr(sys.modules.get(module), class_name, None)
            if isinstance(kind, type) and isinstance(client, kind):
                _switch(name).turn_on_for(attrgetter(attribute)(client) if attribute else client)
                return client
    if isinstance(client, str):
        raise TypeError(
            f"llmtrace.instrument({client!r}): expected a client object, as in llmtrace.instrument(OpenAI()). To choose "
            f"libraries by name, use llmtrace.configure(instrument=[{client!r}])"
        )
    classes = [path for instrumentor in filter(None, map(load, available())) for path in instrumentor.clients]
    raise TypeError(
        f"llmtrace.instrument: cannot instrument {type(client).__module__}.{type(client).__qualname__}. "
        f"Use a client object of one of these classes: {', '.join(classes)}"
    )
