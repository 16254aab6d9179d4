"""Runs one of the programs beside it in a process of its own: ``run.py NAME WAY [line]``.

WAY: "off" (llmtrace is not configured), "configured first", "imported first", or "line first", before `configure`. ``line``:
"line" turns the framework's own spans, or those of OpenInference, on; else it is a line of Python. Prints what the program saw,
one JSON value a line.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[3] / "examples" / "frameworks")]

NOWHERE = "http://127.0.0.1:9/v1"
"""Nobody listens there."""


def main(name: str, way: str, line: str = "") -> None:
    if way in ("imported first", "line first"):
        program = importlib.import_module(name)
    if way == "line first":
        turn_on(line, program)
    if way != "off":
        import llmtrace

        llmtrace.configure()
    program = importlib.import_module(name)
    if line and way != "line first":
        turn_on(line, program)
    import stand_in

    own = getattr(program, "model", None)
    with own() if own else stand_in.model(answer_by=getattr(program, "ANSWER_BY", None)) as server:
        for act in (program.whole, program.streamed):
            say(act(server.url, "c-1"))
    try:
        say(program.whole(NOWHERE, "c-2"))
    except Exception as error:
        say([f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__], str(error))


def turn_on(line: str, program: Any) -> None:
    if line == "line":
        program.line()
    else:
        exec(line)


def say(*seen: object) -> None:
    print(json.dumps(seen, default=str), flush=True)


main(*sys.argv[1:])
