"""What a user left is in no file after it was forgotten, wherever it stood; every other trace stays as it was."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import llmtrace
from llmtrace.cli import main
from llmtrace.codec import genai
from llmtrace.codec.log_records import LogRecord
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.list_verdicts import verdict_of
from llmtrace.model import Event, Span, replace
from llmtrace.semconv import REPLAY_OF
from llmtrace.store import baselines, replay_key, send_positions
from llmtrace.store.local import LocalStore
from llmtrace.store.summary import TraceSummary
from llmtrace.store.waiting_logs import WaitingLogs
from tests.exporters.collector import Collector
from tests.exporters.programs import run as run_sending
from tests.product_laws.leaking_program import PLACES

ROOT = Path(__file__).parents[2]
OF_PROCESS = ("decision", "fingerprint_env", "resource", "service name")
"""Places whose text belongs to all runs of a process."""
NAMES = ("span name",)
"""Places with names that the program chose, which are counted, so verdicts have them."""
USER, OTHER = "canaryminezuser", "canaryotherzuser"


def canary(owner: str, place: str) -> str:
    return f"canary{owner}z{place.replace(' ', '')}"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which one run of a user, and one of another, left their words in every place."""
    folder = tmp_path_factory.mktemp("forgotten") / "store"
    planted = {place: [] if place in OF_PROCESS else [canary("mine", place), canary("other", place)] for place in PLACES}
    document = {"planted": planted, "feedback": False, "options": {"store": str(folder), "content": "all"}}
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    words = [sys.executable, "-m", "tests.product_laws.leaking_program"]
    subprocess.run(words, input=json.dumps(document).encode(), check=True, capture_output=True, cwd=ROOT, env=environment)
    with contextlib.closing(LocalStore(folder, background=False)) as store:
        by_user = {summary.users[0]: summary for summary in store.traces()}
        for owner, user in (("mine", USER), ("other", OTHER)):
            _leave_more(folder, owner, store.trace(by_user[user].trace_id).spans)
            trace = by_user[user].trace_id
            said = ["--comment", canary(owner, "feedback"), "--label", canary(owner, "feedback label")]
            who = ["--user", canary(owner, "feedback user"), "--store", str(folder)]
            assert main(["feedback", trace, "--score", "0", *said, *who]) == 0
    for command in (["ls", "--text", USER], ["issues"], ["stats"], ["drift"], ["ls"]):
        assert main([*command, "--store", str(folder)]) == 0
    return folder


def _leave_more(folder: Path, owner: str, spans: Iterable[Span]) -> None:
    """Leave the words where another program of llmtrace would: a replay, unsent spans, log records that wait, a baseline."""
    raws = [genai.encode(span) for span in spans]
    for place in (folder / replay_key.REPLAYS, folder / send_positions.UNSENT):
        with contextlib.closing(LocalStore(place, background=False)) as store:
            of = {"trace_id": f"{owner.encode().hex():0>32}"} if place.name == replay_key.REPLAYS else {}
            attributes = {REPLAY_OF: raws[0].trace_id}
            store.append_all(replace(raw, **of, attributes={**raw.attributes, **(attributes if of else {})}) for raw in raws)
    logs = WaitingLogs(folder, Content(Config(content="all")))
    event = Event("note", 1, {"gen_ai.event.content": canary(owner, "log")})
    logs.append([LogRecord(raws[0].trace_id, "f" * 16, event)], list)
    (folder / f"waiting_logs.jsonl.{os.getpid()}").write_bytes((folder / "waiting_logs.jsonl").read_bytes())  # it was killed
    key = json.dumps(["support", "gpt-4o", canary(owner, "called tool")])
    pins = {**baselines.read(folder), key: {}}
    baselines.write(folder, pins)


@pytest.fixture
def folder(recorded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(recorded, tmp_path / "store"))


def places_in(folder: Path, owner: str, places: Iterable[str] = (*PLACES, "log")) -> dict[str, list[str]]:
    """The files in which each of an owner's words stands."""
    found: dict[str, list[str]] = {}
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for place in places:
            if canary(owner, place).encode() in content:
                found.setdefault(place, []).append(str(path.relative_to(folder)))
    return found


def summaries(folder: Path) -> dict[str, TraceSummary]:
    with contextlib.closing(LocalStore(folder, background=False)) as store:
        return {summary.users[0] if summary.users else "": summary for summary in store.traces()}


def spans_of(folder: Path, trace_id: str) -> Any:
    with contextlib.closing(LocalStore(folder, background=False)) as store:
        return store.trace(trace_id).spans


def test_the_words_stand_in_many_places(folder: Path) -> None:
    """The tests below can fail: the words are there before."""
    found = places_in(folder, "mine")
    assert len(found) >= len(PLACES) - 8
    kinds = {"journal", "index.db", "claims.db", "replays", "unsent", "waiting_logs.jsonl", "baselines.json"}
    assert kinds <= {file.split("/")[0] for files in found.values() for file in files}


@pytest.mark.parametrize("keep", [False, True])
def test_no_word_of_a_user_stays(folder: Path, keep: bool) -> None:
    """Neither in the journals, the index, reviews, letters, baselines, replays, unsent spans nor log records that wait."""
    other = summaries(folder)[OTHER]
    before = spans_of(folder, other.trace_id), places_in(folder, "other")
    options = ["--keep-verdicts"] if keep else []
    assert main(["forget", "--user", USER, "--yes", *options, "--store", str(folder)]) == 0
    assert {place: files for place, files in places_in(folder, "mine").items() if not (keep and place in NAMES)} == {}
    assert spans_of(folder, other.trace_id) == before[0]
    after = places_in(folder, "other")
    assert {place for place, files in before[1].items() if any(not file.startswith("index.db") for file in files)} <= set(after)


def test_verdicts_that_are_kept_are_counted_as_before(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``ls``, ``stats`` and ``issues`` count the run: its health, findings, usage, times and models."""
    before = summaries(folder)[USER]
    verdict = verdict_of(LocalStore(folder, background=False).trace(before.trace_id))
    with llmtrace.open_store(folder) as store:
        forgotten = store.forget(user=USER, keep_verdicts=True)
    assert forgotten.traces == (before.trace_id,)
    trace = LocalStore(folder, background=False).trace(before.trace_id)
    after, kept = summaries(folder)[""], verdict_of(trace)
    counted = (
        "trace_id",
        "name",
        "start",
        "end",
        "spans",
        "agents",
        "models",
        "errors",
        "input_tokens",
        "output_tokens",
        "cost_usd",
    )
    assert {name: getattr(after, name) for name in counted} == {name: getattr(before, name) for name in counted}
    assert (kept.health, {one.issue for one in kept.issues}) == (verdict.health, {one.issue for one in verdict.issues})
    assert [after.users, after.conversations, after.tags, after.task, after.answer] == [(), (), (), None, None]
    capsys.readouterr()
    assert main(["forget", before.trace_id, "--yes", "--store", str(folder)]) == 0
    assert set(summaries(folder)) == {OTHER}


def test_what_had_left_the_machine_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Spans that an OTLP endpoint has: how many, which endpoint, and by when it had them."""
    store = str(tmp_path / "store")
    before = time.time() - 1
    with Collector() as collector:
        program = """
            with llmtrace.context(user="u-17"):
                work(3)
            llmtrace.flush()
        """
        run_sending(program, tmp_path, collector.url)
        collector.wait(3)
    work = "with llmtrace.context(user='u-17'): work(2)"
    run_sending(work, tmp_path, "", OTEL_SDK_DISABLED="", OTEL_TRACES_EXPORTER="none")
    capsys.readouterr()
    assert main(["forget", "--user", "u-17", "--dry-run", "--json", "--store", store]) == 0
    document = json.loads(capsys.readouterr().out)
    (sent,) = document["sent"]
    assert (document["spans"], sent["spans"]) == (5, 3)
    assert collector.url in sent["endpoint"]
    assert before <= time.mktime(time.strptime(sent["until"], "%Y-%m-%d %H:%M:%S")) <= time.time() + 1
    assert main(["forget", "--user", "u-17", "--yes", "--keep-verdicts", "--store", store]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"3 spans had been sent to {sent['endpoint']} by {sent['until']}. Delete them there, too." in printed
    with collector:
        run_sending("work(1); llmtrace.flush()", tmp_path, collector.url)
        collector.wait(4)
    assert len(collector.spans) == 4  # the verdicts that were kept are not sent again
