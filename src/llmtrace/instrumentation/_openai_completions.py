"""OpenAI's older completions of plain text: ``client.completions``, which servers of one's own (vLLM, llama.cpp) still offer.

A prompt is a message of the user, a text that came back is one of the assistant: so answers, whole and streamed, are read as
those of chat are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmtrace import semconv
from llmtrace.instrumentation import _stainless
from llmtrace.instrumentation._openai_chat import Chat
from llmtrace.instrumentation._openai_chunks import ChunkReader
from llmtrace.instrumentation._openai_parameters import NOT_OF_THE_REQUEST, read_parameters
from llmtrace.instrumentation._provider import Call, Fields
from llmtrace.instrumentation._stainless import members
from llmtrace.instrumentation._vllm_requests import read_prompt

_NAMES = {"n": "choice.count", "stop": "stop_sequences"}
_LEFT_OUT = NOT_OF_THE_REQUEST | {"prompt"}


class Completions(Chat):
    """The endpoint of completions."""

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        return {**super().start_attributes(client, kwargs), "operation": semconv.TEXT_COMPLETION}

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        asked = tuple([message for one in _prompts(kwargs.get("prompt")) for message in read_prompt(one)])
        return {"parameters": read_parameters(kwargs, _NAMES, _LEFT_OUT), "input": asked}, False

    def answer(self, result: Any) -> Fields:
        said = members(result)
        return super().answer({**said, "choices": [_as_chat(one, "message") for one in said.get("choices") or ()]})

    def on_response(self, call: Call, result: Any) -> Any:
        n = call.fields.get("parameters", {}).get("choice.count")
        asked = len(call.fields.get("input", ())) * (n if isinstance(n, int) else 1)
        return _stainless.end_call(self, call, result, lambda: TextReader(asked or 1))


def _prompts(given: Any) -> Sequence[Any]:
    """A list holds prompts, or the tokens of one."""
    many = isinstance(given, (list, tuple)) and given and not isinstance(given[0], int)
    return given if many else (given,)


def _as_chat(choice: Any, where: str) -> dict[str, Any]:
    said = members(choice)
    told = {**said, where: {"role": "assistant", "content": said.get("text")}}
    logprobs = members(said.get("logprobs"))
    if logprobs:
        each = zip(logprobs.get("tokens") or (), logprobs.get("token_logprobs") or (), strict=False)
        told["logprobs"] = {"content": [{"token": token, "logprob": logprob} for token, logprob in each]}
    return told


class TextReader(ChunkReader):
    """`Reader` of a completion's chunks."""

    __slots__ = ()

    def add(self, chunk: Any) -> None:
        said = members(chunk)
        super().add({**said, "choices": [_as_chat(one, "delta") for one in said.get("choices") or ()]})
