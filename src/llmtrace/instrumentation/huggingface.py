"""Hugging Face's ``InferenceClient`` and ``AsyncInferenceClient``: chat, text generation and feature extraction.

A chat uses OpenAI's protocol, so it is read like OpenAI's (`_openai_chat`). Specific to this library: the server is known only
when the request is posted, so the address and ``traceparent`` are added then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace import semconv
from llmtrace.codec.finish_reasons import finish_reason
from llmtrace.instrumentation import _exchanges
from llmtrace.instrumentation._openai_chat import Chat
from llmtrace.instrumentation._openai_chunks import ChunkReader
from llmtrace.instrumentation._openai_endpoint import read_parameters
from llmtrace.instrumentation._openai_messages import read_prompt
from llmtrace.instrumentation._patches import Patch, before
from llmtrace.instrumentation._provider import Call, Fields, Headers, call_of, traced, traced_async
from llmtrace.instrumentation._requests import address, note_request
from llmtrace.instrumentation._stainless import SdkEndpoint
from llmtrace.instrumentation._streams import Reader
from llmtrace.model import Embedding, Message, Text, Usage

LIBRARY, DISTRIBUTION = "huggingface_hub.inference", "huggingface_hub"
SUPPORTED = ">=1.0,<3"
CLIENTS = {"huggingface_hub.InferenceClient": "", "huggingface_hub.AsyncInferenceClient": ""}

_PARAMETERS = {"max_new_tokens": "max_tokens", "stop": "stop_sequences", "n": "choice.count"}
_RECORDED_ELSEWHERE = frozenset({"model", "prompt", "stream", "details"})


def _plain(answer: Any) -> Any:
    """Return the fields of an answer as plain dicts. Used as a dict, an answer lacks fields that its class does not declare."""
    if isinstance(answer, dict):
        return {name: _plain(value) for name, value in (getattr(answer, "__dict__", None) or answer).items()}
    return list(map(_plain, answer)) if isinstance(answer, list) else answer


class _HuggingFace(SdkEndpoint):
    """What the endpoints share. Address and headers are known when the request is posted (`_prepare`)."""

    provider = "huggingface"

    def client(self, instance: Any) -> Any:
        return instance

    def url(self, client: Any, kwargs: Mapping[str, Any]) -> Any:  # noqa: ARG002
        return None

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        name = kwargs.get("model") or client.model
        is_address = isinstance(name, str) and name.startswith(("http://", "https://"))  # of a model that has no name
        return super().start_attributes(client, {**kwargs, "model": None if is_address else name})

    def inject_headers(self, client: Any, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], Headers | None]:  # noqa: ARG002
        return dict(kwargs), None


class HuggingFaceChat(_HuggingFace, Chat):
    def answer(self, result: Any) -> Fields:
        return super().answer(_plain(result))

    def reader(self, call: Call) -> HuggingFaceReader:
        return HuggingFaceReader(call.choice_count)


class HuggingFaceReader(ChunkReader):
    __slots__ = ()

    def feed(self, chunk: Any) -> None:
        self.add(_plain(chunk))


class TextGeneration(_HuggingFace):
    operation = semconv.TEXT_COMPLETION

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        parameters = read_parameters(kwargs, _PARAMETERS, _RECORDED_ELSEWHERE)
        return {"input": read_prompt(kwargs.get("prompt")), "parameters": parameters}, False

    def answer(self, result: Any) -> Fields:
        if isinstance(result, str):
            return {"output": (Message("assistant", (Text(result),)),)}
        fields = _plain(result)
        details = fields.get("details") or {}
        return {**_text_output(fields.get("generated_text") or "", details), "usage": _usage(details)}

    def reader(self, call: Call) -> TextReader:  # noqa: ARG002
        return TextReader()


class TextReader(Reader):
    __slots__ = ("_details", "_pieces")

    tells_finish_reason = False

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._details: Mapping[str, Any] = {}

    def feed(self, chunk: Any) -> None:
        if isinstance(chunk, str):
            self._pieces.append(chunk)
            return
        fields = _plain(chunk)
        token = fields.get("token") or {}
        if not token.get("special"):
            self._pieces.append(token.get("text") or "")
        self._details = fields.get("details") or self._details

    def fields(self) -> Fields:
        if not self._pieces:
            return {}
        return {**_text_output("".join(self._pieces), self._details), "usage": _usage(self._details)}


class FeatureExtraction(_HuggingFace):
    """The endpoint that turns texts into vectors; neither is recorded."""

    operation_type = Embedding

    def answer(self, result: Any) -> Fields:
        shape = getattr(result, "shape", ())
        return {"dimensions": int(shape[-1])} if shape else {}


def _text_output(text: str, details: Mapping[str, Any]) -> Fields:
    reason = details.get("finish_reason")
    reason = finish_reason(reason) if reason else None
    message = Message("assistant", (Text(text),), finish_reason=reason)
    return {"output": (message,), **({"finish_reasons": (reason,)} if reason else {})}


def _usage(details: Mapping[str, Any]) -> Usage | None:
    """Read token counts. Input tokens are reported only if the request asked for them (``decoder_input_details``)."""
    prompt, generated = details.get("prefill"), details.get("generated_tokens")
    if generated is None:
        return None
    return Usage(input_tokens=details.get("input_length") or (len(prompt) if prompt else None), output_tokens=generated)


def _prepare(client: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
    call, request = call_of(client), args[0] if args else kwargs.get("request_parameters")
    if call is None or request is None:
        return
    call.fields.update(address(request.url))
    note_request(call, request.headers, request.json)


_METHODS = {
    "chat_completion": HuggingFaceChat(),
    "text_generation": TextGeneration(),
    "feature_extraction": FeatureExtraction(),
}
_SYNC, _ASYNC = "huggingface_hub.inference._client", "huggingface_hub.inference._generated._async_client"

PATCHES = (
    *_exchanges.PATCHES,
    *(Patch(_SYNC, f"InferenceClient.{name}", traced(endpoint)) for name, endpoint in _METHODS.items()),
    *(Patch(_ASYNC, f"AsyncInferenceClient.{name}", traced_async(endpoint)) for name, endpoint in _METHODS.items()),
    Patch(_SYNC, "InferenceClient._inner_post", before(_prepare, always=True)),
    Patch(_ASYNC, "AsyncInferenceClient._inner_post", before(_prepare, always=True)),
)
