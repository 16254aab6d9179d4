"""A LangChain agent with a tool, and a LangGraph graph that waits for a person; no line of either is about tracing.

    python examples/12_langgraph.py
    llmtrace show

`configure()` puts the callbacks in. The pause is no error: the trace shows the question, and the next one the answer.
"""

from __future__ import annotations

from typing import TypedDict

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

import llmtrace
from stand_in import scripted

llmtrace.configure()

stand_in = scripted([("look_up", {"order_id": "KS-20457"})], "The blue kettle of order KS-20457 is on its way.")
model = ChatOpenAI(model="gpt-4o", client=stand_in.chat.completions, api_key="none")


@tool
def look_up(order_id: str) -> str:
    "Find an order by its number."
    return f"{order_id}: blue kettle, on its way"


agent = create_agent(model, [look_up], name="support")
print(agent.invoke({"messages": [("user", "Where is order KS-20457?")]})["messages"][-1].content)


class Refund(TypedDict):
    amount: int
    answer: str


def ask(state: Refund) -> dict[str, str]:
    return {"answer": interrupt({"refund?": state["amount"]})}


graph = StateGraph(Refund)
graph.add_node("ask", ask)
graph.add_edge(START, "ask")
desk = graph.compile(checkpointer=MemorySaver(), name="desk")
thread = {"configurable": {"thread_id": "KS-20457"}}
print("waits for:", desk.invoke({"amount": 42, "answer": ""}, thread)["__interrupt__"][0].value)
print("was told:", desk.invoke(Command(resume="yes"), thread)["answer"])
