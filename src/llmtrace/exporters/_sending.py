"""Whether, and from where, this program's spans are sent by OTLP: what `configure` joins the forwarder to the store with.

An app's own TracerProvider is never given an exporter of ours: where there is one, its spans are sent by whatever it has, and
by us only if the program itself named a destination (``exporters=["otlp:URL"]``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import ProxyTracerProvider

from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.exporters import _outgoing as outgoing
from llmtrace.exporters._destination import Destination, named
from llmtrace.exporters._forwarder import Forwarder
from llmtrace.exporters._memory import MemoryQueue
from llmtrace.exporters._spool import Spool
from llmtrace.recorder import Sink
from llmtrace.store.local import LocalStore, default_folder
from llmtrace.store.sent import UNSENT


class Sending:
    """``always``: the program itself named the destination. ``own``: it handed over a provider of its own."""

    def __init__(self, destination: Destination, config: Config, *, always: bool, own: bool) -> None:
        self.destination = destination
        self._config = config
        self._level = outgoing.WHOLE if Content(config).exports_content else outgoing.BARE
        self._always = always
        self._own = own
        self._forwarder: Forwarder | None = None
        self.journals = False
        """What is not sent stays in a journal, from which another goes on."""

    def spool(self, config: Config) -> Spool | None:
        """What to keep spans in where only what is still to be sent is kept."""
        if config.store.strip().lower() not in ("", "auto") or has_terminal():
            return None
        home = default_folder()
        return None if home is None else Spool(home, config)

    def join(self, store: Any) -> tuple[Sink, ...]:
        """Have what ``store`` journals sent. Gives what must be told of spans beside it, where it journals nothing."""
        home, config = default_folder(), self._config
        if isinstance(store, (LocalStore, Spool)) and store.folder is not None:
            level = outgoing.WHOLE if isinstance(store, Spool) else self._level
            local = store.local if isinstance(store, Spool) else store
            journal = local.journal
            store.mark = self._marking(outgoing.mark(self.destination.id, level))
            self._forwarder = Forwarder(
                self.destination,
                config,
                home=store.folder,
                journal=journal.folder,
                process=lambda: journal.process,
                stuck=journal.waiting,
            )
            self.journals = True
            local.tell(self._forwarder.wake)
            if _left_behind(store.folder):
                self._forwarder.wake()
            return ()
        memory = MemoryQueue(self._marking("memory"), self._level == outgoing.WHOLE, self._wake)
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
        if self._own:
            return str
        current = trace.get_tracer_provider
        # a provider that the program sets later sends for itself from then on
        return lambda: mark if isinstance(current(), ProxyTracerProvider) else ""

    def flush(self, seconds: float) -> bool:
        """Send all that is journaled, in so many seconds at most. Return whether the other side has taken it all."""
        return self._forwarder is None or self._forwarder.flush(seconds)

    def close(self, seconds: float) -> None:
        if self._forwarder is not None:
            self._forwarder.close(seconds)

    def tidy(self) -> None:
        if self._forwarder is not None:
            self._forwarder.tidy()


def sends(config: Config, tracer_provider: object = None) -> Sending | None:
    """The sending that this configuration asks for; None where there is none."""
    destination, always = named(config.exporters)
    if destination is None:
        return None
    return Sending(destination, config, always=always, own=tracer_provider is not None)


def has_terminal() -> bool:
    """Whether somebody looks on."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        try:
            if stream is not None and stream.isatty():
                return True
        except (OSError, ValueError):  # closed
            continue
    return False


def _left_behind(home: Path) -> bool:
    """Whether an earlier program may have left something to be sent: then it need not wait for our first span."""
    return any((home / name).is_dir() for name in ("journal", UNSENT))
