"""``llmtrace canary``: ask an endpoint the same questions again, and test whether its answers have changed.

**It sends your prompts to the endpoint.** The key is in OPENAI_API_KEY. A line of the prompts is a text, or an object with
``prompt`` or ``messages``, and perhaps ``id``, ``tools``, ``response_format``, ``temperature``, ``top_p``, ``max_tokens``,
``seed``, ``stop``, ``tool_choice`` and ``reasoning_effort``. Exit codes: 0 no change seen, 3 changed, 4 too few answers or
another way of asking. See docs/how_to/what_changed.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llmtrace.canary import LEVEL, Baseline, Comparison, Endpoint, Metric, Probe
from llmtrace.canary.asking import ask_until_decided
from llmtrace.canary.baseline import observe
from llmtrace.canary.border import ENOUGH, find_border_probes
from llmtrace.canary.border import MOST_CALLS as MOST_SEARCHED
from llmtrace.canary.compare import looks_cached
from llmtrace.canary.probes import border_candidates, read_prompts, read_tools, tool_probes
from llmtrace.chat_endpoint import OPENAI
from llmtrace.cli import format_text
from llmtrace.cli.options import CHANGED, FINE, NOT_JUDGED, BadInput, is_http, positive, print_json, read_file
from llmtrace.cli.terminal import Cell, Progress, Screen
from llmtrace.errors import EndpointFailed
from llmtrace.model import JsonValue
from llmtrace.text.unsafe_characters import clean, escape_json

NAME = "canary"
HELP = "test whether an endpoint's answers have changed (SENDS your prompts)"
EXAMPLE = "llmtrace canary record prompts.jsonl --model my-model > baseline.json"

MOST_CALLS = 1000
MOST_COMPARED = 300
"""Calls of a comparison that asks each question several times, unless the option allows more."""
_TIMES = 5


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["record", "compare"], help="record a baseline, or ask again and compare with it")
    parser.add_argument("file", nargs="?", help="record: prompts, one JSON text or object a line; compare: the baseline")
    parser.add_argument("--model", metavar="NAME", help="the model to ask (compare: default as recorded)")
    parser.add_argument("--base-url", metavar="URL", help=f"endpoint up to /v1 (default: OPENAI_BASE_URL, or {OPENAI})")
    parser.add_argument("-k", dest="times", metavar="N", type=positive, help=f"ask each question N times (default: {_TIMES})")
    parser.add_argument("--tools", metavar="FILE", help="record: offer these tools (a JSON list), and ask for each of them")
    parser.add_argument("--add-to", metavar="FILE", help="record: ask the questions of this baseline again, as another session")
    parser.add_argument("--border", action="store_true", help="record: also find questions whose first token is a near tie")
    parser.add_argument("--temperature", metavar="T", type=float, help="record: for all prompts that have none")
    parser.add_argument("--max-tokens", metavar="N", type=positive, help="record: for all prompts that have none")
    parser.add_argument(
        "--max-calls",
        metavar="N",
        type=positive,
        help=f"at most N calls (default: record {MOST_CALLS:,}; compare {MOST_COMPARED}, or what the questions need)",
    )
    parser.add_argument("--parallel", metavar="N", type=positive, default=4, help="calls at the same time (default: 4)")
    parser.add_argument("--timeout", metavar="S", type=positive, default=60, help="seconds to wait for an answer (default: 60)")


def run(args: argparse.Namespace) -> int:
    if args.action == "compare":
        return _compare(args)
    return _add_session(args) if args.add_to is not None else _record(args)


# -- record


def _record(args: argparse.Namespace) -> int:
    if not args.model:
        raise BadInput("canary record needs --model NAME.\nGive the name that the endpoint lists.")
    if args.file is None and args.tools is None and not args.border:
        raise BadInput("canary record needs prompts: a FILE, --tools FILE, or --border.")
    options: dict[str, JsonValue] = {"temperature": args.temperature, "max_tokens": args.max_tokens}
    options = {name: option for name, option in options.items() if option is not None}
    tools = [] if args.tools is None else read_file(args.tools, read_tools)
    probes = [] if args.file is None else read_file(args.file, lambda text: read_prompts(text, options, tools))
    probes += tool_probes(tools, options)
    times = args.times or _TIMES
    url = args.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI
    endpoint = _endpoint(args, args.model, url, args.max_calls or MOST_CALLS)
    limit = args.max_calls or MOST_CALLS
    _check_calls(len(probes) + (ENOUGH if args.border else 0), times, limit, MOST_SEARCHED if args.border else 0)
    if args.border:
        probes += _border(endpoint)
    if not probes:
        raise BadInput("no prompt is left to send." + (" No near tie was found." if args.border else ""))
    baseline = _observe(endpoint, probes, times, args.parallel)
    sys.stdout.write(escape_json(baseline.write()))
    screen = Screen(sys.stderr)
    screen.prose(f"{format_text.plural(len(probes), 'question')}, {baseline.answered} of {baseline.planned} answers recorded.")
    if baseline.answered < baseline.planned:
        screen.prose(f"Not all were answered: {clean(baseline.problem)}", "yellow")
    if why := looks_cached(baseline):
        screen.prose(f"Warning: {why}. Such answers cannot show a change. Ask past the cache.", "yellow")
    return FINE if baseline.answered else NOT_JUDGED


def _add_session(args: argparse.Namespace) -> int:
    """Ask the questions of a baseline again, and add the answers to its file."""
    given = [name for name in ("file", "model", "tools", "temperature", "max_tokens") if getattr(args, name) is not None]
    if given or args.border:
        raise BadInput(f"--add-to asks what the baseline asked, so it takes no {given[0] if given else '--border'}.")
    before = read_file(args.add_to, Baseline.read)
    times = args.times or max(1, before.times // before.sessions)
    _check_calls(len(before.observed), times, args.max_calls or MOST_CALLS)
    endpoint = _endpoint(args, before.model, args.base_url or before.url, args.max_calls or MOST_CALLS)
    endpoint.without.update(dict.fromkeys(before.without))
    more = _observe(endpoint, [observed.probe for observed in before.observed], times, args.parallel, before.sessions)
    written = Path(args.add_to).with_suffix(".new")
    written.write_text(before.joined(more).write(), encoding="utf-8")
    written.replace(args.add_to)
    sessions = format_text.plural(before.sessions + 1, "session")
    Screen(sys.stderr).prose(f"{more.answered} of {more.planned} answers added: {sessions} in {args.add_to}.")
    return FINE if more.answered else NOT_JUDGED


def _border(endpoint: Endpoint) -> list[Probe]:
    with Progress("looking for near ties") as progress:

        def count(near_ties: int, candidates: int) -> None:
            progress.text = f"{near_ties:,} near ties found, of {candidates:,} candidates"

        return find_border_probes(endpoint, border_candidates(), count)


# -- compare


def _compare(args: argparse.Namespace) -> int:
    for name in ("tools", "temperature", "max_tokens", "add_to"):
        if getattr(args, name) is not None:
            raise BadInput(f"--{name.replace('_', '-')} is for canary record: a comparison asks what the baseline asked.")
    if args.file is None:
        raise BadInput("canary compare needs the baseline.\nWrite one with llmtrace canary record … > baseline.json.")
    before = read_file(args.file, Baseline.read)
    times = args.times or min(_TIMES, max(1, before.times // before.sessions))
    calls = len(before.observed) * times
    limit = args.max_calls or max(MOST_COMPARED, calls)
    _check_calls(len(before.observed), times, limit)
    endpoint = _endpoint(args, args.model or before.model, args.base_url or before.url, 2 * limit)  # some are tried again
    endpoint.without.update(dict.fromkeys(before.without))
    probes = [observed.probe for observed in before.observed]
    try:
        ask = partial(_observe, endpoint, probes, times, args.parallel)
        now, comparison = ask_until_decided(before, ask, limit // max(1, calls))
    except EndpointFailed as failed:
        if args.json:
            print_json({"verdict": "unknown", "reasons": [str(failed)], "metrics": []})
        else:
            Screen(sys.stdout).prose(f"Could not tell: {clean(str(failed))}", "yellow")
        return NOT_JUDGED
    if args.json:
        print_json(_as_json(comparison, before, now))
    else:
        _write(Screen(sys.stdout), comparison, before, now, args.file)
    return {"changed": CHANGED, "no change": FINE, "unknown": NOT_JUDGED}[comparison.verdict]


def _write(screen: Screen, comparison: Comparison, before: Baseline, now: Baseline, file: str) -> None:
    changed = [metric.name for metric in comparison.metrics if metric.has_changed]
    heading, style = {
        "changed": (f"Changed: {', '.join([*changed, *comparison.reasons])}.", "red"),
        "no change": ("No change seen.", "green"),
        "unknown": (f"Could not tell: {'; '.join(comparison.reasons)}.", "yellow"),
    }[comparison.verdict]
    screen.prose(clean(heading), "bold", style)  # type: ignore[arg-type]
    counts = f"{format_text.plural(len(now.observed), 'question')}, {now.answered} answers now, {before.answered} before"
    screen.prose(f"{now.model} at {urlsplit(now.url).netloc}: {counts} ({before.recorded or 'no date'}).", "dim")
    screen.line()
    rows = [_row(metric) for metric in comparison.metrics]
    screen.table(["", "BEFORE", "NOW", "CHANGE", "P", "DETECTS", "MEASURE"], rows, right=(1, 2, 3, 4, 5))
    screen.line()
    if before.sessions == 1 and comparison.verdict == "changed":
        note = "The baseline is of one session, so this may be how the endpoint differs from hour to hour."
        screen.prose(f"{note} Add sessions before: llmtrace canary record --add-to {file}", "dim")
    power = _power(comparison.metrics)
    if power:
        screen.prose(power, "dim")
    if None not in comparison.speed:
        screen.prose(f"Tokens a second: {comparison.speed[0]:,.0f} before, {comparison.speed[1]:,.0f} now (not tested).", "dim")
    if before.fingerprints and now.fingerprints and not set(before.fingerprints) & set(now.fingerprints):
        screen.prose("The endpoint's system fingerprint is another one than before (not counted as a change).", "dim")


def _row(metric: Metric) -> list[Cell]:
    mark = Cell("!", ("red",)) if metric.has_changed else Cell("")
    return [
        mark,
        Cell(_level(metric, metric.before)),
        Cell(_level(metric, metric.now)),
        Cell(_points(metric, metric.effect, "+"), ("red",) if metric.has_changed else ()),
        Cell(f"{metric.p:.2g}" if metric.p < 0.995 else "1", ("dim",)),
        Cell("nothing" if metric.detectable is None else _points(metric, metric.detectable, ""), ("dim",)),
        Cell(metric.name),
    ]


def _level(metric: Metric, number: float | None) -> str:
    if number is None:
        return ""
    return f"{100 * number:.0f} %" if metric.unit == "share" else f"{number:,.0f}"


def _points(metric: Metric, number: float, sign: str) -> str:
    return f"{100 * number:{sign}.0f} {'%' if metric.unit == 'ratio' else 'pts'}"


def _power(metrics: tuple[Metric, ...]) -> str:
    """Return a sentence about the smallest change that the comparison would have noticed; "" if that is not known.

    It names the first of these metrics that was measured. The nearer a metric is to the use of the answers, the earlier it
    comes.
    """
    seen = {metric.name: metric for metric in metrics if metric.detectable is not None}
    for name, what in (
        ("arguments valid", "a {}-point drop of valid calls"),
        ("answer has its form", "a {}-point drop of valid answers"),
        ("new first words", "{} points more answers that begin with a new word"),
        ("border token", "border tokens that differ by {} points"),
    ):
        if metric := seen.get(name):
            points = what.format(f"{100 * (metric.detectable or 0):.0f}")
            return f"With {metric.calls} calls, {points} would have been seen 8 in 10 times."
    return ""


def _as_json(comparison: Comparison, before: Baseline, now: Baseline) -> dict[str, Any]:
    return {
        "verdict": comparison.verdict,
        "reasons": list(comparison.reasons),
        "level": LEVEL,
        "metrics": [{**format_text.as_json(metric), "changed": metric.has_changed} for metric in comparison.metrics],
        "tokens_per_second": {"before": comparison.speed[0], "now": comparison.speed[1]},
        "answers": {"before": before.answered, "now": now.answered, "planned": now.planned},
        "answered_by": {"before": list(before.answered_by), "now": list(now.answered_by)},
        "fingerprints": {"before": list(before.fingerprints), "now": list(now.fingerprints)},
    }


# -- shared by both actions


def _endpoint(args: argparse.Namespace, model: str, url: str, most_calls: int) -> Endpoint:
    if not is_http(url) or urlsplit(url).password:
        raise BadInput(
            "the endpoint's URL is not an http:// or https:// URL without a password.\n"
            "Set --base-url or OPENAI_BASE_URL to a URL such as http://HOST:PORT/v1. The key is in OPENAI_API_KEY."
        )
    key = os.environ.get("OPENAI_API_KEY") or None
    return Endpoint(model, url.rstrip("/"), key=key, seconds=args.timeout, most_calls=most_calls)


def _check_calls(questions: int, times: int, limit: int, searched: int = 0) -> None:
    """Raise BadInput if more calls are needed than ``limit``. ``searched``: calls that the search for border probes may
    make."""
    calls = questions * times + searched
    if calls > limit:
        search = f", with the search for near ties ({searched:,})" if searched else ""
        raise BadInput(
            f"{format_text.plural(questions, 'question')} asked {times} times{search} are {calls:,} calls,"
            f" more than {limit:,}.\nAllow them with --max-calls {calls}, or ask less often with -k N."
        )


def _observe(endpoint: Endpoint, probes: list[Probe], times: int, parallel: int, session: int = 0) -> Baseline:
    recorded = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with Progress("asking") as progress:

        def count(answers: int, failed: int) -> None:
            progress.text = f"{answers:,} answers of {len(probes) * times:,}, {failed:,} failed"

        return observe(endpoint, probes, times, parallel=parallel, recorded=recorded, session=session, progress=count)
