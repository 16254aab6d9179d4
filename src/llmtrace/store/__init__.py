"""Stores keep spans and read them back. They have one base class, and one file per kind of store, chosen by URL.

Law: every store reads back exactly what was appended. A span that arrives twice is stored once: the richer version wins, and
an ended span replaces its start mark. Reading may raise `StoreError`; appending never raises for disk or network errors.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from llmtrace import installed
from llmtrace.codec import genai
from llmtrace.config import Config
from llmtrace.errors import ConfigurationError, UnreadableStore
from llmtrace.model import RawSpan, Sink, Span, Trace
from llmtrace.model.traces import in_traces
from llmtrace.model.value import value
from llmtrace.near_names import most_like
from llmtrace.store.summary import TraceSummary, summarise

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["NEWEST", "Query", "Store", "TraceSummary", "open_store", "summarise"]


@value
class Query:
    """Which traces to list. A field that is None does not filter."""

    limit: int = 50
    since: int | None = None
    """Traces that began at this time or later, in nanoseconds since the Unix epoch."""
    until: int | None = None
    """Traces that began before this time."""
    health: str | None = None
    """ok, recovered, suspect, failed or running. `listing.find` also finds what only a diagnosis shows."""
    agent: str | None = None
    """Name of an agent that took part."""
    text: str | None = None
    """Words that must all be somewhere in the trace; see `search`."""
    workflow: str | None = None
    model: str | None = None
    """Name of a model that was requested or that answered."""
    user: str | None = None
    conversation: str | None = None
    tag: str | None = None
    used_skill: str | None = None
    """Name of an agent skill that was loaded, read or run, without a failure."""
    used_record: str | None = None
    """Id of a document or memory that was found or stored; see `codec.records`."""
    finding: str | None = None
    """Name of a failed signal, alone or as ``name:label``; code of a violation; or type of an error."""
    confidence: str | None = None
    """certain or likely: the confidence of the first suspect. `listing.find` applies it in every store."""
    min_cost: float | None = None
    """US dollars."""
    max_cost: float | None = None
    min_tokens: float | None = None
    """Tokens in and out."""
    max_tokens: float | None = None
    min_duration: float | None = None
    """Seconds."""
    max_duration: float | None = None
    sort: str = "age"
    """One of `filters.SORTS`: the newest or the largest first."""
    reverse: bool = False
    """The oldest or the smallest first."""


NEWEST = Query()


class Store(Sink, ABC):
    """A place for spans. All methods may be called from several threads at once.

    A new kind of store implements `append`, `traces`, `trace` and `spans`; the other methods have defaults.
    """

    _replay_key: bytes | None = None

    folder: Path | None = None
    """The folder of a local store, which holds ``journal/``; None for other kinds."""
    path: Path | None = None
    """The one file that a store reads; None for other kinds."""
    is_remote: ClassVar[bool] = False
    """True if reading sends a request to another machine. New spans are then seen only with the next request."""
    has_index: ClassVar[bool] = False
    """True if `summary` answers without reading the whole trace."""

    @abstractmethod
    def append(self, span: Span) -> None:
        """Keep a span. ``end`` None makes it a start mark, which the ended span replaces."""

    def append_all(self, raws: Iterable[RawSpan], *, sends: bool = True) -> None:  # noqa: ARG002 - for stores that are sent on
        """Keep several encoded spans. Some stores write them at once. ``sends`` False: a forwarder leaves them out."""
        for raw in raws:
            if self.takes_encoded:
                self.append_encoded(raw)
            else:
                self.append(genai.decode(raw))

    def flush(self) -> None:
        """Write spans that still wait in memory."""

    @abstractmethod
    def traces(self, query: Query = NEWEST) -> list[TraceSummary]:
        """Return the summaries of the traces that match ``query``, in its order (default: newest first).

        Raises UnreadableStore.
        """

    @abstractmethod
    def trace(self, trace_id: str) -> Trace:
        """Return a trace by its id, the first 4 or more digits of it, or "last". Raises TraceNotFound, UnreadableStore."""

    @abstractmethod
    def spans(self, query: Query = NEWEST, *, prompts: bool = True) -> Iterator[Span]:
        """Yield the spans of the traces that match ``query``, newest trace first, the spans of a trace in order of start.

        ``query.limit`` counts traces; only a few of them are in memory at once. ``prompts`` False leaves out the models' input
        (messages, instructions, tool definitions), which is most of what a store holds. Raises UnreadableStore.
        """

    def replay_key(self) -> bytes:
        """Return the secret of this store that keys the digests of requests (`codec.recorded`).

        Default: a new one for each store object.
        """
        if self._replay_key is None:
            self._replay_key = os.urandom(32)
        return self._replay_key

    def summary(self, trace_id: str) -> TraceSummary:
        """Return the summary of the trace that `trace` would return. Raises TraceNotFound, UnreadableStore."""
        return summarise(self.trace(trace_id))

    def newest_ids(self, limit: int) -> list[str]:
        """Return the ids of the ``limit`` newest traces, oldest first. Raises UnreadableStore."""
        return [summary.trace_id for summary in reversed(self.traces(Query(limit=limit)))]

    def names(self, kind: str) -> list[str]:  # noqa: ARG002 - for stores with an index
        """Return up to 200 names of a kind of `filters.KINDS` that traces can be filtered by; empty without an index.

        Raises UnreadableStore.
        """
        return []

    def monitor_states(self, *, seconds: float = float("inf")) -> list[dict[str, Any]]:  # noqa: ARG002 - for stores with an index
        """Return the monitors' state for each key (`llmtrace.monitors.reports` reads it), the most recently used key first.

        ``seconds``: how long a store with an index shows new traces to the monitors, at most (default: until all are shown).

        Raises UnreadableStore.
        """
        from llmtrace.store.monitoring import learn

        return learn(reversed(list(in_traces(self.spans(Query(limit=sys.maxsize))))), {})

    def has_unwritten(self) -> bool:
        """Return True if spans wait in memory to be written, such as on a full disk."""
        return False

    def close(self) -> None:
        """Close files and connections. A later call opens them again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@runtime_checkable
class StoreModule(Protocol):
    """A module that provides a kind of store: in this package, or by the entry point group ``llmtrace.stores``."""

    SCHEMES: tuple[str, ...]

    def open(self, url: str, config: Config) -> Store: ...


def open_store(url: str = "auto", *, config: Config | None = None) -> Store:
    """Open the store that a URL names.

    ``auto`` or empty: the user's data folder. A folder's path: a local store there. ``memory:``. A file's path, or
    ``otlp-json:PATH``: OTLP as JSON lines. Other schemes: a module of this package, or of the entry point group
    ``llmtrace.stores``. Raises UnreadableStore (the store is off), ConfigurationError (unknown scheme).
    """
    if url.strip().lower() == "off":
        raise UnreadableStore("the store is off (LLMTRACE_STORE=off), so nothing is kept. Set it to 'auto' or to a folder")
    scheme = _scheme(url)
    schemes: list[str] = []
    for module in _modules():
        if scheme in module.SCHEMES:
            return module.open(url, config or Config())
        schemes += module.SCHEMES
    close = most_like(scheme, schemes)
    suggestion = f" Did you mean {close!r}?" if close else ""
    raise ConfigurationError(
        f"unknown store scheme {scheme!r} in {url!r}.{suggestion} Use a folder path or one of: {', '.join(sorted(schemes))}"
    )


def _scheme(url: str) -> str:
    prefix = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", url)
    if prefix:
        return prefix[1].lower()
    path = Path(url).expanduser()
    is_file = os.path.isfile(path)  # unlike `Path.is_file`, it raises nothing
    return "otlp-json" if path.suffix == ".jsonl" or is_file else "local"


def _modules() -> Iterator[StoreModule]:
    """Yield all store modules, the default one first, since importing the others may be slow."""
    names = [module_info.name for module_info in pkgutil.iter_modules(__path__)]
    for name in sorted(names, key=lambda name: (name != "local", name)):
        module = importlib.import_module(f"{__name__}.{name}")
        if isinstance(module, StoreModule):
            yield module
    for entry in installed.entries("llmtrace.stores"):
        extension = installed.load(entry)
        if isinstance(extension, StoreModule):
            yield extension
