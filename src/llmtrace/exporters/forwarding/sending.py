"""Connects the forwarder to the store, for `configure`: decides whether this program's spans are sent by OTLP, and from where.

A program's own TracerProvider never gets an exporter of ours. If the program has one, it sends with its own exporters; llmtrace
sends only if the program itself named a destination (``exporters=["otlp:URL"]``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from opentelemetry import trace
from opentelemetry.trace import ProxyTracerProvider

from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.exporters.forwarding import export_view
from llmtrace.exporters.forwarding.destination import Destination
from llmtrace.exporters.forwarding.forwarder import Forwarder
from llmtrace.exporters.forwarding.memory_queue import MemoryQueue
from llmtrace.exporters.forwarding.sampler import Judge
from llmtrace.exporters.forwarding.send_queue import SendQueue
from llmtrace.model import Sink
from llmtrace.store import Store
from llmtrace.store.local import LocalStore, default_folder
from llmtrace.store.send_positions import UNSENT


class Sending:
    """Sending to one destination.

    ``always``: the program itself named the destination. ``own_provider``: it passed a TracerProvider to `configure`.
    """

    def __init__(self, destination: Destination, config: Config, *, always: bool, own_provider: bool) -> None:
        self.destination = destination
        self._config = config
        self._level = export_view.WHOLE if Content(config).exports_content else export_view.STRIPPED
        self._always = always
        self._own_provider = own_provider
        self._forwarder: Forwarder | None = None
        self.journals = False
        """True if unsent spans stay in a journal, so that another process can send them."""

    def send_queue(self, config: Config) -> SendQueue | None:
        """Return the store of a program that only sends, or None if it keeps its spans in a store."""
        if config.store.strip().lower() not in ("", "auto") or has_terminal():
            return None
        home = default_folder()
        return None if home is None else SendQueue(home, config)

    def join(self, store: Store | None, judge: Judge | None = None) -> tuple[Sink, ...]:
        """Send the spans of ``store``. Returns the sinks that must get spans too if the store has no journal.

        ``judge``: evaluates external spans before they are sent.
        """
        home, config = default_folder(), self._config
        if isinstance(store, (LocalStore, SendQueue)) and store.folder is not None:
            level = export_view.WHOLE if isinstance(store, SendQueue) and store.strips else self._level
            local = store.local if isinstance(store, SendQueue) else store
            journal = local.journal
            store.mark = self._marking(export_view.mark(self.destination.id, level))
            self._forwarder = Forwarder(
                self.destination,
                config,
                home=store.folder,
                journal=journal.folder,
                process=lambda: journal.process,
                stuck=journal.waiting,
                judge=judge,
            )
            self.journals = True
            local.on_look(self._forwarder.wake)
            if any((store.folder / name).is_dir() for name in ("journal", UNSENT)):  # there may be unsent spans already
                self._forwarder.wake()
            return ()
        memory = MemoryQueue(self._marking("memory"), self._level == export_view.WHOLE, self._wake)
        self._forwarder = Forwarder(
            self.destination, config, home=None if config.store == "off" else home, journal=None, memory=memory
        )
        return (memory,)

    def _wake(self) -> None:
        if self._forwarder is not None:
            self._forwarder.wake()

    def _marking(self, mark: str) -> Callable[[], str]:
        if self._always:
            return lambda: mark
        if self._own_provider:
            return str
        current = trace.get_tracer_provider
        # a provider that the program sets later sends for itself from then on
        return lambda: mark if isinstance(current(), ProxyTracerProvider) else ""

    def flush(self, seconds: float) -> bool:
        """Send the whole journal, in at most ``seconds``. Returns True if the destination accepted all of it."""
        return self._forwarder is None or self._forwarder.flush(seconds)

    def close(self, seconds: float) -> None:
        if self._forwarder is not None:
            self._forwarder.close(seconds)

    def tidy(self) -> None:
        if self._forwarder is not None:
            self._forwarder.tidy()


def has_terminal() -> bool:
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        try:
            if stream is not None and stream.isatty():
                return True
        except (OSError, ValueError):  # closed
            continue
    return False
