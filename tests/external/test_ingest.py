"""The ingestor's thread, which evaluates traces when they are quiet."""

from __future__ import annotations

import threading
import time

import pytest

from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.external import ingest
from llmtrace.external.ingest import Ingestor
from llmtrace.model import RawSpan, Trace
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
