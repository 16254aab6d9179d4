"""OTLP over HTTP: ``POST /v1/traces``. Metrics and logs are accepted and dropped, so that their senders get no error."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from llmtrace.receiver.request import JSON, MAX_BYTES, PROTOBUF, Refused, Request, parse, partial, unpack
from llmtrace.recorder.guard import report

IDLE_SECONDS = 30.0
"""Seconds after which a silent connection is closed."""
MOST_CONNECTIONS = 128
MOST_DRAINED = 4 * MAX_BYTES
"""Bytes that are read and dropped of a body that is too large, so that its sender gets to read the answer."""

_IGNORED = ("/v1/metrics", "/v1/logs", "/v1development/profiles")


class Server(ThreadingHTTPServer):
    """An HTTP server on 127.0.0.1. ``take`` stores a request's spans and returns how many it stored."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, take: Callable[[Request], int]) -> None:
        """Start to listen. Raises OSError if the port is busy."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.take = take
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a broken connection: the sender will notice."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "llmtrace"
    sys_version = ""
    timeout = IDLE_SECONDS
    server: Server

    def do_POST(self) -> None:
        kind = JSON if self.headers.get("content-type", "").startswith(JSON) else PROTOBUF
        try:
            self._check_host()
            body = self._body()
            if self.path in _IGNORED:
                self._answer(200, kind, b"{}" if kind == JSON else b"")
                return
            if self.path != "/v1/traces":
                raise Refused(404, f"unknown path {self.path}. Send spans to /v1/traces")
            request = parse(unpack(body, self.headers.get("content-encoding", "")), self.headers.get("content-type", ""))
            self._answer(200, kind, _success(kind, *partial(request, self.server.take(request))))
        except Refused as refusal:
            self.close_connection = True
            self._answer(refusal.status, kind, _refusal(kind, str(refusal)))
        except OSError:  # the sender went away
            self.close_connection = True
        except Exception as error:
            report(parse, error)
            self.close_connection = True
            self._answer(500, kind, _refusal(kind, "the spans could not be stored. See the receiver's log"))

    def do_GET(self) -> None:
        self._answer(405, JSON, b'{"message": "send spans with POST /v1/traces (OTLP)"}', ("allow", "POST"))

    def _check_host(self) -> None:
        """Refuse other host names: a web page may reach loopback by a name of its own (DNS rebinding)."""
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
        for name, value in (("content-type", kind), ("content-length", str(len(body))), *headers):
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)
        if self.close_connection:
            self._drain()

    def _drain(self) -> None:
        """Read the rest of the body; else the sender may see a connection reset instead of our answer, and send it again."""
        try:
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(0.5)
            remaining = MOST_DRAINED
            while remaining > 0 and (piece := self.connection.recv(1 << 16)):
                remaining -= len(piece)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        """Do not log requests."""


def _success(kind: str, rejected: int, why: str) -> bytes:
    if kind == JSON:
        response_json = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": why}} if rejected else {}
        return json.dumps(response_json).encode()
    response = ExportTraceServiceResponse()
    if rejected:
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = why
    data: bytes = response.SerializeToString()
    return data


def _refusal(kind: str, message: str) -> bytes:
    if kind == JSON:
        return json.dumps({"message": message}).encode()
    data: bytes = Status(message=message).SerializeToString()
    return data
