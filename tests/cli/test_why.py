"""``llmtrace why``: suspects with their evidence, and the way from the answer back to them."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable
from typing import Any

from inline_snapshot import snapshot

from llmtrace.cli import why
from llmtrace.cli.paint import Screen
from llmtrace.diagnosis import Diagnosis, Step, Suspect
from llmtrace.model import Trace
from llmtrace.store import open_store
from tests.cli.traces import SECOND, SILENT, Maker, answers, chat, silent, user


def body(out: str) -> str:
    """Without the line that holds the date."""
    return re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE", out, flags=re.MULTILINE)


def test_why(llmtrace: Callable[..., Any], store: str) -> None:
    """The last trace by default: what is suspect, why, and answer ← call ← argument that came from nowhere."""
    ran = llmtrace("why", "--store", store)
    assert "1. look_up was called with a made-up /order_id" in ran.out
    assert re.findall(r"^ {3}(?:  |← )(\w+)", ran.out, re.MULTILINE) == ["answer", "look_up", "argument"]
    assert '← argument /order_id = "KS-20431"' in ran.out
    assert "What to do: " in ran.out
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
trace 4bf92f3577b34da6a3ce929d0e0e4736  ok
DATE  1.00 s  4 spans  138 tokens  cost -

Nothing here is likely to have done harm. What is a little suspect:

1. refund was slow                                                suspicion 0.18
   It took 3 s.

   What to do: Look at it.

""")


def test_what_was_not_visible_is_said() -> None:
    """Unknown is neither fine nor wrong."""
    assert shown(Diagnosis(SILENT, "ok", (), ("earlier messages are at the provider",))) == snapshot("""\
trace 4bf92f3577b34da6a3ce929d0e0e4736  ok
DATE  1.00 s  4 spans  138 tokens  cost -

No suspect in what is visible here; the rest cannot be judged.
Not visible: earlier messages are at the provider
""")


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
trace 4bf92f3577b34da6a3ce929d0e0e4736  ok
DATE  1.00 s  4 spans  138 tokens  cost -

1. fetch                                                          suspicion 0.90
   Broken.

     answer: two lines\\x1b[2J
   ← search(q="kettle", limit=3)
       its words come from the result of fetch
   ← … 4 more
   ← fetch: {"url":
       it failed
   ← argument /url
       it is missing

   What to do: Mend.

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
    assert "\n1. " in out
    assert "\n2. " not in out
    assert len(suspects) > 1
    assert f"{len(suspects) - 1} more with --top {len(suspects)}" in out
