"""Pictures of every view, on three screens and in both themes; with KEEP_PICTURES=1 they are those of the docs."""

from __future__ import annotations

import base64
import importlib.util
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmtrace.model import Inference, Span, Usage, replace
from llmtrace.store import open_store
from tests.viewer.browser.conftest import PICTURES, missing
from tests.viewer.conftest import Served, serving
from tests.viewer.made import START, trace

HELD = Path(__file__).parents[1] / "held_program.py"
pytestmark = [pytest.mark.all, pytest.mark.timeout(600)]

VIEWS = {
    "list": ("#/", ".trace-row .found.likely"),
    "trace": ("#/trace/{silent}", ".suspicion .chain a"),
    "conversation": ("#/trace/{silent}?view=c", ".card.c-tool .code.result"),
    "violation": ("#/trace/{long}?span={planted}", ".schema mark.wanted"),
    "compare": ("#/compare/{good}/{silent}", ".pane .attempt"),
    "time": ("#/time?window=30+d", ".chart canvas"),
    "reviews": ("#/reviews", ".review-row .running"),
    "review": ("#/reviews/{review}", ".origins .grounded"),
}
SIZES = ((400, 860), (1280, 800), (2560, 1300))
"""A phone, a laptop and a large screen: the sheet of a view shows it on each."""
IN_PAGES = ("trace", "conversation", "violation", "time")
"""Views that pages of the docs show alone, too."""
DAYS = 28
SLOWER = 17
"""The day from which on the second model is slower, and says more."""
MOST_BYTES = 200_000
"""Of one picture."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, str]]]:
    """What `llmtrace demo` recorded, a longer trace with a broken call, and a run that waits for a person."""
    if importlib.util.find_spec("openai") is None:
        missing("the demo needs the openai package")
    folder = str(tmp_path_factory.mktemp("demo") / "traces")
    subprocess.run([sys.executable, "-m", "llmtrace", "demo", "--store", folder], check=True, capture_output=True)
    store = open_store(folder)
    names = {"silent": store.traces()[0].trace_id, "good": store.traces()[1].trace_id}
    made = trace(48, seed=7)
    for span in made.spans:
        store.append(span)
    waiting = subprocess.Popen([sys.executable, str(HELD), folder], stdout=subprocess.DEVNULL)
    with serving(store) as served:
        names["review"] = _waiting(served)
        yield served, names | {"long": made.trace_id, "planted": made.planted}
    waiting.kill()
    waiting.wait()
    store.close()


def _waiting(served: Served) -> str:
    """The id of the first review, once there is one."""
    for _ in range(600):
        if found := served.ask("/api/reviews").json["reviews"]:
            return str(found[0]["id"])
        time.sleep(0.1)
    raise AssertionError("nothing waits for a person")


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Four weeks of two models."""
    store = open_store(str(tmp_path_factory.mktemp("weeks") / "store"))
    for day in range(DAYS):
        for number, model in enumerate(("made-1", "made-2")):
            dice = random.Random(2 * day + number)
            for span in trace(96, seed=2 * day + number).spans:
                store.append(_on(day, model, span, dice))
    store.traces()
    with serving(store) as served:
        yield served
    store.close()


def _on(day: int, model: str, span: Span, dice: random.Random) -> Span:
    begun = time.time_ns() - (DAYS - day) * 86_400_000_000_000 + span.start - START
    took = (span.end or span.start) - span.start
    operation = span.operation
    if isinstance(operation, Inference) and operation.usage is not None:
        more = 1.6 if (model, day >= SLOWER) == ("made-2", True) else 1.0
        output = max(8, round(dice.gauss(60 if model == "made-1" else 40, 12) * more))
        took = round(output * dice.lognormvariate(3.2, 0.25) * more * 1e6)
        usage, first = Usage(operation.usage.input_tokens, output), dice.lognormvariate(-1.6, 0.3) * more
        fields = {
            "request_model": model,
            "response_model": model,
            "usage": usage,
            "time_to_first_chunk": min(first, took / 1e9),
        }
        operation = replace(operation, **fields, cost_usd=(operation.cost_usd or 0) * more)
    return replace(span, start=begun, end=begun + took, operation=operation)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view_has_its_pictures(
    demo: tuple[Served, dict[str, str]], weeks: Served, open_page: Callable[..., Any], tmp_path: Path, theme: str
) -> None:
    """On each screen a view shows what it is for, and scrolls down only. Axe finds nothing on the small one."""
    from axe_playwright_python.sync_playwright import Axe

    folder = PICTURES if os.environ.get("KEEP_PICTURES") else tmp_path
    served, names = demo
    shots: dict[str, list[bytes]] = {view: [] for view in VIEWS}
    pages = [open_page(one.address, theme=theme, bypass_csp=True) for one in (served, weeks)]
    for size in SIZES:
        for view, (place, shown) in VIEWS.items():
            page, server = (pages[1], weeks) if view == "time" else (pages[0], served)
            page.set_viewport_size({"width": size[0], "height": size[1]})
            page.goto(f"{server.address}{place.format(**names)}")
            _settle(page, view, shown)
            shots[view].append(page.screenshot())
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (view, size)
            if size == SIZES[0]:
                assert Axe().run(page).response["violations"] == [], view
            elif view in IN_PAGES and size == SIZES[1]:
                page.set_viewport_size({"width": 1160, "height": 640})
                _settle(page, view, shown)
                _keep(folder / f"viewer-{view}-{theme}.png", page.screenshot())
    for view, pictures in shots.items():
        _keep(folder / f"sheet-{view}-{theme}.webp", _sheet(pages[0], pictures))


def _settle(page: Any, view: str, shown: str) -> None:
    page.wait_for_selector(shown)
    page.wait_for_timeout(400)
    if view == "violation":  # the call and its schema
        page.evaluate("document.querySelector('.beside').closest('.part').scrollIntoView()")


def _sheet(page: Any, pictures: list[bytes]) -> bytes:
    """The pictures beside each other, all of one height."""
    images = "".join(f'<img src="data:image/png;base64,{base64.b64encode(picture).decode()}">' for picture in pictures)
    page.goto("about:blank")
    page.set_viewport_size({"width": 2687, "height": 660})
    style = "<style>body{margin:0;display:flex;gap:12px;background:#888}img{height:660px}</style>"
    page.set_content(f"{style}{images}")
    page.wait_for_function("[...document.images].every((image) => image.complete)")
    taken = page.context.new_cdp_session(page).send("Page.captureScreenshot", {"format": "webp", "quality": 60})
    return base64.b64decode(taken["data"])


def _keep(path: Path, picture: bytes) -> None:
    path.write_bytes(picture)
    assert 5_000 < len(picture) <= MOST_BYTES
