"""What is not made when a span is indexed: summaries, until somebody looks; what monitors find, until there is time for them.
In whatever order and whatever pieces it is made, it is what it would have been at once."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrace.model import Failure, Inference, Message, Text, Trace, replace
from llmtrace.store import Query, indexing, sqlite
from llmtrace.store.local import LocalStore
from llmtrace.store.summary import FORM
from tests.monitors.streams import BEGAN, SECOND, chat, run_of
from tests.store.programs import start
from tests.store.test_monitoring import before_and_after, fill


@pytest.fixture(autouse=True)
def _nothing_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "_FEW", -1)


@contextlib.contextmanager
def database(folder: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(folder / "index.db")) as db:
        yield db


def held(store: LocalStore) -> list[Any]:
    """All that is made of spans, once it is."""
    store.refresh()
    store.traces(Query(limit=10_000))
    assert store.folder is not None
    with database(store.folder) as db:
        return [
            db.execute(statement).fetchall()
            for statement in (
                "SELECT trace, start, stale, open, health, running, tokens, cost, summary, unseen FROM traces ORDER BY trace",
                "SELECT name, used, state FROM monitors ORDER BY name",
                "SELECT trace, span, name, label, pointer, data FROM drift ORDER BY trace, span, name, label, pointer",
                "SELECT trace, span FROM watched ORDER BY trace, span",
            )
        ]


def at_once(folder: Path, traces: list[Trace]) -> list[Any]:
    return held(fill(folder, traces))


def test_a_list_makes_the_summaries_that_it_shows(tmp_path: Path) -> None:
    """Of a store that nobody has looked at, the newest few are read, not all."""
    store = fill(tmp_path / "store", [run_of(n, chat(9)) for n in range(300)])
    assert len(store.traces(Query(limit=20))) == 20
    with database(tmp_path / "store") as db:
        assert db.execute("SELECT count(*) FROM traces WHERE NOT stale").fetchone() == (20,)
    assert sum(1 for _ in store.spans(Query(limit=1000))) == 600
    assert len(store.trace("last")) == 2
    with database(tmp_path / "store") as db:
        assert db.execute("SELECT count(*) FROM traces WHERE NOT stale").fetchone() == (20,)


def _mixed(count: int) -> list[Trace]:
    """Runs of two agents, of every health."""
    chance = random.Random(5)
    made = []
    for number in range(count):
        said = (Message("user", (Text(f"order {number} {chance.choice(['refund', 'return'])}"),)),)
        call: Inference = replace(chat(9), input=said)
        trace = run_of(number, call, agent=chance.choice(["support", "sales"]))
        fate = chance.randrange(4)
        where = fate - 1 if fate < 3 else None
        failure, spans = Failure("ValueError", "no"), list(trace.spans)
        if fate == 3:
            spans[0] = replace(spans[0], end=None)
        elif where is not None and where >= 0:
            spans[where] = replace(spans[where], failure=failure)
        made.append(Trace(spans))
    return made


_MOMENTS = st.none() | st.integers(0, 60).map(lambda n: BEGAN + n * 60 * SECOND)
_QUERIES = st.builds(
    Query,
    limit=st.integers(1, 70),
    since=_MOMENTS,
    until=_MOMENTS,
    health=st.sampled_from([None, "ok", "recovered", "failed", "running"]),
    agent=st.sampled_from([None, "support", "sales", "nobody"]),
    text=st.sampled_from([None, "refund", "order 5", "nowhere"]),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """A store of which everything is made already."""
    store = fill(tmp_path_factory.mktemp("whole"), _mixed(60))
    store.traces(Query(limit=1000))
    store.refresh()
    return store


@settings(max_examples=60, deadline=None)
@given(queries=st.lists(_QUERIES, min_size=1, max_size=3))
def test_a_query_finds_the_same_whatever_is_made_already(
    whole: LocalStore, tmp_path_factory: pytest.TempPathFactory, queries: list[Query]
) -> None:
    """By health, agent, time and text, alone and after other queries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexing, "_FEW", -1)
        patch.setattr(sqlite, "_STALE_AT_ONCE", 3)
        assert whole.folder is not None
        folder = tmp_path_factory.mktemp("lazy")
        (folder / "journal").symlink_to(whole.folder / "journal")
        store = LocalStore(folder, background=False)
        for query in queries:
            assert store.traces(query) == whole.traces(query)
            found = {span.trace_id for span in LocalStore(folder, background=False).spans(query)}
            assert found == {one.trace_id for one in whole.traces(query)}


_STEPS: list[Callable[[LocalStore], object]] = [
    lambda store: store.traces(Query(limit=3)),
    lambda store: store.traces(Query(limit=2, health="failed")),
    lambda store: store.trace("last"),
    lambda store: store.refresh(seconds=0.001),
    lambda store: store._index_some(0.002),
    lambda store: list(store.spans(Query(limit=2))),
    lambda store: store.close(),
]


@settings(max_examples=10, deadline=None)
@given(chance=st.randoms(use_true_random=False))
def test_it_is_the_same_in_whatever_order_it_is_made(tmp_path_factory: pytest.TempPathFactory, chance: random.Random) -> None:
    """Little by little, by several readers and the background, while spans still come: the same summaries and findings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexing, "_FEW", -1)
        patch.setattr(indexing, "_SECONDS", 0.0)
        patch.setattr(indexing, "_BATCH", 7)
        folder = tmp_path_factory.mktemp("parts")
        traces = before_and_after(40, 20)
        store, other = fill(folder, []), LocalStore(folder, background=False)
        for trace in traces:
            for span in trace.spans:
                store.append(span)
            chance.choice(_STEPS)(chance.choice([store, other])) if chance.random() < 0.5 else None
        assert held(other) == at_once(tmp_path_factory.mktemp("whole"), traces)


def test_nothing_is_lost_or_counted_twice_when_a_reader_is_killed(tmp_path: Path) -> None:
    """At random moments, again and again, while another one reads, too."""
    traces = before_and_after(200, 30)
    fill(tmp_path / "store", traces).close()
    looking = """
    from llmtrace.store import indexing
    indexing._SECONDS, indexing._BATCH, indexing._FEW = 0.0, 20, -1
    print("up", flush=True)
    while store.refresh(seconds=0.01): store.traces()
    """
    chance, killed = random.Random(3), 0
    while killed < 12:
        readers = [start(looking, tmp_path / "store") for _ in range(2)]
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "up\n"
        for reader in readers:
            with contextlib.suppress(Exception):
                reader.wait(chance.uniform(0, 0.15))
            reader.kill()
            reader.wait()
            killed += 1
    store = LocalStore(tmp_path / "store", background=False)
    assert held(store) == at_once(tmp_path / "whole", traces)
    assert {state["calls"] for state in store.monitor_states()} == {230}


def test_an_older_index_goes_on_where_it_was(tmp_path: Path) -> None:
    """Of an earlier version: what monitors had seen there they do not see again; what was new then they see now."""
    traces = before_and_after(40, 20)
    store = fill(tmp_path / "store", traces[:30])
    held(store)
    fill(tmp_path / "store", traces[30:])
    store.trace("last")
    with database(tmp_path / "store") as db, db:
        for statement in ("DROP TABLE names", "ALTER TABLE traces DROP COLUMN verdict", "PRAGMA user_version = 5"):
            db.execute(statement)
    (tmp_path / "store" / "index.lock").write_bytes(b"")
    assert held(store) == at_once(tmp_path / "whole", traces)


def test_a_summary_of_an_older_form_is_made_anew_when_it_is_shown(tmp_path: Path) -> None:
    """So that an old trace is listed as a new one is; of a large store only what is looked at costs that, and only once."""
    runs = [run_of(number, chat(9)) for number in range(1, 6)]
    late = Failure("openai.APITimeoutError")
    store = fill(tmp_path / "store", [Trace([replace(span, failure=late) for span in run.spans]) for run in runs])
    whole = store.traces()
    assert {one.findings for one in whole} == {("timeout",)}
    lessen = """UPDATE traces SET summary = CAST(replace(CAST(summary AS TEXT), '"timeout"', '"before"') AS BLOB)"""
    with database(tmp_path / "store") as db, db:
        db.execute(f"{lessen}, form = form - 1")
    for query, anew in ((Query(limit=2), 2), (Query(limit=2, health="failed"), 2), (Query(limit=3), 3), (Query(), 5)):
        assert store.traces(query) == whole[: query.limit]
        with database(tmp_path / "store") as db:
            assert db.execute("SELECT count(*) FROM traces WHERE form = ?", (FORM,)).fetchone() == (anew,)


def test_a_trace_of_which_nothing_is_left_is_not_the_last(tmp_path: Path) -> None:
    """When its file was removed it is forgotten at once, not when somebody lists it."""
    fill(tmp_path / "store", [run_of(1, chat(9))]).close()
    first = set((tmp_path / "store" / "journal").glob("*.journal"))
    store = fill(tmp_path / "store", [run_of(2, chat(9))])
    assert store.trace("last").trace_id == run_of(2).trace_id
    store.close()
    for path in set((tmp_path / "store" / "journal").glob("*.journal")) - first:
        path.unlink()
    assert store.trace("last").trace_id == run_of(1).trace_id
    assert store.refresh() == 0
