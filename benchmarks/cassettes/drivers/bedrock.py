"""Converse and ``invoke_model`` by ``boto3``, whole and streamed."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

import boto3
from botocore.config import Config

from driver import Call, Exchange, Told, arguments_of

_FINISH = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_call"}
_OPERATIONS = {
    "converse": "converse",
    "converse-stream": "converse_stream",
    "invoke": "invoke_model",
    "invoke-with-response-stream": "invoke_model_with_response_stream",
}


class Bedrock:
    name = "bedrock"
    library = "boto3"
    generic = frozenset[str]()

    def takes(self, exchange: Exchange) -> bool:
        return exchange.host.startswith("bedrock-runtime") and _operation(exchange) in _OPERATIONS.values()

    def drive(self, exchange: Exchange, url: str) -> None:
        operation = _operation(exchange)
        model = exchange.path.split("/")[2]
        given = {"body": exchange.request} if operation.startswith("invoke") else _with_bytes(exchange.asked)
        answer = getattr(_client(url), operation)(modelId=model, **given)
        stream = answer.get("stream") or answer.get("body")
        if operation == "invoke_model":
            stream.read()
        elif stream is not None:
            for _ in stream:
                pass

    def told(self, exchange: Exchange) -> Told:
        asked = exchange.asked
        blocks = [_blocks(message["content"]) for message in asked["messages"]]
        told = Told(
            system=_text(_blocks(asked.get("system") or [])),
            input=[(message["role"], _text(said)) for message, said in zip(asked["messages"], blocks, strict=True)],
            input_calls=[call for said in blocks for call in _calls(said)],
            results=sum("toolResult" in block or block.get("type") == "tool_result" for said in blocks for block in said),
            tools=[_tool(tool) for tool in (asked.get("toolConfig") or asked).get("tools") or () if "cachePoint" not in tool],
        )
        if exchange.status != 200:
            told.failed, told.output, told.calls = True, [], []
            return told
        if "eventstream" not in exchange.content_type:
            body = exchange.answered
            said, reason, usage = body["output"]["message"]["content"], body["stopReason"], body["usage"]
        else:
            said, reason, usage = _added(_events(exchange), told)
        told.output, told.calls, told.finish = [_text(said)], list(_calls(said)), [_FINISH[reason]]
        told.reasoning = "".join(block.get("reasoningContent", {}).get("reasoningText", {}).get("text", "") for block in said)
        _count(told, usage)
        return told

    def explain(self, exchange: Exchange, field: str, told: Any, found: Any) -> str | None:
        return None


def _operation(exchange: Exchange) -> str | None:
    return _OPERATIONS.get(exchange.path.rsplit("/", 1)[-1])


@cache
def _client(url: str) -> Any:
    session = boto3.Session(aws_access_key_id="none", aws_secret_access_key="none", region_name="us-east-1")
    return session.client("bedrock-runtime", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}))


def _with_bytes(value: Any, name: str = "") -> Any:
    """boto3 takes bytes where the wire has base64."""
    if isinstance(value, dict):
        return {key: _with_bytes(member, key) for key, member in value.items()}
    if isinstance(value, list):
        return [_with_bytes(member) for member in value]
    return base64.b64decode(value) if name in ("bytes", "redactedContent") else value


# -- content blocks: Converse's (and Nova's), and Anthropic's


def _blocks(content: Any) -> list[dict[str, Any]]:
    return [{"text": content}] if isinstance(content, str) else content


def _text(blocks: list[dict[str, Any]]) -> str:
    return "".join(block.get("text") or "" for block in blocks)


def _calls(blocks: list[dict[str, Any]]) -> Iterator[Call]:
    for block in blocks:
        tool = block.get("toolUse")
        if tool is not None and tool.get("type") != "server_tool_use":
            yield Call(tool["name"], arguments_of(tool["input"]), tool["toolUseId"])
        elif block.get("type") == "tool_use":
            yield Call(block["name"], arguments_of(block["input"]), block["id"])


def _tool(tool: dict[str, Any]) -> str:
    return str((tool.get("toolSpec") or tool.get("systemTool") or tool)["name"])


def _count(told: Told, usage: dict[str, Any]) -> None:
    read, written = usage.get("cacheReadInputTokens"), usage.get("cacheWriteInputTokens")
    told.input_tokens = usage["inputTokens"] + (read or 0) + (written or 0)
    told.output_tokens, told.cache_read, told.cache_write = usage["outputTokens"], read, written


# -- streams


def _events(exchange: Exchange) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and JSON of each message of AWS's event stream; of the chunks of ``invoke_model``, those of the model's JSON."""
    data, start = exchange.body, 0
    while start < len(data):
        total, headers = struct.unpack_from("!II", data, start)
        payload = json.loads(data[start + 12 + headers : start + total - 4])
        names = dict(_headers(data[start + 12 : start + 12 + headers]))
        start += total
        if "bytes" not in payload:
            yield names[":event-type"], payload
            continue
        chunk = json.loads(base64.b64decode(payload["bytes"]))
        if "type" in chunk:
            yield chunk["type"], chunk
        else:
            yield from chunk.items()


def _headers(data: bytes) -> Iterator[tuple[str, str]]:
    place = 0
    while place < len(data):
        size = data[place]
        name = data[place + 1 : place + 1 + size].decode()
        place += size + 2  # the type, which is text for all of ours
        (size,) = struct.unpack_from("!H", data, place)
        yield name, data[place + 2 : place + 2 + size].decode()
        place += 2 + size


def _added(events: Iterator[tuple[str, dict[str, Any]]], told: Told) -> tuple[list[dict[str, Any]], str, dict[str, Any]]:
    """Blocks, stop reason and usage of a stream."""
    blocks: dict[int, dict[str, Any]] = {}
    reason, usage = "", dict[str, Any]()
    for name, event in events:
        if name == "contentBlockStart" and "toolUse" in event["start"]:
            blocks[event["contentBlockIndex"]] = {"toolUse": {**event["start"]["toolUse"], "input": ""}}
        elif name == "contentBlockDelta":
            _add(blocks.setdefault(event["contentBlockIndex"], {}), event["delta"])
        elif name == "messageStop":
            reason = event["stopReason"]
        elif name == "metadata":
            usage = event["usage"]
        elif name == "message_start":
            told.id, told.model = event["message"]["id"], event["message"]["model"]
            usage = {"inputTokens": event["message"]["usage"]["input_tokens"]}
        elif name == "content_block_start":
            blocks[event["index"]] = {**event["content_block"], "input": ""}
        elif name == "content_block_delta":
            block, delta = blocks[event["index"]], event["delta"]
            block["text"] = (block.get("text") or "") + delta.get("text", "")
            block["input"] += delta.get("partial_json", "")
        elif name == "message_delta":
            reason, usage["outputTokens"] = event["delta"]["stop_reason"], event["usage"]["output_tokens"]
    return [block for _, block in sorted(blocks.items())], reason, usage


def _add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    block["text"] = block.get("text", "") + delta.get("text", "")
    if "toolUse" in delta:
        block["toolUse"]["input"] += delta["toolUse"]["input"]


DRIVER = Bedrock()
"""Converse, and the bodies of Anthropic and Nova."""
