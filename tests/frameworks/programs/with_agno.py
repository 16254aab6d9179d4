"""Agno: an agent with sessions. It catches the model's errors and returns them as the run's content."""

from typing import Any

from agno.agent import Agent
from agno.models.openai import OpenAIChat


def look_up(order_id: str) -> dict:
    """Look up an order."""
    return {"order_id": order_id, "status": "on its way to Bonn"}


def line() -> None:
    from openinference.instrumentation.agno import AgnoInstrumentor

    AgnoInstrumentor().instrument()


def agent(url: str) -> Any:
    model = OpenAIChat(id="gpt-4o", base_url=url, api_key="none", max_retries=0)
    return Agent(name="support", model=model, tools=[look_up], telemetry=False)


def whole(url: str, conversation: str) -> str:
    return str(agent(url).run("Where are my orders?", session_id=conversation).content)


def streamed(url: str, conversation: str) -> str:
    events = list(agent(url).run("Where are my orders?", session_id=conversation, stream=True))
    return "".join(str(event.content) for event in events if event.event == "RunContent" and event.content)
