"""`llmtrace to-test`: what it writes is the test that it means, whatever the model has said."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import llmtrace
from llmtrace.cli import to_test
from llmtrace.diagnosis import diagnose
from llmtrace.model import AgentInvocation, Message, Text
from llmtrace.testing import capture


@llmtrace.tool(on_invalid="reply")
def look_up(order_id: str) -> str:
    return order_id


def test_a_tool_name_of_the_model_does_not_become_code() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "refund\nraise SystemExit", "arguments": "{}"}}
    with capture() as captured, llmtrace.agent("support"):
        llmtrace.Tools(look_up).run({"role": "assistant", "tool_calls": [call]})
    (suspect,) = diagnose(captured.trace).suspects
    assert "\nraise SystemExit" in suspect.title
    lines = to_test._assertions(captured.trace, (suspect,), [], has_failed=False)
    statements = ast.parse("\n".join(lines)).body
    assert statements
    assert all(isinstance(statement, ast.Assert) for statement in statements)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [("task", """'{"order": 1}'"""), ("order, note=None", "order=1"), ("**options", "order=1"), (None, "order=1")],
)
def test_a_task_that_is_json_is_one_argument(
    parameters: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of `support('{"order": 1}')` is that of `support(order=1)`; the function's source tells which it was."""
    monkeypatch.chdir(tmp_path)
    if parameters is not None:
        (tmp_path / "agent.py").write_text(f"class Desk:\n    async def support({parameters}): ...\n")
    agent = AgentInvocation("support", input=(Message("user", (Text('{"order": 1}'),)),))
    written = to_test._arguments(agent, "agent:Desk.support")
    assert ast.dump(ast.parse(f"f({written})")) == ast.dump(ast.parse(f"f({expected})"))


def test_a_run_that_was_reported_as_wrong_asks_for_another_answer() -> None:
    """Nothing in the record tells such a run from a good one, and no test of a failure may pass at once."""
    with capture() as captured:
        llmtrace.agent(lambda: "42", name="support")()
    assert next(to_test._assertions(captured.trace, (), [], has_failed=True)).startswith('assert run.answer != "42"')
