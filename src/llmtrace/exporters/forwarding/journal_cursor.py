"""Reads the spans that one process has journaled for one destination, and remembers the position up to which they are settled.

Law: a span for another destination is never decoded. A position moves past a span only when the span is settled: sent, rejected
or dropped by sampling. Only start marks and spans in transit are in memory.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llmtrace import semconv
from llmtrace.model import JsonValue, RawSpan, Scope, replace
from llmtrace.store import journal_files, journal_records
from llmtrace.store.send_positions import Position, Positions

WHOLE, STRIPPED = "whole", "bare"
"""The second half of a journal's mark: send the span unchanged, or without content."""


def mark(destination: str, level: str) -> str:
    """Return the mark of spans for a destination; ``level`` is `WHOLE` or `STRIPPED`."""
    return f"{destination}/{level}"


@dataclass(slots=True, eq=False)
class QueuedSpan:
    """A span to send. Its ``raw`` may be dropped from memory; `load` reads it again."""

    raw: RawSpan | None
    size: int
    whole: bool
    trace_id: str
    span_id: str
    ends_run: bool = True
    """True if no span of its trace was open in this process when it ended."""
    tail: JournalCursor | None = None
    """The cursor that read it; None if the span is only in memory."""
    file: str = ""
    offset: int = 0
    length: int = 0
    ref: int = 0
    rate: float | None = None
    """The sampling rate of its trace; None without sampling."""

    def load(self) -> RawSpan | None:
        """Return the span as it was journaled, or None if it was removed."""
        if self.raw is None and self.tail is not None:
            self.raw = self.tail.read_again(self)
        return self.raw

    def load_whole(self) -> RawSpan | None:
        """Return the span with its prompts, even if they are not sent."""
        return self.tail.read_again(self, prompts=True) if self.tail is not None and self.length else self.load()

    def release(self) -> None:
        if self.tail is not None and self.length:
            self.raw = None

    def settle(self) -> None:
        if self.tail is not None:
            self.tail.settle(self)


@dataclass(slots=True)
class _File:
    handled: int
    """Offset before which an earlier reader handled all spans. Contexts and start marks are read again."""
    offset: int = 0
    contexts: dict[int, tuple[Mapping[str, JsonValue], Scope, str]] = field(default_factory=dict)
    outstanding: dict[int, None] = field(default_factory=dict)
    """Offsets of spans that were returned and are not settled, in order."""


class JournalCursor:
    """Reads the journal files of one process.

    ``alive``: the process still runs, so more records may come, and an incomplete last one may become complete.
    """

    def __init__(self, journal: Path, process: str, destination: str, positions: Positions, *, alive: bool) -> None:
        self.journal = journal
        self.process = process
        self.alive = alive
        self.finished = False
        """True if all files of an ended process were read."""
        self._marks = {mark(destination, level): level for level in (WHOLE, STRIPPED)}
        self._positions = positions
        self._files: dict[str, _File] = {}
        self._open: dict[tuple[str, str], tuple[RawSpan, str]] = {}
        self._open_in: Counter[str] = Counter()
        """By trace, the number of spans in `_open`."""
        self._last = 0
        self._done: set[str] = set()
        self._names: list[str] = []

    def names(self) -> list[str]:
        """Return the names of the process's files. An ended process makes no more, so they are looked up once."""
        if self.alive or not self._names:
            files = journal_files.listing(self.journal)
            self._names = [file.name for file in files if journal_files.process_of(file.name) == self.process]
        return self._names

    def read(self, most_bytes: int) -> list[QueuedSpan]:
        """Return the next spans, about ``most_bytes`` of them; empty at the end. Raises OSError."""
        if self.finished:
            return []
        batch: list[QueuedSpan] = []
        room = most_bytes
        names = self.names()
        for number, name in enumerate(names):
            if name in self._done:
                continue
            if name not in self._files:
                self._files[name] = _File(self._positions.read(name).offset)
            state = self._files[name]
            with contextlib.suppress(journal_files.Unusable, FileNotFoundError):
                for item in self._items(name, state, last=number == len(names) - 1):
                    batch.append(item)
                    room -= item.size
                    if room <= 0:
                        return batch
            if number < len(names) - 1 or not self.alive:
                self._done.add(name)
        if not self.alive:
            self.finished = True
            batch += self._interrupted(names)
        return batch

    def _items(self, name: str, state: _File, *, last: bool) -> Iterator[QueuedSpan]:
        for record in journal_files.iterate(self.journal / name, state.offset):
            if isinstance(record, journal_files.Gap):
                if record.tail and last and self.alive:
                    return
                state.offset = record.offset + record.length
                continue
            is_new = record.offset >= state.handled
            raw, level = self._take(record, state, decode=is_new or record.kind == journal_files.START or bool(self._open))
            state.offset = record.offset + record.length
            if is_new and raw is not None and raw.end is not None:
                state.outstanding[record.offset] = None
                is_whole = level == WHOLE
                item = queued(raw, whole=is_whole, size=len(record.payload) if is_whole else None)
                item.ends_run = not self._open_in[raw.trace_id]
                item.tail, item.file = self, name
                item.offset, item.length, item.ref = record.offset, record.length, record.ref
                yield item

    def _take(self, record: journal_files.Record, state: _File, *, decode: bool) -> tuple[RawSpan | None, str]:
        """Decode a record if it is for our destination. Returns the span and its level."""
        if record.kind == journal_files.CONTEXT:
            with contextlib.suppress(journal_records.NoRecord):
                level = self._marks.get(journal_records.decode_mark(record.payload), "")
                state.contexts[record.ref] = (*journal_records.decode_context(record.payload), level)
        elif record.kind in (journal_files.START, journal_files.SPAN) and decode:
            resource, scope, level = state.contexts.get(record.ref, ({}, Scope(), ""))
            if level:
                with contextlib.suppress(journal_records.NoRecord):
                    raw = journal_records.decode(record.payload, resource, scope, prompts=level == WHOLE)
                    self._note(raw, level)
                    return raw, level
        return None, ""

    def _note(self, raw: RawSpan, level: str) -> None:
        key = raw.trace_id, raw.span_id
        self._last = max(self._last, raw.start, raw.end or 0)
        if raw.end is None:
            self._open_in[raw.trace_id] += key not in self._open
            self._open[key] = raw, level
        elif self._open.pop(key, None) is not None:
            self._open_in[raw.trace_id] -= 1
            if not self._open_in[raw.trace_id]:
                del self._open_in[raw.trace_id]

    def _interrupted(self, names: list[str]) -> list[QueuedSpan]:
        interrupted = list[QueuedSpan]()
        for started, level in self._open.values():
            item = queued(_as_interrupted(started, self._last), whole=level == WHOLE)
            # no record: offsets below 0 are those of spans that never ended
            item.tail, item.file, item.offset = self, names[-1], -len(interrupted) - 1
            interrupted.append(item)
        if names:
            self._files.setdefault(names[-1], _File(0)).outstanding.update(dict.fromkeys([item.offset for item in interrupted]))
        return interrupted

    def read_again(self, item: QueuedSpan, *, prompts: bool = False) -> RawSpan | None:
        """Read a span again. ``prompts``: also those that are not sent."""
        with contextlib.suppress(OSError, journal_records.NoRecord, KeyError), (self.journal / item.file).open("rb") as file:
            record = journal_files.read(file, item.offset, item.length)
            if record is not None:
                resource, scope, _ = self._files[item.file].contexts[item.ref]
                return journal_records.decode(record.payload, resource, scope, prompts=item.whole or prompts)
        return None

    def settle(self, item: QueuedSpan) -> None:
        self._files[item.file].outstanding.pop(item.offset, None)

    @property
    def settled(self) -> bool:
        """True if no span is in transit."""
        return not any(state.outstanding for state in self._files.values())

    def save(self) -> None:
        """Write the positions up to which all spans are settled. Raises OSError."""
        for name, state in self._files.items():
            marks = [offset for offset in state.outstanding if offset < 0]
            first = next((offset for offset in state.outstanding if offset >= 0), max(state.offset, state.handled))
            still = len(self._open) if not self.finished else len(marks)
            self._positions.write(name, Position(first, still))


class UnwrittenSpans:
    """Spans that the journal keeps in memory because it cannot write them to disk. They are sent from memory.

    If they are written later, they are read a second time; the sampler recognises and skips them.
    """

    def __init__(self, waiting: list[tuple[int, bytes, bytes]], destination: str) -> None:
        self._waiting = [(payload, context) for kind, payload, context in waiting if kind == journal_files.SPAN]
        self._destination = destination

    def read(self, most_bytes: int) -> list[QueuedSpan]:  # noqa: ARG002 - the journal's memory is bounded
        """Return all of them, once."""
        items: list[QueuedSpan] = []
        for payload, context in self._waiting:
            destination, _, level = journal_records.decode_mark(context).partition("/")
            if destination == self._destination:
                with contextlib.suppress(journal_records.NoRecord):
                    raw = journal_records.decode(payload, *journal_records.decode_context(context))
                    items.append(queued(raw, whole=level == WHOLE))
        self._waiting = []
        return items


def queued(raw: RawSpan, *, whole: bool, size: int | None = None) -> QueuedSpan:
    """Make a queue item of a span. ``size``: in bytes, if known."""
    return QueuedSpan(raw, _size(raw) if size is None else size, whole, raw.trace_id, raw.span_id)


def _size(raw: RawSpan) -> int:
    """Return the approximate size of a span on the wire, in bytes."""
    size = 200 + sum(len(name) + _weight(value) for name, value in raw.attributes.items())
    return size + sum(40 + sum(len(name) + _weight(value) for name, value in event.attributes.items()) for event in raw.events)


def _weight(value: JsonValue) -> int:
    return len(value) + 8 if isinstance(value, str) else len(repr(value)) + 8 if isinstance(value, (list, dict)) else 12


def _as_interrupted(started: RawSpan, last: int) -> RawSpan:
    """Return the ended span for the start mark of a program that died: an error at ``last``, the program's last known time."""
    attributes = {**started.attributes, semconv.INTERRUPTED: True, semconv.ERROR_TYPE: "interrupted"}
    return replace(
        started,
        end=max(last, started.start),
        status="error",
        status_message="the program ended before this span did",
        attributes=attributes,
    )
