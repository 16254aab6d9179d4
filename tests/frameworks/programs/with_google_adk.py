"""Google ADK: an agent with a session. The model is reached by LiteLLM."""

import asyncio
from typing import Any

from google.adk.agents import LlmAgent, RunConfig
from google.adk.agents.run_config import StreamingMode
from google.adk.models.lite_llm import LiteLlm
from google.adk.runners import InMemoryRunner
from google.genai import types


def look_up(order_id: str) -> dict:
    """Look up an order."""
    return {"order_id": order_id, "status": "on its way to Bonn"}


async def ask(url: str, conversation: str, mode: Any) -> str:
    model = LiteLlm("openai/gpt-4o", api_base=url, api_key="none", num_retries=0)
    agent = LlmAgent(name="support", description="Helps.", model=model, tools=[look_up])
    runner = InMemoryRunner(agent, app_name="orders")
    await runner.session_service.create_session(app_name="orders", user_id="ada", session_id=conversation)
    asked = types.Content(role="user", parts=[types.Part(text="Where are my orders?")])
    config = RunConfig(streaming_mode=mode)
    run = runner.run_async(user_id="ada", session_id=conversation, new_message=asked, run_config=config)
    events = [event async for event in run if event.is_final_response()]
    return str(events[-1].content.parts[0].text if events[-1].content else events[-1].error_message)


def whole(url: str, conversation: str) -> str:
    return asyncio.run(ask(url, conversation, StreamingMode.NONE))


def streamed(url: str, conversation: str) -> str:
    return asyncio.run(ask(url, conversation, StreamingMode.SSE))
