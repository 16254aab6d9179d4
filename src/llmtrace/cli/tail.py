"""``llmtrace tail``: print spans as they end, one line each, until Ctrl-C.

With ``--json``, each line is one span.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable

from llmtrace.cli import format_text
from llmtrace.cli.new_messages import message_text, reasoning_text
from llmtrace.cli.options import FINE, json_text, positive
from llmtrace.cli.show import title_of
from llmtrace.cli.stores import opened
from llmtrace.cli.terminal import Screen, Style, cells, short
from llmtrace.model import OUTCOME, Inference, Span, failure_kind, has_error
from llmtrace.model.traces import short_id
from llmtrace.store import Query, Store
from llmtrace.store.tail import Tail
from llmtrace.viewer.watch import stamp_of

NAME = "tail"
HELP = "print spans as they end, one line each"
EXAMPLE = "llmtrace tail --store ./traces"

EVERY_SECONDS = 0.1
REREAD_SECONDS, REREAD_TRACES = 1.0, 20
"""How often the newest traces of a store without a journal are read again, and how many of them."""
MOST_SEEN = 100_000
_LEAST_TEXT = 16
"""Minimum width of a span's text beside its findings; with less, the findings get a line of their own."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-n", metavar="N", type=positive, default=10, help="number of earlier spans to print first (default: 10)"
    )
    parser.add_argument("--no-follow", action="store_true", help="print earlier spans only, then stop")


def run(args: argparse.Namespace) -> int:
    screen = Screen(sys.stdout)
    with opened(args) as store:
        journal = None if store.folder is None else Tail(store.folder / "journal")
        stamp = stamp_of(store.path)
        seen: dict[tuple[str, str], None] = {}
        newest = _newest(store)
        seen.update(((span.trace_id, span.span_id), None) for span in newest[: -args.n])
        _tell(screen, newest[-args.n :], seen, as_json=args.json)
        if not seen and not args.json:
            if args.no_follow:
                screen.line("No spans yet. Try: llmtrace demo")
            else:
                screen.line("no spans yet; waiting. Press Ctrl-C to stop", "dim")
            screen.stream.flush()
        while not args.no_follow:
            time.sleep(REREAD_SECONDS if journal is None else EVERY_SECONDS)
            before, stamp = stamp, stamp_of(store.path)
            if journal is not None:
                _tell(screen, [written.span for written in journal.poll()], seen, as_json=args.json)
            elif stamp is None or stamp != before:  # a store on another machine, or a file that has changed
                _tell(screen, _newest(store), seen, as_json=args.json)
    return FINE


def _newest(store: Store) -> list[Span]:
    """Return the ended spans of the newest traces, in the order in which they ended."""
    ended = [span for span in store.spans(Query(limit=REREAD_TRACES), prompts=False) if span.end is not None]
    return sorted(ended, key=lambda span: span.end or 0)


def _tell(screen: Screen, spans: Iterable[Span], seen: dict[tuple[str, str], None], *, as_json: bool) -> None:
    has_new = False
    for span in spans:
        key = (span.trace_id, span.span_id)
        if span.end is None or key in seen:
            continue
        seen[key] = None
        if len(seen) > MOST_SEEN:
            del seen[next(iter(seen))]
        has_new = True
        if as_json:
            screen.line(json_text(format_text.as_json(span)))
        else:
            _line(screen, span)
    if has_new:
        screen.stream.flush()


def _line(screen: Screen, span: Span) -> None:
    finding_names = [violation.code for violation in span.violations] + [
        evaluation.name for evaluation in span.evaluations if evaluation.name != OUTCOME and evaluation.severity != "info"
    ]
    style: Style = "red" if has_error(span) else "yellow" if finding_names else "green"
    facts = f"{format_text.moment(span.end or 0, '%H:%M:%S')}  {short_id(span.trace_id)}  "
    failed = [failure_kind(span.failure)] if span.failure is not None and not span.violations else []
    verdict = format_text.findings(dict.fromkeys([*failed, *finding_names]))
    end = f"  {format_text.duration(span.duration)}"
    beside = f"  {verdict}" if screen.width - cells(f"{facts}{end}  {verdict}") >= _LEAST_TEXT else ""
    room = screen.width - cells(facts) - cells(end + beside) - 2
    text = short(_worded(span), room)
    end += beside
    screen.line(screen.paint(facts, "dim") + screen.paint("● ", style) + text + screen.paint(end, style if verdict else "dim"))
    if verdict and not beside:
        screen.prose(verdict, style, prefix=" " * cells(facts))


def _worded(span: Span) -> str:
    operation = span.operation
    if not isinstance(operation, Inference):
        return title_of(span)
    texts, calls = [], list[str]()
    for message in operation.output:
        requested = [format_text.tool_call(call) for call in message.tool_calls()]
        thoughts = "" if requested else reasoning_text(message)
        texts.append(message_text(message) or (f"(thinks) {thoughts}" if thoughts else ""))
        calls += requested
    return f"{title_of(span)}: {' '.join([*texts, *calls]).strip()}"
