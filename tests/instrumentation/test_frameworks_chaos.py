"""Each hook on MCP, LangChain and openai-agents made to raise, one after the other: the program sees what it always sees."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from tests.instrumentation.hooks import Hits, Hook, _conforms, _silence, functions_of, patched_functions, replace  # noqa: F401 - fixtures

from llmtrace.instrumentation import langchain, openai_agents
from llmtrace.recorder import guard
from llmtrace.testing import capture

_WRAPPERS = {
    "mcp": {"_own_span", "model_dump"},
    "langchain": {"with_tool"},
    "openai_agents": set[str](),
}
"""What stands in for the library's own functions: these hold the guards."""

_MODULES = {
    "mcp": ("mcp", "_mcp_server", "_mcp_tools"),
    "langchain": ("langchain", "_langchain_messages"),
    "openai_agents": ("openai_agents",),
}


def _hooks(framework: str) -> list[Hook]:
    hooks = [
        hook
        for name in _MODULES[framework]
        for hook in functions_of(importlib.import_module(f"llmtrace.instrumentation.{name}"))
    ]
    guards = _WRAPPERS[framework]
    return [
        (owner, name)
        for owner, name in hooks
        if name not in guards and not (inspect.isclass(owner) and (name.startswith("on_") or owner.__name__ in guards))
    ]


def _mcp() -> Callable[[], Any]:
    pytest.importorskip("mcp")
    import test_mcp

    return lambda: test_mcp.run(test_mcp._all_there_is)


def _langchain() -> Callable[[], Any]:
    pytest.importorskip("langchain")
    import test_langchain as scenarios

    async def some() -> Any:
        question, config = {"messages": [("user", "Where is order 7?")]}, {"configurable": {"thread_id": "T"}}
        desk = scenarios.asking()
        seen = [
            scenarios.shop().invoke(question),
            [chunk async for chunk in scenarios.shop("Hi there.").astream(question, stream_mode="messages")],
            [chunk.content for chunk in scenarios.says("a b").stream("x")],
            await scenarios.Shelf().ainvoke("x"),
            desk.invoke({"seen": []}, config),
            desk.invoke(scenarios.Command(resume="yes"), config),
        ]
        return scenarios.without_ids(seen)

    return lambda: asyncio.run(some())


def _openai_agents() -> Callable[[], Any]:
    pytest.importorskip("agents")
    import test_openai_agents as scenarios

    scenarios.agents.set_trace_processors([])
    server = scenarios.AgentsServer(scenarios.once).__enter__()

    async def some() -> Any:
        return [await scenarios.run(scenarios.Shop(server, "chat").agent(), way) for way in ("run", "run_streamed")]

    return lambda: asyncio.run(some())


OBSERVE = {"mcp": _mcp, "langchain": _langchain, "openai_agents": _openai_agents}
"""By framework: makes what runs a program and returns what it sees."""


@pytest.mark.parametrize("framework", OBSERVE)
@pytest.mark.guard_may_log
def test_a_hook_that_raises_changes_nothing(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, types, exceptions and streams are the same, whichever hook is broken: all that the program comes through."""
    observe = OBSERVE[framework]()
    with capture(instrument=()):
        plain = observe()
    hits: Hits = defaultdict(set)
    with capture(instrument=(framework,)), monkeypatch.context() as patched:
        replace(_hooks(framework), patched, hits)
        assert observe() == plain
    wrong = []
    for owner, name in sorted(hits, key=str):
        monkeypatch.setattr(guard, "_reported", set())
        with capture(instrument=(framework,)), monkeypatch.context() as broken:
            replace([(owner, name)], broken)
            try:
                same = observe() == plain
            except Exception as error:
                same, name = False, f"{name}: {error!r}"
        langchain._runs.clear()  # a broken hook may leave them
        openai_agents._attached.clear()
        if not same:
            wrong.append(name)
    assert wrong == []
    assert len(hits) > 10


@pytest.mark.parametrize("framework", OBSERVE)
def test_everything_is_taken_off_again(framework: str) -> None:
    """What was wrapped is the very object that it was."""
    OBSERVE[framework]()
    before = patched_functions(framework)
    with capture(instrument=(framework,)):
        during = patched_functions(framework)
        assert all(during[place][0] != before[place][0] for place in before)
    assert patched_functions(framework) == before
