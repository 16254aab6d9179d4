"""The program of the README's first screen, over a fake model: what every law is tried on."""

from __future__ import annotations

from typing import Any

import llmtrace
from tests.instrumentation.openai_server import (
    Server,
    call_chunks,
    completion,
    message,
    streamed,
    text_chunks,
    tool_call,
    whole,
)

ASKED = "Refund my kettle, please."
CALL = tool_call('{"order_id": "W-77", "amount": "42.0"}', id="call_1", name="refund")
RETRY = tool_call('{"order_id": "W-77", "amount": 42.0}', id="call_2", name="refund")
ANSWER = "I refunded 42.0 for order W-77."

refunded: list[tuple[str, float]] = []


@llmtrace.tool(on_invalid="reply")
def refund(order_id: str, amount: float) -> dict[str, Any]:
    "Refund an order."
    refunded.append((order_id, amount))
    return {"refunded": amount}


@llmtrace.tool(on_invalid="reply")
async def arefund(order_id: str, amount: float) -> dict[str, Any]:
    "Refund an order."
    refunded.append((order_id, amount))
    return {"refunded": amount}


def replies(*, as_stream: bool = False) -> list[Any]:
    if as_stream:
        return [streamed(_calling(CALL)), streamed(_calling(RETRY)), streamed(text_chunks(ANSWER))]
    return [
        whole(completion(message(None, tool_calls=[CALL]), finish="tool_calls")),
        whole(completion(message(None, tool_calls=[RETRY]), finish="tool_calls")),
        whole(completion(message(ANSWER))),
    ]


def _calling(call: dict[str, Any]) -> list[dict[str, Any]]:
    """The chunks of one tool call: the template of two, with ours in place of them."""
    first, *_, finish, usage = call_chunks()
    piece = {**first, "choices": [{**first["choices"][0], "delta": {"tool_calls": [{"index": 0, **call}]}}]}
    return [first, piece, finish, usage]


@llmtrace.agent(budget=llmtrace.Budget(usd=0.10, calls=20))
def support(client: Any, task: str, *, as_stream: bool = False) -> str:
    tools = llmtrace.Tools(refund)
    messages: list[Any] = [{"role": "user", "content": task}]
    while True:
        answer = client.chat.completions.create(
            model="gpt-4o", messages=messages, tools=tools.openai(), **({"stream": True} if as_stream else {})
        )
        said = _whole(list(answer)) if as_stream else answer.choices[0].message
        messages.append(said)
        calls = said.get("tool_calls") if isinstance(said, dict) else said.tool_calls
        if not calls:
            return str(said["content"] if isinstance(said, dict) else said.content)
        messages += tools.run(said)


@llmtrace.agent(budget=llmtrace.Budget(usd=0.10, calls=20))
async def asupport(client: Any, task: str) -> str:
    tools = llmtrace.Tools(llmtrace.tool(name="refund", on_invalid="reply")(arefund.__wrapped__))  # type: ignore[attr-defined]
    messages: list[Any] = [{"role": "user", "content": task}]
    while True:
        answer = await client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools.openai())
        said = answer.choices[0].message
        messages.append(said)
        if not said.tool_calls:
            return str(said.content)
        messages += await tools.arun(said)


def _whole(chunks: list[Any]) -> dict[str, Any]:
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    calls = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or ()]
    said: dict[str, Any] = {"role": "assistant", "content": text or None}
    return said | {"tool_calls": [call.model_dump(exclude={"index"}) for call in calls]} if calls else said


def run(*, as_stream: bool = False) -> str:
    """The whole conversation; the first call has a fault, is answered, and the second one is right."""
    refunded.clear()
    return support(Server(*replies(as_stream=as_stream)).client(), ASKED, as_stream=as_stream)
