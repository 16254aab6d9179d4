"""The store that a command reads, opened with what its options say."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmtrace.cli.options import BadInput
from llmtrace.config import Config
from llmtrace.model import Trace
from llmtrace.store import Store, open_store


@contextmanager
def opened(args: argparse.Namespace) -> Iterator[Store]:
    """The store of ``--store``, else of LLMTRACE_STORE, else the default folder. Raises UnreadableStore."""
    for word in _words(getattr(args, "trace", None)):
        if Path(word).is_file():
            raise BadInput(f"{word} is a file, and a trace's id was expected.\nRead the file's traces with --store {word}.")
    config = Config.read(store=args.store)
    if config.store == "off":
        raise BadInput("LLMTRACE_STORE is off, so nothing is kept.\nName the store to read with --store FOLDER.")
    store = open_store(config.store, config=config)
    try:
        yield store
    finally:
        store.close()


def trace_of(store: Store, wanted: str) -> Trace:
    """A trace with all that can be said of it, what monitors find in it included. Raises what `Store.trace` does."""
    refresh = getattr(store, "refresh", None)
    if refresh is not None:
        refresh()
    return store.trace(wanted)


def _words(given: str | list[str] | None) -> list[str]:
    return [given] if isinstance(given, str) else given or []
