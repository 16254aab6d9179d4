"""Whatever a collector answers, no span is lost: a law over sequences of answers, with a real store and a real server."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import grpc
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llmtrace import semconv
from llmtrace.config import Config
from llmtrace.exporters.forwarding import retries
from llmtrace.exporters.forwarding.counts import Counts
from llmtrace.exporters.forwarding.destination import named
from llmtrace.exporters.forwarding.forwarder import Forwarder
from llmtrace.exporters.forwarding.journal_cursor import WHOLE, mark
from llmtrace.model import RawSpan
from llmtrace.store.local import LocalStore
from tests.exporters.collector import Collector, GrpcCollector, taking

_REJECTIONS = (400, 406, 413, 415, 422)
_numbers = itertools.count(1)
_ANSWERS = (200, 401, 403, 404, 405, 408, 429, 500, 501, 502, 503, 504, 507, 599, *_REJECTIONS)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


class Program:
    """A program's store and forwarder, in this process."""

    def __init__(self, folder: Path, url: str) -> None:
        destination, _ = named([f"otlp:{url}"])
        assert destination is not None
        config = Config(store=str(folder), content="all")
        self._store = LocalStore(folder, config=config, background=False)
        self._store.mark = lambda: mark(destination.id, WHOLE)
        self._forwarder = Forwarder(destination, config, home=folder, journal=self._store.journal)

    @property
    def counts(self) -> Counts:
        return self._forwarder._counts

    def record(self, count: int, **attributes: object) -> list[str]:
        """Append spans. Returns their ids."""
        ids = [f"{next(_numbers):016x}" for _ in range(count)]
        for span_id in ids:
            raw = RawSpan("1" * 32, span_id, "s", 1, 2, attributes={semconv.RUN_ID: "r", "id": span_id, **attributes})  # type: ignore[arg-type]
            self._store.append_encoded(raw)
        return ids

    def flush(self) -> bool:
        return self._forwarder.flush(10.0)

    def close(self) -> None:
        self._forwarder.close()
        self._store.close()


@contextlib.contextmanager
def program(collector: Collector | GrpcCollector, folder: Path) -> Iterator[Program]:
    opened = Program(folder, collector.url)
    try:
        yield opened
    finally:
        opened.close()


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    with mock.patch.multiple(retries, LONGEST=0.002, CLOSED_LEAST=0.002):
        yield


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@example([500] * 30, [9])
@example([400, 400, 400, 400, 200] * 4, [9])
@example([200, 500] * 12, [3, 4])
@example([404, 413, 500, 413, 413, 413, 400, 200, 500], [5, 1])
@given(st.lists(st.sampled_from(_ANSWERS), max_size=40), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_no_sequence_of_answers_loses_a_span(statuses: list[int], batches: list[int]) -> None:
    """Every span arrives once the collector works again, except one that it rejected twice, for itself alone."""
    answers, alone = iter(statuses), Counter[str]()

    def script(spans: list[RawSpan], size: int) -> tuple[int, dict[str, str], bytes]:
        status = next(answers, 200)
        if len(spans) == 1 and status in _REJECTIONS:
            alone[spans[0].span_id] += 1
        return status, {}, b""

    with (
        impatient(),
        tempfile.TemporaryDirectory() as folder,
        Collector(script) as collector,
        program(collector, Path(folder)) as sender,
    ):
        recorded: list[str] = []
        for count in batches:
            recorded += sender.record(count)
            sender.flush()
        deadline = time.monotonic() + 30
        while not sender.flush():
            assert time.monotonic() < deadline
            time.sleep(0.002)
        arrived = {span.span_id for span in collector.spans}
        missing = set(recorded) - arrived
        assert missing <= {span_id for span_id, count in alone.items() if count > 1}
        assert sender.counts.refused == len(missing)
        assert sorted(span.span_id for span in collector.spans) == sorted(arrived)


_CODES = ("INTERNAL", "UNKNOWN", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "UNIMPLEMENTED")


@pytest.mark.parametrize("code", _CODES)
def test_no_status_of_grpc_loses_a_span(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    aborted = iter(range(12))

    def script(spans: list[RawSpan], context: Any) -> None:
        if next(aborted, None) is not None:
            context.abort(grpc.StatusCode[code], "no")

    with impatient(), GrpcCollector(script) as collector, program(collector, tmp_path) as sender:
        recorded = sender.record(9)
        deadline = time.monotonic() + 30
        while not sender.flush():
            assert time.monotonic() < deadline
            time.sleep(0.002)
    assert sorted(span.span_id for span in collector.spans) == sorted(recorded)
    assert all(len(span.attributes) == 2 for span in collector.spans)


@pytest.mark.parametrize(("status", "refused"), [(400, 1), (500, 0)])
def test_one_span_that_fails_each_time_holds_up_no_other(status: int, refused: int, tmp_path: Path) -> None:
    """The others arrive. The span is dropped if it is rejected, and kept if the endpoint fails: it may be mended later."""

    def script(spans: list[RawSpan], size: int) -> tuple[int, dict[str, str], bytes]:
        return (status if any("poison" in span.attributes for span in spans) else 200), {}, b""

    with impatient(), Collector(script) as collector:
        with program(collector, tmp_path) as sender:
            expected = sender.record(20)
            (poison,) = sender.record(1, poison=True)
            expected += sender.record(20)
            deadline = time.monotonic() + 20
            while len(collector.spans) < 40 or sender.counts.refused < refused:
                sender.flush()
                assert time.monotonic() < deadline
            expected += sender.record(5)
            assert sender.flush() is bool(refused)
            assert sorted(span.span_id for span in collector.spans) == sorted(expected)
            assert sender.counts.refused == refused
        collector.script = taking
        with program(collector, tmp_path) as later:
            later.flush()
        assert (poison in {span.span_id for span in collector.spans}) is not bool(refused)


@pytest.mark.parametrize("status", [500, 400])
def test_a_collector_that_refuses_everything_is_asked_ever_more_rarely(status: int, tmp_path: Path) -> None:
    """A request after 1, 2, 4 … seconds, or half a minute, whatever the number of spans; then all arrive."""
    asked: list[float] = []

    def script(spans: list[RawSpan], size: int) -> tuple[int, dict[str, str], bytes]:
        asked.append(time.monotonic())
        return status, {}, b""

    with Collector(script) as collector, program(collector, tmp_path) as sender:
        expected = sender.record(200)
        until = time.monotonic() + 2.4
        while time.monotonic() < until:
            sender.flush()
            time.sleep(0.05)
        assert len(asked) <= (2 if status == 500 else 9)  # 200 spans are one span after eight halvings
        collector.script = taking
        sender._forwarder._breaker.worked()
        assert sender.flush()
        assert sorted(span.span_id for span in collector.spans) == sorted(expected)


def test_spans_of_ended_programs_pass_one_that_is_set_aside(tmp_path: Path) -> None:
    """A program finds what others left although a span of an earlier one fails each time."""

    def script(spans: list[RawSpan], size: int) -> tuple[int, dict[str, str], bytes]:
        return (500 if any("poison" in span.attributes for span in spans) else 200), {}, b""

    with impatient(), Collector(script) as collector:
        collector.down()
        with program(collector, tmp_path) as first:
            first.record(1, poison=True)
        collector.up()
        with mock.patch.object(retries, "AGAIN_SECONDS", 0.0), program(collector, tmp_path) as sender:
            sender.flush()
            with program(collector, tmp_path) as other:  # has no thread, and ends without sending
                other._store.journal.append(9, b"")
                expected = other.record(3)
            deadline = time.monotonic() + 20
            while len(collector.spans) < 3:
                sender.flush()
                assert time.monotonic() < deadline
        assert [span.span_id for span in collector.spans] == expected
