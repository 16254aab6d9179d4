"""Whatever a crash leaves can be read: every prefix of what was written, torn writes, and writes that a power cut lost."""

from __future__ import annotations

import hashlib
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmtrace.playback.recording_file import read_recording
from llmtrace.store import journal_files, journal_records, replay_key
from llmtrace.store.local import LocalStore
from tests.store import crash_images, faults, scenarios
from tests.store.crash_images import Change, Image
from tests.store.spans import span, trace_id

Check = Callable[[Path, list[Change], Image, bool], None]


def _ended(folder: Path, final: Image) -> set[tuple[str, str]]:
    """The ended spans whose record the image has as the program wrote it."""
    found = set()
    for path, data in final.items():
        if data is None or not path.endswith(".journal") or not (folder / path).is_file():
            continue
        now, complete = (folder / path).read_bytes(), folder.parent / "complete"
        complete.write_bytes(data)
        for record in journal_files.iterate(complete):
            place = slice(record.offset, record.offset + record.length)
            if isinstance(record, journal_files.Record) and record.kind == journal_files.SPAN and now[place] == data[place]:
                raw = journal_records.decode(record.payload, {}, span(1).scope)
                found.add((raw.trace_id, raw.span_id))
    return found


def _check_spans(folder: Path, changes: list[Change], final: Image, is_killed: bool) -> None:
    expected = _ended(folder, final)
    for _ in range(2):
        read = scenarios.spans_of(folder)
        assert {(one.trace_id, one.span_id) for one in read if one.end is not None} == expected
    if is_killed and any(change == Change("M", "", 0, b"run 3") for change in changes):
        assert len(expected) == 10
    scenarios.check_writable(folder)


def _check_reviews(folder: Path, changes: list[Change], final: Image, is_killed: bool) -> None:
    marks = {change.data for change in changes if change.kind == "M"}
    states = {one.request.payload["order"]: one.state for one in scenarios.reviews_of(folder)}
    if b"answered a" in marks:
        assert states["a"] == "done"
    if b"answered b" in marks:
        assert states["b"] == "rejected"
    scenarios.check_review_writable(folder)


def _check_recording(folder: Path, changes: list[Change], final: Image, is_killed: bool) -> None:
    if is_killed:
        (trace,) = read_recording(folder / "case.jsonl")
        is_written = any(change.data == b"written" for change in changes if change.kind == "M")
        assert len(trace) == 2
        assert trace.trace_id == trace_id(2) if is_written else trace.trace_id in (trace_id(1), trace_id(2))
    assert len(replay_key.of(folder)) == 32
    assert len(LocalStore(folder, background=False).traces(scenarios.EVERYTHING)) == scenarios.TRACES


def _check_baselines(folder: Path, changes: list[Change], final: Image, is_killed: bool) -> None:
    count = len(LocalStore(folder).pins())
    assert count in (1, 3) or not is_killed
    assert len(LocalStore(folder, background=False).traces(scenarios.EVERYTHING)) == scenarios.TRACES
    LocalStore(folder, background=False).pin(scenarios.pins(2))
    assert len(LocalStore(folder).pins()) == 2


def _check_index(folder: Path, changes: list[Change], final: Image, is_killed: bool) -> None:
    for _ in range(2):
        store = LocalStore(folder, background=False)
        assert [one.spans for one in store.traces(scenarios.EVERYTHING)] == [2] * scenarios.TRACES
        assert len(list(store.spans(scenarios.EVERYTHING))) == 2 * scenarios.TRACES
    scenarios.check_writable(folder)


CHECKS: dict[str, Check] = {
    "journal": _check_spans,
    "reviews": _check_reviews,
    "recordings": _check_recording,
    "baselines": _check_baselines,
    "index": _check_index,
}


def _run(name: str, count: int, tmp_path: Path, seconds: float = 600) -> int:
    """Check a sample of ``count`` images (0: all) for at most ``seconds``. Returns how many it checked."""
    if isinstance(reason := faults.shim(), str):
        pytest.skip(reason)
    faults.run_apart(name, "record", str(tmp_path / "start"), str(tmp_path / "log"))
    start, changes = crash_images.load(tmp_path / "start"), crash_images.read_log(tmp_path / "log")
    final = crash_images.after(start, changes)
    plan: list[tuple[int, Any, bool]] = []
    seen: set[tuple[int, bytes]] = set()
    for make, is_killed in ((crash_images.killed, True), (crash_images.powerless, False)):
        for at, image in make(start, changes):
            digest = hashlib.sha256(repr(sorted(image.items())).encode()).digest()
            marks = sum(change.kind == "M" for change in changes[:at])
            if image and (marks, digest) not in seen:
                seen.add((marks, digest))
                if not count or len(plan) < 20_000:
                    plan.append((at, image, is_killed))
    if count and count < len(plan):
        plan = random.Random(1).sample(plan, count)
    failures, checked, end = [], 0, time.monotonic() + seconds
    for at, image, is_killed in plan:
        if time.monotonic() > end:
            break
        folder = tmp_path / "image" / "store"
        crash_images.store(image, folder)
        checked += 1
        try:
            CHECKS[name](folder, changes[:at], final, is_killed)
        except Exception as error:
            last = changes[at - 1]._replace(data=changes[at - 1].data[:20])
            failures.append(f"{'kill' if is_killed else 'power cut'} after change {at} ({last}): {error!r:.500}")
        shutil.rmtree(folder.parent)
    print(f"{name}: {checked} images of {len(seen)}, from {len(changes)} changes")
    assert not failures, f"{len(failures)} of {checked}\n" + "\n".join(failures[:10])
    return checked


def test_a_sample_of_images(tmp_path: Path) -> None:
    assert _run("journal", 40, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", CHECKS)
def test_every_image(name: str, tmp_path: Path) -> None:
    assert _run(name, 0, tmp_path)
