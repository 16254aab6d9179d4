"""Monitors in the store: each span once, whoever indexes; what they found stands on the span, what they learned stays."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from llmtrace import monitors
from llmtrace.errors import UnreadableStore
from llmtrace.model import Trace, replace
from llmtrace.monitors import baselines, reports
from llmtrace.store import monitoring, open_store
from llmtrace.store.late_evaluations import attach
from llmtrace.store.local import LocalStore
from tests.monitors.streams import chat, lengths, run_of, tool
from tests.store.programs import start


def before_and_after(before: int = 60, after: int = 20) -> list[Trace]:
    """Runs of an agent, whose model is replaced by one that says little; a tool's result loses a field at the same time."""
    order = {"id": 1, "total": 2}
    old = [run_of(n, chat(tokens), tool(order)) for n, tokens in enumerate(lengths(2, before))]
    new = enumerate(lengths(3, after, 0.1), before)
    return [*old, *(run_of(n, chat(tokens, model="m-2"), tool({"id": 1})) for n, tokens in new)]


def fill(folder: Path, traces: list[Trace]) -> LocalStore:
    store = LocalStore(folder, background=False)
    for trace in traces:
        for span in trace.spans:
            store.append(span)
    return store


def found(store: LocalStore, traces: list[Trace]) -> list[tuple[int, str, str, str | None]]:
    store.refresh()
    stored = ((number, store.trace(trace.trace_id)) for number, trace in enumerate(traces))
    return [
        (number, one.name, one.severity, one.label)
        for number, trace in stored
        for span in trace.spans
        for one in span.evaluations
        if one.derived
    ]


def test_what_is_found_stands_on_the_span_that_shows_it(tmp_path: Path) -> None:
    """Whoever reads the trace sees it, its summary names it, and it comes with the trace when that is copied elsewhere."""
    traces = before_and_after()
    store = fill(tmp_path / "store", traces)
    told = found(store, traces)
    length = next(one for one in told if one[1] == "drift.response_length")
    assert 60 <= length[0] < 70
    assert length[2:] == ("warning", "model")
    assert (60, "drift.tool_results", "info", "missing_field") not in told
    assert (60, "drift.tool_results", "warning", "missing_field") in told
    summaries = {one.trace_id: one.findings for one in store.traces()}
    assert summaries[traces[60].trace_id] == ("drift.tool_results",)
    assert "drift.response_length" in summaries[traces[length[0]].trace_id]
    copy = open_store(str(tmp_path / "copy.jsonl"))
    for span in store.trace(traces[60].trace_id).spans:
        copy.append(span)
    assert copy.trace("last") == store.trace(traces[60].trace_id)


def test_it_is_the_same_however_it_is_read(tmp_path: Path) -> None:
    """At once or little by little, by one reader after another; a span that arrives again, richer, counts once."""
    traces = before_and_after()
    whole = fill(tmp_path / "whole", traces)
    whole.traces()
    for at in range(0, len(traces), 7):
        parts = fill(tmp_path / "parts", traces[at : at + 7])
        parts.traces()
        parts.close()
    parts = LocalStore(tmp_path / "parts", background=False)
    for trace in traces[:5]:
        attach(parts, trace.trace_id, ())
        parts.append(replace(trace.spans[1], attributes={"more": "x" * 100}))
    assert found(parts, traces) == found(whole, traces)
    assert parts.monitor_states() == whole.monitor_states()


def test_several_processes_show_each_span_once(tmp_path: Path) -> None:
    """Two processes that index as fast as they can while a third writes: every call is counted, and none twice."""
    store = fill(tmp_path / "store", before_and_after()[:1])
    reading = "print('up', flush=True)\nwhile not (store.folder / 'done').exists(): store.traces()"
    readers = [start(reading, tmp_path / "store") for _ in range(2)]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "up\n"
    for trace in before_and_after()[1:]:
        for span in trace.spans:
            store.append(span)
    store.traces()
    (tmp_path / "store" / "done").touch()
    assert [reader.wait(60) for reader in readers] == [0, 0]
    calls = {tuple(state["key"]): state["calls"] for state in store.monitor_states()}
    assert sorted(calls.values()) == [80, 80]


def test_what_was_learned_outlives_the_traces(tmp_path: Path) -> None:
    """When the journal drops a file its traces go, and what monitors learned from them stays; a broken index learns anew."""
    store = fill(tmp_path / "store", before_and_after(40, 0))
    store.traces()
    store.close()
    for file in (tmp_path / "store" / "journal").iterdir():
        file.unlink()
    store = fill(tmp_path / "store", before_and_after(60, 0)[40:])
    assert len(store.traces()) == 20
    assert {state["calls"] for state in store.monitor_states()} == {60}
    store.close()
    (tmp_path / "store" / "index.db").write_bytes(b"no database" * 1000)
    assert {state["calls"] for state in LocalStore(tmp_path / "store", background=False).monitor_states()} == {20}


def test_a_long_trace_waits_for_a_call_without_a_limit(tmp_path: Path) -> None:
    """It keeps no other trace waiting, and is read again only for its findings; with no limit all are seen."""
    traces = before_and_after()
    long = run_of(len(traces), *(tool({"id": 1}) for _ in range(30)))
    store = fill(tmp_path / "store", [*traces, long])
    assert store.refresh(max_spans=20) == 1
    some = store.monitor_states()  # waits for all
    assert store.refresh(max_spans=20) == 0
    assert sum(state["calls"] for state in some) == sum(len(trace) - 1 for trace in [*traces, long])


def test_foreign_spans_wait_until_their_trace_is_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They arrive parents last and are judged late: a key made of half a trace would be another one."""
    shift = time.time_ns() - run_of(0).spans[0].start - 60 * 1_000_000_000
    spans = [replace(one, run_id=None, start=one.start + shift, end=(one.end or 0) + shift) for one in run_of(0, chat(9)).spans]
    monkeypatch.setattr(monitoring, "QUIET_SECONDS", 3600)
    store = LocalStore(tmp_path / "store", background=False)
    store.append(spans[1])
    assert store.monitor_states() == []
    store.append(spans[0])
    assert store.monitor_states() == []
    monkeypatch.setattr(monitoring, "QUIET_SECONDS", 0)
    assert [state["key"][:2] for state in store.monitor_states()] == [["support", "chat"]]
    assert [state["calls"] for state in store.monitor_states()] == [1]


def test_keys_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ones that were used least recently go."""
    monkeypatch.setattr(monitors, "MAX_KEYS", 10)
    store = fill(tmp_path / "store", [run_of(n, tool(n, f"tool_{n}")) for n in range(60)])
    assert [state["key"][4] for state in store.monitor_states()] == [f"tool_{n}" for n in range(59, 49, -1)]


def test_a_baseline_can_be_pinned_and_shipped(tmp_path: Path) -> None:
    """What one store learned is compared with in another from the first call on, and a change is known as one."""
    source = fill(tmp_path / "source", before_and_after(300, 0))
    pins = baselines(source.monitor_states())
    for name, runs in (("used", [run_of(900, chat(5))]), ("new", [])):
        target = LocalStore(tmp_path / name, background=False)
        fill(tmp_path / name, runs)
        target.pin({})
        target.pin(json.loads(json.dumps(pins)))
        assert target.pins() == pins
        assert len(target.traces()) == len(runs)
        after = [run_of(1000 + n, chat(tokens)) for n, tokens in enumerate(lengths(7, 15, 4.0))]
        fill(tmp_path / name, after)
        told = found(target, after)
        assert "drift.response_length" in {one[1] for one in told}
        target.pin({})
        assert not any(one.pinned for one in reports(target.monitor_states()))
        assert not (tmp_path / name / "baselines.json").exists()


def test_a_baseline_is_pinned_in_no_other_folder(tmp_path: Path) -> None:
    """A store is begun where there is nothing, by whoever alone may read it; a folder with other things stays as it is."""
    pins = baselines(fill(tmp_path / "source", before_and_after(30, 0)).monitor_states())
    LocalStore(tmp_path / "a" / "new", background=False).pin(pins)
    assert (tmp_path / "a" / "new").stat().st_mode & 0o777 == 0o700
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(UnreadableStore, match="is not an llmtrace store"):
        LocalStore(tmp_path / "other", background=False).pin(pins)
    with pytest.raises(UnreadableStore, match="cannot create a store"):
        LocalStore(tmp_path / "other" / "mine.txt" / "new", background=False).pin(pins)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["mine.txt"]


def test_a_file_that_is_no_baseline_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Damaged, of a newer version, of another kind: one line says so, and traces are read."""
    good = fill(tmp_path / "store", before_and_after(30, 0))
    good.pin(baselines(good.monitor_states()))
    path = tmp_path / "store" / "baselines.json"
    text = path.read_text()
    chance = random.Random(1)
    broken: list[Any] = ["", "[]", "{}", text.replace('"llmtrace_baselines": 2', '"llmtrace_baselines": 9'), text[:-20]]
    broken += [text.replace('"bins"', '"tins"', 1), "".join(chance.sample(text, 200))]
    for number, content in enumerate(broken):
        caplog.clear()
        path.write_text(content)
        fill(tmp_path / "store", [run_of(500 + number, chat(5))])
        assert len(good.traces()) == 31 + number
        assert good.pins() == {}
    shutil.rmtree(tmp_path / "store")
