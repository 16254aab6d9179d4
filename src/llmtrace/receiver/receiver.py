"""The receiver: both servers, and the ingestor that stores their spans, started and stopped together."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

from llmtrace.errors import ConfigurationError, PortBusy
from llmtrace.external.ingest import CLOSE_SECONDS, Ingestor
from llmtrace.installed import NO_GRPC, has_grpc
from llmtrace.model import RawSpan
from llmtrace.receiver import http

HTTP_PORT, GRPC_PORT = 4318, 4317
"""The default ports of OTLP."""


class Receiver:
    """``with Receiver(ingestor) as receiver:`` listens on 127.0.0.1 until the block ends.

    Port 0: any free port; None: do not listen. ``origins``: origins whose pages may send over HTTP. Raises PortBusy, and
    ConfigurationError if gRPC is not installed.
    """

    def __init__(
        self,
        ingestor: Ingestor,
        *,
        http_port: int | None = HTTP_PORT,
        grpc_port: int | None = GRPC_PORT,
        origins: Collection[str] = (),
    ) -> None:
        self._ingestor = ingestor
        self.received = 0
        """Spans stored so far."""
        self._counting = threading.Lock()
        self._http: http.Server | None = None
        self._grpc: Any = None
        try:
            if http_port is not None:
                self._http = http.Server(http_port, self._take, ingestor.ingest_logs, origins)
                threading.Thread(target=self._http.serve_forever, args=(0.1,), name="llmtrace-otlp-http", daemon=True).start()
        except OSError as error:
            raise _busy("HTTP", http_port, error) from None
        try:
            if grpc_port is not None:
                if not has_grpc():
                    self.close()
                    raise ConfigurationError(NO_GRPC)
                from llmtrace.receiver import grpc  # the grpc package takes a tenth of a second to load

                self._grpc = grpc.Server(grpc_port, self._take, ingestor.ingest_logs)
        except OSError as error:
            self.close()
            raise _busy("gRPC", grpc_port, error) from None

    @property
    def http_port(self) -> int | None:
        return None if self._http is None else self._http.port

    @property
    def grpc_port(self) -> int | None:
        return None if self._grpc is None else self._grpc.port

    def _take(self, spans: list[RawSpan]) -> int:
        stored = self._ingestor.ingest(spans)
        with self._counting:
            self.received += stored
        return stored

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Stop listening, then evaluate, for at most ``seconds``, and flush the received spans. Closing twice does nothing."""
        http_server, self._http = self._http, None
        grpc_server, self._grpc = self._grpc, None
        if http_server is not None:
            http_server.shutdown()
            http_server.server_close()
        if grpc_server is not None:
            grpc_server.shutdown()
        self._ingestor.close(seconds)

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _busy(protocol: str, port: int | None, error: OSError) -> PortBusy:
    why = error.strerror or "it is in use"
    return PortBusy(
        f"cannot listen on port {port} for OTLP over {protocol}: {why}.\n"
        "Another collector, or another llmtrace receive, may use it. "
        f"Choose another port with --{protocol.lower()}-port, or 0 for any free port."
    )
