"""An agent on a served vLLM: its trace goes on into the engine.

    llmtrace receive                                              # in another terminal: takes the server's spans
    vllm serve MODEL --enable-auto-tool-choice --tool-call-parser hermes --otlp-traces-endpoint http://localhost:4317 \
        --enable-per-request-metrics --enable-prompt-tokens-details
    MODEL=MODEL python examples/on_vllm/served_agent.py
    llmtrace show

OPENAI_BASE_URL names the server (default: http://localhost:8000/v1). ``scripts/vllm_demo`` does all of it, with a tiny model
that says whatever it likes: calls that break their schema are answered with what is wrong, and do not run.
"""

from __future__ import annotations

import os

from openai import OpenAI

import llmtrace

llmtrace.configure()

client = OpenAI(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:8000/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "none"),
)
model = os.environ.get("MODEL", "tiny")


@llmtrace.tool(on_invalid="reply")
def get_weather(city: str, days: int = 1) -> dict:
    "The weather forecast of a city."
    return {"city": city, "days": days, "forecast": "rain"}


tools = llmtrace.Tools(get_weather, on_invalid="reply")


@llmtrace.agent(budget=llmtrace.Budget(calls=4, on_exceed="record"))
def weather(task: str) -> str:
    messages: list = [{"role": "user", "content": task}]
    for turn in range(3):
        m = (
            client.chat.completions.create(
                model=model,
                messages=messages,
                tools=tools.openai(),
                tool_choice="required" if turn == 0 else "auto",
                max_tokens=150,
                seed=turn,
            )
            .choices[0]
            .message
        )
        if not m.tool_calls:
            return m.content or ""
        messages += [m.model_dump(include={"role", "content", "tool_calls"}, exclude_none=True), *tools.run(m)]
    return "no answer after three turns"


if __name__ == "__main__":
    print(weather("How will the weather be in Paris in the next three days?"))
