"""CPU time of lineage and diagnosis on large traces: 1,000 spans with 10 MB of results, of which no two are alike.

Each turn calls a tool with six arguments. An amount, a day and an identifier stand in no result. `records`: results are JSON in
which a quarter of all characters is digits; `prose`: running text of twelve words, which are also the words of an argument, the
worst case; and, where they are at hand, results as tools gave them to recorded agents (tau-bench, Terminal-Bench), put together
until they are as long; the latter once more with words and numbers that never come again. Then 500 to 10,000 spans with results
of 2 KB each: the cost of a span must stay the same. What Python's garbage collector takes of it, which walks through the whole
history of every request, is shown apart.
"""

from __future__ import annotations

import gc
import json
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from string import ascii_lowercase
from typing import Any, TypeAlias

import recorded
import report
from llmtrace.diagnosis import diagnose
from llmtrace.model import Inference, Message, Span, Text, ToolCall, ToolExecution, ToolResult, Trace
from llmtrace.reading.graph import analyze
from llmtrace.reading.timeline import Timeline

TRACE = "0" * 31 + "1"
TURNS = 500
SIZE = 20_000
GROWING = (250, 1000, 5000)
SMALL = 2_000
_LONG_NUMBER, _WORD = re.compile("[0-9]{5,}"), re.compile("[A-Za-z]{4,}")
WORDS = ("account", "order", "refund", "ship", "parcel", "invoice", "customer", "stock", "north", "south", "delay", "address")


Results: TypeAlias = Callable[[random.Random, int], tuple[str, str]]
"""Makes a result of so many characters, with an identifier in it, and gives both."""


def prose(chance: random.Random, characters: int) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(characters // 7))


def records(chance: random.Random, size: int) -> tuple[str, str]:
    rows = [
        {
            "id": f"KS-{chance.randrange(10**7):07}",
            "total": chance.randrange(10**6) / 100,
            "day": f"2031-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}",
            "note": prose(chance, 60),
        }
        for _ in range(size // 135)
    ]
    return json.dumps(rows), str(rows[0]["id"])


def text(chance: random.Random, size: int) -> tuple[str, str]:
    number = f"KS-{chance.randrange(10**7):07}"
    return f"{prose(chance, size)} {number}", number


def as_given(runs: Iterable[tuple[str, Trace, bool]]) -> Results:
    """What tools gave in these runs."""
    spans = [span.operation for _, trace, _ in runs for span in trace.spans if isinstance(span.operation, ToolExecution)]
    given = [each.result for each in spans if isinstance(each.result, str) and each.result]

    def result(chance: random.Random, size: int) -> tuple[str, str]:
        pieces: list[str] = []
        while (left := size - sum(map(len, pieces))) > 0:
            pieces.append(chance.choice(given)[:left])
        number = f"KS-{chance.randrange(10**7):07}"
        return "\n".join([*pieces, number]), number

    return result


def anew(result_of: Results) -> Results:
    """The same with other long numbers each time, and a new word in seven of ten lines: so that as little comes again as in
    texts that were never cut out of others."""

    def line(chance: random.Random, text: str) -> str:
        words = _WORD.findall(text) if chance.random() < 0.7 else ()
        return text.replace(chance.choice(words), "".join(chance.choices(ascii_lowercase, k=8)), 1) if words else text

    def result(chance: random.Random, size: int) -> tuple[str, str]:
        text, number = result_of(chance, size)
        text = _LONG_NUMBER.sub(lambda found: str(chance.randrange(10 ** len(found[0]))).zfill(len(found[0])), text)
        *lines, _ = text.split("\n")
        return "\n".join([*(line(chance, each) for each in lines), number]), number

    return result


def kinds(data: Path | None) -> Iterator[tuple[str, Results]]:
    yield "records", records
    yield "prose", text
    if data is not None and (data / "tau_bench").is_dir():
        yield "customer service", as_given(recorded.customer_service(data / "tau_bench"))
    if data is not None and (data / "terminal_bench").is_dir():
        coding = as_given(recorded.terminal(data / "terminal_bench"))
        yield "coding", coding
        yield "coding, anew", anew(coding)


def story(result_of: Results, turns: int = TURNS, size: int = SIZE) -> list[Span]:
    chance = random.Random(3)
    spans: list[Span] = []
    messages = [Message("user", (Text("Today is 2031-05-02. Refund KS-2041800 for a.reyes@example.com"),))]
    given = "KS-2041800"

    def add(operation: Any) -> None:
        number = len(spans)
        spans.append(Span(TRACE, f"{number + 1:016x}", "s", number * 2, number * 2 + 1, operation=operation, sequence=number))

    for turn in range(turns):
        amount, day = chance.randrange(10**6) / 100, f"2033-07-{chance.randrange(1, 29):02}"
        arguments = {"order": given, "amount": amount, "day": day, "who": "a.reyes@example.com", "note": prose(chance, 30)}
        arguments["code"] = f"RF-{chance.randrange(10**7):07}"
        message = Message("assistant", (ToolCall("look_up", arguments, f"c{turn}"),))
        result, given = result_of(chance, size)
        add(Inference("openai", input=tuple(messages), output=(message,)))
        add(ToolExecution("look_up", arguments, result, True, f"c{turn}"))
        messages += [message, Message("tool", (ToolResult(result, f"c{turn}"),))]
    add(Inference("openai", input=tuple(messages), output=(Message("assistant", (Text(f"Refunded {given}, 17.55 EUR."),)),)))
    return spans


def seconds(work: Callable[[], Any], times_run: int = 3) -> float:
    """CPU time, the best of three."""
    times = []
    for _ in range(times_run):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def trace_identifiers(timeline: Timeline, spans: list[Span]) -> int:
    for span in spans:
        timeline.add(span)
    return len(timeline.all_ungrounded)


def trace_values(spans: list[Span]) -> int:
    timeline = Timeline(spans)
    trace_identifiers(timeline, spans)
    return sum(len(timeline.lineage.uses(span.span_id)) for span in spans)


def measure(spans: list[Span]) -> dict[str, float]:
    size = sum(len(span.operation.result) for span in spans if isinstance(span.operation, ToolExecution))
    return {
        "spans": len(spans),
        "megabytes": size / 1e6,
        "diagnose_seconds": seconds(lambda: diagnose(Trace(spans))),
        "lineage_seconds": seconds(lambda: trace_values(spans)),
        "signal_microseconds_per_span": seconds(lambda: trace_identifiers(Timeline(bounded=True), spans)) / len(spans) * 1e6,
    }


class Collector:
    """Counts the CPU time of Python's garbage collector."""

    def __init__(self) -> None:
        self.seconds = self._start = 0.0

    def __call__(self, phase: str, _: Any) -> None:
        now = time.process_time()
        if phase == "start":
            self._start = now
        else:
            self.seconds += now - self._start


def growing(result_of: Results) -> list[dict[str, float]]:
    """The graph of traces of more and more spans."""
    found = []
    for turns in GROWING:
        spans = story(result_of, turns, SMALL)
        trace = Trace(spans)
        collector = Collector()
        gc.collect()
        gc.callbacks.append(collector)
        taken = seconds(lambda: analyze(trace), 1)  # noqa: B023
        gc.callbacks.remove(collector)
        each = {"seconds": taken, "microseconds_per_span": taken / len(spans) * 1e6}
        found.append({"spans": len(spans), **each, "collector_microseconds_per_span": collector.seconds / len(spans) * 1e6})
    return found


def main() -> None:
    options = report.parser(__doc__).parse_args()
    results = {name: measure(story(result_of)) for name, result_of in kinds(options.data)}
    head = ("results", "spans", "MB", "diagnose, s", "lineage, s", "signal, µs a span")
    body = [(name, *(f"{value:.4g}" for value in found.values())) for name, found in results.items()]
    growth = {name: growing(result_of) for name, result_of in (("records", records), ("prose", text))}
    rows = [(name, *(f"{value:.4g}" for value in found.values())) for name, each in growth.items() for found in each]
    head_of_growth = ("results", "spans", "s", "µs a span", "of it collector")
    tables = [
        report.table("CPU time on one large trace", head, body),
        report.table("CPU time of the graph as traces grow", head_of_growth, rows),
    ]
    report.done({"large": results, "growing": growth}, tables, options.json)


if __name__ == "__main__":
    main()
