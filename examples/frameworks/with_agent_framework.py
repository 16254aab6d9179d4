"""Microsoft's Agent Framework tells of itself by OpenTelemetry: one line turns that on, one llmtrace. Needs
`agent-framework-core` and `agent-framework-openai`."""

import asyncio

from agent_framework import Agent
from agent_framework.observability import enable_instrumentation
from agent_framework.openai import OpenAIChatCompletionClient

import llmtrace
from stand_in import model

llmtrace.configure()
enable_instrumentation(enable_sensitive_data=True)


def look_up(order_id: str) -> dict:
    """Look up an order."""
    return {"order_id": order_id, "status": "on its way to Bonn"}


async def main(url: str) -> None:
    client = OpenAIChatCompletionClient(model="gpt-4o", base_url=url, api_key="none")
    agent = Agent(client, name="support", tools=[look_up])
    print((await agent.run("Where are my orders?")).text)
    print("".join([update.text async for update in agent.run("Where are my orders?", stream=True)]))


with model() as server:
    asyncio.run(main(server.url))
