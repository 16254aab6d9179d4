"""Connects the forwarder to the store, for `configure`: decides whether this program's spans are sent by OTLP, and from where.

A program's own TracerProvider never gets an exporter of ours. If the program has one, it sends with its own exporters; llmtrace
sends only if the program itself named a destination (``exporters=["otlp:URL"]``).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace import ProxyTracerProvider

from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.exporters.forwarding.destination import Destination
from llmtrace.exporters.forwarding.forwarder import Forwarder
from llmtrace.exporters.forwarding.journal_cursor import STRIPPED, WHOLE, mark
from llmtrace.exporters.forwarding.send_queue import MemoryQueue, SendQueue
from llmtrace.model import Sink
from llmtrace.store import Store
from llmtrace.store.local import LocalStore, default_folder
from llmtrace.store.send_positions import UNSENT

if TYPE_CHECKING:
    from llmtrace.external.ingest import Ingestor


def send_queue(config: Config) -> SendQueue | None:
    """Return the store of a program that only sends, or None if it keeps its spans in a store."""
    if config.store.strip().lower() not in ("", "auto") or has_terminal():
        return None
    home = default_folder()
    return None if home is None else SendQueue(home, config)


def forward(
    destination: Destination,
    config: Config,
    store: Store | None,
    *,
    always: bool,
    own_provider: bool = False,
    judge: Ingestor | None = None,
) -> tuple[Forwarder, tuple[Sink, ...]]:
    """Send the spans of ``store``. Returns the forwarder, and the sinks that must get spans if the store has no journal.

    ``always``: the program itself named the destination. ``own_provider``: it passed a TracerProvider to `configure`.
    ``judge``: evaluates external spans before they are sent.
    """
    is_whole = Content(config).exports_content

    def marking(mark: str) -> Callable[[], str]:
        if always:
            return lambda: mark
        if own_provider:
            return str
        current = trace.get_tracer_provider
        # a provider that the program sets later sends for itself from then on
        return lambda: mark if isinstance(current(), ProxyTracerProvider) else ""

    if isinstance(store, LocalStore) and store.folder is not None:
        is_stored_so = isinstance(store, SendQueue) and store.strips
        level = WHOLE if is_whole or is_stored_so else STRIPPED
        store.mark = marking(mark(destination.id, level))
        forwarder = Forwarder(destination, config, home=store.folder, journal=store.journal, judge=judge)
        store.on_look(forwarder.wake)
        if any((store.folder / name).is_dir() for name in ("journal", UNSENT)):  # there may be unsent spans already
            forwarder.wake()
        return forwarder, ()
    memory = MemoryQueue(marking("memory"), is_whole)
    home = None if config.store == "off" else default_folder()
    forwarder = Forwarder(destination, config, home=home, memory=memory)
    memory.wake = forwarder.wake
    return forwarder, (memory,)


def has_terminal() -> bool:
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed
            if stream is not None and stream.isatty():
                return True
    return False
