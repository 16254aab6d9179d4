"""What backends are asked, and with which credentials."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator

import pytest
from inline_snapshot import snapshot

from llmtrace import log_once
from llmtrace.codec import genai
from llmtrace.config import Config
from llmtrace.errors import UnreadableStore
from llmtrace.model import AgentInvocation, Custom, Span, replace
from llmtrace.store import Query, open_store, tempo
from tests.cli.traces import SILENT, silent
from tests.store.remote.backends import FakeJaeger, FakeJaegerToday, FakeTempo, Served


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def there() -> Iterator[FakeTempo]:
    backend = FakeTempo()
    yield backend
    backend.close()


def test_traceql() -> None:
    """Traces that tell of an agent, narrowed by agent and words; what is looked for is quoted."""
    assert tempo._query(Query()) == snapshot(
        "{ span.gen_ai.operation.name != nil || span.llmtrace.run.id != nil || span.openinference.span.kind != nil || "
        "span.traceloop.span.kind != nil || span.gen_ai.system != nil || span.ai.operationId != nil }"
    )
    assert tempo._query(Query(agent='a"b')).endswith('&& { span.gen_ai.agent.name = "a\\"b" }')
    words = tempo._query(Query(text='ORD-12 c++"'))
    assert 'span.gen_ai.input.messages =~ "(?is).*ord[^\\\\pL\\\\pN]+12.*"' in words
    assert words.count(" && ") == 2


def test_an_older_tempo_is_asked_without_the_hint(there: FakeTempo) -> None:
    """It refuses what it does not know; the answer is the same."""
    there.hints = False
    there.keep(silent())
    assert [one.trace_id for one in open_store(there.url).traces(Query(limit=1))] == [SILENT]
    assert ["most_recent" in options["q"] for path, options in there.served.asked if path == "/api/search"] == [True, False]


def test_headers_and_credentials(there: FakeTempo, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers come from the variable, user and password from the URL; neither is logged or shown with the configuration."""
    monkeypatch.setenv("LLMTRACE_STORE_HEADERS", "X-Scope-OrgID=team%20a, Authorization=Bearer s3cret,broken")
    config = Config.read()
    with caplog.at_level(logging.DEBUG):
        open_store(there.url, config=config).traces()
    assert there.served.headers["X-Scope-Orgid"] == "team a"
    assert there.served.headers["Authorization"] == "Bearer s3cret"
    open_store(there.url.replace("://", "://me:pa%20ss@")).traces()
    assert there.served.headers["Authorization"] == "Basic bWU6cGEgc3M="
    assert "s3cret" not in caplog.text + repr(config)


@pytest.mark.parametrize("scheme", ["jaeger+http", "tempo+http", "clickhouse"])
def test_refusals_are_told(scheme: str) -> None:
    """401 names the variable; what is no JSON says that this may be another port."""
    refusing = Served(lambda *_: (401, b"who are you?"))
    try:
        with pytest.raises(UnreadableStore, match="who are you"):
            open_store(f"{scheme}://{refusing.host}").traces()
    finally:
        refusing.close()
    other = Served(lambda *_: (200, b"<html>"))
    try:
        with pytest.raises(UnreadableStore, match=r"with JSON|stopped in the middle"):
            open_store(f"{scheme}://{other.host}").traces()
    finally:
        other.close()


def test_one_service_and_a_prefix() -> None:
    """``?service=`` asks only that one; a path stands before what is asked for."""
    jaeger = FakeJaeger()
    jaeger.keep(silent())
    try:
        store = open_store(f"{jaeger.url}?service=other&days=2&limit=7")
        assert store.traces() == []
        (path, options) = jaeger.served.asked[-1]
        assert len(jaeger.served.asked) == 2  # and which interface it has
        assert (path, options["service"]) == ("/api/traces", "other")
        assert int(options["end"]) - int(options["start"]) == pytest.approx(2 * 86_400e6, rel=0.01)
        with pytest.raises(UnreadableStore):
            open_store(f"{jaeger.url}/jaeger").traces()
        assert jaeger.served.asked[-1][0] == "/jaeger/api/services"
    finally:
        jaeger.close()


def _runs(count: int) -> list[Span]:
    spans = []
    for number in range(count):
        start = time.time_ns() - (count - number) * 1_000_000_000
        agent = AgentInvocation("support")
        spans.append(Span(f"{number + 1:032x}", f"{number + 1:016x}", "support", start, start + 1000, operation=agent))
    return [replace(one, resource={"service.name": "shop"}) for one in reversed(spans)]


def test_a_jaeger_is_asked_for_as_many_as_are_read(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """For more only where other services' traces came instead; and a line says where it may have more."""
    monkeypatch.setattr(log_once, "_logged", {})
    jaeger = FakeJaeger()
    jaeger.keep(_runs(60))
    web = [replace(one, operation=Custom(), trace_id=f"{number:032x}") for number, one in enumerate(_runs(30), 1000)]
    try:
        store = open_store(f"{jaeger.url}?limit=50&service=shop")
        assert len(store.traces(Query(limit=20))) == 20
        assert [options["limit"] for path, options in jaeger.served.asked if path == "/api/traces"] == ["24"]
        assert store.trace("last").trace_id == f"{60:032x}"
        assert caplog.text == ""
        assert len(store.traces(Query(limit=55))) == 55  # more than the URL's limit, since that many were asked for
        assert caplog.text == ""
        assert store.traces(Query(limit=5, health="failed")) == []
        assert "returned 50 traces of shop and may have more. Add ?limit=N" in caplog.text
        assert sum(1 for _ in store.spans(Query(limit=sys.maxsize))) == 50
        jaeger.raws[:0] = map(genai.encode, web)
        jaeger.served.asked.clear()
        assert len(open_store(f"{jaeger.url}?limit=60&service=shop").traces(Query(limit=20))) == 20
        assert [options["limit"] for path, options in jaeger.served.asked if path == "/api/traces"] == ["24", "60"]
    finally:
        jaeger.close()


def test_a_jaeger_of_today_is_asked_for_summaries_and_for_the_traces_that_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for whole traces in order to list a few of them."""
    monkeypatch.setattr(log_once, "_logged", {})
    jaeger = FakeJaegerToday()
    jaeger.keep(_runs(60))
    try:
        store = open_store(f"{jaeger.url}?service=shop")
        assert len(store.traces(Query(limit=3))) == 3
        paths = [path for path, _ in jaeger.served.asked]
        assert paths[:2] == ["/api/v3/trace-summaries"] * 2
        assert len(paths) == 2 + 3
        assert len(store.traces(Query(limit=1000))) == 60
        assert store.trace("last").trace_id == f"{60:032x}"
    finally:
        jaeger.close()


@pytest.mark.parametrize("answer", [b"{} []", b"nothing", b"", b'{"error": {"httpCode": 500, "message": "down"}}'])
def test_odd_answers_of_a_jaeger(answer: bytes) -> None:
    """One clear line."""
    odd = Served(lambda path, options, _: (200, answer) if options or "services" in path else (400, b"{}"))
    try:
        with pytest.raises(UnreadableStore):
            open_store(f"jaeger+http://{odd.host}?service=x").traces()
    finally:
        odd.close()


def test_what_a_tempo_may_have_more_of_is_said(
    there: FakeTempo, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Health is sifted here, among so many traces at most; and no Tempo is asked for all that there ever was."""
    monkeypatch.setattr(log_once, "_logged", {})
    monkeypatch.setattr(tempo, "_AT_LEAST", 15)
    there.keep(_runs(20))
    store = open_store(there.url)
    assert len(store.traces(Query(limit=10, health="ok"))) == 10
    assert caplog.text == ""
    assert store.traces(Query(limit=10, health="failed")) == []
    assert "returned 15 traces, the most that were requested. Use --limit or --since" in caplog.text
    assert sum(1 for _ in store.spans(Query(limit=sys.maxsize))) == 20
    assert int(there.served.asked[-21][1]["limit"]) == 100_000
