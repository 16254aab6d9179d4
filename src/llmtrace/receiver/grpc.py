"""OTLP over gRPC: ``TraceService/Export`` and ``LogsService/Export``. Metrics are accepted and dropped. Imported only if it is
used."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from llmtrace.receiver.request import MAX_BYTES, PROTOBUF, Refused, Request, TakeLogs, store, store_logs, success

MOST_THREADS = 32
CONNECTION_SECONDS, GRACE_SECONDS = 60, 10
"""Seconds after which a connection is closed, and seconds that its unfinished requests then have: a stalled one occupies a
thread."""

_TRACES = "opentelemetry.proto.collector.trace.v1.TraceService"
_LOGS = "opentelemetry.proto.collector.logs.v1.LogsService"
_IGNORED = ("opentelemetry.proto.collector.metrics.v1.MetricsService",)


class Server:
    """A gRPC server on 127.0.0.1. ``take`` stores a request's spans and returns how many it stored; ``take_logs`` joins its
    log records to their spans."""

    def __init__(self, port: int, take: Callable[[Request], int], take_logs: TakeLogs) -> None:
        """Start to listen. Raises OSError if the port is busy."""
        self._take = take
        self._take_logs = take_logs
        self._server = grpc.server(
            ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="llmtrace-grpc"),
            options=(
                ("grpc.max_receive_message_length", MAX_BYTES),
                ("grpc.so_reuseport", 0),
                ("grpc.max_connection_age_ms", CONNECTION_SECONDS * 1000),  # clients connect again by themselves
                ("grpc.max_connection_age_grace_ms", GRACE_SECONDS * 1000),
            ),
        )
        services = (self._service(_TRACES, self._export), self._service(_LOGS, self._export_logs))
        handlers = [*services, *(self._service(name, lambda *_: b"") for name in _IGNORED)]
        self._server.add_generic_rpc_handlers(tuple(handlers))
        try:
            self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        except RuntimeError as error:  # gRPC has no other error for a busy port
            raise OSError(str(error)) from None
        self._server.start()

    @staticmethod
    def _service(name: str, export: Callable[[bytes, Any], bytes]) -> Any:
        # without a deserialiser: `parse` checks the limits and counts the spans
        return grpc.method_handlers_generic_handler(name, {"Export": grpc.unary_unary_rpc_method_handler(export)})

    def _export(self, data: bytes, context: Any) -> bytes:
        try:
            rejected, why = store(data, "", PROTOBUF, self._take)
        except Refused as refusal:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(refusal))
        return success(rejected, why)

    def _export_logs(self, data: bytes, context: Any) -> bytes:
        try:
            store_logs(data, "", PROTOBUF, self._take_logs)
        except Refused as refusal:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(refusal))
        return b""

    def shutdown(self) -> None:
        """Stop, after at most a second for requests in progress."""
        self._server.stop(1).wait()
