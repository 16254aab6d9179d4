"""``llmtrace run``: run an unchanged program and trace it. Installed libraries are instrumented; the program is one trace.

A Python script or module runs in this process, any other command in its own process. Python processes that either starts are
traced too (see `llmtrace.launch`), in the same trace.

Law: the program sees what it would see without llmtrace: ``sys.argv``, ``sys.path``, ``__main__``. Its output, exit code and
tracebacks are unchanged. llmtrace prints its summary afterwards, on stderr.

Options of llmtrace come before the program. With ``--json``, stderr gets one line with the trace id, the exit
code and the issues that have relapsed. A Python
started with ``-I`` or ``-E``, or without llmtrace, runs untraced. The exit code is the program's.
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import llmtrace
from llmtrace.cli import format_text as worded
from llmtrace.cli.options import FINE, STOPPED, BadInput, json_text
from llmtrace.cli.terminal import Screen
from llmtrace.config import Config
from llmtrace.diagnosis import diagnose
from llmtrace.errors import ConfigurationError, DiagnosisFailed, StoreError, TraceNotFound
from llmtrace.guards.budget import read_budget, track
from llmtrace.issues import Decision, Decisions, decisions_of, relapses_in
from llmtrace.issues.words import relapse_words
from llmtrace.launch import environment
from llmtrace.list_verdicts import JudgedRun, verdict_of
from llmtrace.model import AgentInvocation, Failure, ToolExecution, Trace, Workflow
from llmtrace.model.issues import Occurrence
from llmtrace.model.traces import is_program, short_id
from llmtrace.recorder import active, root
from llmtrace.recorder.guard import guard
from llmtrace.recorder.recording import Recording
from llmtrace.recorder.root import Root, end_at_sigterm, set_root
from llmtrace.semconv import PROGRAM
from llmtrace.store import open_store
from llmtrace.store.summary import summarise

NAME = "run"
HELP = "run an unchanged program, trace it, and print what was found"
EXAMPLE = "llmtrace run --budget usd=0.50,calls=40 agent.py --task refund"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "%(prog)s [--name NAME] [--budget CEILINGS]\n"
        "       [--on-exceed raise|record] [--quiet] [--store URL] [--json]\n"
        "       (SCRIPT | -m MODULE | COMMAND) [ARGUMENTS …]"
    )
    parser.add_argument("--name", help="name of the run (default: the script, module or command)")
    parser.add_argument(
        "--budget", metavar="CEILINGS", help="limits for each process: usd=0.50,calls=40 (also tokens, seconds, …)"
    )
    parser.add_argument(
        "--on-exceed", choices=["raise", "record"], default="raise", help="over budget, stop the next call or only record it"
    )
    parser.add_argument("--quiet", action="store_true", help="print no summary at the end")
    parser.add_argument(
        "-m", dest="module", metavar="MODULE …", nargs=argparse.REMAINDER, help="run a module, as python -m does"
    )
    parser.add_argument(
        "program", metavar="SCRIPT …", nargs=argparse.REMAINDER, help="the script or command, and its own arguments"
    )


def run(args: argparse.Namespace) -> int:
    words = args.module or args.program
    words = words[1:] if words[:1] == ["--"] else words
    if not words:
        raise BadInput("no program to run.\nGive a script, -m and a module, or a command: llmtrace run agent.py")
    start = _module(words) if args.module else _script(words) if _is_python(words[0]) else _command(words)
    budgets = []
    if args.budget:
        try:
            budgets = [read_budget(args.budget, args.on_exceed)]
        except ConfigurationError as error:
            advice = "Give limits, as in: llmtrace run --budget usd=0.50,calls=40 agent.py"
            raise BadInput(f"--budget {args.budget}: {error}\n{advice}") from None
    if args.store:
        os.environ["LLMTRACE_STORE"] = args.store  # the program's own configure() must use the same store
    llmtrace.configure()
    recorder = active()
    with track(budgets):
        workflow = Workflow(args.name or Path(words[0]).name)
        recording = None if recorder is None else recorder.start(workflow, attributes={PROGRAM: True})
    if recording is not None:
        os.environ.update(environment(recording.headers(), f"{args.budget};{args.on_exceed}" if args.budget else ""))
        set_root(Root(recording=recording))
        guard(end_at_sigterm)
    code: object = 1
    try:
        code = _traced(start, recording)
    except SystemExit as error:
        code = error.code
        raise
    finally:
        llmtrace.flush()
        if recording is not None and not args.quiet:
            guard(_tell, recording, code, as_json=args.json)
    return code if isinstance(code, int) else FINE


def _is_python(program: str) -> bool:
    """Return True for a Python script, and for a folder or archive with a ``__main__.py``. Anything else is a command."""
    path = Path(program)
    if path.suffix in (".py", ".pyw", ".pyz") or path.is_dir() or (path.exists() and zipfile.is_zipfile(path)):
        return True
    return path.is_file() and not os.access(path, os.X_OK)  # a file that cannot be executed is taken for a script


_PYTHON = re.compile(r"python(3(\.\d+)?)?(\.exe)?")


def _interpreter(found: str) -> str:
    """Return the interpreter for a program that was called ``python``: this one, if llmtrace cannot be imported in the one that
    is found on the path, as where the command is that of a virtual environment which is not active."""
    if found == sys.executable:
        return found
    asked = [found, "-c", "import importlib.util as u, sys; sys.exit(u.find_spec('llmtrace') is None)"]
    if subprocess.run(asked, capture_output=True, check=False).returncode == 0:  # noqa: S603 - the user asked to run it
        return found
    print(f"llmtrace run: {found} has no llmtrace; the program runs with {sys.executable}", file=sys.stderr)
    return sys.executable


class Terminated(SystemExit):
    """A supervisor stopped the command by SIGTERM."""


def _command(words: list[str]) -> Callable[[], Any]:
    program = shutil.which(words[0])
    if program is not None and _PYTHON.fullmatch(words[0]):
        program = _interpreter(program)
    if program is None:
        raise BadInput(
            f"no script or command {words[0]!r} was found.\n"
            "Give a Python script, -m and a module, or a command: llmtrace run agent.py"
        )

    def start() -> None:
        process = subprocess.Popen([program, *words[1:]])  # noqa: S603 - the user asked to run it
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program handles Ctrl-C, which the terminal sends to both
        stopped: list[int] = []

        def stop(number: int, _frame: object) -> None:
            stopped.append(number)
            process.terminate()

        before_term = signal.signal(signal.SIGTERM, stop)
        try:
            code = process.wait()
            guard(_absorb_programs)
        finally:
            signal.signal(signal.SIGINT, before)
            signal.signal(signal.SIGTERM, before_term)
        if stopped and code in (-signal.SIGTERM, 128 + signal.SIGTERM):
            raise Terminated(128 + signal.SIGTERM)
        if code:
            sys.exit(code if code > 0 else 128 - code)  # as a shell does if a signal ended the program

    return start


def _script(words: list[str]) -> Callable[[], Any]:
    path = Path(words[0])
    if not path.exists():
        raise BadInput(f"there is no {path}.\nGive the path of a Python program: llmtrace run agent.py")
    _become(words, str(path.resolve().parent))
    if path.is_dir() or zipfile.is_zipfile(path):  # it has a __main__.py inside
        return lambda: runpy.run_path(words[0], run_name="__main__")
    return lambda: _execute(str(path.absolute()))


def _execute(path: str) -> None:
    """Execute the script as ``__main__``.

    Unlike with `runpy`, the module stays in `sys.modules`: its threads and exit handlers may still run after it has ended.
    """
    loader = SourceFileLoader("__main__", path)
    code = loader.source_to_code(loader.get_data(path), path)
    program = ModuleType("__main__")
    program.__dict__.update(__file__=path, __loader__=loader, __cached__=None, __builtins__=builtins)
    sys.modules["__main__"] = program
    exec(code, program.__dict__)  # noqa: S102 - running it is what was asked for


def _module(words: list[str]) -> Callable[[], Any]:
    _become(words, str(Path.cwd()))
    return lambda: runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def _become(words: list[str], folder: str) -> None:
    """Set ``sys.argv`` and ``sys.path`` as the program expects them."""
    sys.argv = words
    if not getattr(sys.flags, "safe_path", False):  # python -P keeps the folder out of sys.path
        sys.path[0] = folder


def _traced(start: Callable[[], Any], recording: Recording | None) -> int:
    """Run the program within its span, and return its exit code.

    SystemExit passes through: the interpreter handles its code or text.
    """
    token = recording.attach() if recording is not None else None
    try:
        start()
    except SystemExit as error:
        is_well = error.code in (None, 0) or isinstance(error, Terminated)
        _end(recording, failure=None if is_well else Failure("SystemExit", f"exit code {error.code}"))
        raise
    except BaseException as error:
        _end(recording, exception=error)
        error.__traceback__ = _main_frames(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        return STOPPED if isinstance(error, KeyboardInterrupt) else 1
    else:
        _end(recording)
        return FINE
    finally:
        if token is not None:
            Recording.detach(token)


def _end(recording: Recording | None, **how: Any) -> None:
    if recording is not None:
        recording.end(**how)


def _main_frames(traceback: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the program's first frame, without the frames of llmtrace and runpy above it."""
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if file not in (__file__, runpy.__file__) and not file.startswith("<frozen "):
            break
        traceback = traceback.tb_next
    return traceback


def _absorb_programs() -> None:
    """Add the verdicts on the programs that the command started, which are in other processes, to that of the whole."""
    recording = None if root.program is None else root.program.recording
    trace = None if recording is None else _stored(recording)
    for span in () if trace is None else trace.spans:
        if is_program(span):
            root.absorb(span)


def _stored(recording: Recording) -> Trace | None:
    """Return the trace of the run; None if it is not stored on this machine."""
    return _stored_with_decisions(recording)[0]


def _stored_with_decisions(recording: Recording) -> tuple[Trace | None, Decisions]:
    """Return the trace of the run, or None if it is not stored on this machine, and the decisions about issues."""
    config = Config.read()
    if config.store == "off":
        return None, Decisions()
    with contextlib.suppress(TraceNotFound), open_store(config.store, config=config) as store:
        decisions = Decisions()
        with contextlib.suppress(StoreError):  # `llmtrace issues` says why the file cannot be read
            decisions = decisions_of(store.folder, config)
        return store.trace(recording.trace_id), decisions
    return None, Decisions()  # without a terminal and with an OTLP endpoint


def _tell(recording: Recording, code: object, *, as_json: bool) -> None:
    """Print the result, relapsed issues and the next command on stderr, or one line of JSON.

    ``code``: an argument of ``sys.exit``. None counts as 0, anything but a number as 1.
    """
    screen = Screen(sys.stderr)
    trace, decisions = _stored_with_decisions(recording)
    if as_json:
        number = code if isinstance(code, int) else int(code is not None)
        relapsed = [] if trace is None else [occurrence.issue for occurrence, _ in _relapses(trace, decisions)]
        screen.line(json_text({"trace_id": recording.trace_id, "exit_code": number, "relapsed": relapsed}))
        return
    if trace is None:
        return
    first, second, third = _summary(trace)
    screen.line()
    screen.labelled("llmtrace  ", first, "bold")
    screen.labelled("          ", second)
    for occurrence, decision in _relapses(trace, decisions):
        screen.labelled("          ", relapse_words(occurrence, decision), "red", "bold")
    screen.labelled("          ", third, "cyan")


def _relapses(trace: Trace, decisions: Decisions) -> list[tuple[Occurrence, Decision]]:
    """Return the issues that were said to be fixed and that this run shows. Without a fix, the run is not diagnosed."""
    if not any(history[-1].state == "fixed" for history in decisions.by_issue.values()):
        return []
    return relapses_in(JudgedRun(trace.trace_id, trace.spans[0].start, verdict_of(trace)), decisions)


def _summary(trace: Trace) -> tuple[str, str, str]:
    summary = summarise(trace)
    verdict, command, health = "", "why", summary.health
    try:
        diagnosis = diagnose(trace)
        health = diagnosis.health
        command = "why" if diagnosis.is_wrong else "show"
        verdict = "no suspect" if diagnosis.is_judged else "nothing could be judged"
        if diagnosis.prime is not None:
            number = f"{len(diagnosis.marked)} suspects, " if len(diagnosis.marked) > 1 else ""
            verdict = f"{number}{diagnosis.prime.confidence}: {diagnosis.prime.title}"
        elif diagnosis.failed:
            verdict = "no step is a clear cause"
    except DiagnosisFailed as error:
        verdict = f"not diagnosed because of a bug in llmtrace: {error.fault}"
    tokens = [f"{worded.count(summary.input_tokens)} tokens in", f"{worded.count(summary.output_tokens)} out"]
    cost = "cost not known" if summary.cost_usd is None else worded.cost(summary.cost_usd)
    has_name = [*tokens, cost] if summary.models else ["no model was called"]
    counted = ", ".join([worded.plural(summary.spans, "span"), *has_name, worded.duration(summary.duration)])
    operation = trace.root.operation
    name = operation.name if isinstance(operation, (Workflow, AgentInvocation, ToolExecution)) else trace.root.name
    return f"{name}: {counted}", f"{health}; {verdict}", f"llmtrace {command} {short_id(trace.trace_id)}"
