"""Each hook of a provider's file made to raise, one after the other: the program sees the same and nothing reaches it.

The engine's own hooks are broken likewise in `test_chaos`.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import inspect
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Iterator
from types import ModuleType
from typing import Any

import pytest
from kit import CALLS, Answer, Question, Reply
from server import Server
from tests.instrumentation.hooks import Hits, Hook, _conforms, _silence, functions_of, replace, steps_through  # noqa: F401 - fixtures
from way import Way, asking, see, settled

from llmtrace.instrumentation import _cache
from llmtrace.recorder import collected, guard
from llmtrace.testing import capture

ENGINE = {"_after_import", "_failures", "_cache", "_patches", "_provider", "_streams", "_traced_functions"}
"""Broken in `test_chaos`; the last stands in for functions and holds their guards."""

GUARDS = {
    *("patches", "traced_generator", "watch_generator", "followed", "_step", "_stepped"),
    *("returned", "raised", "thrown", "_closed"),
}
"""Of what several providers share: what stands in for the library's own functions, and holds the guards."""


def modules(name: str) -> list[ModuleType]:
    """The provider's file and those that it is made of, and so on; the engine apart."""
    provider_module = importlib.import_module(f"llmtrace.instrumentation.{name}")
    modules_by_name, waiting = {provider_module.__name__: provider_module}, [provider_module]
    while waiting:
        for part in _parts(waiting.pop()) - modules_by_name.keys():
            modules_by_name[part] = importlib.import_module(part)
            waiting.append(modules_by_name[part])
    return [modules_by_name[part] for part in sorted(modules_by_name)]


def _parts(module: ModuleType) -> set[str]:
    """The files of ours of which a module holds something."""
    used = {thing.__name__ for thing in vars(module).values() if inspect.ismodule(thing)}
    for thing in vars(module).values():
        used |= {
            str(getattr(value, "__module__", "")) for value in (inspect.getmro(thing) if inspect.isclass(thing) else (thing,))
        }
    return {part for part in used if part.startswith("llmtrace.instrumentation._") and part.rpartition(".")[2] not in ENGINE}


def hooks(way: Way) -> Iterator[Hook]:
    """Every function and method that is defined there: (where it stands, its name).

    Left out is what stands in for the library's own functions (``wrapped`` is its first argument, or the kit names it).
    """
    for module in modules(way.kit.name):
        for owner, name in functions_of(module):
            if not _stands_in(way, getattr(owner, name)):
                yield owner, name


def _stands_in(way: Way, function: Any) -> bool:
    parameters = list(inspect.signature(function).parameters)
    return parameters[:1] == ["wrapped"] or function.__name__ in {*GUARDS, *way.kit.guards}


async def _left_early(way: Way, client: Any) -> Any:
    stream = await way.open(client)
    seen = [way.kit.seen(chunk) for chunk in await way.read(stream, 2)]
    close = getattr(stream, "aclose" if way.asynchronous else "close", None) or getattr(stream, "close", None)
    await settled(close() if close is not None else None)
    return seen


_refused = asking()
STEPS: dict[Any, Callable[[Any], Reply]] = {
    asking(): lambda kit: kit.whole(Answer()),
    asking(Question(tools=True)): lambda kit: kit.whole(CALLS),
    asking(stream=True): lambda kit: kit.streamed(Answer()),
    asking(Question(tools=True), stream=True): lambda kit: kit.streamed(CALLS),
    _left_early: lambda kit: kit.streamed(Answer()),
    _refused: lambda kit: kit.error(400),
}
"""Everything that the program does, and what it is answered."""


@pytest.mark.guard_may_log
def test_a_hook_that_raises_changes_nothing(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, chunks and exceptions are the same, whichever hook is broken: in each step that comes through it in a way of its
    own, and in one after that."""
    kit = way.kit
    with Server(kit.whole(Answer())) as server:

        async def program(client: Any, steps: Iterable[Any], done: Callable[[Any], None] = lambda step: None) -> dict[Any, Any]:
            seen = {}
            for step in steps:
                server.restart(STEPS[step](kit))
                try:
                    seen[step] = await step(way, client)
                except Exception as raised:
                    seen[step] = see(raised)
                done(step)
            return seen

        async def run(client: Any, hooks: Iterable[Hook], hits: Hits | None, *program_arguments: Any) -> dict[Any, Any]:
            monkeypatch.setattr(guard, "_reported", set())
            monkeypatch.setattr(_cache, "_tools", {})
            monkeypatch.setattr(_cache, "_messages", {})
            with capture(instrument=(kit.name,)), monkeypatch.context() as patched:
                replace(hooks, patched, hits)
                # in a context of its own, since a hook that should have left the context may be the broken one
                return await _apart(way, program(client, *program_arguments))

        async def main() -> set[str]:
            client = kit.client(server.url, asynchronous=way.asynchronous)
            expected = await program(client, STEPS)
            hits: Hits = defaultdict(set)
            hits_by_step: dict[Any, Hits] = {}

            def note_hits(step: Any) -> None:
                hits_by_step[step] = hits.copy()
                hits.clear()

            assert await run(client, hooks(way), hits, STEPS, note_hits) == expected
            for hook in sorted(set[Hook]().union(*hits_by_step.values()), key=str):
                steps = dict.fromkeys([*steps_through(hook, hits_by_step), _refused])
                assert await run(client, [hook], None, steps) == {step: expected[step] for step in steps}, hook
            await settled(kit.close(client))
            return {name for found in hits_by_step.values() for _, name in found}

        assert way.run(main()) >= {"start_attributes", "answer"}
    collected.settle()


async def _apart(way: Way, coroutine: Coroutine[Any, Any, Any]) -> Any:
    if way.asynchronous:
        return await asyncio.create_task(coroutine)  # a task has a copy of the context
    return contextvars.copy_context().run(way.run, coroutine)
