"""An agent on vLLM in its own process: a batch of prompts, and a chat whose tool call is read from the text and judged.

    MODEL=Qwen/Qwen3-0.6B python examples/on_vllm/in_process_agent.py
    llmtrace show

``LLM.chat`` gives text. What llmtrace finds in it is on the span; the program itself reads the call with a parser of its own
choice, here the plainest there is.
"""

from __future__ import annotations

import json
import os
import re

from vllm import LLM, SamplingParams
from vllm.sampling_params import StructuredOutputsParams

import llmtrace

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather forecast of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
            "required": ["city"],
        },
    },
}
CALL = r'<tool_call>\n\{"name": "get_weather", "arguments": \{"city": "[A-Z][a-z]{2,8}", "days": [0-9]\}\}\n</tool_call>'


@llmtrace.tool(on_invalid="record")
def get_weather(city: str, days: int = 1) -> dict:
    "The weather forecast of a city."
    return {"city": city, "days": days, "forecast": "rain"}


@llmtrace.agent
def weather(llm: LLM, task: str) -> dict:
    asked = SamplingParams(max_tokens=80, seed=3, structured_outputs=StructuredOutputsParams(regex=CALL))
    (answer,) = llm.chat([{"role": "user", "content": task}], asked, tools=[TOOL], use_tqdm=False)
    call = json.loads(re.search(r"\{.*\}", answer.outputs[0].text, re.DOTALL)[0])
    return get_weather(**call["arguments"])


def main() -> None:
    llmtrace.configure()
    llm = LLM(os.environ["MODEL"], max_model_len=2048, enforce_eager=True, disable_log_stats=False)
    print(weather(llm, "How will the weather be in Paris?"))
    with llmtrace.span("summaries"):
        outputs = llm.generate(
            [f"Paris in {month}:" for month in ("May", "June", "July")], SamplingParams(max_tokens=20), use_tqdm=False
        )
    print(len(outputs), "summaries")


if __name__ == "__main__":  # vLLM's child processes import this file again
    main()
