"""``llmtrace lineage``: where each value of a trace came from; of one span, what fed it and what it infected."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby

from llmtrace.cli import words
from llmtrace.cli.options import FINE, BadInput, did_you_mean, print_json
from llmtrace.cli.paint import Cell, Screen, Style, short
from llmtrace.cli.show import headline
from llmtrace.cli.stores import opened, trace_of
from llmtrace.lineage import Edge, Origin, Reached, Traced, Use, traced
from llmtrace.model import Span, Trace

NAME = "lineage"
HELP = "say where each value came from, and what a step infected"
EXAMPLE = "llmtrace lineage last refund"

_LONGEST = 60
_MOST_NAMES = 8
_COLOURS: dict[str, tuple[Style, ...]] = {"ungrounded": ("red",), "unknown": ("dim",)}
_ALONE = {
    "call": "{earlier} asked for {later}",
    "handed": "words of {earlier} went to {later}, or its call started that",
    "told": "{later} was sent what {earlier} said or found",
    "returned": "{earlier} ran within {later}",
    "vanished": "{earlier} was sent {lost} that {later} was not sent any more",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", default="last", help="id, its first digits, or last (default: last)")
    parser.add_argument("span", nargs="?", help="a span's id, its first digits, or the name of a tool: its first execution")
    parser.add_argument("--told", action="store_true", help="with a span, also count what a model was merely sent")
    parser.add_argument("--unknown", action="store_true", help="also the values of which nothing can be said")


def run(args: argparse.Namespace) -> int:
    with opened(args) as store:
        trace = trace_of(store, args.trace)
    span = None if args.span is None else _span(trace, args.span)
    found = traced(trace)
    if args.json:
        print_json(_as_json(trace, found, span, told=args.told))
        return FINE
    screen = Screen(sys.stdout)
    if span is None:
        _values(screen, found, unknown=args.unknown)
    else:
        _around(screen, trace, found, span, told=args.told)
    for reason, span_id in found.lineage.hidden.items():
        screen.prose(f"Not visible: {reason} (span {span_id})", "yellow")
    headline(screen, trace)
    return FINE


def _span(trace: Trace, wanted: str) -> Span:
    """Raises BadInput where no span, or more than one id, is meant."""
    by_id = [span for span in trace.spans if span.span_id.startswith(wanted)]
    if len(by_id) == 1:
        return by_id[0]
    named = next((span for span in trace.spans if getattr(span.operation, "name", None) == wanted), None)
    if named is not None:
        return named
    if by_id:
        raise BadInput(f"in trace {trace.trace_id} {len(by_id)} spans begin with {wanted!r}.\nGive more digits.")
    names = dict.fromkeys(name for span in trace.spans if (name := getattr(span.operation, "name", None)))
    near = did_you_mean(wanted, names)
    shown = ", ".join([*names][:_MOST_NAMES]) + (" …" if len(names) > _MOST_NAMES else "")
    raise BadInput(
        f"in trace {trace.trace_id} no span, tool or agent is called {wanted}.{near}\nIt has {shown or 'none with a name'}; "
        f"ids of spans: llmtrace lineage {trace.trace_id[:8]} --json"
    )


# -- every value


def _values(screen: Screen, found: Traced, *, unknown: bool) -> None:
    shown = [use for use in found.uses if unknown or use.provenance.status != "unknown"]
    if not shown:
        screen.prose("No value in the calls and answers of this trace can be traced.")
        screen.line()
    for (span_id, tool, _), uses in groupby(shown, key=lambda use: (use.span_id, use.tool, use.call_id)):
        screen.spread(Cell(tool or "answer", ("bold",)), Cell(f"span {span_id}", ("dim",)))
        for use in uses:
            _value(screen, found, use)
        screen.line()


def _value(screen: Screen, found: Traced, use: Use) -> None:
    place = use.pointer or f"at {use.start}-{use.end}"
    text = f"{place} = {short(words.value(use.value), _LONGEST)}"
    screen.prose(text, *_COLOURS.get(use.provenance.status, ()), prefix="   ")
    for line in _told(found, use):
        screen.prose(line, "dim", prefix="       ")


def _told(found: Traced, use: Use) -> Iterable[str]:
    """Where the value came from, a place a line."""
    provenance = use.provenance
    if provenance.status == "unknown":
        yield f"unknown: {provenance.reason}"
    elif provenance.status == "ungrounded":
        example = provenance.form == "from_example"
        yield "only the tool's definition shows it, as an example" if example else "made up: in no message and no result before"
        if provenance.first is not None and not use.made_up:
            yield f"said first in {provenance.first.place} (span {provenance.first.span_id})"
    elif provenance.inputs:
        yield f"worked out ({provenance.rule}) from"
        yield from (f"  {_place(found, origin, use)}" for origin in provenance.inputs)
    else:
        how = f"worked out ({provenance.rule}) from " if provenance.rule else ""
        if provenance.earliest is None:
            yield f"{how}what is no longer known"
        else:
            yield how + _place(found, provenance.earliest, use)
        if provenance.latest is not None and provenance.latest != provenance.earliest:
            yield f"last in {_place(found, provenance.latest, use)}"


def _place(found: Traced, origin: Origin, use: Use) -> str:
    """The place, the member and the characters that hold the value, and what stands there if it is not the same."""
    text = f"{origin.place} (span {origin.span_id})"
    for match in found.lineage.matches(origin, use)[:3]:
        text += f" {match.pointer}:{match.origin_start}-{match.origin_end}"
        if match.text != str(use.value):
            text += f" {short(words.value(match.text), _LONGEST)}"
    return text


# -- one span


def _around(screen: Screen, trace: Trace, found: Traced, span: Span, *, told: bool) -> None:
    screen.prose(_name(trace, span.span_id), "bold")
    spread = found.propagation
    given = [Reached(edge.source, edge, 1) for edge in spread.into(span.span_id) if edge.source == edge.target]
    _list(screen, trace, found, "What fed it", (*given, *spread.upstream(span.span_id, told=told)))
    _list(screen, trace, found, "What it infected", spread.downstream(span.span_id, told=told))
    screen.line()


def _list(screen: Screen, trace: Trace, found: Traced, title: str, reached: Sequence[Reached]) -> None:
    screen.line()
    screen.prose(title if reached else f"{title}: nothing that can be seen")
    for one in reached:
        screen.prose(_name(trace, one.span_id), prefix="   " * one.distance)
        screen.prose(_why(trace, found, one.edge), "dim", prefix="   " * one.distance + "  ")


def _name(trace: Trace, span_id: str) -> str:
    return f"{_short_name(trace, span_id)} (span {span_id})"


def _short_name(trace: Trace, span_id: str) -> str:
    span = trace.span(span_id)
    return getattr(span.operation, "name", "") or span.name


def _why(trace: Trace, found: Traced, edge: Edge) -> str:
    """What an edge carries."""
    if edge.via == "vanished" or edge.use is None or edge.origin is None:
        ends = {"earlier": _short_name(trace, edge.source), "later": _short_name(trace, edge.target)}
        return _ALONE[edge.via].format(**ends, lost=words.plural(edge.lost, "message"))
    what = f"{edge.use.tool} {edge.use.pointer}" if edge.use.tool else "the answer"
    made_up = "made up, and said first in " if edge.use.provenance.first is not None else ""
    value = short(words.value(edge.use.value), _LONGEST)
    return f"{what} = {value}: {made_up}{_place(found, edge.origin, edge.use)}"


# -- JSON


def _as_json(trace: Trace, found: Traced, span: Span | None, *, told: bool) -> dict[str, object]:
    hidden = [{"reason": reason, "span": span_id} for reason, span_id in found.lineage.hidden.items()]
    spread = found.propagation
    if span is None:
        values = [_use(found, use) for use in found.uses]
        return {"trace_id": trace.trace_id, "values": values, "edges": list(map(_edge, spread.edges)), "hidden": hidden}
    return {
        "trace_id": trace.trace_id,
        "span": span.span_id,
        "into": list(map(_edge, spread.into(span.span_id))),
        "upstream": list(map(_reached, spread.upstream(span.span_id, told=told))),
        "downstream": list(map(_reached, spread.downstream(span.span_id, told=told))),
        "hidden": hidden,
    }


def _use(found: Traced, use: Use) -> dict[str, object]:
    """With the characters of each place."""
    provenance = use.provenance
    origins = [origin for origin in (provenance.earliest, provenance.latest, *provenance.inputs) if origin is not None]
    places = [(origin, found.lineage.matches(origin, use)) for origin in origins]
    matches = [{"span": origin.span_id, "place": origin.place, "at": words.as_json(at)} for origin, at in places]
    return {"use": words.as_json(use), "matches": matches}


def _reached(one: Reached) -> dict[str, object]:
    return {"span": one.span_id, "distance": one.distance, "edge": _edge(one.edge)}


def _edge(edge: Edge) -> dict[str, object]:
    shown: dict[str, object] = {"from": edge.source, "to": edge.target, "via": edge.via, "call": edge.call_id}
    if edge.use is not None:
        shown |= {"pointer": edge.use.pointer, "value": edge.use.value}
    return shown | ({"lost": edge.lost} if edge.lost else {})
