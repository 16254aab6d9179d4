"""``llmtrace run``: a program under llmtrace does and says what it does without."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmtrace import semconv as sc
from llmtrace.diagnosis import diagnose, findings_of
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import Span, Trace, Workflow
from llmtrace.store import open_store
from tests.commands import heeds_ctrl_c
from tests.stored import read


def plain(*words: str, cwd: Path, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    ran = subprocess.run([sys.executable, *words], cwd=cwd, capture_output=True, input=stdin, check=False)
    return ran.returncode, ran.stdout, ran.stderr


def traced(*words: str, cwd: Path, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    return plain("-m", "llmtrace", "run", "--quiet", "--store", str(cwd / "store"), *words, cwd=cwd, stdin=stdin)


def last(cwd: Path) -> Trace:
    return read(cwd / "store")


PROGRAMS = {
    "looks around": "import sys, __main__ as m\nprint(sys.argv, sys.path[0], __name__, m.__file__, __file__, __package__)",
    "ends with a code": "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)",
    "ends with a text": "import sys; sys.exit('it is over')",
    "ends with None": "import sys; sys.exit()",
    "raises": "def inner():\n    raise ValueError('no')\ndef outer():\n    inner()\nouter()",
    "raises from a cause": "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise KeyError('x') from error",
    "raises its own": "class Odd(Exception):\n    pass\nraise Odd",
    "has a hook of its own": "import sys\nsys.excepthook = lambda kind, error, tb: print(kind.__name__, tb.tb_lineno)\n1 / 0",
    "is no Python": "def (:",
    "imports a neighbour": "import neighbour; print(neighbour.NAME)",
    "fails in a neighbour": "import neighbour; neighbour.fail()",
    "reads stdin": "print(input()[::-1])",
    "pickles its own class": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A)",
    "registers for the end": "import atexit; atexit.register(print, 'bye'); print('hello')",
    "has threads": "import threading, time\nthreading.Timer(0.2, print, ['late']).start()\nprint('main')",
}


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_a_program_is_what_it_is_without(program: str, tmp_path: Path) -> None:
    """Exit code, stdout and stderr, tracebacks included, are the same byte for byte."""
    (tmp_path / "program.py").write_text(PROGRAMS[program])
    (tmp_path / "neighbour.py").write_text("NAME = 'n'\ndef fail():\n    raise RuntimeError('far away')\n")
    words = ("program.py", "--store", "mine", "-m", "x", "--help")
    expected = plain(*words, cwd=tmp_path, stdin=b"abc\n")
    assert traced(*words, cwd=tmp_path, stdin=b"abc\n") == expected


@pytest.mark.parametrize("words", [("package", "a", "--b"), ("package.inner",), ("package.missing",), ("nowhere",)], ids=str)
def test_modules(words: tuple[str, ...], tmp_path: Path) -> None:
    """``-m`` takes what ``python -m`` takes; a module that is not there is told."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("import sys; print(sys.argv, sys.path[0], __package__); sys.exit(3)")
    (package / "inner.py").write_text("print(__name__, __package__); raise LookupError('deep')")
    code, out, err = plain("-m", *words, cwd=tmp_path)
    ours = traced("-m", *words, cwd=tmp_path)
    assert ours[:2] == (code, out)
    assert b"llmtrace/cli" not in ours[2]
    assert err.splitlines()[-1:] == ours[2].splitlines()[-1:] or b"No module named" in ours[2]


def test_the_program_is_one_run(tmp_path: Path) -> None:
    """A workflow span around the program, named after the script or as --name says; how it ended is on it."""
    (tmp_path / "agent.py").write_text("import llmtrace\nwith llmtrace.span('step'):\n    pass\nraise KeyError('x')")
    traced("agent.py", cwd=tmp_path)
    trace = last(tmp_path)
    assert [span.name for span in trace.spans] == ["invoke_workflow agent.py", "step"]
    assert trace.root.failure is not None
    assert (trace.root.failure.type, trace.health) == ("KeyError", "failed")
    traced("--name", "nightly", "agent.py", cwd=tmp_path)
    assert last(tmp_path).root.operation == Workflow("nightly")


TASKS = """
import llmtrace

@llmtrace.tool
def look_up(order: str) -> str:
    return f"{order} is on its way"

@llmtrace.agent
def helper(order: str) -> str:
    return look_up(order)

@llmtrace.agent
def support(order: str) -> str:
    llmtrace.outcome("success" if order == "A-1" else "failure")
    return look_up(order) + helper(order)

look_up("A-1")
support("A-1")
with llmtrace.span("second"):
    support("A-1")
"""


def repeated_calls(trace: Trace) -> list[list[Span]]:
    """The calls that came again within one run of a trace."""
    findings = (finding for finding in findings_of(trace) if finding.law == "repeated_call")
    return [[trace.span(span_id) for span_id in finding.spans] for finding in findings]


def test_each_task_is_a_run(tmp_path: Path) -> None:
    """An outermost agent or plain span is a run of its own, as without ``llmtrace run``: so what an agent does again for
    its next task is no repetition. What it does again itself is. Agents below it, and tools, are its own."""
    (tmp_path / "agent.py").write_text(TASKS)
    traced("agent.py", cwd=tmp_path)
    trace = last(tmp_path)
    runs = {span.run_id: "" for span in trace.spans}
    for _, span in trace.walk():
        runs[span.run_id] += f" {span.name.split()[-1]}"
    task = " support look_up helper look_up"
    assert sorted(runs.values()) == [" agent.py look_up", f" second{task}", task]
    repeated = [[trace.parent(span).operation.name for span in spans] for spans in repeated_calls(trace)]  # type: ignore[union-attr]
    assert repeated == [["support", "helper"], ["support", "helper"]]
    outcomes = [span.name for span in trace.spans for found in span.evaluations if found.name == "outcome"]
    assert outcomes == ["invoke_agent support", "second"]
    assert evaluate_trace(trace)[0].spans == trace.spans


FOREIGN_TASKS = """
import llmtrace
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

llmtrace.configure()
trace.set_tracer_provider(TracerProvider())
tracer = trace.get_tracer("a.framework")
tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look_up", "gen_ai.tool.call.arguments": "{}",
        "gen_ai.tool.call.result": "on its way"}

@llmtrace.tool
def look_up() -> str:
    return "on its way"

for _ in range(2):
    with tracer.start_as_current_span("a tool alone", attributes=tool):
        pass
for _ in range(2):
    with tracer.start_as_current_span("an agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
        with tracer.start_as_current_span("its tool", attributes=tool):
            pass
        look_up()
"""


def test_each_task_of_a_framework_is_a_run(tmp_path: Path) -> None:
    """An agent whose framework tells of itself, with what is below it, ours too. A span with nothing below it is no task."""
    (tmp_path / "agent.py").write_text(FOREIGN_TASKS)
    traced("agent.py", cwd=tmp_path)
    trace = last(tmp_path)
    runs = {span.run_id: "" for span in trace.spans}
    for _, span in trace.walk():
        runs[span.run_id] += f" / {span.name}"
    task = " / an agent / its tool / execute_tool look_up"
    assert sorted(runs.values()) == [task, task, " / invoke_workflow agent.py / a tool alone / a tool alone"]
    repeated = [[span.name for span in spans] for spans in repeated_calls(trace)]
    assert repeated == [["a tool alone", "a tool alone"], *[["its tool", "execute_tool look_up"]] * 2]


@pytest.mark.parametrize(
    ("program", "health"), [("", "ok"), ("import sys; sys.exit(0)", "ok"), ("import sys; sys.exit(3)", "failed")]
)
def test_the_exit_code_is_the_health(program: str, health: str, tmp_path: Path) -> None:
    """An exit code that is not 0 makes the run a failed one."""
    (tmp_path / "agent.py").write_text(program)
    traced("agent.py", cwd=tmp_path)
    assert last(tmp_path).health == health


def test_json_goes_to_stderr(tmp_path: Path) -> None:
    """stdout is the program's; where to look is the last line of stderr."""
    (tmp_path / "agent.py").write_text("import sys; print('out'); sys.exit(4)")
    code, out, err = plain("-m", "llmtrace", "run", "--json", "--store", str(tmp_path / "store"), "agent.py", cwd=tmp_path)
    assert (code, out) == (4, b"out\n")
    assert err.decode() == f'{{"trace_id": "{last(tmp_path).trace_id}", "exit_code": 4, "relapsed": []}}\n'


def test_a_configure_of_the_programs_own_goes_to_the_same_store(tmp_path: Path) -> None:
    """--store holds for a program that calls configure() itself."""
    (tmp_path / "agent.py").write_text("import llmtrace\nllmtrace.configure()\nwith llmtrace.span('own'):\n    pass")
    traced("agent.py", cwd=tmp_path)
    assert [span.name for span in last(tmp_path).spans] == ["invoke_workflow agent.py", "own"]


def test_three_lines_at_the_end(tmp_path: Path) -> None:
    """Spans, tokens and cost; health and verdict; where to look. On stderr, after the program's own output. A program without
    calls and answers is not said to be fine."""
    (tmp_path / "agent.py").write_text("import llmtrace\nwith llmtrace.span('step'):\n    print('out')")
    code, out, err = plain("-m", "llmtrace", "run", "--store", str(tmp_path / "store"), "agent.py", cwd=tmp_path)
    assert (code, out) == (0, b"out\n")
    empty, first, second, third = err.decode().splitlines()
    assert (empty, first.split(",")[:2]) == ("", ["llmtrace  agent.py: 2 spans", " no model was called"])
    assert second.strip() == "ok; nothing could be judged"
    assert third.strip() == f"llmtrace show {last(tmp_path).trace_id[:8]}"


STEP = "import llmtrace\nwith llmtrace.span('{}'):\n    pass\n"

CHILDREN = {
    "subprocess": "import subprocess, sys\nsubprocess.run([sys.executable, 'child.py'], check=True)",
    "shell": "import os, sys\nos.system(f'{sys.executable} child.py')",
    "spawn": "import child, multiprocessing\nif __name__ == '__main__':\n"
    "    one = multiprocessing.get_context('spawn').Process(target=child.step)\n    one.start(); one.join()",
    "fork": "import child, multiprocessing\none = multiprocessing.get_context('fork').Process(target=child.step)\n"
    "one.start(); one.join()",
}


@pytest.mark.parametrize("way", CHILDREN)
def test_child_processes_are_in_the_trace(way: str, tmp_path: Path) -> None:
    """Python processes that the program starts are traced below it, however they are started."""
    (tmp_path / "child.py").write_text(
        "import llmtrace\ndef step():\n    with llmtrace.span('in the child'):\n        pass\n"
        "if __name__ == '__main__':\n    step()\n"
    )
    (tmp_path / "agent.py").write_text(CHILDREN[way])
    assert traced("agent.py", cwd=tmp_path) == (0, b"", b"")
    trace = last(tmp_path)
    names = [span.name for span in trace.spans]
    assert names[0] == "invoke_workflow agent.py"
    assert names[-1] == "in the child"
    assert all(trace.parent(span) is not None for span in trace.spans[1:])
    assert all(span.end is not None for span in trace.spans)


def test_a_child_that_records_nothing_leaves_nothing(tmp_path: Path) -> None:
    """A program may start a thousand Pythons that have nothing to do with models."""
    (tmp_path / "agent.py").write_text("import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'pass'], check=True)")
    assert traced("agent.py", cwd=tmp_path) == (0, b"", b"")
    assert [span.name for span in last(tmp_path).spans] == ["invoke_workflow agent.py"]


def test_any_command(tmp_path: Path) -> None:
    """What is no Python script is run as it is; Python processes in it are traced, and its exit code is ours."""
    (tmp_path / "agent.py").write_text(STEP.format("step") + "import sys\nprint(sys.argv)\nsys.exit(5)")
    code, out, err = traced(sys.executable, "agent.py", "--quiet", cwd=tmp_path)
    assert (code, out, err) == (5, b"['agent.py', '--quiet']\n", b"")
    trace = last(tmp_path)
    assert [span.name for span in trace.spans][1:] == ["invoke_workflow agent.py", "step"]
    assert trace.health == "failed"
    code, out, err = traced("no-such-command", cwd=tmp_path)
    assert (code, out) == (2, b"")
    assert b"no script or command 'no-such-command' was found" in err


def test_a_python_without_llmtrace_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``python`` on the path may be another than that of the command: of a virtual environment which is not active."""
    (tmp_path / "agent.py").write_text(STEP.format("step") + "import sys\nprint(sys.prefix)")
    bare = tmp_path / "bin" / "python"
    bare.parent.mkdir()
    bare.write_text("#!/bin/sh\nexit 1\n")
    bare.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bare.parent}{os.pathsep}{os.environ['PATH']}")
    code, out, err = traced("python", "agent.py", cwd=tmp_path)
    assert (code, out.decode().strip()) == (0, sys.prefix)
    assert f"{bare} has no llmtrace; the program runs with {sys.executable}" in err.decode()
    assert [span.name for span in last(tmp_path).spans][-1] == "step"


def test_what_a_child_dies_of_is_on_its_span(tmp_path: Path) -> None:
    """An exception that nobody catches in a child process ends its span with it; its traceback is its own."""
    (tmp_path / "agent.py").write_text(STEP.format("step") + "raise KeyError('x')")
    expected = plain("agent.py", cwd=tmp_path)
    assert traced(sys.executable, "agent.py", cwd=tmp_path) == expected
    program = last(tmp_path).spans[1]
    assert program.failure is not None
    assert program.failure.type == "KeyError"


SPENDS = """
from llmtrace.errors import BudgetExceeded
from llmtrace.model import Inference
from llmtrace.recorder import active
try:
    for number in range(5):
        active().start(Inference("openai")).end()
        print(number)
except BudgetExceeded as error:
    print(error)
"""


@pytest.mark.parametrize("command", [[], [sys.executable]], ids=["script", "command"])
def test_a_budget_stops_an_unchanged_program(command: list[str], tmp_path: Path) -> None:
    """The next call of a model does not start, in this process and in those below; or it is only said."""
    (tmp_path / "agent.py").write_text(SPENDS)
    stopped = b"0\n1\nbudget of 2 calls is spent (2 calls used): agent.py 100 %\n"
    assert traced("--budget", "calls=2,seconds=600", *command, "agent.py", cwd=tmp_path)[:2] == (0, stopped)
    said = traced("--budget", "calls=2", "--on-exceed", "record", *command, "agent.py", cwd=tmp_path)
    assert said == (0, b"0\n1\n2\n3\n4\n", b"")
    found = [one.name for span in last(tmp_path).spans for one in span.evaluations]
    assert "budget_exceeded" in found


@pytest.mark.parametrize(
    ("ceilings", "what"),
    [
        (
            "dollars=1",
            "unknown limit 'dollars=1': expected usd=0.50, or one of usd, calls,",
        ),
        ("calls=many", "'calls=many': expected a number, as in calls=10"),
        ("usd=-1", "Budget(usd=-1.0): expected a number of 0 or more"),
    ],
)
def test_a_budget_that_is_none(ceilings: str, what: str, tmp_path: Path) -> None:
    """What was wrong, and what to give; the program is not started."""
    (tmp_path / "agent.py").write_text("print('ran')")
    code, out, err = traced("--budget", ceilings, "agent.py", cwd=tmp_path)
    assert (code, out) == (2, b"")
    assert what in err.decode()
    assert "Give limits, as in:" in err.decode()


def test_a_sitecustomize_of_ones_own_is_imported_too(tmp_path: Path) -> None:
    """Ours hides none."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sitecustomize.py").write_text("print('mine')")
    (tmp_path / "agent.py").write_text("import sitecustomize; print(sitecustomize.__file__)")
    command = [sys.executable, "-m", "llmtrace", "run", "--quiet", "--store", str(tmp_path / "store"), sys.executable]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "own")}
    ran = subprocess.run([*command, "agent.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["mine", "mine", str(tmp_path / "own" / "sitecustomize.py")]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C gives the program's own traceback and 130, and the span says what happened."""
    (tmp_path / "agent.py").write_text("import time\nprint('up', flush=True)\ntime.sleep(60)")
    command = [sys.executable, "-m", "llmtrace", "run", "--quiet", "--store", str(tmp_path / "store"), "agent.py"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heeds_ctrl_c)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.decode().splitlines()[-1] == "KeyboardInterrupt"
    assert b"llmtrace" not in err
    assert last(tmp_path).health == "failed"


SERVER = """
import sys, time
import llmtrace

llmtrace.configure()

@llmtrace.agent
def agent(seconds: float) -> None:
    time.sleep(seconds)

agent(0)
print("up", flush=True)
agent(60) if sys.argv[1] == "busy" else time.sleep(60)
"""


@pytest.mark.parametrize("words", [["server.py"], [sys.executable, "server.py"]], ids=["script", "command"])
@pytest.mark.parametrize(("state", "health"), [("idle", "ok"), ("busy", "failed")])
def test_a_server_that_its_supervisor_stops_has_not_failed(words: list[str], state: str, health: str, tmp_path: Path) -> None:
    """SIGTERM ends it as without llmtrace. A task that it was working on was interrupted."""
    (tmp_path / "server.py").write_text(SERVER)
    command = [sys.executable, "-m", "llmtrace", "run", "--quiet", "--store", str(tmp_path / "store"), *words, state]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (-signal.SIGTERM if len(words) == 1 else 128 + signal.SIGTERM, b"")
    assert last(tmp_path).health == health


FORKS = """
import multiprocessing, os, signal, sys, time
import llmtrace

llmtrace.configure()
lock = multiprocessing.get_context("fork").Lock()
lock.acquire()
ends = []
for _ in range(200):
    child = os.fork()
    if not child:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL or signal.pthread_sigmask(signal.SIG_BLOCK, []):
            os._exit(7)
        lock.acquire()
    time.sleep(0.0001 * (len(ends) % 50))
    os.kill(child, signal.SIGTERM)
    until = time.monotonic() + 10
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < until:
        time.sleep(0.0005)
    ends.append(os.WTERMSIG(ended[1]) if os.WIFSIGNALED(ended[1]) else -1)
    if not ended[0]:
        os.kill(child, signal.SIGKILL)
print(set(ends))
"""


def test_a_forked_child_ends_by_sigterm(tmp_path: Path) -> None:
    """Whenever the signal comes: a pool ends its workers so, as they begin to wait for work."""
    (tmp_path / "forks.py").write_text(FORKS)
    assert traced("forks.py", cwd=tmp_path) == (0, f"{ {int(signal.SIGTERM)} }\n".encode(), b"")


CAUGHT = """
import sys
import llmtrace

llmtrace.configure()


@llmtrace.tool
def look_up(order: str) -> str:
    raise KeyError(order)


@llmtrace.agent
def support(order: str) -> str:
    return look_up(order)


@llmtrace.agent
def other(order: str) -> str:
    return "It is here."


try:
    support("A-1")
except KeyError:
    pass
other("A-2")
"""


@pytest.mark.parametrize("words", [["agent.py"], [sys.executable, "agent.py"]], ids=["script", "command"])
def test_an_agent_that_fails_has_failed_though_its_program_goes_on(words: list[str], tmp_path: Path) -> None:
    """The same word as without ``llmtrace run``; and the program's span carries the worst of its runs."""
    (tmp_path / "agent.py").write_text(CAUGHT)
    environment = {**os.environ, "LLMTRACE_STORE": str(tmp_path / "alone")}
    subprocess.run([sys.executable, "agent.py"], cwd=tmp_path, env=environment, check=True)
    alone = {trace.name: trace.health for trace in open_store(str(tmp_path / "alone")).traces()}
    assert alone == {"invoke_agent support": "failed", "invoke_agent other": "ok"}
    assert traced(*words, cwd=tmp_path)[0] == 0
    trace = last(tmp_path)
    assert trace.health == "failed"
    verdict = {sc.HEALTH: "failed", sc.FINDINGS_COUNT: 1, sc.WORST_FINDING: "end_state", sc.WORST_FINDING_CONFIDENCE: "certain"}
    assert {name: trace.root.attributes[name] for name in (*verdict, sc.SUSPECT)} == {**verdict, sc.SUSPECT: True}
    assert [task.attributes[sc.HEALTH] for task in trace.tasks if task.name.startswith("invoke_agent")] in (
        ["failed", "ok"],
        [],  # of the command's root, the only task is the program
    )
    diagnosis = diagnose(trace)
    assert (diagnosis.health, [suspect.title for suspect in diagnosis.marked]) == ("failed", ["look_up ended with KeyError"])


def test_the_programs_span_is_as_good_as_its_runs(tmp_path: Path) -> None:
    """Of a good run and one that recovered, recovered; the trace says the same."""
    (tmp_path / "agent.py").write_text(
        CAUGHT.replace(
            "    return look_up(order)", "    try:\n        look_up(order)\n    except KeyError:\n        return 'none'"
        )
    )
    assert traced("agent.py", cwd=tmp_path)[0] == 0
    trace = last(tmp_path)
    assert [trace.health, *(span.attributes[sc.HEALTH] for span in (trace.root, *trace.tasks))] == [
        "recovered",
        "recovered",
        "recovered",
        "ok",
    ]


def test_of_two_runs_of_a_program_only_the_failed_one_is_accused(tmp_path: Path) -> None:
    """An error that one run got over is not the end of that run because another one failed."""
    got_over = "    try:\n        look_up(order)\n    except KeyError:\n        return 'none'"
    program = CAUGHT.replace('    return "It is here."', got_over).replace(
        "    return look_up(order)", "    raise ValueError('no')"
    )
    (tmp_path / "agent.py").write_text(program.replace("except KeyError:\n    pass", "except ValueError:\n    pass"))
    assert traced("agent.py", cwd=tmp_path)[0] == 0
    diagnosis = diagnose(last(tmp_path))
    assert [suspect.title for suspect in diagnosis.marked if suspect.check == "end_state"] == ["support ended with ValueError"]
