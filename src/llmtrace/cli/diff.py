"""``llmtrace diff``: what changed between two runs: the first cause in their environment, then the first step that differs.

First comes what of models, prompts, tools, parameters, libraries, code or environment variables changed, then all steps that
differ: ``~`` changed, ``-`` only in the first, ``+`` only in the second. Ids and times are ignored, and an inserted step is one
difference. At most 2,000 steps of each are compared.

A set of runs is trace ids, files, or filters that must all hold: ``since=WHEN``, ``until=WHEN``, ``agent=NAME``,
``health=NAME``, ``text=WORDS``, ``tag=TAG``, ``model=NAME`` and ``limit=N`` (the newest N; default: 1,000). See
docs/how_to/what_changed.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llmtrace.cli import format_text
from llmtrace.cli.environment_text import changes_as_json, sentence, write_changes
from llmtrace.cli.new_messages import message_text, reasoning_text
from llmtrace.cli.options import FINE, BadInput, did_you_mean, print_json
from llmtrace.cli.show import headline, title_of
from llmtrace.cli.stores import opened
from llmtrace.cli.terminal import Cell, Progress, Screen, Style, short
from llmtrace.config import Config
from llmtrace.diagnosis import environment
from llmtrace.diagnosis.difference import Difference, Pair, compare
from llmtrace.diagnosis.environment import environment_of
from llmtrace.listing import diagnosed_health
from llmtrace.model import AgentInvocation, FetchResponse, Inference, Message, Review, Span, ToolExecution, Trace, Workflow
from llmtrace.model.traces import in_traces
from llmtrace.playback.difference import difference as request_difference
from llmtrace.semconv import REPLAY_EDITED
from llmtrace.statistics.run_sets import Compared, Kind, RunSet, SetDifference, compare_sets
from llmtrace.statistics.two_samples import Interval
from llmtrace.store import Query, Store, open_store
from llmtrace.store import filters as trace_filters
from llmtrace.text.unsafe_characters import clean

NAME = "diff"
HELP = "compare two runs or sets of runs: the first cause, where they differ"
EXAMPLE = "llmtrace diff 3f2a91bc last"

_SETS = "llmtrace diff --set since=7d until=2d --against since=2d"
_MARKS: dict[str, tuple[str, tuple[Style, ...]]] = {
    "same": (" ", ("dim",)),
    "changed": ("~", ("yellow",)),
    "left": ("-", ("red",)),
    "right": ("+", ("green",)),
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", help="id of the first trace, its first digits, or last")
    parser.add_argument("other", nargs="?", help="id of the second trace")
    parser.add_argument("--all", action="store_true", help="also show steps that are the same")
    which = "trace ids, files of spans, or filters: since=7d until=2d agent=NAME health= text= tag= model= limit="
    parser.add_argument("--set", nargs="+", metavar="RUNS", help=f"compare these runs: {which}")
    parser.add_argument("--against", nargs="+", metavar="RUNS", help="with these")


def run(args: argparse.Namespace) -> int:
    if args.set is not None or args.against is not None:
        if args.set is None or args.against is None or args.trace is not None:
            raise BadInput("two sets need both --set RUNS and --against RUNS, and no other trace.\nFor example: " + _SETS)
        with opened(args) as store:
            return _compare_sets(store, args)
    if args.other is None:
        raise BadInput("expected two traces.\nllmtrace ls lists their ids. Two sets of runs: " + _SETS)
    return _compare_traces(args)


def _compare_traces(args: argparse.Namespace) -> int:
    with opened(args) as store:
        left_trace, right = store.trace(args.trace), store.trace(args.other)
        healths = () if args.json else [diagnosed_health(store, trace) for trace in (left_trace, right)]
    difference = compare(left_trace, right)
    before, now = environment_of(left_trace), environment_of(right)
    changes = environment.compare(before, now)
    if args.json:
        causes = {"causes": changes_as_json(changes, before, now)}
        pairs = [{"what": pair.what, "left": pair.left, "right": pair.right} for pair in difference.pairs]
        content = {"first": difference.first, "left_out": difference.left_out, "pairs": pairs}
        print_json({"left": left_trace.trace_id, "right": right.trace_id} | causes | content)
        return FINE
    screen = Screen(sys.stdout)
    for trace, health in zip((left_trace, right), healths, strict=True):
        headline(screen, trace, health)
    screen.line()
    write_changes(screen, changes, before, now)
    if changes:
        screen.line()
    elif not _edited(screen, difference, left_trace, right) and difference.first is not None:
        screen.prose("No change of models, prompts, tools, parameters or libraries is recorded.", "dim")
    if difference.first is None:
        screen.prose("Both traces have the same steps, with the same answers and tool calls.", "green")
    else:
        pair = difference.pairs[difference.first]
        span = left_trace.span(pair.left) if pair.left is not None else right.span(pair.right or "")
        screen.prose(f"The first difference is at step {difference.first + 1}: {title_of(span)}", "bold")
        screen.line()
    shown = [pair for pair in difference.pairs if pair.what != "same" or args.all]
    for pair in shown:
        _pair(screen, pair, left_trace, right)
    if hidden := len(difference.pairs) - len(shown):
        screen.line(
            f"{format_text.plural(hidden, 'step')} the same in both (--all shows {format_text.it_or_them(hidden)})", "dim"
        )
    if difference.left_out:
        screen.line(f"{format_text.plural(difference.left_out, 'step')} not compared: there are too many", "yellow")
    return FINE


def _edited(screen: Screen, difference: Difference, left_trace: Trace, right: Trace) -> bool:
    """Print the edit of a replay's request. Returns False if no request was edited."""
    for pair in difference.pairs:
        span = None if pair.left is None or pair.right is None else right.span(pair.right)
        if span is not None and REPLAY_EDITED in span.attributes and isinstance(span.operation, Inference):
            change = request_difference(left_trace.span(pair.left or "").operation, span.operation)
            if change is not None:
                screen.prose(f"edited: {title_of(span)} was asked something else: {change.text}", "bold")
                return True
    return False


def _pair(screen: Screen, pair: Pair, left_trace: Trace, right: Trace) -> None:
    mark, style = _MARKS[pair.what]
    sides = [(left_trace, pair.left), (right, pair.right)]
    spans = [trace.span(span_id) for trace, span_id in sides if span_id is not None]
    operation = spans[0].operation
    told_below = isinstance(operation, ToolExecution) and pair.what != "same"  # the whole call is printed in the lines below
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
    """Return the description of a step, in one or more lines."""
    operation = span.operation
    if isinstance(operation, ToolExecution):
        result = [f"→ {format_text.value(operation.result)}"] if operation.has_result else []
        return [format_text.call(operation.name, operation.arguments), *result, *_failure(span)]
    if isinstance(operation, Review):
        value = [] if operation.value is None else [f"→ {format_text.value(operation.value)}"]
        return [operation.outcome, *value, *_failure(span)]
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


# -- two sets of runs


MOST_RUNS = 1000
"""Maximum number of runs in a set, the newest ones, unless ``limit=N`` is given."""
FILTERS = ("since", "until", "agent", "health", "text", "tag", "model", "limit")
_PARSERS: dict[str, Callable[[str], Any]] = {
    **{filter_.name: filter_.parse for filter_ in trace_filters.FILTERS if filter_.name in FILTERS},
    "text": str,
    "limit": int,
}
_FEW = 10
"""A set with fewer runs shows little."""


def _compare_sets(store: Store, args: argparse.Namespace) -> int:
    before, now = RunSet(), RunSet()
    for runs, words in ((before, args.set), (now, args.against)):
        with Progress("reading runs") as progress:
            for trace in progress.count(_chosen(store, words)):
                runs.add(trace)
        if not runs.trace_ids:
            raise BadInput(f"no run matches {' '.join(words)}.\nllmtrace ls lists the runs of a store.")
    common = set(before.trace_ids) & set(now.trace_ids)
    if common:
        raise BadInput(
            f"{format_text.plural(len(common), 'run')} in both sets, such as {min(common)[:8]}.\n"
            "Give the first set an end: until=WHEN."
        )
    difference = compare_sets(before, now)
    if args.json:
        print_json(_sets_as_json(difference, before, now))
    else:
        _write_sets(Screen(sys.stdout), difference, before, now)
    return FINE


def _chosen(store: Store, words: Sequence[str]) -> Iterator[Trace]:
    """Yield the runs of one set: from files, by trace id, and those of the store that pass all filters. Raises BadInput."""
    filters: dict[str, str] = {}
    trace_ids: dict[str, None] = {}
    for word in words:
        name, equals, content = word.partition("=")
        if equals and not os.path.exists(word):
            if name not in FILTERS:
                raise BadInput(f"unknown filter {name!r}.{did_you_mean(name, FILTERS)} Use some of: {', '.join(FILTERS)}.")
            filters[name] = content
        elif os.path.exists(word):
            with open_store(word, config=Config.read()) as file_store:
                yield from in_traces(file_store.spans(Query(limit=MOST_RUNS)))
        else:
            trace_ids[store.trace(word).trace_id] = None
    for trace_id in trace_ids:
        yield store.trace(trace_id)
    if not filters:
        return
    try:
        values = {name: _PARSERS[name](content) for name, content in filters.items()}
    except ValueError as error:
        raise BadInput(f"{error}.") from None
    yield from in_traces(store.spans(Query(**{"limit": MOST_RUNS, **values})))


def _write_sets(screen: Screen, difference: SetDifference, before: RunSet, now: RunSet) -> None:
    counts = [format_text.plural(len(runs.trace_ids), "run") for runs in (before, now)]
    screen.line(f"{counts[0]} against {counts[1]}", "bold")
    environments = before.environment(), now.environment()
    write_changes(screen, difference.causes, *environments)
    for part in difference.parts:
        counts_of = f"{part.before} of {part.of_before} -> {part.now} of {part.of_now} runs"
        screen.prose(f"In a part of the runs ({counts_of}): {clean(sentence(part.change, *environments))}", "yellow")
    if not difference.causes and not difference.parts:
        screen.prose("No change of models, prompts, tools, parameters or libraries is recorded between the sets.", "dim")
    screen.line()
    rows = [_figure_row(figure) for figure in difference.figures]
    screen.table(["", "FIRST", "95 %", "SECOND", "95 %", "OF"], rows, right=(1, 3), spare=(4, 2))
    screen.line("! differs by more than chance, all comparisons together (5 %)", "dim")
    sections: tuple[tuple[str, Sequence[Kind], Style], ...] = (
        ("New kinds of failure", difference.new, "red"),
        ("Fixed", difference.fixed, "green"),
        ("In both", difference.lasting, "dim"),
    )
    for title, kinds, style in sections:
        if kinds:
            screen.line()
            screen.line(title, "bold")
        for kind in kinds:
            reached = f"{kind.before} of {len(before.trace_ids)} -> {kind.now} of {len(now.trace_ids)}  {kind.example[:8]}"
            screen.spread(Cell(clean(kind.title), (style,)), Cell(reached, ("dim",)), prefix="  ")
    fewest = min(len(before.trace_ids), len(now.trace_ids))
    if fewest < _FEW:
        screen.prose(f"A set has only {format_text.plural(fewest, 'run')}: only a large difference can show.", "yellow")
    undiagnosed = before.undiagnosed + now.undiagnosed
    if undiagnosed:
        screen.prose(f"{format_text.plural(undiagnosed, 'run')} could not be diagnosed. See llmtrace issues.", "yellow")


def _figure_row(figure: Compared) -> list[Cell]:
    mark = Cell("!" if figure.has_changed else "", ("yellow",))
    return [
        mark,
        Cell(_figure(figure.before, figure.unit)),
        Cell(_interval(figure.before_interval, figure.unit), ("dim",)),
        Cell(_figure(figure.now, figure.unit), ("yellow",) if figure.has_changed else ()),
        Cell(_interval(figure.now_interval, figure.unit), ("dim",)),
        Cell(figure.name),
    ]


def _figure(number: float | None, unit: str) -> str:
    if number is None:
        return format_text.UNKNOWN
    if unit == "%":
        return f"{100 * number:.0f} %"
    if unit == "s":
        return format_text.duration(number)
    if unit == "$":
        return format_text.cost(number)
    return f"{number:,.0f}"


def _interval(interval: Interval | None, unit: str) -> str:
    return "" if interval is None else f"{_figure(interval[0], unit)} to {_figure(interval[1], unit)}"


def _sets_as_json(difference: SetDifference, before: RunSet, now: RunSet) -> dict[str, Any]:
    environments = before.environment(), now.environment()
    return {
        "runs": {"set": len(before.trace_ids), "against": len(now.trace_ids)},
        "causes": changes_as_json(difference.causes, *environments),
        "parts": [
            {
                **changes_as_json((part.change,), *environments)[0],
                "runs_before": [part.before, part.of_before],
                "runs_now": [part.now, part.of_now],
            }
            for part in difference.parts
        ],
        "figures": [{**format_text.as_json(figure), "changed": figure.has_changed} for figure in difference.figures],
        "new": format_text.as_json(list(difference.new)),
        "fixed": format_text.as_json(list(difference.fixed)),
        "in_both": format_text.as_json(list(difference.lasting)),
        "undiagnosed": before.undiagnosed + now.undiagnosed,
    }
