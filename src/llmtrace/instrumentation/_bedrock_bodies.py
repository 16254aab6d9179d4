"""Reads the bodies of ``invoke_model``. Each family of models has its own format, recognised by its content, not by the model's
name.

Anthropic's and OpenAI's models have the bodies of their APIs (Mistral, DeepSeek, Qwen and gpt-oss use OpenAI's); Nova's are
those of Converse. All others take a prompt and return a text.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from llmtrace import semconv
from llmtrace.codec.finish_reasons import finish_reason
from llmtrace.instrumentation import anthropic
from llmtrace.instrumentation._anthropic_messages import EventReader
from llmtrace.instrumentation._bedrock_converse import ConverseReader, read_answer, read_request
from llmtrace.instrumentation._openai_chat import Chat
from llmtrace.instrumentation._openai_chunks import ChunkReader
from llmtrace.instrumentation._openai_endpoint import read_parameters
from llmtrace.instrumentation._openai_messages import read_prompt
from llmtrace.instrumentation._provider import Fields
from llmtrace.model import Message, Text, Usage, replace

METRICS = "amazon-bedrock-invocationMetrics"
"""Member that Bedrock adds to the last chunk of a stream, in every format."""

_ANTHROPIC = anthropic.Messages()
_OPENAI = Chat()

_PARAMETERS = {
    "max_gen_len": "max_tokens",
    "maxTokenCount": "max_tokens",
    "max_tokens": "max_tokens",
    "max_new_tokens": "max_tokens",
    "topP": "top_p",
    "p": "top_p",
    "k": "top_k",
    "stop": "stop_sequences",
    "stopSequences": "stop_sequences",
}
"""Names of a plain prompt's parameters, if they differ from the conventions' names."""

_PROMPTS = ("prompt", "inputText")
_TEXTS = ("generation", "outputText", "text", "completion")
_REASONS = ("stop_reason", "completionReason", "finish_reason")
_COUNTS = (
    ("prompt_token_count", "generation_token_count"),
    ("inputTextTokenCount", "totalOutputTextTokenCount"),
    ("inputTextTokenCount", "tokenCount"),
)


def read_body(body: Mapping[str, Any]) -> Fields:
    """Read the fields of a request, with ``operation`` if it is not a chat."""
    if "anthropic_version" in body:
        return _ANTHROPIC.request(body)[0]
    prompt = next((body[name] for name in _PROMPTS if isinstance(body.get(name), str)), None)
    if prompt is not None:
        config = body.get("textGenerationConfig")  # Titan
        settings = {**body, **config} if isinstance(config, Mapping) else body
        parameters = read_parameters(settings, _PARAMETERS, (*_PROMPTS, "textGenerationConfig"))
        return {"operation": semconv.TEXT_COMPLETION, "input": read_prompt(prompt), "parameters": parameters}
    if "schemaVersion" in body or "inferenceConfig" in body or _has_blocks(body.get("messages")):
        return read_request(body)
    return _OPENAI.request(body)[0]


def _has_blocks(messages: Any) -> bool:
    """Return True for content blocks of Converse, which have no ``type``."""
    if not isinstance(messages, list) or not messages:
        return False
    content = messages[0].get("content") if isinstance(messages[0], Mapping) else None
    return isinstance(content, list) and bool(content) and isinstance(content[0], Mapping) and "type" not in content[0]


def read_whole(body: Mapping[str, Any]) -> Fields:
    if isinstance(body.get("output"), Mapping):
        return read_answer(body)
    if isinstance(body.get("content"), list):
        return _ANTHROPIC.answer(body)
    choices = body.get("choices")
    if isinstance(choices, list) and choices and "message" in choices[0]:
        return _OPENAI.answer({**body, "choices": [_choice(choice) for choice in choices]})
    return _plain(body)


def _choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    """Return a choice in OpenAI's form. Mistral writes ``stop_reason`` for ``finish_reason``."""
    return {"finish_reason": choice.get("stop_reason"), **choice}


def _plain(body: Mapping[str, Any]) -> Fields:
    lists = [body.get(name) for name in ("outputs", "results", "generations", "choices")]
    results = next((entries for entries in lists if isinstance(entries, list)), None)
    output = []
    for result in [body] if results is None else results:
        text = next((result[name] for name in _TEXTS if isinstance(result.get(name), str)), "")
        reason = next((finish_reason(str(result[name])) for name in _REASONS if result.get(name)), None)
        output.append(Message("assistant", (Text(text),) if text else (), finish_reason=reason))
    counts = [Usage(body.get(read), _count(body, results, written)) for read, written in _COUNTS]
    usage = next((entry for entry in counts if entry.output_tokens is not None), None)
    reasons = tuple([message.finish_reason or "error" for message in output])
    return {"output": tuple(output), "finish_reasons": reasons, "usage": usage}


def _count(body: Mapping[str, Any], results: Any, name: str) -> int | None:
    count = body.get(name)
    counts = [entry.get(name) for entry in results or ()]
    return sum(counts) if count is None and counts and all(isinstance(entry, int) for entry in counts) else count


def read_headers(metadata: Any) -> Usage | None:
    """Read the token counts from the HTTP headers, which Bedrock sends for every model."""
    headers = metadata.get("HTTPHeaders") if isinstance(metadata, Mapping) else None
    texts = [str((headers or {}).get(f"x-amzn-bedrock-{which}-token-count")) for which in ("input", "output")]
    counts = [int(text) if text.isdigit() else None for text in texts]
    return None if counts == [None, None] else Usage(*counts)


def merged(reported: Usage | None, counted: Usage | None) -> Usage | None:
    """Return the usage that the model reported, completed by Bedrock's own counts."""
    if reported is None or counted is None:
        return reported or counted
    return replace(
        reported,
        input_tokens=counted.input_tokens if reported.input_tokens is None else reported.input_tokens,
        output_tokens=counted.output_tokens if reported.output_tokens is None else reported.output_tokens,
    )


class PlainReader:
    """Reads chunks with a piece of text each: Llama, Mistral, Titan, older Cohere and Anthropic."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._last: Mapping[str, Any] = {}

    def add(self, chunk: Mapping[str, Any]) -> None:
        outputs = chunk.get("outputs")
        output = outputs[0] if isinstance(outputs, list) and outputs else chunk
        self._pieces.append(next((output[name] for name in _TEXTS if isinstance(output.get(name), str)), ""))
        self._last = {**self._last, **{name: value for name, value in {**chunk, **output}.items() if value is not None}}

    def fields(self) -> Fields:
        last = {name: value for name, value in self._last.items() if name not in ("outputs", *_TEXTS)}
        fields = _plain({**last, "generation": "".join(self._pieces)})
        if fields["output"][0].finish_reason is None:
            return {key: value for key, value in fields.items() if key != "finish_reasons"}
        return {**fields, "partial": False}


class InvokeReader:
    """Reads the chunks of ``invoke_model_with_response_stream``, in the format of any model."""

    def __init__(self) -> None:
        self._reader: Any = None
        self._counted: Usage | None = None

    def add(self, name: str, event: Mapping[str, Any]) -> None:  # noqa: ARG002
        chunk = from_json(base64.b64decode(event["bytes"]))
        metrics = chunk.pop(METRICS, None)
        if isinstance(metrics, Mapping):
            self._counted = Usage(metrics.get("inputTokenCount"), metrics.get("outputTokenCount"))
        self._reader = self._reader or _reader_for(chunk)
        self._reader.add(chunk)

    def fields(self) -> Fields:
        fields = {} if self._reader is None else self._reader.fields()
        return {**fields, "usage": merged(fields.get("usage"), self._counted)}


def _reader_for(chunk: Mapping[str, Any]) -> Any:
    if isinstance(chunk.get("type"), str):
        return EventReader()
    if isinstance(chunk.get("choices"), list):
        return _MistralReader()
    is_converse = any(name in chunk for name in ("messageStart", "contentBlockStart", "contentBlockDelta"))
    return _NovaReader(joins=True) if is_converse else PlainReader()


class _MistralReader(ChunkReader):
    """Reads chunks of OpenAI's format; Mistral's have a ``message`` instead of a ``delta``."""

    def add(self, chunk: Mapping[str, Any]) -> None:
        choices = [{"delta": choice.get("message"), **_choice(choice)} for choice in chunk.get("choices") or ()]
        super().add({**chunk, "choices": choices})


class _NovaReader(ConverseReader):
    """Reads chunks that hold events of Converse by their names."""

    def add(self, chunk: Mapping[str, Any]) -> None:  # type: ignore[override]
        for name, event in chunk.items():
            super().add(name, event)
