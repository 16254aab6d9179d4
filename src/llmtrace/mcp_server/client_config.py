"""The configuration that coding agents need to start or reach the server, in the format of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

NAME = "llmtrace"
"""The server's name in the configuration."""


class Connection(NamedTuple):
    """How the server is reached: the command that starts it, or, over HTTP, its URL and token."""

    command: Sequence[str]
    url: str | None = None
    token: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


class Client(NamedTuple):
    """A coding agent."""

    title: str
    file: str
    """Where its configuration is kept."""
    render: Callable[[Connection], str]


def _entry(connection: Connection, kind: bool) -> dict[str, Any]:
    """One server as JSON. ``kind``: with its type."""
    if connection.url is not None:
        return {**({"type": "http"} if kind else {}), "url": connection.url, "headers": connection.headers}
    program, *arguments = connection.command
    return {**({"type": "stdio"} if kind else {}), "command": program, "args": arguments}


def _as_json(member: str, *, kind: bool) -> Callable[[Connection], str]:
    return lambda connection: json.dumps({member: {NAME: _entry(connection, kind)}}, indent=2, ensure_ascii=False)


def _as_toml(connection: Connection) -> str:
    """TOML's basic strings and arrays of them are written as in JSON."""
    if connection.url is not None:
        headers = ", ".join(f"{name} = {json.dumps(value)}" for name, value in connection.headers.items())
        lines = [f"url = {json.dumps(connection.url)}", f"http_headers = {{ {headers} }}"]
    else:
        program, *arguments = connection.command
        lines = [
            f"command = {json.dumps(program, ensure_ascii=False)}",
            f"args = {json.dumps(arguments, ensure_ascii=False)}",
        ]
    return "\n".join([f"[mcp_servers.{NAME}]", *lines])


CLIENTS: Mapping[str, Client] = {
    "claude": Client("Claude Code", ".mcp.json in the project", _as_json("mcpServers", kind=True)),
    "cursor": Client("Cursor", ".cursor/mcp.json in the project, or ~/.cursor/mcp.json", _as_json("mcpServers", kind=False)),
    "vscode": Client("VS Code", ".vscode/mcp.json in the workspace", _as_json("servers", kind=True)),
    "codex": Client("Codex", "~/.codex/config.toml", _as_toml),
}
