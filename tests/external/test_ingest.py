"""The ingestor's thread, which evaluates traces when they are quiet."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmtrace import semconv as sc
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.external import ingest
from llmtrace.external.ingest import Ingestor
from llmtrace.model import RawSpan, Scope, Trace
from llmtrace.store import journal_files, journal_records
from llmtrace.store.local import LocalStore
from llmtrace.store.memory import MemoryStore


def span(trace: str, parent: str | None = None) -> RawSpan:
    return RawSpan(trace * 32, trace * 16, "chat", 1, 9, parent, attributes={"gen_ai.operation.name": "chat"})


def test_the_thread_lives_on_while_another_one_evaluates_all_that_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    second_was_evaluated = threading.Event()

    def on_evaluated(trace: Trace) -> None:
        if trace.trace_id != "1" * 32:
            second_was_evaluated.set()
            return
        monkeypatch.setattr(ingest, "MOST_HELD", 1)  # all that counts is evaluated here, and nothing waits
        ingestor.ingest([])  # wakes the thread
        time.sleep(0.5)
        monkeypatch.undo()

    ingestor = Ingestor(MemoryStore(), content=Content(Config()), quiet=1e6, on_evaluated=on_evaluated)
    ingestor.ingest([span("1", "f" * 16)])
    ingestor.evaluate_all()
    ingestor.ingest([span("2")])
    assert second_was_evaluated.wait(30)
    ingestor.close()


ROOT = RawSpan("a" * 32, "1" * 16, "invoke_agent a", 1, 9, attributes={sc.OPERATION_NAME: "invoke_agent"})
FAILED_TOOL = RawSpan(
    "a" * 32, "2" * 16, "f", 2, 3, "1" * 16, attributes={sc.OPERATION_NAME: "execute_tool", sc.TOOL_NAME: "f"}, status="error"
)


def received(home: Path, *spans: RawSpan, evaluates: bool = True) -> LocalStore:
    """The store of a receiver that got these spans, and then ended. Not ``evaluates``: it was killed."""
    store = LocalStore(home)
    ingestor = Ingestor(store, content=Content(Config()), is_only_writer=True, quiet=1e6)
    ingestor.ingest(spans)
    if evaluates:
        ingestor.evaluate_all()
    store.close()
    return store


def health(store: LocalStore) -> object:
    return store.trace("a" * 32).root.attributes.get(sc.HEALTH)


@pytest.mark.parametrize("parts", [([FAILED_TOOL], [ROOT]), ([ROOT], [FAILED_TOOL])])
def test_a_trace_is_judged_with_its_spans_from_before_a_restart(tmp_path: Path, parts: tuple[list[RawSpan], ...]) -> None:
    for spans in parts:
        store = received(tmp_path, *spans)
    assert health(store) == health(received(tmp_path / "once", ROOT, FAILED_TOOL)) == "recovered"


def test_what_a_killed_receiver_left_unsent_is_judged_with_what_was_sent(tmp_path: Path) -> None:
    """The root was judged and sent; then its tool came, and the receiver was killed."""
    received(tmp_path, ROOT)
    store = received(tmp_path, FAILED_TOOL, evaluates=False)
    sent = list[RawSpan]()
    store.mark = lambda: "there/whole"
    (unsent,) = Ingestor(store, content=Content(Config())).judge([store.trace("a" * 32).span("2" * 16)])
    assert any(event.name == sc.EVALUATION_EVENT for event in unsent.events)
    assert health(store) == "recovered"
    for file in (tmp_path / "journal").glob("*.journal"):
        sent += marked_spans(file)
    assert [(raw.span_id, raw.attributes[sc.HEALTH]) for raw in sent] == [("1" * 16, "recovered")]


def marked_spans(file: Path) -> Iterator[RawSpan]:
    """The spans of a journal file that a forwarder sends."""
    marked = set[int]()
    for record in journal_files.iterate(file):
        assert isinstance(record, journal_files.Record)
        if record.kind == journal_files.CONTEXT and journal_records.decode_mark(record.payload):
            marked.add(record.ref)
        elif record.kind == journal_files.SPAN and record.ref in marked:
            yield journal_records.decode(record.payload, {}, Scope())
