"""Agent Framework: an agent with its own spans."""

import asyncio
from typing import Any

from agent_framework import Agent
from agent_framework.openai import OpenAIChatCompletionClient

HAS_CONVERSATIONS = False
"""A session without a service has no id."""


def look_up(order_id: str) -> dict:
    """Look up an order."""
    return {"order_id": order_id, "status": "on its way to Bonn"}


def line() -> None:
    from agent_framework.observability import enable_instrumentation

    enable_instrumentation(enable_sensitive_data=True)


def agent(url: str) -> Any:
    client = OpenAIChatCompletionClient(model="gpt-4o", base_url=url, api_key="none")
    return Agent(client, name="support", tools=[look_up])


def whole(url: str, conversation: str) -> str:
    async def main() -> str:
        return str((await agent(url).run("Where are my orders?")).text)

    return asyncio.run(main())


def streamed(url: str, conversation: str) -> str:
    async def main() -> str:
        return "".join([update.text async for update in agent(url).run("Where are my orders?", stream=True)])

    return asyncio.run(main())
