"""``llmtrace export``: write traces as OTLP JSON lines, one line per trace, or one trace as an HTML page.

Content is written as it is stored: it was redacted before.
"""

from __future__ import annotations

import argparse
import sys

from llmtrace.cli import format_text
from llmtrace.cli.options import FINE, BadInput, print_json
from llmtrace.cli.output_file import writing
from llmtrace.cli.stores import opened, trace_of
from llmtrace.cli.terminal import Progress, Screen
from llmtrace.codec import genai, otlp
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.model import RawSpan, Trace
from llmtrace.model.traces import short_id
from llmtrace.store import Query
from llmtrace.text.unsafe_characters import escape_json

NAME = "export"
HELP = "write traces as OTLP JSON lines, or one trace as an HTML page"
EXAMPLE = "llmtrace export --all -o traces.jsonl"

_EVERY = 1_000_000_000


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="*", help="ids, their first digits, or last (default: last)")
    parser.add_argument("--all", action="store_true", help="every trace of the store, oldest first")
    parser.add_argument("--html", action="store_true", help="one trace as an HTML page, which works without llmtrace")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to; - is stdout (default: -; of --html: trace-ID.html)")
    parser.add_argument(
        "--content", choices=["none", "all"], default="all", help="messages, arguments and results: all as stored, or none"
    )


def run(args: argparse.Namespace) -> int:
    if args.all and args.trace:
        raise BadInput("--all cannot be combined with trace ids.\nUse one of them.")
    if args.output is None and not args.html:
        args.output = "-"
    if args.json and args.output == "-":
        raise BadInput("--json prints counts to stdout, and so do the spans.\nWrite the spans to a file with -o FILE.")
    content = Content(Config()) if args.content == "none" else None
    if args.html:
        return _page(args, content)
    traces = spans = 0
    with opened(args) as store, writing(args.output) as file, Progress("exporting traces") as progress:
        names = args.trace or ["last"]
        if args.all:
            names = [summary.trace_id for summary in reversed(store.traces(Query(limit=_EVERY)))]
        for trace in progress.count(trace_of(store, name) for name in names):
            line = otlp.to_json_line(_encoded(trace, content))
            if args.output == "-":
                line = escape_json(line.decode()).encode()
            file.write(line if line.endswith(b"\n") else line + b"\n")
            traces, spans = traces + 1, spans + len(trace)
    if args.json:
        print_json({"traces": traces, "spans": spans, "output": args.output})
    else:
        place = "stdout" if args.output == "-" else args.output
        Screen(sys.stderr).line(
            f"exported {format_text.plural(spans, 'span')} of {format_text.plural(traces, 'trace')} to {place}"
        )
    return FINE


def _encoded(trace: Trace, content: Content | None) -> list[RawSpan]:
    """Return the encoded spans. ``content``: leaves their content out; None: they have it as stored."""
    raws = [genai.encode(span) for span in trace.spans]
    return raws if content is None else [content.without_content(raw) for raw in raws]


def _page(args: argparse.Namespace, content: Content | None) -> int:
    """Write one trace as an HTML page, to ``trace-ID.html`` unless --output is given."""
    if args.all or len(args.trace) > 1:
        raise BadInput("--html writes one trace only.\nGive one trace id, or none for the last trace.")
    from llmtrace.viewer import page
    from llmtrace.viewer.trace_view import TraceView

    with opened(args) as store:
        trace = store.trace((args.trace or ["last"])[0])
    if content is not None:
        trace = Trace([genai.decode(raw) for raw in _encoded(trace, content)], alive=trace.alive)
    output = args.output or f"trace-{short_id(trace.trace_id)}.html"
    html = page.write(TraceView(trace))
    with writing(output) as file:
        file.write(html)
    if args.json:
        print_json({"traces": 1, "spans": len(trace), "bytes": len(html), "output": output})
    else:
        place = "stdout" if output == "-" else output
        Screen(sys.stderr).line(f"exported {format_text.plural(len(trace), 'span')} to {place}, {len(html) / 1e6:.1f} MB")
    return FINE
