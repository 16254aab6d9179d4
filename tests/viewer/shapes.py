"""Traces of extreme shapes, at sizes that were seen in real programs. Each is a list of spans; the root comes first."""

from __future__ import annotations

from collections.abc import Callable

from llmtrace.model import AgentInvocation, Failure, Span, ToolCall, ToolExecution, Workflow, replace
from tests.cli.traces import Maker, answers, asks, chat, told, user

TRACE = "d" * 32
START = 1_780_000_000_000_000_000


def flat(calls: int = 10_000) -> list[Span]:
    """One agent that calls one tool with different arguments each time. One call in the middle raises."""
    maker = Maker(TRACE, START)
    spans = [
        maker.span(number, 1, "execute_tool fetch", ToolExecution("fetch", {"page": number}, f"page {number}", True))
        for number in range(2, calls + 2)
    ]
    middle = calls // 2
    failed = ToolExecution("fetch", {"page": middle + 2})
    spans[middle] = replace(spans[middle], operation=failed, failure=Failure("TimeoutError", "no answer after 10 s"))
    return [_around(maker, spans), *spans]


def deep(levels: int = 800) -> list[Span]:
    """Agents that each call the next one."""
    maker = Maker(TRACE, START)
    spans = [
        maker.span(number, number - 1, f"invoke_agent level {number}", AgentInvocation(f"level {number}"))
        for number in range(2, levels + 1)
    ]
    return [_around(maker, spans), *spans]


def history(turns: int = 150) -> list[Span]:
    """A conversation whose every call repeats all earlier messages, with results of 6 KB."""
    maker, messages, spans = Maker(TRACE, START), [user("Read all the chapters and sum them up.")], list[Span]()
    for turn in range(turns):
        call, result = ToolCall("read", {"chapter": turn}, f"call_{turn}"), f"Chapter {turn}. " + "Some words. " * 500
        spans.append(maker.span(2 * turn + 2, 1, "chat m", chat(messages, asks(call), model="m")))
        executed = ToolExecution("read", call.arguments, result, True, call.id)
        spans.append(maker.span(2 * turn + 3, 1, "execute_tool read", executed))
        messages = [*messages, asks(call), told(call.id or "", result)]
    spans.append(maker.span(2 * turns + 2, 1, "chat m", chat(messages, answers("It ends well."), model="m")))
    return [_around(maker, spans), *spans]


def parallel(agents: int = 500, calls: int = 10) -> list[Span]:
    """Agents that run side by side, with different calls of one tool each."""
    maker, spans = Maker(TRACE, START), list[Span]()
    for agent in range(agents):
        first = agent * (calls + 1) + 2
        spans.append(maker.span(first, 1, f"invoke_agent worker {agent}", AgentInvocation(f"worker {agent}"), took=100))
        for call in range(calls):
            executed = ToolExecution("look_up", {"part": f"{agent}-{call}"}, {"stock": call}, True)
            spans.append(maker.span(first + call + 1, first, "execute_tool look_up", executed))
    return [_around(maker, spans), *spans]


def huge(rows: int = 60_000) -> list[Span]:
    """One call whose result is a table of this many rows."""
    maker = Maker(TRACE, START)
    table = [{"id": row, "name": f"customer {row}", "city": "Springfield"} for row in range(rows)]
    spans = [maker.span(2, 1, "execute_tool query", ToolExecution("query", {"table": "customers"}, table, True))]
    return [_around(maker, spans), *spans]


def _around(maker: Maker, spans: list[Span]) -> Span:
    root = maker.span(1, None, "invoke_workflow shape", Workflow("shape", (user("Do it."),), (answers("Done."),)))
    return replace(root, end=max(span.end or 0 for span in spans))


SHAPES: dict[str, Callable[[], list[Span]]] = {
    "flat": flat,
    "deep": deep,
    "history": history,
    "parallel": parallel,
    "huge": huge,
}
