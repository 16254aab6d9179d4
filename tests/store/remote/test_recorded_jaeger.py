"""The recorded answers of two real Jaegers: the last release with the older search, and one without it.

`../shared/data/jaeger` has them, with how they were recorded: two services with five runs of agents.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmtrace.cli import main
from llmtrace.errors import TraceNotFound
from llmtrace.store import Query, open_store
from tests.store.remote.backends import Answer, Served

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "data" / "jaeger"
GENERATIONS = ["v2.20.0", "main-2026-08-20"]

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="needs the recorded answers in ../shared")


class Recorded:
    """A Jaeger that gives its recorded answers. ``v3``: whether it has today's interface."""

    def __init__(self, generation: str, *, v3: bool = True) -> None:
        self.folder = RECORDED / generation
        self.v3 = v3
        self.served = Served(self.answer)
        self.url = f"jaeger+http://{self.served.host}?days=3650"

    def answer(self, path: str, options: dict[str, str], body: bytes) -> Answer:
        if path.startswith("/api/v3") and not self.v3:
            return 200, b"<!doctype html>"  # the page of the UI
        return self.read(self.name(path, options))

    def name(self, path: str, options: dict[str, str]) -> str:
        if path == "/api/v3/services":
            return "v3_services"
        if path == "/api/v3/trace-summaries":
            if not options:
                return "v3_traces_no_time"
            return "v3_summaries" if options["query.serviceName"] == "travel" else "v3_traces_none"
        if path.startswith("/api/v3/traces/"):
            return f"v3_traces_travel {path[-32:]}"
        if path == "/api/services":
            return "v1_services"
        if path == "/api/traces":
            return "v1_traces" if options["service"] == "travel" else ""
        return "v1_trace_unknown"

    def read(self, name: str) -> Answer:
        if not name:
            return 200, b'{"data": [], "total": 0, "errors": null}'
        name, _, trace_id = name.partition(" ")
        body = (self.folder / f"{name}.body").read_bytes()
        status = int((self.folder / f"{name}.status").read_text().split()[0])
        if not trace_id:
            return status, body
        spans = [
            {**group, "scopeSpans": [{**scope, "spans": found}]}
            for group in json.loads(body)["result"]["resourceSpans"]
            for scope in group["scopeSpans"]
            if (found := [span for span in scope["spans"] if span["traceId"] == trace_id])
        ]
        half = len(spans) // 2  # as a stream is answered: several objects in a row
        parts = [part for part in (spans[:half], spans[half:]) if part]
        return (200, b"\n".join(_result(part) for part in parts)) if parts else self.read("v3_trace_unknown")


def _result(groups: list[object]) -> bytes:
    return json.dumps({"result": {"resourceSpans": groups}}).encode()


@pytest.fixture(params=[*GENERATIONS, "v2.20.0 with the older interface only"])
def jaeger(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    generation, _, older = request.param.partition(" ")
    backend = Recorded(generation, v3=not older)
    yield backend
    backend.served.close()


def test_five_runs_are_listed(jaeger: Recorded) -> None:
    """With what each of them was about; a run of five of its kind by its id, and an unknown one."""
    store = open_store(jaeger.url)
    summaries = store.traces(Query(limit=20))
    assert len(summaries) == 5
    assert {summary.name for summary in summaries} == {"invoke_agent travel"}
    assert all(summary.task and summary.answer and summary.models for summary in summaries)
    assert [summary.start for summary in summaries] == sorted((summary.start for summary in summaries), reverse=True)
    assert sum(summary.health != "ok" for summary in summaries) >= 2
    if jaeger.v3:
        assert len(store.trace(summaries[0].trace_id)) == summaries[0].spans
        assert store.trace("last").trace_id == summaries[0].trace_id
    with pytest.raises(TraceNotFound):
        store.trace("f" * 32)


def test_commands_answer(jaeger: Recorded) -> None:
    """`ls` and `stats` print a line for each run, and an empty search is no error."""
    for words in (("ls", "--since", "3650d"), ("stats", "--since", "3650d"), ("ls", "--text", "nowhere-at-all")):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            main([*words, "--store", jaeger.url])
        assert ("travel" in out.getvalue() or "gpt-4o-mini" in out.getvalue()) == ("--since" in words)
