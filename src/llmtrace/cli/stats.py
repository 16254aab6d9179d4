"""``llmtrace stats``: how long calls take, how they fail, what is wrong with their answers, and what they cost."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from llmtrace.cli import engines, figures, plots, words
from llmtrace.cli.figures import seconds, share, short_count, tokens
from llmtrace.cli.ls import since
from llmtrace.cli.options import FINE, positive, print_json
from llmtrace.cli.paint import Cell, Screen, clean, short
from llmtrace.cli.stores import opened
from llmtrace.statistics import (
    OTHERS,
    Burn,
    By,
    Group,
    Objective,
    Statistics,
    burn_rate,
    collect,
    gather,
    suggest,
    usual_turns,
)
from llmtrace.statistics.error_budget import WINDOWS, is_few
from llmtrace.store import Query

NAME = "stats"
HELP = "how long calls take, how they fail, what is wrong, what it costs"
EXAMPLE = "llmtrace stats --by model --since 24h"

_ALL = sys.maxsize
_TABLE_ROWS, _PLOTS = 20, 5
_INDENT = " " * 7


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--by",
        choices=["agent", "operation", "model", "tool", "prompt", "name"],
        help="what to count together (default: operation: the steps of each agent, and the models that do them)",
    )
    parser.add_argument("--since", metavar="WHEN", type=since, help="only newer traces: 30m, 2h, 7d, or 2026-01-31[T12:00]")
    parser.add_argument("--agent", metavar="NAME", help="only what this agent did")
    parser.add_argument("--text", choices=["table", "plot"], default="table", help="tables, or histograms (default: table)")
    parser.add_argument("--lengths", action="store_true", help="durations given the output length, too")
    parser.add_argument(
        "--vllm", metavar="URL", help="how this vLLM server is doing, beside it, and where the slowest calls waited"
    )
    parser.add_argument("--suggest", action="store_true", help="max_tokens and time-out for each prompt, from its answers")
    parser.add_argument("--limit", metavar="N", type=positive, help="at most N groups (default: 20; 5 plots)")


def run(args: argparse.Namespace) -> int:
    by: By = args.by or ("prompt" if args.suggest else "operation")
    with opened(args) as store:
        query = Query(limit=_ALL, since=args.since, agent=args.agent)
        found, slowest = Statistics(by, now=time.time_ns(), agent=args.agent), engines.Slowest()
        if args.vllm is None:
            gather(store, query, found)
        else:
            collect(slowest.seen(store.spans(query, prompts=False)), found)
    server = None if args.vllm is None else engines.state(args.vllm)
    groups = sorted(found.groups.values(), key=lambda group: (-group.calls, -group.model_calls, str(group.key)))
    if args.json:
        told = _as_json(found, groups[: args.limit], args)
        print_json(told if server is None else {**told, "vllm": {**server, "slowest": slowest.as_json()}})
        return FINE
    screen = Screen(sys.stdout)
    if not found.traces:
        screen.line("No trace is like that." if args.since or args.agent else "No traces yet. Try: llmtrace demo")
        return FINE
    _head(screen, found)
    _groups(screen, found, groups, args)
    _objectives(screen, found)
    if server is not None:
        engines.show(screen, server, slowest)
    return FINE


def _as_json(found: Statistics, groups: list[Group], args: argparse.Namespace) -> dict[str, object]:
    return {
        "by": found.by,
        "traces": found.traces,
        "first": found.first,
        "last": found.last,
        "unfinished": found.unfinished,
        "model_calls": figures.as_json(found.total, found.by, suggested=False),
        "groups": [figures.as_json(group, found.by, suggested=args.suggest) for group in groups],
        "objectives": [figures.objective_as_json(*pair) for pair in found.objectives.report()],
    }


def _head(screen: Screen, found: Statistics) -> None:
    total = found.total
    parts = [words.plural(found.traces, "trace"), words.plural(total.calls, "model call")]
    if total.input_tokens.sum is not None or total.output.sum is not None:
        parts.append(f"{short_count(total.input_tokens.sum)} tokens in, {short_count(total.output.sum)} out")
    if total.calls:
        known = total.cost_usd.sum is not None
        unpriced = f" ({words.plural(total.cost_usd.unknown, 'call')} of unknown cost)" if total.cost_usd.unknown else ""
        parts.append(words.cost(total.cost_usd.sum) + unpriced if known else "cost not known")
    if found.unfinished:
        parts.append(f"{words.plural(found.unfinished, 'span')} without an end, not counted")
    screen.prose(", ".join(parts))


def _groups(screen: Screen, found: Statistics, groups: list[Group], args: argparse.Namespace) -> None:
    limit = args.limit or (_PLOTS if args.text == "plot" else _TABLE_ROWS)
    shown, more = groups[:limit], len(groups) - limit
    if not shown:
        screen.line(f"There is nothing to count by {found.by}.")
        return
    if args.suggest:
        _suggestions(screen, shown)
    elif args.text == "plot":
        _plots(screen, found, shown, args.lengths)
    else:
        _tables(screen, found, shown, args.lengths)
    if more > 0:
        screen.line(screen.paint(f"and {words.plural(more, 'group')} more: --limit {len(groups)}", "dim"))


def _tables(screen: Screen, found: Statistics, groups: list[Group], lengths: bool) -> None:
    titles = ["CALLS", "P50", "P95", "P99", "TTFT P95", "TOKEN", "OUT P95", found.by.upper()]
    _table(screen, found, titles, groups, lambda group: (_latency(group), []), spare=(6, 4, 5, 3))
    if any(group.duration.count and group.duration.is_few(0.99) for group in groups):
        screen.prose(f"{figures.FEW} of too few calls (p95: 20, p99: 100): the largest of them", "dim")
    if lengths:
        for group in groups:
            _lengths(screen, found, group)
    titles = ["CALLS", "ERRORS", "INVALID", "FLAWED", "IN", "OUT", "COST", found.by.upper()]
    _table(screen, found, titles, groups, lambda group: (_quality(group), _remarks(group)), spare=(5, 4, 6, 3))


def _table(
    screen: Screen,
    found: Statistics,
    titles: list[str],
    groups: list[Group],
    row: Callable[[Group], tuple[list[Cell], list[str]]],
    *,
    spare: Sequence[int],
) -> None:
    """Rows with what belongs below each; the steps of one agent together, under its name."""
    screen.line()
    ordered = list(_with_agents(groups)) if found.by == "operation" else [(None, group) for group in groups]
    rows = [row(group) for _, group in ordered]
    cells = [[*numbers, Cell(_name(found, group))] for (_, group), (numbers, _) in zip(ordered, rows, strict=True)]
    lines = iter(screen.table(titles, cells, right=range(len(titles) - 1), spare=spare))
    screen.line(next(lines))
    for (agent, _), (_, remarks), line in zip(ordered, rows, lines, strict=True):
        if agent is not None:
            screen.line(screen.paint(short(agent, screen.width), "bold"))
        screen.line(line)
        for remark in remarks:
            screen.line(_INDENT + screen.paint(short(f"! {remark}", screen.width - len(_INDENT)), "yellow"))


def _with_agents(groups: list[Group]) -> Iterator[tuple[str | None, Group]]:
    """Each group, the first of an agent with its name; agents in the order of their first group."""
    agents: dict[str | None, list[Group]] = {}
    for group in groups:
        agents.setdefault(group.key[0] if group.key != OTHERS else None, []).append(group)
    for agent, of_agent in agents.items():
        for place, group in enumerate(of_agent):
            yield (agent or "outside of any agent") if place == 0 else None, group


def _name(found: Statistics, group: Group) -> str:
    if group.key == OTHERS:
        return OTHERS[0] or ""
    parts = group.key[1:] if found.by == "operation" else group.key
    text = " · ".join(part.removeprefix("execute_tool ") for part in parts if part)
    if found.by == "prompt":
        text = f"{text or 'no system prompt'} {', '.join(group.steps)}"
    return clean(text) or words.UNKNOWN


def _latency(group: Group) -> list[Cell]:
    return [
        Cell(words.count(group.calls)),
        *(seconds(group.duration, quantile) for quantile in figures.QUANTILES),
        seconds(group.first_token, 0.95),
        seconds(group.per_token, 0.5),
        tokens(group.output_tokens, 0.95),
    ]


def _quality(group: Group) -> list[Cell]:
    bad = ("red",) if group.errors else ()
    return [
        Cell(words.count(group.calls)),
        Cell(share(group.errors, group.calls), bad),  # type: ignore[arg-type]
        Cell(share(group.invalid_calls, group.tool_calls)),
        Cell(words.count(group.flawed)),
        Cell(short_count(group.input_tokens.sum)),
        Cell(short_count(group.output.sum)),
        Cell(words.cost(group.cost_usd.sum)),
    ]


def _remarks(group: Group) -> list[str]:
    """How calls failed and what was found, with counts."""
    failed = [f"{word} {count:,}" for word, count in figures.frequent(group.endings, 4)]
    found = [f"{name} {count:,}" for name, count in figures.frequent(group.evaluations, 4)]
    if group.malformed:
        found.append(f"malformed {share(group.malformed, group.model_calls)}")
    parts = (f"failed: {', '.join(failed)}" if failed else "", f"found: {', '.join(found)}" if found else "")
    return [" · ".join(filter(None, parts))] if failed or found else []


def _lengths(screen: Screen, found: Statistics, group: Group) -> None:
    if not group.lengths:
        return
    screen.line()
    screen.line(screen.paint(short(f"{_full_name(found, group)}, given the tokens of the answer", screen.width), "bold"))
    rows = []
    for upper in sorted(group.lengths):
        times = group.lengths[upper]
        quantiles = [seconds(times, quantile) for quantile in figures.QUANTILES]
        rows.append([Cell(words.count(times.count)), *quantiles, Cell(figures.length(upper))])
    for line in screen.table(["CALLS", "P50", "P95", "P99", "TOKENS"], rows, right=range(4)):
        screen.line(line)


def _plots(screen: Screen, found: Statistics, groups: list[Group], lengths: bool) -> None:
    for group in groups:
        screen.line()
        screen.line(screen.paint(short(_full_name(found, group), screen.width), "bold"))
        for line in plots.histogram(screen, group.duration):
            screen.line(line)
        if lengths and group.lengths:
            for line in plots.spreads(screen, group.lengths):
                screen.line(line)


def _full_name(found: Statistics, group: Group) -> str:
    agent = group.key[0] if found.by == "operation" and group.key != OTHERS else None
    return f"{agent} · {_name(found, group)}" if agent else _name(found, group)


def _suggestions(screen: Screen, groups: list[Group]) -> None:
    screen.line()
    rows = []
    for group in groups:
        found = suggest(group)
        set_to = group.limits.quantile(0.5)
        rows.append(
            [
                Cell(words.count(group.calls)),
                tokens(usual_turns(group).tokens, 0.5),
                tokens(usual_turns(group).tokens, 0.99),
                Cell(words.UNKNOWN if set_to is None else f"{set_to:,.0f}"),
                Cell(words.UNKNOWN if found.max_tokens is None else f"{found.max_tokens:,}", ("bold",)),
                Cell(words.UNKNOWN if found.timeout is None else f"{found.timeout:.0f} s", ("bold",)),
                Cell(clean(" · ".join(part for part in group.key if part) or "no system prompt")),
            ]
        )
    titles = ["CALLS", "OUT P50", "OUT P99", "SET", "MAX_TOKENS", "TIMEOUT", "PROMPT"]
    lines = iter(screen.table(titles, rows, right=range(6), spare=(1, 2, 3)))
    screen.line(next(lines))
    for group, line in zip(groups, lines, strict=True):
        screen.line(line)
        used = ", ".join([*group.steps][:3])
        found = suggest(group)
        screen.prose(f"{used}: {found.why}", "dim", prefix=_INDENT)
        if found.set_to:
            screen.prose(found.set_to, "yellow", prefix=_INDENT)


def _objectives(screen: Screen, found: Statistics) -> None:
    report = found.objectives.report()
    if not report:
        return
    screen.line()
    rows = [_objective(objective, burn) for objective, burn in report]
    titles = ["CALLS", "TOO SLOW", *(f"BURN {window.upper()}" for window in WINDOWS), "BURN", "OBJECTIVE"]
    for line in screen.table(titles, rows, right=range(len(titles) - 1), spare=range(2, 2 + len(WINDOWS))):
        screen.line(line)
    screen.prose("burn 1.0 uses up the error budget exactly, 5.0 five times over", "dim")


def _objective(objective: Objective, burn: Burn) -> list[Cell]:
    what = "first token" if objective.measure == "ttft" else "done"
    name = f"{objective.name}: {objective.share:.0%} {what} within {objective.seconds:g} s"
    rates = [_burn(objective, burn, window) for window in (*WINDOWS, "all")]
    return [
        Cell(words.count(burn.calls["all"])),
        Cell(share(burn.breaches["all"], burn.calls["all"])),
        *rates,
        Cell(clean(name)),
    ]


def _burn(objective: Objective, burn: Burn, window: str) -> Cell:
    rate = burn_rate(objective, burn, window)
    if rate is None:
        return Cell(words.UNKNOWN)
    text = f"{rate:.1f}{figures.FEW if is_few(objective, burn, window) else ''}"
    return Cell(text, ("red",) if rate > 1 else ("green",))
