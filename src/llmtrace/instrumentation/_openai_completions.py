"""OpenAI's older text completions: ``client.completions``, which self-hosted servers (vLLM, llama.cpp) still offer.

A prompt is recorded as a message of the user, and a text in the answer as a message of the assistant. So answers, whole and
streamed, are read like those of chat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmtrace import semconv
from llmtrace.instrumentation._openai_chat import Chat
from llmtrace.instrumentation._openai_chunks import ChunkReader
from llmtrace.instrumentation._openai_endpoint import NOT_OF_THE_REQUEST, read_parameters
from llmtrace.instrumentation._openai_messages import read_prompt
from llmtrace.instrumentation._provider import Call, Fields
from llmtrace.instrumentation._stainless import members
from llmtrace.instrumentation._streams import Reader

_NAMES = {"n": "choice.count", "stop": "stop_sequences"}
_LEFT_OUT = NOT_OF_THE_REQUEST | {"prompt"}


class Completions(Chat):
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
