"""Where spans are kept and read back: one protocol, one file per kind of store, chosen by URL.

Law: what is appended is read back equal, by every store. A span that arrives twice is stored once; the richer version wins,
an ended one over its start mark. Reading may raise `StoreError`; appending raises for no trouble of disk or network.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from llmtrace.config import Config
from llmtrace.errors import ConfigurationError, UnreadableStore
from llmtrace.model import Sink, Span, Trace
from llmtrace.model.value import value
from llmtrace.store.summary import TraceSummary, summarise

__all__ = ["NEWEST", "Query", "Store", "TraceSummary", "is_elsewhere", "open_store", "summarise"]


@value
class Query:
    """Which traces to list; what is None asks for nothing."""

    limit: int = 50
    since: int | None = None
    """Traces that began at this time or later, in nanoseconds since the Unix epoch."""
    until: int | None = None
    """Traces that began before this time."""
    health: str | None = None
    """ok, recovered, failed or running."""
    agent: str | None = None
    """Name of an agent that took part."""
    text: str | None = None
    """Words that must all be somewhere in the trace; see `search`."""


NEWEST = Query()


class Store(Sink, ABC):
    """What every store does. All of it may be called from several threads at once."""

    elsewhere = False
    """True for a store that reads a backend: reading takes a request, and nobody tells when the backend got something."""

    @abstractmethod
    def append(self, span: Span) -> None:
        """Keep a span. ``end`` None makes it a start mark, which the ended span replaces."""

    @abstractmethod
    def flush(self) -> None:
        """Write what still waits in memory."""

    @abstractmethod
    def traces(self, query: Query = NEWEST) -> list[TraceSummary]:
        """Summaries, newest first. Raises UnreadableStore."""

    @abstractmethod
    def trace(self, trace_id: str) -> Trace:
        """One trace, by its id, the beginning of it (4 digits at least) or "last". Raises TraceNotFound, UnreadableStore."""

    @abstractmethod
    def spans(self, query: Query = NEWEST, *, prompts: bool = True) -> Iterator[Span]:
        """The spans of the traces that a query asks for (``limit`` counts traces), a trace at a time, newest first, those of a
        trace together and in order of start. Only a few traces are in memory at once. ``prompts`` False leaves out what
        models were given (messages, instructions, tool definitions), most of what a store holds. Raises UnreadableStore."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections. A later call opens them again."""


def is_elsewhere(store: Store) -> bool:
    """True for a store that reads a backend."""
    return store.elsewhere


def open_store(url: str = "auto", *, config: Config | None = None) -> Store:
    """The store that a URL names.

    ``auto`` or empty: the user's data folder. A folder's path: a local store there. ``memory:``. A file's path, or
    ``otlp-json:PATH``: OTLP as JSON lines. Other schemes: a module of this package, or of the entry point group
    ``llmtrace.stores``. Raises UnreadableStore (the store is off), ConfigurationError (no such scheme).
    """
    if url.strip().lower() == "off":
        raise UnreadableStore("the store is off (LLMTRACE_STORE=off): nothing is kept. Set it to 'auto' or a folder")
    scheme = _scheme(url)
    known: list[str] = []
    for module in _modules():
        if scheme in module.SCHEMES:
            store: Store = module.open(url, config or Config())
            return store
        known += module.SCHEMES
    near = difflib.get_close_matches(scheme, known, n=1)
    meant = f"; did you mean {near[0]!r}?" if near else "."
    raise ConfigurationError(f"no store goes by {scheme!r} (in {url!r}){meant} Known: a folder, {', '.join(sorted(known))}")


def _scheme(url: str) -> str:
    named = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", url)
    if named:
        return named[1].lower()
    path = Path(url).expanduser()
    return "otlp-json" if path.suffix == ".jsonl" or path.is_file() else "local"


def _modules() -> Iterator[Any]:
    """Modules that state SCHEMES and open(url, config): the default store's first, since importing others may cost."""
    names = [found.name for found in pkgutil.iter_modules(__path__)]
    for name in sorted(names, key=lambda name: (name != "local", name)):
        module = importlib.import_module(f"{__name__}.{name}")
        if _is_store(module):
            yield module
    from importlib.metadata import entry_points  # 18 ms, for a scheme that none of ours has

    for entry in entry_points(group="llmtrace.stores"):
        module = entry.load()
        if _is_store(module):
            yield module


def _is_store(module: ModuleType) -> bool:
    return hasattr(module, "SCHEMES") and hasattr(module, "open")
