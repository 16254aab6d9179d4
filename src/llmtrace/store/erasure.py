"""Erases traces from a local store's folder, so that no byte of their content stays in it.

Records of the journals are overwritten in place and keep their length, so that programs may go on writing. What an ended
program left after its last record is cut off. The index is deleted, and the next reader makes it again from what is left. What
is to be erased is on disk before the first byte is overwritten: killed at any point, the next reader of the store finishes it
(`finish`). If verdicts are kept, they are first written to a journal file of their own, whose name is part of the plan.

Laws: afterwards the store reads as if those traces had never been recorded, or as if nothing but their verdicts had been
(`strip.verdicts_only`). Other traces keep every byte. Bytes that cannot be read, of which nothing can tell whose they are, are
erased with the first trace.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from llmtrace.codec import json_text
from llmtrace.content.strip import verdicts_only
from llmtrace.errors import StoreError
from llmtrace.model import RawSpan, Scope
from llmtrace.semconv import RUN_ID
from llmtrace.store import baselines, journal_files, journal_records, locks, replay_key, send_positions
from llmtrace.store.claims import Claims
from llmtrace.store.local import FORGETTING, WAITING_LOGS
from llmtrace.store.sqlite import Index
from llmtrace.store.tail import read_spans

_LOCK = "forgetting.lock"
_SECONDS = 10.0
"""Seconds to wait for another process that erases."""


class SentSpans(NamedTuple):
    """Spans that an endpoint has, which llmtrace cannot delete there."""

    endpoint: str
    """Protocol and address."""
    spans: int
    until: float
    """Seconds since the Unix epoch: when the endpoint last confirmed spans of the same programs. 0 if unknown."""


class Survey(NamedTuple):
    """What a store's folder has of some traces."""

    spans: int
    bytes: int
    """Of the records in the journals."""
    sent: tuple[SentSpans, ...]
    runs: frozenset[str]
    """Ids of their runs, by which reviews belong to them."""
    damaged: int
    """Bytes of the journals that cannot be read, whoever wrote them."""


def survey(folder: Path, traces: Collection[str]) -> Survey:  # noqa: C901 - one pass over all records
    """Find what the journals have of these traces, without changing anything. Raises OSError."""
    spans, size, damaged = set[tuple[str, str]](), 0, 0
    runs, sent = set[str](), dict[str, tuple[set[str], float]]()
    for journal, kind in _journals(folder):
        for path in _files(journal):
            marks: dict[int, str] = {}
            position: dict[str, tuple[int, float]] = {}
            for record in journal_files.iterate(path):
                if isinstance(record, journal_files.Gap):
                    damaged += 0 if record.tail and journal_files.is_being_written(path) else record.length
                    continue
                if record.kind == journal_files.CONTEXT:
                    marks[record.ref] = send_positions.destination_in(record.payload)
                if record.kind not in (journal_files.START, journal_files.SPAN):
                    continue
                if (trace_id := journal_records.trace_of(record.payload)) not in traces:
                    continue
                size += record.length
                span = journal_records.decode(record.payload, {}, Scope(), prompts=False)
                spans.add((trace_id, span.span_id))
                runs.update(run for run in (span.attributes.get(RUN_ID),) if isinstance(run, str))
                destination = marks.get(record.ref, "")
                if kind and destination and record.kind == journal_files.SPAN:
                    if destination not in position:
                        position[destination] = _position(folder, destination, kind, path.name)
                    offset, at = position[destination]
                    if record.offset < offset:
                        ids, until = sent.get(destination, (set[str](), 0.0))
                        ids.add(span.span_id)
                        sent[destination] = ids, max(until, at)
    found = [SentSpans(_about(folder, destination), len(ids), until) for destination, (ids, until) in sorted(sent.items())]
    return Survey(len(spans), size, tuple(found), frozenset(runs), damaged)


def erase(
    folder: Path, traces: Collection[str], runs: Collection[str], letters: Collection[str], *, keep_verdicts: bool = False
) -> None:
    """Erase all that the folder has of these traces.

    ``runs``: ids of their runs. ``letters``: ids of their dead letters. ``keep_verdicts``: see `strip.verdicts_only`. Raises
    OSError, StoreError; the next reader of the store goes on then.
    """
    with locks.locked(folder / _LOCK, exclusive=True, seconds=_SECONDS):
        _finish(folder)  # what another process left
        verdicts = journal_files.new_name(journal_files.new_process(), 0) if keep_verdicts else ""
        plan = _Plan(frozenset(traces), frozenset(runs), frozenset(letters), verdicts)
        _replace(folder / FORGETTING, json.dumps({**plan._asdict()}, default=sorted).encode())
        _finish(folder)


def finish(folder: Path) -> None:
    """Do what `erase` has begun, if anything is left of it. Raises OSError, StoreError."""
    with locks.locked(folder / _LOCK, exclusive=True, seconds=_SECONDS):
        _finish(folder)


class _Plan(NamedTuple):
    """What is to be erased."""

    traces: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()
    letters: frozenset[str] = frozenset()
    verdicts: str = ""
    """Name of the journal file for the verdicts of the traces; empty if they go, too."""


def _finish(folder: Path) -> None:
    if not (folder / FORGETTING).exists():
        return
    plan = _plan(folder)
    if plan.verdicts:
        _keep_verdicts(folder / "journal", plan)
    try:
        Claims(folder).erase([*plan.runs, *plan.traces], plan.letters)
    except sqlite3.Error as error:
        raise StoreError(f"reviews in {folder} cannot be erased: {error}") from error
    _erase_names(folder, plan)
    for journal, _ in _journals(folder):
        for path in _files(journal):
            if path.name != plan.verdicts:
                _erase_in(path, plan.traces)
        _remove_unreadable(journal)
    _erase_logs(folder / WAITING_LOGS, plan.traces)
    _remove_drafts(folder)
    for place in (folder, folder / replay_key.REPLAYS):
        Index(place).remove()
    (folder / FORGETTING).unlink(missing_ok=True)


def _journals(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the folders with journal files, and the name of their positions; empty for replays, which are not sent."""
    yield folder / "journal", send_positions.STORE
    yield folder / send_positions.UNSENT / "journal", send_positions.UNSENT
    yield folder / replay_key.REPLAYS / "journal", ""


def _files(journal: Path) -> Iterator[Path]:
    """Yield the readable files of a journal. Raises StoreError for a file of a newer llmtrace, which has another form."""
    for file in journal_files.listing(journal):
        path = journal / file.name
        if _is_usable(path):
            yield path


def _is_usable(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            journal_files.check_head(file, path)
    except FileNotFoundError:  # removed meanwhile
        return False
    except journal_files.Unusable as unusable:
        if unusable.newer:
            raise StoreError(
                f"{path} was written by a newer llmtrace, so this one cannot tell whose traces it has. Upgrade llmtrace"
            ) from None
        return False
    return True


def _position(folder: Path, destination: str, kind: str, name: str) -> tuple[int, float]:
    place = folder / send_positions.FOLDER / destination / kind
    try:
        changed = (place / (name + send_positions.SUFFIX)).stat().st_mtime
    except OSError:
        return 0, 0.0
    return send_positions.Positions(place).read(name).offset, changed


def _about(folder: Path, destination: str) -> str:
    try:
        return (folder / send_positions.FOLDER / destination / send_positions.ABOUT).read_text(encoding="utf-8").strip()
    except OSError:
        return destination


def _plan(folder: Path) -> _Plan:
    """Return what is to be erased. A file that cannot be read names nothing: it is replaced whole, so nobody has begun."""
    read: Any = None
    with contextlib.suppress(OSError, ValueError):
        read = json.loads((folder / FORGETTING).read_bytes())
    members = read if isinstance(read, dict) else {}
    ids = {name: frozenset(map(str, members.get(name, ()))) for name in ("traces", "runs", "letters")}
    return _Plan(**ids, verdicts=Path(str(members.get("verdicts", ""))).name)


def _replace(path: Path, data: bytes) -> None:
    """Replace a file in one step. What is in it is on disk before it is there."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with _written(draft) as file:
        file.write(data)
    draft.replace(path)


@contextlib.contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write it anew. At the end of the block it is on disk."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | locks.FLAGS, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _keep_verdicts(journal: Path, plan: _Plan) -> None:
    """Write the verdicts of these traces to a journal file, which is there only when it is complete. They are not sent.

    By age and size it is removed like traces that were recorded now.
    """
    path, draft = journal / plan.verdicts, journal / f".{plan.verdicts}.tmp"
    if path.exists():
        return
    contexts: dict[bytes, int] = {}
    with _written(draft) as file:
        file.write(journal_files.head())
        for raw in _newest_states(journal, plan.traces):
            counted = verdicts_only(raw)
            context = journal_records.encode_context(counted.resource, counted.scope)
            if context not in contexts:
                contexts[context] = len(contexts) + 1
                file.write(journal_files.frame(journal_files.CONTEXT, contexts[context], context))
            kind = journal_files.START if raw.end is None else journal_files.SPAN
            file.write(journal_files.frame(kind, contexts[context], journal_records.encode(counted)))
    draft.replace(path)


def _newest_states(journal: Path, traces: Collection[str]) -> Iterator[RawSpan]:
    """Yield the spans of these traces, in all versions, and the start marks of those that have not ended.

    A start mark does not know yet that its tool does not exist, so that its name is content.
    """
    unfinished: dict[tuple[str, str], RawSpan | None] = {}
    for path in _files(journal):
        for _, raw in read_spans(path, 0, {}):
            if raw is None or raw.trace_id not in traces:
                continue
            if raw.end is None:
                unfinished.setdefault((raw.trace_id, raw.span_id), raw)
            else:
                unfinished[raw.trace_id, raw.span_id] = None
                yield raw
    yield from (mark for mark in unfinished.values() if mark is not None)


def _erase_in(path: Path, traces: Collection[str]) -> None:  # noqa: C901 - one pass over all records
    """Overwrite the records of these traces. A file of an ended program in which no span is left is removed."""
    is_written = journal_files.is_being_written(path)  # first, since an incomplete record may be complete soon
    places: list[journal_files.Record | journal_files.Gap] = []
    contexts: dict[int, journal_files.Record] = {}
    kept = 0
    for record in journal_files.iterate(path):
        if isinstance(record, journal_files.Gap):
            if not (record.tail and is_written):
                places.append(record)
        elif record.kind == journal_files.CONTEXT:
            contexts[record.ref] = record
        elif record.kind in (journal_files.START, journal_files.SPAN) and journal_records.trace_of(record.payload) in traces:
            places.append(record)
        elif record.kind != journal_files.ERASED:
            kept += 1
            contexts.pop(record.ref, None)
    if not places:
        return
    if not is_written:
        places += contexts.values()
    status = path.stat()
    with path.open("r+b") as file:
        for place in sorted(places, key=lambda place: place.offset):
            journal_files.erase(file, place)
        file.flush()
        os.fsync(file.fileno())
    if not kept and not is_written:
        path.unlink(missing_ok=True)
    else:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # its age decides how long it is kept


def _remove_unreadable(journal: Path) -> None:
    """Remove files of which nothing can be read, also those that were set aside as such."""
    for file in journal_files.listing(journal):
        path = journal / file.name
        if not _is_usable(path) and not journal_files.is_being_written(path):
            path.unlink(missing_ok=True)
    for path in journal.glob(f"*{journal_files.CORRUPT}"):
        path.unlink(missing_ok=True)


def _erase_logs(path: Path, traces: Collection[str]) -> None:
    """Rewrite the file of waiting log records without those of these traces, and without lines that cannot be read."""
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if not _is_of(line, traces)]
    if len(kept) < len(lines):
        _replace(path, b"".join(kept))


def _remove_drafts(folder: Path) -> None:
    """Remove what programs that died while they replaced a file left of it: it may hold the content of anyone."""
    for name in (FORGETTING, WAITING_LOGS, f".{baselines.NAME}"):
        for path in folder.glob(f"{name}.*"):
            path.unlink(missing_ok=True)


def _is_of(line: bytes, traces: Collection[str]) -> bool:
    document = json_text.read(line.decode("utf-8", "replace")) if line.strip() else None
    ids = {span.get("traceId") for span in _spans_in(document)}
    return not ids or not ids.isdisjoint(traces)


def _spans_in(document: Any) -> Iterator[dict[str, Any]]:
    """Yield the spans of an OTLP JSON document."""
    for resource in document.get("resourceSpans", ()) if isinstance(document, dict) else ():
        for scope in resource.get("scopeSpans", ()):
            yield from scope.get("spans", ())


def _erase_names(folder: Path, plan: _Plan) -> None:
    """Take out of the pinned baselines the names that only these traces have: a model may have made them up.

    A name that stays with their verdicts stays here, too.
    """
    pins = baselines.read(folder)
    names = baselines.names(pins)
    if not names:
        return
    written = {name: json.dumps(name, ensure_ascii=False).encode("utf-8", "surrogatepass")[1:-1] for name in names}
    mine, others = set[str](), set[str]()
    for journal, kind in _journals(folder):
        for path in _files(journal) if kind else ():
            for record in journal_files.iterate(path):
                if isinstance(record, journal_files.Record) and record.kind in (journal_files.START, journal_files.SPAN):
                    goes = path.name != plan.verdicts and journal_records.trace_of(record.payload) in plan.traces
                    seen = mine if goes else others
                    seen.update(name for name in names - seen if written[name] in record.payload)
    if gone := mine - others:
        baselines.write(folder, baselines.without(pins, gone))
