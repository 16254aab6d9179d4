"""Streams of calls to follow: model calls of a given length and tool executions of a given result, each a run of its own."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from typing import Any

from llmtrace.model import (
    AgentInvocation,
    Evaluation,
    Fingerprint,
    Inference,
    Message,
    Span,
    Text,
    ToolCall,
    ToolExecution,
    Trace,
    Usage,
)
from llmtrace.monitors import Watch, load
from llmtrace.monitors._number_stream import Numbers
from llmtrace.monitors._stream import At, Shift

SECOND = 1_000_000_000
BEGAN = 1_790_000_000 * SECOND


class Shelf:
    """A shelf in memory."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}

    def get(self, name: str) -> dict[str, Any] | None:
        return self.held.get(name)

    def put(self, name: str, state: dict[str, Any], _: int) -> None:
        self.held[name] = state


def lengths(seed: int, count: int, factor: float = 1.0, spread: float = 0.4) -> list[int]:
    chance = random.Random(seed)
    return [max(1, round(math.exp(chance.gauss(math.log(200 * factor), spread)))) for _ in range(count)]


def chat(tokens: int, *, model: str = "m-1", text: str = "Done.", **more: Any) -> Inference:
    answer = (Message("assistant", (Text(text),)),)
    fields: dict[str, Any] = {"output": answer, "usage": Usage(100, tokens), "finish_reasons": ("stop",)}
    fields |= {"request_model": "m", "response_model": model, "fingerprint": Fingerprint("aa" * 8, None, "bb" * 8)}
    return Inference("openai", **(fields | more))


def asks(tokens: int, **more: Any) -> Inference:
    """A turn that asks for a tool."""
    called = (Message("assistant", (ToolCall("look_up", "{}", "call_1"),)),)
    return chat(tokens, **({"output": called, "finish_reasons": ("tool_call",)} | more))


def run_of(number: int, *operations: Any, agent: str = "support", **more: Any) -> Trace:
    """A run of an agent, the number-th of its hour; each operation takes a second."""
    start = BEGAN + number * 60 * SECOND
    trace_id = f"{number + 1:032x}"
    fields = {"run_id": trace_id, "resource": {"service.name": "shop"}} | more
    spans = [Span(trace_id, f"{1:016x}", agent, start, start + 50 * SECOND, operation=AgentInvocation(agent), **fields)]
    for place, operation in enumerate(operations, 2):
        began = start + place * SECOND
        span = Span(trace_id, f"{place:016x}", "step", began, began + SECOND, f"{1:016x}", operation=operation, **fields)
        spans.append(span)
    return Trace(spans)


def tool(result: Any, name: str = "look_up") -> ToolExecution:
    return ToolExecution(name, {}, result, True)


def watched(traces: Iterable[Trace], shelf: Shelf | None = None) -> Iterator[tuple[int, Evaluation]]:
    """What is found in traces, by number of the run that shows it."""
    shelf = Shelf() if shelf is None else shelf
    watch = Watch(load(), shelf)
    for trace in traces:
        for (trace_id, _), found in watch.step(trace, lambda _: True):
            yield int(trace_id, 16) - 1, found
    watch.save()


def followed(
    numbers: Iterable[float], *, run: int = 1, stream: Numbers | None = None, tie: int = 1
) -> Iterator[tuple[int, Shift]]:
    """The changes that one stream of numbers shows; ``run``: calls of a run."""
    stream = stream or Numbers()
    chance = random.Random(f"tie {tie}")
    for call, number in enumerate(numbers):
        found = stream.observe(number, chance.random(), At(call, call, call // run, call // run))
        if found is not None:
            yield call, found
