"""Google's Agent Development Kit tells of itself by OpenTelemetry: there is nothing to turn on but llmtrace. Needs `google-adk`
and, for a model that is not Google's, `litellm`."""

import asyncio

from google.adk.agents import LlmAgent, RunConfig
from google.adk.agents.run_config import StreamingMode
from google.adk.models.lite_llm import LiteLlm
from google.adk.runners import InMemoryRunner
from google.genai import types

import llmtrace
from stand_in import model

llmtrace.configure()


def look_up(order_id: str) -> dict:
    """Look up an order."""
    return {"order_id": order_id, "status": "on its way to Bonn"}


async def main(url: str) -> None:
    client = LiteLlm("openai/gpt-4o", api_base=url, api_key="none")
    for mode in (StreamingMode.NONE, StreamingMode.SSE):
        runner = InMemoryRunner(LlmAgent(name="support", model=client, tools=[look_up]), app_name="orders")
        session = await runner.session_service.create_session(app_name="orders", user_id="ada")
        asked = types.Content(role="user", parts=[types.Part(text="Where are my orders?")])
        run = runner.run_async(
            user_id="ada", session_id=session.id, new_message=asked, run_config=RunConfig(streaming_mode=mode)
        )
        print([event.content.parts[0].text async for event in run if event.is_final_response()][-1])


with model() as server:
    asyncio.run(main(server.url))
