"""smolagents needs no line but llmtrace's. Needs `smolagents[openai]`."""

from smolagents import OpenAIServerModel, ToolCallingAgent, tool

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


with model(answer_by="final_answer") as server:
    client = OpenAIServerModel("gpt-4o", api_base=server.url, api_key="none")
    agent = ToolCallingAgent([look_up], client, name="support", description="Helps customers.", verbosity_level=0)
    print(agent.run("Where are my orders?"))
    print(list(agent.run("Where are my orders?", stream=True))[-1].output)
