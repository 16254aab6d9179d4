"""``llmtrace import``: read files of spans, or exports of other products, into the store. A span is stored once.

Spans of other instrumentations are redacted and evaluated, like those that arrive by ``llmtrace receive``. Our own spans, which
were exported before, are stored unchanged.

An unreadable line is named and skipped; then the exit code is 2. The output says how many spans are new.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from llmtrace.cli import format_text
from llmtrace.cli.options import BAD_INPUT, FINE, BadInput, print_json
from llmtrace.cli.read_spans import name_skipped, read_raw
from llmtrace.cli.stores import make_ingestor, opened
from llmtrace.cli.terminal import Progress, Screen
from llmtrace.codec.formats import Skipped, Unreadable
from llmtrace.codec.log_records import LogRecord
from llmtrace.config import Config
from llmtrace.errors import StoreError
from llmtrace.external.ingest import Ingestor
from llmtrace.model import RawSpan
from llmtrace.semconv import HEALTH, RUN_ID
from llmtrace.store import Store, journal_records
from llmtrace.store.local import LocalStore
from llmtrace.store.memory import SpanKey
from llmtrace.text.unsafe_characters import clean

NAME = "import"
HELP = "read files of spans, or exports of other products, into the store"
EXAMPLE = "llmtrace import traces.jsonl"

_MOST_NAMED = 5
_BATCH = 2000
"""Spans that are looked up in the store together."""
_EVALUATED_SECONDS = 0.5
"""Seconds between two reports of the number of traces that still have to be evaluated."""
_NEVER = 1e9
"""Seconds without a new span after which a trace is evaluated. So large that traces are evaluated after all files are read."""


@dataclass
class _Imported:
    spans: Counter[str] = field(default_factory=Counter)
    """Number of spans by trace id."""
    old_traces: set[str] = field(default_factory=set)
    """Ids of the traces that the store had spans of before."""
    new: int | None = 0
    """Number of spans that were not in the store before; None if the store cannot tell."""
    skipped: Counter[Skipped] = field(default_factory=Counter)
    """Records that were understood but are not stored."""
    logs: int = 0
    """Number of log records that belong to spans."""
    bad: list[tuple[str, Unreadable]] = field(default_factory=list)
    refused: list[BadInput] = field(default_factory=list)
    """Errors of files without spans. The other files are still read."""
    last: SpanKey | None = None


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="+", help="files of spans; the format is recognised by the content; - is stdin")


def run(args: argparse.Namespace) -> int:
    config = Config.read(store=args.store)
    with Progress("importing") as progress, opened(args) as store:
        local = store if isinstance(store, LocalStore) else None
        done = _Imported(new=None if local is None else 0)
        ingestor = make_ingestor(store, config, quiet=_NEVER, holds=local is not None)
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
    if done.last is not None and not _is_readable(args, done.last):
        advice = "Run llmtrace doctor, or choose another --store."
        raise BadInput(f"the store is not writable, so the spans were not stored.\n{advice}")
    _tell(args, done)
    return BAD_INPUT if done.bad or done.refused else FINE


def _is_readable(args: argparse.Namespace, key: SpanKey) -> bool:
    """Return True if a span can be read back. A store that cannot be written keeps spans in memory."""
    with suppress(StoreError, KeyError), opened(args) as store:
        if isinstance(store, LocalStore):
            return key in store.richness_of([key])
        return store.trace(key[0]).span(key[1]) is not None
    return False


def _import(path: str, store: Store, ingestor: Ingestor, progress: Progress, done: _Imported) -> None:
    records: list[LogRecord] = []
    batch: list[RawSpan] = []

    def show(part: float) -> None:
        progress.text = f"reading {path}" + (f" {part:.0%}" if part else "")

    try:
        for item in read_raw(path, show):
            if isinstance(item, Unreadable):
                done.bad.append((path, item))
            elif isinstance(item, Skipped):
                done.skipped[item] += 1
            elif isinstance(item, LogRecord):
                records.append(item)
            else:
                batch.append(item)
                if len(batch) >= _BATCH:
                    _store(batch, store, ingestor, done)
                    batch.clear()
    finally:
        _store(batch, store, ingestor, done)
    if records:
        ingestor.ingest_logs(records)
        done.logs += len(records)


def _store(batch: Sequence[RawSpan], store: Store, ingestor: Ingestor, done: _Imported) -> None:
    """Store the spans of the batch that the store does not have, and count all of them."""
    ours, external, stored_traces = list[RawSpan](), list[RawSpan](), set[str]()
    if isinstance(store, LocalStore):
        stored_traces = _stored_traces(batch, store, done)
        new = list(_unstored(batch, store, ingestor, done))
        _evaluate_again(batch, new, stored_traces, store, ingestor)
    else:
        new = list(batch)
    for raw in new:
        (ours if RUN_ID in raw.attributes else external).append(raw)
    if ours:
        store.append_all(ours)
        stored_traces.update(raw.trace_id for raw in ours)
    ingestor.ingest(external, stored_traces=stored_traces)
    for raw in batch:
        done.spans[raw.trace_id] += 1
        done.last = raw.trace_id, raw.span_id


def _stored_traces(batch: Sequence[RawSpan], store: LocalStore, done: _Imported) -> set[str]:
    """Return the ids of the traces of which the store has spans."""
    stored = set[str]()
    with suppress(StoreError):  # the store does not exist yet
        stored = store.stored_traces({raw.trace_id for raw in batch})
    done.old_traces |= {trace_id for trace_id in stored if trace_id not in done.spans}
    return stored


def _unstored(batch: Sequence[RawSpan], store: LocalStore, ingestor: Ingestor, done: _Imported) -> Iterator[RawSpan]:
    """Yield the spans of the batch that the store does not have, or has in a poorer version, and count the new ones.

    An ended span replaces its start mark. A richer version of a stored span replaces it only if llmtrace wrote it: other spans
    are stored redacted and evaluated, so that their size says nothing.
    """
    stored: dict[SpanKey, tuple[bool, int]] = {}
    with suppress(StoreError):
        stored = store.richness_of({(raw.trace_id, raw.span_id) for raw in batch})
    for raw in batch:
        key, richness = (raw.trace_id, raw.span_id), journal_records.richness(raw)
        held = ingestor.held(*key)
        if held is not None:
            stored.setdefault(key, (held.end is not None, 0))
        before = stored.get(key)
        done.new = (done.new or 0) + (before is None)
        if before is None or richness[0] > before[0] or (RUN_ID in raw.attributes and richness > before):
            stored[key] = richness
            yield raw


def _evaluate_again(
    batch: Sequence[RawSpan], new: Sequence[RawSpan], stored_traces: Collection[str], store: LocalStore, ingestor: Ingestor
) -> None:
    """Have stored traces evaluated if an import that was killed had not evaluated them."""
    new_keys = {(raw.trace_id, raw.span_id) for raw in new}
    roots = {
        (raw.trace_id, raw.span_id)
        for raw in batch
        if raw.trace_id in stored_traces and raw.parent_id is None and raw.end is not None and RUN_ID not in raw.attributes
    }
    for root in store.raw_spans(roots - new_keys) if roots - new_keys else ():
        if HEALTH not in root.attributes:
            ingestor.evaluate_stored(root.trace_id)


def _tell(args: argparse.Namespace, done: _Imported) -> None:
    total = sum(done.spans.values())
    if args.json:
        lines = [{"file": path, "where": line.where, "reason": line.reason} for path, line in done.bad]
        counts: dict[str, Any] = {"traces": len(done.spans), "spans": total, "new_traces": None, "new_spans": None}
        if done.new is not None:
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
    if done.new is None or done.new == total:
        return ""
    if not done.new:
        return ", none of them new"
    old, new = len(done.old_traces), len(done.spans) - len(done.old_traces)
    added = done.new - sum(count for trace_id, count in done.spans.items() if trace_id not in done.old_traces)
    more = f" ({format_text.plural(added, 'new span')})" if added > 0 else ""
    return f": {format_text.plural(new, 'trace')} new, {old} in the store already{more}"
