"""Records prompts in vLLM's engine as ``LLM`` uses it: each added prompt becomes a span, which ends in the step that finishes
it.

So a prompt's span has its own times, and a batch that is killed half-way loses no finished answer. It does not matter whether
prompts were added by ``generate``, ``chat``, ``enqueue`` or directly to the engine. A `Batch` has the data that only the caller
knows: messages and tools, and the span around them. Laws: outputs are passed on unchanged; an engine that fails ends every open
span.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from opentelemetry.context import Context

from llmtrace import semconv
from llmtrace.content import to_json
from llmtrace.instrumentation._cache import read_messages_cached, read_tools_cached
from llmtrace.instrumentation._failures import failure_in_call
from llmtrace.instrumentation._openai_messages import read_message
from llmtrace.instrumentation._openai_messages import read_prompt as read_plain_prompt
from llmtrace.instrumentation._provider import Call, Endpoint, Fields, Headers, traced
from llmtrace.instrumentation._streams import Reader, Watch
from llmtrace.instrumentation._vllm_answers import ABORTED, CallReader, OutputReader
from llmtrace.model import Custom, Embedding, Generic, JsonValue, Message, Text, Usage
from llmtrace.recorder import Recording
from llmtrace.recorder.guard import guard

# -- what a prompt asks for. Law: what a parameter is by default is not recorded, since vLLM's objects hold every parameter.

_DEFAULTS: dict[str, Any] = {
    "temperature": None,
    "max_tokens": None,
    "seed": None,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "n": 1,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "repetition_penalty": 1.0,
    "min_tokens": 0,
    "logprobs": None,
}
"""Parameters that are recorded, with the values that say nothing."""
_CONSTRAINTS = ("json", "json_object", "regex", "choice", "grammar", "structural_tag")


def read_parameters(params: Any) -> dict[str, JsonValue]:
    parameters: dict[str, JsonValue] = {}
    for name, default in _DEFAULTS.items():
        setting = getattr(params, name, default)
        if setting is not None and setting != default and not (name == "top_k" and setting < 1):
            parameters["choice.count" if name == "n" else name] = setting
    stop = getattr(params, "stop", None)
    if stop:
        parameters["stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)
    structured = getattr(params, "structured_outputs", None)
    if structured is not None:
        constraints = {name: getattr(structured, name, None) for name in _CONSTRAINTS}
        parameters["structured_outputs"] = to_json({name: value for name, value in constraints.items() if value is not None})
    return parameters


def output_kind(params: Any) -> str:
    """Return the kind of a request's outputs. ``DELTA``: each has only the new part. ``CUMULATIVE``: each has everything so
    far. ``FINAL_ONLY``: there is one complete output."""
    return getattr(getattr(params, "output_kind", None), "name", "FINAL_ONLY")


def read_prompt(prompt: Any, text: Any = None) -> tuple[Message, ...]:
    """Read a prompt in any of vLLM's forms. ``text``: its text, if it is passed separately."""
    if isinstance(text, str):
        return read_plain_prompt(text)
    if not isinstance(prompt, Mapping):
        return read_plain_prompt(prompt)
    content = prompt.get("prompt")
    if not isinstance(content, str):
        return read_plain_prompt(prompt.get("prompt_token_ids"))
    data = prompt.get("multi_modal_data")
    media = [Generic("multi_modal", {"modality": str(name)}) for name in data] if isinstance(data, Mapping) else []
    return (Message("user", (Text(content), *media)),)


def read_chat(messages: Any, tools: Any) -> Fields:
    fields: Fields = {"input": read_messages_cached(messages, read_message)}
    if tools:
        fields["tools"] = read_tools_cached(list(tools))
    return fields


def count_prompts(prompts: Any) -> int:
    if isinstance(prompts, (str, bytes, Mapping)) or not isinstance(prompts, Sequence):
        return 1
    return 1 if prompts and isinstance(prompts[0], int) else len(prompts)


def conversations(messages: Any) -> Sequence[Any]:
    if not isinstance(messages, Sequence) or not messages:
        return ()
    return messages if isinstance(messages[0], (list, tuple)) else (messages,)


def model_of(engine: Any) -> str | None:
    config = getattr(engine, "model_config", None)
    named = getattr(config, "served_model_name", None)
    if isinstance(named, (list, tuple)):
        named = named[0] if named else None
    model = named or getattr(config, "model", None)
    return model if isinstance(model, str) else None


# -- prompts in an engine

PROVIDER = "vllm"


@dataclass(slots=True)
class Batch:
    """A call of ``LLM``, with the span around its prompts and the data of the call."""

    recording: Recording | None = None
    """Of the span around the prompts, if there is one."""
    prompts: Any = None
    """As the program passed them."""
    is_silent: bool = False
    """True if the prompts get no spans."""
    chats: Sequence[Any] | None = None
    tools: Any = None
    calls: CallReader | None = None
    added: int = 0
    open: int = 0
    adds: bool = True
    """True while prompts may still be added."""

    @property
    def context(self) -> Context | None:
        return None if self.recording is None else self.recording.context

    def read(self, prompt: Any, text: Any, params: Any) -> Fields:
        place = self.added
        self.added += 1
        fields: Fields = {"parameters": read_parameters(params)}
        if self.chats is not None and place < len(self.chats):
            return {**fields, "operation": semconv.CHAT, **read_chat(self.chats[place], self.tools)}
        return {**fields, "operation": semconv.TEXT_COMPLETION, "input": read_prompt(prompt, text)}

    def finished(self) -> None:
        self.open -= 1
        self.close()

    def close(self, error: BaseException | None = None) -> None:
        if self.recording is None or self.adds or (self.open and error is None):
            return
        recording, self.recording = self.recording, None
        recording.end(Custom({"prompts": self.added}), failure=None if error is None else failure_in_call(error))


current: ContextVar[Batch | None] = ContextVar("llmtrace_vllm_batch", default=None)


class Generate(Endpoint):
    """The endpoint of ``AsyncLLM.generate``, an async generator of outputs of any kind."""

    runs_in_process = True
    parameters = "sampling_params"
    """Name of the argument with the sampling parameters."""

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        model = model_of(client)
        lora = getattr(kwargs.get("lora_request"), "lora_name", None)
        return {
            "provider": PROVIDER,
            "operation": semconv.TEXT_COMPLETION,
            "request_model": model,
            "response_model": lora or model,
            "response_id": kwargs.get("request_id"),
            "stream": True,
        }

    def inject_headers(self, client: Any, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], Headers | None]:
        """Add our trace context if the engine writes spans; otherwise vLLM would log a warning."""
        program_headers = kwargs.get("trace_headers")
        observed = getattr(client, "observability_config", None)
        if getattr(observed, "otlp_traces_endpoint", None) is None or (program_headers and "traceparent" in program_headers):
            return dict(kwargs), None
        headers = dict(program_headers or {})
        return {**kwargs, "trace_headers": headers}, headers

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        batch = current.get() or Batch()
        fields = batch.read(kwargs.get("prompt"), kwargs.get("prompt_text"), kwargs.get(self.parameters))
        return fields, True  # so that the arguments are kept: the reader asks what kind of outputs it gets

    def reader(self, call: Call) -> Reader:
        return OutputReader(delta=output_kind(call.kwargs.get(self.parameters)) == "DELTA")


class Encode(Generate):
    """The endpoint of ``AsyncLLM.encode``; its vectors are not recorded."""

    operation_type = Embedding

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:  # noqa: ARG002
        model = model_of(client)
        return {"provider": PROVIDER, "request_model": model, "response_model": model}

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:  # noqa: ARG002
        return {}, False

    def reader(self, call: Call) -> Reader:  # noqa: ARG002
        return _PooledReader()


class _PooledReader(Reader):
    def __init__(self) -> None:
        self._outputs: list[Any] = []

    def feed(self, output: Any) -> None:
        self._outputs = [output]

    def fields(self) -> Fields:
        return pooled(self._outputs)


class _InBatch(Endpoint):
    """``LLMEngine.add_request(request_id, prompt, params, …)``. Its outputs arrive in the engine's steps."""

    def remote_parent(self, kwargs: Mapping[str, Any]) -> Context | None:  # noqa: ARG002
        batch = current.get()
        return None if batch is None else batch.context

    def on_response(self, call: Call, result: Any) -> Any:
        request_id, engine = call.kwargs.get("request_id"), call.client
        prompt = Prompt(call, self.reader(call), current.get() or Batch())
        call.client, call.kwargs = None, {}  # else the engine would be kept by its open prompts
        prompt.internal_id = result if isinstance(result, str) else request_id
        _open.setdefault(engine, {})[request_id] = prompt
        return result


class AddPrompt(_InBatch, Generate):
    parameters = "params"

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        is_stream = output_kind(kwargs.get("params")) in ("DELTA", "CUMULATIVE")
        return {**super().start_attributes(client, kwargs), "stream": is_stream}

    def reader(self, call: Call) -> Reader:
        batch, kind = current.get() or Batch(), output_kind(call.kwargs.get("params"))
        return OutputReader(delta=kind == "DELTA", calls=batch.calls, is_stream=call.fields["stream"])


class AddPooled(_InBatch, Encode):
    """The endpoint of a prompt for a vector or a score."""

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:  # noqa: ARG002
        return {}, True


class Prompt(Watch):
    __slots__ = ("_batch", "internal_id")

    def __init__(self, call: Call, reader: Reader, batch: Batch) -> None:
        super().__init__(call, reader)
        self._batch = batch
        self.internal_id: Any = None
        """The engine's own id of the prompt."""
        batch.open += 1

    def see(self, output: Any) -> None:
        if self.call is not None and self.call.fields.get("stream"):
            super().see(output)
        else:
            self.reader.feed(output)
        if output.finished:
            self.finish()

    def abort(self) -> None:
        if self.call is not None:
            self.call.fields["finish_reasons"] = (ABORTED,)
        self.leave()

    def _end(self, error: BaseException | None, *, partial: bool) -> None:
        if self.call is not None:
            super()._end(error, partial=partial)
            self._batch.finished()


_open: weakref.WeakKeyDictionary[Any, dict[Any, Prompt]] = weakref.WeakKeyDictionary()
"""The unfinished prompts of each engine, by the id that the program (or ``LLM``) passed."""


def pooled(outputs: Sequence[Any]) -> Fields:
    """Read embeddings: input tokens and the length of a vector. No vector is recorded."""
    counts = [len(output.prompt_token_ids) for output in outputs if output.prompt_token_ids is not None]
    first = getattr(outputs[0], "outputs", None) if outputs else None
    vector = getattr(first, "embedding", getattr(first, "data", None))
    shape = getattr(vector, "shape", None)
    length = (shape[-1] if shape else None) if shape is not None else len(vector) if isinstance(vector, list) else None
    return {"usage": Usage(sum(counts)) if counts else None, "dimensions": length}


_add_prompt, _add_pooled = traced(AddPrompt()), traced(AddPooled())


def adding(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``LLMEngine.add_request``."""
    batch = current.get()
    if batch is not None and batch.is_silent:
        return wrapped(*args, **kwargs)
    params = args[2] if len(args) > 2 else kwargs.get("params")
    wrapper = _add_prompt if hasattr(params, "max_tokens") else _add_pooled
    return wrapper(wrapped, instance, args, kwargs)


def stepping(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``LLMEngine.step``, which returns the outputs so far."""
    try:
        outputs = wrapped(*args, **kwargs)
    except BaseException as error:
        guard(_fail_all, instance, error)
        raise
    prompts = _open.get(instance) or {}
    for output in outputs if prompts else ():
        prompt = prompts.pop(output.request_id, None) if output.finished else prompts.get(output.request_id)
        if prompt is not None:
            guard(prompt.see, output)
    return outputs


def _fail_all(engine: Any, error: BaseException) -> None:
    for prompt in _open.pop(engine, {}).values():
        guard(prompt.fail, error)


def abort(_result: Any, engine: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
    """End the spans of requests after ``LLMEngine.abort_request(request_ids)``, because they have no further output."""
    ids = args[0] if args else kwargs.get("request_ids")
    prompts = _open.get(engine) or {}
    dropped = {ids} if isinstance(ids, str) else set(ids or ())
    for request_id, prompt in list(prompts.items()):
        if request_id in dropped or prompt.internal_id in dropped:
            del prompts[request_id]
            prompt.abort()
