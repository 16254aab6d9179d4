"""OTLP over gRPC: ``TraceService/Export`` and ``LogsService/Export``. Metrics are accepted and dropped. Imported only if it is
used."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from llmtrace.receiver.request import MAX_BYTES, PROTOBUF, Refused, TakeLogs, TakeSpans, store, store_logs, success

MOST_THREADS = 32
CONNECTION_SECONDS, GRACE_SECONDS = 60, 10
"""Seconds after which a connection is closed, and seconds that its unfinished requests then have: a stalled one occupies a
thread."""

_TRACES = "opentelemetry.proto.collector.trace.v1.TraceService"
_LOGS = "opentelemetry.proto.collector.logs.v1.LogsService"
_METRICS = "opentelemetry.proto.collector.metrics.v1.MetricsService"


class Server:
    """A gRPC server on 127.0.0.1."""

    def __init__(self, port: int, take: TakeSpans, take_logs: TakeLogs) -> None:
        """Start to listen. Raises OSError if the port is busy."""
        self._server = grpc.server(
            ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="llmtrace-grpc"),
            options=(
                ("grpc.max_receive_message_length", MAX_BYTES),
                ("grpc.so_reuseport", 0),
                ("grpc.max_connection_age_ms", CONNECTION_SECONDS * 1000),  # clients connect again by themselves
                ("grpc.max_connection_age_grace_ms", GRACE_SECONDS * 1000),
            ),
        )

        def export(data: bytes) -> bytes:
            return success(*store(data, "", PROTOBUF, take))

        def export_logs(data: bytes) -> bytes:
            store_logs(data, "", PROTOBUF, take_logs)
            return b""

        services = {_TRACES: export, _LOGS: export_logs, _METRICS: lambda _: b""}
        self._server.add_generic_rpc_handlers(tuple(_service(name, answer) for name, answer in services.items()))
        try:
            self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        except RuntimeError as error:  # gRPC has no other error for a busy port
            raise OSError(str(error)) from None
        self._server.start()

    def shutdown(self) -> None:
        """Stop, after at most a second for requests in progress."""
        self._server.stop(1).wait()


def _service(name: str, answer: Callable[[bytes], bytes]) -> Any:
    def export(data: bytes, context: Any) -> bytes:
        try:
            return answer(data)
        except Refused as refusal:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(refusal))
            raise

    # without a deserialiser: `request.read` checks the limits and counts the spans
    return grpc.method_handlers_generic_handler(name, {"Export": grpc.unary_unary_rpc_method_handler(export)})
