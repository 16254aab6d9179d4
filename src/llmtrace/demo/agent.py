"""The demo's support agent, an ordinary agent: the real ``openai`` client, two tools, a loop that streams.

The only lines for llmtrace are the decorators and `llmtrace.Tools`. The agent does not know that the model is scripted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

from pydantic import Field

import llmtrace
from llmtrace.demo.shop import INSTRUCTIONS, ORDERS, Order


@llmtrace.tool
def look_up(order_id: str) -> Order:
    """Find an order by its number.

    Args:
        order_id: The number of the order, as it stands on the invoice.
    """
    return ORDERS[order_id]


def refund(order_id: str, amount: Annotated[float, Field(gt=0)]) -> dict[str, Any]:
    """Pay the price of an order back to whoever bought it.

    Args:
        order_id: The number of the order.
        amount: How much to pay back, in EUR.
    """
    return {"order_id": order_id, "amount": min(amount, ORDERS[order_id]["total"]), "status": "refunded"}


def support_agent(client: Any, model: str, *, reviewed: bool = False, most_turns: int = 8) -> Callable[[str], str]:
    """Return the agent: a function that takes a customer's mail and returns the answer.

    ``client``: an ``openai.OpenAI``. ``model``: a name that its server knows. ``reviewed``: a person decides before money is
    refunded for an order number that nobody mentioned.
    """
    review: Literal["when ungrounded", False] = "when ungrounded" if reviewed else False
    tools = llmtrace.Tools(look_up, llmtrace.tool(on_invalid="reply", review=review)(refund))

    @llmtrace.agent
    def support(task: str) -> str:
        messages: list[Any] = [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": task}]
        for _ in range(most_turns):
            stream = client.chat.completions.create(
                model=model, messages=messages, tools=tools.openai(), stream=True, stream_options={"include_usage": True}
            )
            message = whole(stream)
            messages.append(message)
            if "tool_calls" not in message:
                return str(message["content"])
            messages += tools.run(message)
        return "I could not finish this; a colleague will write to you."

    return support


def whole(stream: Iterable[Any]) -> dict[str, Any]:
    """Return the assistant message of a chat stream, put together from its chunks, to be appended to the messages."""
    text = ""
    calls: dict[int, dict[str, Any]] = {}
    for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for piece in choice.delta.tool_calls or ():
                call = calls.setdefault(
                    piece.index, {"id": piece.id, "type": "function", "function": {"name": "", "arguments": ""}}
                )
                call["function"]["name"] += piece.function.name or ""
                call["function"]["arguments"] += piece.function.arguments or ""
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    return message | {"tool_calls": [calls[index] for index in sorted(calls)]} if calls else message
