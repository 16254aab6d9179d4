"""OpenAI's chat completions: ``client.chat.completions``, and the servers and SDKs with the same API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace import semconv
from llmtrace.instrumentation._cache import read_messages_cached, read_tools_cached
from llmtrace.instrumentation._failures import failure_reported
from llmtrace.instrumentation._logprobs import read_logprobs
from llmtrace.instrumentation._openai_chunks import ChunkReader
from llmtrace.instrumentation._openai_endpoint import NOT_OF_THE_REQUEST, OPENAI, OpenAIEndpoint, read_parameters
from llmtrace.instrumentation._openai_messages import FINISH_REASONS, read_beside, read_message, read_usage
from llmtrace.instrumentation._provider import Call, Fields, Headers
from llmtrace.instrumentation._stainless import is_given, members
from llmtrace.instrumentation._streams import Reader
from llmtrace.instrumentation._vllm_server import engine_times, is_own_server, request_id

_NAMES = {
    "max_completion_tokens": "max_tokens",
    "n": "choice.count",
    "reasoning_effort": "reasoning.level",
    "stop": "stop_sequences",
}
_LEFT_OUT = NOT_OF_THE_REQUEST | {"messages", "functions"}


class Chat(OpenAIEndpoint):
    """The endpoint of chat completions."""

    operation = semconv.CHAT

    def extra_headers(self, call: Call, headers: Headers) -> Headers:
        """Return a request id by which the span of a self-hosted server can be joined to ours."""
        if call.fields["provider"] != OPENAI:
            return {}
        is_own = is_own_server(call.fields.get("server_address"), call.recording.recorder.request_id_hosts)
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
