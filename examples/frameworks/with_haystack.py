"""Haystack needs no line but llmtrace's. Needs `haystack-ai`."""

from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import tool
from haystack.utils import Secret

import llmtrace
from stand_in import model

llmtrace.configure()


@tool
def look_up(order_id: str) -> dict:
    """Look up an order."""
    return {"order_id": order_id, "status": "on its way to Bonn"}


with model() as server:
    for callback in (None, lambda _: None):
        client = OpenAIChatGenerator(Secret.from_token("none"), "gpt-4o", callback, server.url)
        agent = Agent(chat_generator=client, tools=[look_up])
        print(agent.run([ChatMessage.from_user("Where are my orders?")])["last_message"].text)
