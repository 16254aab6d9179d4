"""``llmtrace diff``: two traces step by step, the first step in which they part on top."""

from __future__ import annotations

import argparse
import sys

from llmtrace.cli import words
from llmtrace.cli.options import FINE, print_json
from llmtrace.cli.paint import Screen, Style, short
from llmtrace.cli.show import headline, title_of
from llmtrace.cli.stores import opened
from llmtrace.cli.told import thought, told
from llmtrace.diagnosis.difference import Difference, Pair, compare
from llmtrace.model import Inference, Span, ToolExecution, Trace

NAME = "diff"
HELP = "compare two traces: where they part first, step beside step"
EXAMPLE = "llmtrace diff 3f2a91bc last"

_MARKS: dict[str, tuple[str, tuple[Style, ...]]] = {
    "same": (" ", ("dim",)),
    "changed": ("~", ("yellow",)),
    "left": ("-", ("red",)),
    "right": ("+", ("green",)),
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", help="id of the first trace, its first digits, or last")
    parser.add_argument("other", help="id of the second")
    parser.add_argument("--all", action="store_true", help="the steps that are the same, too")


def run(args: argparse.Namespace) -> int:
    with opened(args) as store:
        left, right = store.trace(args.trace), store.trace(args.other)
    difference = compare(left, right)
    if args.json:
        print_json({"left": left.trace_id, "right": right.trace_id} | _json(difference))
        return FINE
    screen = Screen(sys.stdout)
    for trace in (left, right):
        headline(screen, trace)
    screen.line()
    _first(screen, difference, left, right)
    hidden = 0
    for pair in difference.pairs:
        if pair.what == "same" and not args.all:
            hidden += 1
            continue
        _pair(screen, pair, left, right)
    if hidden:
        screen.line(screen.paint(f"{words.plural(hidden, 'step')} the same in both (--all shows them)", "dim"))
    if difference.left_out:
        screen.line(screen.paint(f"{words.plural(difference.left_out, 'step')} not compared: there are too many", "yellow"))
    return FINE


def _json(difference: Difference) -> dict[str, object]:
    return {
        "first": difference.first,
        "left_out": difference.left_out,
        "pairs": [{"what": pair.what, "left": pair.left, "right": pair.right} for pair in difference.pairs],
    }


def _first(screen: Screen, difference: Difference, left: Trace, right: Trace) -> None:
    if difference.first is None:
        screen.prose("They are the same, step by step: in what was asked, answered and done.", "green")
        return
    pair = difference.pairs[difference.first]
    span = left.span(pair.left) if pair.left is not None else right.span(pair.right or "")
    screen.prose(f"They part at step {difference.first + 1}: {title_of(span)}", "bold")
    screen.line()


def _pair(screen: Screen, pair: Pair, left: Trace, right: Trace) -> None:
    mark, style = _MARKS[pair.what]
    sides = [(left, pair.left), (right, pair.right)]
    spans = [trace.span(span_id) for trace, span_id in sides if span_id is not None]
    operation = spans[0].operation
    told_below = isinstance(operation, ToolExecution) and pair.what != "same"  # the whole call is
    name = operation.name if told_below else title_of(spans[0])  # type: ignore[union-attr]
    name = short(name, screen.room(f"{mark} "))
    screen.line(screen.paint(mark, *style) + " " + screen.paint(name, "bold" if pair.what != "same" else "dim"))
    if pair.what == "same":
        return
    for sign, span in zip("-+" if len(spans) == 2 else mark, spans, strict=True):
        for text in _lines(span):
            prefix = f"    {sign} "
            screen.line(screen.paint(prefix, "red" if sign == "-" else "green") + short(text, screen.room(prefix)))


def _lines(span: Span) -> list[str]:
    """What a step did, in a line or two."""
    operation = span.operation
    if isinstance(operation, ToolExecution):
        result = [f"→ {words.value(operation.result)}"] if operation.has_result else []
        return [words.call(operation.name, operation.arguments), *result, *_failure(span)]
    said = []
    asked = () if isinstance(operation, Inference) else getattr(operation, "input", ())
    for message in (*asked, *getattr(operation, "output", ())):
        thoughts = thought(message)
        said += [f"(thinks) {thoughts}"] if thoughts else []
        said += [text for text in (told(message),) if text] + [words.tool_call(call) for call in message.tool_calls()]
    return said + _failure(span)


def _failure(span: Span) -> list[str]:
    return [] if span.failure is None else [words.failure(span.failure)]
