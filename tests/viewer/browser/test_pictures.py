"""Pictures of every view of the demo's silent failure, in both themes; with KEEP_PICTURES=1 they are those of the docs."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmtrace.store import open_store
from tests.viewer.browser.conftest import PICTURES, missing
from tests.viewer.conftest import Served, serving
from tests.viewer.made import trace

pytestmark = [pytest.mark.all, pytest.mark.timeout(300)]

VIEWS = {
    "list": ("#/", ".trace-row .found.error"),
    "trace": ("#/trace/{silent}", ".suspicion .chain a"),
    "conversation": ("#/trace/{silent}?view=c", ".card.c-tool .code.result"),
    "violation": ("#/trace/{long}?span={planted}", ".schema mark.wanted"),
    "compare": ("#/compare/{good}/{silent}", ".pane .attempt"),
    "time": ("#/time?window=a+year", ".chart"),
}
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


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", sorted(VIEWS))
def test_every_view_has_its_picture(
    demo: tuple[Served, dict[str, str]], open_page: Callable[..., Any], tmp_path: Path, view: str, theme: str
) -> None:
    """It shows what it is for, and the picture is small enough to be kept."""
    served, names = demo
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
