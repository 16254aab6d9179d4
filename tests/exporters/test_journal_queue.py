"""The spans that wait in journal files: which run a span ends, and which files go when all of their spans were sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmtrace.exporters.forwarding.journal_cursor import WHOLE, JournalCursor, mark
from llmtrace.exporters.forwarding.journal_queue import JournalQueue
from llmtrace.model import RawSpan, Scope
from llmtrace.store import journal_files, journal_records
from llmtrace.store.journal import Journal
from llmtrace.store.send_positions import FOLDER, STORE, UNSENT, Positions

OURS, OTHERS = "ours", "others"


def write(journal: Journal, *spans: tuple[str, str, bool], destination: str = OURS) -> None:
    """Write spans: trace, span and True if it has ended."""
    context = journal_records.encode_context({}, Scope(), mark(destination, WHOLE))
    for trace_id, span_id, is_ended in spans:
        raw = RawSpan(trace_id, span_id, "step", 1, 2 if is_ended else None)
        journal.append(journal_files.SPAN if is_ended else journal_files.START, journal_records.encode(raw), context)


def queue_of(home: Path) -> JournalQueue:
    for name in (STORE, UNSENT):
        (home / FOLDER / OURS / name).mkdir(parents=True, exist_ok=True)
    return JournalQueue(home, OURS, Journal(None))


def sent(queue: JournalQueue) -> list[str]:
    """Read and settle all spans, and let the queue see that they are settled."""
    ids = []
    for cursor in queue.cursors(all_of_it=True):
        while batch := cursor.read(1 << 20):
            for item in batch:
                ids.append(item.span_id)
                item.settle()
    assert list(queue.cursors(all_of_it=True)) == []
    return sorted(ids)


def test_a_run_ends_with_its_last_open_span(tmp_path: Path) -> None:
    """Spans of other runs may be open, and a start that was written twice is one span."""
    journal = Journal(tmp_path)
    write(journal, ("b", "1", False), ("a", "1", False), ("a", "2", False), ("a", "2", False))
    write(journal, ("a", "2", True), ("a", "1", True), ("c", "1", True))
    cursor = JournalCursor(tmp_path, journal.process, OURS, Positions(tmp_path / "positions"), alive=True)
    assert [item.ends_run for item in cursor.read(1 << 20)] == [False, True, True]


def test_files_of_sent_spans_go(tmp_path: Path) -> None:
    """What only waited goes with its last span. A file that another destination needs stays, and so does one in use."""
    folder, names = tmp_path / UNSENT / "journal", list[str]()
    for number, destination in enumerate([OURS, OURS, OTHERS]):
        journal = Journal(folder)
        write(journal, ("a", str(number), True))
        write(journal, ("a", str(number), True), destination=destination)
        names = [file.name for file in journal_files.listing(folder)]
        journal.close()
    running = Journal(folder)
    write(running, ("a", "3", True))
    assert set(sent(queue_of(tmp_path))) == {"0", "1", "2"}
    left = [file.name for file in journal_files.listing(folder)]
    assert left[0] == names[-1]
    assert [journal_files.process_of(name) for name in left[1:]] == [running.process]


def test_the_journal_of_a_store_stays(tmp_path: Path) -> None:
    """Even if the store's own folder has the name of the folder for unsent spans."""
    home = tmp_path / UNSENT
    journal = Journal(home / "journal")
    write(journal, ("a", "1", True))
    journal.close()
    assert sent(queue_of(home)) == ["1"]
    queue_of(home).tidy()
    assert len(journal_files.listing(home / "journal")) == 1


def test_a_file_that_cannot_be_removed_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / UNSENT / "journal")
    write(journal, ("a", "1", True))
    journal.close()

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "unlink", refuse)
    queue = queue_of(tmp_path)
    assert sent(queue) == ["1"]
    assert sent(queue) == []
