"""The viewer's HTTP connections: each request must arrive in time, and only so many connections are open.

Laws: a connection that waits for its client, for a request or the rest of one, is closed after `REQUEST_SECONDS`. For a new
connection beyond `MOST_CONNECTIONS`, the one that has waited longest is closed; without a waiting one, the new one is.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 20.0
MOST_CONNECTIONS = 128


class Connection(H11Protocol):
    """uvicorn's connection with a deadline for each request. uvicorn's own time limit ends with the first byte."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        still_open = [connection for connection in self.connections if not connection.transport.is_closing()]
        if len(still_open) > MOST_CONNECTIONS:
            deadlines = {connection: getattr(connection, "_deadline", None) for connection in still_open}
            waiting = {connection: deadline.when() for connection, deadline in deadlines.items() if deadline is not None}
            min(waiting, key=waiting.__getitem__, default=self).transport.abort()
        self._set_deadline()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._set_deadline()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._clear_deadline()

    def _set_deadline(self) -> None:
        """Start the time when the connection begins to wait for its client, and stop it when a request is complete."""
        has_request = self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body
        if has_request or self.transport.is_closing():
            self._clear_deadline()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
