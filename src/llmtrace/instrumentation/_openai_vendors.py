"""Who answers an OpenAI client: told by the client's class or by the provider that it was made for, else by the host of its
base URL.

Law: a host that is not known here is ``openai``, since nobody can tell from outside what a server of one's own runs; names are
the conventions' where they have one.
"""

from __future__ import annotations

from typing import Any

OPENAI = "openai"
AZURE = "azure.ai.openai"

BY_CLASS = {"Azure": AZURE, "Bedrock": "aws.bedrock"}
"""A part of the name of a client's class, or of a class that it is derived from."""

BY_PROVIDER = {"bedrock": "aws.bedrock", "vertex": "gcp.vertex_ai"}
"""The name of the ``provider`` that a client of openai 3.x was made for."""

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
"""The end of a host that differs by region or resource."""

_providers: dict[tuple[type, str | None, str | None], str] = {}


def provider_of(client: Any, host: str | None) -> str:
    """Return ``gen_ai.provider.name`` for a client's calls. ``host``: of its base URL."""
    made_for = getattr(getattr(client, "_provider_runtime", None), "name", None)
    key = type(client), host, made_for
    provider = _providers.get(key)
    if provider is None:
        if len(_providers) > 256:
            _providers.clear()
        provider = _providers[key] = _by_class(key[0]) or BY_PROVIDER.get(made_for or "") or by_host(host or "")
    return provider


def _by_class(client: type) -> str | None:
    names = [base.__name__ for base in client.__mro__]
    return next((provider for part, provider in BY_CLASS.items() if any(part in name for name in names)), None)


def by_host(host: str) -> str:
    host = host.lower().rstrip(".")
    if host in BY_HOST:
        return BY_HOST[host]
    if host.startswith("bedrock") and host.endswith((".amazonaws.com", ".api.aws")):
        return "aws.bedrock"
    return next((provider for end, provider in BY_DOMAIN if host.endswith(end)), OPENAI)
