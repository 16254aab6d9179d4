"""Pydantic AI: an agent, whole and streamed."""

import asyncio
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


def line() -> None:
    Agent.instrument_all()


def agent(url: str) -> Any:
    made: Any = Agent(OpenAIChatModel("gpt-4o", provider=OpenAIProvider(base_url=url, api_key="none")), name="support")

    @made.tool_plain
    def look_up(order_id: str) -> dict[str, str]:
        """Look up an order."""
        return {"order_id": order_id, "status": "on its way to Bonn"}

    return made


def whole(url: str, conversation: str) -> str:
    return str(agent(url).run_sync("Where are my orders?", conversation_id=conversation).output)


def streamed(url: str, conversation: str) -> str:
    async def main() -> str:
        async with agent(url).run_stream("Where are my orders?", conversation_id=conversation) as run:
            return str([text async for text in run.stream_text()][-1])

    return asyncio.run(main())
