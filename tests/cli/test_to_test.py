"""`llmtrace to-test`: what it writes is the test that it means, whatever the model has said."""

from __future__ import annotations

import ast

import llmtrace
from llmtrace.cli import to_test
from llmtrace.diagnosis import diagnose
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
    lines = to_test._assertions(captured.trace, (suspect,), [])
    statements = ast.parse("\n".join(lines)).body
    assert statements
    assert all(isinstance(statement, ast.Assert) for statement in statements)
