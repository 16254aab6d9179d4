"""Shared by OpenAI's endpoints: the provider that answers a call, its headers, and its parameters.

Law of providers: an unknown host is ``openai``, because the software of a self-hosted server is unknown. Names are the
conventions' if they exist.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._provider import Headers
from llmtrace.instrumentation._requests import headers_in
from llmtrace.instrumentation._stainless import SdkEndpoint, is_given

# -- who answers: told by the client's class or by the provider that it was made for, else by the host of its base URL

OPENAI = "openai"
AZURE = "azure.ai.openai"

BY_CLASS = {"Azure": AZURE, "Bedrock": "aws.bedrock", "Vertex": "gcp.vertex_ai"}
"""Part of the name of a client's class, or of one of its base classes."""

BY_PROVIDER = {"bedrock": "aws.bedrock", "vertex": "gcp.vertex_ai"}
"""Name of the ``provider`` of a client of openai 3.x."""

BY_HOST = {
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "api.ai21.com": "ai21",
    "api.anthropic.com": "anthropic",
    "api.cerebras.ai": "cerebras",
    "api.cohere.ai": "cohere",
    "api.cohere.com": "cohere",
    "api.deepinfra.com": "deepinfra",
    "api.deepseek.com": "deepseek",
    "api.fireworks.ai": "fireworks",
    "api.groq.com": "groq",
    "api.hyperbolic.xyz": "hyperbolic",
    "api.mistral.ai": "mistral_ai",
    "api.moonshot.ai": "moonshot_ai",
    "api.moonshot.cn": "moonshot_ai",
    "api.novita.ai": "novita",
    "api.perplexity.ai": "perplexity",
    "api.sambanova.ai": "sambanova",
    "api.together.ai": "together",
    "api.together.xyz": "together",
    "api.x.ai": "x_ai",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "inference.baseten.co": "baseten",
    "integrate.api.nvidia.com": "nvidia",
    "models.github.ai": "github",
    "openrouter.ai": "openrouter",
    "router.huggingface.co": "hugging_face",
}

BY_DOMAIN = (
    (".openai.azure.com", AZURE),
    (".cognitiveservices.azure.com", AZURE),
    (".services.ai.azure.com", "azure.ai.inference"),
    (".inference.ai.azure.com", "azure.ai.inference"),
    ("-aiplatform.googleapis.com", "gcp.vertex_ai"),
    (".ml.cloud.ibm.com", "ibm.watsonx.ai"),
    (".x.ai", "x_ai"),
)
"""End of hosts that differ by region or resource."""


@lru_cache(maxsize=256)
def by_class(client: type) -> str | None:
    names = " ".join([base.__name__ for base in client.__mro__])
    return next((provider for part, provider in BY_CLASS.items() if part in names), None)


@lru_cache(maxsize=256)
def by_host(host: str) -> str:
    host = host.lower().rstrip(".")
    if host in BY_HOST:
        return BY_HOST[host]
    if host.startswith("bedrock") and host.endswith((".amazonaws.com", ".api.aws")):
        return "aws.bedrock"
    return next((provider for end, provider in BY_DOMAIN if host.endswith(end)), OPENAI)


class OpenAIEndpoint(SdkEndpoint):
    """A resource of the client. Subclasses read requests and answers. ``provider``: only if the client does not tell it."""

    def provider_of(self, client: Any, host: str | None) -> str:
        if self.provider:
            return self.provider
        kind: Any = type(client)
        made_for = getattr(getattr(client, "_provider_runtime", None), "name", None)
        return by_class(kind) or BY_PROVIDER.get(made_for or "") or by_host(host or "")

    def inject_headers(self, client: Any, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], Headers | None]:
        return headers_in(kwargs, "extra_headers", getattr(client, "_custom_headers", None))


# -- parameters, by the conventions' names where they have one

NOT_OF_THE_REQUEST = frozenset({"model", "tools", "stream", "extra_headers", "extra_query", "extra_body", "timeout"})
"""Arguments of every method that are recorded elsewhere, or are not part of the body."""

_PLAIN = frozenset({str, int, float, bool, type(None)})


def read_parameters(kwargs: Mapping[str, Any], names: Mapping[str, str], left_out: Collection[str] = ()) -> dict[str, Any]:
    """Read the parameters of a request. ``names``: the library's names to ours; ``left_out``: recorded elsewhere."""
    parameters: dict[str, Any] = {}
    extra = kwargs.get("extra_body")
    for arguments in (kwargs, extra) if extra is not None and isinstance(extra, Mapping) else (kwargs,):
        for name, value in arguments.items():
            if name in left_out or value is None:
                continue
            if type(value) in _PLAIN:
                parameters[names.get(name, name)] = value
            elif isinstance(value, type):  # the schema is read from what is sent
                parameters[names.get(name, name)] = {"type": "json_schema", "json_schema": {"name": value.__name__}}
            elif is_given(value):  # as JSON now, because the program may change it later
                value = list(value) if name == "stop" and isinstance(value, tuple) else value
                parameters[names.get(name, name)] = to_json(value)
    if isinstance(parameters.get("stop_sequences"), str):
        parameters["stop_sequences"] = [parameters["stop_sequences"]]
    return parameters
