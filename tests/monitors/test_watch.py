"""The watch: keys, causes, and the same again from the same spans."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, given, settings

from llmtrace import monitors
from llmtrace.model import Evaluation, Fingerprint, Span, Trace
from llmtrace.monitors import Observation, Watch, baselines, load, pinned, reports
from tests.monitors.streams import Shelf, asks, chat, lengths, run_of, tool, watched
from tests.strategies import spans

APART = ("response_length", "token_latency")
"""Monitors that follow turns that answer and turns that ask for tools apart."""


def named(found: Iterable[tuple[int, Evaluation]], name: str) -> list[tuple[int, Evaluation]]:
    return [(run, one) for run, one in found if one.name == f"drift.{name}"]


def test_the_cause_is_named_first() -> None:
    """A model that answers in the place of another is named before what changed with it, on the call that shows it."""
    old = [run_of(n, chat(tokens)) for n, tokens in enumerate(lengths(1, 300))]
    new = [run_of(n, chat(tokens, model="m-2")) for n, tokens in enumerate(lengths(2, 60, 0.3), 300)]
    ((run, found),) = named(watched([*old, *new]), "response_length")
    assert 300 <= run < 325
    assert (found.label, found.severity, found.derived) == ("model", "warning", True)
    assert found.explanation.startswith("model changed m-1 -> m-2 at 2026-")
    assert "; response length fell 6" in found.explanation
    assert "against 300 before" in found.explanation


@pytest.mark.parametrize(("kind", "noun"), [("answers", "response length"), ("calls", "length of tool calls")])
def test_answers_and_tool_calls_are_told_apart(kind: str, noun: str) -> None:
    """An agent whose turns half ask for a tool and half answer: what changes one kind of them is found as soon as in an agent
    that does nothing else, and said of that kind alone."""

    def run(number: int, tokens: int, model: str) -> Trace:
        called, answered = (20, tokens) if kind == "answers" else (tokens, 1000)
        return run_of(number, asks(called, model=model), chat(answered, model=model))

    traces = [run(n, tokens, "m-1") for n, tokens in enumerate(lengths(1, 150))]
    traces += [run(n, tokens, "m-2") for n, tokens in enumerate(lengths(2, 30, 0.3), 150)]
    ((at, found),) = named(watched(traces), "response_length")
    assert 150 <= at < 160
    assert found.label == "model"
    assert re.search(
        rf"^model changed m-1 -> m-2 at .* UTC; {noun} fell [5-7]\d % .* against 1[45]\d before$", found.explanation
    )


def test_every_stream_of_a_key_is_told_what_changed() -> None:
    """A model that is replaced between two turns of a run is looked out for in the next turn of each kind, not only in the
    one that showed it first."""

    def saved(shelf: Shelf) -> dict[str, float]:
        (state,) = [state for state in shelf.held.values() if "key" in state]
        return {name: stream["saved"] for name, stream in state["streams"].items() if name.startswith("response_length")}

    shelf = Shelf()
    list(watched((run_of(n, asks(20), chat(tokens)) for n, tokens in enumerate(lengths(1, 40))), shelf))
    assert saved(shelf) == {"response_length:tool_calls:tokens": 4.0, "response_length::tokens": 4.0}
    list(watched([run_of(40, asks(20, model="m-2"))], shelf))
    assert saved(shelf) == {"response_length:tool_calls:tokens": 0.0, "response_length::tokens": 4.0}
    list(watched([run_of(41, chat(200, model="m-2"))], shelf))
    assert saved(shelf) == {"response_length:tool_calls:tokens": 0.0, "response_length::tokens": 0.0}
    list(watched([run_of(42, asks(20, model="m-2"), chat(200, model="m-2"))], shelf))
    assert saved(shelf) == {"response_length:tool_calls:tokens": 0.2, "response_length::tokens": 0.2}


def test_each_cause_is_told_apart() -> None:
    """Prompt, tools, parameters, fingerprint, libraries; and nothing, where nothing that is recorded changed."""
    one, other = "aa" * 8, "cc" * 8
    changes = {
        "prompt": {"fingerprint": Fingerprint(other, None, "bb" * 8)},
        "tools": {"fingerprint": Fingerprint(one, other, "bb" * 8)},
        "parameters": {"fingerprint": Fingerprint(one, None, other)},
        "requested_model": {"request_model": "large"},
        "system_fingerprint": {"system_fingerprint": "fp_2"},
        "unexplained": {},
    }
    before = {"system_fingerprint": "fp_1", "fingerprint": Fingerprint(one, "dd" * 8, "bb" * 8)}
    for cause, change in changes.items():
        if cause == "tools":
            change = {"fingerprint": Fingerprint(one, other, "bb" * 8)}
        traces = [run_of(n, chat(tokens, **before)) for n, tokens in enumerate(lengths(1, 150))]
        after = {name: held for name, held in before.items() if cause in ("unexplained", "system_fingerprint")} | change
        if "fingerprint" in after and cause != "tools" and cause != "unexplained":
            after["fingerprint"] = Fingerprint(after["fingerprint"].system, "dd" * 8, after["fingerprint"].parameters)  # type: ignore[attr-defined]
        if cause == "requested_model":
            after = before | change
        traces += [run_of(n, chat(tokens, **(before | after))) for n, tokens in enumerate(lengths(2, 60, 3.0), 150)]
        found = named(watched(traces), "response_length")
        assert [one.label for _, one in found] == [cause], cause
    resource = {"service.name": "shop", "llmtrace.libraries": ["openai 2.1"]}
    traces = [run_of(n, chat(tokens), resource=resource) for n, tokens in enumerate(lengths(1, 150))]
    resource = {"service.name": "shop", "llmtrace.libraries": ["openai 3.0"]}
    traces += [run_of(n, chat(tokens), resource=resource) for n, tokens in enumerate(lengths(2, 60, 3.0), 150)]
    ((_, found_one),) = named(watched(traces), "response_length")
    assert found_one.explanation.startswith("library version changed openai 2.1 -> openai 3.0")


def test_the_same_spans_give_the_same() -> None:
    """Two watches, and one that is written down and read again after every ten traces, find the same and leave the same."""
    traces = [run_of(n, chat(tokens), tool({"n": tokens})) for n, tokens in enumerate(lengths(1, 120))]
    traces += [run_of(n, chat(tokens, model="m-2"), tool([tokens])) for n, tokens in enumerate(lengths(2, 60, 4.0), 120)]
    one, other, parts = Shelf(), Shelf(), Shelf()
    found = list(watched(traces, one))
    assert found == list(watched(traces, other))
    stepwise = []
    for at in range(0, len(traces), 10):
        stepwise += list(watched(traces[at : at + 10], parts))
        parts.held = json.loads(json.dumps(parts.held))
    assert found == stepwise
    assert one.held == other.held == parts.held
    assert {each.name for _, each in found} >= {"drift.response_length", "drift.tool_results"}


def test_prompts_that_are_new_each_time_are_one_key() -> None:
    """A prompt with the date in it has a fingerprint of its own in every call: it is left out of the key."""
    shelf = Shelf()
    list(watched((run_of(n, chat(50, fingerprint=Fingerprint(f"{n:016x}"))) for n in range(60)), shelf))
    calls = {state["key"][3]: state["calls"] for state in shelf.held.values() if "key" in state}
    assert calls["varies"] == 60 - 12


def test_not_enough_data_is_said() -> None:
    """With how many calls are missing; with enough, how large a change would be seen, and what a fifth would need."""
    shelf = Shelf()
    list(watched((run_of(n, chat(tokens)) for n, tokens in enumerate(lengths(1, 8))), shelf))
    (report,) = [one for one in reports(shelf.held.values()) if one.monitor == "response_length"]
    assert (report.calls, report.missing, report.visible) == (8, 12, None)
    list(watched((run_of(n, chat(tokens)) for n, tokens in enumerate(lengths(2, 92), 8)), shelf))
    (report,) = [one for one in reports(shelf.held.values()) if one.monitor == "response_length"]
    assert report.missing == 0
    assert report.visible is not None
    assert 1.2 < report.visible < 1.6
    assert report.needed is not None
    assert 150 < report.needed < 400


def test_calls_of_few_runs_are_not_enough_data() -> None:
    """However many calls there are: five runs it takes, and as many make a baseline to pin."""
    shelf = Shelf()
    list(watched((run_of(n, *map(chat, lengths(n, 10))) for n in range(3)), shelf))
    (report,) = [one for one in reports(shelf.held.values()) if one.monitor == "response_length"]
    assert (report.calls, report.missing, report.missing_runs) == (30, 0, 2)
    assert baselines(shelf.held.values()) == {}
    list(watched((run_of(n, *map(chat, lengths(n, 10))) for n in range(3, 5)), shelf))
    (report,) = [one for one in reports(shelf.held.values()) if one.monitor == "response_length"]
    assert (report.missing, report.missing_runs) == (0, 0)
    assert len(baselines(shelf.held.values())) == 1


@pytest.mark.parametrize("known", [0, 8], ids=["nothing known", "some calls known"])
def test_a_shipped_baseline_says_what_it_was_learned_with(known: int) -> None:
    """So a model that was replaced before the first call there is named as the cause."""
    source = Shelf()
    list(watched((run_of(n, chat(tokens)) for n, tokens in enumerate(lengths(2, 80))), source))
    pins = json.loads(json.dumps(baselines(source.held.values())))
    target = Shelf()
    list(watched((run_of(n, chat(tokens, model="m-2")) for n, tokens in enumerate(lengths(4, known, 0.1))), target))
    for name, state in target.held.items():
        if "key" in state:
            target.held[name] = pinned(state, pins[name])
    later = (run_of(known + n, chat(tokens, model="m-2")) for n, tokens in enumerate(lengths(3, 20, 0.1)))
    watch = Watch(load(), target, pins)
    found = [one for trace in later for _, one in watch.step(trace, lambda _: True) if one.name == "drift.response_length"]
    assert [one.label for one in found] == ["model"]
    assert found[0].explanation.startswith("model changed m-1 -> m-2 at ")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spans())
def test_a_monitor_takes_any_span(span: Span) -> None:
    """It raises nothing, gives the same twice, and is called as its file."""
    for monitor in load():
        assert monitor.name in {module.name for module in monitors.pkgutil.iter_modules(monitors.__path__)}
        seen = list(monitor.observe(span))
        assert repr(seen) == repr(list(monitor.observe(span)))
        assert all(one.kind in ("number", "share", "shape") for one in seen)
    for _ in Watch(load(), Shelf()).step(Trace([span]), lambda _: True):
        pass


@pytest.mark.guard_may_log
def test_a_monitor_that_fails_costs_its_own_findings() -> None:
    """And those of the others are there."""

    class Broken:
        name = "broken"

        def observe(self, span: Span) -> Iterable[Observation]:
            raise RuntimeError(span.name)

    shelf = Shelf()
    watch = Watch([Broken(), *(monitor for monitor in load() if monitor.name == "response_length")], shelf)
    list(watch.step(run_of(1, chat(10)), lambda _: True))
    watch.save()
    assert [one.monitor for one in reports(shelf.held.values())] == ["response_length"]
