"""``llmtrace receive``: a local OTLP endpoint through which programs in any language send spans to the store.

With ``--forward`` it stands between collectors: spans go on by OTLP when their trace was evaluated, with their verdicts.

It listens on this machine only, for OTLP over HTTP (protobuf, JSON, gzip) and gRPC. A trace is judged one second after its last
span if it is complete, else after five. Log records are joined to their spans; metrics are discarded. Traces without a model,
tool or agent are kept and not listed. A request may have 64 MiB and 50,000 spans. With ``--json``, the first line has the
ports, and each further line is a trace. If nobody reads the lines, the receiver goes on, and ``{"dropped_lines": N}`` counts
those that are left out. What was not judged at its end is judged by ``llmtrace check``, or by the next
``receive --forward``. See docs/how_to/other_languages.md.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
import threading
from pathlib import Path
from typing import Final, TextIO, cast
from urllib.parse import urlsplit

from llmtrace.cli import format_text
from llmtrace.cli.options import FINE, BadInput, add_repeated, json_text, port
from llmtrace.cli.output_queue import OutputQueue
from llmtrace.cli.stopping import stop_signals
from llmtrace.cli.stores import make_ingestor
from llmtrace.cli.terminal import Screen
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.diagnosis.visibility import can_be_judged
from llmtrace.exporters.forwarding.destination import Destination, named
from llmtrace.exporters.forwarding.forwarder import EXIT_SECONDS
from llmtrace.exporters.forwarding.send_queue import SendQueue
from llmtrace.exporters.forwarding.sending import forward
from llmtrace.installed import has_grpc
from llmtrace.model import Trace
from llmtrace.model.traces import short_id
from llmtrace.receiver import Receiver
from llmtrace.receiver.receiver import GRPC_PORT, HTTP_PORT
from llmtrace.store import Store, open_store
from llmtrace.store.local import LocalStore
from llmtrace.store.summary import TraceSummary, summarise
from llmtrace.store.waiting_logs import WaitingLogs
from llmtrace.text.unsafe_characters import clean

NAME = "receive"
HELP = "receive spans from programs in any language (OTLP), until Ctrl-C"
EXAMPLE = "llmtrace receive --http-port 4318 --grpc-port 4317"
CLOSE_SECONDS = 0.9
"""Seconds after Ctrl-C in which waiting traces are evaluated. A later reader evaluates the rest."""
_FIELDS: Final = TraceSummary.__slots__  # type: ignore[attr-defined]
COLLECT_AFTER = 50_000, 20, 100
"""Thresholds of the garbage collector. It runs rarely: spans have no reference cycles, and a pass over all waiting ones is
slow."""
DRAIN_SECONDS = 0.5
"""Seconds at the end in which lines that nobody has read yet are written."""
PATIENCE = 20.0
"""Maximum number of seconds that a sender waits while too many spans wait to be evaluated."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--http-port", metavar="PORT", type=port, default=HTTP_PORT, help=f"OTLP over HTTP (default: {HTTP_PORT}; 0: any free)"
    )
    parser.add_argument(
        "--grpc-port", metavar="PORT", type=port, help=f"OTLP over gRPC (default: {GRPC_PORT} if installed; 0: any free)"
    )
    parser.add_argument("--no-grpc", action="store_true", help="HTTP only")
    parser.add_argument(
        "--forward", metavar="URL", help="send spans on by OTLP, with their verdicts (http://HOST:4318, grpc://HOST:4317)"
    )
    parser.add_argument("--no-store", action="store_true", help="with --forward: keep spans until they are sent, no longer")
    text = "let pages of this origin send over HTTP (CORS), such as http://localhost:3000; may be repeated"
    add_repeated(parser, "--allow-origin", "ORIGIN", text, type=_origin)


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or text != f"{parts.scheme}://{parts.netloc}":
        raise argparse.ArgumentTypeError(f"expected an origin such as http://localhost:3000, got {text!r}")
    return text


def run(args: argparse.Namespace) -> int:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC would print a second message for the same error
    gc.set_threshold(*COLLECT_AFTER)
    config = Config.read(store=args.store)
    if config.store == "off":
        raise BadInput("the store is off (LLMTRACE_STORE=off), so spans cannot be stored.\nName a store with --store FOLDER.")
    destination = _destination(args)
    output = _output(as_json=args.json)
    screen, output_lock, is_over = Screen(cast("TextIO", output)), threading.Lock(), threading.Event()

    def judged(trace: Trace) -> None:
        summary = summarise(trace)
        if summary.is_run:
            with output_lock:
                if is_over.is_set():
                    return
                _tell(screen, summary, judged=can_be_judged(trace), as_json=args.json)

    store = _store(config, no_store=args.no_store, forwards=destination is not None)
    folder = store.folder if isinstance(store, LocalStore) and not args.no_store else None
    logs = None if folder is None else WaitingLogs(folder, Content(config))
    options = {"on_evaluated": judged, "is_only_writer": True, "patience": PATIENCE, "waiting_logs": logs}
    ingestor = make_ingestor(store, config, **options)
    forwarder = None if destination is None else forward(destination, config, store, always=True, judge=ingestor)[0]
    try:
        default = GRPC_PORT if has_grpc() else None
        grpc_port = None if args.no_grpc else default if args.grpc_port is None else args.grpc_port
        with stop_signals() as wait:
            receiver = Receiver(ingestor, http_port=args.http_port, grpc_port=grpc_port, origins=args.allow_origin)
            place = "nowhere (--no-store)" if args.no_store else config.store
            with output_lock:
                _open(screen, receiver, place, args.forward, as_json=args.json)
            ingestor.restore_logs()
            wait(float("inf"))
        if not args.json and (ingestor.waiting or forwarder is not None):
            action = "evaluating" if forwarder is None else "evaluating and sending"
            with output_lock:
                screen.line(f"{action} what waits. Press Ctrl-C again to stop at once", "dim")
                screen.stream.flush()
        receiver.close(CLOSE_SECONDS)
        if forwarder is not None:
            forwarder.close(EXIT_SECONDS)
        if not args.json:
            next_reader = "llmtrace check does it" if forwarder is None else "the next llmtrace receive --forward does it"
            unevaluated = f". {format_text.plural(ingestor.waiting, 'trace')} could not be evaluated any more: {next_reader}"
            with output_lock:  # a trace may still be evaluated on another thread
                is_over.set()
                screen.line(
                    f"{format_text.plural(receiver.received, 'span')} received{unevaluated if ingestor.waiting else ''}"
                )
        output.drain(DRAIN_SECONDS)
    finally:
        store.close()
        if forwarder is not None:
            forwarder.tidy()
    return FINE


def _output(*, as_json: bool) -> OutputQueue:
    """Return a queue for lines on stdout. If stdout is closed, it drops them."""
    descriptor = -1
    with contextlib.suppress(AttributeError, OSError, ValueError):
        descriptor = sys.stdout.fileno()

    def dropped_line(count: int) -> str:
        text = f"{format_text.plural(count, 'line')} left out, because nobody read the output"
        return (json_text({"dropped_lines": count}) if as_json else text) + "\n"

    return OutputQueue(descriptor, dropped_line)


def _destination(args: argparse.Namespace) -> Destination | None:
    if args.forward is None:
        if args.no_store:
            raise BadInput("--no-store keeps nothing, so it needs --forward URL")
        return None
    destination, _ = named([f"otlp:{args.forward}"])
    if destination is None:
        raise BadInput(f"--forward {args.forward}: expected the address of a collector, such as http://localhost:4318")
    return destination


def _store(config: Config, *, no_store: bool, forwards: bool) -> Store:
    store = open_store(config.store, config=config)
    folder: Path | None = store.folder if isinstance(store, LocalStore) else None
    if forwards and folder is None:
        raise BadInput("--forward needs a folder for spans that cannot be sent yet.\nName one with --store FOLDER.")
    if no_store and folder is not None:
        store.close()
        return SendQueue(folder, config, strips=False)
    return store


def _open(screen: Screen, receiver: Receiver, store: str, forward: str | None, *, as_json: bool) -> None:
    ports = {"http_port": receiver.http_port, "grpc_port": receiver.grpc_port}
    if as_json:
        screen.line(json_text(ports))
    else:
        screen.line(f"OTLP over HTTP   http://127.0.0.1:{receiver.http_port}")
        if receiver.grpc_port is not None:
            screen.line(f"OTLP over gRPC   127.0.0.1:{receiver.grpc_port}")
        elif not has_grpc():
            screen.line('OTLP over gRPC   off. To turn it on: pip install "llmtrace-otel[grpc]"')
        screen.line(f"store            {'your data folder' if store == 'auto' else store}")
        if forward is not None:
            screen.line(f"forward to       {forward.rpartition('@')[2]}")
        screen.line()
        screen.line(f"export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{receiver.http_port}", "cyan")
        screen.line("export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "cyan")
        screen.line()
        screen.line("waiting for spans. Press Ctrl-C to stop", "dim")
    screen.stream.flush()


def _tell(screen: Screen, summary: TraceSummary, *, judged: bool, as_json: bool) -> None:
    """Print one line for a trace that was evaluated."""
    if as_json:
        screen.line(json_text({**{name: getattr(summary, name) for name in _FIELDS}, "judged": judged}))
    else:
        facts = [format_text.plural(summary.spans, "span"), format_text.duration(summary.duration)]
        findings = format_text.findings(summary.findings) or (
            "nothing found" if judged else f"nothing could be judged. See llmtrace why {short_id(summary.trace_id)}"
        )
        health = screen.paint(summary.health.ljust(9), format_text.HEALTH_STYLE[summary.health])
        screen.line(f"{short_id(summary.trace_id)}  {health} {' '.join(facts)}  {clean(summary.name)}: {findings}")
    screen.stream.flush()
