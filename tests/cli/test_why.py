"""``llmtrace why``: suspects with their evidence, and the way from the answer back to them."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inline_snapshot import snapshot

from llmtrace import semconv
from llmtrace.cli import why
from llmtrace.cli.paint import Screen
from llmtrace.diagnosis import Diagnosis, Step, Suspect
from llmtrace.model import AgentInvocation, Evaluation, Trace
from llmtrace.store import open_store
from tests.cli.traces import SECOND, SILENT, Maker, answers, chat, silent, user


def body(out: str) -> str:
    """Without the line that holds the date."""
    return re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE", out, flags=re.MULTILINE)


def test_why(llmtrace: Callable[..., Any], store: str) -> None:
    """The last trace by default: what is suspect, why, and answer ← call ← argument that came from nowhere."""
    ran = llmtrace("why", "--store", store)
    assert ran.out.startswith("look_up was called with a made-up /order_id")
    assert re.findall(r"^ {3}(?:  |← )(\w+)", ran.out, re.MULTILINE) == ["answer", "look_up", "argument"]
    assert '← argument /order_id = "KS-20431"' in ran.out
    assert "What would have prevented it: " in ran.out
    assert (ran.code, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines())) <= 80


def shown(diagnosis: Diagnosis, *, top: int = 3) -> str:
    out = io.StringIO()
    why.show(Screen(out, colour=False, width=80), Trace(silent()), diagnosis, top=top)
    return body(out.getvalue())


def test_weak_suspects_are_said_to_be_weak() -> None:
    """Where nothing is likely, that is said before the rest; a suspect without a chain has its evidence and advice."""
    suspect = Suspect("1" * 16, 0.18, "refund was slow", "It took 3 s.", advice="Look at it.")
    assert shown(Diagnosis(SILENT, "ok", (suspect,))) == snapshot("""\
refund was slow                                                             18 %
Not likely, but the first to look at. It took 3 s.

What would have prevented it: Look at it.

trace 4bf92f3577b34da6a3ce929d0e0e4736  ok
DATE  1.00 s  4 spans  138 tokens  cost -
""")


def test_what_was_not_visible_is_said() -> None:
    """Unknown is neither fine nor wrong."""
    assert shown(Diagnosis(SILENT, "ok", (), ("earlier messages are at the provider",))) == snapshot("""\
No suspect in what is visible here; the rest cannot be judged.

Not visible: earlier messages are at the provider
trace 4bf92f3577b34da6a3ce929d0e0e4736  ok
DATE  1.00 s  4 spans  138 tokens  cost -
""")


def test_what_is_said_of_a_run_is_told() -> None:
    """As text and as Markdown, where content is no Markdown."""
    diagnosis = Diagnosis(SILENT, "ok", symptoms=("agent: A person found it bad: not *mine*.",))
    assert "\nSaid of agent: A person found it bad: not *mine*.\n" in shown(diagnosis)
    assert "* said of `agent: A person found it bad: not *mine*.`" in list(why.markdown(Trace(silent()), diagnosis, top=3))


def test_a_way_of_one_step_is_not_told_again() -> None:
    """The title says it already: what the program died of, the error with which it ended."""
    step = Step("1" * 16, "pipeline ended with ValueError", None, "It says “no”")
    suspect = Suspect("1" * 16, 0.99, step.title, "It says “no”.", chain=(step,), advice="Look at it.")
    diagnosis = Diagnosis(SILENT, "failed", (suspect,))
    assert shown(diagnosis).count("It says “no”") == 1
    assert "\n".join(why.markdown(Trace(silent()), diagnosis, top=3)).count("It says “no”") == 1


def test_what_was_said_of_a_run_in_which_nothing_stands_out_comes_first() -> None:
    """And that the step is only the likeliest."""
    suspect = Suspect("1" * 16, 0.9, "the words of a", "No clue is here but its place.", chain=(Step("1" * 16, "answer", "x"),))
    failed = Diagnosis(SILENT, "failed", (suspect,), symptoms=("a: the program reported failure.",), failed=True)
    out = shown(failed)
    assert out.startswith(
        "Said of a: the program reported failure.\nIt went wrong, and no step stands out. The likeliest:\n\nthe words of a  "
    )
    assert out.count("Said of") == 1


def test_the_evidence_is_not_written_again_below_the_way() -> None:
    """The last step of which is the suspect."""
    chain = (Step("0" * 16, "answer", "x", "it took it over"), Step("1" * 16, "search", {"q": 1}, "It gave a page of orders"))
    diagnosis = Diagnosis(
        SILENT, "ok", (Suspect("1" * 16, 0.9, "search gave orders", "It gave a page of orders.", chain=chain),)
    )
    assert shown(diagnosis).count("It gave a page of orders") == 1
    assert "it took it over" in shown(diagnosis)
    assert "\n".join(why.markdown(Trace(silent()), diagnosis, top=1)).count("It gave a page of orders") == 1


def test_turns_of_a_loop_are_told_once() -> None:
    """With how often they came; the suspect itself stands alone."""
    turn = Step("1" * 16, "look_up", {"order_id": "7"}, "the user gave it")
    chain = (Step("0" * 16, "answer", "x"), turn, turn, turn, Step("2" * 16, "look_up", {"order_id": "7"}, "8 times"))
    diagnosis = Diagnosis(SILENT, "ok", (Suspect("2" * 16, 0.9, "it went in circles", "8 times.", chain=chain),))
    out = shown(diagnosis)
    assert out.count('← look_up(order_id="7")') == 2
    assert "the user gave it; the same 2 times more before that" in out
    page = "\n".join(why.markdown(Trace(silent()), diagnosis, top=3))
    assert page.count("1. `look_up") == 2


def test_steps_of_all_forms() -> None:
    """An argument has its value, a call its arguments, text its words; hostile text stays on its line."""
    chain = (
        Step("1" * 16, "answer", "two\nlines\x1b[2J"),
        Step("1" * 16, "search", {"q": "kettle", "limit": 3}, "its words come from the result of fetch"),
        Step("1" * 16, "… 4 more"),
        Step("1" * 16, "fetch", '{"url": ', "it failed"),
        Step("1" * 16, "argument /url", None, "it is missing"),
    )
    suspect = Suspect("1" * 16, 0.9, "fetch", "Broken.", chain=chain, advice="Mend.")
    assert shown(Diagnosis(SILENT, "failed", (suspect,))) == snapshot("""\
fetch                                                                       90 %
Broken.

     answer: two lines\\x1b[2J
   ← search(q="kettle", limit=3)
       its words come from the result of fetch
   ← … 4 more
   ← fetch: {"url":
       it failed
   ← argument /url
       it is missing

What would have prevented it: Mend.

trace 4bf92f3577b34da6a3ce929d0e0e4736  ok
DATE  1.00 s  4 spans  138 tokens  cost -
""")


def test_json(llmtrace: Callable[..., Any], store: str) -> None:
    """The diagnosis as it is: suspects with score, evidence, chain and advice."""
    diagnosis = json.loads(llmtrace("why", SILENT, "--json", "--store", store).out)
    assert (diagnosis["trace_id"], diagnosis["health"]) == (SILENT, "ok")
    first = diagnosis["suspects"][0]
    assert (first["pointer"], first["value"]) == ("/order_id", "KS-20431")
    assert [step["title"] for step in first["chain"]] == ["answer", "look_up", "argument /order_id"]


def test_no_suspect(llmtrace: Callable[..., Any], store: str) -> None:
    """A run in which nothing is odd has no suspect, and that is said."""
    opened = open_store(store)
    opened.append(Maker("d" * 32, time.time_ns() - SECOND).span(1, None, "chat m", chat([user("hi")], answers("hello"))))
    opened.close()
    ran = llmtrace("why", "--store", store)
    assert "No suspect" in ran.out
    assert ran.code == 0


def test_top(llmtrace: Callable[..., Any], store: str) -> None:
    """--top cuts the list, and says how many it left out."""
    opened = open_store(store)
    for span in Maker("d" * 32, time.time_ns() - SECOND).with_two_made_up():
        opened.append(span)
    opened.close()
    suspects = json.loads(llmtrace("why", "--json", "--store", store).out)["suspects"]
    out = llmtrace("why", "--top", "1", "--store", store).out
    assert out.startswith(suspects[0]["title"])
    assert "\n2. " not in out
    assert len(suspects) > 1
    assert f"{len(suspects) - 1} more with --top {len(suspects)}" in out


def test_markdown(llmtrace: Callable[..., Any], store: str) -> None:
    """For a ticket: where, the evidence, the way with its spans, what would have prevented it."""
    out = llmtrace("why", "--markdown", "--store", store).out
    assert re.match(r"## look_up was called with a made-up /order_id \(\d\d %\)\n", out)
    assert re.search(r"^1\. `argument /order_id = \"KS-20431\"` \(span `[0-9a-f]{16}`\)", out, re.MULTILINE)
    assert "What would have prevented it: " in out


def test_hostile_words_are_no_markdown() -> None:
    """What a model said cannot leave its code span, nor start a tag."""
    chain = (Step("1" * 16, "answer", "`<img src=x>`\n# head"),)
    suspect = Suspect("1" * 16, 0.9, "fetch <b>", "It said | `x`.", chain=chain, advice="Mend.")
    out = "\n".join(why.markdown(Trace(silent()), Diagnosis(SILENT, "failed", (suspect,)), top=3))
    assert "`answer: '<img src=x>' # head`" in out
    assert "<b>" not in out.replace("<img", "")
    assert "\\| 'x'" in out


def test_no_words_are_a_link_or_bold() -> None:
    suspect = Suspect("1" * 16, 0.9, "look_up of __init__", "See [it](http://evil) in **bold**.", advice="Mend.")
    out = "\n".join(why.markdown(Trace(silent()), Diagnosis(SILENT, "failed", (suspect,)), top=3))
    assert "## look_up of \\_\\_init\\_\\_ (" in out
    assert "See \\[it](http://evil) in \\*\\*bold\\*\\*." in out


def test_each_list_ends_with_a_blank_line() -> None:
    """Else Markdown takes the next paragraph for a part of its last item."""
    chain = (Step("1" * 16, "answer", "Done."),)
    suspect = Suspect("1" * 16, 0.9, "It", "It did.", also=("It failed.",), chain=chain, advice="Mend.")
    diagnosis = Diagnosis(SILENT, "failed", (suspect,), ("earlier messages",), ("agent: it was bad.",))
    lines = "\n".join(why.markdown(Trace(silent()), diagnosis, top=3, notes=("a judge's words",))).splitlines()
    for number, line in enumerate(lines[:-1]):
        if line.startswith(("* ", "1. ")):
            assert lines[number + 1] == "" or lines[number + 1].startswith(line[:2]), line


def test_all_groups_runs_by_cause(llmtrace: Callable[..., Any], store: str) -> None:
    """Two runs with one cause are one line, and a run without a suspect is in none."""
    opened = open_store(store)
    for number in range(2):
        for span in Maker(f"{number + 3}" * 32, time.time_ns() - SECOND).with_two_made_up():
            opened.append(span)
    opened.append(Maker("d" * 32, time.time_ns() - SECOND).span(1, None, "chat m", chat([user("hi")], answers("hello"))))
    opened.close()
    told = json.loads(llmtrace("why", "--all", "--json", "--store", store).out)
    assert told["runs"] == 5
    assert told["causes"][0]["runs"] >= 2
    assert {"3" * 32, "4" * 32} <= set(told["causes"][0]["traces"])
    assert "d" * 32 not in str(told["causes"])
    out = llmtrace("why", "--all", "--store", store).out
    assert told["causes"][0]["title"] in out
    assert f"{sum(cause['runs'] for cause in told['causes'])} of 5 runs have a suspect" in out
    assert "Since " in out
    assert json.loads(llmtrace("why", "--all", "--tag", "absent", "--json", "--store", store).out)["runs"] == 0


def test_of_many_runs_one_that_cannot_be_diagnosed_costs_only_itself(
    llmtrace: Callable[..., Any], store: str, broken_finder: None
) -> None:
    """stderr says so, once for each fault; the other runs are grouped as ever."""
    opened = open_store(store)
    for span in Maker("3" * 32, time.time_ns() - SECOND).with_two_made_up():
        opened.append(span)
    opened.close()
    ran = llmtrace("why", "--all", "--store", store)
    assert ran.code == 0
    assert ran.out.startswith("1 of 3 runs has a suspect, one cause")
    said = " ".join(ran.err.split())
    assert "1 run could not be diagnosed: KeyError ('order_id') at conftest.py:" in said
    assert said.endswith("llmtrace why 4bf92f35 says how to report it.")
    told = json.loads(llmtrace("why", "--all", "--json", "--store", store).out)
    assert [one["trace_id"] for one in told["undiagnosed"]] == [SILENT]


def test_a_trace_that_cannot_be_diagnosed(llmtrace: Callable[..., Any], store: str, broken_finder: None) -> None:
    """No stack trace, but what happened, how to report it, and what can be read instead; exit code 1."""
    ran = llmtrace("why", SILENT, "--store", store)
    assert (ran.code, ran.out) == (1, "")
    assert re.match(
        rf"llmtrace why: trace {SILENT} could not be diagnosed: KeyError \('order_id'\) at conftest\.py:\d+\.\n", ran.err
    )
    assert "report it" in ran.err
    assert "llmtrace export 4bf92f35 --content none" in ran.err
    assert llmtrace("export", "4bf92f35", "--content", "none", "--store", store).code == 0


@pytest.mark.parametrize("option", ["--since=1h", "--agent=shop", "--tag=prod", "--limit=3"])
def test_what_chooses_among_many_runs_needs_all(llmtrace: Callable[..., Any], store: str, option: str) -> None:
    ran = llmtrace("why", option, "--store", store)
    assert ran.code == 2
    assert f"{option.partition('=')[0]} chooses among many runs" in ran.err


def test_the_worst_come_first(llmtrace: Callable[..., Any], store: str) -> None:
    """`ls --sort health`: failed, recovered, running, ok."""
    healths = [trace["health"] for trace in json.loads(llmtrace("ls", "--sort", "health", "--json", "--store", store).out)]
    assert healths == sorted(healths, key=["failed", "recovered", "running", "ok"].index)


def test_of_no_run_that_is_said(llmtrace: Callable[..., Any], store: str) -> None:
    assert llmtrace("why", "--all", "--agent", "nobody", "--store", store).out == "No trace is like that.\n"


def test_a_cause_without_a_clue_is_said_to_be_none(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """Of runs that somebody called failed."""
    maker, task, answer = Maker("c" * 32, time.time_ns() - SECOND), user("Has it arrived?"), answers("It has.")
    outcome = Evaluation("outcome", "error", "the program reported failure", "failure")
    opened = open_store(str(tmp_path / "store"))
    agent = AgentInvocation("a", input=(task,), output=(answer,))
    opened.append(maker.span(1, None, "invoke_agent a", agent, took=0.9, evaluations=(outcome,)))
    opened.append(maker.span(2, 1, "chat m", chat([task], answer)))
    opened.close()
    for form in ("--all", "--all --markdown"):
        out = llmtrace("why", *form.split(), "--store", str(tmp_path / "store")).out
        assert "it failed and no step stands out; the likeliest: the words of a" in out


def test_of_runs_without_a_suspect_and_of_one_that_goes_on(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """What is there so far is told as that."""
    opened = open_store(str(tmp_path / "store"))
    maker = Maker("d" * 32, time.time_ns() - SECOND)
    opened.append(maker.span(1, None, "chat m", chat([user("hi")], answers("hello"))))
    assert llmtrace("why", "--all", "--store", str(tmp_path / "store")).out == "No suspect in 1 run\n"
    assert "No suspect: nothing in this trace" in shown(Diagnosis(SILENT, "ok"))
    assert "No suspect so far, and it goes on: nothing in this trace" in " ".join(shown(Diagnosis(SILENT, "running")).split())
    opened.close()


def test_that_only_the_newest_runs_were_looked_at_is_said(llmtrace: Callable[..., Any], store: str) -> None:
    assert llmtrace("why", "--all", "--store", store).err == ""
    assert llmtrace("why", "--all", "--limit", "2", "--store", store).err == ""
    ran = llmtrace("why", "--all", "--limit", "1", "--store", store)
    assert ran.out.startswith("1 of 1 run has a suspect")
    assert "it looked at the newest 1 run only; --limit N looks at more." in " ".join(ran.err.split())


def test_an_empty_store_is_said_to_be_empty(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    assert llmtrace("why", "--all", "--store", str(tmp_path / "store")).out == "No traces yet. Try: llmtrace demo\n"


def test_a_run_is_tagged_by_any_of_its_spans(llmtrace: Callable[..., Any], store: str) -> None:
    """A program may name its tags once the run has begun."""
    maker = Maker("e" * 32, time.time_ns() - SECOND)
    opened = open_store(store)
    opened.append(maker.span(2, 1, "chat m", chat([user("hi")], answers("hello")), attributes={semconv.TAGS: ("beta",)}))
    opened.append(maker.span(1, None, "invoke_agent support", AgentInvocation("support")))
    opened.close()
    assert json.loads(llmtrace("why", "--all", "--tag", "beta", "--json", "--store", store).out)["runs"] == 1
