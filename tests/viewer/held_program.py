"""A program whose refund waits for a person: run with the folder of a store. Its model is scripted, in this process.

The model looks an order up, and asks for a refund of another order than it found. Prints what the refund got, and the answer.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Literal

import llmtrace

llmtrace.configure(store=sys.argv[1], review_timeout=900, redact_keys=["card"])


@llmtrace.tool
def look_up(customer: str) -> dict[str, Any]:
    """Find the last order of a customer."""
    return {"order_id": "KS-20457", "total": 129.5, "customer": customer}


@llmtrace.tool(review=["when ungrounded", True])
def refund(
    order_id: str, amount: float, reason: Literal["damaged", "late", "other"], card: str, notify: bool, note: str = ""
) -> dict[str, Any]:
    """Refund an order."""
    print(json.dumps({"order_id": order_id, "amount": amount, "card": card, "notify": notify}), flush=True)
    return {"refunded": amount, "order_id": order_id}


WRONG = {"order_id": "KS-20431", "amount": 129.5, "reason": "damaged", "card": "4111 1111", "notify": True}
SCRIPT = [("look_up", {"customer": "jonas@example.com"}), ("refund", WRONG | dict(zip(("note",), sys.argv[2:], strict=False)))]


@llmtrace.agent
def support(task: str) -> str:
    tools = llmtrace.Tools(look_up, refund)
    messages: list[Any] = [{"role": "user", "content": task}]
    for number, (name, arguments) in enumerate(SCRIPT):
        call = {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        with llmtrace.inference("house", model="house-1", messages=messages, tools=tools) as inference:
            inference.output = message
        messages += [message, *tools.run(message)]
    with llmtrace.inference("house", model="house-1", messages=messages) as inference:
        inference.output = f"Done: {messages[-1]['content']}"
    return str(inference.output)


if __name__ == "__main__":
    print(support("The kettle of jonas@example.com came damaged, card 4111 1111. Please refund it."), flush=True)
