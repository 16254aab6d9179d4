"""Amazon Bedrock by boto3: ``converse``, ``converse_stream``, ``invoke_model``, ``invoke_model_with_response_stream``.

botocore makes the methods of its clients anew for each client; all of them go through ``_make_api_call``, which is wrapped
here. Law: no other operation, and no other service of AWS, is looked at further than by its name. Requests get ``traceparent``
after they were signed, so that a proxy that changes it does not break the signature.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import from_json

from llmtrace import semconv
from llmtrace.codec.finish_reasons import finish_reason
from llmtrace.content import to_json
from llmtrace.instrumentation import _botocore_exchanges, anthropic
from llmtrace.instrumentation._anthropic_messages import EventReader
from llmtrace.instrumentation._bedrock_converse import ConverseReader, Events, read_answer, read_request
from llmtrace.instrumentation._botocore_exchanges import BodyProxy
from llmtrace.instrumentation._openai_chat import Chat
from llmtrace.instrumentation._openai_chunks import ChunkReader
from llmtrace.instrumentation._patches import Patch, Wrapper, after
from llmtrace.instrumentation._provider import Call, Endpoint, Fields, call_of, traced
from llmtrace.instrumentation._requests import has_traceparent, start_fields
from llmtrace.instrumentation._stainless import JsonBody
from llmtrace.instrumentation._streams import Watch, closing, pump, watched
from llmtrace.model import Message, Text, Usage, replace
from llmtrace.recorder.guard import guard

LIBRARY, DISTRIBUTION = "botocore", "boto3"
SUPPORTED = ">=1.40,<2"

_SERVICE = "bedrock-runtime"
_NO_CHATS = ("embed", "rerank", "stability.", "image", "canvas", "reel")
"""Parts of the names of models that are not language models."""


class Converse(Endpoint):
    """The endpoint of ``converse``. Headers are added when a request is sent."""

    stream = False

    def client(self, instance: Any) -> Any:
        return instance._endpoint  # which is what makes the requests

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        model = {"model": kwargs.get("modelId")}
        return start_fields("aws.bedrock", client.host, model, operation=semconv.CHAT, stream=self.stream)

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        return read_request(kwargs), False

    def answer(self, result: Any) -> Fields:
        return read_answer(result)


class ConverseStream(Converse):
    stream = True

    def on_response(self, call: Call, result: Any) -> Any:
        _watch_events(call, Events(ConverseReader()), result["stream"])
        return result


class Invoke(Converse):
    """The endpoint of ``invoke_model``, whose answer is a body that the program reads itself."""

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        body = kwargs.get("body")
        return (read_body(from_json(body)) if isinstance(body, (str, bytes, bytearray)) else {}), False

    def read_body(self, body: Mapping[str, Any]) -> Fields:
        return read_body(body)

    def answer(self, result: Any) -> Fields:
        return read_whole(result)

    def on_response(self, call: Call, result: Any) -> Any:
        body = result["body"]
        raw = body._raw_stream
        watch = watched(call, _Body(self, read_headers(result.get("ResponseMetadata"))), raw)

        def see(data: bytes, *, is_end: bool) -> None:
            if data:
                watch.see(data)
            if is_end:
                watch.finish()

        body._raw_stream = BodyProxy(raw, see, watch.fail)
        return result


class InvokeStream(Invoke):
    stream = True

    def on_response(self, call: Call, result: Any) -> Any:
        _watch_events(call, Events(InvokeReader()), result["body"])
        return result


def _watch_events(call: Call, reader: Events, stream: Any) -> None:
    """End ``call`` when an ``EventStream`` ends. Only the generator inside is replaced."""
    watch = watched(call, reader, stream._raw_stream)
    stream._event_generator = _overheard(watch, reader, stream._event_generator)


def _overheard(watch: Watch, reader: Events, messages: Iterator[Any]) -> Iterator[Any]:
    for message in pump(watch, messages):
        if reader.failure is not None:
            guard(watch.leave)  # botocore raises it, when it has this message
        yield message


class _Body(JsonBody):
    """Reader of an answer that the program reads in pieces of any size. ``counted``: usage as Bedrock counted it."""

    def __init__(self, endpoint: Invoke, counted: Usage | None) -> None:
        super().__init__(endpoint)
        self._counted = counted

    def fields(self) -> Fields:
        fields = super().fields()
        return {**fields, "usage": merged(fields.get("usage"), self._counted)}


# -- bodies of ``invoke_model``: each family of models has its own form, known by what is in it, not by the model's name
#
# Anthropic's and OpenAI's are their APIs' (Mistral, DeepSeek, Qwen and gpt-oss speak OpenAI's); Nova's is that of Converse; the
# rest take a prompt and give a text.

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
        parameters = {
            _PARAMETERS.get(name, name): to_json(value)
            for name, value in settings.items()
            if name not in (*_PROMPTS, "textGenerationConfig")
        }
        message = Message("user", (Text(prompt),))
        return {"operation": semconv.TEXT_COMPLETION, "input": (message,), "parameters": parameters}
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


_TRACED: dict[Any, Wrapper] = {
    "Converse": traced(Converse()),
    "ConverseStream": traced(ConverseStream()),
    "InvokeModel": traced(Invoke()),
    "InvokeModelWithResponseStream": traced(InvokeStream()),
}


def make_api_call(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for the function that every method of every AWS client calls."""
    trace = _TRACED.get(args[0]) if len(args) == 2 else None
    if trace is None or guard(lambda: instance.meta.service_model.service_name) != _SERVICE:
        return wrapped(*args, **kwargs)
    model = str(guard(args[1].get, "modelId")).lower()
    if any(part in model for part in _NO_CHATS):
        return wrapped(*args, **kwargs)
    return trace(lambda **_: wrapped(*args, **kwargs), instance, (), args[1])


def _prepare(prepared: Any, endpoint: object, *_: Any) -> None:
    """Count an HTTP request and add headers in the last step before it is sent, after signing; also called for retries."""
    call = call_of(endpoint)
    if call is not None:
        call.attempt(None)
        if not has_traceparent(prepared.headers):
            prepared.headers.update(call.recording.headers())


PATCHES = (
    *_botocore_exchanges.PATCHES,
    Patch("botocore.client", "BaseClient._make_api_call", make_api_call),
    Patch("botocore.endpoint", "Endpoint.prepare_request", after(_prepare, always=True)),
    Patch("botocore.eventstream", "EventStream.close", closing),
)
