"""Two agents of openai-agents, a tool and a hand-off; no line of theirs is about tracing.

    python examples/13_openai_agents.py
    llmtrace show

The framework's own tracing sends to OpenAI and needs a key; it is off here, and llmtrace does not need it.
"""

from __future__ import annotations

import asyncio

import openai
from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled

import llmtrace
from stand_in import scripted

llmtrace.configure()
set_tracing_disabled(True)

client = scripted(
    [("transfer_to_orders", {})],
    [("look_up", {"order_id": "KS-20457"})],
    "The blue kettle of order KS-20457 is on its way.",
    client=openai.AsyncOpenAI,
)
model = OpenAIChatCompletionsModel("gpt-4o", client)


@function_tool
def look_up(order_id: str) -> str:
    "Find an order by its number."
    return f"{order_id}: blue kettle, on its way"


orders = Agent(name="orders", instructions="You know all orders.", tools=[look_up], model=model)
desk = Agent(name="desk", instructions="You find the one who can help.", handoffs=[orders], model=model)


async def main() -> None:
    print((await Runner.run(desk, "Where is order KS-20457?")).final_output)
    await client.close()


asyncio.run(main())
