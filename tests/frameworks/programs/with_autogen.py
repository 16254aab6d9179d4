"""AutoGen: an assistant agent."""

import asyncio
from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_ext.models.openai import OpenAIChatCompletionClient

HAS_CONVERSATIONS = False
"""The framework has no id of a conversation."""


async def look_up(order_id: str) -> dict:
    """Look up an order."""
    return {"order_id": order_id, "status": "on its way to Bonn"}


def agent(url: str, *, stream: bool = False) -> Any:
    client = OpenAIChatCompletionClient(model="gpt-4o", base_url=url, api_key="none", max_retries=0)
    return AssistantAgent(
        "support", client, tools=[look_up], description="Helps.", reflect_on_tool_use=True, model_client_stream=stream
    )


def whole(url: str, conversation: str) -> str:
    return str(asyncio.run(agent(url).run(task="Where are my orders?")).messages[-1].content)


def streamed(url: str, conversation: str) -> str:
    async def main() -> str:
        items = [item async for item in agent(url, stream=True).run_stream(task="Where are my orders?")]
        return str(items[-1].messages[-1].content)

    return asyncio.run(main())
