"""Every backend gives what a local store gives: one suite over all of them."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest

from llmtrace.cli import main
from llmtrace.codec import dialects, genai
from llmtrace.errors import TraceNotFound, UnreadableStore
from llmtrace.listing import find
from llmtrace.model import Inference, Span, replace
from llmtrace.statistics import By
from llmtrace.store import Query, Store, _http, open_store
from llmtrace.store.remote import RemoteStore
from tests.cli.traces import RECOVERED, SILENT, recovered, silent
from tests.store.remote.backends import Backend, ClickHouseEngine, FakeJaeger, FakeJaegerToday, FakeTempo
from tests.store.spans import agent, inference, span, trace_id
from tests.stored import append

RECOVERED_SPANS, SILENT_SPANS = tuple(recovered()), tuple(silent())

BACKENDS: dict[str, Callable[[], Backend]] = {
    "jaeger": FakeJaegerToday,
    "jaeger before August 2026": FakeJaeger,
    "tempo": FakeTempo,
    "clickhouse": ClickHouseEngine,
}


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    if request.param == "clickhouse" and importlib.util.find_spec("chdb") is None:
        pytest.skip("needs chdb, ClickHouse in a process; scripts/test --all has it")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    backend = BACKENDS[request.param]()
    yield backend
    backend.close()


@pytest.fixture
def store(backend: Backend) -> Iterator[Store]:
    backend.keep([*RECOVERED_SPANS, *SILENT_SPANS])
    opened = open_store(backend.url)
    yield opened
    opened.close()


def rounded(one: Span) -> Span:
    """To microseconds, which is what Jaeger keeps."""
    return replace(one, start=one.start // 1000, end=(one.end or 0) // 1000)


def test_a_trace_is_read_back_equal(store: Store) -> None:
    """Operations, findings and times, decoded from the backend's own form, are what was recorded."""
    for made, name in ((RECOVERED_SPANS, RECOVERED), (SILENT_SPANS, SILENT)):
        read = {one.span_id: rounded(one) for one in store.trace(name).spans}
        for one in made:
            told = rounded(dialects.decode(genai.encode(one)))
            found = read[one.span_id]
            if found.end is not None and told.end is not None:  # a start and a length, each rounded down
                assert 0 <= told.end - found.end <= 1
                found = replace(found, end=told.end)
            assert found.operation == told.operation
            assert found.violations == told.violations
            assert found.evaluations == told.evaluations
            assert found.failure == told.failure
            assert (found.parent_id, found.name, found.kind, found.start) == (told.parent_id, told.name, told.kind, told.start)


def test_summaries_are_those_of_a_local_store(store: Store, tmp_path: Path) -> None:
    """Newest first, with health, task, answer, tokens and findings."""
    local = open_store(str(tmp_path / "store"))
    for one in (*RECOVERED_SPANS, *SILENT_SPANS):
        local.append(one)
    for ours, theirs in zip(local.traces(), store.traces(), strict=True):
        rough = {"start": 0, "end": 0, "duration": 0.0, "service": None}
        assert replace(theirs, **rough) == replace(ours, **rough)
    local.close()


def test_traces_go_by_id_beginning_and_last(store: Store) -> None:
    """As in every store."""
    assert store.trace(SILENT[:6]).trace_id == SILENT
    assert store.trace(RECOVERED.upper()).trace_id == RECOVERED
    assert store.trace("last").trace_id == SILENT
    with pytest.raises(TraceNotFound):
        store.trace("f" * 32)
    with pytest.raises(TraceNotFound, match="at least 4"):
        store.trace("4b")


def test_queries(store: Store) -> None:
    """Health, agent, words, times and limit pick the same traces as in a local store."""

    def ids(**asked: object) -> list[str]:
        return [one.trace_id for one in store.traces(Query(**asked))]  # type: ignore[arg-type]

    summaries = {one.trace_id: one for one in store.traces()}
    assert ids() == [SILENT, RECOVERED]
    assert ids(limit=1) == [SILENT]
    assert ids(limit=0) == []
    assert ids(health="recovered") == [RECOVERED]
    assert ids(health="failed") == []
    assert ids(agent="nobody") == []
    assert ids(agent=summaries[SILENT].agents[0])[0] == SILENT
    assert ids(text="KS-20431") == [SILENT]
    assert ids(text="ks-20431 nowhere-at-all") == []
    assert ids(since=summaries[SILENT].start) == [SILENT]
    assert ids(until=summaries[SILENT].start) == [RECOVERED]
    assert ids(model="gpt-4o-mini", limit=1) == [RECOVERED]
    assert ids(min_tokens=200, limit=1) == [RECOVERED]
    assert ids(sort="cost", limit=1) == [RECOVERED]
    assert ids(reverse=True) == [RECOVERED, SILENT]
    with pytest.raises(UnreadableStore, match="remote store cannot be filtered by confidence"):
        find(store, Query(confidence="likely"))


def test_spans_come_trace_by_trace_and_without_prompts(store: Store) -> None:
    """As statistics read them."""
    whole = list(store.spans())
    bare = list(store.spans(prompts=False))
    assert [one.trace_id for one in whole] == [SILENT] * len(SILENT_SPANS) + [RECOVERED] * len(RECOVERED_SPANS)
    assert [one.span_id for one in bare] == [one.span_id for one in whole]
    assert any(getattr(one.operation, "input", None) for one in whole if isinstance(one.operation, Inference))
    assert not any(getattr(one.operation, "input", None) for one in bare if isinstance(one.operation, Inference))


def test_many_traces_are_one_question(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ClickHouse the spans of a hundred traces are asked for at once, and of fewer where the answer would be too large."""
    if not isinstance(backend, ClickHouseEngine):
        pytest.skip("gives one trace at a time")
    now = SILENT_SPANS[0].start
    backend.keep(
        [replace(one, trace_id=trace_id(number), start=now + number) for number in range(1, 31) for one in SILENT_SPANS]
    )
    store = open_store(backend.url)
    wanted = [trace_id(number) for number in range(30, 0, -1)]
    assert list(dict.fromkeys(one.trace_id for one in store.spans(Query(limit=100), prompts=False))) == wanted
    assert len(backend.served.asked) == 2
    monkeypatch.setattr(_http, "MAX_BYTES", 60_000)
    assert [one.trace_id for one in open_store(backend.url).traces(Query(limit=100))] == wanted
    assert len(backend.served.asked) > 6


def test_other_services_stay_out(backend: Backend) -> None:
    """A backend holds more than agents: a trace that tells of no model, tool or agent is not listed, and is not the last."""
    shop = replace(span(9), run_id=None, resource={"service.name": "shop front"}, scope=replace(span(9).scope, name="http"))
    now = SILENT_SPANS[0].start
    backend.keep([replace(shop, start=now + 10**9, end=now + 2 * 10**9), *SILENT_SPANS])
    store = open_store(backend.url)
    assert [one.trace_id for one in store.traces()] == [SILENT]
    assert store.trace("last").trace_id == SILENT


def test_nothing_is_there(backend: Backend) -> None:
    """An empty backend lists nothing and says so."""
    store = open_store(backend.url)
    assert store.traces() == []
    assert list(store.spans()) == []
    with pytest.raises(TraceNotFound, match="no traces yet"):
        store.trace("last")


def test_hostile_words_and_names_are_data(backend: Backend) -> None:
    """Whatever is looked for, it is looked for, and changes no query."""
    now = SILENT_SPANS[0].start
    odd = "a' OR 1=1 -- \\ \" { } 京都"
    backend.keep(
        [span(1, operation=agent(odd), start=now, end=now + 10**6), span(2, operation=inference("x", "y"), start=now, end=now)]
    )
    store = open_store(backend.url)
    assert [one.trace_id for one in store.traces(Query(agent=odd))] == [trace_id(1)]
    assert [one.trace_id for one in store.traces(Query(text="京都"))] == [trace_id(1)]
    assert store.traces(Query(text="'; DROP TABLE otel_traces; --")) == []
    with pytest.raises(TraceNotFound):
        store.trace("%' or 1=1; --")
    assert len(store.traces()) == 2


def test_why_says_the_same_everywhere(backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`llmtrace why`, `ls`, `show`, `check` and `stats` on the backend's URL read as on the local store."""
    monkeypatch.setenv("COLUMNS", "80")
    append(str(tmp_path / "store"), *(*RECOVERED_SPANS, *SILENT_SPANS))
    backend.keep([*RECOVERED_SPANS, *SILENT_SPANS])

    def said(*words: str) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            main(words)
        return out.getvalue()

    for command in ("why", "check", "show"):
        here, there = said(command, "--store", str(tmp_path / "store")), said(command, "--store", backend.url)
        assert "KS-20431" in here
        assert there == here
    for by in get_args(By):
        here = said("stats", "--by", by, "--lengths", "--store", str(tmp_path / "store"))
        there = said("stats", "--by", by, "--lengths", "--store", backend.url)
        uncounted = re.sub(r"( · |\n +! )corrected: [^\n]*", "", here)  # ClickHouse's own queries do not count corrections
        assert there in (here, uncounted)
    there, here = (said("ls", "--store", url).splitlines() for url in (backend.url, str(tmp_path / "store")))
    assert there.pop() == "Traces of a remote store are not diagnosed in a list. See llmtrace why"
    assert len(there) == len([line for line in here if not line.strip().startswith("? ")])  # a suspect would be fetched anew


def test_nothing_is_written(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    """A program whose store is a backend is told once that its spans are not kept there."""
    store = open_store(backend.url)
    store.append(span(1))
    store.append(span(2))
    store.flush()
    assert len(caplog.messages) == 1
    assert "is read-only for llmtrace" in caplog.messages[0]
    assert store.traces() == []


@pytest.mark.parametrize("scheme", ["jaeger+http", "tempo+http", "clickhouse"])
def test_nobody_listens(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not there is said with its address, and without the password."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(UnreadableStore, match=r"cannot reach http://127.0.0.1:9") as raised:
        open_store(f"{scheme}://me:s3cret@127.0.0.1:9").traces()
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "tempo+http:",
        "jaeger+http:///x",
        "jaeger+http://h:99999",
        "tempo+http://h?days=0",
        "jaeger+http://h?limit=x",
        "tempo+http://h?dayz=3",
        "clickhouse://h/otel?service=x",
    ],
)
def test_bad_addresses_are_said(url: str) -> None:
    """When the store is opened, before anything is asked."""
    with pytest.raises(UnreadableStore):
        open_store(url)


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("jaeger+http://h", "http://h:16686"),
        ("jaeger+https://h/ui", "https://h:443/ui"),
        ("tempo+http://h", "http://h:3200"),
        ("tempo+https://h", "https://h:443"),
        ("clickhouse://h/otel", "http://h:8123"),
        ("clickhouse+https://h/otel", "https://h:8443"),
        ("tempo+http://h:80", "http://h:80"),
    ],
)
def test_a_url_without_a_port_has_the_usual_one(url: str, asked: str) -> None:
    """That of the backend itself; with TLS that of HTTPS, but for ClickHouse, which has its own."""
    store = open_store(url)
    assert isinstance(store, RemoteStore)
    assert store.source.name.split(" at ")[1].split(",")[0] == asked
