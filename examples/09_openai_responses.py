"""An agent on OpenAI's Responses API, and an answer that is made in the background.

    python examples/09_openai_responses.py
    llmtrace show

The model's first call breaks the tool's schema: it is answered with what is wrong and never runs. The report is asked for in
the background; its span says that it is queued, and the answer is on the span that fetches it.
"""

from __future__ import annotations

import llmtrace
from stand_in import scripted_responses  # stands for: from openai import OpenAI

llmtrace.configure()

client = scripted_responses(
    [("look_up", {"order": "KS-20457"})],
    [("look_up", {"order_id": "KS-20457"})],
    "The blue kettle of order KS-20457 is on its way.",
)


@llmtrace.tool(on_invalid="reply")
def look_up(order_id: str) -> dict:
    "Find an order by its number."
    return {"order_id": order_id, "item": "blue kettle", "state": "on its way"}


tools = llmtrace.Tools(look_up)


@llmtrace.agent
def support(task: str) -> str:
    items: list = [{"role": "user", "content": task}]
    while True:
        answer = client.responses.create(
            model="gpt-4o", instructions="Answer in one line.", input=items, tools=tools.openai("responses")
        )
        results = tools.run(answer)
        if not results:
            return answer.output_text
        items += [*answer.output, *results]


@llmtrace.workflow
def report() -> str:
    made = client.responses.create(model="gpt-4o", input="Write the report.", background=True)
    print(f"the report is {made.status}")
    return client.responses.retrieve(made.id).status


print(support("Where is order KS-20457?"))
print(f"the report is {report()}")
