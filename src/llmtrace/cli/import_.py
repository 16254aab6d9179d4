"""``llmtrace import``: read files of spans, or exports of other products, into the store. A span is stored once.

Spans of other instrumentations are redacted and evaluated, like those that arrive by ``llmtrace receive``. Our own spans, which
were exported before, are stored unchanged.

An unreadable line is named and skipped; then the exit code is 2. The output says how many spans are new.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from llmtrace.cli import format_text
from llmtrace.cli.options import BAD_INPUT, FINE, BadInput, print_json
from llmtrace.cli.read_spans import name_skipped, read
from llmtrace.cli.stores import make_ingestor, opened
from llmtrace.cli.terminal import Progress, Screen
from llmtrace.codec.formats import Skipped, Unreadable
from llmtrace.codec.log_records import LogRecord
from llmtrace.config import Config
from llmtrace.errors import StoreError
from llmtrace.external.ingest import Ingestor
from llmtrace.model import Span
from llmtrace.store import Query, Store
from llmtrace.text.unsafe_characters import clean

NAME = "import"
HELP = "read files of spans, or exports of other products, into the store"
EXAMPLE = "llmtrace import traces.jsonl"

_MOST_NAMED = 5
_EVALUATED_SECONDS = 0.5
"""Seconds between two reports of the number of traces that still have to be evaluated."""
_NEVER = 1e9
"""Seconds without a new span after which a trace is evaluated. So large that traces are evaluated after all files are read."""


@dataclass
class _Imported:
    spans: Counter[str] = field(default_factory=Counter)
    """Number of spans by trace id."""
    stored: dict[str, dict[str, bool]] | None = None
    """By trace id, the ids of the spans in the store, each with True if it has ended; None if the store cannot tell."""
    old_traces: set[str] = field(default_factory=set)
    """Ids of the traces that the store had spans of before."""
    new: int = 0
    """Number of spans that were not in the store before. Counted if ``stored`` is known."""
    skipped: Counter[Skipped] = field(default_factory=Counter)
    """Records that were understood but are not stored."""
    logs: int = 0
    """Number of log records that belong to spans."""
    bad: list[tuple[str, Unreadable]] = field(default_factory=list)
    refused: list[BadInput] = field(default_factory=list)
    """Errors of files without spans. The other files are still read."""
    last: Span | None = None


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="+", help="files of spans; the format is recognised by the content; - is stdin")


def run(args: argparse.Namespace) -> int:
    done = _Imported()
    config = Config.read(store=args.store)
    with Progress("importing") as progress, opened(args) as store:
        if store.has_index:
            done.stored = {}
            with contextlib.suppress(StoreError):  # the store may not exist yet; reading it brings its index up to date
                store.traces(Query(limit=1))
        ingestor = make_ingestor(store, config, quiet=_NEVER)
        for path in args.file:
            try:
                _import(path, store, ingestor, progress, done)
            except BadInput as error:
                done.refused.append(error)
        while ingestor.waiting:
            progress.text = f"evaluating {format_text.plural(ingestor.waiting, 'trace')}"
            ingestor.evaluate_all(_EVALUATED_SECONDS)
        ingestor.close()
        store.flush()
    if not done.spans and not done.logs and done.refused:
        raise done.refused[0]
    if done.last is not None:  # read a span back: a store that cannot be written keeps spans in memory
        try:
            with opened(args) as store:
                store.trace(done.last.trace_id).span(done.last.span_id)
        except (StoreError, KeyError):
            advice = "Run llmtrace doctor, or choose another --store."
            raise BadInput(f"the store is not writable, so the spans were not stored.\n{advice}") from None
    _tell(args, done)
    return BAD_INPUT if done.bad or done.refused else FINE


def _import(path: str, store: Store, ingestor: Ingestor, progress: Progress, done: _Imported) -> None:
    records: list[LogRecord] = []

    def show(part: float) -> None:
        progress.text = f"reading {path}" + (f" {part:.0%}" if part else "")

    for item in read(path, show):
        if isinstance(item, Unreadable):
            done.bad.append((path, item))
        elif isinstance(item, Skipped):
            done.skipped[item] += 1
        elif isinstance(item, LogRecord):
            records.append(item)
        else:
            is_stored = _is_stored(store, item, done)
            if item.run_id is not None:
                store.append(item)
            elif not is_stored:
                ingestor.ingest_span(item)
            done.spans[item.trace_id] += 1
            done.last = item
    if records:
        ingestor.ingest_logs(records)
        done.logs += len(records)


def _is_stored(store: Store, span: Span, done: _Imported) -> bool:
    """Count a span. Returns True if the store has it already; an ended span must be stored as ended, too."""
    if done.stored is None:
        return False
    spans = done.stored.get(span.trace_id)
    if spans is None:
        spans = done.stored[span.trace_id] = {}
        with contextlib.suppress(StoreError):  # the trace or the store does not exist yet
            spans.update((stored.span_id, stored.end is not None) for stored in store.trace(span.trace_id).spans)
            done.old_traces.add(span.trace_id)
    done.new += span.span_id not in spans
    has_ended = span.end is not None
    is_stored = span.span_id in spans and spans[span.span_id] >= has_ended
    spans[span.span_id] = spans.get(span.span_id, False) or has_ended
    return is_stored


def _tell(args: argparse.Namespace, done: _Imported) -> None:
    total = sum(done.spans.values())
    if args.json:
        lines = [{"file": path, "where": line.where, "reason": line.reason} for path, line in done.bad]
        counts: dict[str, Any] = {"traces": len(done.spans), "spans": total, "new_traces": None, "new_spans": None}
        if done.stored is not None:
            counts |= {"new_traces": len(done.spans) - len(done.old_traces), "new_spans": done.new}
        skipped = {record.name: count for record, count in done.skipped.items()}
        print_json({**counts, "bad_lines": lines, "not_stored": skipped})
    else:
        spans = f"{format_text.plural(total, 'span')} of {format_text.plural(len(done.spans), 'trace')}"
        logs = f", {format_text.plural(done.logs, 'log record')}" if done.logs else ""
        Screen(sys.stdout).line(f"imported {spans}{_novelty(done, total)}{logs}")
    screen = Screen(sys.stderr)
    if done.skipped:
        advice = "".join(f". {record.advice}" for record in done.skipped if record.advice)
        screen.line(clean(f"llmtrace import: not stored: {name_skipped(done.skipped)}{advice}"))
    for error in done.refused[:_MOST_NAMED]:
        screen.line(clean(f"llmtrace import: {str(error).splitlines()[0]}"))
    named = {str(error).splitlines()[0].split(" contains no spans")[0] for error in done.refused}
    bad = [(path, line) for path, line in done.bad if path not in named]
    for path, line in bad[:_MOST_NAMED]:
        screen.line(clean(f"llmtrace import: {path}, {line.where}: {line.reason}. It was left out"))
    more = max(0, len(bad) - _MOST_NAMED) + max(0, len(done.refused) - _MOST_NAMED)
    if more:
        screen.line(f"llmtrace import: {more} more could not be read")


def _novelty(done: _Imported, total: int) -> str:
    """Return how much of the input was new to the store; "" if all of it was, or if the store cannot tell."""
    if done.stored is None or done.new == total:
        return ""
    if not done.new:
        return ", none of them new"
    old, new = len(done.old_traces), len(done.spans) - len(done.old_traces)
    added = done.new - sum(count for trace_id, count in done.spans.items() if trace_id not in done.old_traces)
    more = f" ({format_text.plural(added, 'new span')})" if added > 0 else ""
    return f": {format_text.plural(new, 'trace')} new, {old} in the store already{more}"
