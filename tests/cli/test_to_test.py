"""`llmtrace to-test`: what it writes is the test that it means, whatever the model has said."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import llmtrace
from llmtrace.cli import to_test
from llmtrace.cli.options import BadInput
from llmtrace.diagnosis import diagnose
from llmtrace.model import AgentInvocation, Message, Text, replace
from llmtrace.testing import Captured, capture


@llmtrace.tool(on_invalid="reply")
def look_up(order_id: str) -> str:
    return order_id


def test_a_tool_name_of_the_model_does_not_become_code() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "refund\nraise SystemExit", "arguments": "{}"}}
    with capture() as captured, llmtrace.agent("support"):
        llmtrace.Tools(look_up).run({"role": "assistant", "tool_calls": [call]})
    (suspect,) = diagnose(captured.trace).suspects
    assert (suspect.label, suspect.tool) == ("unknown_tool", "refund\nraise SystemExit")
    assert "SystemExit" not in suspect.title
    suspect = replace(suspect, title=f"{suspect.tool} was called")
    lines = to_test._assertions(captured.trace, (suspect,), [], has_failed=False)
    statements = ast.parse("\n".join(lines)).body
    assert statements
    assert all(isinstance(statement, ast.Assert) for statement in statements)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [("task", """'{"order": 1}'"""), ("order, note=None", "order=1"), ("**options", "order=1"), (None, "order=1")],
)
def test_a_task_that_is_json_is_one_argument(parameters: str | None, expected: str) -> None:
    """The record of `support('{"order": 1}')` is that of `support(order=1)`; the function's source tells which it was."""
    method = "support = None" if parameters is None else f"async def support({parameters}): ..."
    source = to_test._Source("agent.py", ast.parse(f"class Desk:\n    {method}\n"))
    agent = AgentInvocation("support", input=(Message("user", (Text('{"order": 1}'),)),))
    written = to_test._arguments(agent, "Desk.support", source)
    assert ast.dump(ast.parse(f"f({written})")) == ast.dump(ast.parse(f"f({expected})"))


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("nosuch:fn", "module nosuch is neither in"),
        ("desk.nosuch:fn", "module desk.nosuch is neither in"),
        ("desk.agent:suport", "Did you mean desk.agent:support?"),
        ("desk.agent:fn", "agent.py defines no fn"),
        ("desk.broken:fn", "broken.py cannot be read"),
        ("desk.agent:support", ""),
        ("desk.agent:Agent.run", ""),
        ("desk.agent:imported", ""),
        ("desk.agent:assigned", ""),
        ("desk.agent:fallback", ""),
        ("desk.everything:fn", ""),
        ("json:loads", ""),
        ("math:sqrt", ""),
    ],
)
def test_a_function_that_cannot_be_imported_is_refused(
    target: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, captured: Captured
) -> None:
    """The check reads the source and never runs it, since an import may start the agent."""
    (tmp_path / "desk").mkdir()
    (tmp_path / "desk" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "desk" / "broken.py").write_text("def fn(:")
    (tmp_path / "desk" / "everything.py").write_text("from json import *")
    (tmp_path / "desk" / "agent.py").write_text(
        "from a import b as imported\n"
        "def support(task): ...\n"
        "class Agent: ...\n"
        "assigned, other = support, 1\n"
        "try:\n    import c\nexcept ImportError:\n    def fallback(): ...\n"
        "raise SystemExit('imported')\n"
    )
    monkeypatch.chdir(tmp_path)
    llmtrace.agent(lambda task: task, name="support")("42")
    if not problem:
        assert to_test._function(captured.trace, target, Path())[0]
        return
    with pytest.raises(BadInput, match=re.escape(problem)):
        to_test._function(captured.trace, target, Path())


def test_a_run_that_was_reported_as_wrong_asks_for_another_answer(captured: Captured) -> None:
    """Nothing in the record tells such a run from a good one, and no test of a failure may pass at once."""
    llmtrace.agent(lambda: "42", name="support")()
    assert next(to_test._assertions(captured.trace, (), [], has_failed=True)).startswith('assert run.answer != "42"')
