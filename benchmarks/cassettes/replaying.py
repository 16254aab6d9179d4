"""A server on loopback that answers every request with the exchange it was given last."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from driver import Exchange

PIECE = 500
"""Bytes that go out at a time, so that events come in parts."""


class Replaying(ThreadingHTTPServer):
    daemon_threads = True
    exchange: Exchange
    sent: bytes = b""
    """The body of the last request."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Replaying

    def do_POST(self) -> None:
        self.server.sent = self.rfile.read(int(self.headers.get("content-length") or 0))
        exchange = self.server.exchange
        self.send_response(exchange.status)
        self.send_header("content-type", exchange.content_type)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for start in range(0, len(exchange.body), PIECE):
            piece = exchange.body[start : start + PIECE]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def replaying() -> Iterator[Replaying]:
    with Replaying(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()
