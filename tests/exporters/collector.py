"""A collector on loopback that does what a test tells it: takes spans, refuses them, stalls, dies and comes back."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc

from llmtrace.codec import otlp
from llmtrace.model import RawSpan

CERTIFICATE, KEY = Path(__file__).with_name("localhost.crt"), Path(__file__).with_name("localhost.key")

Script = Callable[[list[RawSpan], int], tuple[int, dict[str, str], bytes]]
"""From the spans of a request, and its bytes, to status, headers and body. Spans are kept where the status is 200."""


def taking(spans: list[RawSpan], size: int) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, b""


def refusing(status: int, **headers: str) -> Script:
    return lambda spans, size: (status, {name.replace("_", "-"): held for name, held in headers.items()}, b"")


class Collector:
    """``with Collector() as one:`` listens; ``one.script`` may be changed at any time. `down` and `up` keep the port."""

    def __init__(self, script: Script = taking, *, tls: bool = False) -> None:
        self.script = script
        self.spans: list[RawSpan] = []
        self.requests: list[dict[str, str]] = []
        """Headers, with names in lower case."""
        self.stalling = threading.Event()
        """While set, requests are read and not answered."""
        self.arrived = threading.Condition()
        self._tls = tls
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}"

    def ids(self) -> list[tuple[str, str]]:
        return [(span.trace_id, span.span_id) for span in self.spans]

    def wait(self, number: int, seconds: float = 20) -> None:
        """Until so many spans have come."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.spans) >= number, seconds), f"{len(self.spans)} of {number} came"

    def up(self) -> None:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                collector._post(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            allow_reuse_address = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", self.port), Handler)
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE, KEY)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _post(self, handler: Any) -> None:
        body = handler.rfile.read(int(handler.headers["content-length"]))
        if handler.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        read = otlp.from_json if handler.headers.get("content-type") == "application/json" else otlp.from_protobuf
        spans = read(body)
        if self.stalling.is_set():
            while self.stalling.is_set():
                time.sleep(0.02)
            handler.close_connection = True  # whoever waited has gone
            return
        status, headers, answer = self.script(spans, len(body))
        if self._server is None:  # it died meanwhile: nothing is taken, and nothing answered
            handler.close_connection = True
            return
        with self.arrived:
            self.requests.append({"path": handler.path, **{name.lower(): held for name, held in handler.headers.items()}})
            if status == 200:
                self.spans += spans
            self.arrived.notify_all()
        handler.send_response(status)
        for name, held in {"content-length": str(len(answer)), **headers}.items():
            handler.send_header(name, held)
        handler.end_headers()
        handler.wfile.write(answer)

    def __enter__(self) -> Collector:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.stalling.clear()
        self.down()


class GrpcCollector:
    """The same over gRPC. ``script(spans, context)`` may abort."""

    def __init__(
        self, script: Callable[[list[RawSpan], Any], None] = lambda spans, context: None, *, tls: bool = False
    ) -> None:
        self.spans: list[RawSpan] = []
        self.metadata: list[dict[str, str]] = []
        self._server = grpc.server(ThreadPoolExecutor(2))  # its own bound: 4 MiB a message

        def export(data: bytes, context: Any) -> bytes:
            spans = otlp.from_protobuf(data)
            self.metadata.append(dict(context.invocation_metadata()))
            script(spans, context)
            self.spans += spans
            return b""

        service = "opentelemetry.proto.collector.trace.v1.TraceService"
        handler = grpc.method_handlers_generic_handler(service, {"Export": grpc.unary_unary_rpc_method_handler(export)})
        self._server.add_generic_rpc_handlers((handler,))
        if tls:
            pair = [(KEY.read_bytes(), CERTIFICATE.read_bytes())]
            self.port = self._server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(pair))
        else:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}"

    def __enter__(self) -> GrpcCollector:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0).wait()
