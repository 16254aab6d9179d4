"""An async agent whose model asks for three things at once: `arun` runs the tools at the same time.

python examples/05_parallel_tools.py
llmtrace show
"""

from __future__ import annotations

import asyncio
import time

import openai

import llmtrace
from stand_in import scripted

llmtrace.configure()


@llmtrace.tool
async def weather(city: str) -> str:
    "The weather of a city."
    with llmtrace.span("ask the station"):
        await asyncio.sleep(0.3)
    return f"sun in {city}"


@llmtrace.tool
def population(city: str) -> int:
    "How many people live in a city."
    time.sleep(0.3)  # a plain function runs in a thread, and its span keeps its parent
    return {"Rome": 2_748_109}.get(city, 0)


tools = llmtrace.Tools(weather, population)
client = scripted(
    [("weather", {"city": "Rome"}), ("weather", {"city": "Oslo"}), ("population", {"city": "Rome"})],
    "Sun in Rome and Oslo; 2,748,109 people live in Rome.",
    client=openai.AsyncOpenAI,
)


@llmtrace.agent
async def travel(task: str) -> str:
    messages: list = [{"role": "user", "content": task}]
    while True:
        answer = await client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools.openai())
        message = answer.choices[0].message
        messages.append(message)
        if not message.tool_calls:
            return message.content
        began = time.perf_counter()
        messages += await tools.arun(message)
        print(f"{len(message.tool_calls)} tools of 0.3 s each took {time.perf_counter() - began:.1f} s")


print(asyncio.run(travel("How is the weather in Rome and Oslo, and how many people live in Rome?")))
