"""``llmtrace mcp``: give coding agents the traces of a store, read-only, over the Model Context Protocol.

See docs/how_to/coding_agents.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path

from llmtrace.cli.options import FINE, BadInput, port, print_json
from llmtrace.cli.stores import is_url
from llmtrace.cli.terminal import Screen
from llmtrace.config import Config
from llmtrace.mcp_server.client_config import CLIENTS, Client, Connection
from llmtrace.viewer import token

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
    from llmtrace.cli.captured import run_captured
    from llmtrace.mcp_server.agent_server import build

    os.environ.update(NO_COLOR="1", COLUMNS=str(_WIDTH))  # of what the commands print
    server = build(lambda words: run_captured([*words, *store]))
    if args.http:
        _serve_http(args, server)
        return FINE
    if sys.stdin.isatty():
        Screen(sys.stderr).prose("Waiting for an MCP client on stdin. To connect one: llmtrace mcp --print-config claude")
    server.run("stdio")
    return FINE


def _serve_http(args: argparse.Namespace, server: object) -> None:
    from llmtrace.mcp_server import over_http

    secret = token.kept(_TOKEN_FILE)
    with over_http.listen(_PORT if args.port is None else args.port) as listener:
        address, screen = _address(listener.getsockname()[1]), Screen(sys.stdout)
        if args.json:
            screen.line(json.dumps({"address": address, "token": secret}))
        else:
            screen.line(f"MCP      {screen.paint(address, 'cyan')}")
            screen.line(f"token    {secret}")
            screen.line("Press Ctrl-C to stop", "dim")
        screen.stream.flush()
        over_http.serve(server, listener, secret)


def _print_config(args: argparse.Namespace, client: Client, store: list[str]) -> int:
    if args.http:
        connection = Connection((), _address(args.port or _PORT), token.kept(_TOKEN_FILE))
    else:
        connection = Connection([sys.executable, "-m", "llmtrace", "mcp", *store])
    content = client.render(connection)
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
    """The option that names the same store from any folder; empty for the default store."""
    url = Config.read(store=option).store
    if url == "auto":
        return []
    return ["--store", url if url == "off" or is_url(url) else str(Path(url).absolute())]
