"""What the joiner of log records keeps in memory is bounded."""

from __future__ import annotations

import itertools

from llmtrace.codec.log_records import LogRecord
from llmtrace.external.log_joiner import LogJoiner
from llmtrace.model import Event, RawSpan

numbers = itertools.count()


def record(trace: str) -> LogRecord:
    return LogRecord(trace * 32, trace * 16, Event("gen_ai.user.message", next(numbers), {"content": "x" * 900}))


def test_spans_that_are_kept_count() -> None:
    joiner = LogJoiner(most_bytes=20_000)
    joiner.add([record("1"), record("2")])
    for trace in "12":
        joined = joiner.join(RawSpan(trace * 32, trace * 16, "chat", 1, 2, attributes={"gen_ai.prompt": "x" * 15_000}))
        assert len(joined.events) == 1
    assert joiner.join(RawSpan("1" * 32, "1" * 16, "chat", 1, 2)).events == ()  # its records were forgotten
    assert len(joiner.join(RawSpan("2" * 32, "2" * 16, "chat", 1, 2)).events) == 1


def test_one_trace_has_a_limit() -> None:
    joiner = LogJoiner(most_bytes=20_000)
    joiner.add([record("1") for _ in range(100)])
    assert len(joiner.join(RawSpan("1" * 32, "1" * 16, "chat", 1, 2)).events) == 20
