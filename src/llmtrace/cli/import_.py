"""``llmtrace import``: spans from files of any known form into the store. A span that is there already is stored once.

Spans of other instrumentations are cleaned of secrets and judged, as those that arrive by ``llmtrace receive`` are; our own,
exported before, come as they went.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from llmtrace.cli import words
from llmtrace.cli.lines import BadLine, read
from llmtrace.cli.options import BAD_INPUT, FINE, BadInput, print_json
from llmtrace.cli.paint import Screen, clean
from llmtrace.cli.stores import opened
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.errors import StoreError
from llmtrace.evaluation import Evaluator
from llmtrace.external.ingest import Ingestor
from llmtrace.model import Span
from llmtrace.signals import load
from llmtrace.store import Store

NAME = "import"
HELP = "read files of spans (OTLP, Jaeger, console output) into the store"
EXAMPLE = "llmtrace import traces.jsonl"

_MOST_NAMED = 5
_SHOWN_AFTER, _SHOWN_EVERY = 1.0, 0.2
_NEVER = 1e9
"""Seconds of quiet after which a trace would be judged while files are read: they are judged at the end."""


@dataclass
class _Imported:
    spans: Counter[str] = field(default_factory=Counter)
    """By trace."""
    bad: list[tuple[str, BadLine]] = field(default_factory=list)
    refused: list[BadInput] = field(default_factory=list)
    """Files that hold nothing; the others are read all the same."""
    last: Span | None = None


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="+", help="files of spans, in a form that is told by their content; - is stdin")


def run(args: argparse.Namespace) -> int:
    done = _Imported()
    progress = _Progress(Screen(sys.stderr))
    config = Config.read(store=args.store)
    with opened(args) as store:
        ingestor = Ingestor(store, content=Content(config), evaluator=Evaluator(load(config.signals)), quiet=_NEVER)
        for path in args.file:
            progress.of(path)
            try:
                _import(path, store, ingestor, progress, done)
            except BadInput as error:
                done.refused.append(error)
        progress.say("judging …")
        ingestor.close()
        store.flush()
    progress.end()
    if not done.spans and done.refused:
        raise done.refused[0]
    _verify(args, done.last)
    _tell(args, done)
    return BAD_INPUT if done.bad or done.refused else FINE


def _import(path: str, store: Store, ingestor: Ingestor, progress: _Progress, done: _Imported) -> None:
    for item in read(path, progress):
        if isinstance(item, BadLine):
            done.bad.append((path, item))
            continue
        if item.run_id is None:
            ingestor.ingest_span(item)
        else:
            store.append(item)
        done.spans[item.trace_id] += 1
        done.last = item


def _verify(args: argparse.Namespace, last: Span | None) -> None:
    """Whether it is there, for a store that cannot be written keeps what it is given in memory. Raises BadInput."""
    if last is None:
        return
    try:
        with opened(args) as store:
            store.trace(last.trace_id).span(last.span_id)
    except (StoreError, KeyError):
        raise BadInput(
            "the store cannot be written; what was read is lost.\nAsk llmtrace doctor, or give another --store."
        ) from None


def _tell(args: argparse.Namespace, done: _Imported) -> None:
    total = sum(done.spans.values())
    if args.json:
        lines = [{"file": path, "where": line.where, "reason": line.reason} for path, line in done.bad]
        print_json({"traces": len(done.spans), "spans": total, "bad_lines": lines})
    else:
        counts = f"{words.plural(total, 'span')} of {words.plural(len(done.spans), 'trace')}"
        Screen(sys.stdout).line(f"imported {counts}")
    screen = Screen(sys.stderr)
    for error in done.refused[:_MOST_NAMED]:
        screen.line(clean(f"llmtrace import: {str(error).splitlines()[0]}"))
    named = {str(error).splitlines()[0].split(" holds no spans")[0] for error in done.refused}
    bad = [(path, line) for path, line in done.bad if path not in named]
    for path, line in bad[:_MOST_NAMED]:
        screen.line(clean(f"llmtrace import: {path}, {line.where}: {line.reason}; it was left out"))
    more = max(0, len(bad) - _MOST_NAMED) + max(0, len(done.refused) - _MOST_NAMED)
    if more:
        screen.line(f"llmtrace import: {more} more could not be read")


class _Progress:
    """One line on a terminal, once reading has taken a while; nothing elsewhere."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._on = screen.stream.isatty()
        self._next = time.monotonic() + _SHOWN_AFTER
        self._path = ""
        self._shown = False

    def of(self, path: str) -> None:
        self._path = path

    def __call__(self, part: float) -> None:
        if self._on and time.monotonic() >= self._next:
            self._write(f"reading {self._path} {part:.0%}" if part else f"reading {self._path} …")

    def say(self, text: str) -> None:
        if self._shown:
            self._write(text)

    def end(self) -> None:
        if self._shown:
            self._screen.stream.write("\r\x1b[K")
            self._screen.stream.flush()

    def _write(self, text: str) -> None:
        self._shown = True
        self._next = time.monotonic() + _SHOWN_EVERY
        self._screen.stream.write("\r\x1b[K" + clean(text)[: self._screen.width - 1])
        self._screen.stream.flush()
