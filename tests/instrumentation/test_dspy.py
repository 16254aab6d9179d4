"""Parts of messages of DSPy's own engine. `tests/frameworks` runs the library itself."""

from __future__ import annotations

from types import SimpleNamespace

from llmtrace.instrumentation import dspy
from llmtrace.model import Text, ToolResult


def test_a_tool_result_is_read_with_the_id_of_its_call() -> None:
    result = SimpleNamespace(type="tool_result", id="c1", content=[SimpleNamespace(text="on its way")])
    assert list(dspy._parts(["Hi", result])) == [Text("Hi"), ToolResult("on its way", "c1")]
