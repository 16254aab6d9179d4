"""The command line as a whole: its registry, its start-up, and what it does with bad input, closed pipes and Ctrl-C."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import llmtrace.cli as cli
from llmtrace.cli.terminal import cells
from llmtrace.cli.to_test import _text as python_text
from llmtrace.model import AgentInvocation, Custom, Evaluation, Failure, ToolCall, ToolExecution, Violation, replace
from llmtrace.store import open_store
from llmtrace.text.unsafe_characters import escape_json
from llmtrace.version import __version__
from tests.cli.traces import SECOND, Maker, asks, chat, user
from tests.documentation import generated
from tests.stored import append

ROOT = Path(__file__).resolve().parents[2]


def test_registry_reads_what_the_modules_state() -> None:
    """Name and help, which are read from the text of a module without loading it, are those that it has."""
    known = cli.commands()
    assert sorted(known) == [
        "canary",
        "check",
        "completion",
        "dead-letters",
        "demo",
        "diff",
        "doctor",
        "drift",
        "export",
        "feedback",
        "forget",
        "freeze",
        "import",
        "issues",
        "lineage",
        "ls",
        "mcp",
        "metrics",
        "receive",
        "replay",
        "review",
        "run",
        "show",
        "skill",
        "stats",
        "tail",
        "to-test",
        "verify",
        "view",
        "why",
    ]
    for command in known.values():
        parser, module = cli.parser_of(command)
        assert (command.name, command.help) == (module.NAME, module.HELP)
        assert module.EXAMPLE in (parser.epilog or "")
        assert len(f"  {command.name:8} {command.help}") <= 80


@pytest.mark.parametrize("command", sorted(cli.commands()))
def test_help(command: str, llmtrace: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """--json, --store and --help everywhere, within 80 columns; the example at the end is whole, to be pasted."""
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = llmtrace(command, "--help")
    assert code == 0
    assert "--json" in out
    assert "--store" in out
    *lines, last = out.splitlines()
    assert last == f"example: {cli.parser_of(cli.commands()[command])[1].EXAMPLE}"
    assert max(map(len, lines)) <= 80


def test_help_loads_nothing_heavy() -> None:
    """The overview comes without OpenTelemetry, pydantic, or any command."""
    program = (
        "import sys; from llmtrace.cli import main; main(['--help']);"
        "print([name for name in ('opentelemetry', 'pydantic', 'jsonschema', 'llmtrace.store', 'llmtrace.cli.ls')"
        " if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_version_and_overview(llmtrace: Callable[..., Any]) -> None:
    """--version says it; no command at all, --help and help show the overview."""
    assert llmtrace("--version").out == f"llmtrace {__version__}\n"
    overview = llmtrace("--help").out
    assert all(f"\n  {name}" in overview for name in cli.commands())
    assert llmtrace().out == llmtrace("help").out == overview
    assert max(len(line) for line in overview.splitlines()) <= 80


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lss"], "llmtrace: unknown command 'lss'. Did you mean ls? See llmtrace --help."),
        (["--json", "ls"], "llmtrace: options come after the command.\n  Try: llmtrace ls --json"),
        (["--store", "my store", "show", "last"], "  Try: llmtrace show --store 'my store' last"),
        (["--frob"], "llmtrace: expected a command before --frob. Options come after the command. See llmtrace --help."),
        (["show", "zz"], "llmtrace show: trace id 'zz' is too short. Give at least 4 digits of it, or 'last'"),
        (["show", "4bf92f35aa"], "llmtrace show: no trace '4bf92f35aa'. Did you mean 4bf92f3577b34da6a3ce929d0e0e4736?"),
        (["why", "feedbeef"], "llmtrace why: no trace 'feedbeef'"),
        (["ls", "--since", "tomorrow"], "expected a time such as 30m, 2h, 7d, yesterday or 2026-01-31, got 'tomorrow'"),
        (["ls", "--min-duration", "soon"], "expected a time such as 500ms, 30s or 5m, got 'soon'"),
        (["ls", "--limit", "0"], "expected a whole number above 0, got '0'"),
        (["ls", "--frob"], "llmtrace ls: unknown option --frob. See llmtrace ls --help.\n"),
        (["ls", "--helth=ok"], "unknown option --helth. Did you mean --health or --help? See "),
        (["show", "last", "more"], "llmtrace show: unexpected argument more. See llmtrace show --help."),
        (
            ["stats", "--by", "colour"],
            "argument --by: expected one of agent, operation, model, tool, prompt, name, user, day, ",
        ),
        (["stats", "--by", "colour"], "day, got 'colour'. See llmtrace stats --help."),
        (["verify"], "llmtrace verify: lock is missing, as in: llmtrace verify "),
        (["check", "none.jsonl"], "llmtrace check: cannot read none.jsonl: No such file or directory."),
        (["import", "none.jsonl"], "llmtrace import: cannot read none.jsonl: No such file or directory."),
        (["export", "--all", "4bf92f35"], "llmtrace export: --all cannot be combined with trace ids."),
        (["export", "-o", "/nowhere/x.jsonl"], "llmtrace export: cannot write /nowhere/x.jsonl: No such file or directory."),
        (["run"], "llmtrace run: no program to run."),
        (["run", "none.py"], "llmtrace run: there is no none.py"),
        (["demo", "--model", "gpt-9"], "llmtrace demo: --model gpt-9 needs a server."),
    ],
)
def test_bad_input_is_one_clear_error(words: list[str], said: str, llmtrace: Callable[..., Any], store: str) -> None:
    """Exit code 2, what is wrong on stderr, nothing on stdout, no traceback."""
    options = ["--store", store] if words[0] in cli.commands() else []
    code, out, err = llmtrace(*words[:1], *options, *words[1:])
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert out == ""


@pytest.mark.parametrize("words", [["show", "beef"], ["ls", "--limitt", "3"], ["ls", "--limit", "x"]])
def test_an_error_under_json_is_json(words: list[str], llmtrace: Callable[..., Any]) -> None:
    """Who asked for JSON gets an error that a program can read, too: on stderr, with the message and the exit code."""
    as_text, as_json = llmtrace(*words), llmtrace(*words, "--json")
    error = json.loads(as_json.err)
    assert (as_json.code, as_json.out) == (2, "")
    assert error["exit_code"] == 2
    assert error["command"] == f"llmtrace {words[0]}"
    assert " ".join(error["error"].split()) in " ".join(as_text.err.split())


def test_json_after_the_script_is_the_script_s(llmtrace: Callable[..., Any]) -> None:
    """`llmtrace run none.py --json`: the option is for the program, so the error is text."""
    assert llmtrace("run", "none.py", "--json").err.startswith("llmtrace run: there is no none.py.")


def test_a_store_that_is_not_there(llmtrace: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that was named and is not there is bad input; the default one, when nothing was traced yet, is empty."""
    code, _, err = llmtrace("ls", "--store", str(tmp_path / "none"))
    hint = "  A program makes it when it records its first trace. To read another store: --store or LLMTRACE_STORE"
    assert (code, err) == (2, f"llmtrace ls: no store at {tmp_path / 'none'}: the folder does not exist.\n{hint}\n")
    assert llmtrace("ls").out.startswith("No traces yet in /")
    for command in ("show", "why", "check", "export", "lineage", "feedback"):
        ran = llmtrace(command, *(["--score", "1"] if command == "feedback" else []))
        assert (ran.code, ran.err) == (2, f"llmtrace {command}: the store has no traces yet. Try: llmtrace demo\n")
    monkeypatch.setenv("LLMTRACE_STORE", "off")
    code, _, err = llmtrace("ls")
    assert code == 2
    assert "LLMTRACE_STORE is off" in err
    code, _, err = llmtrace("ls", "--store", "jaegr://here")
    assert code == 2
    assert "unknown store scheme 'jaegr'" in err


def test_a_file_is_no_trace_id(llmtrace: Callable[..., Any], store: str, tmp_path: Path) -> None:
    """Where an id is expected, a file is told how to be read."""
    path = tmp_path / "traces.jsonl"
    llmtrace("export", "--all", "-o", str(path), "--store", store)
    for command in ("show", "why", "export"):
        code, _, err = llmtrace(command, str(path), "--store", store)
        assert (code, f"Read the file's traces with --store {path}." in err) == (2, True)
        code, _, err = llmtrace(command, str(path / "none"), "--store", store)
        assert (code, "none is neither a trace id nor a file." in err) == (2, True)
    assert llmtrace("why", "--store", str(path)).code == 0


SHOWING = ("ls", "why", "issues", "show", "check", "stats", "drift", "lineage", "tail --no-follow")


@pytest.mark.parametrize(
    "words",
    [*SHOWING, "stats --suggest", "stats --text plot --lengths", "drift --text plot", "doctor", "diff last 0af76519"],
)
def test_no_line_is_wider_than_a_narrow_terminal(
    words: str, llmtrace: Callable[..., Any], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 columns; a table has fewer columns then, a heading more lines."""
    monkeypatch.setenv("COLUMNS", "40")
    maker = Maker("c" * 32, time.time_ns() - 3600 * SECOND)
    append(store, *(replace(span, name=f"{span.name} of a name that is long") for span in maker.with_two_made_up()))
    out = llmtrace(*words.split(), "--store", store).out
    assert out
    assert [line for line in out.splitlines() if cells(line) > 40] == []


_CODES = (7, 27, 0x7F, 0x9B, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
HOSTILE = "".join(map(chr, _CODES))
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200b-\u200f\u2028-\u202e\u2060-\u2069\U000e0000-\U000e0fff]")
PRINTING = (*SHOWING, "show --full", "lineage last {tool}", "diff", "stats --by tool")


@pytest.mark.parametrize("words", [*PRINTING, *(f"{words} --json" for words in PRINTING), "freeze", "export"])
def test_no_words_of_others_are_obeyed_by_the_terminal(words: str, llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """Names of spans, agents, tools and findings, arguments, results, classes of errors: each may be anybody's."""
    evil = f"x\x1b[2J\x9b1m\u202ey{HOSTILE}\ud800\U000e0041"
    opened = open_store(str(tmp_path / "store"))
    for number, trace_id in enumerate(("1" * 32, "2" * 32)):
        maker = Maker(trace_id, time.time_ns() - (9 - number) * SECOND)
        call = ToolCall(evil, f"{{{evil}{number}", "call_1")
        found = Evaluation(evil, "error", evil, evil, evidence={evil: evil})
        broken = Violation("wrong_type", f"/{evil}", "type", evil, expected=evil, got=evil, tool=evil, call_id="call_1")
        execution = ToolExecution(evil, call.arguments, evil, True, "call_1")
        opened.append(maker.span(1, None, evil, AgentInvocation(evil, input=(user(f"Where is KS-11111? {evil}"),))))
        opened.append(
            maker.span(2, 1, evil, chat([user(evil)], asks(call), model=evil), evaluations=(found,), violations=(broken,))
        )
        opened.append(maker.span(3, 1, evil, execution, failure=Failure(evil, evil, evil), evaluations=(found,)))
        opened.append(maker.span(4, 1, evil, Custom({"k": evil}, evil), failure=Failure(evil, evil)))
    opened.close()
    told = [word.format(tool=evil) for word in words.split(" ")]
    ran = llmtrace(*told, *(["1" * 8, "2" * 8] if told[0] == "diff" else []), "--store", str(tmp_path / "store"))
    assert ran.code in (0, 1)
    assert ran.out
    assert UNSAFE.findall(ran.out + ran.err) == []


def test_an_escaped_text_is_the_same_text() -> None:
    """In JSON, and in the source of a test that `to-test` writes: which is Python's."""
    text = f'{HOSTILE}\ud800\U000e0041 "é…🙂"\n'
    assert UNSAFE.findall(escape_json(json.dumps({text: [text]}, ensure_ascii=False, indent=2))) == []
    assert json.loads(escape_json(json.dumps({text: [text]}, ensure_ascii=False, indent=2))) == {text: [text]}
    assert UNSAFE.findall(python_text(text)) == []
    assert ast.literal_eval(python_text(text)) == text


def test_a_closed_pipe_is_quiet(store: str) -> None:
    """``llmtrace … | head -0`` says nothing on stderr."""
    command = [sys.executable, "-m", "llmtrace", "show", "--store", store]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, b"")


@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
@pytest.mark.parametrize("command", ["ls", "show", "why", "check", "ls --json"])
def test_a_closed_stdout_is_quiet(command: str, store: str) -> None:
    """``llmtrace … >&-`` does its work and says nothing."""
    shell = f"exec {sys.executable} -m llmtrace {command} --store {store} >&-"
    ran = subprocess.run(["sh", "-c", shell], stderr=subprocess.PIPE, text=True, check=False)
    assert (ran.returncode in (0, 1), ran.stderr) == (True, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("command", ["ls", "ls --json", "export"])
def test_a_full_disk_is_one_line(command: str, store: str) -> None:
    """Output that cannot be written is named, with no traceback."""
    shell = f"exec {sys.executable} -m llmtrace {command} --store {store} >/dev/full"
    ran = subprocess.run(["sh", "-c", shell], stderr=subprocess.PIPE, text=True, check=False)
    said = f"llmtrace {command.split(maxsplit=1)[0]}: cannot write the output: No space left on device.\n"
    assert ran.returncode == 2
    assert ran.stderr.endswith(said if "--json" not in command else '"command": "llmtrace ls", "exit_code": 2}\n')
    assert "Traceback" not in ran.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def heeds_ctrl_c() -> None:
    """Also where the tests themselves were started in the background, which is deaf to it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_is_quiet(tmp_path: Path) -> None:
    """Ctrl-C ends a command with 130 and no traceback."""
    fifo = tmp_path / "never.jsonl"
    os.mkfifo(fifo)
    command = [sys.executable, "-m", "llmtrace", "import", str(fifo)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=heeds_ctrl_c)
    writer = os.open(fifo, os.O_WRONLY)  # waits until the command has opened it; then the command waits for what never comes
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    os.close(writer)
    assert (process.returncode, err) == (130, b"")


def test_every_command_and_option_is_documented() -> None:
    """The reference has a section for each command; it says what each argument and option of the parser is for."""
    parts = re.split(r"^## `llmtrace ([a-z-]+)`.*$", generated()["reference/cli.md"], flags=re.MULTILINE)
    sections, known = dict(zip(parts[1::2], parts[2::2], strict=True)), cli.commands()
    assert sorted(sections) == sorted(known)
    for name, command in known.items():
        parser, module = cli.parser_of(command)
        shown = [action for action in parser._actions if action.dest not in ("help", "json", "store")]
        rows = re.findall(r"^\| `.+` \| \S.* \|$", sections[name], re.MULTILINE)
        assert len(rows) == len(shown) == len([action for action in shown if action.help]), name
        assert module.EXAMPLE in sections[name]
