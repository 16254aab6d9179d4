"""The same long traces in llmtrace's viewer, in Phoenix and in MLflow, in the same browser: which leads to the failing step.

    python benchmarks/viewer_peers.py [--spans 3006 10000] [--viewers llmtrace …] [--phoenix PYTHON] [--mlflow PYTHON] [--json]

Needs chromium, and the packages playwright and psutil. PYTHON is that of an environment with arize-phoenix, and of one with
mlflow; those that ``scripts/test --all`` makes are taken where they are. Each server runs on loopback over an empty store of
its own and is sent the trace by OTLP (llmtrace: its store is written). On the clock, in a browser that is open on its list:

ready      from starting the server until it answers
open       from asking for the trace (llmtrace: Enter in its list; the others: by its address) until a row of a tool call is on
           the screen
shown      spans that can be scrolled to then
elements   in the page once it stands still
step       from asking for the trace until the failing call is on the screen, with the keys below
keys       keys and clicks from the open trace to the failing call: llmtrace ``e``; Phoenix its filter,
           ``status_code == 'ERROR'``, typed into its list of spans, and the row; MLflow "Find in trace", the word ``error``,
           and Enter until it is there
memory     of the server's processes, and what the browser's grew by; pages that several share are counted once
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VIEWERS = ("llmtrace", "Phoenix", "MLflow")
sys.path.insert(0, str(ROOT))

import psutil
from playwright.sync_api import Error, sync_playwright
from tests.backends import servers
from tests.viewer.browser.conftest import ARGUMENTS
from tests.viewer.made import Made, trace

import report
from llmtrace.codec import genai, otlp
from llmtrace.model import replace
from llmtrace.store import open_store
from viewer import started

SECONDS = 240
AT_ONCE = 500
MOST_KEYS = 60
HEADS = ("spans", "viewer", "ready", "open", "shown", "elements", "step", "keys", "server, MB", "browser, MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, nargs="*", default=[3006, 10_000])
    parser.add_argument("--phoenix", type=Path, default=ROOT / ".venv-phoenix" / "bin" / "python")
    parser.add_argument("--mlflow", type=Path, default=ROOT / ".venv-mlflow" / "bin" / "python")
    parser.add_argument(
        "--viewers", nargs="*", choices=VIEWERS, default=VIEWERS, metavar="VIEWER", help=f"some of: {' '.join(VIEWERS)}"
    )
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = []
    with sync_playwright() as playwright, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for count in args.spans:
            made = just_now(trace(count, seed=count + 1))
            pythons = {"llmtrace": Path(sys.executable), "Phoenix": args.phoenix, "MLflow": args.mlflow}
            for name, python in ((name, pythons[name]) for name in args.viewers):
                report.progress(f"{name}, {count} spans")
                rows.append(Looked(playwright, made, python, Path(folder) / f"{name}-{count}").row(name))
    report.done(
        {"rows": rows}, [report.table("Peers", HEADS, [[_shown(row.get(head)) for head in HEADS] for row in rows])], args.json
    )


def just_now(made: Made) -> Made:
    """As if it had ended a minute ago: lists show the last days."""
    later = time.time_ns() - 60 * 10**9 - max(span.end or 0 for span in made.spans)
    return Made([replace(one, start=one.start + later, end=(one.end or 0) + later) for one in made.spans], made.planted)


class Looked:
    """One trace in one viewer."""

    def __init__(self, playwright: Any, made: Made, python: Path, home: Path) -> None:
        self._playwright, self._made, self._python, self._home = playwright, made, python, home
        planted = next(span for span in made.spans if span.span_id == made.planted)
        self._article = str(planted.operation.arguments["article"])  # type: ignore[union-attr]

    def row(self, name: str) -> dict[str, Any]:
        row: dict[str, Any] = {"spans": len(self._made.spans), "viewer": name}
        if not self._python.exists():
            return row | {"open": f"is not at {self._python}"}
        looks = {"llmtrace": self._llmtrace, "Phoenix": self._phoenix, "MLflow": self._mlflow}
        try:
            looks[name](row)
        except Error as error:
            row.setdefault("open", "failed")
            row["why"] = str(error).splitlines()[0]
        return row

    def _llmtrace(self, row: dict[str, Any]) -> None:
        store = open_store(str(self._home))
        for span in self._made.spans:
            store.append(span)
        store.traces()  # indexed, as a program that ran for a while leaves it
        store.close()
        command = [str(self._python), "-m", "llmtrace", "view", str(self._home), "--no-browser", "--port", "0", "--json"]
        with started(command) as server:
            address = json.loads(server.stdout.readline())["address"]
            row["ready"] = time.perf_counter() - server.began
            with self._browser() as (tab, grown):
                tab.goto(address)
                tab.wait_for_selector(".rows .trace-row")
                began = _open(tab, row, lambda: tab.keyboard.press("Enter"), ".rows .row .k-tool")
                tab.wait_for_selector(".pane h2")
                keys = 0
                while self._made.planted not in tab.url and keys < MOST_KEYS:
                    tab.keyboard.press("e")
                    keys += 1
                    tab.wait_for_timeout(20)
                tab.wait_for_selector(f".pane .call:has-text('{self._article}')")
                row |= {"keys": keys, "step": time.perf_counter() - began}
                row |= {"shown": row["spans"], "elements": _settled(tab)}
                row["browser, MB"] = grown()
            row["server, MB"] = memory(server.process.pid)

    def _phoenix(self, row: dict[str, Any]) -> None:
        began = time.perf_counter()
        with servers.phoenix(self._python, self._home) as backend:
            row["ready"] = time.perf_counter() - began
            self._send(backend.address)
            project = json.loads(_get(f"{backend.address}/v1/projects/default"))["data"]["id"]
            spans = f"{backend.address}/projects/{project}/spans"
            with self._browser() as (tab, grown):
                tab.goto(spans)
                tab.wait_for_selector("tr:has-text('workflow stock')")
                there = f"{backend.address}/projects/{project}/traces/{self._made.trace_id}"
                _open(tab, row, lambda: tab.goto(there), ".span-node__heading:has-text('execute_tool')")
                row["elements"] = _settled(tab)
                row["shown"] = tab.locator(".span-node__heading").count()
                row["browser, MB"] = grown()
                tab.goto(spans)
                tab.wait_for_selector("tr:has-text('workflow stock')")
                began, words = time.perf_counter(), "status_code == 'ERROR'"
                tab.click(".cm-content")
                tab.keyboard.press("Control+a")
                tab.keyboard.type(words)
                tab.keyboard.press("Enter")
                tab.wait_for_selector("tr:has-text('workflow stock')", state="detached")
                tab.click("tr:has-text('execute_tool') a")
                tab.wait_for_selector(f"text={self._made.planted}")
                row |= {"keys": len(words) + 4, "step": time.perf_counter() - began}
            row["server, MB"] = memory(backend.pid)

    def _mlflow(self, row: dict[str, Any]) -> None:
        began = time.perf_counter()
        with servers.mlflow(self._python, self._home) as backend:
            row["ready"] = time.perf_counter() - began
            self._send(backend.address)
            traces = f"{backend.address}/#/experiments/0/traces"
            with self._browser() as (tab, grown):
                tab.goto(traces)
                tab.wait_for_selector("[data-testid='time-range-select-dropdown']")
                tab.wait_for_timeout(5000)  # what the list loads later too
                tab.goto("about:blank")  # where only the fragment differs, its list stays
                there = f"{traces}?selectedEvaluationId=tr-{self._made.trace_id}"
                step = "[data-testid^=span-title-row]:has-text('execute_tool')"
                _open(tab, row, lambda: tab.goto(there), step)
                row["elements"] = _settled(tab)
                row["shown"] = tab.locator("[data-testid^=span-title-row]").count()
                row["browser, MB"] = grown()
                tab.goto("about:blank")
                began = time.perf_counter()
                tab.goto(there)
                tab.wait_for_selector(step)
                words = "error"
                keys = 1 + len(words)
                tab.click("[aria-label='Find in trace']")
                tab.keyboard.type(words)
                tab.wait_for_timeout(1000)
                while not self._mlflow_is_there(tab) and keys < MOST_KEYS:
                    tab.keyboard.press("Enter")
                    keys += 1
                    tab.wait_for_timeout(1000)
                row |= {"keys": keys if keys < MOST_KEYS else f"> {keys}", "step": time.perf_counter() - began}
            row["server, MB"] = memory(backend.pid)

    def _mlflow_is_there(self, tab: Any) -> bool:
        """Its pane names a tool's call, with the arguments of the planted one."""
        return bool(tab.locator("[title^='execute_tool']").count() and tab.locator(f"text={self._article}").count())

    @contextlib.contextmanager
    def _browser(self) -> Iterator[tuple[Any, Callable[[], int]]]:
        """A tab of a browser of its own, and what the memory of that browser has grown by since it was empty."""
        program = shutil.which("chromium") or shutil.which("google-chrome")
        before = set(psutil.Process().children(recursive=True))
        browser = self._playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        own = [one.pid for one in set(psutil.Process().children(recursive=True)) - before]
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        tab.set_default_timeout(SECONDS * 1000)
        empty = _memory_of(own)
        try:
            yield tab, lambda: _memory_of(own) - empty
        finally:
            browser.close()

    def _send(self, address: str) -> None:
        raws = [genai.encode(span) for span in self._made.spans]
        headers = {"Content-Type": "application/x-protobuf", servers.EXPERIMENT: "0"}
        for at in range(0, len(raws), AT_ONCE):
            body = otlp.to_protobuf(raws[at : at + AT_ONCE])
            request = urllib.request.Request(f"{address}/v1/traces", data=body, headers=headers)
            with urllib.request.urlopen(request, timeout=300) as answer:
                answer.read()


def memory(pid: int) -> int:
    """Megabytes of a process and of those below it, each page that several share counted once."""
    total = 0
    with contextlib.suppress(psutil.Error):
        mine = psutil.Process(pid)
        for one in (mine, *mine.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += int(one.memory_full_info().pss)
    return total // 1_000_000


def _memory_of(pids: list[int]) -> int:
    """Of processes some of which may be below others."""
    tops = [
        pid for pid in pids if psutil.pid_exists(pid) and not set(pids) & {one.pid for one in psutil.Process(pid).parents()}
    ]
    return sum(memory(pid) for pid in tops)


def _open(tab: Any, row: dict[str, Any], ask: Callable[[], Any], shown: str) -> float:
    began = time.perf_counter()
    ask()
    tab.wait_for_selector(shown)
    row["open"] = time.perf_counter() - began
    return began


def _settled(tab: Any) -> int:
    """Elements of the page once their number stays the same for four seconds."""
    seen: list[int] = []
    while len(seen) < 9 or len(set(seen[-9:])) > 1:
        seen.append(int(tab.evaluate("document.querySelectorAll('*').length")))
        if len(seen) > SECONDS * 2:
            break
        tab.wait_for_timeout(500)
    return seen[-1]


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        data: bytes = answer.read()
    return data


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f} s"
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
