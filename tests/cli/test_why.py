"""``llmtrace why``: suspects with their evidence, and the way from the answer back to them."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from inline_snapshot import snapshot

from llmtrace.cli import why
from llmtrace.cli.terminal import Screen
from llmtrace.diagnosis import ChainStep, Diagnosis, Place, Suspect
from llmtrace.model import Trace, replace
from tests.cli.traces import SECOND, SILENT, Maker, silent
from tests.stored import append


def body(out: str) -> str:
    """Without the line that holds the date."""
    return re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE", out, flags=re.MULTILINE)


def test_why(llmtrace: Callable[..., Any], store: str) -> None:
    """The last trace by default: the suspect, why, and answer ← call ← argument that came from nowhere."""
    ran = llmtrace("why", "--store", store)
    assert ran.out.startswith("look_up was called with a made-up /order_id")
    assert re.findall(r"^ {3}(?:  |← )(\w+)", ran.out, re.MULTILINE) == ["answer", "look_up", "argument"]
    assert '← argument /order_id = "KS-20431"' in ran.out
    assert "What would have prevented it: " in ran.out
    assert (ran.code, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines())) <= 80


def suspect(title: str = "refund failed", evidence: str = "It raised.", **fields: Any) -> Suspect:
    """A certain suspect unless ``confidence`` says otherwise."""
    values = {"check": "failed_tool", "label": "never_succeeded", "confidence": "certain", "span_id": "1" * 16} | fields
    return Suspect(title=title, evidence=evidence, **values)


def diagnosis(*suspects: Suspect, **fields: Any) -> Diagnosis:
    values = {"health": "ok", "is_judged": True, "checked": ("failed_tool", "defective_output")} | fields
    return Diagnosis(SILENT, suspects=suspects, **values)


def shown(found: Diagnosis, **options: Any) -> str:
    out = io.StringIO()
    why.show(Screen(out, colour=False, width=80), Trace(silent()), found, **({"top": 3} | options))
    return body(out.getvalue())


def page(found: Diagnosis, **options: Any) -> str:
    return "\n".join(why.markdown(Trace(silent()), found, **({"top": 3} | options)))


def test_a_marked_suspect_with_all_that_is_known_of_it() -> None:
    """Title and word, evidence, count, what it explains, chain, advice; then what was checked and what was not."""
    chain = (ChainStep("2" * 16, "answer", "Done."), ChainStep("1" * 16, "refund", {"amount": 7}, "it failed"))
    first = suspect(count=3, symptoms=("the answer claims a refund",), chain=chain, advice="Read the error.")
    other = suspect("look_up was cut", "It ends in mid-word.", confidence="likely", probability=0.7, span_id="3" * 16)
    assert shown(diagnosis(first, other, unchecked=("Earlier messages are kept by the provider.",))) == snapshot("""\
refund failed                                                            certain
It raised.
Found 3 times in this run.
It explains: the answer claims a refund.

     answer: Done.
   ← refund(amount=7)
       it failed

What would have prevented it: Read the error.

Other suspects
2. look_up was cut                                                  likely, 70 %
   It ends in mid-word.

Checked: 2 checks ran; --possible names them.
Not checked: Earlier messages are kept by the provider.
trace 4bf92f3577b34da6a3ce929d0e0e4736  ok
DATE  1.00 s  4 spans  138 tokens  cost -
""")


def test_a_percentage_is_shown_only_where_it_was_measured() -> None:
    """The word alone says how sure the finding is."""
    assert "%" not in shown(diagnosis(suspect()))
    assert "certain, 40 %" in shown(diagnosis(suspect(probability=0.4)))


def test_one_thing_is_it() -> None:
    """Numbers agree: one thing, and what shows it."""
    found = replace(diagnosis(suspect("one", confidence="possible")), checked=("loop",))
    said = " ".join(shown(found).split())
    assert "1 thing worth a look: one. llmtrace why 4bf92f35 --possible shows it." in said
    assert "1 check ran; --possible names it." in said


def test_what_is_only_possible_is_one_folded_line() -> None:
    """Its evidence comes with --possible, and it never marks a run."""
    found = diagnosis(*(suspect(f"thing {number}", confidence="possible", probability=0.05) for number in range(5)))
    folded = shown(found)
    assert folded.startswith("No suspect.\n")
    assert "5 things worth a look: thing 0; thing 1; thing 2; 2 more." in folded
    assert "llmtrace why 4bf92f35 --possible" in " ".join(folded.split())
    assert "It raised." not in folded
    unfolded = shown(found, possible=True)
    assert unfolded.startswith("No suspect.\n")
    assert unfolded.count("possible, 5 %") == unfolded.count("It raised.") == 5
    assert "5 things worth a look: thing 0" in page(found)
    assert page(found, possible=True).count("(possible, 5 %)") == 5


def test_in_a_failed_run_places_to_look_at_are_shown() -> None:
    """Each says what was found there, or that only its position speaks for it."""
    places = (
        Place("1" * 16, "look_up", 0.34, "It returned an error."),
        Place("2" * 16, "answer", 0.12, part="answer"),
    )
    found = diagnosis(health="failed", failed=True, places=places, reports=("agent: a person found it bad: not *mine*.",))
    assert shown(found) == snapshot("""\
The run failed, but no step is a clear cause.

Reported: agent: a person found it bad: not *mine*.

Where to look first
1. look_up                                                                  34 %
   found: It returned an error.
2. answer                                                                   12 %
   by position only

Checked: 2 checks ran; --possible names them.
trace 4bf92f3577b34da6a3ce929d0e0e4736  failed
DATE  1.00 s  4 spans  138 tokens  cost -
""")
    assert f"2. answer (span `{'2' * 16}`, 12 %): by position only" in page(found)
    assert "* Reported: `agent: a person found it bad: not *mine*.`" in page(found)


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({}, "No suspect."),
        ({"health": "running"}, "Still running. Nothing so far."),
        ({"checked": ("errors", "budgets"), "is_judged": False}, "Nothing could be judged."),
        ({"health": "failed", "failed": True}, "The run failed, but no step is a clear cause."),
    ],
)
def test_whether_something_is_wrong_comes_first(fields: dict[str, Any], verdict: str) -> None:
    """Nothing is called fine that was not checked."""
    assert shown(diagnosis(**fields)).startswith(f"{verdict}\n")
    assert page(diagnosis(**fields)).startswith(verdict)


def test_a_chain_of_one_step_is_not_repeated() -> None:
    """The title says it already: what the program died of, the error with which it ended."""
    step = ChainStep("1" * 16, "pipeline ended with ValueError", None, "It says “no”")
    found = diagnosis(suspect(step.title, "It says “no”.", chain=(step,)))
    assert shown(found).count("It says “no”") == page(found).count("It says “no”") == 1


def test_the_evidence_is_not_repeated_in_the_chain() -> None:
    """The last step of which is the suspect."""
    chain = (
        ChainStep("0" * 16, "answer", "x", "it took it over"),
        ChainStep("1" * 16, "search", {"q": 1}, "It gave a page of orders"),
    )
    found = diagnosis(suspect("search gave orders", "It gave a page of orders.", chain=chain))
    assert shown(found).count("It gave a page of orders") == page(found).count("It gave a page of orders") == 1
    assert "it took it over" in shown(found)


def test_turns_of_a_loop_are_one_step() -> None:
    """With how often they came; the suspect itself stands alone."""
    turn = ChainStep("1" * 16, "look_up", {"order_id": "7"}, "the user gave it")
    chain = (ChainStep("0" * 16, "answer", "x"), turn, turn, turn, ChainStep("2" * 16, "look_up", {"order_id": "7"}, "8 times"))
    found = diagnosis(suspect("look_up was repeated", "8 times.", chain=chain))
    assert shown(found).count('← look_up(order_id="7")') == 2
    assert "the user gave it; the same 2 times more before that" in shown(found)
    assert re.findall(r"^(\d)\. `look_up", page(found), re.MULTILINE) == ["2", "3"]


def test_steps_of_all_forms() -> None:
    """An argument has its value, a call its arguments, text its words; hostile text stays on its line."""
    chain = (
        ChainStep("1" * 16, "answer", "two\nlines\x1b[2J"),
        ChainStep("1" * 16, "search", {"q": "kettle", "limit": 3}, "its words come from the result of fetch"),
        ChainStep("1" * 16, "… 4 more"),
        ChainStep("1" * 16, "fetch", '{"url": ', "it failed"),
        ChainStep("1" * 16, "argument /url", None, "it is missing"),
    )
    out = shown(diagnosis(suspect("fetch", chain=chain)))
    assert out[out.index("     answer") : out.index("Checked")] == snapshot("""\
     answer: two lines\\x1b[2J
   ← search(q="kettle", limit=3)
       its words come from the result of fetch
   ← … 4 more
   ← fetch: {"url":
       it failed
   ← argument /url
       it is missing

""")


def test_json(llmtrace: Callable[..., Any], store: str) -> None:
    """The diagnosis with all its fields, and what follows from them."""
    found = json.loads(llmtrace("why", SILENT, "--json", "--store", store).out)
    assert (found["trace_id"], found["health"], found["is_wrong"], found["running"]) == (SILENT, "suspect", True, False)
    assert {"places", "checked", "unchecked", "reports", "failed"} <= found.keys()
    first = found["suspects"][0]
    assert (first["confidence"], first["pointer"], first["value"]) == ("likely", "/order_id", "KS-20431")
    assert {"check", "probability", "count", "symptoms", "spans"} <= first.keys()
    assert [step["title"] for step in first["chain"]] == ["answer", "look_up", "argument /order_id"]


def test_top(llmtrace: Callable[..., Any], store: str) -> None:
    """--top cuts the list, and says how many it left out."""
    append(store, *Maker("d" * 32, time.time_ns() - SECOND).with_two_made_up())
    suspects = json.loads(llmtrace("why", "--json", "--store", store).out)["suspects"]
    out = llmtrace("why", "--top", "1", "--store", store).out
    assert out.startswith(suspects[0]["title"])
    assert "\n2. " not in out
    assert len(suspects) > 1
    assert f"{len(suspects) - 1} more with --top {len(suspects)}" in out


def test_markdown(llmtrace: Callable[..., Any], store: str) -> None:
    """For a ticket: where, the evidence, the way with its spans, what would have prevented it."""
    out = llmtrace("why", "--markdown", "--store", store).out
    assert re.match(r"## look_up was called with a made-up /order_id \(likely", out)
    steps = re.findall(r"^(\d+)\. `(.*)` \(span `[0-9a-f]{16}`\)", out, re.MULTILINE)
    assert [int(number) for number, _ in steps] == list(range(1, len(steps) + 1))
    assert steps[-1][1] == 'argument /order_id = "KS-20431"'
    assert "What would have prevented it: " in out


def test_hostile_words_are_not_markdown() -> None:
    """What a model said cannot leave its code span, nor start a tag."""
    chain = (ChainStep("1" * 16, "answer", "`<img src=x>`\n# head"),)
    out = page(diagnosis(suspect("fetch <b>", "It said | `x`.", chain=chain)))
    assert "`answer: '<img src=x>' # head`" in out
    assert "<b>" not in out.replace("<img", "")
    assert "\\| 'x'" in out


def test_no_words_become_a_link_or_bold() -> None:
    """Titles and evidence are escaped, without touching underscores inside names."""
    out = page(diagnosis(suspect("look_up of __init__", "See [it](http://evil) in **bold**.")))
    assert "## look_up of \\_\\_init\\_\\_ (" in out
    assert "See \\[it](http://evil) in \\*\\*bold\\*\\*." in out


def test_each_list_ends_with_a_blank_line() -> None:
    """Else Markdown takes the next paragraph for a part of its last item."""
    chain = (ChainStep("1" * 16, "answer", "Done."),)
    found = diagnosis(
        suspect("It", chain=chain, advice="Mend."),
        failed=True,
        places=(Place("2" * 16, "answer", 0.1),),
        unchecked=("Earlier messages are not visible.",),
        reports=("agent: it was bad.",),
    )
    lines = page(found, notes={("1" * 16, "It"): "a judge's words"}).splitlines()
    for number, line in enumerate(lines[:-1]):
        if line.startswith(("* ", "1. ")):
            assert lines[number + 1] == "" or lines[number + 1].startswith(line[:2]), line


def test_a_trace_that_cannot_be_diagnosed(llmtrace: Callable[..., Any], store: str, broken_diagnosis: None) -> None:
    """No stack trace, but what happened, how to report it, and what can be read instead; exit code 1."""
    ran = llmtrace("why", SILENT, "--store", store)
    assert (ran.code, ran.out) == (1, "")
    assert re.match(
        rf"llmtrace why: trace {SILENT} could not be diagnosed: KeyError \('order_id'\) at conftest\.py:\d+\.\n", ran.err
    )
    assert "report it" in ran.err
    assert "llmtrace export 4bf92f35 --content none" in ran.err
    assert llmtrace("export", "4bf92f35", "--content", "none", "--store", store).code == 0
