"""``llmtrace lineage``: show where each value of a trace came from; for one span, its inputs and where its values went.

A value that nothing visible contains is said to have no origin, with the reason why that proves nothing. For one span, the
indentation is the number of steps. See docs/explanation/lineage.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby

from llmtrace.cli import format_text
from llmtrace.cli.options import FINE, print_json
from llmtrace.cli.show import headline
from llmtrace.cli.stores import find_span, opened, operation_name, trace_of
from llmtrace.cli.terminal import Cell, Screen, Style, short
from llmtrace.listing import diagnosed_health
from llmtrace.model import Span, Trace
from llmtrace.reading.graph import Edge, Graph, Reached, analyze
from llmtrace.reading.provenance import Origin, ValueUse

NAME = "lineage"
HELP = "show where each value came from, or what fed one step and what it fed"
EXAMPLE = "llmtrace lineage last refund"

_LONGEST_VALUE = 60
_MOST_MATCHES = 3
_STYLES: dict[str, tuple[Style, ...]] = {"ungrounded": ("red",), "unknown": ("dim",)}
_EDGES = {
    "call": "{earlier} requested {later}",
    "handed": "text of {earlier} was passed to {later}, or its call started {later}",
    "told": "{later} was sent the answer or result of {earlier}",
    "returned": "{earlier} ran inside {later}",
    "vanished": "{later} was not sent {lost} that {earlier} was sent",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", default="last", help="id, its first digits, or last (default: last)")
    parser.add_argument("span", nargs="?", help="a span's id, its first digits, or the name of a tool: its first execution")
    parser.add_argument("--sent", action="store_true", help="with a span, also count what a model was merely sent")
    parser.add_argument("--unknown", action="store_true", help="also show values without origin inside longer arguments")


def run(args: argparse.Namespace) -> int:
    with opened(args) as store:
        trace = trace_of(store, args.trace)
        health = None if args.json else diagnosed_health(store, trace)
    span = None if args.span is None else find_span(trace, args.span)
    graph = analyze(trace)
    if health is None:
        print_json(_as_json(trace, graph, span, include_sent=args.sent))
        return FINE
    screen = Screen(sys.stdout)
    if span is None:
        _print_values(screen, graph, show_pieces=args.unknown)
    else:
        _print_span(screen, trace, graph, span, include_sent=args.sent)
    for reason, span_id in graph.lineage.hidden.items():
        screen.prose(f"Not visible: {reason} (span {span_id})", "yellow")
    headline(screen, trace, health)
    return FINE


# -- every value


def _print_values(screen: Screen, graph: Graph, *, show_pieces: bool) -> None:
    if not graph.uses:
        screen.prose("The calls and answers of this trace hold no value that could be traced.")
        screen.line()
    for (span_id, tool, _), uses in groupby(graph.uses, key=lambda use: (use.span_id, use.tool, use.call_id)):
        screen.spread(Cell(tool or "answer", ("bold",)), Cell(f"span {span_id}", ("dim",)))
        pieces = 0
        for use in uses:
            if _is_piece_without_origin(use) and not show_pieces:
                pieces += 1
                continue
            place = use.pointer if use.pointer and use.whole else f"{use.pointer} at {use.start}-{use.end}".strip()
            text = f"{place} = {short(format_text.value(use.value), _LONGEST_VALUE)}"
            if use.provenance.status == "unknown":
                text += f": no origin; {use.provenance.reason}"
            screen.prose(text, *_STYLES.get(use.provenance.status, ()), prefix="   ")
            for line in _explain(graph, use):
                screen.prose(line, "dim", prefix="       ")
        if pieces:
            values = "1 value" if pieces == 1 else f"{pieces:,} values"
            screen.prose(f"{values} inside longer arguments: no origin; --unknown shows each", "dim", prefix="   ")
        screen.line()


def _is_piece_without_origin(use: ValueUse) -> bool:
    """Return True for a part of an argument, such as a number in a program, that was not found: there may be many."""
    return use.provenance.status == "unknown" and use.part == "argument" and not use.whole


def _explain(graph: Graph, use: ValueUse) -> Iterator[str]:
    """Yield a line for each origin of a value."""
    provenance = use.provenance
    if provenance.status == "ungrounded":
        yield "made up: no earlier message or result contains it"
        if provenance.first is not None and not use.is_first_ungrounded:
            yield f"first used in {provenance.first.place} (span {provenance.first.span_id})"
    elif provenance.earliest is not None:
        yield _describe_place(graph, provenance.earliest, use)
        if provenance.latest is not None and provenance.latest != provenance.earliest:
            yield f"last in {_describe_place(graph, provenance.latest, use)}"


def _describe_place(graph: Graph, origin: Origin, use: ValueUse) -> str:
    """Return an origin's place, the value's position in it, and how the origin writes the value if that differs."""
    text = f"{origin.place} (span {origin.span_id})"
    for match in graph.lineage.matches(origin, use)[:_MOST_MATCHES]:
        text += f" {match.pointer}:{match.origin_start}-{match.origin_end}"
        if match.text != str(use.value):
            text += f" {short(format_text.value(match.text), _LONGEST_VALUE)}"
    return text


# -- one span


def _print_span(screen: Screen, trace: Trace, graph: Graph, span: Span, *, include_sent: bool) -> None:
    screen.prose(_full_name(trace, span.span_id), "bold")
    own_input = [Reached(edge.source, edge, 1) for edge in graph.into(span.span_id) if edge.source == edge.target]
    upstream = graph.upstream(span.span_id, include_sent=include_sent)
    _print_reached(screen, trace, graph, "What fed it", (*own_input, *upstream))
    downstream = graph.downstream(span.span_id, include_sent=include_sent)
    _print_reached(screen, trace, graph, "What it fed", downstream)
    screen.line()


def _print_reached(screen: Screen, trace: Trace, graph: Graph, title: str, spans: Sequence[Reached]) -> None:
    screen.line()
    screen.prose(title if spans else f"{title}: nothing visible")
    for reached in spans:
        screen.prose(_full_name(trace, reached.span_id), prefix="   " * reached.distance)
        screen.prose(_describe_edge(trace, graph, reached.edge), "dim", prefix="   " * reached.distance + "  ")


def _full_name(trace: Trace, span_id: str) -> str:
    return f"{_name(trace, span_id)} (span {span_id})"


def _name(trace: Trace, span_id: str) -> str:
    span = trace.span(span_id)
    return operation_name(span) or span.name


def _describe_edge(trace: Trace, graph: Graph, edge: Edge) -> str:
    if edge.use is None or edge.origin is None:
        names = {"earlier": _name(trace, edge.source), "later": _name(trace, edge.target)}
        return _EDGES[edge.via].format(**names, lost=format_text.plural(edge.lost, "message"))
    what = f"{edge.use.tool} {edge.use.pointer}" if edge.use.tool else "the answer"
    first = "made up, and used first in " if edge.use.provenance.first is not None else ""
    value = short(format_text.value(edge.use.value), _LONGEST_VALUE)
    return f"{what} = {value}: {first}{_describe_place(graph, edge.origin, edge.use)}"


# -- JSON


def _as_json(trace: Trace, graph: Graph, span: Span | None, *, include_sent: bool) -> dict[str, object]:
    hidden = [{"reason": reason, "span": span_id} for reason, span_id in graph.lineage.hidden.items()]
    if span is None:
        values = []
        for use in graph.uses:
            origins = [origin for origin in (use.provenance.earliest, use.provenance.latest) if origin is not None]
            places = [(origin, format_text.as_json(graph.lineage.matches(origin, use))) for origin in origins]
            matches = [{"span": origin.span_id, "place": origin.place, "at": at} for origin, at in places]
            values.append({"use": format_text.as_json(use), "matches": matches})
        edges = list(map(_edge_json, graph.edges))
        return {"trace_id": trace.trace_id, "values": values, "edges": edges, "hidden": hidden}
    return {
        "trace_id": trace.trace_id,
        "span": span.span_id,
        "into": list(map(_edge_json, graph.into(span.span_id))),
        "upstream": list(map(_reached_json, graph.upstream(span.span_id, include_sent=include_sent))),
        "downstream": list(map(_reached_json, graph.downstream(span.span_id, include_sent=include_sent))),
        "hidden": hidden,
    }


def _reached_json(reached: Reached) -> dict[str, object]:
    return {"span": reached.span_id, "distance": reached.distance, "edge": _edge_json(reached.edge)}


def _edge_json(edge: Edge) -> dict[str, object]:
    shown: dict[str, object] = {"from": edge.source, "to": edge.target, "via": edge.via, "call": edge.call_id}
    if edge.use is not None:
        shown |= {"pointer": edge.use.pointer, "value": edge.use.value}
    return shown | ({"lost": edge.lost} if edge.lost else {})
