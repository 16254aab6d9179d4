"""Recorded traces for Python programs and notebooks: `open_store` and `last`, and what one asks of a trace: `why`, `show`.

Law: what a trace says here is what the commands say of it: its health is the one that ``llmtrace why`` names, and it prints
what ``llmtrace show`` prints.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO

from llmtrace import listing, runtime
from llmtrace.cli import show, stores
from llmtrace.cli.format_text import plural
from llmtrace.cli.terminal import Screen
from llmtrace.config import Config, unexpected_keyword
from llmtrace.diagnosis import Diagnosis, diagnose
from llmtrace.errors import ConfigurationError, DiagnosisFailed, StoreError, TraceNotFound
from llmtrace.model import Health, Trace
from llmtrace.model.html import trace_as_html
from llmtrace.model.traces import short_id
from llmtrace.store import Query, Store, TraceSummary, filters, summarise
from llmtrace.store import open_store as open_url
from llmtrace.store.local import LocalStore

if TYPE_CHECKING:
    from typing_extensions import Self

    from llmtrace.store.forget import Forgotten

_READERS = {filter_.name: filter_.parse for filter_ in filters.FILTERS} | {"text": str}
"""How the value of each filter is read, by its name."""


class StoredTrace(Trace):
    """A recorded trace. A notebook shows its health, its first suspect with the chain to it, and its spans as a tree."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace.spans, alive=trace.alive)
        self._trace = trace

    def why(self) -> Diagnosis:
        """Return what ``llmtrace why`` says: the suspects, certain ones first, each with its evidence and chain.

        A notebook shows all of them; ``print`` the first one. Raises `errors.DiagnosisFailed`.
        """
        return self._diagnosis

    def show(self, *, full: bool = False, file: TextIO | None = None) -> None:
        """Print what ``llmtrace show`` prints: the spans as a tree, each finding at its call.

        ``full``: whole messages, arguments and results instead of their first words. ``file``: where to (default: standard
        output).
        """
        suspects: list[str] = []
        with suppress(DiagnosisFailed):
            suspects = [suspect.span_id for suspect in self._diagnosis.marked]
        show.write(Screen(file or sys.stdout), self._trace, self.health, suspects, full=full)

    @property
    def health(self) -> Health:
        """``ok``, ``recovered``, ``suspect``, ``failed`` or ``running``, as ``llmtrace why`` names it."""
        with suppress(DiagnosisFailed):
            return self._diagnosis.health
        return listing.undiagnosed_health(self._trace)

    @property
    def summary(self) -> TraceSummary:
        """Task, answer, agents, models, tokens, cost and more, as ``llmtrace ls`` lists them."""
        return summarise(self._trace)

    @cached_property
    def _diagnosis(self) -> Diagnosis:
        return diagnose(self._trace)

    def __repr__(self) -> str:
        who = ", ".join(summarise(self._trace).title)
        return f"<trace {short_id(self.trace_id)} of {who}: {self.health}, {plural(len(self), 'span')}>"

    def _repr_html_(self) -> str:
        try:
            return trace_as_html(self, self.health, self._diagnosis.cards[:1])
        except DiagnosisFailed as error:
            return trace_as_html(self, self.health, [("", str(error), ())])


class OpenedStore:
    """The traces of a store, to read: ``with llmtrace.open_store() as store``."""

    def __init__(self, store: Store, *, is_recorded_into: bool = False) -> None:
        """``is_recorded_into``: this program records into the store, which therefore stays open."""
        self._store = store
        self._is_recorded_into = is_recorded_into

    def trace(self, trace_id: str = "last") -> StoredTrace:
        """Return a trace by its id, its first 4 or more digits, or ``last``: the newest one that is not a replay.

        Raises `errors.TraceNotFound`, `errors.UnreadableStore`.
        """
        self._flush()
        return StoredTrace(stores.newest_run(self._store) if trace_id == "last" else self._store.trace(trace_id))

    def traces(self, *, limit: int | None = None, **filters: str | float) -> Iterator[StoredTrace]:
        """Yield the traces that pass all filters, the newest first. Each is read when it is asked for.

        ``limit``: at most so many (default: all). Filters are those of ``llmtrace ls``, such as ``agent="support"``,
        ``health="suspect"``, ``user="u-17"``, ``since="2h"``, ``min_cost=0.5`` or ``text="refund"``. Raises TypeError for an
        unknown filter, `errors.ConfigurationError` for a value that it cannot have, `errors.UnreadableStore`.
        """
        self._flush()
        query = Query(limit=sys.maxsize if limit is None else limit, **_read(filters))
        return self._read(listing.find(self._store, query)[0])

    def forget(
        self,
        *trace_ids: str,
        user: str | None = None,
        conversation: str | None = None,
        before: str | None = None,
        keep_verdicts: bool = False,
        dry_run: bool = False,
    ) -> Forgotten:
        """Erase traces as ``llmtrace forget`` does, without a question, and return what was erased and what had been sent.

        ``trace_ids``: ids or their first digits. Or, instead of ids, traces that are all of these: of ``user``, of
        ``conversation``, begun ``before`` (``30d``, ``2026-01-31``). ``keep_verdicts``: keep what `ls`, `stats` and `issues`
        count. ``dry_run``: erase nothing. A trace whose program still runs is in ``running``, and stays. Raises TypeError for
        neither ids nor filters or for both, `errors.TraceNotFound`, `errors.ConfigurationError` for a time that cannot be read,
        and `errors.StoreError` for a store that is not local, or whose files cannot be written: the next reader then goes on.
        """
        from llmtrace.store import forget  # late: few programs need it

        self._flush()
        if not isinstance(self._store, LocalStore):
            raise StoreError("only traces of a local store can be forgotten")
        try:
            until = None if before is None else filters.moment(before)
        except ValueError as error:
            raise ConfigurationError(f"forget(before={before!r}): {error}") from None
        try:
            wanted = forget.select(self._store, trace_ids, user=user, conversation=conversation, until=until)
        except ValueError as error:
            raise TypeError(f"forget() takes ids, or user, conversation or before, and got {error}") from None
        forgotten, runs, letters = forget.find(self._store, wanted)
        if not dry_run:
            forget.erase(self._store, forgotten, runs, letters, keep_verdicts=keep_verdicts)
        return forgotten

    def _read(self, summaries: list[TraceSummary]) -> Iterator[StoredTrace]:
        for summary in summaries:
            with suppress(TraceNotFound):  # removed in the meantime
                yield StoredTrace(self._store.trace(summary.trace_id))

    def _flush(self) -> None:
        if self._is_recorded_into:
            runtime.flush()

    def close(self) -> None:
        """Close the store's files. The store that this program records into stays open."""
        if not self._is_recorded_into:
            self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<store {self._store.folder or self._store.path or type(self._store).__name__}>"


def open_store(store: str | os.PathLike[str] | None = None) -> OpenedStore:
    """Open recorded traces for reading.

    ``store``: a folder, a file of spans, or the address of a backend, as for ``llmtrace ls --store``. Default: the store that
    this program records into, else ``LLMTRACE_STORE`` or the default folder. Raises `errors.UnreadableStore`,
    `errors.ConfigurationError` for an address of an unknown kind.
    """
    recorded = runtime.recorded_store() if store is None else None
    if recorded is not None:
        return OpenedStore(recorded, is_recorded_into=True)
    config = Config.read(store=None if store is None else os.fspath(store))
    return OpenedStore(open_url(config.store, config=config))


def last() -> StoredTrace:
    """Return the newest trace: of the store that this program records into, else of ``LLMTRACE_STORE`` or the default folder.

    A notebook shows it with its first suspect; `open_store` reads others. Raises `errors.TraceNotFound` if there is none,
    `errors.UnreadableStore`.
    """
    with open_store() as store:
        return store.trace()


def _read(values: dict[str, str | float]) -> dict[str, Any]:
    """Read the values of filters. Raises TypeError, ConfigurationError."""
    read = {}
    for name, written in values.items():
        if name not in _READERS:
            raise TypeError(unexpected_keyword("traces", name, [*_READERS, "limit"]))
        try:
            read[name] = _READERS[name](str(written))
        except ValueError as error:
            raise ConfigurationError(f"traces({name}={written!r}): {error}") from None
    return read
