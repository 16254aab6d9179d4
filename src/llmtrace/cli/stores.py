"""Opens the store that a command reads, by its options, and finds the trace and the span that they name."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llmtrace.cli import format_text
from llmtrace.cli.options import BadInput, did_you_mean
from llmtrace.cli.terminal import Screen
from llmtrace.config import Config
from llmtrace.errors import StoreError
from llmtrace.model import AgentInvocation, Span, ToolExecution, Trace, Workflow
from llmtrace.model.traces import short_id
from llmtrace.semconv import REPLAY_LIVE, REPLAY_OF
from llmtrace.store import Query, Store, TraceSummary, open_store
from llmtrace.store.local import LocalStore, default_folder

if TYPE_CHECKING:
    from llmtrace.external.ingest import Ingestor

MOMENT: Final = 0.25
"""Seconds that the monitors may look at new traces before a command shows a trace."""
_LATER: Final = 2.0
"""Seconds that the monitors may continue after the command's output."""

_NEWEST: Final = 50
"""Number of newest traces that `newest_traces` reads."""
_MOST_NAMES: Final = 8
"""Maximum number of names that the message about an unknown span lists."""
_LONGEST: Final = 20_000
"""Longest trace, in spans, that a command shows to the monitors. It takes two seconds. ``llmtrace drift`` has no limit."""


@contextmanager
def opened(args: argparse.Namespace) -> Iterator[Store]:
    """Open the store of ``--store``, else of LLMTRACE_STORE, else the default folder. Raises UnreadableStore."""
    words = getattr(args, "trace", None) or []
    for word in [words] if isinstance(words, str) else words:
        if Path(word).is_file():
            raise BadInput(f"expected a trace id, but {word} is a file.\nRead the file's traces with --store {word}.")
        if is_path(word):
            raise BadInput(f"{word} is neither a trace id nor a file.\nllmtrace ls lists the trace ids.")
    config = Config.read(store=args.store)
    if config.store == "off":
        raise BadInput("LLMTRACE_STORE is off, so nothing is kept.\nName the store to read with --store FOLDER.")
    with open_store(config.store, config=config) as store:
        if isinstance(store, LocalStore):
            args.later = lambda: _go_on(store, args)
        yield store


def nothing_found(store: Store, args: argparse.Namespace, *, filtered: bool) -> str:
    """Return the message of a command that found no trace: no trace passes its filters, or the store has none."""
    if filtered:
        return "No trace matches these filters."
    place = store.folder or args.store
    return f"No traces yet{f' in {place}' if place else ''}. Try: llmtrace demo"


def local_folder(store: Store) -> Path:
    """Return the folder of a local store. Raises BadInput for any other store."""
    if store.folder is None:
        raise BadInput("a local store is needed.\nName its folder with --store FOLDER.")
    return store.folder


def folder_of(url: str) -> Path | None:
    """Return the folder of a local store; None for other kinds of stores, and if the user has no home folder."""
    text = url.removeprefix("local:").strip()
    if text.lower() in ("", "auto"):
        return default_folder()
    path = Path(text).expanduser()
    return None if ":" in text or path.suffix == ".jsonl" or path.is_file() else path.absolute()


def trace_of(store: Store, wanted: str, *, seconds: float = float("inf")) -> Trace:
    """Read a trace, with the monitors' findings if they finish within ``seconds``. Raises like `Store.trace`.

    ``wanted``: a trace's id or its first digits. ``last``: the newest trace that is not a replay.
    """
    if isinstance(store, LocalStore):
        store.refresh(seconds=seconds, max_spans=_LONGEST)
    return newest_run(store) if wanted == "last" else store.trace(wanted)


def newest_run(store: Store) -> Trace:
    """Read the newest trace that is not a replay; the newest one where all are. Raises like `Store.trace`."""
    if isinstance(store, LocalStore):
        for trace in newest_traces(store):
            # a resumed run begins as a replay and goes on for real, so it counts as the last run
            is_live = any(span.attributes.get(REPLAY_LIVE) is True for span in trace.spans)
            if is_live or not any(REPLAY_OF in span.attributes for span in trace.roots):
                return trace
    return store.trace("last")


def find_span(trace: Trace, wanted: str) -> Span:
    """Return the span with this id or its first digits, else the first span of a tool or agent with this name.

    Raises BadInput if no span fits, or several ids do.
    """
    by_id = [span for span in trace.spans if span.span_id.startswith(wanted)]
    if len(by_id) == 1:
        return by_id[0]
    by_name = next((span for span in trace.spans if operation_name(span) == wanted), None)
    if by_name is not None:
        return by_name
    if by_id:
        raise BadInput(f"in trace {trace.trace_id} {len(by_id)} spans begin with {wanted!r}.\nGive more digits.")
    names = dict.fromkeys(name for span in trace.spans if (name := operation_name(span)))
    shown = ", ".join([*names][:_MOST_NAMES]) + (" …" if len(names) > _MOST_NAMES else "")
    raise BadInput(
        f"in trace {trace.trace_id} no span, tool or agent is called {wanted}.{did_you_mean(wanted, names)}\n"
        f"It has {shown or 'none with a name'}; ids of spans: llmtrace show {short_id(trace.trace_id)} --ids"
    )


def operation_name(span: Span) -> str:
    """Return the name of a tool, agent or workflow; empty for other operations."""
    return span.operation.name if isinstance(span.operation, (ToolExecution, AgentInvocation, Workflow)) else ""


def newest_traces(store: Store, chosen: Callable[[TraceSummary], bool] = lambda _: True) -> Iterator[Trace]:
    """Read and yield those of the newest traces for which ``chosen`` is true."""
    for summary in store.traces(Query(limit=_NEWEST)):
        if chosen(summary):
            with suppress(StoreError):  # removed in the meantime
                yield store.trace(summary.trace_id)


def make_ingestor(store: Store, config: Config, **options: Any) -> Ingestor:
    """Return an `Ingestor`, which redacts and evaluates other writers' spans, then stores them. ``options``: passed to it."""
    from llmtrace.content import Content  # most commands do not need these imports
    from llmtrace.evaluation import Evaluator
    from llmtrace.external.ingest import Ingestor
    from llmtrace.laws import load

    prices, evaluator = config.prices or None, lambda: Evaluator(load(config.signals))
    return Ingestor(store, content=Content(config), prices=prices, make_evaluator=evaluator, **options)


def _go_on(store: LocalStore, args: argparse.Namespace) -> None:
    """Show the remaining new traces to the monitors, for `_LATER` seconds. The next command continues."""
    unseen = 0
    with suppress(StoreError, KeyboardInterrupt):
        unseen = store.refresh(seconds=_LATER, max_spans=_LONGEST)
    if unseen and not args.json and sys.stderr is not None and sys.stderr.isatty():
        Screen(sys.stderr).prose(
            f"The monitors have not seen {format_text.plural(unseen, 'trace')} yet."
            f" llmtrace drift waits for {format_text.it_or_them(unseen)}.",
            "dim",
        )


def is_url(word: str) -> bool:
    """Return True if a word begins with a scheme. A single letter does not count: it is a drive of Windows."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", word) is not None


def is_path(word: str) -> bool:
    """Return True if a word looks like a path: a trace id has neither a dot nor a slash."""
    return any(sign in word for sign in (".", "/", os.sep))
