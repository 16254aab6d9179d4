"""Approvals of tool calls by Pydantic AI and the Claude Agent SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

import llmtrace
from llmtrace.model import Review, replace
from llmtrace.testing import Captured, capture

pytestmark = pytest.mark.all

CALLS = ("1", "2", "3")


def reviews(captured: Captured) -> list[Review]:
    return [span.operation for span in captured.spans if isinstance(span.operation, Review)]


def decided(name: str) -> list[Review]:
    """Approved, edited, rejected: the three calls of a model, as a person decides in these tests."""
    one, two, three = (Review(name, tool=name, call_id=number, payload={"order_id": number}) for number in CALLS)
    return [
        replace(one, decision="approved"),
        replace(two, decision="edited", value={"order_id": "9"}),
        replace(three, decision="rejected", note="not that one"),
    ]


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("inline", [False, True])
def test_pydantic_ai(inline: bool, raises: bool) -> None:
    """A run ends with the calls that wait, and the next has the decisions; or a capability decides while the run waits.

    A tool may raise to wait for the approval: that is not a failure.
    """
    pydantic_ai: Any = pytest.importorskip("pydantic_ai")
    from pydantic_ai.capabilities import HandleDeferredToolCalls
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
    from pydantic_ai.models.function import FunctionModel

    def answer(messages: Any, info: Any) -> ModelResponse:
        asks = [ToolCallPart("refund", {"order_id": number}, tool_call_id=number) for number in CALLS]
        return ModelResponse(parts=asks if len(messages) == 1 else [TextPart("Done.")])

    approvals = {
        "1": True,
        "2": pydantic_ai.ToolApproved(override_args={"order_id": "9"}),
        "3": pydantic_ai.ToolDenied("not that one"),
    }
    ran: list[str] = []

    async def handle(context: Any, requests: Any) -> Any:
        return requests.build_results(approvals=approvals)

    capabilities = [HandleDeferredToolCalls(handle)] if inline else []
    agent: Any = pydantic_ai.Agent(
        FunctionModel(answer), output_type=[str, pydantic_ai.DeferredToolRequests], capabilities=capabilities
    )

    raising = set(CALLS if raises else ())

    @agent.tool_plain(requires_approval=not raises)  # type: ignore[untyped-decorator]
    def refund(order_id: str) -> str:
        if order_id in raising:
            raising.remove(order_id)
            raise pydantic_ai.ApprovalRequired
        ran.append(order_id)
        return "refunded"

    with capture(instrument=["pydantic_ai"]) as captured:
        result = agent.run_sync("Refund them.")
        if not inline:
            waits = reviews(captured)
            results = result.output.build_results(approvals=approvals)
            result = agent.run_sync(message_history=result.all_messages(), deferred_tool_results=results)
    assert (result.output, sorted(ran)) == ("Done.", ["1", "9"])
    if not inline:
        assert waits == [replace(review, decision="pending", value=None, note=None) for review in decided("refund")]
    assert reviews(captured)[-3:] == decided("refund")
    assert {span.failure for span in captured.spans} == {None}


class ClaudeCode:
    """Stands in for Claude Code, as far as the SDK can see it: asks for each call, and ends."""

    def __init__(self) -> None:
        self.written: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.answers: list[Any] = []

    async def connect(self) -> None: ...

    async def write(self, data: str) -> None:
        self.written.put_nowait(json.loads(data))

    def is_ready(self) -> bool:
        return True

    async def end_input(self) -> None: ...

    async def close(self) -> None: ...

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        asked = False
        while len(self.answers) < len(CALLS):
            message = await self.written.get()
            if message["type"] == "control_request":
                response = {"subtype": "success", "request_id": message["request_id"], "response": {}}
                yield {"type": "control_response", "response": response}
            elif message["type"] == "control_response":
                self.answers.append(message["response"]["response"])
            elif not asked:
                asked = True
                for number in CALLS:
                    call = {"tool_name": "refund", "input": {"order_id": number}, "tool_use_id": number}
                    yield {"type": "control_request", "request_id": number, "request": {"subtype": "can_use_tool", **call}}
        result = {"subtype": "success", "duration_ms": 1, "duration_api_ms": 1, "is_error": False, "num_turns": 1}
        yield {"type": "result", "session_id": "s", "result": "Done.", **result}


@pytest.mark.parametrize("is_client", [False, True])
def test_claude_agent_sdk(is_client: bool) -> None:
    """What Claude Code asks the program's callback is a review, inside the span in which the program reads the messages."""
    sdk: Any = pytest.importorskip("claude_agent_sdk")

    async def decide(name: str, arguments: Any, context: Any) -> Any:
        with llmtrace.span("ask a person"):
            if context.tool_use_id == "3":
                return sdk.PermissionResultDeny(message="not that one")
            return sdk.PermissionResultAllow(updated_input={"order_id": "9"} if context.tool_use_id == "2" else None)

    async def prompt() -> AsyncIterator[dict[str, Any]]:
        yield {"type": "user", "message": {"role": "user", "content": "Refund them."}, "session_id": "s"}

    async def main(transport: Any) -> Any:
        options = sdk.ClaudeAgentOptions(can_use_tool=decide)
        if not is_client:
            with llmtrace.agent("shop"):
                return [message async for message in sdk.query(prompt=prompt(), options=options, transport=transport)]
        async with sdk.ClaudeSDKClient(options, transport=transport) as client:
            with llmtrace.agent("shop"):
                await client.query("Refund them.")
                return [message async for message in client.receive_response()]

    async def with_claude() -> Any:
        claude = type("Claude", (ClaudeCode, sdk.Transport), {})()
        await asyncio.wait_for(main(claude), 60)
        return claude

    with capture(instrument=["claude_agent_sdk"]) as captured:
        claude = asyncio.run(with_claude())
    assert sorted(answer["behavior"] for answer in claude.answers) == ["allow", "allow", "deny"]
    assert sorted(reviews(captured), key=lambda review: str(review.call_id)) == decided("refund")
    (agent,) = (span for span in captured.spans if span.name == "invoke_agent shop")
    spans = {span.span_id: span for span in captured.spans if isinstance(span.operation, Review)}
    assert {span.parent_id for span in spans.values()} == {agent.span_id}
    assert {span.parent_id for span in captured.spans if span.name == "ask a person"} == spans.keys()
    assert {span.failure for span in captured.spans} == {None}
