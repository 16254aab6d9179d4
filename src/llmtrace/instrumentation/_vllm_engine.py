"""vLLM's engine as ``LLM`` uses it: each prompt that is added becomes a span, which ends in the step that finishes it.

So a prompt's span has its own times, a batch that is killed half-way has lost no finished answer, and it makes no difference
whether prompts came by ``generate``, by ``chat``, by ``enqueue`` or straight to the engine. A `Batch` says what is known only
above: messages and tools, and the span around them. Laws: outputs are passed on as they are; an engine that fails
ends every open span.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from opentelemetry.context import Context

from llmtrace import semconv
from llmtrace.content import to_json
from llmtrace.errors import LlmtraceError
from llmtrace.instrumentation._cache import read_messages_cached, read_tools_cached
from llmtrace.instrumentation._failures import failure_in_call
from llmtrace.instrumentation._openai_messages import read_message
from llmtrace.instrumentation._openai_messages import read_prompt as read_plain_prompt
from llmtrace.instrumentation._provider import Fields, build_operation
from llmtrace.instrumentation._vllm_answers import ABORTED, CallReader, OutputReader
from llmtrace.model import Custom, Embedding, Failure, Generic, Inference, JsonValue, Message, Text, Usage
from llmtrace.recorder import Recording, active
from llmtrace.recorder.guard import guard, report

# -- what a prompt asks for. Law: what a parameter is by default is not recorded, since vLLM's objects hold every parameter.

_DEFAULTS: dict[str, tuple[str, Any]] = {
    "temperature": ("temperature", None),
    "max_tokens": ("max_tokens", None),
    "seed": ("seed", None),
    "top_p": ("top_p", 1.0),
    "top_k": ("top_k", 0),
    "min_p": ("min_p", 0.0),
    "n": ("choice.count", 1),
    "frequency_penalty": ("frequency_penalty", 0.0),
    "presence_penalty": ("presence_penalty", 0.0),
    "repetition_penalty": ("repetition_penalty", 1.0),
    "min_tokens": ("min_tokens", 0),
    "logprobs": ("logprobs", None),
}
"""vLLM's name to ours, and the value that says nothing."""
_CONSTRAINTS = ("json", "json_object", "regex", "choice", "grammar", "structural_tag")


def read_parameters(params: Any) -> dict[str, JsonValue]:
    """Read a ``SamplingParams``."""
    parameters: dict[str, JsonValue] = {}
    for name, (ours, default) in _DEFAULTS.items():
        setting = getattr(params, name, default)
        if setting is not None and setting != default and not (name == "top_k" and setting < 1):
            parameters[ours] = setting
    stop = getattr(params, "stop", None)
    if stop:
        parameters["stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)
    structured = getattr(params, "structured_outputs", None)
    if structured is not None:
        constraints = {name: getattr(structured, name, None) for name in _CONSTRAINTS}
        parameters["structured_outputs"] = to_json({name: value for name, value in constraints.items() if value is not None})
    return parameters


def is_delta(params: Any) -> bool:
    """Return True if each output holds only what is new, not all so far."""
    return getattr(getattr(params, "output_kind", None), "name", "") == "DELTA"


def read_prompt(prompt: Any, text: Any = None) -> tuple[Message, ...]:
    """Read a prompt in any of vLLM's forms. ``text``: its text, if it is given apart."""
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
    """Count the prompts that ``LLM.generate`` gets."""
    if isinstance(prompts, (str, bytes, Mapping)) or not isinstance(prompts, Sequence):
        return 1
    return 1 if prompts and isinstance(prompts[0], int) else len(prompts)


def conversations(messages: Any) -> Sequence[Any]:
    """Return the conversations that ``LLM.chat`` gets: one, or a list of them."""
    if not isinstance(messages, Sequence) or not messages:
        return ()
    return messages if isinstance(messages[0], (list, tuple)) else (messages,)


def model_of(engine: Any) -> str | None:
    """Return the name of an engine's model, as its server would report it."""
    config = getattr(engine, "model_config", None)
    named = getattr(config, "served_model_name", None)
    if isinstance(named, (list, tuple)):
        named = named[0] if named else None
    model = named or getattr(config, "model", None)
    return model if isinstance(model, str) else None


# -- prompts in an engine

PROVIDER = "vllm"


class Batch:
    """One call of ``LLM``, with the span around its prompts and what the call says of them."""

    __slots__ = ("_parameters", "added", "adds", "calls", "chats", "is_silent", "open", "prompts", "recording", "tools")

    def __init__(self, recording: Recording | None = None, prompts: Any = None, *, is_silent: bool = False) -> None:
        """``recording``: of the span around the prompts, where there is one. ``prompts``: the prompts as the program gave them.
        ``is_silent``: they get no spans."""
        self.recording = recording
        self.prompts = prompts
        self.is_silent = is_silent
        self.chats: Sequence[Any] | None = None
        self.tools: Any = None
        self.calls: CallReader | None = None
        self.added = 0
        self.open = 0
        self.adds = True
        """Prompts may still be added."""
        self._parameters: dict[int, tuple[Any, dict[str, Any]]] = {}

    @property
    def context(self) -> Context | None:
        return None if self.recording is None else self.recording.context

    def read(self, prompt: Any, text: Any, params: Any) -> Fields:
        """Read the fields of the next prompt."""
        place = self.added
        self.added += 1
        fields: Fields = {"parameters": self._read_parameters(params)}
        if self.chats is not None and place < len(self.chats):
            return {**fields, "operation": semconv.CHAT, **read_chat(self.chats[place], self.tools)}
        return {**fields, "operation": semconv.TEXT_COMPLETION, "input": read_prompt(prompt, text)}

    def _read_parameters(self, params: Any) -> dict[str, Any]:
        """Read sampling parameters; an object that all prompts share is read once."""
        entry = self._parameters.get(id(params))
        if entry is None:
            entry = self._parameters[id(params)] = params, read_parameters(params)
        return entry[1]

    def finished(self) -> None:
        """Count a finished prompt, and end the batch with the last one."""
        self.open -= 1
        self.close()

    def close(self, error: BaseException | None = None) -> None:
        if self.recording is None or self.adds or (self.open and error is None):
            return
        recording, self.recording = self.recording, None
        recording.end(Custom({"prompts": self.added}), failure=None if error is None else failure_in_call(error))


current: ContextVar[Batch | None] = ContextVar("llmtrace_vllm_batch", default=None)


class OpenPrompt:
    """One prompt in an engine: its open span, and what was seen of the answer."""

    __slots__ = ("_batch", "_fields", "_first", "_operation_type", "_reader", "_started", "internal", "recording", "streams")

    def __init__(
        self, batch: Batch, recording: Recording, fields: Fields, reader: OutputReader | None, operation_type: type[Any]
    ) -> None:
        self.recording = recording
        self.streams = fields.get("stream") is True
        self._batch = batch
        self._fields = fields
        self._reader = reader
        self._operation_type = operation_type
        self._started = time.perf_counter()
        self._first: float | None = None
        self.internal = ""
        """The engine's own id for it."""
        batch.open += 1

    def see(self, output: Any) -> None:
        if self._first is None and self.streams:
            self._first = time.perf_counter() - self._started
            self.recording.first_chunk()
        if self._reader is not None:
            self._reader.feed(output)
        if output.finished:
            self.end({} if self._reader is not None else pooled([output]))

    def abort(self) -> None:
        self.end({"finish_reasons": (ABORTED,), "partial": True})

    def fail(self, error: BaseException) -> None:
        self.end({"partial": True}, failure_in_call(error))

    def end(self, fields: Fields, failure: Failure | None = None) -> None:
        answer = {} if self._reader is None else guard(self._reader.fields) or {}
        if self._first is not None:
            fields = {**fields, "time_to_first_chunk": self._first}
        self.recording.end(guard(self._operation, {**answer, **self._fields, **fields}), failure=failure)
        self._batch.finished()

    def _operation(self, fields: Fields) -> Any:
        attributes = fields.pop("attributes", None)
        if attributes:
            self.recording.set({**attributes, **self.recording.attributes})
        return build_operation(self._operation_type, fields)


_open: weakref.WeakKeyDictionary[Any, dict[str, OpenPrompt]] = weakref.WeakKeyDictionary()
"""By engine, its prompts that are not finished, by the id that the program (or ``LLM``) gave; and by the engine's own."""


def pooled(outputs: Sequence[Any]) -> Fields:
    """Read embeddings: input tokens and the length of a vector. No vector is recorded."""
    counts = [len(output.prompt_token_ids) for output in outputs if output.prompt_token_ids is not None]
    first = getattr(outputs[0], "outputs", None) if outputs else None
    vector = getattr(first, "embedding", getattr(first, "data", None))
    shape = getattr(vector, "shape", None)
    length = (shape[-1] if shape else None) if shape is not None else len(vector) if isinstance(vector, list) else None
    return {"usage": Usage(sum(counts)) if counts else None, "dimensions": length}


def adding(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``LLMEngine.add_request(request_id, prompt, params, …)``."""
    try:
        prompt = _open_prompt(instance, args, kwargs)
    except LlmtraceError:
        raise
    except Exception as error:
        report(_open_prompt, error)
        prompt = None
    if prompt is None:
        return wrapped(*args, **kwargs)
    carried = guard(_carrying, instance, prompt, args, kwargs)
    try:
        internal = wrapped(*args, **(kwargs if carried is None else carried))
    except BaseException as error:
        guard(prompt.fail, error)
        raise
    guard(_keep, instance, _argument(args, kwargs, 0, "request_id"), internal, prompt)
    return internal


def _argument(args: Any, kwargs: Mapping[str, Any], place: int, name: str) -> Any:
    return args[place] if len(args) > place else kwargs.get(name)


def _open_prompt(engine: Any, args: Any, kwargs: Mapping[str, Any]) -> OpenPrompt | None:
    recorder, batch = active(), current.get()
    if recorder is None or (batch is not None and batch.is_silent):
        return None
    if batch is None:
        batch = Batch()
    prompt, params = _argument(args, kwargs, 1, "prompt"), _argument(args, kwargs, 2, "params")
    model = model_of(engine)
    if not hasattr(params, "max_tokens"):  # pooling
        recording = recorder.start(Embedding(PROVIDER, request_model=model), context=batch.context)
        return OpenPrompt(batch, recording, {"provider": PROVIDER, "request_model": model}, None, Embedding)
    lora = _argument(args, kwargs, 4, "lora_request")
    fields: Fields = {
        "provider": PROVIDER,
        "request_model": model,
        "response_model": getattr(lora, "lora_name", None) or model,
        "response_id": _argument(args, kwargs, 0, "request_id"),
        "stream": getattr(getattr(params, "output_kind", None), "name", "FINAL_ONLY") != "FINAL_ONLY",
        **(guard(batch.read, prompt, kwargs.get("prompt_text"), params) or {}),
    }
    opened = Inference(PROVIDER, fields.get("operation", semconv.CHAT), request_model=model, stream=fields["stream"])
    recording = recorder.start(opened, context=batch.context)
    return OpenPrompt(batch, recording, fields, OutputReader(delta=is_delta(params), calls=batch.calls), Inference)


def _carrying(engine: Any, prompt: OpenPrompt, args: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return arguments with our trace context, if the engine writes spans."""
    observed = getattr(engine, "observability_config", None)
    if getattr(observed, "otlp_traces_endpoint", None) is None or len(args) > 6 or kwargs.get("trace_headers"):
        return kwargs
    return {**kwargs, "trace_headers": prompt.recording.headers()}


def _keep(engine: Any, request_id: str, internal: Any, prompt: OpenPrompt) -> None:
    prompts = _open.get(engine)
    if prompts is None:
        prompts = _open[engine] = {}
    prompt.internal = internal if isinstance(internal, str) else request_id
    prompts[request_id] = prompt


def stepping(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``LLMEngine.step``, which returns the outputs so far."""
    try:
        outputs = wrapped(*args, **kwargs)
    except BaseException as error:
        guard(_fail_all, instance, error)
        raise
    prompts = _open.get(instance)
    if prompts:
        for output in outputs:
            prompt = prompts.get(output.request_id)
            if prompt is not None:
                if output.finished:
                    del prompts[output.request_id]
                guard(prompt.see, output)
    return outputs


def _fail_all(engine: Any, error: BaseException) -> None:
    for prompt in _open.pop(engine, {}).values():
        guard(prompt.fail, error)


def abort(_result: Any, engine: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
    """End the spans of requests after ``LLMEngine.abort_request(request_ids)``, since they have no further output."""
    ids = _argument(args, kwargs, 0, "request_ids")
    prompts = _open.get(engine) or {}
    dropped = {ids} if isinstance(ids, str) else set(ids)
    for request_id, prompt in list(prompts.items()):
        if request_id in dropped or prompt.internal in dropped:
            del prompts[request_id]
            prompt.abort()
