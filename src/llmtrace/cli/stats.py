"""``llmtrace stats``: statistics of durations, failures, findings and costs.

``*`` marks a percentile of too few calls. A last table shows error budgets, if there are objectives. See
docs/reference/statistics.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from llmtrace.cli import format_stats, format_text, vllm_stats
from llmtrace.cli.format_stats import seconds, share, short_count, tokens
from llmtrace.cli.ls import since
from llmtrace.cli.options import FINE, positive, print_json
from llmtrace.cli.stores import nothing_found, opened
from llmtrace.cli.terminal import Cell, Progress, Screen, short
from llmtrace.diagnosis.visibility import STREAM_USAGE
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
    joined_groups,
    suggest,
    usual_turns,
)
from llmtrace.statistics.error_budget import WINDOWS, is_few
from llmtrace.store import Query
from llmtrace.text.unsafe_characters import clean

NAME = "stats"
HELP = "statistics: durations, failures, findings and costs of calls"
EXAMPLE = "llmtrace stats --by model --since 24h"

_ALL = sys.maxsize
_TABLE_ROWS, _PLOTS = 20, 5
_INDENT = " " * 7


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--by",
        choices=["agent", "operation", "model", "tool", "prompt", "name", "user", "day"],
        help="how to group (default: operation: the steps of each agent, and their models)",
    )
    parser.add_argument("--since", metavar="WHEN", type=since, help="only newer traces: 30m, 2h, 7d, or 2026-01-31[T12:00]")
    parser.add_argument("--agent", metavar="NAME", help="only this agent's steps")
    parser.add_argument("--text", choices=["table", "plot"], default="table", help="tables, or histograms (default: table)")
    parser.add_argument("--lengths", action="store_true", help="also show durations by output length")
    parser.add_argument(
        "--vllm", metavar="URL", help="also show the state of this vLLM server, and where the slowest calls waited"
    )
    parser.add_argument(
        "--suggest", action="store_true", help="suggest max_tokens and timeout for each prompt, from its answers"
    )
    parser.add_argument("--limit", metavar="N", type=positive, help="at most N groups (default: 20; 5 plots)")


def run(args: argparse.Namespace) -> int:
    by: By = args.by or ("prompt" if args.suggest else "operation")
    with opened(args) as store:
        query = Query(limit=_ALL, since=args.since, agent=args.agent)
        statistics, slowest = Statistics(by, now=time.time_ns(), agent=args.agent), vllm_stats.Slowest()
        with Progress("counting"):
            if args.vllm is None:
                gather(store, query, statistics)
            else:
                collect(slowest.seen(store.spans(query, prompts=False)), statistics)
    server = None if args.vllm is None else vllm_stats.state(args.vllm)
    groups = sorted(joined_groups(statistics).values(), key=lambda group: (-group.calls, -group.model_calls, str(group.key)))
    if by == "day":
        groups.sort(key=lambda group: str(group.key), reverse=True)
    if args.json:
        content = _as_json(statistics, groups[: args.limit], args)
        print_json(content if server is None else {**content, "vllm": {**server, "slowest": slowest.as_json()}})
        return FINE
    screen = Screen(sys.stdout)
    if not statistics.traces:
        screen.line(nothing_found(store, args, filtered=bool(args.since or args.agent)))
        return FINE
    _head(screen, statistics)
    _groups(screen, statistics, groups, args)
    _objectives(screen, statistics)
    if server is not None:
        vllm_stats.show(screen, server, slowest)
    return FINE


def _as_json(statistics: Statistics, groups: list[Group], args: argparse.Namespace) -> dict[str, object]:
    return {
        "by": statistics.by,
        "traces": statistics.traces,
        "first": statistics.first,
        "last": statistics.last,
        "unfinished": statistics.unfinished,
        "model_calls": format_stats.as_json(statistics.total, statistics.by, suggested=False),
        "groups": [format_stats.as_json(group, statistics.by, suggested=args.suggest) for group in groups],
        "objectives": [format_stats.objective_as_json(*pair) for pair in statistics.objectives.report()],
    }


def _head(screen: Screen, statistics: Statistics) -> None:
    total = statistics.total
    parts = [format_text.plural(statistics.traces, "trace"), format_text.plural(total.calls, "model call")]
    if total.input_tokens.sum is not None or total.output.sum is not None:
        parts.append(f"{short_count(total.input_tokens.sum)} tokens in, {short_count(total.output.sum)} out")
    if total.calls:
        has_cost = total.cost_usd.sum is not None
        unpriced = f" ({format_text.plural(total.cost_usd.unknown, 'call')} of unknown cost)" if total.cost_usd.unknown else ""
        parts.append(format_text.cost(total.cost_usd.sum) + unpriced if has_cost else "cost unknown")
    if statistics.unfinished:
        parts.append(f"{format_text.plural(statistics.unfinished, 'span')} without an end, not counted")
    screen.prose(", ".join(parts))
    if total.output.unknown and total.first_token.count:
        unmetered = format_text.plural(total.output.unknown, "model call")
        screen.prose(
            f"{unmetered} came without usage. Many servers send it for a stream only when asked: {STREAM_USAGE}", "dim"
        )


def _groups(screen: Screen, statistics: Statistics, groups: list[Group], args: argparse.Namespace) -> None:
    limit = args.limit or (_PLOTS if args.text == "plot" else _TABLE_ROWS)
    shown, more = groups[:limit], len(groups) - limit
    if not shown:
        screen.line(f"Nothing to group by {statistics.by}.")
        return
    if args.suggest:
        _suggestions(screen, shown)
    elif args.text == "plot":
        _plots(screen, statistics, shown, args.lengths)
    else:
        _tables(screen, statistics, shown, args.lengths)
    if more > 0:
        screen.line(f"and {format_text.plural(more, 'group')} more: --limit {len(groups)}", "dim")


def _tables(screen: Screen, statistics: Statistics, groups: list[Group], lengths: bool) -> None:
    last = "DAY (UTC)" if statistics.by == "day" else statistics.by.upper()
    titles = ["CALLS", "MEDIAN", "P95", "P99", "FIRST TOKEN", "PER TOKEN", "OUTPUT", last]
    _table(screen, statistics, titles, groups, lambda group: (_latency(group), []), spare=(6, 4, 5, 3))
    if any(group.duration.count and group.duration.is_few(0.99) for group in groups):
        screen.prose(f"{format_stats.FEW} the largest value, because there are too few calls (p95: 20, p99: 100)", "dim")
    if any(group.output_tokens.count for group in groups):
        screen.prose("first token and output tokens: p95; time per token: median", "dim")
    if lengths:
        for group in groups:
            _lengths(screen, statistics, group)
    titles = ["CALLS", "FAILED", "INVALID", "FINDINGS", "TOKENS IN", "OUT", "COST", last]
    _table(screen, statistics, titles, groups, lambda group: (_quality(group), _remarks(group)), spare=(5, 4, 6, 3))


def _table(
    screen: Screen,
    statistics: Statistics,
    titles: list[str],
    groups: list[Group],
    row: Callable[[Group], tuple[list[Cell], list[str]]],
    *,
    spare: Sequence[int],
) -> None:
    """Print rows with their remarks below. The steps of an agent are grouped under its name."""
    screen.line()
    ordered = list(_with_agents(groups)) if statistics.by == "operation" else [(None, group) for group in groups]
    rows = [row(group) for _, group in ordered]
    cells = [[*numbers, Cell(_name(statistics, group))] for (_, group), (numbers, _) in zip(ordered, rows, strict=True)]
    lines = iter(screen.table_lines(titles, cells, right=range(len(titles) - 1), spare=spare))
    screen.line(next(lines))
    for (agent, _), (_, remarks), line in zip(ordered, rows, lines, strict=True):
        if agent is not None:
            screen.line(short(agent, screen.width), "bold")
        screen.line(line)
        for remark in remarks:
            screen.line(_INDENT + screen.paint(short(f"! {remark}", screen.width - len(_INDENT)), "yellow"))


def _with_agents(groups: list[Group]) -> Iterator[tuple[str | None, Group]]:
    """Yield the groups, agent by agent, in the order of the agents' first groups.

    The first group of each agent comes with the agent's name, the others with None.
    """
    agents: dict[str | None, list[Group]] = {}
    for group in groups:
        agents.setdefault(group.key[0] if group.key != OTHERS else None, []).append(group)
    for agent, of_agent in agents.items():
        for place, group in enumerate(of_agent):
            yield (agent or "outside of any agent") if place == 0 else None, group


def _name(statistics: Statistics, group: Group) -> str:
    if group.key == OTHERS:
        return OTHERS[0] or ""
    parts = group.key[1:] if statistics.by == "operation" else group.key
    text = " · ".join(part.removeprefix("execute_tool ") for part in parts if part)
    if statistics.by == "prompt":
        text = f"{text or 'no system prompt'} {', '.join(group.steps)}"
    return clean(text) or format_text.UNKNOWN


def _latency(group: Group) -> list[Cell]:
    return [
        Cell(format_text.count(group.calls)),
        *(seconds(group.duration, quantile) for quantile in format_stats.QUANTILES),
        seconds(group.first_token, 0.95),
        seconds(group.per_token, 0.5),
        tokens(group.output_tokens, 0.95),
    ]


def _quality(group: Group) -> list[Cell]:
    bad = ("red",) if group.errors else ()
    return [
        Cell(format_text.count(group.calls)),
        Cell(share(group.errors, group.calls), bad),  # type: ignore[arg-type]
        Cell(share(group.invalid_calls, group.tool_calls)),
        Cell(format_text.count(group.flawed)),
        Cell(short_count(group.input_tokens.sum)),
        Cell(short_count(group.output.sum)),
        Cell(format_text.cost(group.cost_usd.sum)),
    ]


def _remarks(group: Group) -> list[str]:
    failed = [f"{word} {count:,}" for word, count in format_stats.frequent(group.endings, 4)]
    names = [f"{name} {count:,}" for name, count in format_stats.frequent(group.evaluations, 4)]
    if group.malformed:
        names.append(f"malformed {share(group.malformed, group.model_calls)}")
    parts = [f"failed: {', '.join(failed)}" if failed else "", f"found: {', '.join(names)}" if names else ""]
    if group.corrections:
        parts.append(f"corrected: {group.corrected:,} of {format_text.plural(group.corrections, 'fault')}")
    return [" · ".join(filter(None, parts))] if any(parts) else []


def _lengths(screen: Screen, statistics: Statistics, group: Group) -> None:
    if not group.lengths:
        return
    screen.line()
    screen.line(short(f"{_full_name(statistics, group)}, given the tokens of the answer", screen.width), "bold")
    rows = []
    for upper in sorted(group.lengths):
        times = group.lengths[upper]
        quantiles = [seconds(times, quantile) for quantile in format_stats.QUANTILES]
        rows.append([Cell(format_text.count(times.count)), *quantiles, Cell(format_stats.length(upper))])
    screen.table(["CALLS", "P50", "P95", "P99", "TOKENS"], rows, right=range(4))


def _plots(screen: Screen, statistics: Statistics, groups: list[Group], lengths: bool) -> None:
    for group in groups:
        screen.line()
        screen.line(short(_full_name(statistics, group), screen.width), "bold")
        for line in format_stats.histogram(screen, group.duration):
            screen.line(line)
        if lengths and group.lengths:
            for line in format_stats.spreads(screen, group.lengths):
                screen.line(line)


def _full_name(statistics: Statistics, group: Group) -> str:
    agent = group.key[0] if statistics.by == "operation" and group.key != OTHERS else None
    return f"{agent} · {_name(statistics, group)}" if agent else _name(statistics, group)


def _suggestions(screen: Screen, groups: list[Group]) -> None:
    screen.line()
    rows, suggestions = [], [suggest(group) for group in groups]
    for group, suggestion in zip(groups, suggestions, strict=True):
        set_to = group.limits.quantile(0.5)
        rows.append(
            [
                Cell(format_text.count(group.calls)),
                tokens(usual_turns(group).tokens, 0.5),
                tokens(usual_turns(group).tokens, 0.99),
                Cell(format_text.UNKNOWN if set_to is None else f"{set_to:,.0f}"),
                Cell(format_text.UNKNOWN if suggestion.max_tokens is None else f"{suggestion.max_tokens:,}", ("bold",)),
                Cell(format_text.UNKNOWN if suggestion.timeout is None else f"{suggestion.timeout:.0f} s", ("bold",)),
                Cell(clean(" · ".join(part for part in group.key if part) or "no system prompt")),
            ]
        )
    titles = ["CALLS", "OUTPUT P50", "OUTPUT P99", "LIMIT NOW", "MAX_TOKENS", "TIMEOUT", "PROMPT"]
    lines = iter(screen.table_lines(titles, rows, right=range(6), spare=(1, 2, 3)))
    screen.line(next(lines))
    for group, suggestion, line in zip(groups, suggestions, lines, strict=True):
        screen.line(line)
        used = ", ".join([*group.steps][:3])
        screen.prose(f"{used}: {suggestion.why}", "dim", prefix=_INDENT)
        if suggestion.set_to:
            screen.prose(suggestion.set_to, "yellow", prefix=_INDENT)


def _objectives(screen: Screen, statistics: Statistics) -> None:
    report = statistics.objectives.report()
    if not report:
        return
    screen.line()
    rows = []
    for objective, burn in report:
        what = "first token" if objective.measure == "ttft" else "done"
        name = f"{objective.name}: {objective.share:.0%} {what} within {objective.seconds:g} s"
        counts = Cell(format_text.count(burn.calls["all"])), Cell(share(burn.breaches["all"], burn.calls["all"]))
        rates = [_burn(objective, burn, window) for window in (*WINDOWS, "all")]
        rows.append([*counts, *rates, Cell(clean(name))])
    titles = ["CALLS", "TOO SLOW", *(f"BURN {window.upper()}" for window in WINDOWS), "BURN", "OBJECTIVE"]
    screen.table(titles, rows, right=range(len(titles) - 1), spare=range(2, 2 + len(WINDOWS)))
    screen.prose("burn 1.0 uses exactly the error budget, 5.0 uses five times as much", "dim")


def _burn(objective: Objective, burn: Burn, window: str) -> Cell:
    rate = burn_rate(objective, burn, window)
    if rate is None:
        return Cell(format_text.UNKNOWN)
    text = f"{rate:.1f}{format_stats.FEW if is_few(objective, burn, window) else ''}"
    return Cell(text, ("red",) if rate > 1 else ("green",))
