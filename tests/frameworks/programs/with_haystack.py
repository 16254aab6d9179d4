"""Haystack: an agent, which has no name."""

from typing import Any

from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import tool
from haystack.utils import Secret

HAS_CONVERSATIONS = False
"""The framework has no id of a conversation."""


@tool
def look_up(order_id: str) -> dict:
    """Look up an order."""
    return {"order_id": order_id, "status": "on its way to Bonn"}


def line() -> None:
    from openinference.instrumentation.haystack import HaystackInstrumentor

    HaystackInstrumentor().instrument()


def ask(url: str, callback: Any) -> str:
    client = OpenAIChatGenerator(Secret.from_token("none"), "gpt-4o", callback, url, max_retries=0)
    agent = Agent(chat_generator=client, tools=[look_up])
    return str(agent.run([ChatMessage.from_user("Where are my orders?")])["last_message"].text)


def whole(url: str, conversation: str) -> str:
    return ask(url, None)


def streamed(url: str, conversation: str) -> str:
    return ask(url, lambda _: None)
