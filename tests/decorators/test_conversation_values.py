"""What a function of an agent returns, whatever it is: its answer is read, and nothing is logged."""

from __future__ import annotations

from typing import Any

import pytest

from llmtrace.decorators.conversation import read_answer, read_task

VALUES: list[Any] = [None, 1, "text", [], {}, ["a"], {"a": "b"}, [["a", "b"]], [[{"a": 1}, "b"]], [[["a"], "b"]], ["a", ["b"]]]


@pytest.mark.parametrize("name", ["messages", "role", "type", "content", "parts", "tool_calls", "answer"])
def test_any_form_is_read(name: str) -> None:
    for first in VALUES:
        for second in VALUES:
            for result in (
                {name: first, "text": second},
                {"role": "assistant", name: first},
                {"messages": [{"role": "user", name: first}, {"role": "assistant", "content": second}]},
                [{name: first, "role": second}],
                [first, second],
                {"messages": [first, second]},
            ):
                assert read_answer(result) is not None
                assert read_task({"x": result}, {"x": result}) is not None
