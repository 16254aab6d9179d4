"""Strands: an agent, whose own spans need no line."""

from typing import Any

from strands import Agent, tool
from strands.models.openai import OpenAIModel

HAS_CONVERSATIONS = False
"""The framework has no id of a conversation."""


@tool
def look_up(order_id: str) -> dict:
    """Look up an order.

    Args:
        order_id: The number of the order.
    """
    return {"order_id": order_id, "status": "on its way to Bonn"}


def ask(url: str, *, stream: bool) -> str:
    client: Any = OpenAIModel(client_args={"base_url": url, "api_key": "none"}, model_id="gpt-4o", stream=stream)
    return str(Agent(client, tools=[look_up], name="support", callback_handler=None)("Where are my orders?")).strip()


def whole(url: str, conversation: str) -> str:
    return ask(url, stream=False)


def streamed(url: str, conversation: str) -> str:
    return ask(url, stream=True)
