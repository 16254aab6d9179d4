"""For each instrumented library: the ways to import it that its own documentation shows, each with one call, and a server on
loopback that answers all of them. Not run here: `test_import_order` runs each as a program of its own.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Example:
    """One call of one library, as a program."""

    library: str
    """The instrumentor's name."""
    imports: str
    call: str
    """The lines after the imports. ``URL`` is the address of the server."""
    since: tuple[int, ...] = ()
    """First version of the library that is imported in this way."""
    until: tuple[int, ...] = (999,)
    """First version that is not any more."""
    name: str = ""
    """Told apart by it where two examples have the same imports."""
    operation: str = "Inference"
    """The class of the one operation that is recorded."""
    kind: str = "client"
    """Spans of other kinds are not counted: a server's, say."""

    @property
    def id(self) -> str:
        return f"{self.library}: {self.name or self.imports.splitlines()[0]}"


MESSAGES = '[{"role": "user", "content": "Hello"}]'
_ASK = f'model="m-1", messages={MESSAGES}'
_OPENAI = 'base_url=URL + "/v1", api_key="none"'
_AWS = '"bedrock-runtime", endpoint_url=URL, region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none"'
_CONVERSE = '.converse(modelId="m-1", messages=[{"role": "user", "content": [{"text": "Hello"}]}])'
_GEMINI = 'api_key="none", http_options={"base_url": URL}'
_MISTRAL = f'client = Mistral(api_key="none", server_url=URL)\nclient.chat.complete({_ASK})'
_LITELLM = f'"openai/m-1", {MESSAGES}, api_base=URL + "/v1", api_key="none"'
_AGENT_MODEL = f'OpenAIChatCompletionsModel("m-1", AsyncOpenAI({_OPENAI}))'
_SHOP = str(Path(__file__).parent / "mcp_shop.py")
_OVER_STDIO = f"""
import asyncio, sys
async def main():
    async with stdio_client(StdioServerParameters(command=sys.executable, args=[{_SHOP!r}])) as (reading, writing):
        async with ClientSession(reading, writing) as session:
            await session.initialize()
            await session.call_tool("look_up", {{"order_id": "7"}})
asyncio.run(main())
"""
_OLD_MEMORY = "__import__('mcp.shared.memory').shared.memory.create_connected_server_and_client_session(server._mcp_server)"
_IN_MEMORY = """
import asyncio
server = {server}("shop")
@server.tool()
def look_up(order_id: str) -> str:
    "Look an order up."
    return order_id
async def main():
    async with {connect} as session:
        await session.call_tool("look_up", {{"order_id": "7"}})
asyncio.run(main())
"""


EXAMPLES = (
    Example("openai", "from openai import OpenAI", f"OpenAI({_OPENAI}).chat.completions.create({_ASK})"),
    Example("openai", "import openai", f'openai.OpenAI({_OPENAI}).responses.create(model="m-1", input="Hello")'),
    Example(
        "openai",
        "import openai",
        f'openai.base_url, openai.api_key = URL + "/v1/", "none"\nopenai.chat.completions.create({_ASK})',
        name="the module's own client",
    ),
    Example(
        "openai",
        "import asyncio\nfrom openai import AsyncOpenAI",
        f"asyncio.run(AsyncOpenAI({_OPENAI}).chat.completions.create({_ASK}))",
        name="from openai import AsyncOpenAI",
    ),
    Example(
        "openai",
        "from openai import AzureOpenAI",
        f'AzureOpenAI(azure_endpoint=URL, api_key="none", api_version="2025-01-01").chat.completions.create({_ASK})',
    ),
    Example(
        "openai",
        "from openai.resources.chat import Completions\nfrom openai import OpenAI",
        f"Completions(OpenAI({_OPENAI})).create({_ASK})",
    ),
    Example(
        "anthropic",
        "from anthropic import Anthropic",
        f'Anthropic(base_url=URL, api_key="none").messages.create(max_tokens=9, {_ASK})',
    ),
    Example(
        "anthropic",
        "import anthropic",
        f'with anthropic.Anthropic(base_url=URL, api_key="none").messages.stream(max_tokens=9, {_ASK}) as stream:\n'
        "    stream.get_final_message()",
    ),
    Example(
        "anthropic",
        "import asyncio\nfrom anthropic import AsyncAnthropic",
        f'asyncio.run(AsyncAnthropic(base_url=URL, api_key="none").messages.create(max_tokens=9, {_ASK}))',
        name="from anthropic import AsyncAnthropic",
    ),
    Example("bedrock", "import boto3", f"boto3.client({_AWS}){_CONVERSE}"),
    Example("bedrock", "from boto3.session import Session", f"Session().client({_AWS}){_CONVERSE}"),
    Example(
        "bedrock",
        "import botocore.session",
        f"botocore.session.get_session().create_client({_AWS}){_CONVERSE}",
    ),
    Example("cohere", "import cohere", f'cohere.ClientV2("none", base_url=URL).chat({_ASK})'),
    Example("cohere", "from cohere import ClientV2", f'ClientV2("none", base_url=URL).chat({_ASK})'),
    Example("cohere", "from cohere import Client", f'Client("none", base_url=URL).v2.chat({_ASK})'),
    Example(
        "cohere",
        "import asyncio\nfrom cohere import AsyncClientV2",
        f'asyncio.run(AsyncClientV2("none", base_url=URL).chat({_ASK}))',
        name="from cohere import AsyncClientV2",
    ),
    Example(
        "google_genai",
        "from google import genai",
        f'client = genai.Client({_GEMINI})\nclient.models.generate_content(model="m-1", contents="Hello")',
    ),
    Example(
        "google_genai",
        "import google.genai",
        f'client = google.genai.Client({_GEMINI})\nlist(client.models.generate_content_stream(model="m-1", contents="Hello"))',
    ),
    Example(
        "google_genai",
        "from google.genai import Client",
        f'client = Client({_GEMINI})\nclient.chats.create(model="m-1").send_message("Hello")',
    ),
    Example(
        "google_genai",
        "import asyncio\nfrom google.genai.client import Client",
        f'client = Client({_GEMINI})\nasyncio.run(client.aio.models.generate_content(model="m-1", contents="Hello"))',
        name="from google.genai.client import Client",
    ),
    Example("groq", "from groq import Groq", f'Groq(base_url=URL, api_key="none").chat.completions.create({_ASK})'),
    Example(
        "groq",
        "import asyncio, groq",
        f'asyncio.run(groq.AsyncGroq(base_url=URL, api_key="none").chat.completions.create({_ASK}))',
    ),
    Example(
        "huggingface",
        "from huggingface_hub import InferenceClient",
        f'InferenceClient(base_url=URL + "/v1", api_key="none").chat.completions.create({_ASK})',
    ),
    Example(
        "huggingface",
        "import huggingface_hub",
        f'huggingface_hub.InferenceClient(URL + "/v1", token="none").chat_completion({MESSAGES}, model="m-1")',
    ),
    Example(
        "huggingface",
        "import asyncio\nfrom huggingface_hub import AsyncInferenceClient",
        f'asyncio.run(AsyncInferenceClient(base_url=URL + "/v1", api_key="none").chat_completion({_ASK}))',
        name="from huggingface_hub import AsyncInferenceClient",
    ),
    Example(
        "langchain",
        "from langchain_core.language_models import FakeListChatModel",
        'FakeListChatModel(responses=["Hello"]).invoke("Hello")',
    ),
    Example(
        "langchain",
        "from langchain_core.tools import tool",
        '@tool\ndef look_up(order: str) -> str:\n    "Look up."\n    return order\nlook_up.invoke({"order": "7"})',
        operation="ToolExecution",
        kind="internal",
    ),
    Example(
        "langchain",
        "from langchain.chat_models import init_chat_model",
        f'init_chat_model("m-1", model_provider="openai", {_OPENAI}).invoke("Hello")',
    ),
    Example("langchain", "from langchain_openai import ChatOpenAI", f'ChatOpenAI(model="m-1", {_OPENAI}).invoke("Hello")'),
    Example(
        "langchain",
        "from langchain.agents import create_agent\nfrom langchain_openai import ChatOpenAI",
        f'create_agent(ChatOpenAI(model="m-1", {_OPENAI}), tools=[]).invoke({{"messages": {MESSAGES}}})',
    ),
    Example(
        "langchain",
        "from langgraph.graph import StateGraph, MessagesState, START\n"
        "from langchain_core.language_models import FakeListChatModel",
        'graph = StateGraph(MessagesState)\nmodel = FakeListChatModel(responses=["Hello"])\n'
        'graph.add_node("ask", lambda state: {"messages": [model.invoke(state["messages"])]})\n'
        f'graph.add_edge(START, "ask")\ngraph.compile().invoke({{"messages": {MESSAGES}}})',
    ),
    Example("litellm", "import litellm", f"litellm.completion({_LITELLM})"),
    Example("litellm", "from litellm import completion", f"completion({_LITELLM})"),
    Example(
        "litellm",
        "import asyncio\nfrom litellm import acompletion",
        f"asyncio.run(acompletion({_LITELLM}))",
        name="from litellm import acompletion",
    ),
    Example(
        "litellm",
        "from litellm import Router",
        'params = {"model": "openai/m-1", "api_base": URL + "/v1", "api_key": "none"}\n'
        'router = Router(model_list=[{"model_name": "m", "litellm_params": params}])\n'
        f'router.completion("m", {MESSAGES})',
    ),
    Example(
        "mcp",
        "from mcp import ClientSession, StdioServerParameters\nfrom mcp.client.stdio import stdio_client",
        _OVER_STDIO,
        operation="ToolExecution",
    ),
    Example(
        "mcp",
        "import mcp.server.fastmcp",
        _IN_MEMORY.format(server="mcp.server.fastmcp.FastMCP", connect=_OLD_MEMORY),
        until=(2,),
        operation="ToolExecution",
        kind="server",
    ),
    Example(
        "mcp",
        "from mcp import Client\nfrom mcp.server.mcpserver import MCPServer",
        _IN_MEMORY.format(server="MCPServer", connect="Client(server)"),
        since=(2,),
        operation="ToolExecution",
        kind="server",
    ),
    Example("mistral", "from mistralai.client import Mistral", _MISTRAL, since=(2,)),
    Example("mistral", "from mistralai.client.sdk import Mistral", _MISTRAL, since=(2,)),
    Example("mistral", "from mistralai import Mistral", _MISTRAL, until=(2,)),
    Example(
        "mistral",
        "import mistralai.client",
        _MISTRAL.replace("Mistral(", "mistralai.client.Mistral("),
        since=(2,),
    ),
    Example("ollama", "import ollama", f"ollama.Client(URL).chat({_ASK})"),
    Example("ollama", "from ollama import chat", f"chat({_ASK})"),
    Example("ollama", "from ollama import Client", f"Client(URL).chat({_ASK})"),
    Example(
        "ollama",
        "import asyncio\nfrom ollama import AsyncClient",
        f"asyncio.run(AsyncClient(URL).chat({_ASK}))",
        name="from ollama import AsyncClient",
    ),
    Example(
        "openai_agents",
        "import agents\nfrom openai import AsyncOpenAI",
        f'agents.Runner.run_sync(agents.Agent(name="shop", model=agents.{_AGENT_MODEL}), "Hello")',
        operation="AgentInvocation",
        kind="internal",
    ),
    Example(
        "openai_agents",
        "from agents import Agent, Runner, OpenAIChatCompletionsModel\nfrom openai import AsyncOpenAI",
        f'Runner.run_sync(Agent(name="shop", model={_AGENT_MODEL}), "Hello")',
    ),
)


# -- the server


def _openai(content: str = "Hello") -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m-1",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3},
    }


_TEXT = [{"type": "text", "text": "Hello"}]
_RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "m-1",
    "status": "completed",
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
        }
    ],
    "usage": {
        "input_tokens": 2,
        "output_tokens": 1,
        "total_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    },
}
_ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m-1",
    "content": _TEXT,
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 2, "output_tokens": 1},
}
_ANTHROPIC_EVENTS = (
    {"type": "message_start", "message": {**_ANTHROPIC, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 1}},
    {"type": "message_stop"},
)
_COHERE = {
    "id": "1",
    "finish_reason": "COMPLETE",
    "message": {"role": "assistant", "content": _TEXT},
    "usage": {"billed_units": {"input_tokens": 2, "output_tokens": 1}},
}
_GOOGLE = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Hello"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 2, "candidatesTokenCount": 1, "totalTokenCount": 3},
    "modelVersion": "m-1",
}
_BEDROCK = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 2, "outputTokens": 1, "totalTokens": 3},
    "metrics": {"latencyMs": 1},
}
_OLLAMA = {
    "model": "m-1",
    "created_at": "2026-01-01T00:00:00Z",
    "message": {"role": "assistant", "content": "Hello"},
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": 2,
    "eval_count": 1,
}
_ANSWERS: dict[str, Any] = {
    "/chat/completions": _openai(),
    "/responses": _RESPONSE,
    "/v1/messages": _ANTHROPIC,
    "/v2/chat": _COHERE,
    ":generateContent": _GOOGLE,
    ":streamGenerateContent": _GOOGLE,
    "/converse": _BEDROCK,
    "/api/chat": _OLLAMA,
}
"""By the end of the path."""


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.partition("?")[0]
        answer = next((answer for end, answer in _ANSWERS.items() if path.endswith(end)), None)
        self.send_response(404 if answer is None else 200)
        if path.endswith(":streamGenerateContent"):
            events: tuple[Any, ...] = (answer,)
        else:
            events = _ANTHROPIC_EVENTS if b'"stream":true' in asked.replace(b" ", b"") and answer is _ANTHROPIC else ()
        lines = [
            (f"event: {event['type']}\n" if "type" in event else "") + f"data: {json.dumps(event)}\n\n" for event in events
        ]
        self.send_header("content-type", "text/event-stream" if events else "application/json")
        self.end_headers()
        self.wfile.write("".join(lines).encode() if events else json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server that answers every call above."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
