"""``llmtrace metrics``: serve the spans of all programs of a store as Prometheus metrics, until Ctrl-C.

One process counts for all programs: each writes its spans to a journal, and this one follows the journals. So servers with
several worker processes need no shared directory, and no counts are lost if a worker dies.

Needs ``pip install "llmtrace-otel[prometheus]"``. See docs/how_to/grafana.md.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import get_args

from llmtrace.cli.options import FINE, BadInput, json_text, port
from llmtrace.cli.stopping import stop_signals
from llmtrace.cli.stores import local_folder, opened
from llmtrace.cli.terminal import Screen
from llmtrace.config import Config
from llmtrace.errors import StoreError
from llmtrace.issues import State, decisions_of, issues_of, runs_judged_so_far
from llmtrace.issues.issue import count_states
from llmtrace.list_verdicts import Verdicts
from llmtrace.metrics import Metrics, observe_dead_letters, observe_issues
from llmtrace.model import Span
from llmtrace.semconv import SERVICE_NAME
from llmtrace.store import Query, Store, journal_files
from llmtrace.store.letter_states import WAITING, LetterStates, read_entries
from llmtrace.store.tail import Tail, Written

NAME = "metrics"
HELP = "serve a store's spans as Prometheus metrics, until Ctrl-C"
EXAMPLE = "llmtrace metrics --port 9464"

PORT = 9464
NAME_THERE = "llmtrace-metrics"
"""``service.name`` of this process."""
EVERY = 0.5
"""Seconds between two reads of the journals."""
LETTERS_EVERY = 30.0
"""Seconds between two reads of the dead letters."""
ISSUES_EVERY = 30.0
"""Seconds between two counts of the issues."""
ISSUES_SECONDS = 1.0
"""Seconds that a count waits for runs to be diagnosed."""
LOST_EVERY = 20
"""Number of reads of the journals between two searches for programs that died, whose open spans are dropped."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", metavar="PORT", type=port, default=PORT, help=f"where to listen (default: {PORT}; 0: any free)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: 127.0.0.1); there is no password")
    parser.add_argument("--service", metavar="NAME", help="only spans of this service.name")
    parser.add_argument("--whole", action="store_true", help="also count the spans that are in the store already")
    parser.add_argument("--older", action="store_true", help="also count model calls under the names of older conventions")


def run(args: argparse.Namespace) -> int:
    try:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
    except ModuleNotFoundError:
        raise BadInput('one more package is needed.\nInstall it: pip install "llmtrace-otel[prometheus]"') from None
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from prometheus_client import start_http_server

    with opened(args) as store:
        folder = local_folder(store)
        provider = MeterProvider(
            [PrometheusMetricReader()], resource=Resource.create({SERVICE_NAME: NAME_THERE}), shutdown_on_exit=False
        )
        if args.service is None:
            observe_dead_letters(provider, OpenLetters(store, LetterStates(folder)).ages)
            observe_issues(provider, CountedIssues(store, Config.read(store=args.store)).numbers)
        counted = Counted(Metrics(provider, older=args.older), service=args.service)
        tail = Tail(folder / "journal", whole=args.whole)
        counted.take(tail.poll())
        try:
            server, thread = start_http_server(args.port, addr=args.host)
        except OSError as error:
            raise BadInput(f"cannot listen on {args.host}:{args.port} ({error.strerror}).\nName another with --port.") from None
        try:
            address, screen = f"http://{args.host}:{server.server_port}/metrics", Screen(sys.stdout)
            if args.json:
                screen.line(json_text({"address": address, "store": str(folder)}))
            else:
                screen.line(f"metrics   {address}")
                screen.line(f"store     {folder}")
                screen.line("Ctrl-C ends", "dim")
            screen.stream.flush()
            _follow(tail, counted)
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
    return FINE


class OpenLetters:
    """The open dead letters of a store, read again after `LETTERS_EVERY` seconds."""

    def __init__(self, store: Store, states: LetterStates) -> None:
        self._store = store
        self._states = states
        self._lock = threading.Lock()
        self._read_at = -LETTERS_EVERY
        self._times: dict[str, list[int]] = {}

    def ages(self) -> dict[str, list[float]]:
        """Return the seconds since each letter was given up, by reason. If the store cannot be read, the last result counts."""
        with self._lock:
            if time.monotonic() - self._read_at >= LETTERS_EVERY:
                self._read_at = time.monotonic()
                with suppress(StoreError):
                    # a reason that has no open letters any more stays, so that it is exported as 0
                    times: dict[str, list[int]] = {reason: [] for reason in self._times}
                    for letter, _, state in read_entries(self._store, self._states):
                        times.setdefault(letter.reason, []).extend([letter.at] if state.state in WAITING else ())
                    self._times = times
            now = time.time_ns()
            return {reason: [max(0.0, (now - at) / 1e9) for at in given_up] for reason, given_up in self._times.items()}


class CountedIssues:
    """The number of a store's issues by state, counted again after `ISSUES_EVERY` seconds. Runs are diagnosed in the
    background, and count when they are."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self._config = config
        self._verdicts = Verdicts(store)
        self._lock = threading.Lock()
        self._read_at = -ISSUES_EVERY
        self._numbers: dict[str, int] = {}

    def numbers(self) -> dict[str, int]:
        """Return how many issues the stored runs show, by state. If the store cannot be read, the last result counts."""
        with self._lock:
            if time.monotonic() - self._read_at >= ISSUES_EVERY:
                self._read_at = time.monotonic()
                with suppress(StoreError):
                    runs = runs_judged_so_far(self._verdicts, Query(), seconds=ISSUES_SECONDS)
                    issues = issues_of(runs.judged, decisions_of(self._store.folder, self._config))
                    states = count_states(issue for issue in issues if issue.runs)
                    self._numbers = {state: states[state] for state in get_args(State)}
            return self._numbers


class Counted:
    """Counts spans as they start and end, whichever program wrote them."""

    def __init__(self, metrics: Metrics, *, service: str | None = None) -> None:
        self._metrics = metrics
        self._service = service
        self._open: dict[str, Written] = {}

    def take(self, written: Iterable[Written]) -> None:
        for written_span in written:
            span = written_span.span
            if self._service is not None and span.resource.get(SERVICE_NAME) != self._service:
                continue
            if span.end is None:
                self._open[span.span_id] = written_span
                self._metrics.on_span_start(span.span_id, span.operation)
            else:
                self._open.pop(span.span_id, None)
                self._metrics.append(span)

    def drop_lost(self, running: journal_files.RunningWriters) -> None:
        """Drop the open spans of programs that died."""
        for written_span in [written_span for written_span in self._open.values() if not running.is_running(written_span.file)]:
            lost: Span = self._open.pop(written_span.span.span_id).span
            self._metrics.on_span_end(lost)


def _follow(tail: Tail, counted: Counted) -> None:
    """Read new spans, and count them, until Ctrl-C or SIGTERM."""
    looks = 0
    with stop_signals() as wait:
        while not wait(EVERY):
            counted.take(tail.poll())
            looks += 1
            if looks % LOST_EVERY == 0:
                counted.drop_lost(journal_files.RunningWriters(tail.journal))
