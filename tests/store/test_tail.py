"""Following what programs write to a local store."""

from __future__ import annotations

from pathlib import Path

from llmtrace.store.local import LocalStore
from llmtrace.store.tail import Tail
from tests.store.spans import span, span_id


def told(tail: Tail) -> list[tuple[str, bool]]:
    return [(written.span.span_id, written.span.end is not None) for written in tail.poll()]


def test_spans_come_once_as_they_begin_and_end(tmp_path: Path) -> None:
    """What was there before is left out unless it is asked for; begun and ended spans come in the order written."""
    store = LocalStore(tmp_path / "store")
    store.append(span(1, 1))
    tail, whole = Tail(tmp_path / "store" / "journal"), Tail(tmp_path / "store" / "journal", whole=True)
    assert told(tail) == []
    store.append(span(1, 2, ended=False))
    store.append(span(1, 2))
    assert told(tail) == [(span_id(2), False), (span_id(2), True)]
    assert told(tail) == []
    assert [written.span.resource for written in whole.poll()] == [span(1).resource] * 3
    store.close()


def test_a_record_half_written_is_told_when_it_is_whole(tmp_path: Path) -> None:
    """And once; a store that is not there yet tells nothing until it is."""
    tail = Tail(tmp_path / "store" / "journal")
    assert told(tail) == []
    store = LocalStore(tmp_path / "store")
    store.append(span(1, 1))
    (path,) = (tmp_path / "store" / "journal").glob("*.journal")
    data = path.read_bytes()
    path.write_bytes(data[:-5])
    assert told(tail) == []
    path.write_bytes(data)
    assert told(tail) == [(span_id(1), True)]
    store.close()
