"""``llmtrace import``: spans from OTLP JSON files into the store. A span that is there already is stored once."""

from __future__ import annotations

import argparse
import sys

from llmtrace.cli.lines import BadLine, read
from llmtrace.cli.options import BAD_INPUT, FINE, print_json
from llmtrace.cli.paint import Screen
from llmtrace.cli.stores import opened

NAME = "import"
HELP = "read OTLP JSON files into the store"
EXAMPLE = "llmtrace import traces.jsonl"

_MOST_NAMED = 5


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="+", help="files of OTLP JSON, one request per line; - is stdin")


def run(args: argparse.Namespace) -> int:
    spans, traces, bad = 0, set(), []
    with opened(args) as store:
        for path in args.file:
            for item in read(path):
                if isinstance(item, BadLine):
                    bad.append((path, item))
                else:
                    store.append(item)
                    spans += 1
                    traces.add(item.trace_id)
        store.flush()
    if args.json:
        lines = [{"file": path, "line": line.number, "reason": line.reason} for path, line in bad]
        print_json({"traces": len(traces), "spans": spans, "bad_lines": lines})
    else:
        Screen(sys.stdout).line(f"imported {spans} spans of {len(traces)} traces")
    _complain(bad)
    return BAD_INPUT if bad else FINE


def _complain(bad: list[tuple[str, BadLine]]) -> None:
    screen = Screen(sys.stderr)
    for path, line in bad[:_MOST_NAMED]:
        screen.line(f"llmtrace import: {path}, line {line.number}: {line.reason}; the line was left out")
    if len(bad) > _MOST_NAMED:
        screen.line(f"llmtrace import: {len(bad) - _MOST_NAMED} more lines could not be read")
