"""Runs the viewer: opens the socket before the browser starts, runs uvicorn on the socket, and stops at Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import importlib
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from llmtrace.errors import PortBusy
from llmtrace.viewer import token
from llmtrace.viewer.access import LOOPBACK
from llmtrace.viewer.app import Viewer, make
from llmtrace.viewer.connections import Connection
from llmtrace.viewer.source import Source

PORT = 4319
"""First port to try. It follows OTLP's ports, 4317 and 4318."""
TRIES = 50
LOADED_AFTER = 0.5
"""Seconds until the rest of llmtrace is imported, so that the page and the list come first."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, viewer: Viewer) -> None:
        super().__init__(config)
        self.ready: Callable[[], None] = lambda: None
        """Called as soon as the server answers."""
        self._viewer = viewer

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()
        threading.Thread(target=_load, daemon=True).start()

    def handle_exit(self, sig: int, frame: Any) -> None:
        self._viewer.closing = True  # ends the open event streams, for which the server would wait
        super().handle_exit(sig, frame)


class Serving:
    """The running viewer. ``address`` is the page's URL, with the token."""

    def __init__(self, source: Source, *, host: str = "127.0.0.1", port: int | None = None, facts: dict[str, Any]) -> None:
        """Open the port; `run` answers requests. ``port`` None: the first free one from 4319. Raises PortBusy."""
        self._socket = _listening(host, port)
        self.port = int(self._socket.getsockname()[1])
        # other machines on the network may see the token in transit, so the saved one is not used there
        self._token = token.saved_token() if host in LOOPBACK else token.new_token()
        shown = f"[{host}]" if ":" in host else host
        if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
            shown = socket.gethostname()
        self.address = f"http://{shown}:{self.port}/?token={self._token}"
        self._viewer = Viewer(source, facts=facts)
        app = make(self._viewer, hosts={host, shown.strip("[]")}, token=self._token)
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1, ws="none", http=Connection)
        self._server = _Server(config, self._viewer)

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Answer requests until Ctrl-C or SIGTERM. ``ready`` is called as soon as the server answers."""
        self._server.ready = ready
        with contextlib.suppress(KeyboardInterrupt), self._ignoring_late_errors():
            self._server.run([self._socket])

    def close(self) -> None:
        """End `run`, which another thread called."""
        self._server.handle_exit(signal.SIGTERM, None)

    @contextlib.contextmanager
    def _ignoring_late_errors(self) -> Iterator[None]:
        """Drop uvicorn's error logs while this viewer closes, because responses that are cut off then are not errors.

        The filter is removed afterwards: all uvicorn servers of the process share the logger.
        """
        logger = logging.getLogger("uvicorn.error")

        def is_in_time(_: logging.LogRecord) -> bool:
            return not self._viewer.closing

        logger.addFilter(is_in_time)
        try:
            yield
        finally:
            logger.removeFilter(is_in_time)


def _load() -> None:
    """Import the modules that showing a trace needs, while the page loads. At start-up they would triple the time."""
    time.sleep(LOADED_AFTER)
    importlib.import_module("llmtrace.diagnosis")
    importlib.import_module("llmtrace.viewer.lineage_json")


def _listening(host: str, port: int | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    is_dual = host == "::" and socket.has_dualstack_ipv6()  # any address, of IPv4 too
    for candidate in range(PORT, PORT + TRIES) if port is None else (port,):
        try:
            return socket.create_server((host, candidate), family=family, backlog=128, dualstack_ipv6=is_dual)
        except OSError as error:
            if port is None and error.errno == errno.EADDRINUSE:
                continue
            reason = str(error.strerror).partition(" (while")[0]
            raise PortBusy(
                f"cannot listen on {host} port {candidate}: {reason}.\nUse another --port, or leave it out to get a free one."
            ) from None
    raise PortBusy(f"no port from {PORT} to {PORT + TRIES - 1} is free.\nChoose one with --port, or 0 for any free port.")
