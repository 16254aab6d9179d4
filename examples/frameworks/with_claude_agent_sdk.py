"""The Claude Agent SDK is told of by OpenInference's instrumentor: one line turns that on, one llmtrace. Needs
`claude-agent-sdk` and `openinference-instrumentation-claude-agent-sdk`. In the place of Claude Code, which is a program that
needs a model of Anthropic's, stands a transport that speaks its protocol: the tools, which are the SDK's own, really run."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import claude_agent_sdk
from claude_agent_sdk import (
    ClaudeAgentOptions,
    ClaudeSDKClient,
    ResultMessage,
    Transport,
    create_sdk_mcp_server,
    tool,
)
from openinference.instrumentation.claude_agent_sdk import ClaudeAgentSDKInstrumentor

import llmtrace

llmtrace.configure()
ClaudeAgentSDKInstrumentor().instrument()

ANSWER = "KS-1 is on its way."
USAGE = {"input_tokens": 12, "output_tokens": 5, "cache_read_input_tokens": 9, "cache_creation_input_tokens": 0}


@tool("look_up", "Look up an order.", {"order_id": str})
async def look_up(arguments: dict[str, Any]) -> dict[str, Any]:
    status = {"order_id": arguments["order_id"], "status": "on its way to Bonn"}
    return {"content": [{"type": "text", "text": json.dumps(status)}]}


class StandIn(Transport):
    """Asks for two orders at once, one of them wrongly, has the tools run by the SDK, and answers."""

    def __init__(self) -> None:
        self.written: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.ids = itertools.count(1)

    async def connect(self) -> None: ...

    async def write(self, data: str) -> None:
        for line in data.splitlines():
            self.written.put_nowait(json.loads(line))

    def is_ready(self) -> bool:
        return True

    async def end_input(self) -> None: ...

    async def close(self) -> None: ...

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        session = {"session_id": "session-1", "parent_tool_use_id": None}
        while True:
            said = await self.written.get()
            if said["type"] == "control_request":
                answer = {"subtype": "success", "request_id": said["request_id"], "response": {}}
                yield {"type": "control_response", "response": answer}
            elif said["type"] == "user":
                break
        yield {
            "type": "system",
            "subtype": "init",
            "session_id": "session-1",
            "model": "fake-1",
            "tools": ["mcp__shop__look_up"],
        }
        calls = {"toolu_1": {"order_id": "KS-1"}, "toolu_2": {"order_id": 2}}
        asked = [{"type": "tool_use", "id": key, "name": "mcp__shop__look_up", "input": given} for key, given in calls.items()]
        yield {"type": "assistant", "message": self.message(asked, "tool_use", "msg_1"), **session}
        results = []
        for request, method in (("0", "initialize"), *((key, "tools/call") for key in calls)):
            yield self.to_server(request, method, calls.get(request))
            answered = await self.answer()
            if request in calls:
                result = answered.get("result") or {"content": answered["error"]["message"], "isError": True}
                failed = bool(result.get("isError"))
                results.append(
                    {"type": "tool_result", "tool_use_id": request, "content": result["content"], "is_error": failed}
                )
        yield {"type": "user", "message": {"role": "user", "content": results}, **session}
        text = [{"type": "text", "text": ANSWER}]
        yield {"type": "assistant", "message": self.message(text, "end_turn", "msg_2"), **session}
        yield {
            "type": "result",
            "subtype": "success",
            "duration_ms": 2,
            "duration_api_ms": 1,
            "is_error": False,
            "num_turns": 2,
            "session_id": "session-1",
            "total_cost_usd": 0.001,
            "usage": {name: 2 * count for name, count in USAGE.items()},
            "result": ANSWER,
        }

    def message(self, content: list[dict[str, Any]], stop: str, key: str) -> dict[str, Any]:
        return {"id": key, "role": "assistant", "model": "fake-1", "content": content, "stop_reason": stop, "usage": USAGE}

    def to_server(self, key: str, method: str, arguments: dict[str, Any] | None) -> dict[str, Any]:
        parameters: dict[str, Any] = {"name": "look_up", "arguments": arguments}
        if method == "initialize":
            who = {"name": "stand-in", "version": "1"}
            parameters = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": who}
        message = {"jsonrpc": "2.0", "id": key, "method": method, "params": parameters}
        request = {"subtype": "mcp_message", "server_name": "shop", "message": message}
        return {"type": "control_request", "request_id": f"request-{next(self.ids)}", "request": request}

    async def answer(self) -> dict[str, Any]:
        while True:
            said = await self.written.get()
            if said["type"] == "control_response":
                return said["response"]["response"]["mcp_response"]


def options() -> ClaudeAgentOptions:
    return ClaudeAgentOptions(mcp_servers={"shop": create_sdk_mcp_server("shop", tools=[look_up])})


async def main() -> None:
    async for message in claude_agent_sdk.query(prompt="Where are my orders?", options=options(), transport=StandIn()):
        if isinstance(message, ResultMessage):
            print(message.result)
    async with ClaudeSDKClient(options(), transport=StandIn()) as client:
        await client.query("Where are my orders?")
        async for message in client.receive_response():
            if isinstance(message, ResultMessage):
                print(message.result)


asyncio.run(main())
