"""A failed action is laid to the model call that decided it."""

from __future__ import annotations

import pytest

from llmtrace.model import Failure, Inference, Message, Span, Text, ToolCall, ToolExecution
from llmtrace.signals.failed_action import CALLS, SIGNAL

AGENT, HELPER, TOOL = "a" * 16, "b" * 16, "c" * 16


@pytest.mark.parametrize("steps", [1, CALLS, 2 * CALLS])
def test_what_an_agent_decided_is_known_however_many_steps_its_helper_takes(steps: int) -> None:
    asked = Message("assistant", (ToolCall("delegate", {"task": "count"}, "c1"),))
    state = SIGNAL.start()
    SIGNAL.step(state, _span(1, AGENT, Inference("openai", output=(asked,))))
    for number in range(steps):
        said = Message("assistant", (Text(f"Step {number}."),))
        SIGNAL.step(state, _span(2 + number, HELPER, Inference("openai", output=(said,))))
    failed = Span(
        "0" * 32, TOOL, "s", 0, 1, AGENT, operation=ToolExecution("delegate", call_id="c1"), failure=Failure("E", "no")
    )
    (evaluation,) = SIGNAL.step(state, failed)
    assert evaluation.sources == (f"{1:016x}",)


def _span(number: int, parent: str, operation: Inference) -> Span:
    return Span("0" * 32, f"{number:016x}", "s", number, number + 1, parent, operation=operation)
