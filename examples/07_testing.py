"""Tests of an agent, with what it did as evidence: `capture` records into memory, with ids and a clock that repeat.

pytest examples/07_testing.py
"""

from __future__ import annotations

import llmtrace
from llmtrace.model import ToolExecution
from llmtrace.testing import capture
from stand_in import scripted


@llmtrace.tool(on_invalid="reply")
def look_up(order_id: str) -> dict:
    "Look up an order."
    return {"order_id": order_id, "status": "on its way"}


def support(client: object, task: str) -> str:
    tools, messages = llmtrace.Tools(look_up), [{"role": "user", "content": task}]
    with llmtrace.agent("support"):
        while True:
            message = client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools.openai()).choices[0].message
            messages += [message, *tools.run(message)]
            if not message.tool_calls:
                return message.content


def test_it_looks_the_order_up() -> None:
    client = scripted([("look_up", {"order_id": "KS-20457"})], "It is on its way.")
    with capture() as captured:
        assert support(client, "Where is KS-20457?") == "It is on its way."
    assert captured.trace.health == "ok"
    names = [span.name for span in captured.spans]  # in the order in which they ended
    assert names == ["chat gpt-4o", "execute_tool look_up", "chat gpt-4o", "invoke_agent support"]
    execution = captured.spans[1].operation
    assert isinstance(execution, ToolExecution)
    assert execution.arguments == {"order_id": "KS-20457"}


def test_a_wrong_call_is_answered_and_mended() -> None:
    client = scripted([("look_up", {"id": 20457})], [("look_up", {"order_id": "KS-20457"})], "It is on its way.")
    with capture() as captured:
        support(client, "Where is KS-20457?")
    assert captured.trace.health == "recovered"
    asked, refused = captured.spans[:2]
    assert [(found.code, found.pointer) for found in asked.violations] == [("missing", "/order_id"), ("unexpected", "/id")]
    assert refused.operation.executed is False


if __name__ == "__main__":
    for test in (test_it_looks_the_order_up, test_a_wrong_call_is_answered_and_mended):
        test()
        print(test.__name__, "passed")
