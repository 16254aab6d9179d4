"""An MCP server that asks for more input before it answers, and a client that asks again by hand (mcp 2.x)."""

from __future__ import annotations

from typing import Any

import mcp_types as types
from mcp.server.mcpserver import Context
from mcp_shop import make
from pydantic import BaseModel

ROUNDS = 3


class Refund(BaseModel):
    order_id: str
    cents: int


def careful_server() -> Any:
    server = make()

    @server.tool()
    def refund(order_id: str, ctx: Context) -> Refund | types.InputRequiredResult:
        "Asks before it acts."
        done = int(ctx.request_state or 0)
        if done == ROUNDS:
            return Refund(order_id=order_id, cents=100)
        form = types.ElicitRequestFormParams(message="Sure?", requested_schema={"type": "object", "properties": {}})
        asked: Any = {"sure": types.ElicitRequest(params=form)}
        return types.InputRequiredResult(input_requests=asked, request_state=str(done + 1))

    return server


async def refund_by_hand(client: Any, agree: Any) -> Any:
    """Call the tool, and again with what the server asks for, until it answers."""
    again: dict[str, Any] = {}
    while True:
        result = await client.session.call_tool("refund", {"order_id": "7"}, allow_input_required=True, **again)
        if not isinstance(result, types.InputRequiredResult):
            return result
        answers = {name: await agree() for name in result.input_requests or {}}
        again = {"input_responses": answers, "request_state": result.request_state}
