"""OTLP over HTTP: ``POST /v1/traces`` and ``/v1/logs``. Metrics are accepted and dropped."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Collection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.rpc.status_pb2 import Status

from llmtrace.receiver.request import JSON, MAX_BYTES, PROTOBUF, Refused, TakeLogs, TakeSpans, store, store_logs, success
from llmtrace.recorder.guard import report

IDLE_SECONDS = 30.0
"""Seconds without a byte after which a connection is closed."""
MOST_CONNECTIONS = 128
"""Connections, at most. For a new one, the connection that has waited longest for its request is closed."""
DRAIN_SECONDS = 2.0
"""The same after a refusal."""
MOST_DRAINED = 4 * MAX_BYTES
"""Bytes read and dropped of a body that is too large, at most, so that its sender can read the answer."""

_IGNORED = ("/v1/metrics", "/v1development/profiles")


class Server(ThreadingHTTPServer):
    """An HTTP server on 127.0.0.1."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, take: TakeSpans, take_logs: TakeLogs, origins: Collection[str] = ()) -> None:
        """Start to listen. ``origins``: origins whose pages may send (CORS). Raises OSError if the port is busy."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.take = take
        self.take_logs = take_logs
        self.origins = frozenset(origins)
        self._connections: dict[Any, None] = {}
        self._waiting: dict[Any, None] = {}
        """Connections without a complete request; the one that has waited longest is first."""
        self._changing = threading.Lock()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changing:
            longest = next(iter(self._waiting), None) if len(self._connections) >= MOST_CONNECTIONS else None
            if longest is not None:
                del self._waiting[longest], self._connections[longest]
                with contextlib.suppress(OSError):
                    longest.shutdown(socket.SHUT_RDWR)  # this ends its thread
            has_room = len(self._connections) < MOST_CONNECTIONS
            if has_room:
                self._connections[request] = self._waiting[request] = None
        if has_room:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def wait_for(self, connection: Any) -> None:
        """Note that a connection waits for its sender: for its next request, or the rest of one that was refused."""
        with self._changing:
            if connection in self._connections:
                self._waiting.pop(connection, None)
                self._waiting[connection] = None

    def complete(self, connection: Any) -> None:
        """Note that the request of a connection has arrived."""
        with self._changing:
            self._waiting.pop(connection, None)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._changing:
                self._connections.pop(request, None)
                self._waiting.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a broken connection: the sender will notice."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "llmtrace"
    sys_version = ""
    timeout = IDLE_SECONDS
    server: Server

    def handle_one_request(self) -> None:
        self.server.wait_for(self.request)
        super().handle_one_request()

    def do_POST(self) -> None:
        kind = JSON if self.headers.get("content-type", "").startswith(JSON) else PROTOBUF
        try:
            self._check_host()
            body = self._body()
            self.server.complete(self.request)
            encoding, content_type = self.headers.get("content-encoding", ""), self.headers.get("content-type", "")
            answer = b"{}" if kind == JSON else b""
            if self.path == "/v1/traces":
                rejected, why = store(body, encoding, content_type, self.server.take)
                partial = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": why}} if rejected else {}
                answer = json.dumps(partial).encode() if kind == JSON else success(rejected, why)
            elif self.path == "/v1/logs":
                store_logs(body, encoding, content_type, self.server.take_logs)
            elif self.path not in _IGNORED:
                raise Refused(404, f"unknown path {self.path}. Send spans to /v1/traces")
            self._answer(200, kind, answer)
        except Refused as refusal:
            self.close_connection = True
            self._answer(refusal.status, kind, _refusal(kind, str(refusal)))
        except OSError:  # the sender went away
            self.close_connection = True
        except Exception as error:
            report(store, error)
            self.close_connection = True
            self._answer(500, kind, _refusal(kind, "the spans could not be stored. See the receiver's log"))

    def do_OPTIONS(self) -> None:
        """Answer a browser's preflight request: allowed for the configured origins."""
        if not self._cross_origin():
            self._answer(403, JSON, b'{"message": "this origin is not allowed. Start llmtrace receive with --allow-origin"}')
            return
        requested = self.headers.get("access-control-request-headers", "content-type")
        headers = ("access-control-allow-methods", "POST"), ("access-control-allow-headers", requested)
        self._answer(204, JSON, b"", *headers, ("access-control-max-age", "3600"))

    def _cross_origin(self) -> tuple[tuple[str, str], ...]:
        """Return the headers that let a page of an allowed origin read the answer; none for other origins."""
        origin = self.headers.get("origin", "")
        return (("access-control-allow-origin", origin), ("vary", "origin")) if origin in self.server.origins else ()

    def do_GET(self) -> None:
        self._answer(405, JSON, b'{"message": "send spans with POST /v1/traces (OTLP)"}', ("allow", "POST"))

    def _check_host(self) -> None:
        """Refuse other host names: a web page may reach loopback by a host name of its own (DNS rebinding)."""
        host = self.headers.get("host", "").rpartition(":")[0] or self.headers.get("host", "")
        if host.strip("[]").lower() not in ("127.0.0.1", "localhost", "::1", "", "host.docker.internal"):
            raise Refused(403, f"this receiver does not answer for host {host}. Send to 127.0.0.1")

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            return self._chunks()
        try:
            size = int(self.headers.get("content-length", ""))
        except ValueError:
            raise Refused(411, "content-length is missing or not a number") from None
        if not 0 <= size <= MAX_BYTES:
            raise Refused(413, f"the request has {size:,} bytes, but the limit is {MAX_BYTES >> 20} MiB. Send smaller batches")
        data = self.rfile.read(size)
        if len(data) < size:
            raise Refused(400, f"the body was cut off after {len(data):,} of {size:,} bytes")
        return data

    def _chunks(self) -> bytes:
        body = bytearray()
        try:
            while size := int(self.rfile.readline(20).partition(b";")[0], 16):
                if not 0 < size <= MAX_BYTES - len(body):
                    raise Refused(413, f"the request is larger than {MAX_BYTES >> 20} MiB. Send smaller batches")
                body += self.rfile.read(size)
                self.rfile.readline(3)
        except ValueError:
            raise Refused(400, "the chunks of the body cannot be read") from None
        while self.rfile.readline(1000).strip():  # trailers
            pass
        return bytes(body)

    def _answer(self, status: int, kind: str, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("content-type", kind), ("content-length", str(len(body))), *self._cross_origin(), *headers):
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)
        if self.close_connection:
            self._drain()

    def _drain(self) -> None:
        """Read the rest of the body. Otherwise the sender may see a connection reset instead of our answer, and send again."""
        self.server.wait_for(self.request)  # a new connection may take its place: a sender may drip for ever
        try:
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(DRAIN_SECONDS)
            remaining = MOST_DRAINED
            while remaining > 0 and (piece := self.connection.recv(1 << 16)):
                remaining -= len(piece)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        """Do not log requests."""


def _refusal(kind: str, message: str) -> bytes:
    if kind == JSON:
        return json.dumps({"message": message}).encode()
    data: bytes = Status(message=message).SerializeToString()
    return data
