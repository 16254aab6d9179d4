"""The workloads: the real openai client over an in-process transport. No sockets, no server, no network."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

import openai

import payloads

try:
    import httpx2 as httpx  # openai 3
except ImportError:
    import httpx  # type: ignore[no-redef]

REQUEST = {"model": "gpt-4o", "temperature": 0.2}
STREAMED = {**REQUEST, "stream": True, "stream_options": {"include_usage": True}}
TOOL_ARGUMENTS = {"customer_id": "C12345", "status": "open", "limit": 20, "range": {"start": "2026-01-01"}, "tags": ["vip"]}


def answer(request: Any) -> Any:
    body = request.content
    if b'"stream":true' in body or b'"stream": true' in body:
        content = payloads.STREAM_CALLING if b'"tools"' in body else payloads.STREAM
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=content)
    if b'"tools"' not in body:
        content = payloads.ANSWERING
    else:
        content = payloads.CALLING_BADLY if b'"model":"bad"' in body else payloads.CALLING
    return httpx.Response(200, headers={"content-type": "application/json", "x-request-id": "req_1"}, content=content)


async def aanswer(request: Any) -> Any:
    return answer(request)


def clients() -> tuple[openai.OpenAI, openai.AsyncOpenAI]:
    options: dict[str, Any] = {"api_key": "sk-test", "base_url": "http://llm.local/v1", "max_retries": 0}
    plain = openai.OpenAI(**options, http_client=httpx.Client(transport=httpx.MockTransport(answer)))
    asynchronous = openai.AsyncOpenAI(**options, http_client=httpx.AsyncClient(transport=httpx.MockTransport(aanswer)))
    return plain, asynchronous


def server_client() -> openai.OpenAI:
    """A client of ``model_server.py``, whose address is in the environment; no request is made before a workload wants one."""
    base_url = os.environ.get("BENCH_SERVER", "http://127.0.0.1:9/v1")
    return openai.OpenAI(api_key="sk-test", base_url=base_url, max_retries=0)


def tool(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True, "n": arguments["limit"]}


async def atool(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True, "n": arguments["limit"]}


class Workloads:
    """Each public method does one operation."""

    def __init__(self, client: Any, aclient: Any, decorate: Callable[[Any, str], Any], server: Any = None) -> None:
        """``server``: a `server_client`, for the workload `chat_20ms` only."""
        self._server = server
        self._create = client.chat.completions.create
        self._acreate = aclient.chat.completions.create
        self._tool, self._atool = decorate(tool, "tool"), decorate(atool, "tool")
        self._parent = decorate(self._twenty_tools, "workflow")
        self._turn = decorate(self._one_turn, "workflow")
        self._loop = decorate(self._twenty_turns, "workflow")
        self._prompts = payloads.growing(20)
        self._json = [json.dumps(what) for what in (payloads.MESSAGES_2K, payloads.TOOLS, payloads.MESSAGES_60K_DISTINCT)]
        self.event_loop = asyncio.new_event_loop()

    def chat_tools(self) -> None:
        self._create(messages=payloads.MESSAGES_2K, tools=payloads.TOOLS, **REQUEST)

    def chat_20ms(self) -> None:
        """The same by a real connection to a server that takes 20 ms."""
        self._server.chat.completions.create(messages=payloads.MESSAGES_2K, tools=payloads.TOOLS, **REQUEST)

    def chat_fresh(self) -> None:
        self._create(messages=json.loads(self._json[0]), tools=json.loads(self._json[1]), **REQUEST)

    def chat_bad(self) -> None:
        self._create(messages=payloads.MESSAGES_2K, tools=payloads.TOOLS, model="bad", temperature=0.2)

    async def achat_tools(self) -> None:
        await self._acreate(messages=payloads.MESSAGES_2K, tools=payloads.TOOLS, **REQUEST)

    def stream200(self) -> None:
        assert sum(1 for _ in self._create(messages=payloads.MESSAGES_2K, **STREAMED)) == payloads.CHUNKS

    def stream200_close5(self) -> None:
        stream = self._create(messages=payloads.MESSAGES_2K, **STREAMED)
        for _ in range(5):
            next(stream)
        stream.close()

    def stream_tools(self) -> None:
        stream = self._create(messages=payloads.MESSAGES_2K, tools=payloads.TOOLS, **STREAMED)
        assert sum(1 for _ in stream) == payloads.CHUNKS_CALLING

    async def astream200(self) -> None:
        chunks = 0
        async for _ in await self._acreate(messages=payloads.MESSAGES_2K, **STREAMED):
            chunks += 1
        assert chunks == payloads.CHUNKS

    def long60k(self) -> None:
        self._create(messages=payloads.MESSAGES_60K, **REQUEST)

    def long60k_distinct(self) -> None:
        self._create(messages=payloads.MESSAGES_60K_DISTINCT, **REQUEST)

    def long60k_fresh(self) -> None:
        self._create(messages=json.loads(self._json[2]), **REQUEST)

    def deco_sync(self) -> None:
        self._tool(TOOL_ARGUMENTS)

    async def deco_async(self) -> None:
        await self._atool(TOOL_ARGUMENTS)

    def deco_child(self) -> None:
        self._parent(1)

    def agent_turn(self) -> None:
        self._turn("hello")

    def loop20(self) -> None:
        self._loop("q")

    def _twenty_tools(self, x: int) -> int:
        for _ in range(20):
            self._tool(TOOL_ARGUMENTS)
        return x

    def _one_turn(self, question: str) -> dict[str, str]:
        self.chat_tools()
        self._tool(TOOL_ARGUMENTS)
        self._tool(TOOL_ARGUMENTS)
        self._create(messages=payloads.MESSAGES_2K, **REQUEST)
        return {"answer": question}

    def _twenty_turns(self, question: str) -> str:
        for prompt in self._prompts[1:]:
            self._create(messages=prompt, tools=payloads.TOOLS, **REQUEST)
        return question
