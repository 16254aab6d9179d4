"""An MCP server and its client: one trace over both sides, and a call that breaks the server's schema.

    python examples/11_mcp.py
    llmtrace show

The two are in one process here; over stdio or HTTP it looks the same, with these two lines in each program.
"""

from __future__ import annotations

import asyncio

from mcp import Client
from mcp.server.mcpserver import MCPServer

import llmtrace

llmtrace.configure()

server = MCPServer("shop", log_level="ERROR")


@server.tool()
def look_up(order_id: str) -> dict[str, str]:
    "Find an order by its number."
    return {"order_id": order_id, "state": "on its way"}


@llmtrace.agent
async def support(order: str) -> str:
    async with Client(server) as client:
        await client.list_tools()  # as an agent does; by what it says, llmtrace judges the calls
        for arguments in ({"order": order}, {"order_id": order}):  # the first has the wrong name
            answer = await client.call_tool("look_up", arguments)
            if not answer.is_error:
                return answer.structured_content["state"]
        return "unknown"


print("order KS-20457 is", asyncio.run(support("KS-20457")))
