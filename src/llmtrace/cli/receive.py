"""``llmtrace receive``: a local OTLP endpoint, so that programs in any language send their spans to the store."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading

from llmtrace.cli import words
from llmtrace.cli.options import FINE, BadInput, port
from llmtrace.cli.paint import Screen, clean
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.evaluation import Evaluator
from llmtrace.external.ingest import Ingestor
from llmtrace.model import Trace
from llmtrace.receiver import Receiver
from llmtrace.receiver.receiver import GRPC_PORT, HTTP_PORT
from llmtrace.signals import load
from llmtrace.store import open_store
from llmtrace.store.summary import TraceSummary, summarise

NAME = "receive"
HELP = "take spans from programs in any language (OTLP), until Ctrl-C"
EXAMPLE = "llmtrace receive --http-port 4318 --grpc-port 4317"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--http-port", metavar="PORT", type=port, default=HTTP_PORT, help=f"OTLP over HTTP (default: {HTTP_PORT}; 0: any free)"
    )
    parser.add_argument(
        "--grpc-port", metavar="PORT", type=port, default=GRPC_PORT, help=f"OTLP over gRPC (default: {GRPC_PORT}; 0: any free)"
    )
    parser.add_argument("--no-grpc", action="store_true", help="HTTP only")


def run(args: argparse.Namespace) -> int:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it would say in its own words what we say in ours
    config = Config.read(store=args.store)
    if config.store == "off":
        raise BadInput("LLMTRACE_STORE is off, so nothing can be kept.\nName a store with --store FOLDER.")
    screen, said = Screen(sys.stdout), threading.Lock()

    def judged(trace: Trace) -> None:
        with said:
            _tell(screen, summarise(trace), as_json=args.json)

    store = open_store(config.store, config=config)
    ingestor = Ingestor(store, content=Content(config), evaluator=Evaluator(load(config.signals)), on_evaluated=judged)
    try:
        with Receiver(ingestor, http_port=args.http_port, grpc_port=None if args.no_grpc else args.grpc_port) as receiver:
            with said:
                _open(screen, receiver, config.store, as_json=args.json)
            _wait()
        if not args.json:
            screen.line(f"{words.plural(receiver.received, 'span')} received")
    finally:
        store.close()
    return FINE


def _wait() -> None:
    """Until Ctrl-C, or until asked to end."""
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    done.wait()


def _open(screen: Screen, receiver: Receiver, store: str, *, as_json: bool) -> None:
    ports = {"http_port": receiver.http_port, "grpc_port": receiver.grpc_port}
    if as_json:
        screen.line(json.dumps(ports))
    else:
        screen.line(f"OTLP over HTTP   http://127.0.0.1:{receiver.http_port}")
        if receiver.grpc_port is not None:
            screen.line(f"OTLP over gRPC   127.0.0.1:{receiver.grpc_port}")
        screen.line(f"store            {'your data folder' if store == 'auto' else store}")
        screen.line()
        screen.line(screen.paint(f"export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{receiver.http_port}", "cyan"))
        screen.line(screen.paint("export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "cyan"))
        screen.line()
        screen.line(screen.paint("waiting for spans; Ctrl-C ends", "dim"))
    screen.stream.flush()


def _tell(screen: Screen, summary: TraceSummary, *, as_json: bool) -> None:
    """A trace that has been quiet for a while and was judged: one line."""
    if as_json:
        screen.line(json.dumps(words.as_json(summary)))
    else:
        facts = [words.plural(summary.spans, "span"), words.duration(summary.duration)]
        found = words.findings(summary.findings) or "nothing found"
        health = screen.paint(summary.health.ljust(9), words.HEALTH_STYLE[summary.health])
        screen.line(f"{summary.trace_id[:8]}  {health} {' '.join(facts)}  {clean(summary.name)}: {found}")
    screen.stream.flush()
