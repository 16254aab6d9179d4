"""AG2: an agent with its own spans."""

import asyncio
from typing import Any

from ag2 import Agent, tool
from ag2.config import OpenAIConfig

HAS_CONVERSATIONS = False
"""A stream's id is made for each question."""

middleware: list[Any] = []


@tool
def look_up(order_id: str) -> dict:
    """Look up an order."""
    return {"order_id": order_id, "status": "on its way to Bonn"}


def line() -> None:
    from ag2.middleware import TelemetryMiddleware

    middleware.append(TelemetryMiddleware(agent_name="support"))


def ask(url: str, *, streaming: bool) -> str:
    async def main() -> str:
        config = OpenAIConfig(model="gpt-4o", base_url=url, api_key="none", max_retries=0, streaming=streaming)
        support = Agent("support", config=config, tools=[look_up], middleware=middleware)
        return str((await support.ask("Where are my orders?")).body)

    return asyncio.run(main())


def whole(url: str, conversation: str) -> str:
    return ask(url, streaming=False)


def streamed(url: str, conversation: str) -> str:
    return ask(url, streaming=True)
