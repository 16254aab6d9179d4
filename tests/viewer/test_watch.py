"""News of a store that is somewhere else: nobody tells them, so they are asked for."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from llmtrace.codec import genai
from llmtrace.model import replace
from llmtrace.store import open_store
from llmtrace.store.local import LocalStore
from llmtrace.viewer.source import Source
from llmtrace.viewer.watch import Follower
from tests.cli.traces import RECOVERED, recovered
from tests.store.remote.backends import FakeJaeger


def test_a_store_elsewhere_is_asked_for_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace that came, and one that grew, are named once; the one that is open has its new rows."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    spans = recovered()
    later = time.time_ns() - 10 * 10**9 - spans[-1].start  # a backend may still get more of it
    spans = [replace(span, start=span.start + later, end=(span.end or 0) + later) for span in spans]
    backend = FakeJaeger()
    try:
        source = Source(open_store(backend.url))
        follower = Follower(source, every=0)
        assert follower.poll() == set()
        backend.keep(spans[:-1])
        assert follower.poll() == {RECOVERED}
        assert follower.poll() == set()
        seen = source.trace_view(RECOVERED).version
        backend.keep(spans[-1:])
        assert follower.poll() == {RECOVERED}
        assert [row["id"] for row in source.trace_view(RECOVERED).rows(seen)["rows"]] == [spans[-1].span_id]
    finally:
        backend.close()


def test_a_run_that_waits_keeps_its_view(tmp_path: Path) -> None:
    """A trace that seems to run is read again, since its program may have died; only if it has, there is something new."""
    store = LocalStore(tmp_path / "store", background=False)
    first, *_, last = recovered()
    store.append(replace(last, span_id="f" * 16, end=None))
    store.append(first)
    source = Source(LocalStore(tmp_path / "store", background=False))
    view = source.trace_view(RECOVERED)
    assert source.running() == [RECOVERED]
    assert source.reread(source.running()) == set()
    assert source.trace_view(RECOVERED) is view
    store.close()
    assert source.reread(source.running()) == {RECOVERED}
    assert source.running() == []
    source.store.close()


def test_a_trace_that_is_opened_by_a_part_of_its_id_goes_on(tmp_path: Path) -> None:
    """Its version does not begin again, since another page may have it open by its whole id."""
    source = Source(LocalStore(tmp_path / "store", background=False))
    *spans, last = recovered()
    source.store.append_all([genai.encode(span) for span in spans])
    source.trace_view(RECOVERED)
    source.add([last])
    seen = source.trace_view(RECOVERED).version
    source.store.append(last)
    assert source.trace_view(RECOVERED[:8]).version >= seen
    source.add([replace(last, end=(last.end or 0) + 10**9)])
    assert [row["id"] for row in source.trace_view(RECOVERED).rows(seen)["rows"]] == [last.span_id]
    source.store.close()
