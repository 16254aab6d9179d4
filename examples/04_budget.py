"""An agent that never stops, held by a budget: stopped before its next model call, or only recorded.

python examples/04_budget.py
llmtrace ls
"""

from __future__ import annotations

import llmtrace
from llmtrace.errors import BudgetExceeded
from stand_in import scripted

# prices in USD per million tokens; with llmtrace-otel[prices] those of the usual models are known
llmtrace.configure(prices={"gpt-4o": {"input": 2.5, "output": 10.0}})


@llmtrace.tool
def search(query: str) -> list[str]:
    "Search the web."
    return [f"a page about {query}"]


client, tools = scripted([("search", {"query": "the answer"})]), llmtrace.Tools(search)


def look_for_it(task: str) -> str:
    messages: list = [{"role": "user", "content": task}]
    for _ in range(8):
        message = client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools.openai()).choices[0].message
        messages += [message, *tools.run(message)]
    return "nothing found"


stopped = llmtrace.agent(name="stopped", budget=llmtrace.Budget(calls=4, usd=0.10))(look_for_it)
recorded = llmtrace.agent(name="recorded", budget=llmtrace.Budget(calls=4, on_exceed="record"))(look_for_it)

with llmtrace.Budget(usd=1.00) as spent:  # the same as a block, to look at what is spent so far
    print("recorded:", recorded("What is the answer?"))
    print(f"          {spent.calls} model calls, {spent.tokens} tokens, ${spent.usd:.4f}")

try:
    stopped("What is the answer?")
except BudgetExceeded as error:
    print("stopped: ", error)
