"""Forgetting traces: no byte of theirs stays in the folder, and every other trace stays as it was."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

import llmtrace
from llmtrace.cli import main
from llmtrace.errors import ConfigurationError, TraceNotFound
from llmtrace.model import RawSpan
from llmtrace.store import erasure, journal_files
from llmtrace.store.claims import Claim, Claims, Table
from llmtrace.store.local import FORGETTING, LocalStore
from llmtrace.store.sqlite import Index
from tests.store.programs import run

MINE, OTHER = "a" * 32, "b" * 32


def _span(trace: str, text: str, user: str) -> RawSpan:
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.input.messages": text, "user.id": user}
    return RawSpan(trace, trace[:16], "chat", 1_000_000_000, 2_000_000_000, attributes=attributes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "store"
    store = LocalStore(place, background=False)
    messages = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "CANARY" * 60}]}])
    store.append_all([_span(MINE, messages, "u-CANARY"), _span(OTHER, messages.replace("CANARY", "SWALLOW"), "u-other")])
    store.close()
    return place


def _holding(folder: Path, text: bytes) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


def test_no_byte_of_a_user_stays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "--text", "CANARY", "--store", str(folder)]) == 0
    kept = LocalStore(folder, background=False).trace(OTHER).spans
    assert main(["forget", "--user", "u-CANARY", "--yes", "--store", str(folder)]) == 0
    assert "Erased 1 trace: 1 span" in capsys.readouterr().out
    assert _holding(folder, b"CANARY") == []
    assert LocalStore(folder, background=False).trace(OTHER).spans == kept
    assert [summary.trace_id for summary in LocalStore(folder, background=False).traces()] == [OTHER]


def test_nothing_is_erased_without_an_answer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forget", MINE, "--store", str(folder)]) == 2
    assert main(["forget", MINE, "--dry-run", "--store", str(folder)]) == 0
    assert "Would erase 1 trace" in capsys.readouterr().out
    assert _holding(folder, b"CANARY")


def test_a_program_forgets_as_the_command_does(folder: Path) -> None:
    """The same choices, and a wrong one is an error at once."""
    with llmtrace.open_store(folder) as store:
        with pytest.raises(TypeError, match="neither ids nor filters"):
            store.forget()
        with pytest.raises(TypeError, match="both ids and filters"):
            store.forget(MINE, user="u-CANARY")
        with pytest.raises(ConfigurationError, match="before='soon'"):
            store.forget(before="soon")
        with pytest.raises(TraceNotFound):
            store.forget("c" * 32)
        assert store.forget(user="nobody", dry_run=True).traces == ()
        assert store.forget(before="1d", dry_run=True).spans == 2
        assert _holding(folder, b"CANARY")
        assert store.forget(MINE[:8]).traces == (MINE,)
        assert [trace.trace_id for trace in store.traces()] == [OTHER]
    assert _holding(folder, b"CANARY") == []


def test_a_killed_erasure_is_finished_by_the_next_reader(folder: Path) -> None:
    (folder / FORGETTING).write_text(json.dumps({"traces": [MINE], "runs": [], "letters": []}))
    assert [summary.trace_id for summary in LocalStore(folder, background=False).traces()] == [OTHER]
    assert _holding(folder, b"CANARY") == []
    assert not (folder / FORGETTING).exists()


def test_damaged_bytes_are_erased(folder: Path) -> None:
    (file,) = journal_files.listing(folder / "journal")
    path = folder / "journal" / file.name
    path.write_bytes(path.read_bytes() + journal_files.MARK + b"CANARY")
    erasure.erase(folder, [MINE], [], [])
    assert _holding(folder, b"CANARY") == []


def test_what_was_set_aside_is_removed(folder: Path) -> None:
    """An index or a journal file that could not be read holds the content of anyone."""
    for name in ("index.db.corrupt", "journal/old.journal.corrupt", "journal/0-9.0.journal"):
        (folder / name).write_bytes(b"not a journal: CANARY")
    erasure.erase(folder, [MINE], [], [])
    assert _holding(folder, b"CANARY") == []


def test_a_file_of_a_newer_llmtrace_is_refused_before_anything_is_erased(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "journal" / "9-9.0.journal").write_bytes(journal_files.head(journal_files.VERSION + 1) + b"later")
    assert main(["forget", MINE, "--yes", "--store", str(folder)]) != 0
    assert "newer llmtrace" in capsys.readouterr().err
    assert _holding(folder, b"CANARY")
    assert not (folder / FORGETTING).exists()


def test_reviews_and_letters_go_with_their_run(folder: Path) -> None:
    claims = Claims(folder)
    with claims.write() as db:
        for kind, claim_id, run in (("review", "r1", MINE), ("review", "r2", OTHER), ("letter", "l1", "")):
            data = json.dumps({"text": "SWALLOW" if run == OTHER else "CANARY"})
            Table(db, kind).put(Claim(claim_id, "done", run, "", 1.0, "", data))  # type: ignore[arg-type]
    erasure.erase(folder, [MINE], [], ["l1"])
    assert _holding(folder, b"CANARY") == []
    with claims.read() as db:
        assert [claim.id for claim in Table(db, "review").select()] == ["r2"]


STEPS = {
    "verdicts": (erasure, "_keep_verdicts"),
    "claims": (Claims, "erase"),
    "names": (erasure, "_erase_names"),
    "file": (erasure, "_erase_in"),
    "record": (journal_files, "erase"),
    "unreadable": (erasure, "_remove_unreadable"),
    "logs": (erasure, "_erase_logs"),
    "drafts": (erasure, "_remove_drafts"),
    "index": (Index, "remove"),
}


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_stopped_at_any_step_it_is_finished_by_the_next_reader(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: str, keep: bool
) -> None:
    """A process that is killed does nothing more; here each step in turn is the one that it does not reach."""

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*STEPS[step], killed)
        with pytest.raises(KeyboardInterrupt) if keep or step != "verdicts" else contextlib.nullcontext():
            erasure.erase(folder, [MINE], [], [], keep_verdicts=keep)
    assert {summary.trace_id for summary in LocalStore(folder, background=False).traces()} == (
        {OTHER, MINE} if keep else {OTHER}
    )
    assert _holding(folder, b"CANARY") == []


def test_an_erasure_of_everything_is_not_softened_by_the_next(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts of the traces of an interrupted erasure are not kept because those of others are."""
    with monkeypatch.context() as patch:
        patch.setattr(erasure, "_erase_names", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            erasure.erase(folder, [MINE], [], [])
    erasure.erase(folder, [OTHER], [], [], keep_verdicts=True)
    assert [summary.trace_id for summary in LocalStore(folder, background=False).traces()] == [OTHER]


# -- killed for real

_KILLER = """
import random, shutil
from llmtrace.cli import main
from tests.store.test_forget import MINE, state_of

chance, whole = random.Random(), Path(sys.argv[1])
words = [WORDS, "--yes", "--store"]
main(["ls", "--store", str(whole)])
before = state_of(whole)

def forget(folder):
    shutil.copytree(whole, folder)
    child = os.fork()
    if child == 0:
        sys.stdout = open(os.devnull, "w")
        os._exit(main([*words, str(folder)]))
    return child

child, started = forget(whole.with_name("first")), time.monotonic()
os.waitpid(child, 0)
seconds, after = time.monotonic() - started, state_of(whole.with_name("first"))
assert before[2] and not after[2] and len(after[1]) == 100, after
outcomes = []
for number in range(KILLS):
    folder = whole.with_name(f"killed{number}")
    child = forget(folder)
    time.sleep(chance.uniform(0, 0.8 * seconds))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    begun = (folder / "forgetting.json").exists()
    state = state_of(folder)  # what any command reads
    outcomes.append("begun" if begun else "done" if state == after else "whole" if state == before else "wrong")
    if begun and state != after:
        outcomes[-1] = "wrong"
    shutil.rmtree(folder)
print("OUTCOMES", *outcomes)
"""


def state_of(folder: Path) -> Any:
    """What a reader sees of a store: its traces and spans, its claims, and the files in which the canary stands."""
    store = LocalStore(folder, background=False)
    traces = {summary.trace_id: (summary, store.trace(summary.trace_id).spans) for summary in store.traces()}
    store.close()
    with Claims(folder).read() as db:
        reviews = [claim.id for claim in Table(db, "review").select()]
    return traces, reviews, sorted({name.partition("journal/")[0] for name in _holding(folder, b"CANARY")})


@pytest.mark.parametrize("kills", [4, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.parametrize("options", [[], ["--keep-verdicts"]])
def test_killed_at_a_random_moment_it_is_finished_by_the_next_reader(tmp_path: Path, options: list[str], kills: int) -> None:
    """Killed with SIGKILL, the next reader sees all of a trace, or nothing of it in any file. Other traces are equal."""
    folder = tmp_path / "store"
    store = LocalStore(folder, background=False)
    for number in range(200):
        store.append_all(
            [_span(f"{number:032x}", f"CANARY{number}" if number % 2 else "SWALLOW", "u-CANARY" if number % 2 else "u")]
        )
    store.close()
    with Claims(folder).write() as db:
        for number in range(200):
            data = json.dumps({"text": "CANARY" if number % 2 else "SWALLOW"})
            Table(db, "review").put(Claim(f"r{number}", "done", f"{number:032x}", "", 1.0, "", data))
    program = _KILLER.replace("WORDS", repr(["forget", "--user", "u-CANARY", *options])[1:-1]).replace("KILLS", str(kills))
    printed, _ = run(program, folder)
    outcomes = printed.partition("OUTCOMES ")[2].split()
    assert len(outcomes) == kills
    assert set(outcomes) <= {"begun", "done", "whole"}
    assert kills < 100 or set(outcomes) >= {"begun", "whole"}
