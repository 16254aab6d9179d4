"""google-genai: generate_content by the Gemini API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pydantic
from google import genai
from google.genai import types
from kit import MODEL, SYSTEM, TOOL, Answer, Kit, Question, Reply, Said, json_reply, pieces_of, sse_reply

_ABOUT = {"modelVersion": MODEL, "responseId": "response-1"}
_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool_call": "STOP"}
_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}


class _Async:
    """The async side of a client, with the sync one's methods where the kit looks for them."""

    def __init__(self, client: genai.Client) -> None:
        self.client = client
        self.models = client.aio.models


class GoogleGenai(Kit):
    name = "google_genai"
    library = "google.genai"
    provider = "gcp.gemini"
    has_choices = True
    guards = ("_unhooked", "read", "iter_any")

    def client(self, url: str, *, asynchronous: bool = False, retries: int = 0) -> Any:
        again = types.HttpRetryOptions(attempts=retries + 1, initial_delay=0.001, max_delay=0.001, jitter=0.001)
        options = types.HttpOptions(base_url=url, retry_options=again)
        client = genai.Client(api_key="none", http_options=options)
        return _Async(client) if asynchronous else client

    def close(self, client: Any) -> Any:
        if not hasattr(genai.Client, "close"):
            return None  # 1.30
        return client.client.aio.aclose() if isinstance(client, _Async) else client.close()

    def ask(self, client: Any, question: Question) -> Any:
        return client.models.generate_content(**_request(question))

    def stream(self, client: Any, question: Question) -> Any:
        return client.models.generate_content_stream(**_request(question))

    def seen(self, answer: Any) -> Any:
        assert isinstance(answer, pydantic.BaseModel)
        fields = answer.model_dump(exclude={"sdk_http_response"})
        return type(answer).__qualname__, fields, sorted(answer.model_fields_set)

    def text(self, chunk: Any) -> str:
        content = chunk.candidates[0].content if chunk.candidates else None
        return "".join(part.text or "" for part in content.parts or ()) if content else ""

    def whole(self, answer: Answer) -> Reply:
        parts = [{"text": answer.text}] if answer.text else []
        parts += [_call(call) for call in answer.calls]
        candidates = [_candidate(index, parts, answer) for index in range(answer.n)]
        return json_reply({**_ABOUT, "candidates": candidates, "usageMetadata": _usage(answer)})

    def streamed(self, answer: Answer) -> Reply:
        return sse_reply([{**_ABOUT, **chunk, "usageMetadata": _usage(answer)} for chunk in _chunks(answer)])

    def error(self, status: int) -> Reply:
        error = {"code": status, "message": f"refused with {status}", "status": _STATUS.get(status, "INTERNAL")}
        return json_reply({"error": error}, status)


def _request(question: Question) -> dict[str, Any]:
    config: dict[str, Any] = {"system_instruction": SYSTEM, "max_output_tokens": question.max_tokens}
    if question.tools:
        declaration = {"name": TOOL["name"], "description": TOOL["description"], "parameters_json_schema": TOOL["parameters"]}
        config["tools"] = [{"function_declarations": [declaration]}]
    if question.n > 1:
        config["candidate_count"] = question.n
    return {"model": MODEL, "contents": question.text, "config": config}


def _call(call: Said) -> dict[str, Any]:
    return {"functionCall": {"id": call.id, "name": call.name, "args": json.loads(call.arguments)}}


def _candidate(index: int, parts: list[dict[str, Any]], answer: Answer | None = None) -> dict[str, Any]:
    end = {"finishReason": _FINISH[answer.finish]} if answer else {}
    return {"index": index, "content": {"role": "model", "parts": parts}, **end}


def _chunks(answer: Answer) -> Iterator[dict[str, Any]]:
    for index in range(answer.n):
        for piece in pieces_of(answer.text):
            yield {"candidates": [_candidate(index, [{"text": piece}])]}
        for call in answer.calls:
            yield {"candidates": [_candidate(index, [_call(call)])]}
        yield {"candidates": [_candidate(index, [{"text": ""}], answer)]}


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "promptTokenCount": answer.input_tokens,
        "candidatesTokenCount": answer.output_tokens,
        "totalTokenCount": answer.input_tokens + answer.output_tokens,
        "cachedContentTokenCount": answer.cached_tokens,
    }


KIT = GoogleGenai()
