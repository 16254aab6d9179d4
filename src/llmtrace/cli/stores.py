"""The store that a command reads, opened with what its options say."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from llmtrace.cli import words
from llmtrace.cli.options import BadInput
from llmtrace.cli.paint import Screen
from llmtrace.config import Config
from llmtrace.errors import StoreError
from llmtrace.model import Trace
from llmtrace.store import Store, open_store
from llmtrace.store.local import LocalStore

MOMENT: Final = 0.25
"""Seconds for which whoever waits for a trace waits for the monitors, too …"""
_LATER: Final = 2.0
"""… and for which they go on when the command has shown what it was asked for."""


@contextmanager
def opened(args: argparse.Namespace) -> Iterator[Store]:
    """The store of ``--store``, else of LLMTRACE_STORE, else the default folder. Raises UnreadableStore."""
    for word in _words(getattr(args, "trace", None)):
        if Path(word).is_file():
            raise BadInput(f"{word} is a file, and a trace's id was expected.\nRead the file's traces with --store {word}.")
        if is_path(word):
            raise BadInput(f"{word} is no trace's id, and there is no such file.\nllmtrace ls shows the ids of the traces.")
    config = Config.read(store=args.store)
    if config.store == "off":
        raise BadInput("LLMTRACE_STORE is off, so nothing is kept.\nName the store to read with --store FOLDER.")
    store = open_store(config.store, config=config)
    if isinstance(store, LocalStore):
        args.later = lambda: _go_on(store, args)
    try:
        yield store
    finally:
        store.close()


def trace_of(store: Store, wanted: str, *, seconds: float = float("inf")) -> Trace:
    """A trace with what monitors find in it, if they get to it within ``seconds``. Raises what `Store.trace` does."""
    if isinstance(store, LocalStore):
        store.refresh(seconds=seconds)
    return store.trace(wanted)


def _go_on(store: LocalStore, args: argparse.Namespace) -> None:
    """Show monitors the rest of what is new; of a large rest only some, the next command goes on there."""
    left = 0
    with suppress(StoreError, KeyboardInterrupt):
        left = store.refresh(seconds=_LATER)
    if left and not args.json and sys.stderr is not None and sys.stderr.isatty():
        Screen(sys.stderr).prose(
            f"Monitors have yet to look at {words.plural(left, 'trace')}: llmtrace drift waits for them.", "dim"
        )


def is_path(word: str) -> bool:
    """Whether a word is meant for a path: an id has neither a dot nor a slash."""
    return any(sign in word for sign in (".", "/", os.sep))


def _words(given: str | list[str] | None) -> list[str]:
    return [given] if isinstance(given, str) else given or []
