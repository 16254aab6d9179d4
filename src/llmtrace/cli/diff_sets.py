"""``diff --set … --against …``: which runs the two sets are, and how their comparison is shown."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llmtrace.cli import format_text
from llmtrace.cli.environment_text import changes_as_json, write_changes
from llmtrace.cli.options import FINE, BadInput, did_you_mean, print_json
from llmtrace.cli.progress import Progress
from llmtrace.cli.terminal import Cell, Screen, Style
from llmtrace.config import Config
from llmtrace.model import Trace
from llmtrace.model.traces import in_traces
from llmtrace.statistics.run_sets import Compared, Kind, RunSet, SetDifference, compare_sets
from llmtrace.statistics.two_samples import Interval
from llmtrace.store import Query, Store, open_store
from llmtrace.store import filters as trace_filters
from llmtrace.text.unsafe_characters import clean

MOST_RUNS = 1000
"""Runs of one set, the newest ones, unless ``limit=N`` says otherwise."""
FILTERS = ("since", "until", "agent", "health", "text", "tag", "model", "limit")
_PARSERS: dict[str, Callable[[str], Any]] = {
    **{filter_.name: filter_.parse for filter_ in trace_filters.FILTERS if filter_.name in FILTERS},
    "text": str,
    "limit": int,
}
_FEW = 10
"""Runs of a set below which little can be seen."""


def compare_chosen(store: Store, args: argparse.Namespace) -> int:
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
        print_json(_as_json(difference, before, now))
    else:
        _write(Screen(sys.stdout), difference, before, now)
    return FINE


def _chosen(store: Store, words: Sequence[str]) -> Iterator[Trace]:
    """The runs of one set: those of files and trace ids, and those of the store that pass all filters."""
    filters: dict[str, str] = {}
    trace_ids: dict[str, None] = {}
    for word in words:
        name, equals, content = word.partition("=")
        if equals and not os.path.exists(word):
            if name not in FILTERS:
                raise BadInput(f"unknown filter {name!r}.{did_you_mean(name, FILTERS)} Use some of: {', '.join(FILTERS)}.")
            filters[name] = content
        elif os.path.exists(word):
            file_store = open_store(word, config=Config.read())
            try:
                yield from in_traces(file_store.spans(Query(limit=MOST_RUNS)))
            finally:
                file_store.close()
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


# -- output


def _write(screen: Screen, difference: SetDifference, before: RunSet, now: RunSet) -> None:
    counts = [format_text.plural(len(runs.trace_ids), "run") for runs in (before, now)]
    screen.line(f"{counts[0]} against {counts[1]}", "bold")
    environments = before.environment(), now.environment()
    write_changes(screen, difference.causes, *environments)
    if not difference.causes:
        screen.prose("No change of models, prompts, tools, parameters or libraries is recorded between the sets.", "dim")
    screen.line()
    rows = [_row(figure) for figure in difference.figures]
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
        screen.prose(f"{format_text.plural(undiagnosed, 'run')} could not be diagnosed. See llmtrace why --all.", "yellow")


def _row(figure: Compared) -> list[Cell]:
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


def _as_json(difference: SetDifference, before: RunSet, now: RunSet) -> dict[str, Any]:
    environments = before.environment(), now.environment()
    return {
        "runs": {"set": len(before.trace_ids), "against": len(now.trace_ids)},
        "causes": changes_as_json(difference.causes, *environments),
        "figures": [{**format_text.as_json(figure), "changed": figure.has_changed} for figure in difference.figures],
        "new": format_text.as_json(list(difference.new)),
        "fixed": format_text.as_json(list(difference.fixed)),
        "in_both": format_text.as_json(list(difference.lasting)),
        "undiagnosed": before.undiagnosed + now.undiagnosed,
    }
