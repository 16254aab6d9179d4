"""The server as a coding agent uses it: a real process, asked with the SDK's own client, over stdio and HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from llmtrace.mcp_server.reading_tools import TOOLS
from llmtrace.viewer import token
from tests.cli.conftest import llmtrace, store  # noqa: F401 - fixtures
from tests.cli.traces import SILENT
from tests.commands import running

pytest.importorskip("mcp.server.mcpserver", reason="the client of mcp 2")
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

ROOT = Path(__file__).resolve().parents[2]


def over_stdio(command: list[str], errors: Path, use: Callable[[ClientSession], Awaitable[None]]) -> None:
    """Start the server, and let ``use`` ask it. What the server prints on stderr goes to the file ``errors``."""

    async def main() -> None:
        program, *arguments = command
        parameters = StdioServerParameters(command=program, args=arguments, env=dict(os.environ))
        with errors.open("w") as log:
            async with stdio_client(parameters, log) as (reader, writer), ClientSession(reader, writer) as session:
                await session.initialize()
                await use(session)

    asyncio.run(main())


async def ask(session: ClientSession, name: str, **arguments: Any) -> str:
    result = await session.call_tool(name, arguments)
    assert not result.is_error, result.content
    return str(result.content[0].text)  # type: ignore[union-attr]


async def find_fault(session: ClientSession) -> None:
    """An agent that knows only what the server says of itself: it reads the descriptions, and calls list, why, span."""
    tools = {tool.name: tool for tool in (await session.list_tools()).tools}
    assert list(tools) == list(TOOLS)
    assert all(tool.annotations is not None and tool.annotations.read_only_hint for tool in tools.values())
    assert all(set(tool.input_schema["properties"]) and tool.output_schema is None for tool in tools.values())
    assert sum(len(tool.description or "") for tool in tools.values()) < 1_500

    def tool_that(words: str) -> str:
        return next(name for name, tool in tools.items() if words in (tool.description or ""))

    suspects = re.findall(r"^\| ([0-9a-f]{8}) (?:.*\n\|  )*? +\? (.*)$", await ask(session, tool_that("List and search")), re.M)
    ((run, suspect),) = suspects
    assert suspect == "look_up was called with a made-up /order_id (likely)"
    causes = await ask(session, tool_that("where a run went wrong"), run=run)
    origin = re.findall(r"\(span `([0-9a-f]{16})`\)", causes)[-1]  # the chain goes back to where it began
    span = await ask(session, tool_that("one span whole"), run=run, span=origin)
    assert '"name": "look_up"' in span
    assert '"order_id": "KS-20431"' in span


def test_a_scripted_agent_finds_the_fault(store: str, tmp_path: Path, llmtrace: Callable[..., Any]) -> None:  # noqa: F811
    """It starts the server by the configuration that is printed; stdout carries nothing but the protocol, stderr nothing."""
    printed = json.loads(llmtrace("mcp", "--print-config", "claude", "--store", store).out)["mcpServers"]["llmtrace"]

    async def use(session: ClientSession) -> None:
        await find_fault(session)
        page = await session.read_resource("llmtrace://newest")
        assert "look_up was called" in page.contents[0].text  # type: ignore[union-attr]
        for name, arguments in (
            ("why", {"run": "feedbeef"}),
            ("why", {"page": 0}),
            ("list_runs", {"limit": "x"}),
            ("list_runs", {"helth": "suspect"}),
            ("nope", {}),
        ):
            refused = await session.call_tool(name, arguments)
            assert refused.is_error
            assert "Traceback" not in str(refused.content)

    over_stdio([printed["command"], *printed["args"]], tmp_path / "errors", use)
    assert (tmp_path / "errors").read_text() == ""


@pytest.mark.all
def test_a_scripted_agent_finds_the_fault_of_the_demo(tmp_path: Path) -> None:
    command, folder = [sys.executable, "-m", "llmtrace"], str(tmp_path / "store")
    subprocess.run([*command, "demo", "--store", folder], check=True, capture_output=True, timeout=60)
    over_stdio([*command, "mcp", "--store", folder], tmp_path / "errors", find_fault)


def status(address: str, **headers: str) -> int:
    """The status of a request with these headers."""
    place = urlsplit(address)
    connection = HTTPConnection(place.hostname or "", place.port, timeout=30)
    connection.putrequest("POST", place.path, skip_host="host" in headers)
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'
    wanted = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "content-length": str(len(body)),
    }
    for name, value in (wanted | headers).items():
        connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse().status
    connection.close()
    return answer


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_http_needs_the_token_and_a_host_on_loopback(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Without either nothing is answered; with both the tools are. Ctrl-C ends it, quietly and with 0."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    async def why(address: str, token: str) -> str:
        client = create_mcp_http_client({"Authorization": f"Bearer {token}"})
        async with (
            client,
            streamable_http_client(address, http_client=client) as (reader, writer),
            ClientSession(reader, writer) as session,
        ):
            await session.initialize()
            return await ask(session, "why", run=SILENT)

    with running("mcp", "--http", "--json", "--port", "0", "--store", store) as (line, process):
        printed = json.loads(line)
        address, bearer = printed["address"], f"Bearer {printed['token']}"
        assert "look_up was called" in asyncio.run(why(address, printed["token"]))
        assert [status(address), status(address, authorization=bearer + "x"), status(address, authorization=bearer)] == [
            401,
            401,
            200,
        ]
        assert status(address, authorization=bearer, host="evil.example") == 421
        assert status(address, authorization=bearer, origin="http://evil.example") == 403
        process.send_signal(signal.SIGINT)
        assert (process.communicate(timeout=60)[1], process.returncode) == ("", 0)


def test_each_configuration_has_the_format_of_its_client(
    llmtrace: Callable[..., Any],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over stdio and HTTP; whatever the name of the store, and from any folder."""
    tomllib = pytest.importorskip("tomllib")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def printed(client: str, parse: Callable[[str], Any], *words: str) -> Any:
        return parse(llmtrace("mcp", "--print-config", client, "--store", 'a "store" ü', *words).out)

    stdio = {"command": sys.executable, "args": ["-m", "llmtrace", "mcp", "--store", str(tmp_path / 'a "store" ü')]}
    assert printed("cursor", json.loads) == {"mcpServers": {"llmtrace": stdio}}
    assert printed("claude", json.loads) == {"mcpServers": {"llmtrace": {"type": "stdio", **stdio}}}
    assert printed("vscode", json.loads) == {"servers": {"llmtrace": {"type": "stdio", **stdio}}}
    assert printed("codex", tomllib.loads) == {"mcp_servers": {"llmtrace": stdio}}
    address = ("--http", "--port", "4444")
    http = {"url": "http://127.0.0.1:4444/mcp", "headers": {"Authorization": f"Bearer {token.saved_token('mcp.token')}"}}
    assert printed("cursor", json.loads, *address) == {"mcpServers": {"llmtrace": http}}
    assert printed("claude", json.loads, *address) == {"mcpServers": {"llmtrace": {"type": "http", **http}}}
    assert printed("vscode", json.loads, *address) == {"servers": {"llmtrace": {"type": "http", **http}}}
    codex = {"url": http["url"], "http_headers": http["headers"]}
    assert printed("codex", tomllib.loads, *address) == {"mcp_servers": {"llmtrace": codex}}


def test_the_skill_is_the_page_of_the_docs(llmtrace: Callable[..., Any]) -> None:  # noqa: F811
    """A wheel ships it beside the command."""
    page = (ROOT / "docs" / "how_to" / "skill.md").read_text(encoding="utf-8")
    assert llmtrace("skill").out == page
    assert page.startswith("---\nname: llmtrace\ndescription: ")
    assert '"docs/how_to/skill.md" = "llmtrace/cli/skill.md"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
