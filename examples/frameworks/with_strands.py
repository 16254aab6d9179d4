"""Strands tells of itself by OpenTelemetry: there is nothing to turn on but llmtrace. Needs `strands-agents[openai]`."""

from strands import Agent, tool
from strands.models.openai import OpenAIModel

import llmtrace
from stand_in import model

llmtrace.configure()


@tool
def look_up(order_id: str) -> dict:
    """Look up an order.

    Args:
        order_id: The number of the order.
    """
    return {"order_id": order_id, "status": "on its way to Bonn"}


with model() as server:
    for stream in (False, True):
        client = OpenAIModel(client_args={"base_url": server.url, "api_key": "none"}, model_id="gpt-4o", stream=stream)
        agent = Agent(client, tools=[look_up], name="support", callback_handler=None)
        print(str(agent("Where are my orders?")).strip())
