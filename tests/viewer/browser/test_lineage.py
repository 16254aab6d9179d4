"""The way of values on the screen: what fed a step and what it infected, and the very characters at both ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmtrace.viewer import page as single_file
from llmtrace.viewer.trace_view import TraceView
from tests.lineage_story import TRACE_ID, Story
from tests.viewer.browser.conftest import DIAGNOSED, chosen, click, press, visit
from tests.viewer.conftest import showing

pytestmark = [pytest.mark.all, pytest.mark.timeout(300)]

ORIGIN = "[...document.querySelectorAll('.pane mark.origin')].map((one) => [one.textContent, one.previousSibling?.textContent])"
LIT = "(cls) => [...document.querySelectorAll(`.rows .row.${cls}`)].map((row) => row.id.slice(-2)).sort()"


def story() -> Story:
    """Spans by number: 2 looks up, 4 finds the account of the customer, 6 refunds; 1, 3 and 5 ask for that, 7 answers. What
    stands before the values in the text is more than one unit of UTF-16 a character. Around them is the agent, ff."""
    made = Story(system="You refund orders.").user("Zoë 🙂🙂 here: KS-20431 and again KS-20431, please.")
    made.call("look_up", {"order": {"total": 42.5, "customer": "🙂 C-9917"}}, order_id="KS-20431")
    made.call("find_account", "Of C-9917: DE-77-1234", customer="C-9917")
    made.call("refund", {"state": "booked"}, amount=42.5, account="DE-77-1234")
    return made.answer("42.5 went back to DE-77-1234.")


def test_what_fed_a_step_and_what_it_infected(tmp_path: Path, open_page: Callable[..., Any]) -> None:
    """`r` lists both and lights them, and goes with the cursor; again, and nothing is lit. So it is in the single file."""
    trace = story().trace()
    path = tmp_path / "trace.html"
    path.write_bytes(single_file.write(TraceView(trace)))
    with showing(tmp_path, trace.spans) as served:
        for address in (served.address, path.as_uri()):
            page = open_page(f"{address}#/trace/{TRACE_ID}?span={4:016x}", ".pane h2:has-text('find_account')")
            page.wait_for_selector(DIAGNOSED)
            press(page, "r", ".spread .fed li")
            assert page.evaluate(LIT, "fed") == ["01", "02", "03"]
            assert page.evaluate(LIT, "infected") == ["05", "06", "07", "ee"]
            assert "find_account /customer = C-9917: result of look_up" in page.inner_text(".spread .fed")
            assert "refund /account = DE-77-1234: result of find_account" in page.inner_text(".spread .infected")
            press(page, "Home", ".spread .infected:has-text('nothing that can be seen')")
            assert page.evaluate(LIT, "infected") == []
            press(page, "r", ".spread", state="detached")
            assert page.evaluate(LIT, "fed") == []
            page.close()


def test_the_characters_at_both_ends(tmp_path: Path, open_page: Callable[..., Any]) -> None:
    """A value leads to the very characters that it came from: a part of a member of a result, a part of plain text, in what the
    user wrote; by a click, by `b`, and by the address alone."""
    with showing(tmp_path, story().trace().spans) as served:
        page = open_page(f"{served.address}#/trace/{TRACE_ID}?span={6:016x}")
        for words, used_by, span, origin in (
            ("DE-77-1234", 6, 4, ["DE-77-1234", "Of C-9917: "]),
            ("KS-20431", 2, 1, ["KS-20431", "Zoë 🙂🙂 here: KS-20431 and again "]),
        ):
            page.goto(f"{served.address}#/trace/{TRACE_ID}?span={used_by:016x}")
            click(page, f".pane a.grounded:has-text('{words}')", ".pane mark.origin")
            assert (chosen(page), page.evaluate(ORIGIN)) == (f"{span:016x}", [origin])
            page.reload()
            page.wait_for_selector(".pane mark.origin")
            assert page.evaluate(ORIGIN) == [origin]
        visit(page, f"{served.address}#/trace/{TRACE_ID}?span={4:016x}", ".pane a.grounded:has-text('C-9917')")
        press(page, "b", ".pane mark.origin")
        [[text, before]] = page.evaluate(ORIGIN)
        assert (chosen(page), text, before.endswith('"🙂 ')) == (f"{2:016x}", "C-9917", True)
