"""How long a list of traces takes to be filtered and sorted, as `llmtrace ls` and the viewer ask for it.

    python benchmarks/list_filters.py [--traces 1000] [--spans 100] [--json]

One trace in twenty is unlike the others. ``first``: the first such list in a new process; ``then``: the median of nine others.
Both are milliseconds and contain the check for new records. ``made``: seconds until each trace had a summary and a verdict,
which happens once for each trace.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.store.spans import SECOND, agent, inference, span

import report
from llmtrace import listing
from llmtrace.model import Failure, ToolExecution
from llmtrace.store import Query, Store, open_store

RARE = 20
QUERIES = {
    "all": {},
    "health": {"health": "recovered"},
    "confidence": {"confidence": "likely"},
    **{kind: {kind: "rare"} for kind in ("agent", "workflow", "model", "user", "conversation", "tag")},
    "since": {"since": 1_700_000_900 * SECOND},
    "min cost": {"min_cost": 1.0},
    "min tokens": {"min_tokens": 500},
    "min duration": {"min_duration": 1.0},
    "tag and health": {"tag": "rare", "health": "recovered"},
    "by cost": {"sort": "cost"},
    "by duration": {"sort": "duration"},
    "words": {"text": "parcel"},
}


def fill(store: Store, traces: int, spans: int) -> None:
    for number in range(traces):
        report.progress(f"trace {number}")
        rare = number % RARE == 0
        name = "rare" if rare else f"common {number % 7}"
        attributes = {"user.id": name, "gen_ai.conversation.id": name, "llmtrace.tags": (name,)}
        root = span(number, operation=agent(name), attributes=attributes)
        store.append(root)
        for step in range(2, spans + 1):
            if step % 2:
                failure = Failure("TimeoutError") if rare and step == 3 else None
                store.append(span(number, step, parent=1, operation=ToolExecution("look_up", {"n": step}), failure=failure))
            else:
                words = "Where is the parcel?" if rare else "Where is my order?"
                call = inference(words, "On its way.", response_model=name, cost_usd=0.1 if rare else 0.001)
                store.append(span(number, step, parent=1, operation=call))
    store.flush()


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--traces", type=int, default=1000)
    parser.add_argument("--spans", type=int, default=100, help="spans of each trace")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fill(open_store(folder), args.traces, args.spans)
        began = time.perf_counter()
        store = open_store(folder)
        store.refresh()  # type: ignore[attr-defined]
        listing.find(store, Query(limit=args.traces, text="parcel"))
        listing.find(store, Query(limit=args.traces, confidence="likely"))
        listing.sessions(store, Query())
        made = time.perf_counter() - began
        rows: list[tuple[str, int, float, float | str]] = []
        for name, fields in QUERIES.items():
            query, milliseconds, store = Query(limit=100, **fields), list[float](), open_store(folder)
            for _ in range(10):
                began = time.perf_counter()
                traces, _ = listing.find(store, query)
                milliseconds.append((time.perf_counter() - began) * 1e3)
            rows.append((name, len(traces), round(milliseconds[0], 1), round(median(milliseconds[1:]), 1)))
        began = time.perf_counter()
        sessions, _ = listing.sessions(store, Query(limit=100))
        rows.append(("sessions", len(sessions), round((time.perf_counter() - began) * 1e3, 1), "-"))
    title = f"{args.traces:,} traces, {args.traces * args.spans:,} spans; made in {made:.0f} s"
    head = ("filter", "found", "first, ms", "then, ms")
    report.done({"made_s": made, "rows": rows}, [report.table(title, head, rows)], args.json)


if __name__ == "__main__":
    main()
