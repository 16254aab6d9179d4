"""``llmtrace receive``: a local OTLP endpoint through which programs in any language send spans to the store."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading

from llmtrace.cli import format_text
from llmtrace.cli.options import FINE, BadInput, port
from llmtrace.cli.terminal import Screen, clean
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.diagnosis.visibility import can_be_judged
from llmtrace.evaluation import Evaluator
from llmtrace.external.ingest import Ingestor
from llmtrace.installed import has_grpc
from llmtrace.model import Trace
from llmtrace.receiver import Receiver
from llmtrace.receiver.receiver import GRPC_PORT, HTTP_PORT
from llmtrace.signals import load
from llmtrace.store import open_store
from llmtrace.store.summary import TraceSummary, summarise

NAME = "receive"
HELP = "receive spans from programs in any language (OTLP), until Ctrl-C"
EXAMPLE = "llmtrace receive --http-port 4318 --grpc-port 4317"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--http-port", metavar="PORT", type=port, default=HTTP_PORT, help=f"OTLP over HTTP (default: {HTTP_PORT}; 0: any free)"
    )
    parser.add_argument(
        "--grpc-port", metavar="PORT", type=port, help=f"OTLP over gRPC (default: {GRPC_PORT} if installed; 0: any free)"
    )
    parser.add_argument("--no-grpc", action="store_true", help="HTTP only")


def run(args: argparse.Namespace) -> int:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC would print its own message for the same error
    config = Config.read(store=args.store)
    if config.store == "off":
        raise BadInput("the store is off (LLMTRACE_STORE=off), so spans cannot be stored.\nName a store with --store FOLDER.")
    screen, output_lock = Screen(sys.stdout), threading.Lock()

    def judged(trace: Trace) -> None:
        summary = summarise(trace)
        if summary.is_run:
            with output_lock:
                _tell(screen, summary, judged=can_be_judged(trace), as_json=args.json)

    store = open_store(config.store, config=config)
    ingestor = Ingestor(
        store,
        content=Content(config),
        prices=config.prices or None,
        make_evaluator=lambda: Evaluator(load(config.signals)),
        on_evaluated=judged,
    )
    try:
        default = GRPC_PORT if has_grpc() else None
        grpc_port = None if args.no_grpc else default if args.grpc_port is None else args.grpc_port
        with Receiver(ingestor, http_port=args.http_port, grpc_port=grpc_port) as receiver:
            with output_lock:
                _open(screen, receiver, config.store, as_json=args.json)
            _wait()
        if not args.json:
            screen.line(f"{format_text.plural(receiver.received, 'span')} received")
    finally:
        store.close()
    return FINE


def _wait() -> None:
    """Wait for Ctrl-C or SIGTERM. A second one ends the program at once."""
    done, numbers = threading.Event(), (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: done.set()) for number in numbers]
    done.wait()
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def _open(screen: Screen, receiver: Receiver, store: str, *, as_json: bool) -> None:
    ports = {"http_port": receiver.http_port, "grpc_port": receiver.grpc_port}
    if as_json:
        screen.line(json.dumps(ports))
    else:
        screen.line(f"OTLP over HTTP   http://127.0.0.1:{receiver.http_port}")
        if receiver.grpc_port is not None:
            screen.line(f"OTLP over gRPC   127.0.0.1:{receiver.grpc_port}")
        elif not has_grpc():
            screen.line('OTLP over gRPC   off. To turn it on: pip install "llmtrace-otel[grpc]"')
        screen.line(f"store            {'your data folder' if store == 'auto' else store}")
        screen.line()
        screen.line(screen.paint(f"export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{receiver.http_port}", "cyan"))
        screen.line(screen.paint("export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "cyan"))
        screen.line()
        screen.line(screen.paint("waiting for spans. Press Ctrl-C to stop", "dim"))
    screen.stream.flush()


def _tell(screen: Screen, summary: TraceSummary, *, judged: bool, as_json: bool) -> None:
    """Print one line for a trace that was evaluated."""
    if as_json:
        screen.line(json.dumps({**format_text.as_json(summary), "judged": judged}))
    else:
        facts = [format_text.plural(summary.spans, "span"), format_text.duration(summary.duration)]
        findings = format_text.findings(summary.findings) or (
            "nothing found" if judged else f"nothing could be judged. See llmtrace why {summary.trace_id[:8]}"
        )
        health = screen.paint(summary.health.ljust(9), format_text.HEALTH_STYLE[summary.health])
        screen.line(f"{summary.trace_id[:8]}  {health} {' '.join(facts)}  {clean(summary.name)}: {findings}")
    screen.stream.flush()
