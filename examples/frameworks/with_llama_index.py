"""LlamaIndex needs no line but llmtrace's. Needs `llama-index-core` and `llama-index-llms-openai-like`."""

import asyncio

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai_like import OpenAILike

import llmtrace
from stand_in import model

llmtrace.configure()


def look_up(order_id: str) -> dict:
    """Look up an order."""
    return {"order_id": order_id, "status": "on its way to Bonn"}


async def main(url: str) -> None:
    for streaming in (False, True):
        llm = OpenAILike("gpt-4o", api_base=url, api_key="none", is_chat_model=True, is_function_calling_model=True)
        agent = FunctionAgent(name="support", tools=[look_up], llm=llm, streaming=streaming)
        print(await agent.run("Where are my orders?"))


with model() as server:
    asyncio.run(main(server.url))
