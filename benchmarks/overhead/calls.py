"""Our own cost as counts: Python functions that run for one operation, the model's answer kept from the first call, and through
how many functions and files of llmtrace it passes.

    python benchmarks/overhead/calls.py [--json]
    python benchmarks/overhead/calls.py --rooms         # and which rooms run how many of a chat's bytecode instructions

A time depends on the machine and on what else it does; a count does not. Code that runs between two calls of a model runs
cold, and each function adds about 0.3 µs then. OpenTelemetry's own functions count too: about 45 a span.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import openai.resources.chat.completions as completions

import llmtrace
import report
import workload
from adapters import _otelsink
from direct import MEASURES

NAMES = ("chat_tools", "agent_turn", "deco_sync")
REPEATED = 20
FOLDER = str(Path(llmtrace.__file__).parent)


def kept(create: Callable[..., Any]) -> Callable[..., Any]:
    """``create``, run once for each kind of request."""
    answers: dict[object, Any] = {}

    def answer(self: Any, **request: Any) -> Any:
        kind = request["model"], "tools" in request
        if kind not in answers:
            answers[kind] = create(self, **{name: given for name, given in request.items() if name != "extra_headers"})
        return answers[kind]

    return answer


class Passed(NamedTuple):
    """What one run of an operation enters."""

    calls: float
    """Python functions, each time that it is entered."""
    functions: int
    """Different functions of llmtrace."""
    files: int


def calls(operation: Callable[[], Any]) -> Passed:
    for _ in range(REPEATED):
        operation()
    count = 0
    functions: set[CodeType] = set()

    def entered(frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        if event == "call":
            count += 1
            functions.add(frame.f_code)

    sys.setprofile(entered)
    for _ in range(REPEATED):
        operation()
    sys.setprofile(None)
    own = {code for code in functions if code.co_filename.startswith(FOLDER)}
    return Passed(count / REPEATED, len(own), len({code.co_filename for code in own}))


def instructions(operation: Callable[[], Any]) -> Counter[str]:
    """Bytecode instructions that one run takes, by room of llmtrace or by library."""
    found: Counter[str] = Counter()

    def entered(frame: Any, _event: str, _argument: Any) -> Callable[..., Any]:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        file = frame.f_code.co_filename
        own = file.removeprefix(FOLDER + os.sep)
        made = "generated for value classes" if file == "<string>" else "other libraries"
        room = own.partition(os.sep)[0] if own != file else "opentelemetry" if "opentelemetry" in file else made

        def ran(frame: Any, event: str, _argument: Any) -> Callable[..., Any]:
            found[room] += event == "opcode"
            return ran

        return ran

    for _ in range(REPEATED):
        operation()
    sys.settrace(entered)
    operation()
    sys.settrace(None)
    return found


def counted(options: dict[str, Any]) -> tuple[dict[str, Passed], Counter[str]]:
    original = completions.Completions.create
    completions.Completions.create = kept(original)  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:
            llmtrace.configure(**{"store": folder, **options})
            load = workload.Workloads(
                *workload.clients(),
                lambda function, kind: (llmtrace.tool if kind == "tool" else llmtrace.workflow)(function),
            )
            found = {name: calls(getattr(load, name)) for name in NAMES}
            rooms = instructions(load.chat_tools)
            llmtrace.shutdown()
    finally:
        completions.Completions.create = original  # type: ignore[method-assign]
    return found, rooms


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rooms", action="store_true")
    arguments = parser.parse_args()
    _otelsink.provider("otlp")
    measured = {name: counted(options) for name, options in MEASURES.items()}
    results = {name: found for name, (found, _) in measured.items()}
    body = [[name, *(f"{found[each].calls:.0f}" for each in NAMES)] for name, found in results.items()]
    passed = [[name, *(f"{found[each].functions} in {found[each].files}" for each in NAMES)] for name, found in results.items()]
    tables = [
        report.table("Python functions run for one operation", ["llmtrace", *NAMES], body),
        report.table("Functions and files of llmtrace that it passes through", ["llmtrace", *NAMES], passed),
    ]
    if arguments.rooms:
        rooms = measured["all and journal"][1]
        shares = [[room, str(count), f"{100 * count / rooms.total():.0f} %"] for room, count in rooms.most_common()]
        tables.append(
            report.table(
                f"Of {rooms.total()} bytecode instructions of a chat, each room runs", ["room", "count", "share"], shares
            )
        )
    report.done(results, tables, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
