"""CrewAI: a crew of one agent."""

import json
from typing import Any

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool

HAS_CONVERSATIONS = False
"""The framework has no id of a conversation."""


@tool("look_up")
def look_up(order_id: str) -> str:
    """Look up an order."""
    return json.dumps({"order_id": order_id, "status": "on its way to Bonn"})


def line() -> None:
    from openinference.instrumentation.crewai import CrewAIInstrumentor

    CrewAIInstrumentor().instrument()


def crew(url: str, *, stream: bool = False) -> Any:
    llm = LLM(model="openai/gpt-4o", base_url=url, api_key="none", stream=stream, max_retries=0)
    agent = Agent(role="support", goal="Help customers", backstory="You help.", llm=llm, tools=[look_up], max_retry_limit=0)
    task = Task(description="Where are my orders?", expected_output="One line.", agent=agent)
    return Crew(agents=[agent], tasks=[task], stream=stream)


def whole(url: str, conversation: str) -> str:
    return str(crew(url).kickoff())


def streamed(url: str, conversation: str) -> str:
    running = crew(url, stream=True).kickoff()
    for _ in running:
        pass
    return str(running.result)
