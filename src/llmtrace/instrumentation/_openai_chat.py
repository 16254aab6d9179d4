"""OpenAI's chat completions, text completions and embeddings: ``client.chat.completions``, ``client.completions`` and
``client.embeddings``, and the servers and SDKs with the same API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from llmtrace import semconv
from llmtrace.instrumentation._cache import read_messages_cached, read_tools_cached
from llmtrace.instrumentation._failures import failure_reported
from llmtrace.instrumentation._logprobs import read_logprobs
from llmtrace.instrumentation._openai_chunks import ChunkReader
from llmtrace.instrumentation._openai_endpoint import NOT_OF_THE_REQUEST, OPENAI, OpenAIEndpoint, read_parameters
from llmtrace.instrumentation._openai_messages import FINISH_REASONS, read_beside, read_message, read_prompt, read_usage
from llmtrace.instrumentation._provider import Call, Fields, Headers
from llmtrace.instrumentation._stainless import is_given, members
from llmtrace.instrumentation._streams import Reader
from llmtrace.instrumentation._vllm_server import engine_times, is_own_server, request_id
from llmtrace.model import Embedding

_NAMES = {
    "max_completion_tokens": "max_tokens",
    "n": "choice.count",
    "reasoning_effort": "reasoning.level",
    "stop": "stop_sequences",
}
_LEFT_OUT = NOT_OF_THE_REQUEST | {"messages", "functions", "prompt"}

_BYTES, _BASE64 = 4, 3 / 4
"""Bytes of one number of a vector, and of one character of base64."""


class Chat(OpenAIEndpoint):
    """The endpoint of chat completions."""

    operation: ClassVar[str | None] = semconv.CHAT

    def extra_headers(self, call: Call, headers: Headers) -> Headers:
        """Return a request id by which the span of a self-hosted server can be joined to ours."""
        if call.fields["provider"] != OPENAI:
            return {}
        is_own = is_own_server(call.fields.get("server_address"), call.recording.recorder.config.request_id_hosts)
        return request_id(call.client, headers, call.recording) if is_own else {}

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        messages, tools, functions = kwargs.get("messages"), kwargs.get("tools"), kwargs.get("functions")
        fields: Fields = {"parameters": read_parameters(kwargs, _NAMES, _LEFT_OUT)}
        one_shot = False
        if isinstance(messages, (list, tuple)):
            fields["input"] = read_messages_cached(messages, read_message)
        else:  # an iterator, which is the SDK's to consume
            one_shot = True
        if isinstance(tools, (list, tuple)):
            fields["tools"] = read_tools_cached(tools)
        elif isinstance(functions, (list, tuple)):
            fields["tools"] = read_tools_cached(functions)
        elif tools is not None and is_given(tools):
            one_shot = True
        return fields, one_shot or isinstance(kwargs.get("response_format"), type)

    def answer(self, result: Any) -> Fields:
        response = members(result)
        choices, output, reasons, logprobs = [], [], [], False
        for raw in response.get("choices") or ():
            choice = members(raw)
            choices.append(choice)
            reason = choice.get("finish_reason")
            output.append(read_message(choice.get("message"), reason))
            reasons.append(FINISH_REASONS.get(reason, reason) if reason else "error")
            logprobs = logprobs or choice.get("logprobs") is not None
        fields: Fields = {
            "response_id": response.get("id"),
            "response_model": response.get("model"),
            "system_fingerprint": response.get("system_fingerprint"),
            "usage": read_usage(response.get("usage")),
            "output": tuple(output),
            "finish_reasons": tuple(reasons),
            **read_beside(response),
        }
        if response.get("error"):
            fields["failure"] = failure_reported(members(response["error"]))
        if logprobs or response.get("metrics") is not None:
            attributes = {
                **engine_times(response.get("metrics")),
                **read_logprobs(choices, [message.text() for message in output]),
            }
            fields["attributes"] = {**fields.get("attributes", {}), **attributes}
        return fields

    def reader(self, call: Call) -> Reader:
        return ChunkReader(call.choice_count)


class Completions(Chat):
    """The endpoint of the older text completions, which self-hosted servers (vLLM, llama.cpp) still offer.

    A prompt is recorded as a message of the user, and a text in the answer as a message of the assistant. So answers, whole
    and streamed, are read like those of chat.
    """

    operation = semconv.TEXT_COMPLETION

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        messages = tuple([message for prompt in _prompts(kwargs.get("prompt")) for message in read_prompt(prompt)])
        return {"parameters": read_parameters(kwargs, _NAMES, _LEFT_OUT), "input": messages}, False

    def answer(self, result: Any) -> Fields:
        response = members(result)
        return super().answer(
            {**response, "choices": [_as_chat(choice, "message") for choice in response.get("choices") or ()]}
        )

    def reader(self, call: Call) -> Reader:
        return TextReader(len(call.fields.get("input", ())) * call.choice_count or 1)


def _prompts(prompt: Any) -> Sequence[Any]:
    """Return the prompts. A list holds prompts, or the tokens of one prompt."""
    many = isinstance(prompt, (list, tuple)) and prompt and not isinstance(prompt[0], int)
    return prompt if many else (prompt,)


def _as_chat(choice: Any, where: str) -> dict[str, Any]:
    fields = members(choice)
    chat_choice = {**fields, where: {"role": "assistant", "content": fields.get("text")}}
    logprobs = members(fields.get("logprobs"))
    if logprobs:
        pairs = zip(logprobs.get("tokens") or (), logprobs.get("token_logprobs") or (), strict=False)
        chat_choice["logprobs"] = {"content": [{"token": token, "logprob": logprob} for token, logprob in pairs]}
    return chat_choice


class TextReader(ChunkReader):
    __slots__ = ()

    def add(self, chunk: Any) -> None:
        fields = members(chunk)
        super().add({**fields, "choices": [_as_chat(choice, "delta") for choice in fields.get("choices") or ()]})


class Embeddings(OpenAIEndpoint):
    """The endpoint of embeddings. The embedded texts and the vectors are not recorded."""

    operation_type = Embedding

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        dimensions = kwargs.get("dimensions")
        return {**super().start_attributes(client, kwargs), "dimensions": dimensions if isinstance(dimensions, int) else None}

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        form = kwargs.get("encoding_format")
        return {"attributes": {semconv.REQUEST_ENCODING_FORMATS: [form]} if isinstance(form, str) else None}, False

    def answer(self, result: Any) -> Fields:
        response = members(result)
        fields: Fields = {"response_model": response.get("model"), "usage": read_usage(response.get("usage"))}
        vectors = response.get("data") or ()
        length = _length(members(vectors[0]).get("embedding")) if vectors else None
        return fields if length is None else {**fields, "dimensions": length}


def _length(vector: Any) -> int | None:
    if isinstance(vector, list):
        return len(vector)
    return int(len(vector.rstrip("=")) * _BASE64) // _BYTES if isinstance(vector, str) else None
