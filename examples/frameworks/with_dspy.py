"""DSPy needs no line but llmtrace's. Needs `dspy` and `litellm`. Its models say in a text of DSPy's own form which tool they
want, one at a time."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import dspy

import llmtrace
from llmtrace.demo.server import ModelServer
from stand_in import ANSWER

llmtrace.configure()

STEPS = (
    ("I look at the first.", "look_up", {"order_id": "KS-1"}),
    ("And at the second.", "look_up", {"order_id": 2}),
    ("That is all.", "finish", {}),
)


def look_up(order_id: str) -> dict:
    """Look up an order."""
    return {"order_id": order_id, "status": "on its way to Bonn"}


def say(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The next step, by what the model is told of those before."""
    asked = json.dumps(messages[-1]["content"])
    done = len(set(re.findall(r"tool_name_\d", asked)))
    if "## reasoning ##" in asked:
        fields = {"reasoning": "It was found.", "answer": ANSWER}
    else:
        thought, tool, arguments = STEPS[min(done, len(STEPS) - 1)]
        fields = {"next_thought": thought, "next_tool_name": tool, "next_tool_args": json.dumps(arguments)}
    text = "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in fields.items())
    return {"role": "assistant", "content": f"{text}\n\n[[ ## completed ## ]]"}


with ModelServer(say, pace=0) as server:
    for engine in ("auto", "litellm"):
        dspy.configure(lm=dspy.LM("openai/gpt-4o", api_base=server.url, api_key="none", engine=engine, cache=False))
        print(dspy.ReAct("question -> answer", tools=[look_up])(question="Where are my orders?").answer)
