"""A reviewer at work: a program in a process of its own waits until the call is decided in the page."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmtrace.model.reviews import ValueOrigin
from llmtrace.store.claims import NAME
from tests.cli.test_dead_letters import refused, traced
from tests.cli.traces import silent
from tests.viewer.browser.conftest import click, missing, nodes, press, visit
from tests.viewer.browser.test_page import HOSTILE
from tests.viewer.conftest import Served, showing
from tests.viewer.test_reviews import propose

pytestmark = [pytest.mark.all, pytest.mark.timeout(300)]

PROGRAM = Path(__file__).parents[1] / "held_program.py"
OVERFLOW = "document.scrollingElement.scrollWidth - innerWidth"


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Served]:
    """A viewer over a store in which nothing waits."""
    with showing(tmp_path, silent()) as served:
        yield served


@pytest.fixture
def start(queue: Served) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts a program that waits for a person."""
    programs: list[subprocess.Popen[str]] = []

    def started() -> subprocess.Popen[str]:
        command = [sys.executable, str(PROGRAM), str(queue.store.folder)]
        programs.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return programs[-1]

    yield started
    for program in programs:
        program.kill()
        program.communicate()


def test_what_was_given_up_is_beside_the_reviews(queue: Served, open_page: Callable[..., Any]) -> None:
    """Each dead letter shows why it was given up and the command to send it again, and leads to its step."""
    for span in traced(refused).spans:
        queue.store.append(span)
    page = open_page(f"{queue.address}#/reviews")
    click(page, ".toggle >> text=given up", ".rows .review-row")
    row = page.inner_text(".rows .review-row")
    assert "invalid call: refund" in row
    assert "llmtrace dead-letters retry" in row
    assert page.evaluate(OVERFLOW) <= 0
    click(page, ".rows .review-row a", ".suspects")
    assert "/trace/" in page.url


def test_a_held_call_is_edited_and_the_run_ends_right(
    queue: Served, open_page: Callable[..., Any], start: Callable[[], subprocess.Popen[str]]
) -> None:
    """By keys alone, from the list: the number that waits comes by itself; a fault stands at its field; what was confirmed is
    what runs, with the program's own value where the reviewer saw none. Who was slower is told."""
    page = open_page(queue.address, ".rows .trace-row")
    press(page, "r", "text=Nothing waits for a person")
    program = start()
    page.wait_for_selector(".review-row .running")
    press(page, "Enter", ".values .doubt")
    page.wait_for_selector(".origins .grounded")
    assert page.inner_text(".values > div:nth-child(1)").split("\n") == [
        "order_id",
        '"KS-20431"',
        "ungrounded: identifier: no message or result contains it",
    ]
    assert "comes from result of look_up /total" in page.inner_text(".values > div:nth-child(2)")
    assert "hidden: what runs is not what is shown" in page.inner_text(".values > div:nth-child(4)")
    other = open_page(page.url.replace("/#", f"/?token={queue.token}#"), ".review .values")
    press(other, "a", "form.panel")

    page.keyboard.press("e")
    page.keyboard.press("Control+A")
    page.keyboard.type("KS-20457")
    page.keyboard.press("Tab")
    page.keyboard.type("much")
    press(page, "Enter", ".beside")
    press(page, "Enter", ".f-number .fault:not([hidden])")
    assert page.evaluate("document.activeElement.getAttribute('aria-invalid')") == "true"
    page.keyboard.press("Control+A")
    page.keyboard.type("20.50")
    press(page, "Enter", ".beside mark.changed >> text=20.5")
    assert page.locator(".beside .attempt:nth-child(2) mark.changed").all_inner_texts() == ['"KS-20457"', "20.50"]
    press(page, "Enter", ".decision.ok")
    page.wait_for_selector("text=It ran. Result")
    assert '"order_id": "KS-20457"' in page.inner_text(".code.result")

    other.wait_for_selector(".dock .gone:not([hidden])")
    assert "was first" in other.inner_text(".dock .gone") or "was decided before" in other.inner_text(".dock .gone")
    ran, answer = program.communicate(timeout=60)[0].splitlines()[:2]
    assert json.loads(ran) == {"order_id": "KS-20457", "amount": 20.5, "card": "4111 1111", "notify": True}
    assert answer.startswith("Done: ")
    assert program.returncode == 0
    press(page, "t", ".pane .decision.ok")
    assert page.locator(".pane .decision mark.changed").count() == 4
    page.close(), other.close()


def test_a_queue_by_keys(queue: Served, open_page: Callable[..., Any], start: Callable[[], subprocess.Popen[str]]) -> None:
    """From the trace to the call that waits in it, which is rejected; the next is approved for later calls, too; the last is
    answered in the tool's place."""
    program = start()
    page = open_page(queue.address, ".chip.waiting.on >> text=reviews 1")
    page.wait_for_selector(".trace-row.running .said, .fresh:not([hidden])")
    if page.is_visible(".fresh:not([hidden])"):  # the run began after the list was shown
        page.click(".fresh")
    page.wait_for_selector(".rows .health >> text=waits")
    page.click(".trace-row.running .said")
    page.click(".row >> text=waits for a person")
    click(page, "text=decide it", ".review .values")
    reviews = propose(queue, "rev_2", tool="other", question="other")
    propose(queue, "rev_3", tool="third", question="third")
    page.keyboard.press("r")
    page.keyboard.type("not this order")
    press(page, "Enter", ".decision.denied >> text=not this order")
    assert "rejected this call of refund" in program.communicate(timeout=60)[0]
    page.wait_for_selector("text=Next: third")
    press(page, "n", "h1 >> text=third")
    page.wait_for_selector(".review .values")
    page.keyboard.press("a")
    page.click("summary >> text=Approve later calls, too")
    assert page.locator(".panel input[type=checkbox]").count() == 2  # not the one that is hidden
    page.check(".panel input >> nth=1")
    click(page, "form.panel button[type=submit]", ".decision.ok")
    assert reviews.get("rev_3").decision.always == {"order_id": "KS-20431"}  # type: ignore[union-attr]
    press(page, "n", "h1 >> text=other")
    page.keyboard.press("i")
    page.keyboard.type('{"refunded": 1}')
    page.check("text=it is JSON")
    press(page, "Control+Enter", ".decision.ok >> text=Answered")
    assert reviews.get("rev_2").decision.value == {"refunded": 1}  # type: ignore[union-attr]
    page.close()


@pytest.mark.parametrize(("theme", "size"), [("light", (400, 800)), ("dark", (1280, 800))])
def test_every_state_is_accessible(queue: Served, open_page: Callable[..., Any], theme: str, size: tuple[int, int]) -> None:
    """axe finds nothing in the queue, the call and each of its panels; nothing overflows; few elements are needed."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        missing("axe-playwright-python is not installed here")
    for number in range(40):
        propose(queue, f"rev_{number}")

    def check(page: Any, state: str) -> None:
        page.wait_for_timeout(150)
        found = Axe().run(page).response["violations"]
        assert [(one["id"], [node["html"][:160] for node in one["nodes"][:3]]) for one in found] == [], state
        assert page.evaluate(OVERFLOW) <= 0, state
        assert nodes(page) <= 400, state

    page = open_page(f"{queue.address}#/reviews", ".review-row .running", theme=theme, size=size, bypass_csp=True)
    check(page, "queue")
    press(page, "Enter", "aside:not(:has(.looking)) a")
    check(page, "call")
    for key in "aeri":
        press(page, key, "form.panel")
        check(page, key)
        press(page, "Escape", "form.panel", state="detached")
    page.click("footer .more")
    check(page, "name")
    page.keyboard.type("ann")
    page.keyboard.press("Enter")
    page.keyboard.press("e")
    page.fill("form.panel .f-number input", "1")
    press(page, "Enter", ".beside")
    check(page, "difference")
    press(page, "Enter", ".decision.ok >> text=by ann")
    check(page, "decided")
    visit(page, f"{queue.address}#/reviews?decided=1", ".review-row .state:is(.done, .approved)")
    check(page, "decided ones")
    page.close()


def test_hostile_calls_stay_text(queue: Served, open_page: Callable[..., Any]) -> None:
    """Whatever a model put into a call; and what turns text around is written out."""
    for number, text in enumerate(HOSTILE):
        text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        payload: dict[str, Any] = {text: [text, {text: text}], "text": text, "number": text}
        schema = {"type": "object", "properties": {text: {"type": "string", "description": text}, "number": {"type": "number"}}}
        origins = (ValueOrigin("/text", text, text, text),)
        hidden = (f"/{text.replace('~', '~0').replace('/', '~1')}",) if number % 2 else ()
        fields = {"question": text, "reason": text, "tool": text if number % 3 else None, "payload": payload}
        propose(queue, f"rev_{number}", schema=schema, origins=origins, hidden=hidden, **fields)
    page = open_page(f"{queue.address}#/reviews", ".review-row .running")
    for number in range(len(HOSTILE)):
        visit(page, f"{queue.address}#/reviews/rev_{number}", "aside:not(:has(.looking)) a")
        for key in "aei":
            page.keyboard.press(key)
            page.wait_for_timeout(40)
            assert "[object" not in page.inner_text("body")
            assert not set("\u202a\u202b\u202d\u202e") & set(page.inner_text("main"))
            links = "[...document.querySelectorAll('a')].filter((a) => !/^#/.test(a.getAttribute('href'))).length"
            assert page.evaluate(links) == 0
            assert page.evaluate("document.querySelectorAll('img, iframe, object, embed, base').length") == 0
            page.keyboard.press("Escape")
    assert page.evaluate("window.pwned") is None
    page.close()


def test_ten_thousand_wait(queue: Served, open_page: Callable[..., Any]) -> None:
    """The queue opens at once, and shows the next when it is scrolled to its end."""
    reviews, now = propose(queue), time.time()
    assert reviews.folder is not None
    columns = "kind, state, run, owner, by"
    with closing(sqlite3.connect(reviews.folder / NAME)) as db, db:
        db.executemany(
            f"INSERT INTO claims (id, at, data, {columns})"
            f" SELECT ?1, ?2, json_set(replace(data, 'rev_1', ?1), '$.request.asked_at', ?2), {columns}"
            " FROM claims WHERE id = 'rev_1'",
            [(f"copy_{number}", now - number) for number in range(10_000)],
        )
    page = open_page(f"{queue.address}#/reviews", ".review-row .running")
    assert page.inner_text(".top [role=status]") == "100+ waiting"
    page.keyboard.press("End")
    page.wait_for_selector(".top [role=status] >> text=/^(199|200)[+] waiting/")  # the last of a page may come again
    assert nodes(page) <= 400
    page.close()
