"""Each hook of ours made to raise, one after the other: the program's results are the same and nothing reaches it."""

from __future__ import annotations

import contextvars
import importlib
from collections import defaultdict
from typing import Any

import pytest
from openai_scenarios import SCENARIOS
from tests.instrumentation.hooks import Hits, Hook, _conforms, _silence, functions_of, replace, steps_through  # noqa: F401 - fixtures

from llmtrace.instrumentation import _cache, _openai_endpoint
from llmtrace.recorder import collected, guard
from llmtrace.testing import capture

_MODULES = (
    "llmtrace.instrumentation._failures",
    "llmtrace.instrumentation._cache",
    "llmtrace.instrumentation._openai_chat",
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
    "llmtrace.recorder.stepping",
    "llmtrace.evaluation",
    "llmtrace.content",
    "llmtrace.codec.genai",
)

_GUARDS = {
    "traced",
    "traced_async",
    "_awaited",
    "step",
    "_step_restoring",
    "stepwise",
    "first_step",
    "named_like",
    "pump",
    "apump",
    "closing",
    "aclosing",
    "_closed",
    "count_attempt",
    "note_answer",
}
"""What stands in for the program's own functions and hands its results through: these hold the guards."""

_NOT_HOOKS = {"patches", "both", "activate", "end_open", "close_unused", "is_held_elsewhere", *_GUARDS}
"""Guards, what is not called within a call, and what closes a coroutine that is never awaited, of which else Python warns."""


HOOKS = [hook for name in _MODULES for hook in functions_of(importlib.import_module(name)) if hook[1] not in _NOT_HOOKS]
"""Every function and method that is defined in these modules: (where it stands, its name)."""


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    """What a program sees without llmtrace."""
    return {name: SCENARIOS.observe(name, details=False) for name in SCENARIOS}


@pytest.fixture(scope="module")
def hits_by_scenario(plain: dict[str, Any]) -> dict[str, Hits]:
    """How each scenario comes through the hooks."""
    hits: Hits = defaultdict(set)
    hits_by_scenario: dict[str, Hits] = {}
    with pytest.MonkeyPatch.context() as monkeypatch, capture(instrument=("openai",)):
        replace(HOOKS, monkeypatch, hits)
        for scenario, seen in plain.items():
            with pytest.MonkeyPatch.context() as once:
                _forget(once)
                assert contextvars.copy_context().run(SCENARIOS.observe, scenario, details=False) == seen
            hits_by_scenario[scenario] = hits.copy()
            hits.clear()
        collected.settle()
    return hits_by_scenario


@pytest.mark.parametrize(("owner", "name"), HOOKS, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.guard_may_log
def test_a_hook_that_raises_changes_nothing(
    plain: dict[str, Any], hits_by_scenario: dict[str, Hits], owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values, types, exceptions, streams and requests are the same, whichever hook is broken: in each scenario that comes
    through it in a way of its own, and in one after that."""
    _forget(monkeypatch)
    scenarios = steps_through((owner, name), hits_by_scenario)
    with capture(instrument=("openai",)):
        replace([(owner, name)], monkeypatch)
        for scenario in (*scenarios, next(iter(SCENARIOS))):
            # in a context of its own, since a hook that should have left the context may be the broken one
            seen = contextvars.copy_context().run(SCENARIOS.observe, scenario, details=False)
            assert seen == plain[scenario], f"{scenario}, with {name} broken"
        collected.settle()
        monkeypatch.undo()


def test_most_hooks_were_really_hit(hits_by_scenario: dict[str, Hits]) -> None:
    """The table of scenarios goes through nearly all code of the instrumentor."""
    hit = set[Hook]().union(*hits_by_scenario.values())
    missed = {
        f"{owner.__name__}.{name}"
        for owner, name in set(HOOKS) - hit
        if (getattr(owner, "__module__", None) or owner.__name__).startswith("llmtrace.instrumentation")
    }
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
        "_so_far",
        "_close",
        "_length",
        "arguments",
        "details",
        "_without_nulls",
    }  # not on the way of this library, or only under a budget
    assert {
        name
        for name in missed
        if name.rpartition(".")[2] not in in_a_table | for_others
        and not name.startswith(("Endpoint.", "Reader.", "Embeddings.", "Outgoing.", "Meter."))
    } == set()


def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin as a program does: nothing was reported, read or seen yet."""
    monkeypatch.setattr(guard, "_reported", set())
    monkeypatch.setattr(_cache, "_tools", {})
    monkeypatch.setattr(_cache, "_messages", {})
    _openai_endpoint.by_class.cache_clear()
    _openai_endpoint.by_host.cache_clear()
