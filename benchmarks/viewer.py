"""The viewer on long traces with one planted failure, and on traces of extreme shapes.

    python benchmarks/viewer.py [--spans 3006 10000 50000] [--shapes flat deep …] [--traces 1000] [--json]

Needs chromium, and the packages playwright and psutil. The place of the failure is drawn by a seed; the viewer is not told.
``cpu``: seconds that the server worked until the step was on the screen, which other programs on the machine do not change.
``longest block``: for how long the page's main thread answered nothing, at opening and at the slowest key.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import psutil
from playwright.sync_api import sync_playwright
from tests.viewer.browser.conftest import ARGUMENTS
from tests.viewer.browser.longest_block import KEYS, LongestBlock
from tests.viewer.made import Made, trace
from tests.viewer.shapes import SHAPES

import report
from llmtrace.model import Span, replace
from llmtrace.store import Query, Store, open_store
from llmtrace.viewer import page
from llmtrace.viewer.trace_view import TraceView

MOST_KEYS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--spans", type=int, nargs="*", default=[3006, 10_000, 50_000])
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES), help="traces of extreme shapes")
    parser.add_argument("--traces", type=int, default=1000, help="traces of the store that is searched; 0: none")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows, shapes = [], []
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for count in args.spans:
            made = trace(count, seed=count + 1)
            rows.append(llmtrace(browser, made, Path(folder) / str(count)))
        shapes = [shape(browser, name, Path(folder) / name) for name in args.shapes]
        searched = search(Path(folder) / "many", args.traces) if args.traces else None
        browser.close()
    if args.json:
        print(json.dumps({"rows": rows, "shapes": shapes, "search": searched}, indent=2))
    else:
        show(rows, shapes, searched)


def show(rows: list[dict[str, Any]], shapes: list[dict[str, Any]], searched: dict[str, Any] | None) -> None:
    heads = {
        "spans": "spans",
        "ready": "ready, s",
        "open": "rows, s",
        "step": "step, s",
        "cpu": "CPU, s",
        "suspects": "suspects, s",
        "elements": "elements",
        "keys": "keys",
        "search": "search, s",
        "memory": "memory, MB",
        "file": "HTML, MB",
    }
    if rows:
        print(report.table("The viewer", list(heads.values()), [[_shown(row.get(name)) for name in heads] for row in rows]))
    if shapes:
        heads = {
            "shape": "shape",
            "spans": "spans",
            "open": "rows, s",
            "suspects": "suspects, s",
            "opening": "longest block at opening, ms",
            "keys": "longest block at a key, ms",
            "key": "that key",
        }
        print(report.table("Shapes", list(heads.values()), [[_shown(row[name]) for name in heads] for row in shapes]))
    if searched:
        print(f"\nFull-text search over {searched['spans']:,} spans in {searched['traces']:,} traces: {searched['ms']}")


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return "–" if value is None else value if isinstance(value, str) else f"{value:,}"


def shape(browser: Any, name: str, folder: Path) -> dict[str, Any]:
    """The longest blocks of the main thread while a trace of this shape is opened and each key is pressed."""
    spans = SHAPES[name]()
    store = _filled(folder, spans)
    with started(_view(folder)) as process:
        address = json.loads(process.stdout.readline())["address"]
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        tab.set_default_timeout(300_000)
        blocks = LongestBlock(tab)
        began = time.perf_counter()
        tab.goto(f"{address}#/trace/{spans[0].trace_id}")
        tab.wait_for_selector(".rows .row")
        row: dict[str, Any] = {"shape": name, "spans": len(spans), "open": time.perf_counter() - began}
        tab.wait_for_selector(".suspects:not(:has(.looking))")
        row["suspects"] = time.perf_counter() - began
        row["opening"] = round(blocks.read())
        longest = {}
        for key in KEYS:
            tab.keyboard.press(key)
            longest[key] = max(longest.get(key, 0), round(blocks.read()))
        row["key"] = max(longest, key=lambda key: longest[key])
        row["keys"] = longest[row["key"]]
        tab.close()
    store.close()
    return row


def _filled(folder: Path, spans: list[Span]) -> Store:
    """A store with these spans, indexed, as a program that ran for a while leaves it."""
    store = open_store(str(folder))
    for span in spans:
        store.append(span)
    store.traces()
    return store


def _view(folder: Path) -> list[str]:
    return [sys.executable, "-m", "llmtrace", "view", str(folder), "--no-browser", "--port", "0", "--json"]


def llmtrace(browser: Any, made: Made, folder: Path) -> dict[str, Any]:
    store = _filled(folder, made.spans)
    with started(_view(folder)) as process:
        address = json.loads(process.stdout.readline())["address"]
        row: dict[str, Any] = {"spans": len(made.spans), "ready": time.perf_counter() - process.began}
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        tab.set_default_timeout(120_000)
        tab.goto(address)
        tab.wait_for_selector(".rows .trace-row")
        began, before = time.perf_counter(), process.cpu()
        tab.keyboard.press("Enter")
        tab.wait_for_selector(".rows .row")
        row["open"] = time.perf_counter() - began
        tab.wait_for_selector(".pane h2")
        row["step"] = time.perf_counter() - began
        row["cpu"] = process.cpu() - before
        row["keys"] = _keys(tab, made)
        row["elements"] = tab.evaluate("document.querySelectorAll('*').length")
        tab.wait_for_selector(".suspects .score, .suspects .quiet:not(.looking)")
        row["suspects"] = time.perf_counter() - began
        tab.keyboard.press("/")
        tab.keyboard.type("AR-0003-05")
        began = time.perf_counter()
        tab.keyboard.press("Enter")
        tab.wait_for_selector(".row.hit")
        row["search"] = time.perf_counter() - began
        row["memory"] = process.memory()
        tab.close()
    row["file"] = len(page.write(TraceView(store.trace(made.trace_id)))) / 1e6
    store.close()
    return row


def _keys(tab: Any, made: Made) -> int | None:
    """Key presses from the open trace to the planted step."""
    for pressed in range(MOST_KEYS):
        if made.planted in tab.url:
            return pressed
        tab.keyboard.press("e")
        tab.wait_for_timeout(50)
    return None


class Started:
    """A server as a process, with those that it started."""

    def __init__(self, process: subprocess.Popen[str], began: float) -> None:
        self.process, self.began = process, began
        self.stdout: Any = process.stdout

    def cpu(self) -> float:
        used = psutil.Process(self.process.pid).cpu_times()
        return float(used.user + used.system)

    def memory(self) -> int:
        mine = psutil.Process(self.process.pid)
        return sum(one.memory_info().rss for one in (mine, *mine.children(recursive=True))) // 1_000_000


@contextlib.contextmanager
def started(command: list[str], **options: Any) -> Iterator[Started]:
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options)
    try:
        yield Started(process, began)
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(20)
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.terminate()


def search(folder: Path, traces: int) -> dict[str, Any]:
    """Words in a store of many traces of 100 spans, asked as the list asks."""
    store, spans = open_store(str(folder)), 0
    patterns = [trace(96, seed) for seed in range(10)]
    for number in range(traces):
        for span in patterns[number % 10].spans:
            store.append(
                replace(
                    span,
                    trace_id=f"{number + 1:032x}",
                    start=span.start + number * 10**12,
                    end=(span.end or 0) + number * 10**12,
                )
            )
            spans += 1
    store.traces()
    found = {}
    for words in ("dozen", "AR-0001-05", "harbour", "nowhere-at-all"):
        times = []
        for _ in range(9):
            began, worked = time.perf_counter(), time.process_time()
            store.traces(Query(limit=101, text=words))
            times.append(((time.perf_counter() - began) * 1e3, (time.process_time() - worked) * 1e3))
        took, work = (sorted(one)[4] for one in zip(*times, strict=True))
        found[words] = f"{took:.0f} ms, of them at work {work:.0f}"
    store.close()
    return {"traces": traces, "spans": spans, "ms": found}


if __name__ == "__main__":
    main()
