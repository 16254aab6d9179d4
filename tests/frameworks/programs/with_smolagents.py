"""smolagents: a tool-calling agent."""

from typing import Any

from smolagents import OpenAIServerModel, ToolCallingAgent, tool

ANSWER_BY = "final_answer"

HAS_CONVERSATIONS = False
"""The framework has no id of a conversation."""


@tool
def look_up(order_id: str) -> dict:
    """Look up an order.

    Args:
        order_id: The number of the order.
    """
    return {"order_id": order_id, "status": "on its way to Bonn"}


def line() -> None:
    from openinference.instrumentation.smolagents import SmolagentsInstrumentor

    SmolagentsInstrumentor().instrument()


def agent(url: str) -> Any:
    client = OpenAIServerModel("gpt-4o", api_base=url, api_key="none", client_kwargs={"max_retries": 0})
    return ToolCallingAgent([look_up], client, name="support", description="Helps customers.", verbosity_level=0)


def whole(url: str, conversation: str) -> str:
    return str(agent(url).run("Where are my orders?"))


def streamed(url: str, conversation: str) -> str:
    return str(list(agent(url).run("Where are my orders?", stream=True))[-1].output)
