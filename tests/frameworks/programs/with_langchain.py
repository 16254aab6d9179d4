"""LangChain: an agent with a checkpointer, whose thread is the conversation."""

from typing import Any

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver


def look_up(order_id: str) -> dict:
    """Look up an order."""
    return {"order_id": order_id, "status": "on its way to Bonn"}


def line() -> None:
    from openinference.instrumentation.langchain import LangChainInstrumentor

    LangChainInstrumentor().instrument()


def agent(url: str) -> Any:
    model = ChatOpenAI(model="gpt-4o", base_url=url, api_key="none", max_retries=0)
    return create_agent(model, tools=[look_up], name="support", checkpointer=InMemorySaver())


def whole(url: str, conversation: str) -> str:
    asked = {"messages": [{"role": "user", "content": "Where are my orders?"}]}
    return str(agent(url).invoke(asked, {"configurable": {"thread_id": conversation}})["messages"][-1].content)


def streamed(url: str, conversation: str) -> str:
    asked = {"messages": [{"role": "user", "content": "Where are my orders?"}]}
    states = list(agent(url).stream(asked, {"configurable": {"thread_id": conversation}}, stream_mode="values"))
    return str(states[-1]["messages"][-1].content)
