"""``llmtrace run``: a Python program as it is, traced. What is installed is instrumented, and the whole program is one run.

Law: the program sees what it would see without: ``sys.argv``, ``sys.path``, ``__main__``; its output, its exit code and its
tracebacks are its own.
"""

from __future__ import annotations

import argparse
import builtins
import os
import runpy
import sys
import zipfile
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import llmtrace
from llmtrace.cli.options import FINE, STOPPED, BadInput
from llmtrace.cli.paint import Screen
from llmtrace.model import Failure, Workflow
from llmtrace.recorder import active
from llmtrace.recorder.recording import Recording

NAME = "run"
HELP = "run an unchanged Python program, traced"
EXAMPLE = "llmtrace run --name support agent.py --task refund"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [--name NAME] [--store URL] [--json] (SCRIPT | -m MODULE) [ARGUMENTS …]"
    parser.add_argument("--name", help="what to call the run (default: the script or module)")
    parser.add_argument(
        "-m", dest="module", metavar="MODULE …", nargs=argparse.REMAINDER, help="run a module, as python -m does"
    )
    parser.add_argument("program", metavar="SCRIPT …", nargs=argparse.REMAINDER, help="the script and its own arguments")


def run(args: argparse.Namespace) -> int:
    words = args.module or args.program
    words = words[1:] if words[:1] == ["--"] else words
    if not words:
        raise BadInput("no program was named.\nGive a script, or -m and a module: llmtrace run agent.py")
    start = _module(words) if args.module else _script(words)
    if args.store:
        os.environ["LLMTRACE_STORE"] = args.store  # so that a configure() of the program's own goes to the same place
    llmtrace.configure()
    recorder = active()
    recording = recorder.start(Workflow(args.name or Path(words[0]).name)) if recorder is not None else None
    code: object = 1
    try:
        code = _traced(start, recording)
    except SystemExit as error:
        code = error.code
        raise
    finally:
        llmtrace.flush()
        _tell(recording, code, as_json=args.json)
    return code if isinstance(code, int) else FINE


def _script(words: list[str]) -> Callable[[], Any]:
    path = Path(words[0])
    if not path.exists():
        raise BadInput(f"there is no {path}.\nGive the path of a Python program: llmtrace run agent.py")
    _become(words, str(path.resolve().parent))
    if path.is_dir() or zipfile.is_zipfile(path):  # what has a __main__.py inside
        return lambda: runpy.run_path(words[0], run_name="__main__")
    return lambda: _execute(str(path.absolute()))


def _execute(path: str) -> None:
    """The script as ``__main__``, for good: threads and exit handlers of it may still run when it has ended."""
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
    """``sys.argv`` and ``sys.path`` as the program expects them."""
    sys.argv = words
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = folder


def _traced(start: Callable[[], Any], recording: Recording | None) -> int:
    """The program's exit code. SystemExit goes through: its code, or its text, is the interpreter's to deal with."""
    token = recording.attach() if recording is not None else None
    try:
        start()
    except SystemExit as error:
        _end(recording, failure=None if error.code in (None, 0) else Failure("SystemExit", f"exit code {error.code}"))
        raise
    except BaseException as error:
        _end(recording, exception=error)
        error.__traceback__ = _own(error.__traceback__)
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


def _own(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback from the program's first frame on: what is above is ours and runpy's."""
    while traceback is not None and _is_above(traceback.tb_frame.f_code.co_filename):
        traceback = traceback.tb_next
    return traceback


def _is_above(file: str) -> bool:
    return file in (__file__, runpy.__file__) or file.startswith("<frozen ")


def _tell(recording: Recording | None, code: object, *, as_json: bool) -> None:
    """Where to look, on stderr: as JSON when asked for, as a line of text where somebody reads it.

    ``code`` is what ``sys.exit`` takes: None is 0, and what is no number is 1.
    """
    if recording is None:
        return
    screen = Screen(sys.stderr)
    if as_json:
        number = code if isinstance(code, int) else int(code is not None)
        screen.line(f'{{"trace_id": "{recording.trace_id}", "exit_code": {number}}}')
    elif sys.stderr.isatty():
        screen.line(screen.paint(f"traced; see it with: llmtrace show {recording.trace_id[:8]}", "dim"))
