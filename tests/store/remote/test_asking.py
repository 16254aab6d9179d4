"""What backends are asked, and with which credentials."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from inline_snapshot import snapshot

from llmtrace.config import Config
from llmtrace.errors import UnreadableStore
from llmtrace.store import Query, open_store, tempo
from tests.cli.traces import SILENT, silent
from tests.store.remote.backends import FakeJaeger, FakeTempo, Served


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
        with pytest.raises(UnreadableStore, match=r"no JSON|broke off"):
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
        ((path, options),) = jaeger.served.asked
        assert (path, options["service"]) == ("/api/traces", "other")
        assert int(options["end"]) - int(options["start"]) == pytest.approx(2 * 86_400e6, rel=0.01)
        with pytest.raises(UnreadableStore):
            open_store(f"{jaeger.url}/jaeger").traces()
        assert jaeger.served.asked[-1][0] == "/jaeger/api/services"
    finally:
        jaeger.close()
