"""Drift: how soon a change is found, and how often one is found that is none.

Delays and false alarms of the sequential tests on simulated streams, as curves over shift, spread and size of the baseline;
on recorded answers of two models before and after their update (llmdrift); and on recorded customer-service runs (tau_bench)
in random order, where nothing changed, and with changes planted into what a tool gives. Every stream is followed by the code
that follows them in a store; delays count calls after the change, the one that shows it included.
"""

from __future__ import annotations

import copy
import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import report
from llmtrace.model import Inference, Message, Span, Text, ToolExecution, Trace, Usage, replace
from llmtrace.monitors import Watch, load
from llmtrace.monitors._number_stream import At, Numbers
from llmtrace.monitors._share_stream import Shares
from llmtrace.validation.tool_definitions import read_definition
from planted import recorded as recorded_runs
from replay_tau import SETS

AFTER = 400
"""Calls after a change in which it may be found."""
FACTORS = (1.1, 1.22, 1.5, 2.0, 4.0, 0.5)
SPREADS = (0.2, 0.4, 0.8)
BASELINES = (50, 100, 200, 300, 1000, 3000)
NEVER = 10**9
PAIRS = (("gpt-3.5-turbo-0301", "gpt-3.5-turbo-0613"), ("gpt-4-0314", "gpt-4-0613"))
TASKS = ("PRIME_FULL", "OPINIONQA")
MEASURES = {"answer_token": "response length", "latency": "duration"}
LARGE = 1.25
"""A change is large where the logarithms move by this many of their spreads (half of what lies between the 16th and the 84th
percentile of the answers before)."""


class Shelf(dict[str, Any]):
    def put(self, name: str, state: dict[str, Any], _: int) -> None:
        self[name] = state


def feed(stream: Numbers, numbers: Iterable[float], chance: random.Random, start: int, hinted: bool = False) -> int | None:
    """The calls until the first alarm."""
    for place, number in enumerate(numbers):
        call = start + place
        if stream.observe(number, chance.random(), At(call, call, call, call, hinted and place == 0)) is not None:
            return place + 1
    return None


def normal(chance: random.Random, count: int, factor: float, spread: float) -> list[float]:
    return [math.exp(chance.gauss(math.log(200 * factor), spread)) for _ in range(count)]


def delays(baseline: int, spread: float, factors: Sequence[float], streams: int) -> dict[float, list[int]]:
    """For each factor the delay in each stream; all of them share a stream's baseline."""
    found: dict[float, list[int]] = {factor: [] for factor in factors}
    for seed in range(streams):
        chance, known = random.Random(f"{seed} {baseline} {spread}"), Numbers()
        feed(known, normal(chance, baseline, 1.0, spread), chance, 0)
        state = json.dumps(known.state())
        for factor in factors:
            stream = Numbers(json.loads(state))
            found[factor].append(feed(stream, normal(chance, AFTER, factor, spread), chance, baseline) or NEVER)
    return found


def summary(found: Sequence[int]) -> dict[str, Any]:
    ordered = sorted(found)
    at = {share: ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] for share in (0.5, 0.9)}
    within = {str(calls): sum(one <= calls for one in ordered) / len(ordered) for calls in (25, 150, AFTER)}
    return {"median": at[0.5] if at[0.5] < NEVER else None, "p90": at[0.9] if at[0.9] < NEVER else None, "within": within}


# -- where nothing changes


def resembling(chance: random.Random, count: int, alike: float) -> list[float]:
    """Numbers that resemble the one before them."""
    height, made = 0.0, []
    for _ in range(count):
        height = alike * height + chance.gauss(0, math.sqrt(1 - alike * alike))
        made.append(200 * math.exp(0.4 * height))
    return made


def by_runs(chance: random.Random, count: int, run: int) -> list[float]:
    """Calls of one run have half of their variance in common."""
    made: list[float] = []
    while len(made) < count:
        common = chance.gauss(math.log(200), 0.28)
        made += [math.exp(chance.gauss(common, 0.28)) for _ in range(run)]
    return made[:count]


NULLS: dict[str, Any] = {
    "log-normal, spread 0.4": lambda chance, count: normal(chance, count, 1.0, 0.4),
    "log-normal, spread 1.5": lambda chance, count: normal(chance, count, 1.0, 1.5),
    "Pareto, no mean": lambda chance, count: [chance.paretovariate(1) for _ in range(count)],
    "three values": lambda chance, count: [chance.choice((3, 3, 4, 9)) for _ in range(count)],
    "two humps": lambda chance, count: [chance.choice((chance.gauss(20, 2), chance.gauss(400, 20))) for _ in range(count)],
    "resembles the one before, 0.6": lambda chance, count: resembling(chance, count, 0.6),
    "resembles the one before, 0.9": lambda chance, count: resembling(chance, count, 0.9),
    "runs of 5 that are alike": lambda chance, count: by_runs(chance, count, 5),
    "runs of 20 that are alike": lambda chance, count: by_runs(chance, count, 20),
}


def false_alarms(kind: str, streams: int, calls: int) -> float:
    """For 10,000 calls of one stream."""
    run = int(kind.split()[2]) if kind.startswith("runs") else 1
    alarms = 0
    for seed in range(streams):
        chance, stream = random.Random(f"{kind} {seed}"), Numbers()
        for call, number in enumerate(NULLS[kind](chance, calls)):
            alarms += stream.observe(number, chance.random(), At(call, call, call // run, call // run)) is not None
    return 1e4 * alarms / streams / calls


def false_shares(rate: float, streams: int, calls: int) -> float:
    """As `false_alarms`, of a share."""
    alarms = 0
    for seed in range(streams):
        chance, stream = random.Random(f"{rate} {seed}"), Shares()
        for call in range(calls):
            word = "yes" if chance.random() < rate else "no"
            alarms += stream.observe(word, "yes", At(call, call, call, call)) is not None
    return 1e4 * alarms / streams / calls


def shares(before: float, after: float, baseline: int, streams: int) -> list[int]:
    found = []
    for seed in range(streams):
        chance, stream = random.Random(f"{seed} {before} {baseline}"), Shares()
        for call in range(baseline):
            stream.observe("yes" if chance.random() < before else "no", "yes", At(call, call, call, call))
        for call in range(baseline, baseline + AFTER):
            word = "yes" if chance.random() < after else "no"
            if stream.observe(word, "yes", At(call, call, call, call)) is not None:
                found.append(call - baseline + 1)
                break
        else:
            found.append(NEVER)
    return found


# -- recorded answers, before and after a model was updated


def answers(folder: Path, task: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in report.rows(folder / f"{task}.jsonl"):
        found[row["model"].rpartition("/")[2]].append(row)
    return found


def quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def size_of(before: Sequence[float], after: Sequence[float]) -> float:
    """By how many spreads the medians of the logarithms are apart."""
    old, new = (sorted(math.log(max(one, 1e-9)) for one in side) for side in (before, after))
    spread = max((quantile(old, 0.84) - quantile(old, 0.16)) / 2, 0.02)
    return (quantile(new, 0.5) - quantile(old, 0.5)) / spread


def updates(folder: Path, repeats: int) -> Iterator[dict[str, Any]]:
    for task in TASKS:
        by_model = answers(folder, task)
        for old, new in PAIRS:
            for measure, noun in MEASURES.items():
                before, after = ([row[measure] for row in by_model[model]] for model in (old, new))
                for baseline in (1000, 200, 50):
                    found: dict[bool, list[int]] = {True: [], False: []}
                    for seed in range(repeats):
                        chance = random.Random(seed)
                        old_ones, new_ones = chance.sample(before, baseline), chance.sample(after, AFTER)
                        known = Numbers()
                        feed(known, old_ones, chance, 0)
                        for named, told in found.items():
                            stream = copy.deepcopy(known)
                            told.append(feed(stream, new_ones, chance, baseline, hinted=named) or NEVER)
                    yield {
                        "task": task,
                        "update": f"{old} -> {new[-4:]}",
                        "measure": noun,
                        "size": size_of(before, after),
                        "baseline": baseline,
                        "named": summary(found[True]),
                        "not named": summary(found[False]),
                    }


def trace_of(number: int, row: dict[str, Any]) -> Trace:
    """One recorded question as a run of one call."""
    start = 1_790_000_000_000_000_000 + number * 60_000_000_000
    inference = Inference(
        "openai",
        request_model=row["model"].rpartition("/")[2][:5],
        response_model=row["model"].rpartition("/")[2],
        output=(Message("assistant", (Text(row["answer"]),)),),
        usage=Usage(100, row["answer_token"]),
        finish_reasons=("stop",),
    )
    end = start + int(row["latency"] * 1e9)
    return Trace([Span(f"{number + 1:032x}", f"{number + 1:016x}", "chat", start, end, operation=inference)])


def whole_updates(folder: Path) -> Iterator[dict[str, Any]]:
    """All monitors on all recorded answers of a task, in their order: what is found first, and which cause is named."""
    for task in TASKS:
        by_model = answers(folder, task)
        for old, new in PAIRS:
            rows = [*by_model[old], *by_model[new]]
            watch = Watch(load(), Shelf())
            first: dict[str, dict[str, Any]] = {}
            false = 0
            for number, row in enumerate(rows):
                for _, found in watch.step(trace_of(number, row), lambda _: True):
                    if number < len(by_model[old]):
                        false += 1
                        continue
                    told = {"after": number + 1 - len(by_model[old]), "cause": found.label}
                    first.setdefault(found.name.removeprefix("drift."), told)
            yield {"task": task, "update": f"{old} -> {new[-4:]}", "false": false, "found": first}


# -- recorded runs


def recorded(folder: Path) -> dict[str, list[list[Span]]]:
    found = {}
    for name, runs, definitions in SETS:
        tools = tuple(replace(read_definition(raw), cache={}) for raw in json.loads((folder / definitions).read_text()))
        found[name] = [
            spans_of(recorded_runs.Run(str(number), recorded_runs.steps_of(run["traj"]), tools))
            for number, run in enumerate(report.rows(folder / runs))
        ]
    return found


def spans_of(run: recorded_runs.Run) -> list[Span]:
    """The spans of a run but its root, in the order in which they ended."""
    trace, _ = recorded_runs.trace_of(run)
    return [span for span in trace.spans if span.parent_id is not None]


def placed(spans: Sequence[Span], number: int) -> Trace:
    shift = number * 10**12
    moved = {"trace_id": f"{number + 1:032x}", "run_id": f"{number + 1:032x}"}
    return Trace([replace(one, start=one.start * 10**9 + shift, end=(one.end or 0) * 10**9 + shift, **moved) for one in spans])


def unchanged(runs: list[list[Span]], orders: int) -> dict[str, Any]:
    """Alarms of all monitors in runs drawn at random, with repeats: nothing changes but by chance."""
    calls: Counter[str] = Counter()
    alarms: Counter[str] = Counter()
    for seed in range(orders):
        chance, watch = random.Random(seed), Watch(load(), Shelf())
        for number in range(4 * len(runs)):
            spans = chance.choice(runs)
            calls.update("tool" if isinstance(one.operation, ToolExecution) else "model" for one in spans)
            for _, found in watch.step(placed(spans, number), lambda _: True):
                alarms[f"{found.severity} {found.name}"] += 1
    return {"calls": dict(calls), "alarms": dict(alarms)}


def changed(result: Any, how: str) -> Any:
    """A result after its API shifted."""
    try:
        value = json.loads(result) if isinstance(result, str) else result
    except ValueError:  # a text
        return None
    if not isinstance(value, dict) or not value:
        return None
    first = sorted(value)[0]
    if how == "field gone":
        del value[first]
    elif how == "field renamed":
        value[f"{first}V2"] = value.pop(first)
    elif how == "other type":
        value[first] = {"value": value[first]}
    else:
        value = {"data": value}
    return json.dumps(value)


def planted(runs: list[list[Span]], orders: int) -> Iterator[dict[str, Any]]:
    """A tool's results all shift in the middle: is the first one flagged, and is it a warning soon?"""
    tools = Counter(one.operation.name for run in runs for one in run if isinstance(one.operation, ToolExecution))
    for how in ("field gone", "field renamed", "other type", "wrapped in an object"):
        first = warned = tried = 0
        for tool in tools:
            for seed in range(orders):
                chance, watch = random.Random(f"{seed} {tool}"), Watch(load(("tool_results",)), Shelf())
                order = [*chance.sample(runs, len(runs)), *chance.sample(runs, len(runs))]
                changed_first, found, known = None, [], 0
                for number, run in enumerate(order):
                    spans = [one for one in run if isinstance(one.operation, ToolExecution) and one.operation.name == tool]
                    for place, one in enumerate(spans):
                        new = changed(one.operation.result, how) if number >= len(runs) else None
                        known += number < len(runs) and changed(one.operation.result, how) is not None
                        if new is not None:
                            spans[place] = replace(one, operation=replace(one.operation, result=new))
                            changed_first = changed_first or (f"{number + 1:032x}", one.span_id)
                    found += [(*mark, told.severity) for mark, told in watch.step(placed(spans, number), lambda _: True)]
                if changed_first is not None and known >= 20:
                    tried += 1
                    first += any(one[:2] == changed_first for one in found)
                    warned += (*changed_first, "warning") in found
        yield {"how": how, "tried": tried, "first": first, "warned": warned}


# -- tables


def number(found: int | None) -> str:
    return "-" if found is None else str(found)


def share(part: float) -> str:
    return f"{100 * part:.0f} %"


def row_of(found: Sequence[int]) -> list[str]:
    told = summary(found)
    within = (share(told["within"][str(calls)]) for calls in (25, 150, AFTER))
    return [number(told["median"]), number(told["p90"]), *within]


HEAD = ("median", "p90", "within 25", "within 150", f"within {AFTER}")


def curves(streams: int, results: dict[str, Any]) -> Iterator[str]:
    body, kept = [], results.setdefault("curves", [])
    for spread, baseline, factors in (
        *((spread, 1000, FACTORS) for spread in SPREADS),
        *((0.4, baseline, (1.22, 1.5, 2.0)) for baseline in BASELINES if baseline != 1000),
    ):
        for factor, found in delays(baseline, spread, factors, streams).items():
            report.progress(f"spread {spread} baseline {baseline} factor {factor}")
            kept.append({"factor": factor, "spread": spread, "baseline": baseline} | summary(found))
            body.append(
                (f"{factor:g}", f"{spread:g}", f"{baseline:,}", f"{abs(math.log(factor)) / spread:.2f}", *row_of(found))
            )
    head = ("times", "log-spread", "baseline", "shift in spreads", *HEAD)
    yield report.table(f"Delay of a shift of numbers, in calls; {streams} streams each", head, body)
    body, kept = [], results.setdefault("shares", [])
    for before, after in ((0.02, 0.1), (0.02, 0.3), (0.2, 0.5), (0.5, 0.9), (0.95, 0.5)):
        for baseline in (100, 1000):
            found = shares(before, after, baseline, streams // 2)
            kept.append({"before": before, "after": after, "baseline": baseline} | summary(found))
            body.append((share(before), share(after), f"{baseline:,}", *row_of(found)))
    yield report.table(f"Delay of a shift of shares; {streams // 2} streams each", ("before", "after", "baseline", *HEAD), body)


def nulls(streams: int, results: dict[str, Any]) -> str:
    calls = 4000
    rates = results["false alarms per 10,000 calls of a stream"] = {}
    for kind in NULLS:
        report.progress(kind)
        rates[kind] = false_alarms(kind, max(10, streams // 5), calls)
    for rate in (0.02, 0.3):
        rates[f"a share of {rate:.0%}"] = false_shares(rate, max(10, streams // 5), calls)
    body = [(kind, f"{rate:.2f}") for kind, rate in rates.items()]
    each = max(10, streams // 5) * calls
    each = max(10, streams // 5) * calls
    title = f"False alarms of one stream where nothing changes; {each:,} calls each (stated: numbers 0.33, shares 0.08)"
    return report.table(title, ("stream", "per 10,000 calls"), body)


def of_updates(folder: Path, repeats: int, results: dict[str, Any]) -> Iterator[str]:
    found = results["updates"] = list(updates(folder, repeats))
    body = []
    for one in found:
        size = f"{one['size']:+.1f}{' large' if abs(one['size']) >= LARGE else ''}"
        told = [cell for name in ("named", "not named") for cell in (number(one[name]["median"]), number(one[name]["p90"]))]
        body.append((one["task"], one["update"], one["measure"], size, f"{one['baseline']:,}", *told))
    head = ("answers", "update", "measure", "shift in spreads", "baseline", "named: median", "p90", "not named: median", "p90")
    yield report.table(
        f"Recorded updates of models, in random order, {repeats} times; named: the answering model is recorded", head, body
    )
    whole = results["whole updates"] = list(whole_updates(folder))
    body = []
    for one in whole:
        for name, told in one["found"].items() or {"-": {"after": "-", "cause": "-"}}.items():
            body.append((one["task"], one["update"], name, told["after"], told["cause"], one["false"]))
    head = ("answers", "update", "monitor", "calls after the update", "named as the cause", "alarms before it")
    yield report.table("The same in recorded order through all monitors", head, body)


def of_runs(folder: Path, orders: int, results: dict[str, Any]) -> Iterator[str]:
    body, rows = [], []
    for name, runs in recorded(folder).items():
        report.progress(name)
        quiet = results.setdefault("unchanged", {})[name] = unchanged(runs, orders)
        loud = {kind: count for kind, count in quiet["alarms"].items() if kind.startswith("warning")}
        total = sum(quiet["calls"].values())
        flagged = sum(quiet["alarms"].values()) - sum(loud.values())
        body.append((name, f"{total:,}", sum(loud.values()), f"{1e4 * sum(loud.values()) / total:.2f}", flagged))
        for one in planted(runs, 3):
            results.setdefault("planted", []).append({"set": name} | one)
            rows.append(
                (name, one["how"], one["tried"], *(share(one[what] / max(1, one["tried"])) for what in ("first", "warned")))
            )
    head = ("runs", "calls", "warnings", "per 10,000 calls", "results flagged as new (info)")
    yield report.table(f"Recorded runs drawn at random, {orders} times: nothing changed", head, body)
    head = ("runs", "change of a tool's results", "streams", "first changed result flagged", "a warning there")
    yield report.table("Planted changes of tool results", head, rows)


def main() -> None:
    arguments = report.parser(__doc__)
    arguments.add_argument("--streams", type=int, default=200, help="simulated streams for each figure (default: 200)")
    arguments.add_argument("--only", choices=["curves", "nulls", "updates", "runs"], help="one part")
    options = arguments.parse_args()
    results: dict[str, Any] = {}
    tables: list[str] = []
    if options.only in (None, "curves"):
        tables += curves(options.streams, results)
    if options.only in (None, "nulls"):
        tables.append(nulls(options.streams, results))
    if options.only in (None, "updates"):
        tables += of_updates(report.folder(options.data, "llmdrift"), max(5, options.streams // 10), results)
    if options.only in (None, "runs"):
        tables += of_runs(report.folder(options.data, "tau_bench"), max(2, options.streams // 40), results)
    report.done(results, tables, options.json)


if __name__ == "__main__":
    main()
