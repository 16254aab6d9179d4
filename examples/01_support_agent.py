"""A support agent that looks an order up and refunds it; a tool call that breaks its schema never runs.

    python examples/01_support_agent.py
    llmtrace show

With OPENAI_API_KEY or OPENAI_BASE_URL set it talks to that server, and MODEL names the model. Without, it talks to the demo's
scripted model on this machine, whose first try at a refund has an amount of the wrong type: the tool answers what is wrong,
and the next try is right. The trace is then *recovered*.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from openai import DefaultHttpxClient, OpenAI

import llmtrace
from llmtrace.demo.server import MODEL, ModelServer

# local store; instruments what is installed. A model that no price list knows is given one, in USD per million tokens
llmtrace.configure(prices={MODEL: {"input": 0.15, "output": 0.6}})

ORDERS = {"KS-20457": {"order_id": "KS-20457", "customer": "Ada Reyes", "item": "blue kettle", "total": 42.0}}


@llmtrace.tool
def look_up(order_id: str) -> dict:
    "Find an order by its number."
    return ORDERS[order_id]


@llmtrace.tool(on_invalid="reply")
def refund(order_id: str, amount: float) -> dict:
    "Refund an order."
    return {"order_id": order_id, "amount": amount, "status": "refunded"}


tools = llmtrace.Tools(look_up, refund)


@llmtrace.agent(budget=llmtrace.Budget(usd=0.10, calls=20))
def support(task: str) -> str:
    messages: list = [{"role": "user", "content": task}]
    while True:
        m = client.chat.completions.create(model=model, messages=messages, tools=tools.openai()).choices[0].message
        messages.append(m)
        if not m.tool_calls:
            return m.content
        messages += tools.run(m)  # validates the raw calls, runs them, joins by call id, answers what the model can act on


with ExitStack() as stack:
    if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"):
        client, model = OpenAI(), os.environ.get("MODEL", "gpt-4o")
    else:
        server = stack.enter_context(ModelServer())
        client = OpenAI(base_url=server.url, api_key="none", http_client=DefaultHttpxClient(trust_env=False))
        model = MODEL
    print(support("Ada Reyes here. The blue kettle of order KS-20457 leaks. Please give me my money back."))
