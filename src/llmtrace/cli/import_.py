"""``llmtrace import``: spans from OTLP JSON files into the store. A span that is there already is stored once."""

from __future__ import annotations

import argparse
import sys

from llmtrace.cli import words
from llmtrace.cli.lines import BadLine, read
from llmtrace.cli.options import BAD_INPUT, FINE, BadInput, print_json
from llmtrace.cli.paint import Screen, clean
from llmtrace.cli.stores import opened
from llmtrace.errors import StoreError
from llmtrace.model import Span

NAME = "import"
HELP = "read OTLP JSON files into the store"
EXAMPLE = "llmtrace import traces.jsonl"

_MOST_NAMED = 5


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="+", help="files of OTLP JSON, one request per line; - is stdin")


def run(args: argparse.Namespace) -> int:
    spans: dict[str, int] = {}
    bad: list[tuple[str, BadLine]] = []
    last = None
    with opened(args) as store:
        for path in args.file:
            for item in read(path):
                if isinstance(item, BadLine):
                    bad.append((path, item))
                else:
                    store.append(item)
                    spans[item.trace_id] = spans.get(item.trace_id, 0) + 1
                    last = item
        store.flush()
    _verify(args, last)
    if args.json:
        lines = [{"file": path, "line": line.number, "reason": line.reason} for path, line in bad]
        print_json({"traces": len(spans), "spans": sum(spans.values()), "bad_lines": lines})
    else:
        counts = f"{words.plural(sum(spans.values()), 'span')} of {words.plural(len(spans), 'trace')}"
        Screen(sys.stdout).line(f"imported {counts}")
    _complain(bad)
    return BAD_INPUT if bad else FINE


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


def _complain(bad: list[tuple[str, BadLine]]) -> None:
    screen = Screen(sys.stderr)
    for path, line in bad[:_MOST_NAMED]:
        screen.line(clean(f"llmtrace import: {path}, line {line.number}: {line.reason}; the line was left out"))
    if len(bad) > _MOST_NAMED:
        screen.line(f"llmtrace import: {len(bad) - _MOST_NAMED} more lines could not be read")
