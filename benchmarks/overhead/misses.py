"""Our own cost on a simulated processor: instructions and cache misses of an operation, whatever else the machine does.

    python benchmarks/overhead/misses.py [--operation chat_fresh] [--parts] [--json]

Needs valgrind and a C compiler. Each measure runs in a process of its own, and the main thread is counted while its operations
run. The caches have the sizes of a small server's: 32 KB of instructions, 32 KB of data, 1 MB behind both. Estimated cycles are
instructions / 3 + 12 for each miss of the first caches + 60 for each miss of the last. With `--parts`, parts of the work are
taken out, one at a time: what each of them costs.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

CACHES = ("--cache-sim=yes", "--I1=32768,8,64", "--D1=32768,8,64", "--LL=1048576,16,64")
MEASURED = ("off", "spans only", "spans and journal", "all verdicts", "all and journal")
WARM, COUNTED = 12, 40
SWITCH = """
#include <valgrind/callgrind.h>
void start(void) { CALLGRIND_START_INSTRUMENTATION; CALLGRIND_ZERO_STATS; }
void stop(void) { CALLGRIND_DUMP_STATS_AT("operations"); CALLGRIND_STOP_INSTRUMENTATION; }
"""


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _without_start_marks(recorder: Any) -> None:
    from llmtrace.store.local import LocalStore

    append = LocalStore.append_encoded
    LocalStore.append_encoded = lambda this, raw: None if raw.end is None else append(this, raw)  # type: ignore[method-assign]


def _without_idle_sinks(recorder: Any) -> None:
    recorder.sinks = tuple(sink for sink in recorder.sinks if type(sink).__name__ not in ("Metrics", "ExternalSpans"))


def _without_read_back(recorder: Any) -> None:
    from llmtrace.recorder import otel

    otel.read_program_changes = _nothing


def _without_replay(recorder: Any) -> None:
    recorder.__dict__["replay_key"] = None


def _without_prices(recorder: Any) -> None:
    recorder.hooks = recorder.hooks._replace(enrich=None)


PARTS: dict[str, Callable[[Any], None]] = {
    "writing start marks": _without_start_marks,
    "sinks that get nothing": _without_idle_sinks,
    "reading OpenTelemetry's span back": _without_read_back,
    "what a replay needs": _without_replay,
    "prices and fingerprints": _without_prices,
}
"""Each takes a part out of the work of a recorder."""


def operations(measure: str, operation: str, switch: ctypes.CDLL, folder: str) -> None:
    """Run operations in this process and count them, after some that fill the caches of Python and of llmtrace.

    ``folder``: of the store.
    """
    import llmtrace
    import workload
    from adapters import _otelsink
    from direct import MEASURES

    logging.disable(logging.CRITICAL)
    plain, asynchronous = workload.clients()
    provider = _otelsink.provider("otlp")
    decorated = workload.Workloads(plain, asynchronous, lambda function, _: function)
    measure, _, part = measure.partition(" without ")
    if measure != "off":
        llmtrace.configure(**{"store": folder, **MEASURES[measure]})
        if part:
            from llmtrace.recorder import active

            PARTS[part](active())
        decorated = workload.Workloads(
            plain, asynchronous, lambda function, kind: (llmtrace.tool if kind == "tool" else llmtrace.workflow)(function)
        )
    run = getattr(decorated, operation)
    for _ in range(WARM):
        run()
    provider.force_flush()
    gc.collect()
    gc.freeze()
    switch.start()
    for _ in range(COUNTED):
        run()
    switch.stop()
    os._exit(0)  # without the exporters' last work, which is not the operation's


def switch_of(folder: str) -> str:
    """Compile a library that starts and stops the counting, and return its path."""
    source, library = Path(folder, "switch.c"), Path(folder, "switch.so")
    source.write_text(SWITCH)
    done = subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=False, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"cc could not compile the switch for valgrind (its header is valgrind/callgrind.h): {done.stderr[-2000:]}")
    return str(library)


def cost(measure: str, operation: str, folder: str, switch: str) -> dict[str, float]:
    """Return what one operation costs: instructions, misses of the first caches, misses of the last, estimated cycles."""
    out = Path(folder, re.sub(r"\W", "-", measure))
    counter = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes", *CACHES]
    worker = [sys.executable, __file__, "--worker", measure, "--operation", operation, "--switch", switch]
    command = [*counter, f"--callgrind-out-file={out}", *worker]
    done = subprocess.run(command, check=False, env=os.environ | {"PYTHONHASHSEED": "0"}, capture_output=True, text=True)
    counted = [text for text in _files(out) if "Client Request: operations" in text and "\nthread: 1\n" in text]
    if len(counted) != 1:
        sys.exit(f"valgrind did not count {measure!r}: {done.stderr[-2000:]}")
    names, totals = (re.search(rf"^{line}: (.*)$", counted[0], re.MULTILINE) for line in ("events", "totals"))
    assert names is not None
    assert totals is not None
    one = {name: int(total) / COUNTED for name, total in zip(names[1].split(), totals[1].split(), strict=True)}
    first, last = one["I1mr"] + one["D1mr"] + one["D1mw"], one["ILmr"] + one["DLmr"] + one["DLmw"]
    return {"instructions": one["Ir"], "first": first, "last": last, "cycles": one["Ir"] / 3 + 12 * first + 60 * last}


def _files(out: Path) -> list[str]:
    return [path.read_text(errors="replace") for path in out.parent.glob(f"{out.name}.*")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operation", default="chat_fresh", help="one of workload.py's (default chat_fresh)")
    parser.add_argument("--parts", action="store_true", help="what parts of the work cost")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--switch", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        store = str(Path(arguments.switch).with_name(re.sub(r"\W", "-", arguments.worker) + "-store"))
        operations(arguments.worker, arguments.operation, ctypes.CDLL(arguments.switch), store)
    import report

    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        switch = switch_of(folder)
        whole = "all and journal"
        measured = ("off", whole, *(f"{whole} without {part}" for part in PARTS)) if arguments.parts else MEASURED
        for measure in measured:
            report.progress(measure)
            found[measure] = cost(measure, arguments.operation, folder, switch)
    off = found["off"]
    added = {measure: {name: one[name] - off[name] for name in one} for measure, one in found.items() if measure != "off"}
    base = added[whole if arguments.parts else "spans and journal"]["cycles"]
    rows = []
    for name, one in added.items():
        counts = (one[part] for part in ("instructions", "first", "last", "cycles"))
        rows.append([name, *(f"{count / 1e3:,.1f}" for count in counts), f"{one['cycles'] / base:.2f}"])
    head = [
        "thousands more than without us",
        "instructions",
        "first misses",
        "last misses",
        "cycles",
        f"÷ {whole if arguments.parts else 'spans and journal'}",
    ]
    report.done(added, [report.table(f"{arguments.operation} on a simulated processor", head, rows)], arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
