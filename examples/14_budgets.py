"""Budgets over runs and over streams: each user has a daily one, kept in the store; a stream that passes its own ends early.

python examples/14_budgets.py
llmtrace ls
"""

from __future__ import annotations

import llmtrace
from llmtrace.errors import BudgetExceeded
from stand_in import scripted

llmtrace.configure()
client = scripted("word " * 300)
daily = llmtrace.Budget(calls=3, scope="user", per="day", name="example 14")


def ask(task: str, **options: object) -> object:
    return client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": task}], **options)


@llmtrace.agent(budget=daily)
def support(task: str) -> None:
    ask(task)


@llmtrace.agent(budget=llmtrace.Budget(output_tokens=50))
def storyteller(task: str) -> None:
    for _ in ask(task, stream=True):
        pass


for user in ("ada", "ada", "bob", "ada", "ada"):
    with llmtrace.context(user=user):
        try:
            support("Where is my order?")
            print(f"{user}: answered")
        except BudgetExceeded as error:
            print(f"{user}: {error}")

try:
    storyteller("Tell me a story.")
except BudgetExceeded as error:
    print(f"story: stopped at about {error.allowed:.0f} of 300 words, by {error.spenders[0].name}")
