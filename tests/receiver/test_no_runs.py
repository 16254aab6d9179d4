"""Traces without a model, a tool or an agent: kept, and not listed as runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.external.ingest import Ingestor
from llmtrace.model import RawSpan
from llmtrace.store import Query, Store, open_store
from llmtrace.store.memory import MemoryStore


def health_check(number: int, **attributes: str) -> RawSpan:
    start = 10**12 + number
    return RawSpan(f"{number:032x}", f"{number:016x}", "GET /health", start, start + 5, attributes=attributes)


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else open_store(str(tmp_path))


def test_requests_of_a_web_server_are_kept_and_not_listed(store: Store) -> None:
    """Also where many of them are newer than the runs; an agent's trace with such a span is whole."""
    ingestor = Ingestor(store, content=Content(Config()), is_only_writer=True)
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support"}
    runs = [health_check(number, **agent) for number in (1, 2, 3)]
    below = RawSpan(runs[0].trace_id, f"{99:016x}", "GET /orders", 10**12, 10**12 + 1, runs[0].span_id)
    unread = health_check(4, **{"langfuse.something.new": "x"})
    ingestor.ingest([*runs, below, unread, *map(health_check, range(100, 200))])
    ingestor.close()
    assert [summary.trace_id[-3:] for summary in store.traces(Query(limit=10))] == ["004", "003", "002", "001"]
    assert len(store.trace(runs[0].trace_id)) == 2
    assert store.trace(f"{150:032x}").root.name == "GET /health"
    assert [summary.trace_id[-3:] for summary in store.traces(Query(limit=10, health="ok"))][-1] == "001"
