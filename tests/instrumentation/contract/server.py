"""A server on loopback that answers each request with the next reply, exactly as told, and keeps what it was sent."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from kit import Reply


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


class Server(ThreadingHTTPServer):
    """``with Server(reply, …) as server: client(server.url)``. The last reply is repeated when they run out."""

    daemon_threads = True

    def __init__(self, *replies: Reply) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies = list(replies)
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def restart(self, *replies: Reply) -> None:
        """Forget all requests, and begin again with these replies."""
        with self._turn:
            self.requests.clear()
            self.replies = list(replies)

    def next(self, request: Request) -> Reply:
        with self._turn:
            self.requests.append(request)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length else self._chunks()
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.next(Request(self.command, self.path, headers, body))
        self.send_response(reply.status)
        self.send_header("content-type", reply.content_type)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in filter(None, reply.pieces):  # an empty piece would end the body
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        if reply.stalls:
            self.server.closing.wait(30)
        if reply.breaks or reply.stalls:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST
    do_DELETE = do_POST

    def _chunks(self) -> bytes:
        """A body sent in chunks."""
        if "chunked" not in (self.headers.get("transfer-encoding") or ""):
            return b""
        data = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Always the same: it may stand in the text of an exception."""
        return "Thu, 01 Jan 2026 00:00:00 GMT"

    def log_message(self, *_: object) -> None:
        """Quiet."""
