"""LlamaIndex: a function agent, whose memory has the conversation's id."""

import asyncio
from typing import Any

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.memory import Memory
from llama_index.llms.openai_like import OpenAILike


def look_up(order_id: str) -> dict:
    """Look up an order."""
    return {"order_id": order_id, "status": "on its way to Bonn"}


def line() -> None:
    from openinference.instrumentation.llama_index import LlamaIndexInstrumentor

    LlamaIndexInstrumentor().instrument()


def agent(url: str, *, streaming: bool) -> Any:
    llm = OpenAILike("gpt-4o", api_base=url, api_key="none", is_chat_model=True, is_function_calling_model=True, max_retries=0)
    return FunctionAgent(name="support", description="Helps.", tools=[look_up], llm=llm, streaming=streaming)


def whole(url: str, conversation: str) -> str:
    async def main() -> str:
        memory = Memory.from_defaults(session_id=conversation)
        return str(await agent(url, streaming=False).run("Where are my orders?", memory=memory))

    return asyncio.run(main())


def streamed(url: str, conversation: str) -> str:
    async def main() -> str:
        memory = Memory.from_defaults(session_id=conversation)
        running = agent(url, streaming=True).run("Where are my orders?", memory=memory)
        async for _ in running.stream_events():
            pass
        return str(await running)

    return asyncio.run(main())
