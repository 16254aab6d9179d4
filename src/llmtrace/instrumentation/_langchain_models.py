"""LangChain's chat models: exactly one inference for each call.

Where the model makes its request by an SDK that is instrumented, that SDK's span is the inference. For every other model, the
inference is made here from LangChain's own messages; an SDK that it may use after all is a part of it (``suppress_nested``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmtrace import instrumentation, semconv
from llmtrace.content import to_json
from llmtrace.instrumentation._generators import traced_generator
from llmtrace.instrumentation._langchain_messages import read_input, read_message, read_reason, read_usage
from llmtrace.instrumentation._patches import Patch, Wrapper
from llmtrace.instrumentation._provider import Call, Endpoint, Fields, traced, traced_async
from llmtrace.instrumentation._streams import Reader
from llmtrace.recorder import active
from llmtrace.recorder.guard import guard
from llmtrace.validation.tool_definitions import read_definition

_SDKS = {
    "langchain_openai": "openai",
    "langchain_deepseek": "openai",
    "langchain_xai": "openai",
    "langchain_anthropic": "anthropic",
    "langchain_google_genai": "google_genai",
    "langchain_aws": "bedrock",
    "langchain_groq": "groq",
    "langchain_cohere": "cohere",
    "langchain_ollama": "ollama",
    "langchain_litellm": "litellm",
}
"""The package of a chat model to the instrumentor of the SDK by which it makes its requests."""
_PROVIDERS = {
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "amazon_bedrock": "aws.bedrock",
    "mistral": "mistral_ai",
    "azure": "azure.ai.openai",
    "xai": "x_ai",
}
"""LangChain's name of a provider to the conventions', where they differ."""
_SETTINGS = {"ls_temperature": "temperature", "ls_max_tokens": "max_tokens", "ls_stop": "stop_sequences"}
_NO_PARAMETERS = frozenset({"messages", "input", "config", "run_manager", "stop", "tools", "functions", "stream"})


def covered_by_sdk(model: Any) -> bool:
    """Return True if the instrumented SDK below records the call."""
    for kind in type(model).__mro__:
        sdk = _SDKS.get(kind.__module__.partition(".")[0])
        if sdk is not None:
            return instrumentation.is_on(sdk)
    return False


class _Chat(Endpoint):
    suppress_nested = True

    def __init__(self, model: Any) -> None:
        self._model = model

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        params = self._langsmith_params(kwargs)
        provider = str(params.get("ls_provider") or type(client).__name__)
        return {
            "provider": _PROVIDERS.get(provider, provider),
            "operation": semconv.CHAT,
            "request_model": params.get("ls_model_name"),
        }

    def _langsmith_params(self, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        return guard(self._model._get_ls_params, stop=kwargs.get("stop")) or {}

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        prompt: Any = kwargs["messages"] if "messages" in kwargs else kwargs.get("input")
        messages = prompt.to_messages() if hasattr(prompt, "to_messages") else prompt
        tools = kwargs.get("tools") or kwargs.get("functions") or ()
        parameters = {
            name: to_json(value) for name, value in kwargs.items() if name not in _NO_PARAMETERS and value is not None
        }
        settings, names = self._langsmith_params(kwargs), _SETTINGS.items()
        return {
            "parameters": {**parameters, **{name: settings[key] for key, name in names if settings.get(key) is not None}},
            "input": read_input({"messages": [messages] if isinstance(messages, str) else list(messages)}),
            "tools": tuple(read_definition(tool) for tool in tools if isinstance(tool, Mapping)),
        }, False

    def answer(self, result: Any) -> Fields:
        return _answered([generation.message for generation in result.generations], result.llm_output or {})

    def reader(self, call: Call) -> _Chunks:  # noqa: ARG002
        return _Chunks()


def _answered(messages: list[Any], output: Mapping[str, Any]) -> Fields:
    metadata = [getattr(message, "response_metadata", None) or {} for message in messages]
    reasons = [read_reason(entry) for entry in metadata]
    first = {**output, **(metadata[0] if metadata else {})}
    usages = [usage for usage in map(read_usage, messages) if usage is not None]
    return {
        "output": tuple(read_message(message, reason) for message, reason in zip(messages, reasons, strict=True)),
        "finish_reasons": tuple(reason for reason in reasons if reason is not None),
        "usage": usages[0] if usages else None,
        "response_model": first.get("model_name") or first.get("model"),
        "response_id": first.get("id"),
    }


class _Chunks(Reader):
    def __init__(self) -> None:
        self._chunks: list[Any] = []

    def feed(self, chunk: Any) -> None:
        self._chunks.append(chunk)

    def fields(self) -> Fields:
        if not self._chunks:
            return {}
        first, *more = self._chunks
        whole = first + more if more else first
        last = getattr(self._chunks[-1], "chunk_position", "last") == "last"
        return {**_answered([whole], {}), **({"partial": False} if last else {})}


def _unless_covered(engine: Callable[[_Chat], Wrapper]) -> Wrapper:
    """A wrapper that records a call here, unless the SDK below does."""

    def wrapper(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if active() is None or guard(covered_by_sdk, instance) is not False:
            return wrapped(*args, **kwargs)
        return engine(_Chat(instance))(wrapped, instance, args, kwargs)

    return wrapper


_MODELS = "langchain_core.language_models.chat_models"

PATCHES = (
    Patch(_MODELS, "BaseChatModel._generate_with_cache", _unless_covered(traced)),
    Patch(_MODELS, "BaseChatModel._agenerate_with_cache", _unless_covered(traced_async)),
    Patch(_MODELS, "BaseChatModel.stream", _unless_covered(traced_generator)),
    Patch(_MODELS, "BaseChatModel.astream", _unless_covered(traced_generator)),
)
