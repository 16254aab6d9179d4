"""``llmtrace metrics``: what all programs of a store did, as metrics for a Prometheus to fetch, until Ctrl-C.

One process counts for many: each program journals its spans, and this one follows the journals. So servers with several
worker processes need no shared directory, and a worker that dies takes no counts with it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import signal
import sys
import threading
from collections.abc import Iterable
from typing import Any

from llmtrace.cli.options import FINE, BadInput, port
from llmtrace.cli.paint import Screen
from llmtrace.cli.stores import opened
from llmtrace.metrics import Metrics
from llmtrace.model import Span
from llmtrace.semconv import SERVICE_NAME
from llmtrace.store import journal_files
from llmtrace.store.tail import Tail, Written

NAME = "metrics"
HELP = "offer a store's spans as metrics to Prometheus, until Ctrl-C"
EXAMPLE = "llmtrace metrics --port 9464"

PORT = 9464
NAME_THERE = "llmtrace-metrics"
"""``service.name`` of this process itself."""
EVERY = 0.5
"""Seconds between two looks at the journals."""
LOST_EVERY = 20
"""Looks after which open spans of programs that died are dropped."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", metavar="PORT", type=port, default=PORT, help=f"where to listen (default: {PORT}; 0: any free)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: 127.0.0.1); there is no password")
    parser.add_argument("--service", metavar="NAME", help="only spans of this service.name")
    parser.add_argument("--whole", action="store_true", help="count what is in the store already, too")
    parser.add_argument("--older", action="store_true", help="model calls under the names of former conventions, too")


def run(args: argparse.Namespace) -> int:
    if importlib.util.find_spec("opentelemetry.exporter.prometheus") is None:
        raise BadInput('one more package is needed.\nInstall it: pip install "llmtrace-otel[prometheus]"')
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from prometheus_client import start_http_server

    with opened(args) as store:
        folder = store.folder
        if folder is None:
            raise BadInput("only a local store can be followed.\nName its folder with --store FOLDER.")
        provider = MeterProvider(
            [PrometheusMetricReader()], resource=Resource.create({SERVICE_NAME: NAME_THERE}), shutdown_on_exit=False
        )
        counted = Counted(Metrics(provider, older=args.older), service=args.service)
        tail = Tail(folder / "journal", whole=args.whole)
        counted.take(tail.poll())
        try:
            server, thread = start_http_server(args.port, addr=args.host)
        except OSError as error:
            raise BadInput(f"cannot listen on {args.host}:{args.port} ({error.strerror}).\nName another with --port.") from None
        try:
            _tell(args, server.server_port, str(folder))
            _follow(tail, counted)
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
    return FINE


class Counted:
    """Feeds spans to the metrics as they begin and end, whoever wrote them."""

    def __init__(self, metrics: Metrics, *, service: str | None = None) -> None:
        self._metrics = metrics
        self._service = service
        self._open: dict[str, Written] = {}

    def take(self, written: Iterable[Written]) -> None:
        for one in written:
            span = one.span
            if self._service is not None and span.resource.get(SERVICE_NAME) != self._service:
                continue
            if span.end is None:
                self._open[span.span_id] = one
                self._metrics.on_span_start(span.span_id, span.operation)
            else:
                self._open.pop(span.span_id, None)
                self._metrics.append(span)

    def drop_lost(self, running: journal_files.RunningWriters) -> None:
        """Calls of programs that died are no longer in flight."""
        for one in [one for one in self._open.values() if not running.is_running(one.file)]:
            lost: Span = self._open.pop(one.span.span_id).span
            self._metrics.skip(lost)


def _follow(tail: Tail, counted: Counted) -> None:
    """Until Ctrl-C, or until asked to end."""
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    looks = 0
    while not done.wait(EVERY):
        counted.take(tail.poll())
        looks += 1
        if looks % LOST_EVERY == 0:
            counted.drop_lost(journal_files.RunningWriters(tail.journal))


def _tell(args: argparse.Namespace, listening: int, folder: str) -> None:
    screen = Screen(sys.stdout)
    address = f"http://{args.host}:{listening}/metrics"
    facts: dict[str, Any] = {"address": address, "store": folder}
    if args.json:
        screen.line(json.dumps(facts))
    else:
        screen.line(f"metrics   {address}")
        screen.line(f"store     {folder}")
        screen.line(screen.paint("Ctrl-C ends", "dim"))
    screen.stream.flush()
