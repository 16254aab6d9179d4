"""``llmtrace replay``: a program in a process of its own, a recording in a real store, and no server to ask."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from llmtrace.demo.server import ModelServer
from llmtrace.demo.shop import BAD_TASK
from llmtrace.model import Inference
from llmtrace.store import open_store
from llmtrace.store.local import LocalStore
from llmtrace.viewer.source import Source
from tests.cli.conftest import Ran

AGENT = """
import os, signal, sys
import llmtrace
from openai import OpenAI
from llmtrace.demo.agent import support_agent

llmtrace.configure()
support = support_agent(OpenAI(base_url=os.environ.get("URL", "http://127.0.0.1:1/v1"), api_key="k"), "scripted")

@llmtrace.tool
def die() -> None:
    if "kill" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)

@llmtrace.agent
def desk(task):
    answer = support(task)
    die()
    return answer

if "twice" in sys.argv:
    desk(sys.argv[1])
print(desk(sys.argv[1]))
"""

LIVE = ("--tool", "look_up=live", "--tool", "refund=live", "--tool", "die=live")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "agent.py").write_text(AGENT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMTRACE_STORE", str(tmp_path / "store"))
    return str(tmp_path / "store")


def record(*words: str) -> int:
    with ModelServer(pace=0) as server:
        return subprocess.run(
            [sys.executable, "agent.py", *words], env={**os.environ, "URL": server.url}, check=False, capture_output=True
        ).returncode


def test_the_same_program_is_the_same(store: str, llmtrace: Callable[..., Ran]) -> None:
    assert record(BAD_TASK) == 0
    ran = llmtrace("replay", "--times", "2", "--", "agent.py", BAD_TASK)
    assert ran.code == 0, ran.err
    assert "same: 6 calls answered" in " ".join(ran.err.split())
    assert "nothing was sent" in " ".join(ran.err.split())
    assert "2 of 2 runs were the same" in ran.err
    opened = LocalStore(Path(store))
    (recorded,) = opened.traces()  # replays are kept apart
    assert opened.replays is not None
    newest = opened.replays.trace("last")
    assert newest.root.attributes["llmtrace.replay.of"] == recorded.trace_id
    assert opened.trace(newest.trace_id[:8]) == newest
    assert opened.summary(newest.trace_id).trace_id == newest.trace_id
    viewed = Source(opened)  # the viewer opens it, and beside its recording
    assert viewed.trace_view(newest.trace_id).rows(0)["trace"]["replayOf"] == recorded.trace_id
    assert viewed.compared(recorded.trace_id, newest.trace_id)["pairs"]
    opened.close()
    assert f"a replay of {recorded.trace_id[:8]}" in llmtrace("ls", "--replays").out


@pytest.mark.all
def test_a_changed_program_differs(store: str, llmtrace: Callable[..., Ran]) -> None:
    record(BAD_TASK)
    words = ("--", sys.executable, "agent.py", BAD_TASK.replace("kettle", "teapot"))
    ran = llmtrace("replay", *words)
    said = " ".join(ran.err.split())
    assert ran.code == 3
    assert "[-kettle-] {+teapot+}" in said
    assert "Traceback" not in said
    assert llmtrace("replay", "--bisect", *words).code == 1
    report = json.loads(llmtrace("replay", "--json", "--loose", *words).out)
    assert [divergence["is_served"] for divergence in report["runs"][0]["divergences"]] == [True] * 3


@pytest.mark.all
def test_a_correction_is_tried(store: str, llmtrace: Callable[..., Ran]) -> None:
    """The demo's made-up order number, corrected where the model says it: the right customer gets the refund."""
    record(BAD_TASK)
    trace = open_store(store).trace("last")
    first = next(span.span_id for span in trace.spans if isinstance(span.operation, Inference))
    words = ("--edit", first[:8], "--set", "look_up/order_id=KS-20457")
    ran = llmtrace("replay", *words, "--", "agent.py", BAD_TASK)
    assert ran.code == 3
    assert 'order_id was "KS-20431", is "KS-20457"' in " ".join(ran.err.split())
    with ModelServer(pace=0) as server:
        os.environ["URL"] = server.url
        try:
            ran = llmtrace("replay", "--json", *words, *LIVE, "--live-after", first, "--", "agent.py", BAD_TASK)
        finally:
            del os.environ["URL"]
    unchanged, corrected = json.loads(ran.out)["runs"]
    assert (unchanged["served"], unchanged["live"], corrected["served"]) == (6, 0, 1)
    answer = open_store(store).trace(corrected["trace_id"])
    assert "for order KS-20457" in repr(answer.root.operation) + repr([span.operation for span in answer.spans])


@pytest.mark.all
def test_a_prompt_is_edited(store: str, llmtrace: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """The call is made for real with another request; what can be seen to be wrong is said before anything is sent."""
    record(BAD_TASK)
    models = [span.span_id for span in open_store(store).trace("last").spans if isinstance(span.operation, Inference)]
    temperature = ("--edit", models[1], "--set", "/temperature=0")
    with ModelServer(pace=0) as server:
        monkeypatch.setenv("URL", server.url)
        for words, said in (
            (temperature, f"is asked for real. Allow it: --live-after {models[1][:8]}"),
            ((*temperature, "--live-after", models[0]), f"the recording ends before it, at {models[0][:8]}"),
            ((*temperature[:3], "/messages/9/content=x", "--live-after", "change"), "nothing at /messages/9: /messages has 0,"),
            ((*temperature[:3], "/model=scripted", "--live-after", "change"), "/model has this value already"),
        ):
            ran = llmtrace("replay", *words, "--", "agent.py", BAD_TASK)
            assert (ran.code, said in " ".join(ran.err.split())) == (2, True), ran.err
        ran = llmtrace("replay", *temperature, "--live-after", "change", "--", "agent.py", BAD_TASK)
        said = " ".join(ran.err.split())
        assert ran.code == 0, ran.err
        assert f"chat scripted [{models[1][:8]}] is asked: /temperature is new: 0" in said
        assert "went on for real: 5 calls answered" in said
        assert ", made for real: 1 model call;" in said
        diff = llmtrace("diff", *said.partition("llmtrace diff ")[2].split())
        assert "temperature is 0.0, was absent" in " ".join(diff.out.split())
        words = (
            "--edit",
            models[0],
            "--set",
            "/messages/1/content=refund order KS-20457",
            "--live-after",
            models[0],
            "--json",
            *LIVE,
        )
        ran = llmtrace("replay", *words, "--", "agent.py", BAD_TASK)
    edited = json.loads(ran.out)["runs"][1]
    assert (edited["served"], edited["divergences"]) == (0, [])
    assert "for order KS-20457" in repr(open_store(store).trace(edited["trace_id"]).spans)


@pytest.mark.all
@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal")
def test_an_answer_is_edited_in_the_editor(
    store: str, tmp_path: Path, llmtrace: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is saved is the edit; what is not changed, not JSON, or not saved runs nothing, and so does a missing terminal."""
    record(BAD_TASK)
    spans = open_store(store).trace("last").spans
    model = next(span for span in spans if isinstance(span.operation, Inference))
    program = ("--", "agent.py", BAD_TASK)

    def editor(change: str) -> None:
        begin = "import sys\npath = sys.argv[-1]\ntext = open(path).read()\n"
        (tmp_path / "editor.py").write_text(begin + change, encoding="utf-8")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)
    assert "neither VISUAL nor EDITOR is set" in llmtrace("replay", "--edit", model.span_id, *program).err
    monkeypatch.setenv("EDITOR", f"{sys.executable} {tmp_path / 'editor.py'} --wait")
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert "this is not a terminal" in llmtrace("replay", "--edit", model.span_id, *program).err
    ours, theirs = os.openpty()  # type: ignore[attr-defined,unused-ignore]
    with open(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        for change, said in (
            ("pass", "nothing was changed"),
            ("sys.exit(1)", "failed (1), so nothing was run"),
            ("open(path, 'w').write(text[:-3])", "is not JSON, so nothing was run"),
            ("open(path, 'w').write('{}')", "more than one value was changed"),
        ):
            editor(change)
            ran = llmtrace("replay", "--edit", model.span_id, *program)
            assert (ran.code, said in " ".join(ran.err.split())) == (2, True), ran.err
        assert not (Path(store) / "replays" / "journal").exists()
        assert len([*tmp_path.glob("llmtrace-*")]) == 1  # what was not JSON is not lost
        editor("open(path, 'w').write(text.replace('KS-20431', 'KS-20457'))")
        ran = llmtrace("replay", "--edit", model.span_id, *program)
        assert ran.code == 3
        assert 'order_id was "KS-20431", is "KS-20457"' in " ".join(ran.err.split())
        editor("open(path, 'w').write(text.replace('kettle', 'lamp'))")  # what the model was asked, as plain text
        words = ("--edit", model.span_id, "--set", "/messages/1/content", "--live-after", model.span_id, *LIVE)
        with ModelServer(pace=0) as server:
            monkeypatch.setenv("URL", server.url)
            ran = llmtrace("replay", *words, *program)
        assert ran.code == 0, ran.err
        assert "[-kettle-] {+lamp+}" in " ".join(ran.err.split())
    os.close(ours)


@pytest.mark.all
def test_a_killed_recording_and_another_run_of_the_process(store: str, llmtrace: Callable[..., Ran]) -> None:
    """The journal survives ``kill -9``; a program that works on two tasks is replayed as a whole."""
    assert record(BAD_TASK, "kill") == -signal.SIGKILL
    ran = llmtrace("replay", "--", "agent.py", BAD_TASK)
    assert ran.code == 5, ran.err
    assert "same up to where the recorded run was killed: 5 calls" in " ".join(ran.err.split())
    assert "the recording ends in execute_tool die" in " ".join(ran.err.split())
    assert llmtrace("replay", "--bisect", "--", "agent.py", BAD_TASK).code == 0
    record(BAD_TASK, "twice")
    ran = llmtrace("replay", "last", "--", "agent.py", BAD_TASK, "twice")
    assert ran.code == 0, ran.err


@pytest.mark.all
def test_bisect_skips_a_commit_that_does_not_start(store: str, tmp_path: Path, llmtrace: Callable[..., Ran]) -> None:
    """125 skips it; what no commit can change, such as the recording's id, ends the search."""
    record(BAD_TASK)
    assert llmtrace("replay", "no-such-trace", "--bisect", "--", "agent.py", BAD_TASK).code == 128
    (tmp_path / "agent.py").write_text("import llmtrace_that_is_not_there", encoding="utf-8")
    assert llmtrace("replay", "last", "--bisect", "--", "agent.py", BAD_TASK).code == 125


@pytest.mark.all
def test_all_tools_run(store: str, llmtrace: Callable[..., Ran]) -> None:
    record(BAD_TASK)
    """A tool that changes something must be named."""
    ran = llmtrace("replay", "--tool", "all=live", "--", "agent.py", BAD_TASK)
    said = " ".join(ran.err.split())
    assert "may run for real: look_up not run, because it changes something: die, refund (allow it: --tool die=live" in said
    assert "5 calls answered" in said
    assert "made for real: look_up 1 time;" in said
    ran = llmtrace("replay", "--json", "--tool", "all=live", *LIVE, "--", "agent.py", BAD_TASK)
    (run,) = json.loads(ran.out)["runs"]
    assert (ran.code, run["served"], run["live"]) == (0, 3, 3)
    assert run["ran"] == {"look_up": 1, "refund": 1, "die": 1}


@pytest.mark.all
def test_bad_input_is_one_clear_line(store: str, llmtrace: Callable[..., Ran]) -> None:
    record(BAD_TASK)
    for words, said in (
        ((), "no program to run"),
        (("--", "no-such-program"), "no command 'no-such-program'"),
        (("--tool", "refund", "--", "agent.py"), "expected NAME=live"),
        (("--tool", "fly=live", "--", "agent.py"), "no tool of this name ran"),
        (("--live-after", "ffff", "--", "agent.py"), "no span, tool or agent is called ffff"),
        (("--", sys.executable, "-c", "pass"), "and was not replayed"),
    ):
        ran = llmtrace("replay", *words)
        assert ran.code == 2, ran.err
        assert said in " ".join(ran.err.split())


CHECKED = """
import sys
import llmtrace
llmtrace.configure()

def ran(tool):
    with open("ran.txt", "a") as file:
        print(tool, file=file)

@llmtrace.tool
def look_up(order_id: str) -> dict:
    ran("look_up")
    return {"order_id": order_id, "total": 42}

@llmtrace.tool
def refund(total: float) -> str:
    ran(f"refund{total}")
    return "done"

@llmtrace.agent
def desk(task: str) -> str:
    state = {"total": look_up("KS-1")["total"] * (2 if "changed" in sys.argv else 1)}
    state = llmtrace.checkpoint("order found", state)
    return refund(state["total"])

desk("refund")
"""


def test_begin_at_a_checkpoint(store: str, tmp_path: Path, llmtrace: Callable[..., Ran]) -> None:
    """What is before it comes from the recording, its state too; what is after it is done for real."""
    (tmp_path / "checked.py").write_text(CHECKED, encoding="utf-8")
    subprocess.run([sys.executable, "checked.py"], check=True)
    ran = llmtrace("replay", "--from", "order found", "--", "checked.py", "changed")
    assert ran.code == 3
    assert "the tool refund would run for real, which was not allowed (--tool refund=live)" in " ".join(ran.err.split())
    ran = llmtrace("replay", "--from", "order found", "--tool", "refund=live", "--", "checked.py", "changed")
    assert ran.code == 0, ran.err
    assert (tmp_path / "ran.txt").read_text(encoding="utf-8").split() == ["look_up", "refund42", "refund42"]
    assert "may run for real after that: models, refund" in " ".join(ran.err.split())
    assert "went on for real: 1 call answered" in " ".join(ran.err.split())
    ran = llmtrace("replay", "--from", "nowhere", "--", "checked.py")
    assert ran.code == 2
    assert "has no checkpoint 'nowhere'. Its checkpoints: 'order found'" in " ".join(ran.err.split())
    ran = llmtrace("replay", "--from", "order found", "--live-after", "change", "--", "checked.py")
    assert "Leave out one of them" in ran.err
