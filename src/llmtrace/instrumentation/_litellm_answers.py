"""Reads litellm's additions to OpenAI's form of answers: the provider and server that answered, and tokens under several names.

Law: litellm's own arguments (keys, addresses, callbacks, metadata) are not recorded, only what it passes to the model.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping
from typing import Any

from llmtrace.instrumentation._openai_chunks import ChunkReader
from llmtrace.instrumentation._openai_messages import read_usage as read_openai_usage
from llmtrace.instrumentation._provider import Fields
from llmtrace.instrumentation._requests import address
from llmtrace.instrumentation._stainless import members
from llmtrace.instrumentation._streams import Reader
from llmtrace.model import Usage, replace
from llmtrace.recorder.guard import guard

PARAMETERS = (
    *("audio", "dimensions", "frequency_penalty", "function_call", "logit_bias", "logprobs", "max_completion_tokens"),
    *("max_output_tokens", "max_tokens", "modalities", "n", "parallel_tool_calls", "prediction", "presence_penalty"),
    *("reasoning", "reasoning_effort", "response_format", "seed", "service_tier", "stop", "stream_options", "temperature"),
    *("text", "thinking", "tool_choice", "top_k", "top_logprobs", "top_p", "verbosity", "web_search_options"),
)
"""Arguments that litellm passes to the model."""

_PROVIDERS = {
    "anthropic_text": "anthropic",
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "azure_text": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "codestral": "mistral_ai",
    "cohere_chat": "cohere",
    "custom_openai": "openai",
    "fireworks_ai": "fireworks",
    "gemini": "gcp.gemini",
    "hosted_vllm": "vllm",
    "huggingface": "hugging_face",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "nvidia_nim": "nvidia",
    "ollama_chat": "ollama",
    "text-completion-codestral": "mistral_ai",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "vertex_ai": "gcp.vertex_ai",
    "vertex_ai_beta": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "watsonx_text": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""litellm's name of a provider to the conventions' name, if they differ."""

UNKNOWN = "litellm"
"""The provider while it is unknown (a router's group of models)."""


def provider_name(litellm_name: str) -> str:
    if litellm_name.startswith("vertex_ai-"):  # the table of prices tells kinds of models apart
        litellm_name = "vertex_ai"
    return _PROVIDERS.get(litellm_name, litellm_name)


def provider_and_model(model: Any, provider: Any) -> tuple[str, str | None]:
    """Return provider and model of a request. ``provider``: the argument beside the model."""
    library: Any = sys.modules.get("litellm")
    name = model if isinstance(model, str) else None
    if isinstance(provider, str) and provider:
        return provider_name(provider), name.removeprefix(f"{provider}/") if name else None
    prefix, _, rest = (name or "").partition("/")
    if rest and prefix in getattr(library, "provider_list", ()):
        return provider_name(prefix), rest
    priced = getattr(library, "model_cost", {}).get(name) or {}
    return provider_name(priced.get("litellm_provider") or UNKNOWN), name


def answered_by(answer: Any) -> Fields:
    """Read provider and server of an answer, which litellm keeps in ``_hidden_params``."""
    hidden = getattr(answer, "_hidden_params", None)
    params = hidden if isinstance(hidden, Mapping) else {}
    provider = params.get("custom_llm_provider") or getattr(answer, "custom_llm_provider", None)
    fields: Fields = {"provider": provider_name(provider)} if isinstance(provider, str) and provider else {}
    return {**fields, **address(params.get("api_base"))}


def read_usage(raw: Any) -> Usage | None:
    """Read token counts like OpenAI's. Cache writes have other names. Zeros mean that nothing was counted, and so do 0
    reasoning tokens."""
    usage = read_openai_usage(raw)
    if usage is None or not (usage.input_tokens or usage.output_tokens):
        return None
    counts = members(raw)
    details = members(counts.get("prompt_tokens_details"))
    written = (
        usage.cache_write_input_tokens,
        details.get("cache_creation_tokens"),
        counts.get("cache_creation_input_tokens"),
    )
    return replace(
        usage,
        cache_write_input_tokens=next((count for count in written if count is not None), None),
        cache_write_1h_input_tokens=members(details.get("cache_creation_token_details")).get("ephemeral_1h_input_tokens")
        or None,
        reasoning_output_tokens=usage.reasoning_output_tokens or None,
    )


_chunks_of: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
"""The server's chunks below a stream of a synchronous Router, which does not keep them itself."""


def keep_chunks(_result: Any, stream: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
    """Keep the chunks below a new stream of a synchronous Router: (generator, model_response)."""
    _chunks_of[stream] = (args[1] if len(args) > 1 else kwargs["model_response"]).chunks


class StreamReader(Reader):
    """`Reader` of litellm's chunks. The program gets the usage only if it requested it; litellm stores it elsewhere. If the
    server reports no usage, litellm makes one up; then no chunk of the server has a usage."""

    def __init__(self, stream: Any, choice_count: int) -> None:
        self._chunks = ChunkReader(choice_count)
        # not the stream, which is to die when the program forgets it
        self._server_chunks = guard(_chunks_of.get, stream) or getattr(stream, "chunks", None)
        self._beside: Mapping[str, Any] = {}
        """Hidden parameters of the last chunk."""
        self._by = answered_by(stream)
        self._usage: Any = None

    def feed(self, chunk: Any) -> None:
        self._chunks.add(chunk)
        self._usage = getattr(chunk, "usage", None) or self._usage
        self._beside = getattr(chunk, "_hidden_params", None) or self._beside
        counted = self._beside.get("usage")  # now: when the stream ends litellm puts what it has estimated there
        if self._usage is None and type(counted).__name__ != "UnreportedUsage":
            self._usage = counted

    def fields(self) -> Fields:
        fields = {**self._by, **self._chunks.fields()}
        provider = self._beside.get("custom_llm_provider")
        if provider:
            fields["provider"] = provider_name(provider)
        chunks = self._server_chunks if isinstance(self._server_chunks, list) else []
        reported = next((chunk.usage for chunk in reversed(chunks) if getattr(chunk, "usage", None) is not None), None)
        is_estimate = chunks and reported is None
        fields["usage"] = None if is_estimate else read_usage(self._usage if self._usage is not None else reported)
        return fields
