"""A small MCP server for the tests, in the words of mcp 1.x and 2.x alike; run as a program it serves stdio or HTTP."""

from __future__ import annotations

import sys
from typing import Any

from pydantic import BaseModel

try:
    import mcp_types as types
    from mcp.server.mcpserver import Context
    from mcp.server.mcpserver import MCPServer as FastMCP
    from mcp.server.mcpserver.exceptions import ToolError
except ImportError:
    from mcp import types  # type: ignore[no-redef]
    from mcp.server.fastmcp import (
        Context,  # type: ignore[no-redef,attr-defined]
        FastMCP,  # type: ignore[no-redef,attr-defined]
    )
    from mcp.server.fastmcp.exceptions import ToolError  # type: ignore[no-redef,import-not-found]


class Agreement(BaseModel):
    cents: int


def make() -> Any:
    server = FastMCP("shop")

    @server.tool()
    def look_up(order_id: str, limit: int = 3) -> dict[str, str]:
        "Look an order up."
        if order_id == "none":
            raise ToolError("no such order")
        return {"order_id": order_id, "status": "shipped"}

    @server.tool()
    def whoami() -> str:
        "The trace that this call belongs to, as the server sees it."
        from opentelemetry import trace

        context = trace.get_current_span().get_span_context()
        return f"{context.trace_id:032x}"

    @server.tool()
    async def nap(seconds: float) -> str:
        "Takes its time."
        import anyio

        await anyio.sleep(seconds)
        return "rested"

    @server.tool()
    async def ask_back(ctx: Context) -> str:
        "Has the client's model answer."
        message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="?"))
        answer = await ctx.session.create_message([message], max_tokens=10)
        return str(getattr(answer.content, "text", ""))

    @server.tool()
    async def confirm(order_id: str, ctx: Context) -> str:
        "Has a person agree."
        answer = await ctx.elicit(f"Refund {order_id}?", Agreement)
        return str(answer.action)

    @server.prompt()
    def greet(name: str) -> str:
        "A greeting."
        return f"Say hello to {name}."

    @server.resource("shop://terms")
    def terms() -> str:
        "The terms."
        return "No refunds on Sundays."

    return server


if __name__ == "__main__":
    if "--trace" in sys.argv:
        import llmtrace

        llmtrace.configure(store=sys.argv[sys.argv.index("--trace") + 1])
    make().run("stdio")
