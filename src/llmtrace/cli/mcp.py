"""``llmtrace mcp``: give coding agents the traces of a store, read-only, over the Model Context Protocol.

See docs/how_to/coding_agents.md.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from llmtrace import cli
from llmtrace.cli.options import BAD_INPUT, FINE, BadInput, json_text, port, print_json
from llmtrace.cli.stores import is_url
from llmtrace.cli.terminal import Screen
from llmtrace.config import Config
from llmtrace.viewer import token

if TYPE_CHECKING:
    from llmtrace.mcp_server.reading_tools import Answer

NAME = "mcp"
HELP = "give coding agents the traces of a store, read-only, by MCP"
EXAMPLE = "llmtrace mcp --print-config claude"

_PORT = 4369
_TOKEN_FILE = "mcp.token"  # noqa: S105 - a file's name. Another token than the viewer's, which can decide reviews
_WIDTH = 120


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--http", action="store_true", help="serve over HTTP on this machine, with a token, instead of stdio")
    parser.add_argument("--port", metavar="PORT", type=port, help=f"with --http, its port (default: {_PORT}; 0: any free)")
    parser.add_argument(
        "--print-config", choices=list(CLIENTS), help="print what to paste into the settings of this coding agent"
    )


def run(args: argparse.Namespace) -> int:
    if args.port is not None and not args.http:
        raise BadInput("--port needs --http: over stdio there is no port.")
    store = _store(args.store)
    if args.print_config:
        return _print_config(args, CLIENTS[args.print_config], store)
    if importlib.util.find_spec("mcp") is None:
        raise BadInput('one more package is needed.\nInstall it: pip install "llmtrace-otel[mcp]"')
    from llmtrace.mcp_server.agent_server import build

    os.environ.update(NO_COLOR="1", COLUMNS=str(_WIDTH))  # for the output of the commands
    server = build(lambda words: run_captured([*words, *store]))
    if args.http:
        _serve_http(args, server)
        return FINE
    if sys.stdin.isatty():
        Screen(sys.stderr).prose("Waiting for an MCP client on stdin. To connect one: llmtrace mcp --print-config claude")
    server.run("stdio")
    return FINE


def _serve_http(args: argparse.Namespace, server: object) -> None:
    from llmtrace.mcp_server import agent_server

    secret = token.saved_token(_TOKEN_FILE)
    with agent_server.listen(_PORT if args.port is None else args.port) as listener:
        address, screen = _address(listener.getsockname()[1]), Screen(sys.stdout)
        if args.json:
            screen.line(json_text({"address": address, "token": secret}))
        else:
            screen.line(f"MCP      {screen.paint(address, 'cyan')}")
            screen.line(f"token    {secret}")
            screen.line("Press Ctrl-C to stop", "dim")
        screen.stream.flush()
        agent_server.serve(server, listener, secret)


def _print_config(args: argparse.Namespace, client: Client, store: list[str]) -> int:
    if args.http:
        headers = {"Authorization": f"Bearer {token.saved_token(_TOKEN_FILE)}"}
        entry: dict[str, Any] = {"type": "http", "url": _address(args.port or _PORT), "headers": headers}
    else:
        entry = {"type": "stdio", "command": sys.executable, "args": ["-m", "llmtrace", "mcp", *store]}
    content = client.render(entry)
    if args.json:
        print_json({"client": client.title, "file": client.file, "content": content})
        return FINE
    print(content)
    if sys.stderr is not None:
        Screen(sys.stderr).prose(f"For {client.title}: add this to {client.file}.", "dim")
    return FINE


def _address(number: int) -> str:
    return f"http://127.0.0.1:{number}/mcp"


def _store(option: str | None) -> list[str]:
    """Return the words of an option that names the same store from any folder; [] for the default store."""
    url = Config.read(store=option).store
    if url == "auto":
        return []
    return ["--store", url if url == "off" or is_url(url) else str(Path(url).absolute())]


_one_at_a_time = threading.Lock()
"""Held while a command runs: stdout and stderr, which it redirects, belong to the whole process."""


def run_captured(words: Sequence[str]) -> Answer:
    """Run a command in this process, and return its exit code and output. Errors from bugs pass through."""
    from llmtrace.mcp_server.reading_tools import Answer

    out, err = io.StringIO(), io.StringIO()
    with _one_at_a_time, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main(words)
        except SystemExit as stopped:  # argparse refused the arguments
            code = stopped.code if isinstance(stopped.code, int) else BAD_INPUT
    return Answer(code, out.getvalue(), err.getvalue())


# -- the configuration of coding agents, in the format of each


SERVER = "llmtrace"
"""Name of our server in a coding agent's configuration."""


class Client(NamedTuple):
    title: str
    file: str
    """Path of the agent's configuration, as text for the user."""
    member: str = ""
    """Key of the JSON object that lists servers; empty for a TOML file."""
    has_type: bool = False
    """True if the file has a ``type`` for each server: ``http`` or ``stdio``."""

    def render(self, entry: dict[str, Any]) -> str:
        if not self.has_type:
            del entry["type"]
        if self.member:
            return json.dumps({self.member: {SERVER: entry}}, indent=2, ensure_ascii=False)
        headers = entry.pop("headers", {})  # JSON's strings and arrays are valid TOML
        lines = [f"[mcp_servers.{SERVER}]"]
        lines += [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in entry.items()]
        lines += [f"http_headers = {{ {name} = {json.dumps(value)} }}" for name, value in headers.items()]
        return "\n".join(lines)


CLIENTS: Mapping[str, Client] = {
    "claude": Client("Claude Code", ".mcp.json in the project", "mcpServers", has_type=True),
    "cursor": Client("Cursor", ".cursor/mcp.json in the project, or ~/.cursor/mcp.json", "mcpServers"),
    "vscode": Client("VS Code", ".vscode/mcp.json in the workspace", "servers", has_type=True),
    "codex": Client("Codex", "~/.codex/config.toml"),
}
