"""Agent Framework: an agent with its own spans, whose session is the conversation."""

import asyncio
from typing import Any

from agent_framework import Agent
from agent_framework.openai import OpenAIChatCompletionClient


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
        support = agent(url)
        return str((await support.run("Where are my orders?", session=support.create_session(session_id=conversation))).text)

    return asyncio.run(main())


def streamed(url: str, conversation: str) -> str:
    async def main() -> str:
        support = agent(url)
        session = support.create_session(session_id=conversation)
        return "".join([update.text async for update in support.run("Where are my orders?", stream=True, session=session)])

    return asyncio.run(main())
