"""What a backend is sent: one run of an agent that is refused once and then succeeds, exported by OTLP with its content."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

AGENT = """
import openai, llmtrace
from llmtrace.demo.server import ModelServer

llmtrace.configure(content="all")

def answer(messages):
    asked = sum(message["role"] == "assistant" for message in messages)
    if asked == 2:
        return {"role": "assistant", "content": "Refunded 42 EUR for order KS-20457."}
    arguments = '{"order_id": "KS-20457", "amount": "a lot"}' if asked == 0 else '{"order_id": "KS-20457", "amount": 42}'
    call = {"id": f"call_{asked}", "type": "function", "function": {"name": "refund", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}

@llmtrace.tool(on_invalid="reply")
def refund(order_id: str, amount: float) -> dict:
    "Refund an order."
    return {"refunded": amount}

tools = llmtrace.Tools(refund)

@llmtrace.agent
def support(task):
    messages = [{"role": "user", "content": task}]
    while True:
        message = client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools.openai()).choices[0].message
        messages.append(message)
        if not message.tool_calls:
            return message.content
        messages += tools.run(message)

with ModelServer(answer, pace=0) as server:
    client = openai.OpenAI(base_url=server.url, api_key="none")
    support("Please refund order KS-20457: 42 EUR.")
"""


def send(endpoint: str, folder: Path, *, headers: str = "") -> None:
    """Run the agent; when it has ended, its spans are at ``endpoint`` (OTLP over HTTP, the whole address)."""
    kept = {name: held for name, held in os.environ.items() if not name.startswith(("OTEL_", "LLMTRACE_", "OPENAI_"))}
    told = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_HEADERS": headers,
        "LLMTRACE_STORE": str(folder / "store"),
        "NO_PROXY": "127.0.0.1",
    }
    subprocess.run([sys.executable, "-c", AGENT], env=kept | told, check=True, timeout=60)


def until(found: Callable[[], Any], seconds: float = 90) -> Any:
    """What is found in the end; whatever goes wrong before that is only too early."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if result := found():
                return result
        except (OSError, ValueError, KeyError):
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline, "nothing came in time"
        time.sleep(0.3)


def fetch(url: str, *, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"} if body else {})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        data: bytes = answer.read()
    return data
