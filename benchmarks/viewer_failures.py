"""Failures planted in recorded runs, opened in the viewer: how many keys to the place where each was planted?

    python benchmarks/viewer_failures.py [--data DIR] [--kinds wrong_id loop …] [--pictures FOLDER] [--json]

Needs chromium, and the package playwright. The runs are those of planted_failures.py, the failures others; the viewer is told
nothing. ``keys``, the fewest from where it opens: none where the place is chosen by itself; one for a suspect's number;
else as often as ``e`` or ``b`` is pressed; ``–``: none of these leads there with nine.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import sync_playwright
from tests.viewer.browser.conftest import ARGUMENTS, chosen
from tests.viewer.conftest import serving

import report
from llmtrace.model import AgentInvocation, Message, Span, Text, replace
from llmtrace.store import open_store
from planted import KINDS
from planted.corpus import SEED, Planted, good_runs, planted
from planted.recorded import ROOT as ROOT_SPAN

TEN = (
    "wrong_id",
    "made_up_id",
    "stale_after_correction",
    "swallowed_error",
    "truncated_result",
    "injected_instruction",
    "truncated_context",
    "invalid_argument",
    "loop",
    "claimed_not_done",
)
"""Of each family of planters some."""

START = 1_780_000_000_000_000_000
UNIT = 100_000_000
"""Nanoseconds for each of the units of time in which planted traces are told."""
MOST_KEYS = 9


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--kinds", nargs="*", default=TEN, choices=sorted(KINDS))
    parser.add_argument("--seed", type=int, default=SEED + 1)
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each, as it opens")
    options = parser.parse_args()
    runs = good_runs(report.folder(options.data, "tau_bench"))
    made = [one for kind in options.kinds for one in planted(runs, 1, {kind: KINDS[kind]}, seed=options.seed)]
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        store = open_store(folder)
        for number, one in enumerate(made):
            for span in told(one, number):
                store.append(span)
        with serving(store) as served:
            for number, one in enumerate(made):
                report.progress(one.kind)
                tab = browser.new_page(viewport={"width": 1440, "height": 900})
                tab.set_default_timeout(120_000)
                tab.goto(f"{served.address}#/trace/{trace_id(number)}")
                tab.wait_for_selector(".suspects ol, .suspects .quiet:not(.looking)")
                tab.wait_for_selector(".pane h2")
                tab.wait_for_timeout(500)
                if options.pictures:
                    options.pictures.mkdir(parents=True, exist_ok=True)
                    tab.screenshot(path=options.pictures / f"{number:02}-{one.kind}.png")
                rows.append({"kind": one.kind, "run": one.task, "spans": len(one.trace.spans), **found(tab, one)})
                tab.close()
        store.close()
        browser.close()
    head = ("kind", "run", "spans", "keys", "which", "the place")
    report.done(
        {"rows": rows}, [report.table("Planted failures in the viewer", head, [row.values() for row in rows])], options.json
    )


def trace_id(number: int) -> str:
    return f"{number + 1:032x}"


def told(one: Planted, number: int) -> Iterator[Span]:
    """The spans of a planted run, with an id of its own, in seconds, and with the task and the answer at the root."""
    messages = [
        message
        for span in one.trace.spans
        for message in (*getattr(span.operation, "input", ()), *getattr(span.operation, "output", ()))
    ]
    task = next(message for message in messages if message.role == "user")
    last = next(message for message in reversed(messages) if message.role == "assistant")
    root = AgentInvocation("assistant", input=(task,), output=(Message("assistant", (Text(last.text()),)),))
    zero = START + number * 10**12
    for span in one.trace.spans:
        times = {"start": zero + span.start * UNIT, "end": zero + (span.end or 0) * UNIT}
        made = replace(span, trace_id=trace_id(number), **times)
        yield replace(made, operation=root) if span.span_id == ROOT_SPAN else made


def found(tab: Any, one: Planted) -> dict[str, Any]:
    """The fewest keys from where the viewer opened the trace."""
    right = [
        span
        for span in one.trace.spans
        if span.span_id != ROOT_SPAN and (one.is_right(span.span_id) or one.is_right(span.span_id, user=True))
    ]
    ids = {span.span_id for span in right}
    place = ", ".join(span.name for span in right)
    began = tab.url
    ways = [(0, "opens there")] if chosen(tab) in ids else [*_pressed(tab, began, ids, "123456789", absolute=True)]
    if not ways:
        ways = [*_pressed(tab, began, ids, "e" * MOST_KEYS), *_pressed(tab, began, ids, "b" * MOST_KEYS)]
    keys, which = min(ways, default=("–", ""))
    return {"keys": keys, "which": which, "place": place}


def _pressed(tab: Any, began: str, ids: set[str], keys: str, *, absolute: bool = False) -> Iterator[tuple[int, str]]:
    """After how many of these keys the place is chosen; ``absolute``: each leads somewhere from anywhere."""
    tab.goto("about:blank")
    tab.goto(began)
    tab.wait_for_selector(".suspects ol, .suspects .quiet:not(.looking)")
    tab.wait_for_selector(".pane h2")
    for number, key in enumerate(keys, 1):
        tab.keyboard.press(key)
        tab.wait_for_timeout(150)
        if chosen(tab) in ids:
            yield (1 if absolute else number), key
            return


if __name__ == "__main__":
    main()
