"""Each hook of ours made to raise, one after the other: the program's results are the same and nothing reaches it."""

from __future__ import annotations

import contextvars
import functools
import importlib
import inspect
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from openai_scenarios import NAMES, observe

from llmtrace.instrumentation import _cache, _openai_endpoint
from llmtrace.recorder import collected, guard
from llmtrace.testing import capture

_MODULES = (
    "llmtrace.instrumentation._failures",
    "llmtrace.instrumentation._cache",
    "llmtrace.instrumentation._openai_chat",
    "llmtrace.instrumentation._coroutines",
    "llmtrace.instrumentation._openai_chunks",
    "llmtrace.instrumentation._openai_messages",
    "llmtrace.instrumentation._openai_endpoint",
    "llmtrace.instrumentation._provider",
    "llmtrace.instrumentation._stainless",
    "llmtrace.instrumentation._streams",
    "llmtrace.recorder.current",
    "llmtrace.recorder.otel",
    "llmtrace.recorder.recorder",
    "llmtrace.recorder.recording",
    "llmtrace.recorder.run",
    "llmtrace.evaluation",
    "llmtrace.content",
    "llmtrace.codec.genai",
)

_GUARDS = {
    "traced",
    "traced_async",
    "_awaited",
    "stepwise",
    "pump",
    "_pump",
    "apump",
    "closing",
    "aclosing",
    "_closed",
    "count_attempt",
    "note_answer",
}
"""What stands in for the program's own functions and hands its results through: these hold the guards."""

_NOT_HOOKS = {"patches", "both", "activate", "end_open", *_GUARDS}
"""Guards, and what is not called within a call."""


def _hooks() -> Iterator[tuple[Any, str]]:
    """Every function and method that is defined in these modules: (where it stands, its name)."""
    for name in _MODULES:
        module = importlib.import_module(name)
        for member, thing in vars(module).items():
            if inspect.isfunction(thing) and thing.__module__ == name:
                yield module, member
            elif inspect.isclass(thing) and thing.__module__ == name and not issubclass(thing, Exception):
                for method, function in vars(thing).items():
                    if inspect.isfunction(function) and not method.startswith("__"):
                        yield thing, method


HOOKS = [(owner, name) for owner, name in _hooks() if name not in _NOT_HOOKS]


class Broken(Exception):
    """What a hook of ours raises here."""


@pytest.fixture(autouse=True)
def _conforms() -> None:
    """Here spans are broken on purpose. Overrides the fixture that holds them against the conventions."""


@pytest.fixture(autouse=True)
def _silence(caplog: pytest.LogCaptureFixture) -> None:
    """Here llmtrace does log: once for each place. Overrides the fixture that forbids it."""


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    """What a program sees without llmtrace."""
    return {name: observe(name, details=False) for name in NAMES}


@pytest.fixture(scope="module")
def passes(plain: dict[str, Any]) -> dict[str, set[tuple[Any, str]]]:
    """The hooks that each scenario comes through."""
    hooks_by_scenario: dict[str, set[tuple[Any, str]]] = {}
    with pytest.MonkeyPatch.context() as monkeypatch, capture(instrument=("openai",)):
        calls = {hook: _replace(*hook, monkeypatch, broken=False) for hook in HOOKS}
        for scenario, seen in plain.items():
            with pytest.MonkeyPatch.context() as once:
                _forget(once)
                assert contextvars.copy_context().run(observe, scenario, details=False) == seen
            hooks_by_scenario[scenario] = {hook for hook, called in calls.items() if called}
            for called in calls.values():
                called.clear()
        collected.settle()
    return hooks_by_scenario


@pytest.mark.parametrize(("owner", "name"), HOOKS, ids=lambda value: getattr(value, "__name__", value))
def test_a_hook_that_raises_changes_nothing(
    plain: dict[str, Any], passes: dict[str, set[tuple[Any, str]]], owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values, types, exceptions, streams and requests are the same, whichever hook is broken: in each scenario that comes
    through it, and in one after that."""
    _forget(monkeypatch)
    scenarios = [scenario for scenario in plain if (owner, name) in passes[scenario]]
    with capture(instrument=("openai",)):
        hit = _replace(owner, name, monkeypatch, broken=True)
        for scenario in (*scenarios, NAMES[0]):
            # in a context of its own, since a hook that should have left the context may be the broken one
            seen = contextvars.copy_context().run(observe, scenario, details=False)
            assert seen == plain[scenario], f"{scenario}, with {name} broken"
        collected.settle()
        monkeypatch.undo()
    assert bool(hit) == bool(scenarios)
    module = getattr(owner, "__module__", None) or owner.__name__
    _HIT[module, f"{owner.__name__}.{name}"] = bool(hit)


def test_most_hooks_were_really_hit() -> None:
    """The table of scenarios goes through nearly all code of the instrumentor. Runs after the test above."""
    if len(_HIT) < len(HOOKS):
        pytest.skip("needs all hooks in one process")
    missed = {name for (module, name), hit in _HIT.items() if module.startswith("llmtrace.instrumentation") and not hit}
    in_a_table = {"_text", "_file", "_thinking", "_media", "_input_audio"}
    for_others = {
        "see",
        "abandon",
        "current_call",
        "_suppress_official",
        "_is_next",
        "positional_names",
        "_read_names",
        "find_answer",
        "read_definitions",
        "read_edited",
        "whole_counts",
        "with_traced_options",
    }  # not on the way of this library
    assert {
        name
        for name in missed
        if name.rpartition(".")[2] not in in_a_table | for_others
        and not name.startswith(("Endpoint.", "Reader.", "Chunks.", "Outgoing."))
    } == set()


_HIT: dict[tuple[str, str], bool] = {}


def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin as a program does: nothing was reported, read or seen yet."""
    monkeypatch.setattr(guard, "_reported", set())
    monkeypatch.setattr(_cache, "_tools", {})
    monkeypatch.setattr(_cache, "_messages", {})
    _openai_endpoint._provider.cache_clear()


def _replace(owner: Any, name: str, monkeypatch: pytest.MonkeyPatch, *, broken: bool) -> list[int]:
    """Make one function tell of its calls, under every name by which it was imported, and raise if it is to be broken. Gives
    the list of its calls."""
    original = inspect.getattr_static(owner, name)
    function = original.__func__ if isinstance(original, (staticmethod, classmethod)) else original
    hit: list[int] = []

    @functools.wraps(function)
    def instead(*args: Any, **kwargs: Any) -> Any:
        hit.append(1)
        if broken:
            raise Broken(name)
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, staticmethod(instead) if isinstance(original, staticmethod) else instead)
    for path, module in list(sys.modules.items()):
        if path.startswith("llmtrace"):
            for alias, thing in list(vars(module).items()):
                if thing is function:
                    monkeypatch.setattr(module, alias, instead)
    return hit
