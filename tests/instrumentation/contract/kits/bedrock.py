"""Bedrock by boto3: Converse. Its streams are binary: AWS's event stream encoding."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import boto3
from botocore.config import Config
from kit import MODEL, SYSTEM, TOOL, Answer, Kit, Question, Reply, json_reply, pieces_of

_FINISH = {"stop": "end_turn", "length": "max_tokens", "tool_call": "tool_use"}
_CODES = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    404: "ResourceNotFoundException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}


class Bedrock(Kit):
    name = "bedrock"
    library = "boto3"
    provider = "aws.bedrock"
    has_async = False
    guards = ("stream",)
    """A method of what stands in for the body of an answer."""

    def client(self, url: str, *, asynchronous: bool = False, retries: int = 0) -> Any:
        config = Config(retries={"total_max_attempts": retries + 1, "mode": "standard"}, region_name="us-east-1")
        return session().client("bedrock-runtime", endpoint_url=url, config=config)

    def ask(self, client: Any, question: Question) -> Any:
        return client.converse(**_request(question))

    def stream(self, client: Any, question: Question) -> Any:
        return client.converse_stream(**_request(question))["stream"]

    def seen(self, answer: Any) -> Any:
        """All of it but the time that the server states."""
        if "ResponseMetadata" not in answer:
            return answer
        headers = {name for name in answer["ResponseMetadata"]["HTTPHeaders"] if name != "date"}
        metadata = {**answer["ResponseMetadata"], "HTTPHeaders": headers}
        return type(answer).__qualname__, {**answer, "ResponseMetadata": metadata}

    def text(self, chunk: Any) -> str:
        text: str = chunk.get("contentBlockDelta", {}).get("delta", {}).get("text", "")
        return text

    def whole(self, answer: Answer) -> Reply:
        content: list[dict[str, Any]] = [{"text": answer.text}] if answer.text else []
        content += [
            {"toolUse": {"toolUseId": call.id, "name": call.name, "input": json.loads(call.arguments)}} for call in answer.calls
        ]
        message = {"role": "assistant", "content": content}
        return json_reply({"output": {"message": message}, "stopReason": _FINISH[answer.finish], "usage": _usage(answer)})

    def streamed(self, answer: Answer) -> Reply:
        pieces = tuple(encoded(name, event) for name, event in _events(answer))
        return Reply(pieces, content_type="application/vnd.amazon.eventstream")

    def error(self, status: int) -> Reply:
        code = _CODES.get(status, "InternalServerException")
        return json_reply({"message": f"refused with {status}"}, status, [("x-amzn-errortype", code)])


@lru_cache(maxsize=1)
def session() -> Any:
    """One for all clients: reading the descriptions of the services takes long."""
    return boto3.Session(aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="secret", region_name="us-east-1")


def _request(question: Question) -> dict[str, Any]:
    request: dict[str, Any] = {
        "modelId": MODEL,
        "system": [{"text": SYSTEM}],
        "messages": [{"role": "user", "content": [{"text": question.text}]}],
        "inferenceConfig": {"maxTokens": question.max_tokens},
    }
    if question.tools:
        tool = {"name": TOOL["name"], "description": TOOL["description"], "inputSchema": {"json": TOOL["parameters"]}}
        request["toolConfig"] = {"tools": [{"toolSpec": tool}]}
    return request


def _events(answer: Answer) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "messageStart", {"role": "assistant"}
    index = 0
    if answer.text:
        for piece in pieces_of(answer.text):
            yield "contentBlockDelta", {"contentBlockIndex": index, "delta": {"text": piece}}
        yield "contentBlockStop", {"contentBlockIndex": index}
        index += 1
    for call in answer.calls:
        tool = {"toolUseId": call.id, "name": call.name}
        yield "contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": tool}}
        for piece in pieces_of(call.arguments):
            yield "contentBlockDelta", {"contentBlockIndex": index, "delta": {"toolUse": {"input": piece}}}
        yield "contentBlockStop", {"contentBlockIndex": index}
        index += 1
    yield "messageStop", {"stopReason": _FINISH[answer.finish]}
    yield "metadata", {"usage": _usage(answer), "metrics": {"latencyMs": 7}}


def _usage(answer: Answer) -> dict[str, int]:
    """Bedrock counts what is read from the cache beside the input."""
    return {
        "inputTokens": answer.input_tokens - answer.cached_tokens,
        "outputTokens": answer.output_tokens,
        "totalTokens": answer.input_tokens + answer.output_tokens,
        "cacheReadInputTokens": answer.cached_tokens,
        "cacheWriteInputTokens": 0,
    }


def encoded(name: str, event: Any, kind: str = "event") -> bytes:
    """One message of an event stream: lengths, their checksum, headers, payload, checksum. ``kind``: event or exception."""
    fields = {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}
    headers = b"".join(_header(key, value) for key, value in fields.items())
    payload = json.dumps(event).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack("!I", zlib.crc32(message))


def _header(name: str, value: str) -> bytes:
    return struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()


KIT = Bedrock()
