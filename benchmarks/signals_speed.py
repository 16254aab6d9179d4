"""What the quality signals cost the calling thread: CPU time for each kind of span, at the 10th and at the 1,000th of a run.

An agent's loop: each turn a model call that asks for two tools (one with a value out of an earlier result, one with words),
and their executions with results of 300 characters; at the end an answer of 400, and the agent's own span, with which the run
is judged. The history is sent again with every call. Timed is `Evaluator.step` with all signals less the same with none
(validation stays in both), by the thread's CPU clock; the median of the runs. Before the 10th span of a run come as many
spans of another one as stand before the 1,000th: programs do other things between two spans, and code that the processor has
not seen for a while takes up to twice the time, whatever the length of the run. Counted, which does not depend on the
machine: the functions, Python's own included, that all signals run.

The same once more through a recorder whose program keeps no store, where signals look when a span is read: timed is the end of
a span on the calling thread.

Then the spans of recorded runs (tau-bench, Terminal-Bench; left out where they are absent), as they came: histories, results
and answers of all lengths, of which the slowest tell as much as the middle.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import TracerProvider

import recorded
import report
from llmtrace.config import Config
from llmtrace.evaluation import Evaluator
from llmtrace.laws import AnyLaw, load
from llmtrace.model import (
    AgentInvocation,
    Inference,
    Message,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    ToolResult,
    Trace,
    replace,
)
from llmtrace.runtime import build

RUN, ROOT = "a" * 32, "f" * 16
SENTENCE = "the order was packed in the morning and left the warehouse with the carrier before noon on the same day"
WORDS = SENTENCE.split()
NEAR, FAR = 10, 1000
AROUND = 30
"""Spans that are timed from each place on."""
TEXT = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
TOOLS = tuple(ToolDefinition(name, TEXT, f"Does {name}.", cache={}) for name in ("look_up", "search", "refund", "notify"))


def agent(turns: int) -> Iterator[Span]:
    """The spans of one run in the order of ending."""
    messages = [Message("system", (Text("You help customers. " * 30),)), Message("user", (Text("Where is my order W1000?"),))]
    number = 0

    def span(operation: Any) -> Span:
        nonlocal number
        number += 1
        times = {"start": 10 * number, "end": 10 * number + 5, "sequence": number, "run_id": RUN, "parent_id": ROOT}
        return Span("0" * 32, f"{number:016x}", "s", operation=operation, **times)  # type: ignore[arg-type]

    for turn in range(turns):
        ids = (f"a{turn}", f"b{turn}")
        words = " ".join(WORDS[turn % 12 :][:6])
        calls = (ToolCall("look_up", {"q": f"W{1000 + turn}"}, ids[0]), ToolCall("search", {"q": f"{words} {turn}"}, ids[1]))
        answer = Message("assistant", calls)
        yield span(Inference("openai", input=tuple(messages), output=(answer,), tools=TOOLS, request_model="m"))
        messages.append(answer)
        for call, call_id in zip(calls, ids, strict=True):
            note = " ".join(WORDS[turn % 7 :] * 3)[:250]
            result = json.dumps({"next": f"W{1001 + turn}", "note": note, "price": 12.5 + turn})
            yield span(ToolExecution(call.name, call.arguments, result, True, call_id))
            messages.append(Message("tool", (ToolResult(result, call_id),)))
    text = f"Your order W{1000 + turns} is on its way. " + " ".join(WORDS * 4)[:360]
    yield span(Inference("openai", input=tuple(messages), output=(Message("assistant", (Text(text),)),), tools=TOOLS))
    yield replace(span(AgentInvocation("agent")), span_id=ROOT, parent_id=None, start=0)


def kind_of(span: Span) -> str:
    if isinstance(span.operation, ToolExecution):
        return "tool execution"
    if isinstance(span.operation, AgentInvocation):
        return "end of the run"
    return "inference with two calls" if span.operation.output[0].tool_calls() else "answer of 400 characters"  # type: ignore[union-attr]


def timed(evaluator: Evaluator, place: int, far: int) -> dict[str, list[float]]:
    """Microseconds of the spans from this place of a run on, and of the answer after them."""
    state, another = evaluator.start(), evaluator.start()
    found: dict[str, list[float]] = defaultdict(list)
    others = list(islice(agent(far), far - place))
    for number, span in enumerate(
        list(agent((place + AROUND) // 3)), start=1
    ):  # all are kept: to free them is no work of the signals
        if number == place:
            for other in others:
                evaluator.step(another, other)
        start = time.thread_time_ns()
        evaluator.step(state, span, outermost=span.span_id == ROOT)
        took = (time.thread_time_ns() - start) / 1000
        if number >= place:
            found[kind_of(span)].append(took)
    return found


def medians(signals: tuple[AnyLaw, ...], place: int, runs: int, far: int) -> dict[str, float]:
    evaluator = Evaluator(signals)  # one for all runs, as in a program
    timed(evaluator, place, far)
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(runs):
        for kind, times in timed(evaluator, place, far).items():
            found[kind] += times
    return {kind: statistics.median(times) for kind, times in found.items()}


def ends(signals: tuple[str, ...] | None, place: int, runs: int) -> dict[str, float]:
    """Microseconds that the end of a span takes where only an exporter needs what signals find, by kind of span."""
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(runs):
        config = Config.read(content="all", signals=signals)
        recorder = build(config, sinks=(), tracer_provider=TracerProvider(shutdown_on_exit=False))
        around = recorder.start(AgentInvocation("agent"))
        with around.use():
            for number, span in enumerate(agent((place + AROUND) // 3), start=1):
                if span.span_id == ROOT:
                    continue
                recording = recorder.start(span.operation)
                start = time.thread_time_ns()
                recording.end(span.operation)
                took = (time.thread_time_ns() - start) / 1000
                if number >= place:
                    found[kind_of(span)].append(took)
                len(recording.otel.attributes)  # type: ignore[attr-defined]  # as an exporter reads it, on its own thread
        around.end()
    return {kind: statistics.median(times) for kind, times in found.items()}


def functions(signals: tuple[AnyLaw, ...], place: int) -> dict[str, float]:
    """How many functions a step enters, by kind of span, from this place of a run on; the mean."""
    evaluator = Evaluator(signals)
    timed(evaluator, place, place)
    state = evaluator.start()
    found: dict[str, list[int]] = defaultdict(list)
    entered = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal entered
        entered += event in ("call", "c_call")

    for number, span in enumerate(agent((place + AROUND) // 3), start=1):
        entered = 0
        sys.setprofile(count)
        evaluator.step(state, span, outermost=span.span_id == ROOT)
        sys.setprofile(None)
        if number >= place:
            found[kind_of(span)].append(entered)
    return {kind: statistics.mean(counts) for kind, counts in found.items()}


RECORDED: dict[str, tuple[str, Callable[[Path], Iterable[tuple[str, Trace, bool]]]]] = {
    "customer service": ("tau_bench", recorded.customer_service),
    "coding": ("terminal_bench", recorded.terminal),
}
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "largest": 1.0}


def on_recorded(data: Path | None, all_of_them: tuple[AnyLaw, ...]) -> dict[str, dict[str, float]]:
    """Microseconds for each span of the recorded runs, by set and kind of span."""
    found: dict[str, dict[str, float]] = {}
    for name, (folder, runs_of) in RECORDED.items():
        if data is None or not (data / folder).is_dir():
            report.progress(f"{folder} is absent, its runs are left out\n")
            continue
        report.progress(f"{name} …")
        runs = [sorted(_ended(trace), key=lambda span: span.sequence or 0) for _, trace, _ in runs_of(data / folder)]
        base = {kind: statistics.median(times) for kind, times in _steps(runs, ()).items()}
        added = {kind: [each - base[kind] for each in times] for kind, times in _steps(runs, all_of_them).items()}
        added["all"] = [each for times in added.values() for each in times]
        for kind, times in added.items():
            found[f"{name}, {kind}"] = _spread(times)
    return found


def _spread(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    shares = {label: ordered[min(int(len(ordered) * share), len(ordered) - 1)] for label, share in SHARES.items()}
    return {
        "spans": len(ordered),
        **{name: round(each, 1) for name, each in {"mean": statistics.mean(ordered), **shares}.items()},
    }


def _ended(trace: Trace) -> list[Span]:
    return [span for span in trace.spans if span.end is not None and isinstance(span.operation, (Inference, ToolExecution))]


def _steps(runs: list[list[Span]], signals: tuple[AnyLaw, ...]) -> dict[str, list[float]]:
    evaluator = Evaluator(signals)
    found: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        state = evaluator.start()
        for span in run:
            start = time.thread_time_ns()
            evaluator.step(state, span)
            kind = "tool execution" if isinstance(span.operation, ToolExecution) else "model call"
            found[kind].append((time.thread_time_ns() - start) / 1000)
    return found


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--far", type=int, default=FAR, help="the other span that is timed")
    arguments = parser.parse_args()
    all_of_them = load()
    results: dict[str, dict[str, float]] = {}
    for place in (NEAR, arguments.far):
        name = f"{place:,}th"
        report.progress(f"{name} span …")
        runs = arguments.runs
        base = medians((), place, runs, arguments.far)
        for signals in ((*all_of_them,), *((one,) for one in all_of_them)):
            label = "all" if len(signals) > 1 else signals[0].name
            with_them = medians(signals, place, runs, arguments.far)
            for kind, took in with_them.items():
                results.setdefault(label, {})[f"{kind}, {name}"] = round(took - base[kind], 1)
        without = ends((), place, runs)
        later = {f"{kind}, {name}": round(took - without[kind], 1) for kind, took in ends(None, place, runs).items()}
        results.setdefault("all, without a store", {}).update(later)
        without = functions((), place)
        counted = {f"{kind}, {name}": round(many - without[kind]) for kind, many in functions(all_of_them, place).items()}
        results.setdefault("functions of all", {}).update(counted)
    head = ("µs", *results["all"])
    order = sorted(results, key=lambda label: (label != "all", -sum(results[label].values())))
    body = [(label, *(results[label].get(column, "") for column in head[1:])) for label in order]
    tables = [report.table("Quality signals on the calling thread", head, body)]
    real = on_recorded(arguments.data, all_of_them)
    if real:
        body = [(name, *row.values()) for name, row in real.items()]
        tables.append(report.table("All of them on recorded runs, µs", ("", "spans", "mean", *SHARES), body))
    report.done({"made": results, "recorded": real}, tables, arguments.json)


if __name__ == "__main__":
    main()
