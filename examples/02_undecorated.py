"""A program that knows nothing of llmtrace. Trace it as it is:

    llmtrace run examples/02_undecorated.py
    llmtrace show
    llmtrace why

Its model forgets a required argument, the program fills in what it likes, and the answer sounds fine. The trace shows the call
that broke the tool's schema, the moment the model made it.
"""

from __future__ import annotations

import json

from stand_in import scripted  # stands for: from openai import OpenAI

TOOL = {
    "name": "book_table",
    "description": "Book a table.",
    "parameters": {
        "type": "object",
        "properties": {"day": {"type": "string", "format": "date"}, "people": {"type": "integer", "minimum": 1}},
        "required": ["day", "people"],
    },
}

client = scripted([("book_table", {"day": "2031-05-17", "persons": 6})], "Your table is booked.")


def book_table(day: str, people: int = 2, **_: object) -> str:
    return f"a table for {people} on {day}"


messages: list = [{"role": "user", "content": "A table for six on 17 May 2031, please."}]
while True:
    tools = [{"type": "function", "function": TOOL}]
    answer = client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools)
    message = answer.choices[0].message
    messages.append(message)
    if not message.tool_calls:
        break
    for call in message.tool_calls:
        result = book_table(**json.loads(call.function.arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})

print(message.content)
