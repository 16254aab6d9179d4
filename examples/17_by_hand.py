"""A model behind a gateway of your own, and a search index: recorded by hand, checked and judged as if they were instrumented.

python examples/17_by_hand.py
llmtrace show
"""

from __future__ import annotations

import llmtrace

llmtrace.configure(prices={"house-1": {"input": 0.5, "output": 1.5}})

HANDBOOK = {"refund": "Refunds take 5 days.", "delivery": "Orders are delivered in 2 days."}


def gateway(messages: list) -> dict:
    "Stands in for a service that no instrumentor knows."
    page = messages[-1]["content"]
    return {"text": f"The handbook says: {page}", "usage": {"input_tokens": 20, "output_tokens": 8}}


def search(word: str) -> list[dict]:
    with llmtrace.retrieval(word, source="handbook", top_k=1) as retrieval:
        retrieval.documents = [{"id": key, "content": text} for key, text in HANDBOOK.items() if word in key]
    llmtrace.current_span().set_attribute("pages", len(retrieval.documents))  # of the agent: the search has ended
    return list(retrieval.documents)


def ask(messages: list) -> str:
    with llmtrace.inference("house", model="house-1", messages=messages) as call:
        reply = gateway(messages)
        call.output, call.usage = reply["text"], reply["usage"]
    return reply["text"]


@llmtrace.agent(name="handbook", budget=llmtrace.Budget(usd=0.01))
def answer(question: str) -> str:
    pages = search(question.rsplit(maxsplit=1)[-1].strip("?"))
    return ask([{"role": "user", "content": question}, {"role": "user", "content": pages[0]["content"]}])


print(answer("How long is a refund?"))
with llmtrace.suppress():
    answer("How long is a delivery?")  # leaves no trace
