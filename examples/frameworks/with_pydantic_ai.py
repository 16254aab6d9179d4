"""Pydantic AI tells of itself by OpenTelemetry: one line turns that on, one llmtrace. Needs `pydantic-ai-slim[openai]`."""

import asyncio

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

import llmtrace
from stand_in import model

llmtrace.configure()
Agent.instrument_all()

with model() as server:
    agent = Agent(OpenAIChatModel("gpt-4o", provider=OpenAIProvider(base_url=server.url, api_key="none")), name="support")

    @agent.tool_plain
    def look_up(order_id: str) -> dict[str, str]:
        """Look up an order."""
        return {"order_id": order_id, "status": "on its way to Bonn"}

    async def streamed() -> str:
        async with agent.run_stream("Where are my orders?") as run:
            return [text async for text in run.stream_text()][-1]

    print(agent.run_sync("Where are my orders?").output)
    print(asyncio.run(streamed()))
