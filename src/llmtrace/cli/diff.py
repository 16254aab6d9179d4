"""``llmtrace diff``: compare two traces step by step, and show the first step that differs."""

from __future__ import annotations

import argparse
import sys

from llmtrace.cli import format_text
from llmtrace.cli.new_messages import message_text, reasoning_text
from llmtrace.cli.options import FINE, print_json
from llmtrace.cli.show import headline, title_of
from llmtrace.cli.stores import opened
from llmtrace.cli.terminal import Screen, Style, short
from llmtrace.diagnosis.difference import Difference, Pair, compare
from llmtrace.model import AgentInvocation, FetchResponse, Inference, Message, Span, ToolExecution, Trace, Workflow

NAME = "diff"
HELP = "compare two traces step by step: where they first differ"
EXAMPLE = "llmtrace diff 3f2a91bc last"

_MARKS: dict[str, tuple[str, tuple[Style, ...]]] = {
    "same": (" ", ("dim",)),
    "changed": ("~", ("yellow",)),
    "left": ("-", ("red",)),
    "right": ("+", ("green",)),
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", help="id of the first trace, its first digits, or last")
    parser.add_argument("other", help="id of the second trace")
    parser.add_argument("--all", action="store_true", help="also show steps that are the same")


def run(args: argparse.Namespace) -> int:
    with opened(args) as store:
        left_trace, right = store.trace(args.trace), store.trace(args.other)
    difference = compare(left_trace, right)
    if args.json:
        print_json({"left": left_trace.trace_id, "right": right.trace_id} | _json(difference))
        return FINE
    screen = Screen(sys.stdout)
    for trace in (left_trace, right):
        headline(screen, trace)
    screen.line()
    _first(screen, difference, left_trace, right)
    hidden = 0
    for pair in difference.pairs:
        if pair.what == "same" and not args.all:
            hidden += 1
            continue
        _pair(screen, pair, left_trace, right)
    if hidden:
        screen.line(screen.paint(f"{format_text.plural(hidden, 'step')} the same in both (--all shows them)", "dim"))
    if difference.left_out:
        screen.line(
            screen.paint(f"{format_text.plural(difference.left_out, 'step')} not compared: there are too many", "yellow")
        )
    return FINE


def _json(difference: Difference) -> dict[str, object]:
    return {
        "first": difference.first,
        "left_out": difference.left_out,
        "pairs": [{"what": pair.what, "left": pair.left, "right": pair.right} for pair in difference.pairs],
    }


def _first(screen: Screen, difference: Difference, left_trace: Trace, right: Trace) -> None:
    if difference.first is None:
        screen.prose("Both traces have the same steps, with the same requests, answers and tool calls.", "green")
        return
    pair = difference.pairs[difference.first]
    span = left_trace.span(pair.left) if pair.left is not None else right.span(pair.right or "")
    screen.prose(f"The first difference is at step {difference.first + 1}: {title_of(span)}", "bold")
    screen.line()


def _pair(screen: Screen, pair: Pair, left_trace: Trace, right: Trace) -> None:
    mark, style = _MARKS[pair.what]
    sides = [(left_trace, pair.left), (right, pair.right)]
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
    """What a step did, in one or more lines."""
    operation = span.operation
    if isinstance(operation, ToolExecution):
        result = [f"→ {format_text.value(operation.result)}"] if operation.has_result else []
        return [format_text.call(operation.name, operation.arguments), *result, *_failure(span)]
    texts = []
    messages: tuple[Message, ...] = ()
    if isinstance(operation, (AgentInvocation, Workflow)):
        messages = (*operation.input, *operation.output)
    elif isinstance(operation, (Inference, FetchResponse)):
        messages = operation.output
    for message in messages:
        thoughts = reasoning_text(message)
        texts += [f"(thinks) {thoughts}"] if thoughts else []
        texts += [text for text in (message_text(message),) if text] + [
            format_text.tool_call(call) for call in message.tool_calls()
        ]
    return texts + _failure(span)


def _failure(span: Span) -> list[str]:
    return [] if span.failure is None else [format_text.failure(span.failure)]
