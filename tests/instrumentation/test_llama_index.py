"""LlamaIndex without LlamaIndex: a run ends with the task of its handler. The real library is in tests/frameworks."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace
from typing import Any

import pytest

from llmtrace.instrumentation.llama_index import WorkflowRun


@pytest.mark.parametrize("is_on", [False, True])
def test_an_exception_that_nobody_saw_is_still_reported(is_on: bool) -> None:
    """asyncio reports a task whose exception was never retrieved; ending the span does not retrieve it."""
    reported: list[dict[str, Any]] = []
    ended: list[BaseException | None] = []

    async def fail() -> None:
        raise ValueError("no such order")

    async def program() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        handler = SimpleNamespace(_result_task=asyncio.ensure_future(fail()))
        if is_on:
            assert WorkflowRun().end_later(handler, lambda _, error: ended.append(error))
        await asyncio.sleep(0.01)

    asyncio.run(program())
    gc.collect()
    assert [str(context["exception"]) for context in reported] == ["no such order"]
    assert [str(error) for error in ended] == ["no such order"] * is_on
