"""The Model Context Protocol: client and server, mcp 1.x and 2.x, over any transport.

Both sides of a call are joined by the trace context in the request's ``_meta``; the server's schemas judge arguments and
result in line. The spans that mcp 2.x opens by itself give way to these. The two sides are `_mcp_client` and `_mcp_server`.
"""

from __future__ import annotations

from llmtrace.instrumentation import _mcp_client, _mcp_server

LIBRARY, DISTRIBUTION = "mcp", "mcp"
SUPPORTED = ">=1.23,<3"

PATCHES = (*_mcp_client.PATCHES, *_mcp_server.PATCHES)
