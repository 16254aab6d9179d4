"""The support agent with the anthropic client: streamed answers, tools by `Tools.anthropic()`, one trace with the verdicts.

    python examples/10_anthropic.py
    llmtrace show

With ANTHROPIC_API_KEY set it talks to Anthropic, and MODEL names the model. Without, a scripted model on this machine answers,
whose first try at a refund has an amount of the wrong type: the tool answers what is wrong, and the next try is right.
"""

from __future__ import annotations

import os

import anthropic

import llmtrace
from stand_in_anthropic import scripted

llmtrace.configure()

ORDERS = {"KS-20457": {"order_id": "KS-20457", "item": "blue kettle", "total": 42.0}}


@llmtrace.tool
def look_up(order_id: str) -> dict:
    "Find an order by its number."
    return ORDERS[order_id]


@llmtrace.tool(on_invalid="reply")
def refund(order_id: str, amount: float) -> dict:
    "Refund an order."
    return {"order_id": order_id, "amount": amount, "status": "refunded"}


tools = llmtrace.Tools(look_up, refund)


@llmtrace.agent(budget=llmtrace.Budget(calls=20))
def support(task: str) -> str:
    messages: list = [{"role": "user", "content": task}]
    while True:
        with client.messages.stream(model=model, max_tokens=500, messages=messages, tools=tools.anthropic()) as stream:
            for text in stream.text_stream:
                print(text, end="", flush=True)
            answer = stream.get_final_message()
        print()
        messages.append({"role": "assistant", "content": answer.content})
        results = tools.run(answer)  # one user message with a tool_result for each call; none without calls
        if not results:
            return stream.get_final_text()
        messages += results


def call(name: str, **arguments: object) -> dict:
    return {"type": "tool_use", "id": f"toolu_{name}_{len(str(arguments))}", "name": name, "input": arguments}


if os.environ.get("ANTHROPIC_API_KEY"):
    client, model = anthropic.Anthropic(), os.environ.get("MODEL", "claude-sonnet-4-6")
else:
    model = "claude-sonnet-4-6"
    client = scripted(
        [{"type": "text", "text": "I look it up."}, call("look_up", order_id="KS-20457")],
        [call("refund", order_id="KS-20457", amount="42 EUR")],
        [call("refund", order_id="KS-20457", amount=42)],
        [{"type": "text", "text": "I refunded 42 EUR for your blue kettle."}],
    )
support("The blue kettle of order KS-20457 leaks. Please give me my money back.")
