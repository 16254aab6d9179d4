"""A program that uses llmtrace passes a type checker at its strictest, and decorators keep the types of functions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import llmtrace

pytestmark = pytest.mark.all

PACKAGE = Path(llmtrace.__file__).parent
README = Path(__file__).parents[1] / "README.md"

PROGRAM = """\
import llmtrace

@llmtrace.tool
def plain(number: int) -> str:
    return str(number)

@llmtrace.tool(on_invalid="reply")
async def waiting(number: int) -> str:
    return str(number)

@llmtrace.agent(budget=llmtrace.Budget(calls=3))
def agent(task: str) -> str:
    with llmtrace.span("step") as step, llmtrace.inference("openai", model="gpt-4o") as call:
        step.output, call.output, call.usage = 1, "done", {"input_tokens": 3}
    return task

class Shop:
    @llmtrace.tool
    def method(self, number: int) -> int:
        return number

    @llmtrace.context(user="ada")
    def block(self) -> float:
        return 0.5

reveal_type(plain(1))
reveal_type(waiting)
reveal_type(llmtrace.wrap(agent))
reveal_type(Shop().method(1))
reveal_type(Shop().block())
"""


def check(path: Path, *options: str) -> str:
    """What mypy says of a program that has this package installed: errors inside the package are not its concern."""
    pytest.importorskip("mypy")
    assert (PACKAGE / "py.typed").exists()
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-error-summary", *options, path.name]
    environment = {**os.environ, "MYPYPATH": str(PACKAGE.parent)}
    return subprocess.run(command, cwd=path.parent, env=environment, capture_output=True, text=True).stdout


def test_the_program_of_the_readme_passes(tmp_path: Path) -> None:
    """But for the bare ``list`` and ``dict`` that it writes itself."""
    pytest.importorskip("openai")
    program = next(
        code for code in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL) if "llmtrace.Tools" in code
    )
    (tmp_path / "agent.py").write_text(program)
    assert check(tmp_path / "agent.py", "--disable-error-code=type-arg") == ""


def test_decorators_keep_types(tmp_path: Path) -> None:
    """Parameters, results, methods, coroutines."""
    (tmp_path / "program.py").write_text(PROGRAM)
    assert re.findall(r'Revealed type is "(.*)"', check(tmp_path / "program.py")) == [
        "str",
        "def (number: int) -> typing.Coroutine[Any, Any, str]",
        "def (task: str) -> str",
        "int",
        "float",
    ]
