"""openai-agents: an agent, whose runs have the group of a conversation."""

import asyncio
from typing import Any

from agents import Agent, OpenAIChatCompletionsModel, RunConfig, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI


@function_tool
def look_up(order_id: str) -> dict:
    """Look up an order."""
    return {"order_id": order_id, "status": "on its way to Bonn"}


def line() -> None:
    from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor

    set_tracing_disabled(False)  # it is a processor of the framework's own traces
    OpenAIAgentsInstrumentor().instrument()


def agent(url: str) -> Any:
    model = OpenAIChatCompletionsModel("gpt-4o", AsyncOpenAI(base_url=url, api_key="none", max_retries=0))
    return Agent(name="support", model=model, tools=[look_up])


def whole(url: str, conversation: str) -> str:
    return str(Runner.run_sync(agent(url), "Where are my orders?", run_config=RunConfig(group_id=conversation)).final_output)


def streamed(url: str, conversation: str) -> str:
    async def main() -> str:
        run = Runner.run_streamed(agent(url), "Where are my orders?", run_config=RunConfig(group_id=conversation))
        async for _ in run.stream_events():
            pass
        return str(run.final_output)

    return asyncio.run(main())
