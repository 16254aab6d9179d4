"""One small program for each thing that llmtrace writes, and what its store has to hold afterwards. See `faults`."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llmtrace
from llmtrace.cli import main as command
from llmtrace.errors import BudgetExceeded, LlmtraceError
from llmtrace.model import Inference, Usage
from llmtrace.model.reviews import Decision
from llmtrace.monitors import Key
from llmtrace.playback.recording_file import read_recording, write_recording
from llmtrace.recorder import active
from llmtrace.store import Query, journal, replay_key
from llmtrace.store.letter_states import LetterStates, letters_of
from llmtrace.store.local import LocalStore
from llmtrace.store.reviews import Reviews
from tests.store.faults import Outcome, Scenario, mark
from tests.store.spans import agent, inference, span, trace_id

EVERYTHING = Query(limit=10_000)
TRACES = 6


def warm_up(scenario: Scenario) -> None:
    """Run a scenario once, so that forks need not import, and let its program look at the disk often."""

    journal.LOOK_SECONDS = journal.RETRY_SECONDS = journal.IN_PLACE_SECONDS = 0.0
    with tempfile.TemporaryDirectory() as folder:
        scenario.prepare(Path(folder) / "store")
        scenario.program(Path(folder) / "store")
        fill(Path(folder) / "read")
        look(Path(folder) / "read")


def fill(folder: Path) -> None:
    """Write a store with two journal files, the first of them indexed."""
    for half in range(2):
        store = LocalStore(folder, background=False)
        for number in range(1 + 3 * half, 4 + 3 * half):
            store.append(span(number, 2, parent=1, operation=inference(f"a refund of {number}", "done")))
            store.append(span(number, 1, operation=agent("support")))
        store.close()
        if not half:
            LocalStore(folder, background=False).traces(Query(text="refund"))


def look(folder: Path) -> dict[str, Any]:
    """Read a store in every way. A step that says that it cannot is an answer, too."""
    steps: dict[str, Callable[[LocalStore], Any]] = {
        "list": lambda store: sorted((one.trace_id[-4:], one.spans, one.health) for one in store.traces(EVERYTHING)),
        "spans": lambda store: sorted((one.trace_id[-4:], one.name) for one in store.spans(EVERYTHING)),
        "trace": lambda store: [one.name for one in store.trace("last").spans],
        "search": lambda store: sorted(one.trace_id[-4:] for one in store.traces(Query(text="refund"))),
        "monitors": lambda store: len(store.monitor_states()) > 0,
    }
    result: dict[str, Any] = {}
    store = LocalStore(folder, background=False)
    for name, step in steps.items():
        try:
            result[name] = step(store)
        except LlmtraceError as error:
            result[name] = f"refused: {error}"
    for words in (["ls"], ["why", "last"]):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
            result[words[0]] = command([*words, "--store", str(folder)])
        assert "fault of llmtrace" not in errors.getvalue(), errors.getvalue()
        if errors.getvalue():
            result[words[0]] = f"refused: {errors.getvalue()}"
    store.close()
    return json.loads(json.dumps(result))  # type: ignore[no-any-return]


def is_refused(answer: Any) -> bool:
    return isinstance(answer, str) and answer.startswith("refused: ")


# -- journal


def record(folder: Path) -> dict[str, Any]:
    journal.ROTATE_BYTES = 3000
    llmtrace.configure(store=folder, instrument=(), exporters=())

    @llmtrace.tool
    def add(first: int, second: int) -> int:
        return first + second

    @llmtrace.agent
    def count(upto: int) -> int:
        return sum(add(number, number) for number in range(upto))

    results = []
    for upto in range(4):
        results.append(count(upto))
        mark(f"run {upto}")
    llmtrace.shutdown()
    return {"results": results}


def check_journal(folder: Path, outcome: Outcome, usual: dict[str, Any]) -> None:
    assert outcome.result == usual
    is_lost = "are lost" in outcome.logged
    if not is_lost:
        ended = [one for one in spans_of(folder) if one.end is not None]
        assert len({one.span_id for one in ended}) == 4 + 6, f"{len(ended)} of 10 spans"
    check_writable(folder)


def spans_of(folder: Path) -> list[Any]:
    return list(LocalStore(folder, background=False, may_be_missing=True).spans(EVERYTHING))


def check_writable(folder: Path) -> None:
    """The next program can write, and the next reader sees it, with an index."""
    store = LocalStore(folder, background=False)
    store.append(span(99))
    store.close()
    reader = LocalStore(folder, background=False)
    assert len(reader.trace(trace_id(99))) == 1
    assert reader.with_index(lambda *_: True, False), "the index cannot be used"


# -- index


def check_index(folder: Path, outcome: Outcome, usual: dict[str, Any]) -> None:
    for name, answer in outcome.result.items():
        wrong = answer != usual[name] and not is_refused(answer) and not outcome.logged
        assert not wrong, f"{name}: {answer} instead of {usual[name]}, and nothing was said"
    assert look(folder) == usual, "the next reader sees something else"
    assert len(look(folder)["list"]) == TRACES
    check_writable(folder)


# -- reviews


def review(folder: Path) -> dict[str, Any]:
    ran: list[str] = []
    llmtrace.configure(
        store=folder,
        instrument=(),
        exporters=(),
        review_timeout=1.0,
        notify=lambda request: Decision("approved" if request.payload["order"] == "a" else "rejected", by="ann"),
    )

    @llmtrace.tool(review=True)
    def refund(order: str) -> str:
        ran.append(order)
        return f"paid {order}"

    @llmtrace.agent
    def support(order: str) -> str:
        asked = {
            "id": f"call {order}",
            "type": "function",
            "function": {"name": "refund", "arguments": json.dumps({"order": order})},
        }
        return str(tools.run([asked])[0]["content"])

    tools = llmtrace.Tools(refund)
    answers = {}
    for order in "ab":
        answers[order] = support(order)
        mark(f"answered {order}")
    llmtrace.shutdown()
    return {"ran": ran, "answers": answers}


def check_reviews(folder: Path, outcome: Outcome, usual: dict[str, Any]) -> None:
    ran, answers = outcome.result["ran"], outcome.result["answers"]
    assert ran in (["a"], []), f"ran {ran}"
    assert ("paid a" in answers["a"]) == (ran == ["a"]), answers
    assert "did not run" in answers["b"], answers
    for record_ in reviews_of(folder):
        if record_.request.payload == {"order": "a"} and ran:
            assert record_.state in ("done", "in_doubt"), f"it ran, and its review is {record_.state}"
        else:
            assert record_.state not in ("done", "started", "in_doubt") or outcome.failed_call, record_.state
    assert outcome.logged or outcome.result == usual or "could not be kept" in str(answers)
    check_review_writable(folder)


def reviews_of(folder: Path) -> list[Any]:
    states: Any = ("proposed", "approved", "started", "done", "failed", "rejected", "timed_out", "withdrawn", "in_doubt")
    return Reviews(folder).list(states=states)


def check_review_writable(folder: Path) -> None:
    from tests.guards.test_review_laws import DIGEST, request

    reviews = Reviews(folder)
    reviews.propose(request("rev_later"))
    reviews.decide("rev_later", Decision("approved", by="b", at=1500.0), digest=DIGEST)
    assert reviews.start("rev_later", DIGEST, DIGEST)
    assert not reviews.start("rev_later", DIGEST, DIGEST)


# -- letters


def prepare_letters(folder: Path) -> None:
    llmtrace.configure(store=folder, instrument=(), exporters=())

    @llmtrace.agent(budget=llmtrace.Budget(calls=1))
    def spend() -> None:
        call()
        call()

    for _ in range(2):
        with contextlib.suppress(BudgetExceeded):
            spend()
    llmtrace.shutdown()
    LocalStore(folder, background=False).traces()


def call() -> None:
    recorder = active()
    assert recorder is not None
    operation = Inference("openai", request_model="m", usage=Usage(5, 5))
    recorder.start(operation).end(operation)


def letters(folder: Path) -> dict[str, Any]:
    store = LocalStore(folder, background=False)
    result: dict[str, Any] = {}
    try:
        found = [letter for one in store.traces() for letter in letters_of(store.trace(one.trace_id))]
    except LlmtraceError:
        return {"read": "refused: "}
    for action, letter in zip(("drop", "retry"), sorted(found, key=lambda letter: letter.at), strict=False):
        states = LetterStates(folder)
        try:
            if action == "drop":
                states.drop(letter, "ann")
            else:
                states.begin(letter, "ann")
                states.finish(letter)
            result[action] = "done"
            mark(f"{action} {letter.letter_id}")
        except LlmtraceError as error:
            result[action] = f"refused: {error}"
    return result


def check_letters(folder: Path, outcome: Outcome, usual: dict[str, Any]) -> None:
    states = LetterStates(folder).all()
    found = [letter for one in LocalStore(folder).traces() for letter in letters_of(LocalStore(folder).trace(one.trace_id))]
    drop, retry = (states.get(letter.letter_id) for letter in sorted(found, key=lambda letter: letter.at))
    result = outcome.result
    assert result.get("read") or outcome.logged or set(result) == set(usual)
    if result.get("drop") == "done":
        assert drop
        assert drop.state == "dropped"
    if result.get("retry") == "done":
        assert retry
        assert retry.state == "retried"
    for state in (drop, retry):
        assert state is None or state.state in ("dropped", "retried", "in_doubt")
    LetterStates(folder).drop(found[0], "bob")
    assert LetterStates(folder).all()[found[0].letter_id].by == "bob"


# -- recordings


def prepare_recording(folder: Path) -> None:
    fill(folder)
    write_recording(folder / "case.jsonl", [LocalStore(folder).trace(trace_id(1))])


def recording(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = {}
    try:
        write_recording(folder / "case.jsonl", [LocalStore(folder).trace(trace_id(2))])
        result["written"] = True
        mark("written")
    except (OSError, LlmtraceError) as error:
        result["written"] = f"refused: {error}"
    try:
        result["key"] = len(replay_key.of(folder))
    except OSError as error:
        result["key"] = f"refused: {error}"
    words = ["export", "last", "-o", str(folder / "last.json"), "--store", str(folder)]
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        result["export"] = command(words) or True
    if errors.getvalue():
        result["export"] = f"refused: {errors.getvalue()}"
    return result


def check_recording(folder: Path, outcome: Outcome, usual: dict[str, Any]) -> None:
    (trace,) = read_recording(folder / "case.jsonl")
    assert len(trace) == 2
    number = int(trace.trace_id, 16)
    assert number == 2 if outcome.result["written"] is True else number in (1, 2), number
    if outcome.result["export"] is True:
        assert json.loads((folder / "last.json").read_text())
    for name, answer in outcome.result.items():
        assert answer == usual[name] or is_refused(answer) or outcome.logged, (name, answer)
    assert len(replay_key.of(folder)) == 32, "the key is torn"


# -- baselines


def pins(count: int) -> dict[str, Any]:
    """Return baselines of so many keys, without streams."""
    return {json.dumps([f"{field} {number}" for field in Key._fields]): {} for number in range(count)}


def prepare_baselines(folder: Path) -> None:
    fill(folder)
    LocalStore(folder, background=False).pin(pins(1))


def baselines(folder: Path) -> dict[str, Any]:
    try:
        LocalStore(folder, background=False).pin(pins(3))
        mark("pinned")
    except LlmtraceError as error:
        return {"pinned": f"refused: {error}"}
    return {"pinned": True}


def check_baselines(folder: Path, outcome: Outcome, usual: dict[str, Any]) -> None:
    count = len(LocalStore(folder).pins())
    assert count == 3 if outcome.result["pinned"] is True else count in (1, 3), count
    assert len(LocalStore(folder, background=False).traces(EVERYTHING)) == TRACES
    LocalStore(folder, background=False).pin(pins(2))
    assert len(LocalStore(folder).pins()) == 2


# -- budgets


def budget(folder: Path) -> dict[str, Any]:
    llmtrace.configure(store=folder, instrument=(), exporters=(), signals=[])

    @llmtrace.agent(budget=llmtrace.Budget(calls=3, scope="user", per="month"))
    def support() -> str:
        call()
        return "done"

    answers = []
    with llmtrace.context(user="ada"):
        for number in range(5):
            try:
                answers.append(support())
            except BudgetExceeded:
                answers.append("stopped")
            mark(f"call {number}")
    llmtrace.shutdown()
    return {"answers": answers}


def check_budget(folder: Path, outcome: Outcome, usual: dict[str, Any]) -> None:
    assert outcome.result == usual, outcome.result
    llmtrace.configure(store=folder, instrument=(), exporters=(), signals=[])
    with llmtrace.context(user="bob"), llmtrace.Budget(calls=3, scope="user", per="month"):
        call()
    llmtrace.shutdown()
    assert len(list((folder / "budgets").glob("*.spent"))) >= 1


def nothing(folder: Path) -> None:
    """The program finds no store."""


SCENARIOS = {
    "journal": Scenario(nothing, record, check_journal),
    "index": Scenario(fill, look, check_index),
    "reviews": Scenario(nothing, review, check_reviews),
    "letters": Scenario(prepare_letters, letters, check_letters),
    "recordings": Scenario(prepare_recording, recording, check_recording),
    "baselines": Scenario(prepare_baselines, baselines, check_baselines),
    "budgets": Scenario(nothing, budget, check_budget),
}
