"""CrewAI needs no line but llmtrace's. Needs `crewai`."""

import json

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool

import llmtrace
from stand_in import model

llmtrace.configure()


@tool("look_up")
def look_up(order_id: str) -> str:
    """Look up an order."""
    return json.dumps({"order_id": order_id, "status": "on its way to Bonn"})


with model() as server:
    for stream in (False, True):
        llm = LLM(model="openai/gpt-4o", base_url=server.url, api_key="none", stream=stream)
        agent = Agent(role="support", goal="Help customers", backstory="You help.", llm=llm, tools=[look_up])
        task = Task(description="Where are my orders?", expected_output="One line.", agent=agent)
        print(Crew(agents=[agent], tasks=[task]).kickoff())
