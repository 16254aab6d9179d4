"""``llmtrace to-test``: write a recorded run as a pytest, with the recording beside it.

The test runs the program again, answered from the recording, and asserts what went wrong or right then. A test of a failure
fails until the program is mended.

See docs/how_to/prove.md.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from llmtrace.cli import format_text
from llmtrace.cli.options import FINE, BadInput, add_repeated, print_json
from llmtrace.cli.recording import Recording, live_tools, load
from llmtrace.cli.terminal import Screen
from llmtrace.diagnosis import Diagnosis, Suspect, diagnose
from llmtrace.model import AgentInvocation, ToolExecution, Trace, Workflow
from llmtrace.model.traces import short_id
from llmtrace.near_names import most_like
from llmtrace.playback.recording_file import obstacles, write_recording
from llmtrace.testing.run import StoredRun
from llmtrace.text.unsafe_characters import escape_unsafe

NAME = "to-test"
HELP = "write a recorded run as a pytest, with the recording beside it"
EXAMPLE = "llmtrace to-test last -o test_refund.py -- python agent.py"
TAKES_COMMAND = True

PINS = ("tools", "answers", "outcome")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "%(prog)s [TRACE] [-o FILE] [--call MODULE:FUNCTION]\n"
        "       [--tool NAME=live] [--pin tools|answers|outcome] [--store URL] [--json]\n"
        "       [-- COMMAND [ARGUMENTS …]]"
    )
    parser.add_argument("trace", nargs="?", default="last", help="id, its first digits, or last (default): the newest run")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="the test; its recording is FILE.jsonl beside it (default: stdout, and ID.jsonl here)",
    )
    parser.add_argument(
        "--call", metavar="MODULE:FUNCTION", help="the agent's function, which the test calls with the recorded task"
    )
    add_repeated(parser, "--tool", "NAME=live", "the test runs the body of this tool (can be repeated)")
    text = "assert more: every tool in order, the words of the answer, the outcome (can be repeated)"
    add_repeated(parser, "--pin", None, text, choices=PINS)


def run(args: argparse.Namespace) -> int:
    if bool(args.call) == bool(args.command):
        raise BadInput(
            "say how the test runs the agent, in one of two ways.\n"
            f"A program: {EXAMPLE}\nA function: llmtrace to-test last -o test_refund.py --call agent:support"
        )
    recording = load(args)
    trace, tools = recording.trace, live_tools(recording, args.tool)
    for why in obstacles(trace):
        raise BadInput(f"trace {short_id(trace.trace_id)} cannot become a test: {why}.")
    test = None if args.output in (None, "-") else Path(args.output)
    file = Path(f"{short_id(trace.trace_id)}.jsonl") if test is None else test.with_suffix(".jsonl")
    if test is not None and test.exists():
        raise BadInput(f"{test} is there already.\nRemove it, or write to another file with -o.")
    imports, call = (
        _function(trace, args.call, file.parent)
        if args.call
        else ("", f"run({', '.join(map(_text, _portable(args.command)))})")
    )
    listed = ", ".join(f"{_text(name)}: {_text('live')}" for name in tools)
    diagnosis = diagnose(trace)
    is_good = not (diagnosis.marked or diagnosis.failed)
    options = (f", tools={{{listed}}}" if tools else "") + (', loose="prompts"' if is_good else "")
    call = f"run = llmtrace_replay({_text(file.name)}{options}).{call}"
    text = "\n".join(_lines(recording, diagnosis, imports, call, args.pin)) + "\n"
    try:
        write_recording(file, [*recording.siblings, trace] if args.command else [trace])
        if test is not None:
            test.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{test or file} cannot be written: {error.strerror}.") from None
    if test is None and not args.json:
        print(text, end="")
    if args.json:
        print_json({"trace_id": trace.trace_id, "test": text if test is None else str(test), "recording": str(file)})
    else:
        written = f"{test} and {file}" if test is not None else str(file)
        Screen(sys.stderr).line(f"wrote {written}; run it: pytest {test if test is not None else 'FILE'}")
    return FINE


def _function(trace: Trace, target: str, folder: Path) -> tuple[str, str]:
    """Return the Python source that imports the agent's function, and the source that calls it. Raises BadInput."""
    module, colon, function = target.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *function.split("."))):
        raise BadInput(f"--call {target}: expected MODULE:FUNCTION, as in --call agent:support")
    source = _parse_module(target, module, folder)
    if source is not None:
        _check_name(target, source, function.split(".")[0])
    called = function.split(".")[-1]
    operations = [span.operation for span in trace.spans if isinstance(span.operation, (AgentInvocation, Workflow))]
    agent = next((operation for operation in operations if operation.name == called), operations[0] if operations else None)
    if agent is None or not agent.input:
        raise BadInput(
            f"--call {target}: trace {short_id(trace.trace_id)} holds no agent and no task to call it with.\nUse -- COMMAND."
        )
    return f"from {module} import {function.split('.')[0]}", f"call({function}, {_arguments(agent, function, source)})"


class _Source(NamedTuple):
    """A module's file, parsed but not imported."""

    file: str
    tree: ast.Module


def _parse_module(target: str, module: str, test_folder: Path) -> _Source | None:
    """Find a module as an import does, and parse it. The module is not run: an import could start the agent for real.

    None for a module without Python source. Raises BadInput if the module is not found, or its source cannot be parsed.
    """
    spec: ModuleSpec | None = None
    path = [os.getcwd(), str(test_folder.resolve()), *sys.path]
    first, *inner = module.split(".")
    with suppress(ValueError):  # `__main__` has no module spec
        spec = PathFinder.find_spec(first, path) or importlib.util.find_spec(first)
    for end in range(2, len(inner) + 2):
        name = ".".join(module.split(".")[:end])
        locations = None if spec is None else spec.submodule_search_locations
        spec = None if locations is None else PathFinder.find_spec(name, list(locations))
    if spec is None:
        raise BadInput(
            f"--call {target}: module {module} is neither in {os.getcwd()} nor installed.\n"
            f"Run llmtrace where the module can be imported, or set PYTHONPATH to its folder."
        )
    if spec.origin is None or not spec.has_location or not spec.origin.endswith(".py"):
        return None
    try:
        return _Source(spec.origin, ast.parse(Path(spec.origin).read_bytes()))
    except (OSError, SyntaxError, ValueError) as error:
        raise BadInput(f"--call {target}: {spec.origin} cannot be read: {error}.\nCorrect the file first.") from None


def _check_name(target: str, source: _Source, name: str) -> None:
    """Raise BadInput if the module does not define or import this name."""
    names = set(_names_of(source.tree))
    if name in names or not names.isdisjoint({"*", "__getattr__"}):
        return
    near = most_like(name, names)
    hint = f"Did you mean {target.partition(':')[0]}:{near}?" if near else "Name a function that the file defines."
    raise BadInput(f"--call {target}: {source.file} defines no {name}.\n{hint}")


def _names_of(node: ast.AST) -> Iterator[str]:
    """Yield the names that a module binds, also within if, try and with; ``*`` for ``from x import *``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield child.name
        elif isinstance(child, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name.split(".")[0] for alias in child.names)
        elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            yield child.id
        else:
            yield from _names_of(child)


def _arguments(agent: AgentInvocation | Workflow, function: str, source: _Source | None) -> str:
    """Return the arguments of the recorded call as source: the task, or all arguments by name if the call had several.

    Several arguments are recorded as a JSON object. A task may be JSON itself, so the names must be parameters of the function,
    if these are known.
    """
    task = agent.input[-1].text()
    try:
        several = json.loads(task)
    except ValueError:
        several = None
    names = None if source is None else _parameters(function, source.tree)
    is_by_name = isinstance(several, dict) and all(name.isidentifier() for name in several)
    if is_by_name and (names is None or names >= several.keys()):
        return ", ".join(f"{name}={value!r}" for name, value in several.items())
    return _text(task)


def _parameters(function: str, tree: ast.Module) -> set[str] | None:
    """Return the names of the function's parameters; None if the module does not define it, or if it accepts any name."""
    name = function.rpartition(".")[2]
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name:
            if node.args.kwarg is not None:
                return None
            return {parameter.arg for parameter in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
    return None


def _portable(command: Sequence[str]) -> list[str]:
    """Return the command without the path of this machine's Python: the test runs it by its own."""
    program = Path(command[0])
    is_python = program.is_absolute() and re.fullmatch(r"python[\d.]*(\.exe)?", program.name)
    return ["python" if is_python else command[0], *command[1:]]


def _lines(recording: Recording, diagnosis: Diagnosis, imports: str, call: str, pins: list[str]) -> Iterator[str]:
    trace = recording.trace
    day = format_text.moment(trace.spans[0].start, "%Y-%m-%d")
    title = "it failed" if diagnosis.failed else "it went well"
    if diagnosis.prime is not None:
        title = _line(diagnosis.prime.title).replace('"""', "'''").replace("\\", "/")
    yield f'"""A run of {day}, trace {short_id(trace.trace_id)}: {title}.'
    yield ""
    yield "Models and tools are answered from the recording beside this file; nothing is sent."
    yield "When the program has changed: pytest --llmtrace-record"
    yield '"""'
    yield ""
    yield from [imports, ""] if imports else ()
    yield ""
    agents = (span.operation.name for span in trace.spans if isinstance(span.operation, (AgentInvocation, Workflow)))
    name = re.sub(r"\W+", "_", next(agents, "run")).strip("_").lower() or "run"
    yield f"def test_{name}(llmtrace_replay):"
    yield f"    {call}"
    yield from [f"    {line}" for line in _assertions(trace, diagnosis.marked, pins, has_failed=diagnosis.failed)]


def _assertions(trace: Trace, marked: tuple[Suspect, ...], pins: list[str], *, has_failed: bool) -> Iterator[str]:
    recorded = StoredRun(trace)
    for suspect in {suspect.check: suspect for suspect in marked}.values():
        yield f"assert {_text(suspect.check)} not in run.findings  # {_line(suspect.title)}"
    if not marked and trace.health == "failed":
        yield 'assert run.health != "failed"'
    elif not marked and has_failed:  # the failure was reported afterwards: only another answer shows that it is fixed
        yield f"assert run.answer != {_text(recorded.answer)}  # it was reported as wrong"
    elif not marked:
        yield "assert run.findings == []"
    if not recorded.invalid_calls:
        yield "assert run.invalid_calls == []"
    before = _tools_before(trace, marked)
    if "tools" in pins or not (marked or has_failed):
        yield _in_order("run.tools", recorded.tools, trace)
    elif before:  # the steps after the failure may differ in a mended program
        yield _in_order(f"run.tools[:{len(before)}]", before, trace)
    if "answers" in pins:
        yield f"assert run.answer == {_text(recorded.answer)}"
    if "outcome" in pins:
        name, value = ("outcome", recorded.outcome) if recorded.outcome else ("health", recorded.health)
        yield f"assert run.{name} == {_text(value)}"


def _in_order(actual: str, names: list[str], trace: Trace) -> str:
    """Return the assertion that these tools ran, in this order. If any ran in parallel, the order is not asserted."""
    ran = [span for span in trace.spans if isinstance(span.operation, ToolExecution) and span.operation.executed]
    if any(later.start < (earlier.end or 0) for earlier, later in pairwise(ran)):
        return f"assert sorted({actual}) == {_texts(sorted(names))}"
    return f"assert {actual} == {_texts(names)}"


def _text(text: str | None) -> str:
    """Return a text as Python source, in double quotes; ``None`` for None."""
    return "None" if text is None else escape_unsafe(json.dumps(text, ensure_ascii=False))


def _texts(texts: list[str]) -> str:
    return f"[{', '.join(map(_text, texts))}]"


def _tools_before(trace: Trace, marked: tuple[Suspect, ...]) -> list[str]:
    """Return the names of the tools that ran before the first step of a suspect; [] without a suspect."""
    starts = [trace.span(span_id).start for suspect in marked for span_id in (suspect.span_id, *suspect.spans)]
    first = min(starts, default=None)
    earlier = Trace([span for span in trace.spans if first is None or span.start < first])
    return StoredRun(earlier).tools if earlier.spans and marked else []


def _line(title: str) -> str:
    """Return a title as one printable line.

    A tool name in the title is the model's text. After a line break it would become code of the test.
    """
    return " ".join("".join(char if char.isprintable() else " " for char in title).split())
