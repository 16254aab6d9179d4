"""DSPy: a ReAct agent on DSPy's own engine. Its models name a tool in their text, one at a time, without ids."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import dspy

HAS_CONVERSATIONS = False
"""The framework has no id of a conversation."""
HAS_STREAMS = False
"""An agent's run is not streamed."""
HAS_CALL_IDS = False
"""Nor does a call of a tool have an id."""
MODEL_CALLS = 4
STEPS = (
    ("I look at the first.", "look_up", {"order_id": "KS-1"}),
    ("And at the second.", "look_up", {"order_id": 2}),
    ("That is all.", "finish", {}),
)


def look_up(order_id: str) -> dict:
    """Look up an order."""
    return {"order_id": order_id, "status": "on its way to Bonn"}


def line() -> None:
    from openinference.instrumentation.dspy import DSPyInstrumentor

    DSPyInstrumentor().instrument()


def say(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The next step, by what the model is told of those before."""
    asked = json.dumps(messages[-1]["content"])
    done = len(set(re.findall(r"tool_name_\d", asked)))
    if "## reasoning ##" in asked:
        fields = {"reasoning": "It was found.", "answer": "KS-1 is on its way."}
    else:
        thought, tool, arguments = STEPS[min(done, len(STEPS) - 1)]
        fields = {"next_thought": thought, "next_tool_name": tool, "next_tool_args": json.dumps(arguments)}
    text = "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in fields.items())
    return {"role": "assistant", "content": f"{text}\n\n[[ ## completed ## ]]"}


def model() -> Any:
    from llmtrace.demo.server import ModelServer

    return ModelServer(say, pace=0)


def whole(url: str, conversation: str) -> str:
    lm = dspy.LM("openai/gpt-4o", api_base=url, api_key="none", cache=False, num_retries=0)
    with dspy.context(lm=lm):
        return str(dspy.ReAct("question -> answer", tools=[look_up])(question="Where are my orders?").answer)


streamed = whole
