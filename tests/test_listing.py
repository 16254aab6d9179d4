"""Lists of traces: what is suspected is computed once, a filter reads few rows, conversations are whole."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmtrace import diagnosis, list_verdicts, listing
from llmtrace.errors import UnreadableStore
from llmtrace.list_verdicts import PENDING, Verdicts
from llmtrace.model import Custom, Evaluation, replace
from llmtrace.store import Query, Store, filters, indexing, open_store, sqlite
from llmtrace.store.kept_verdicts import KeptVerdicts
from llmtrace.store.late_evaluations import attach
from llmtrace.store.local import LocalStore
from tests.cli.traces import RECOVERED, SILENT, recovered, silent
from tests.store.spans import agent, inference, span, trace_id


@pytest.fixture
def diagnosed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the traces that were diagnosed."""
    ids: list[str] = []
    diagnose = diagnosis.diagnose
    monkeypatch.setattr(diagnosis, "diagnose", lambda trace: ids.append(trace.trace_id) or diagnose(trace))
    return ids


def filled(url: str) -> Store:
    store = open_store(url)
    for one in (*recovered(), *silent()):
        store.append(one)
    return store


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_traces_by_confidence(tmp_path: Path, kind: str) -> None:
    """Of the first suspect, the one that `why` names."""
    store = filled(str(tmp_path / "store") if kind == "local" else "memory:")
    for confidence, ids in (("likely", [SILENT]), ("certain", [])):
        found, undiagnosed = listing.find(store, Query(confidence=confidence))
        assert ([trace.trace_id for trace in found], undiagnosed) == (ids, 0)
    titles = [verdict.title for verdict in Verdicts(store).get(store.traces())]
    assert titles == ["look_up was called with a made-up /order_id", ""]


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_traces_by_health(tmp_path: Path, kind: str) -> None:
    """By the word that a list shows: a trace that only the diagnosis marks is suspect, and neither ok nor recovered.

    Bad feedback makes a trace failed. The order by health, of a trace that was diagnosed, is by the same word.
    """
    store = filled(str(tmp_path / "store") if kind == "local" else "memory:")
    assert [trace.health for trace in store.traces()] == ["ok", "recovered"]

    def found(health: str) -> list[str]:
        return [trace.trace_id for trace in listing.find(store, Query(health=health))[0]]

    assert (found("ok"), found("recovered")) == ([], [RECOVERED])
    assert (found("suspect"), found("failed")) == ([SILENT], [])
    traces = store.traces()
    assert [trace.health for trace in listing.with_health(traces, Verdicts(store).get(traces))] == ["suspect", "recovered"]
    if kind == "local":
        assert [trace.trace_id for trace in store.traces(Query(sort="health"))] == [SILENT, RECOVERED]
        attach(store, RECOVERED, [Evaluation("feedback", "warning", "a person found it bad", "bad", source="human")])
        assert (found("recovered"), found("failed"), found("suspect")) == ([], [RECOVERED], [SILENT])


def test_a_trace_that_is_found_by_health_is_not_searched_again(tmp_path: Path, diagnosed: list[str]) -> None:
    store = filled(str(tmp_path / "store"))
    for _ in range(3):
        assert len(listing.find(store, Query(health="suspect"))[0]) == 1
        assert listing.find(store, Query(health="ok"))[0] == []
    assert sorted(diagnosed) == sorted([SILENT, RECOVERED])


def test_a_trace_is_diagnosed_once_until_one_of_its_spans_changes(tmp_path: Path, diagnosed: list[str]) -> None:
    """By a list or by a filter, in any process; a late evaluation makes it new, and so does other code."""
    store = filled(str(tmp_path / "store"))
    first = Verdicts(store).get(store.traces())
    assert diagnosed == [SILENT, RECOVERED]
    assert Verdicts(open_store(str(tmp_path / "store"))).get(store.traces()) == first
    assert len(listing.find(store, Query(confidence="likely"))[0]) == 1
    assert len(diagnosed) == 2
    attach(store, RECOVERED, [Evaluation("feedback", "warning", "a person found it bad", "bad", source="human")])
    Verdicts(store).get(store.traces())
    assert diagnosed[2:] == [RECOVERED]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_verdicts, "code_version", lambda: "another")
        verdicts = Verdicts(store)
        assert listing.find(store, Query(confidence="likely"), verdicts, seconds=0)[1] == 2
        assert len(listing.find(store, Query(confidence="likely"), verdicts)[0]) == 1
    assert len(diagnosed) == 5


def test_monitors_that_find_nothing_leave_the_verdict(
    tmp_path: Path, diagnosed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may see a trace long after it was diagnosed."""
    monkeypatch.setattr(indexing, "_FEW", -1)  # a list does not wait for them
    store = filled(str(tmp_path / "store"))
    assert isinstance(store, LocalStore)
    first = Verdicts(store).get(store.traces())
    assert store.with_index(lambda indexer, db: indexer.unseen(db), 0) == 2
    assert store.refresh() == 0
    assert Verdicts(store).get(store.traces()) == first
    assert len(diagnosed) == 2


LONG = "c" * 32


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Until it is set, the diagnosis of the trace `LONG` does not end."""
    event, diagnose = threading.Event(), diagnosis.diagnose
    monkeypatch.setattr(diagnosis, "diagnose", lambda trace: (trace.trace_id != LONG or event.wait(60)) and diagnose(trace))
    yield event
    event.set()


def with_long(url: str) -> Store:
    """The newest trace has 401 spans; its last call was made up."""
    store = filled(url)
    root, *steps = silent()
    fillers = [replace(steps[0], span_id=f"{number:016x}", operation=Custom(), evaluations=()) for number in range(100, 497)]
    for one in (root, *fillers, *steps):
        store.append(replace(one, trace_id=LONG, start=one.start + 10**9, end=(one.end or 0) + 10**9))
    return store


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_long_traces_are_diagnosed_last_and_in_the_background(tmp_path: Path, kind: str, release: threading.Event) -> None:
    """A list is answered in time without their verdicts; a later one has them, and so has another process."""
    store = with_long(str(tmp_path / "store") if kind == "local" else "memory:")
    verdicts, traces = Verdicts(store), store.traces()
    assert [trace.trace_id for trace in traces] == [LONG, SILENT, RECOVERED]
    while (judged := verdicts.get(traces, seconds=0.01))[1:].count(PENDING):
        assert judged[0] is PENDING
    assert [verdict.title for verdict in judged] == ["", "look_up was called with a made-up /order_id", ""]
    assert judged[0] is PENDING
    found, pending = listing.find(store, Query(confidence="likely"), verdicts, seconds=0)
    assert ([trace.trace_id for trace in found], pending) == ([SILENT], 1)
    release.set()
    assert PENDING not in verdicts.get(traces)
    found, pending = listing.find(store, Query(confidence="likely"), verdicts)
    assert ([trace.trace_id for trace in found], pending) == ([LONG, SILENT], 0)
    if kind == "local":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(diagnosis, "diagnose", None)
            assert Verdicts(open_store(str(tmp_path / "store"))).get(traces) == verdicts.get(traces)


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_a_long_trace_is_found_by_health_when_it_is_diagnosed(tmp_path: Path, kind: str, release: threading.Event) -> None:
    """Until then it has the health of its spans, and the list says that it may change; sessions do, too."""
    store = with_long(str(tmp_path / "store") if kind == "local" else "memory:")
    verdicts = Verdicts(store)

    def found(health: str, seconds: float) -> tuple[list[str], int]:
        traces, pending = listing.find(store, Query(health=health), verdicts, seconds=seconds)
        return [trace.trace_id for trace in traces], pending

    while (suspect := found("suspect", 0.01)) != ([SILENT], 1):
        assert suspect[1] > 0
    assert found("ok", 0.01) == ([LONG], 1)
    release.set()
    assert found("ok", 60) == ([], 0)
    assert found("suspect", 60) == ([LONG, SILENT], 0)
    assert found("recovered", 60) == ([RECOVERED], 0)


def test_a_filter_by_a_good_health_diagnoses_only_what_it_returns(tmp_path: Path, diagnosed: list[str]) -> None:
    """In a store of many runs, the newest that are ok are found without a verdict on each."""
    store = open_store(str(tmp_path / "store"))
    for number in range(50):
        store.append(span(number, operation=inference("question", "answer")))
    for one in silent():
        store.append(one)
    found, pending = listing.find(store, Query(limit=5, health="ok"))
    assert ([trace.health for trace in found], pending) == (["ok"] * 5, 0)
    assert len(diagnosed) <= 15


def test_the_health_of_a_trace_is_the_kept_one(tmp_path: Path, diagnosed: list[str]) -> None:
    """Of a trace that is shown alone. Without a kept verdict, it is diagnosed."""
    store = filled(str(tmp_path / "store"))
    assert [listing.diagnosed_health(store, store.trace(SILENT)) for _ in range(2)] == ["suspect", "suspect"]
    assert diagnosed == [SILENT, SILENT]
    Verdicts(store).get(store.traces())
    diagnosed.clear()
    assert [listing.diagnosed_health(store, store.trace(one)) for one in (SILENT, RECOVERED)] == ["suspect", "recovered"]
    assert diagnosed == []


def test_a_run_that_was_killed_is_diagnosed_once_too(tmp_path: Path, diagnosed: list[str]) -> None:
    """Its spans that never ended change no more when its program has ended; while it runs, nothing is said of it."""
    root, *steps = silent()
    store = open_store(str(tmp_path / "store"))
    for one in (replace(root, end=None), *steps):
        store.append(one)
    assert listing.find(store, Query(confidence="certain")) == ([], 0)
    assert diagnosed == []
    store.close()
    for _ in range(2):
        store = open_store(str(tmp_path / "store"))
        (verdict,) = Verdicts(store).get(store.traces())
        assert verdict.confidence == "certain"
        assert [trace.trace_id for trace in listing.find(store, Query(confidence="certain"))[0]] == [SILENT]
        assert diagnosed == [SILENT]


def test_an_error_of_the_store_reaches_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not end in the thread that diagnoses, and the next list tries again."""
    store = filled(str(tmp_path / "store"))
    verdicts, traces = Verdicts(store), store.traces()
    with monkeypatch.context() as patch:
        patch.setattr(store, "trace", lambda _: (_ for _ in ()).throw(UnreadableStore("it is gone")))
        with pytest.raises(UnreadableStore, match="it is gone"):
            verdicts.get(traces)
    assert verdicts.get(traces)[0].confidence == "likely"


def test_a_verdict_on_fewer_spans_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A span that arrives during the diagnosis."""
    store = filled(str(tmp_path / "store"))
    diagnose = diagnosis.diagnose

    def slow(trace: Any) -> Any:
        store.append(replace(trace.spans[0], attributes={"late": "span" * 9}))
        return diagnose(trace)

    monkeypatch.setattr(diagnosis, "diagnose", slow)
    Verdicts(store).get(store.traces())
    monkeypatch.undo()
    assert KeptVerdicts(store, list_verdicts.code_version()).get([SILENT, RECOVERED]) == {}  # type: ignore[arg-type]


MANY = 300


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many traces, every thirtieth of which is unlike the others."""
    folder = tmp_path_factory.mktemp("many") / "store"
    store = open_store(str(folder))
    for number in range(MANY):
        rare = number % 30 == 0
        kind = "rare" if rare else "common"
        attributes = {"user.id": kind, "gen_ai.conversation.id": kind, "llmtrace.tags": (kind,)}
        store.append(span(number, operation=agent(kind), attributes=attributes))
        store.append(span(number, 2, parent=1, operation=inference("a", "b", response_model=kind, cost_usd=float(rare))))
    store.traces(Query(limit=MANY))
    return folder


@pytest.mark.parametrize(
    "query",
    [
        *(Query(limit=10, **{kind: "rare"}) for kind in ("agent", "model", "user", "conversation", "tag")),
        Query(limit=10, min_cost=0.5),
        Query(limit=10, sort="cost"),
        Query(limit=10, health="ok"),
    ],
    ids=lambda query: " ".join(f"{name} {value}" for name, value in query_fields(query)),
)
def test_a_filter_reads_only_what_it_shows(many: Path, monkeypatch: pytest.MonkeyPatch, query: Query) -> None:
    """No summary of a trace that does not match is read, no span at all, and a name is looked up in its index."""
    reads: list[bytes] = []
    read = sqlite.read_summary
    monkeypatch.setattr(sqlite, "read_summary", lambda data: reads.append(data) or read(data))
    store = open_store(str(many))
    assert len(store.traces(query)) == 10
    assert len(reads) <= 11
    index = sqlite.Index(many)
    with sqlite3.connect(many / "index.db") as db:
        where, values = index.conditions(db, query)
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN SELECT summary FROM traces WHERE {where}", values)]
    db.close()
    assert not any("spans" in step for step in plan)
    if any(filter_.name in filters.KINDS for filter_, _ in filters.active(query)):
        assert any("SEARCH names USING PRIMARY KEY (kind=? AND name=?)" in step for step in plan)


def query_fields(query: Query) -> list[tuple[str, Any]]:
    order = [("sort", query.sort)] if query.sort != "age" else []
    return [*((filter_.name, value) for filter_, value in filters.active(query)), *order]


def test_a_conversation_is_whole_though_one_turn_matches(tmp_path: Path) -> None:
    """The turns in their order with totals; the conversation that went on last comes first; runs without one are left out."""
    store = open_store(str(tmp_path / "store"))
    for number, talk in ((1, "b"), (2, "a"), (3, "a"), (4, None), (5, "b")):
        attributes = {} if talk is None else {"gen_ai.conversation.id": talk}
        operation = inference(f"question {number}", f"answer {number}", cost_usd=0.5)
        store.append(span(number, operation=operation, attributes=attributes))
    sessions, _ = listing.sessions(store, Query())
    assert [(session.conversation, [turn.task for turn in session.turns]) for session in sessions] == [
        ("b", ["question 1", "question 5"]),
        ("a", ["question 2", "question 3"]),
    ]
    assert sessions[0].total(lambda turn: turn.cost_usd) == 1.0
    narrow, _ = listing.sessions(store, Query(text='"question 3"'))
    assert [(session.conversation, len(session.turns)) for session in narrow] == [("a", 2)]
    assert [turn.trace_id for turn in listing.sessions(store, Query(limit=1))[0][0].turns] == [trace_id(1), trace_id(5)]


def test_a_conversation_says_which_turns_are_still_diagnosed(tmp_path: Path, release: threading.Event) -> None:
    """Its health is the worst that is known; later, that of all verdicts."""
    store = open_store(str(tmp_path / "store"))
    for one in silent():
        talk = {**one.attributes, "gen_ai.conversation.id": "a"}
        store.append(replace(one, trace_id=LONG, attributes=talk))
    verdicts = Verdicts(store)
    ((session,), pending) = listing.sessions(store, Query(), verdicts, seconds=0)
    assert (session.health, session.pending, pending) == ("ok", {LONG}, 1)
    release.set()
    ((session,), pending) = listing.sessions(store, Query(), verdicts)
    assert (session.health, session.pending, pending) == ("suspect", set(), 0)
