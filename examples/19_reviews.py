"""A call waits for a person: the model makes up an order number, and a reviewer corrects it before the refund runs.

    python examples/19_reviews.py
    llmtrace show

A function decides here, so that the example ends by itself. Without ``notify=``, a person decides in `llmtrace view` or
`llmtrace review`.
"""

from __future__ import annotations

import llmtrace
from llmtrace.model.reviews import ReviewRequest
from stand_in import scripted


def look(request: ReviewRequest) -> llmtrace.Decision:
    """What a person would do: see the call and why it is held, and correct it."""
    print("held:", request.tool, request.payload)
    print("because:", request.reason)
    return llmtrace.Decision("edited", value={**request.payload, "order_id": "KS-20457"}, by="Ada", reason="she called us")


llmtrace.configure(notify=look)


@llmtrace.tool(review="when ungrounded")
def refund(order_id: str, amount: float) -> str:
    "Refund an order."
    return f"refunded {amount} EUR for {order_id}"


tools = llmtrace.Tools(refund)
client = scripted([("refund", {"order_id": "KS-20431", "amount": 42})], "Your money is on its way.")


@llmtrace.agent
def support(task: str) -> str:
    messages: list = [{"role": "user", "content": task}]
    while True:
        m = client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools.openai()).choices[0].message
        messages += [m, *tools.run(m)]
        if not m.tool_calls:
            return m.content
        print("the model is told:", messages[-1]["content"])


print(support("I would like my 42 EUR back."))
