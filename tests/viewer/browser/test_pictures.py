"""Pictures of every view (of the demo's silent failure, and of four weeks of two models), in both themes; with KEEP_PICTURES=1
they are those of the docs."""

from __future__ import annotations

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

pytestmark = [pytest.mark.all, pytest.mark.timeout(300)]

VIEWS = {
    "list": ("#/", ".trace-row .found.likely"),
    "trace": ("#/trace/{silent}", ".suspicion .chain a"),
    "conversation": ("#/trace/{silent}?view=c", ".card.c-tool .code.result"),
    "violation": ("#/trace/{long}?span={planted}", ".schema mark.wanted"),
    "compare": ("#/compare/{good}/{silent}", ".pane .attempt"),
    "time": ("#/time?window=30+d", ".chart canvas"),
}
DAYS = 28
SLOWER = 17
"""The day from which on the second model is slower, and says more."""
MOST_BYTES = 200_000


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, str]]]:
    """What `llmtrace demo` recorded, and a longer trace with a broken call."""
    if importlib.util.find_spec("openai") is None:
        missing("the demo needs the openai package")
    folder = str(tmp_path_factory.mktemp("demo") / "traces")
    subprocess.run([sys.executable, "-m", "llmtrace", "demo", "--store", folder], check=True, capture_output=True)
    store = open_store(folder)
    names = {"silent": store.traces()[0].trace_id, "good": store.traces()[1].trace_id}
    made = trace(48, seed=7)
    for span in made.spans:
        store.append(span)
    with serving(store) as served:
        yield served, names | {"long": made.trace_id, "planted": made.planted}
    store.close()


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
@pytest.mark.parametrize("view", sorted(VIEWS))
def test_every_view_has_its_picture(
    demo: tuple[Served, dict[str, str]],
    weeks: Served,
    open_page: Callable[..., Any],
    tmp_path: Path,
    view: str,
    theme: str,
) -> None:
    """It shows what it is for, and the picture is small enough to be kept."""
    served, names = (weeks, {}) if view == "time" else demo
    place, shown = VIEWS[view]
    page = open_page(f"{served.address}{place.format(**names)}", size=(1160, 640), theme=theme)
    page.wait_for_selector(shown)
    page.wait_for_timeout(400)
    page.evaluate("document.querySelector('.beside')?.closest('.part')?.scrollIntoView()")  # the call and its schema
    folder = PICTURES if os.environ.get("KEEP_PICTURES") else tmp_path
    folder.mkdir(exist_ok=True)
    path = folder / f"viewer-{view}-{theme}.png"
    page.screenshot(path=str(path))
    assert 5_000 < path.stat().st_size <= MOST_BYTES
