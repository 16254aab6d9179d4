"""``llmtrace ls``: the traces of a store in 80 columns, and what its filters leave."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inline_snapshot import snapshot

import llmtrace as api
from llmtrace import diagnosis
from llmtrace.cli import ls, stores
from llmtrace.cli.ls import since
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Evaluation,
    Failure,
    Generic,
    Inference,
    Message,
    Span,
    Trace,
    Workflow,
    replace,
)
from llmtrace.model.reviews import Decision, ReviewRequest
from llmtrace.semconv import PROGRAM
from llmtrace.store import indexing, open_store, summarise
from llmtrace.store.local import LocalStore
from llmtrace.store.reviews import Reviews
from llmtrace.viewer.rows import trace_row
from tests.cli.traces import RECOVERED, SECOND, SILENT, Maker, answers, chat, recovered, user
from tests.stored import append, recording


def test_ls(llmtrace: Callable[..., Any], store: str) -> None:
    """Newest first: facts, what was asked and answered, what was found, and the suspect of a trace that looks fine."""
    ran = llmtrace("ls", "--store", store)
    assert ran.out == snapshot("""\
TRACE     AGE  HEALTH       TIME  SPANS  TOKENS     COST  NAME
4bf92f35   1m  suspect    1.00 s      4     138        -  support
          The blue kettle I ordered leaks. → Done: I looked at order KS-20431.
          ! ungrounded argument
          ? look_up was called with a made-up /order_id (likely)
0af76519   1h  recovered  2.00 s      6     414  $0.0007  support
          Refund the 42 EUR of order KS-20… → Done: I refunded 42.0 EUR for or…
          ! wrong type
""")
    assert max(map(len, ran.out.splitlines())) <= 80
    assert (ran.code, ran.err) == (0, "")


def test_that_there_are_more_is_said(llmtrace: Callable[..., Any], store: str) -> None:
    """With what shows them; not in JSON."""
    for sort in ("age", "cost"):
        assert llmtrace("ls", "--limit", "1", "--sort", sort, "--store", store).out.splitlines()[-1] == "more with --limit 2"
        assert "more with" not in llmtrace("ls", "--limit", "2", "--sort", sort, "--store", store).out
        assert len(json.loads(llmtrace("ls", "--limit", "1", "--sort", sort, "--json", "--store", store).out)) == 1


def test_narrow(llmtrace: Callable[..., Any], store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a narrow terminal the table keeps what matters most."""
    monkeypatch.setenv("COLUMNS", "40")
    out = llmtrace("ls", "--store", store).out
    assert out.splitlines()[0] == "TRACE     AGE  HEALTH       TIME  NAME"
    assert max(map(len, out.splitlines())) <= 40


def test_the_suspect_in_json(llmtrace: Callable[..., Any], store: str) -> None:
    """It is the one that ``why`` names first; null where no suspect marks the run."""
    silent, recovered = json.loads(llmtrace("ls", "--store", store, "--json").out)
    first = json.loads(llmtrace("why", SILENT, "--store", store, "--json").out)["suspects"][0]
    names = ("check", "span_id", "title", "confidence", "probability", "count")
    assert silent["suspect"] == {name: first[name] for name in names}
    assert recovered["suspect"] is None


def test_a_trace_that_cannot_be_diagnosed_costs_its_own_line(
    llmtrace: Callable[..., Any], store: str, broken_diagnosis: None
) -> None:
    """It says what happened, and where to read how to report it; the others are listed as ever."""
    ran = llmtrace("ls", "--store", store)
    assert ran.code == 0
    silent, *below = ran.out.split("0af76519")[0].splitlines()[1:]
    assert silent.startswith("4bf92f35")
    told = " ".join(" ".join(below).split())
    assert re.search(
        r"\? not diagnosed because of a bug in llmtrace: KeyError \('order_id'\) at conftest\.py:\d+. See llmtrace why 4bf9",
        told,
    )
    assert "wrong type" in ran.out.split("0af76519")[1]
    first, second = json.loads(llmtrace("ls", "--store", store, "--json").out)
    assert first["suspect"] is None
    assert first["undiagnosed"].startswith("KeyError ('order_id') at conftest.py:")
    assert second["undiagnosed"] is None


def test_what_was_found_is_said_once_and_in_words(llmtrace: Callable[..., Any], store: str) -> None:
    """That a budget stopped the run; what was wrong with a call, and not also that it was invalid."""
    maker, spent = Maker("c" * 32, time.time_ns()), Failure("llmtrace.errors.BudgetExceeded", "budget of 3 calls is spent")
    crossed = Evaluation("budget_exceeded", "warning", "budget of 3 calls is spent")
    invalid = Evaluation("invalid_tool_call", "error", "1 fault")
    append(
        store,
        maker.span(1, None, "invoke_agent a", AgentInvocation("a"), failure=spent),
        maker.span(2, 1, "chat m", chat([user("a")], answers("b")), evaluations=(crossed,)),
        replace(recovered()[1], trace_id="d" * 32, start=1, end=2, evaluations=(invalid,)),
    )
    out = llmtrace("ls", "--store", store).out
    assert [line.strip() for line in out.splitlines() if line.strip().startswith("!")] == [
        "! budget exceeded",
        "! ungrounded argument",
        "! wrong type",
        "! wrong type",
    ]
    told = json.loads(llmtrace("ls", "--store", store, "--json").out)
    assert told[0]["findings"] == ["budget_exceeded"]
    assert told[3]["findings"] == ["wrong_type", "invalid_tool_call"]


def test_a_failed_run_without_a_marked_suspect_has_no_suspect_line(llmtrace: Callable[..., Any], store: str) -> None:
    """Its health says that it failed; `why` says where to look first."""
    maker, task, answer = Maker("c" * 32, time.time_ns()), user("Has it arrived?"), answers("It has.")
    outcome = Evaluation("outcome", "error", "the program reported failure", "failure", evidence={"reason": "it had not"})
    agent = AgentInvocation("a", input=(task,), output=(answer,))
    append(
        store,
        maker.span(1, None, "invoke_agent a", agent, took=1.0, evaluations=(outcome,)),
        maker.span(2, 1, "chat m", chat([task], answer)),
    )
    assert "?" not in llmtrace("ls", "--limit", "1", "--store", store).out.replace("arrived?", "")
    assert json.loads(llmtrace("ls", "--limit", "1", "--json", "--store", store).out)[0]["suspect"] is None


@pytest.fixture
def slow_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The diagnosis of the silent trace takes longer than a terminal waits."""
    diagnose = diagnosis.diagnose

    def slow(trace: Trace) -> diagnosis.Diagnosis:
        if trace.trace_id == SILENT:
            time.sleep(1.0)
        return diagnose(trace)

    monkeypatch.setattr(diagnosis, "diagnose", slow)
    monkeypatch.setattr(ls, "TERMINAL_SECONDS", 0.3)


def test_a_terminal_gets_late_verdicts_below_the_list(
    llmtrace: Callable[..., Any], store: str, slow_silent: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list does not wait for a run that takes long; the next list has its verdict in its place."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    suspect = "          ? look_up was called with a made-up /order_id (likely)"
    _, row, *_, said, late, verdict = llmtrace("ls", "--limit", "1", "--store", store).out.splitlines()
    assert row.split()[2] == "-"
    assert said == "Still judging 1 run of 4 spans. Ctrl-C leaves the rest to the next ls."
    assert (late, verdict) == ("4bf92f35  suspect", suspect)
    out = llmtrace("ls", "--limit", "1", "--store", store).out
    assert "judging" not in out
    assert suspect in out


@pytest.mark.parametrize("options", [[], ["--json"], ["--confidence", "likely"], ["--confidence", "likely", "--json"]])
def test_a_pipe_gets_all_verdicts(llmtrace: Callable[..., Any], store: str, slow_silent: None, options: list[str]) -> None:
    """What another program reads is complete, and no filter leaves a run out because its diagnosis takes long."""
    out = llmtrace("ls", *options, "--store", store).out
    assert out.count("look_up was called with a made-up /order_id") == 1
    assert "judg" not in out


def test_a_run_that_waits_for_a_person_says_so(llmtrace: Callable[..., Any], store: str) -> None:
    """Until somebody decides, or the review has expired; its health is told beside that in JSON."""
    now, reviews = time.time(), Reviews(Path(store))
    for review_id, trace, deadline in (("rev_1", SILENT, now + 60), ("rev_2", RECOVERED, now - 1)):
        request = ReviewRequest(review_id, "pay", "d" * 32, {"n": 1}, now - 9, deadline, tool="pay", trace_id=trace)
        reviews.propose(request)
    assert re.findall(r"^\w{8} +\w+ +(\w+)", llmtrace("ls", "--store", store).out, re.MULTILINE) == ["waits", "recovered"]
    rows = json.loads(llmtrace("ls", "--store", store, "--json").out)
    assert [(row["waits"], row["health"]) for row in rows] == [(True, "suspect"), (False, "recovered")]
    reviews.decide("rev_1", Decision("rejected", at=now))
    assert "waits" not in llmtrace("ls", "--store", store).out


def test_the_turns_of_a_conversation_are_listed_together(llmtrace: Callable[..., Any], store: str) -> None:
    """Each with its question and answer, under the totals."""
    maker, opened = Maker("c" * 32, time.time_ns() - 60 * SECOND), open_store(store)
    for number, (trace, question) in enumerate((("a" * 32, "Where is it?"), ("b" * 32, "And when?"))):
        operation = replace(chat([user(question)], answers("Soon.")), cost_usd=0.01)
        talk = {"gen_ai.conversation.id": "talk-1"}
        opened.append(replace(maker.span(1 + number, None, "chat m", operation, attributes=talk), trace_id=trace))
    opened.close()
    lines = llmtrace("ls", "--sessions", "--store", store).out.splitlines()
    assert lines[0].startswith("conversation talk-1 ")
    assert lines[0].endswith("$0.0200")
    assert [line.strip() for line in lines[3::2]] == ["Where is it? → Soon.", "And when? → Soon."]
    (session,) = json.loads(llmtrace("ls", "--sessions", "--json", "--store", store).out)
    assert (session["conversation"], session["cost_usd"], len(session["turns"])) == ("talk-1", 0.02, 2)


def test_a_run_without_agents_has_its_own_name(llmtrace: Callable[..., Any], store: str) -> None:
    """What ``llmtrace run`` opened goes by the program's name."""
    append(store, Maker("c" * 32, time.time_ns()).span(1, None, "invoke_workflow agent.py", Workflow("agent.py")))
    assert llmtrace("ls", "--store", store, "--limit", "1").out.splitlines()[1].endswith("  agent.py")


def test_a_workflow_around_agents_has_its_own_name_task_and_answer(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """Also where they are data, or missing: never the first agent's task beside the workflow's answer. One agent alone, also
    inside a workflow or a program, is named as ever."""
    store = str(tmp_path / "other")

    @api.agent
    def researcher(topic: str) -> str:
        return f"Facts about {topic}"

    @api.agent
    def writer(facts: str) -> str:
        return f"An article: {facts}"

    @api.workflow
    def article(topic: str, *, words: int = 90) -> str:
        return writer(researcher(f"Find facts on {topic}"))

    @api.workflow
    def order(cart: dict[str, int]) -> dict[str, bool]:
        writer(researcher(f"Find {cart}"))
        return {"done": True}

    @api.workflow
    def nightly() -> None:
        writer(researcher("Find news"))

    @api.workflow
    def alone(topic: str) -> str:
        return writer(topic)

    @api.workflow
    def batch() -> None:
        for topic in ("cups", "pots"):
            writer(topic)

    with recording(store):
        for start in (lambda: article("kettles", words=50), lambda: order({"pan": 2}), nightly, lambda: alone("cups"), batch):
            start()
    rows = [
        ("batch, writer", "cups", "An article: pots"),
        ("writer", "cups", "An article: cups"),
        ("nightly, researcher, writer", "Find news", "An article: Facts about Find news"),
        ("order, researcher, writer", '{"cart":{"pan":2}}', '{"done":true}'),
        ("article, researcher, writer", '{"topic":"kettles","words":50}', "An article: Facts about Find facts on kettles"),
    ]
    listed = json.loads(llmtrace("ls", "--json", "--store", store).out)
    assert [(trace["task"], trace["answer"]) for trace in listed] == [row[1:] for row in rows]
    out = llmtrace("ls", "--store", store).out
    assert re.findall(r"^\w{8} .*?  ([a-z][a-z, ]+)$", out, re.MULTILINE) == [row[0] for row in rows]
    with open_store(store) as opened:
        summaries = opened.traces()
        assert [", ".join(trace_row(summary)["agents"]) for summary in summaries] == [row[0] for row in rows]
        root, *others = opened.trace(summaries[-1].trace_id).spans
        program = replace(root, span_id="f" * 16, parent_id=None, operation=Workflow("run.py"), attributes={PROGRAM: True})
        inside = summarise(Trace([program, replace(root, parent_id="f" * 16), *others]))
        assert (inside.title[0], inside.task) == ("article", rows[-1][1])
        assert summarise(Trace([program, replace(others[0], parent_id="f" * 16)])).title == ("researcher",)


def test_a_refusal_is_what_was_answered(llmtrace: Callable[..., Any], store: str) -> None:
    """Also where the provider sets its words apart, as OpenAI does."""
    maker, refusal = Maker("c" * 32, time.time_ns()), Message("assistant", (Generic("refusal", {"content": "I may not."}),))
    append(
        store,
        maker.span(1, None, "invoke_agent support", AgentInvocation("support", input=(user("Open the safe."),))),
        maker.span(2, 1, "chat m", chat([user("Open the safe.")], refusal)),
    )
    assert llmtrace("ls", "--store", store, "--limit", "1").out.splitlines()[2].strip() == "Open the safe. → I may not."


def test_colour(llmtrace: Callable[..., Any], store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Health is a word, and a colour where there are colours."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = llmtrace("ls", "--store", store).out
    assert "\x1b[35msuspect\x1b[0m" in out
    assert "\x1b[33mrecovered\x1b[0m" in out


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], [SILENT, RECOVERED]),
        (["--health", "recovered"], [RECOVERED]),
        (["--agent", "other"], []),
        (["--since", "30m"], [SILENT]),
        (["--text", "blue kettle"], [SILENT]),
        (["--sort", "cost", "--limit", "1"], [RECOVERED]),
    ],
)
def test_filters_and_order(llmtrace: Callable[..., Any], store: str, options: list[str], found: list[str]) -> None:
    """Each filter keeps what it says, and --sort puts the largest first before --limit cuts."""
    out = llmtrace("ls", "--json", "--store", store, *options).out
    assert [trace["trace_id"] for trace in json.loads(out)] == found


@pytest.mark.parametrize(("text", "is_listed"), [("slo", True), ("slo:p95", True), ("slo:p50", False), ("p95", False)])
def test_a_finding_is_named_with_or_without_its_label(
    llmtrace: Callable[..., Any], store: str, text: str, *, is_listed: bool
) -> None:
    """--finding takes the name of a signal, and name:label for one kind of problem."""
    span = Maker("c" * 32, time.time_ns() - 5 * SECOND).span(1, None, "slow", Custom())
    append(store, replace(span, evaluations=(Evaluation("slo", "warning", "took 3 s", "p95"),)))
    traces = json.loads(llmtrace("ls", "--json", "--store", store, "--finding", text).out)
    assert [trace["trace_id"] for trace in traces] == ["c" * 32] * is_listed


@pytest.mark.parametrize("text", ["failed_tool:", ":raised", " "])
def test_a_half_finding_is_refused(llmtrace: Callable[..., Any], store: str, text: str) -> None:
    """A name without its label, or a label without its name, is a usage error that says what was expected."""
    result = llmtrace("ls", "--store", store, "--finding", text)
    assert result.code == 2
    assert "expected a name" in result.err


def test_nothing_found(llmtrace: Callable[..., Any], store: str) -> None:
    """No trace is told apart from no such trace; the store that has none is named."""
    assert llmtrace("ls", "--store", store, "--health", "failed").out == "No trace matches these filters.\n"
    assert re.fullmatch(r"No traces yet in /\S+\. Try: llmtrace demo\n", llmtrace("ls").out)


def test_hostile_names_stay_on_their_line(llmtrace: Callable[..., Any], store: str) -> None:
    """A span's name can neither clear the screen nor break the table, and an unknown number is no zero."""
    span = Maker("c" * 32, time.time_ns() - 5 * SECOND).span(1, None, "evil\x1b[2J\nname " + "x" * 90, Custom())
    append(store, span)
    out = llmtrace("ls", "--store", store, "--limit", "1").out
    assert out == snapshot("""\
TRACE     AGE  HEALTH    TIME  SPANS  TOKENS  COST  NAME
cccccccc   5s  ok      200 ms      1       -     -  evil\\x1b[2J name xxxxxxxxxx…
          ? nothing could be judged. See llmtrace why cccccccc
more with --limit 2
""")


@pytest.mark.parametrize(("text", "seconds"), [("45s", 45), ("30m", 1800), ("1.5h", 5400), ("2d", 172800), ("1w", 604800)])
def test_since_takes_spans_of_time(text: str, seconds: float) -> None:
    """A number and a unit count back from now."""
    assert abs(time.time_ns() - since(text) - seconds * 1e9) < 5e9


def test_since_takes_dates() -> None:
    """A date is local midnight; a time zone is heeded."""
    assert since("2026-01-31T12:00:00+00:00") == 1769860800 * SECOND
    assert since("2026-01-31") == since("2026-01-31T00:00")


@pytest.mark.parametrize("command", ["ls", "show"])
def test_monitors_see_the_rest_when_everything_is_shown(
    llmtrace: Callable[..., Any], store: str, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Nobody waits for them before the traces are there; nor do they wait for somebody to ask for what they found."""
    monkeypatch.setattr(indexing, "_FEW", -1)
    monkeypatch.setattr(stores, "MOMENT", 0.0)
    opened = open_store(store)
    assert isinstance(opened, LocalStore)
    opened.trace("last")
    assert opened.refresh(seconds=0.0) == 2
    assert llmtrace(command, "--store", store).code == 0
    assert opened.refresh(seconds=0.0) == 0


def test_plain_spans_are_not_runs(llmtrace: Callable[..., Any], store: str) -> None:
    """A web server's requests stay in the store and are not listed, however many there are before a run."""
    append(
        store, *(Span(f"{number:032x}", "1" * 16, "GET /health", time.time_ns(), time.time_ns() + 5) for number in range(1, 30))
    )
    listed = json.loads(llmtrace("ls", "--json", "--limit", "2", "--store", store).out)
    assert [trace["name"] for trace in listed] == ["invoke_agent support"] * 2
    assert "GET /health" in llmtrace("show", f"{7:032x}", "--store", store).out


def test_a_run_that_could_not_be_judged_is_marked(llmtrace: Callable[..., Any], store: str) -> None:
    now = time.time_ns()
    append(store, Span("e" * 32, "1" * 16, "chat m", now, now + 5, operation=Inference("p", request_model="m")))
    assert "? nothing could be judged. See llmtrace why eeeeeeee" in llmtrace("ls", "--limit", "1", "--store", store).out
    listed = json.loads(llmtrace("ls", "--json", "--limit", "1", "--store", store).out)
    assert listed[0]["undiagnosed"] == "nothing could be judged"
    assert "Nothing could be judged" in llmtrace("show", "last", "--store", store).out


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_watch_appends_each_run_when_it_ends(options: list[str], store: str) -> None:
    """Into a pipe, at once and without colour: first the newest, then what another process records, once, when it ended."""
    command = [sys.executable, "-m", "llmtrace", "ls", "--watch", "--limit", "1", "--store", store, *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell would leave Ctrl-C off
    )
    stop = threading.Timer(60, process.kill)
    stop.start()
    try:
        assert process.stdout is not None
        lines: list[str] = []

        def read_until(word: str) -> None:
            while not lines or word not in lines[-1]:
                lines.append(process.stdout.readline())  # type: ignore[union-attr]
                assert lines[-1], lines

        read_until(SILENT if options else "made-up")
        started, ended = Maker("1" * 32, time.time_ns()), Maker("2" * 32, time.time_ns())
        root = started.span(1, None, "invoke_agent slow", AgentInvocation("slow"))
        with contextlib.closing(open_store(store)) as opened:
            opened.append(replace(root, end=None))
            opened.append(ended.span(1, None, "invoke_agent quick", AgentInvocation("quick")))
            read_until("quick")
            opened.append(root)
            read_until("slow" if options else "nothing could be judged. See llmtrace why 11111111")
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=60)
        assert (rest, err, process.returncode) == ("", "", 130)
    finally:
        stop.cancel()
        process.kill()
    text = "".join(lines)
    assert "\x1b" not in text
    assert [text.count(trace_id[:8]) for trace_id in (RECOVERED, SILENT)] == [0, 1]
    assert text.count("TRACE") == (0 if options else 1)
    assert (text.count("quick"), text.count("slow")) == ((2, 2) if options else (1, 1))
    if options:
        assert [json.loads(line)["health"] for line in lines] == ["suspect", "ok", "ok"]


def test_watch_takes_no_other_order(llmtrace: Callable[..., Any], store: str) -> None:
    ran = llmtrace("ls", "--watch", "--sort", "cost", "--store", store)
    assert (ran.code, ran.err) == (2, "llmtrace ls: --watch needs --sort age: new runs come last.\n")
