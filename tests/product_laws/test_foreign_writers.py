"""Recorded spans of other writers: no order of arrival, clock or repetition changes a verdict.

The recordings lie beside the repository and are not part of it; without them the tests are skipped.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from llmtrace.cli.read_spans import traces_of
from llmtrace.codec import formats
from llmtrace.codec.dialects import decode
from llmtrace.codec.log_records import LogRecord
from llmtrace.codec.writers import writers_of
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.diagnosis import diagnose
from llmtrace.external.ingest import Ingestor
from llmtrace.model import Inference, RawSpan, ToolExecution, replace
from llmtrace.store.memory import MemoryStore

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "foreign"
TRUTH: list[dict[str, Any]] = json.loads((FOLDER / "truth.json").read_text("utf-8")) if FOLDER.is_dir() else []
NAMES = sorted({row["writer"] for row in TRUTH})
TICK, SKEW = 1_000_000, 30_000_000
"""A whole millisecond, and how far the clock of a tool's machine is off, in nanoseconds."""
Item: TypeAlias = "RawSpan | LogRecord"

pytestmark = pytest.mark.skipif(not TRUTH, reason="the recorded spans are not there")


def items_of(row: dict[str, Any]) -> list[Item]:
    items: list[Item] = []
    for name in (row["file"], row.get("logs")):
        if name is not None:
            with (FOLDER / name).open("rb") as file:
                items += [item for item in formats.read(file) if not isinstance(item, formats.Unreadable)]
    return items


def verdicts(*batches: Sequence[Item]) -> dict[str, Any]:
    """What is said of a trace that arrives in these batches, and is judged after each."""
    store = MemoryStore()
    ingestor = Ingestor(store, content=Content(Config()), quiet=1e9)
    for batch in batches:
        for item in batch:
            if isinstance(item, RawSpan):
                ingestor.ingest([item])
            else:
                ingestor.ingest_logs([item])
        ingestor.evaluate_all()
    summary = store.traces()[0]
    trace = store.trace(summary.trace_id)
    found = [(span.span_id, evaluation) for span in trace.spans for evaluation in span.evaluations]
    return {
        "evaluations": {(span_id, one.name, one.label, one.severity) for span_id, one in found},
        "violations": {
            (violation.tool, violation.code, violation.pointer) for span in trace.spans for violation in span.violations
        },
        "suspects": {(suspect.check, suspect.confidence) for suspect in diagnose(trace).marked},
        "summary": (summary.health, summary.task, summary.answer, summary.input_tokens, summary.output_tokens),
    }


def shuffled(items: Sequence[Item], number: int) -> list[Item]:
    """The items in another order. Records of one span keep theirs, since many of them have the same time."""
    order = list(items)
    random.Random(number).shuffle(order)
    records = {item.span_id: iter([one for one in items if _is_record_of(one, item)]) for item in items if _is_record(item)}
    return [next(records[item.span_id]) if _is_record(item) else item for item in order]


def _is_record(item: Item) -> bool:
    return isinstance(item, LogRecord)


def _is_record_of(item: Item, other: Item) -> bool:
    return _is_record(item) and item.span_id == other.span_id


def change_spans(items: Sequence[Item], change: Callable[[RawSpan], RawSpan]) -> list[Item]:
    return [change(item) if isinstance(item, RawSpan) else item for item in items]


def rounded(span: RawSpan) -> RawSpan:
    return replace(span, start=span.start // TICK * TICK, end=None if span.end is None else span.end // TICK * TICK)


def skewed(span: RawSpan, by: int) -> RawSpan:
    is_tool = isinstance(decode(span).operation, ToolExecution)
    return replace(span, start=span.start + by, end=(span.end or span.start) + by) if is_tool else span


def variants(items: Sequence[Item]) -> Iterator[tuple[str, tuple[Sequence[Item], ...]]]:
    yield "shuffled", (shuffled(items, 1),)
    yield "twice", (shuffled(items, 2) + shuffled(items, 3),)
    late = shuffled(items, 4)
    yield "in two parts", (late[: len(late) // 2], late[len(late) // 2 :])
    yield "records first", (sorted(items, key=lambda item: isinstance(item, RawSpan)),)
    yield "whole milliseconds", (shuffled(change_spans(items, rounded), 5),)
    for by in (-SKEW, SKEW):
        yield f"skewed by {by}", (shuffled(change_spans(items, lambda span, by=by: skewed(span, by)), 6),)


def rows_of(writer: str) -> list[dict[str, Any]]:
    return [row for row in TRUTH if row["writer"] == writer]


def check(row: dict[str, Any]) -> None:
    items = items_of(row)
    expected = verdicts(items)
    for name, batches in variants(items):
        assert verdicts(*batches) == expected, f"{row['file']}, {name}"


@pytest.mark.parametrize("writer", NAMES)
def test_no_order_and_no_clock_changes_a_verdict(writer: str) -> None:
    """The run with the most repetition, in which joining calls is hardest."""
    check(max(rows_of(writer), key=lambda row: (row["scenario"] == "e", row["spans"])))


@pytest.mark.all
@pytest.mark.parametrize("writer", NAMES)
def test_no_order_and_no_clock_changes_a_verdict_of_any_run(writer: str) -> None:
    for row in rows_of(writer):
        check(row)


@pytest.mark.parametrize("writer", NAMES)
def test_each_writer_is_known_with_the_settings_that_record_content(writer: str) -> None:
    """Its spans have the content that the setting records, and schemas only where the page says so."""
    traces = [trace for row in rows_of(writer) for trace in traces_of(str(FOLDER / row["file"]))]
    spans = [span for trace in traces for span in trace.spans]
    known = writers_of(spans)
    assert known, "the writer is not known"
    operations = [span.operation for span in spans]
    schemas = [tool for operation in operations for tool in getattr(operation, "tools", ()) if tool.parameters is not None]
    schemas += [one for operation in operations if (one := getattr(operation, "definition", None)) is not None]
    if schemas:
        assert any(one.schemas for one in known)
    has_content = any(isinstance(operation, Inference) and operation.output for operation in operations)
    assert has_content or any("log" in one.content for one in known)
