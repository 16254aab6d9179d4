"""One scripted agent, traced by another writer: agent.py WRITER URL [stream]

It asks for two tools at once, one of them wrongly, and answers. Agent and tools are llmtrace's own, model calls are whoever's
``WRITER`` names (``native``: llmtrace's). LLMTRACE_STORE and LLMTRACE_INSTRUMENT say where to, and whether llmtrace is on too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import llmtrace

WRITER, URL, STREAM = sys.argv[1], sys.argv[2], sys.argv[3:] == ["stream"]
NOWHERE = "http://127.0.0.1:1"
"""Where writers that insist on an exporter send their spans to."""


def openai_client() -> Any:
    from openai import OpenAI

    return OpenAI(base_url=URL, api_key="none")


def openinference() -> Any:
    from openinference.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument()
    return openai_client()


def genai_openai() -> Any:
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument()
    return openai_client()


def openllmetry() -> Any:
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument()
    return openai_client()


def logfire() -> Any:
    import logfire

    logfire.configure(send_to_logfire=False, console=False)
    client = openai_client()
    logfire.instrument_openai(client)
    return client


def langfuse() -> Any:
    from langfuse import Langfuse
    from langfuse.openai import OpenAI

    Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url=NOWHERE, timeout=1)
    return OpenAI(base_url=URL, api_key="none")


def openlit() -> Any:
    import openlit

    os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "true"  # it knows no other word
    openlit.init(otlp_endpoint=NOWHERE, disable_metrics=True, pricing_json=sys.argv[0].replace("agent.py", "no_prices.json"))
    return openai_client()


WRITERS: dict[str, Callable[[], Any]] = {
    "native": openai_client,
    **{one.__name__: one for one in (openinference, genai_openai, openllmetry, logfire, langfuse, openlit)},
}


@llmtrace.tool
def look_up(order_id: str) -> dict[str, str]:
    "Look an order up."
    return {"order_id": order_id, "status": "on its way to Bonn"}


TOOLS = llmtrace.Tools(look_up)


def answer(client: Any, messages: list[Any]) -> Any:
    asked = {"model": "gpt-4o", "messages": messages, "tools": TOOLS.openai()}
    if not STREAM:
        return client.chat.completions.create(**asked).choices[0].message
    text, calls = "", {}
    for chunk in client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for piece in choice.delta.tool_calls or ():
                call = calls.setdefault(
                    piece.index, {"id": piece.id, "type": "function", "function": {"name": "", "arguments": ""}}
                )
                call["function"]["name"] += piece.function.name or ""
                call["function"]["arguments"] += piece.function.arguments or ""
    return {"role": "assistant", "content": text or None, **({"tool_calls": list(calls.values())} if calls else {})}


@llmtrace.agent
def support(task: str) -> str:
    messages: list[Any] = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": task}]
    while True:
        message = answer(CLIENT, messages)
        messages.append(message)
        results = TOOLS.run(message)
        if not results:
            return str(message["content"] if isinstance(message, dict) else message.content)
        messages += results


llmtrace.configure()
CLIENT = WRITERS[WRITER]()
assert support("Where are KS-1 and 2?") == "KS-1 is on its way."
llmtrace.shutdown()
os._exit(0)  # not to wait for exporters that have nowhere to send to
