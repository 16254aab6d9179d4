"""Embeddings of providers other than OpenAI: model, dimensions and tokens are on a span; what is embedded is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from kit import json_reply
from server import Server
from spans_of import spans

from llmtrace.model import Embedding, Usage
from llmtrace.testing import capture

VECTOR = [0.5, 0.25]
OF_OPENAI = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": VECTOR}], "model": "embed-1"}
BILLED = {"billed_units": {"input_tokens": 4}}


def cohere_1(url: str) -> Any:
    client = pytest.importorskip("cohere").Client(api_key="none", base_url=url)
    return client.embed(texts=["secret"], model="embed-1", input_type="search_query")


def cohere_2(url: str) -> Any:
    client = pytest.importorskip("cohere").ClientV2(api_key="none", base_url=url)
    return client.embed(texts=["secret"], model="embed-1", input_type="search_query", embedding_types=["float"])


def google_genai(url: str) -> Any:
    genai = pytest.importorskip("google.genai")
    client = genai.Client(api_key="none", http_options=genai.types.HttpOptions(base_url=url))
    return client.models.embed_content(model="embed-1", contents=["secret"])


def groq(url: str) -> Any:
    return pytest.importorskip("groq").Groq(api_key="none", base_url=url).embeddings.create(model="embed-1", input="secret")


def mistral(url: str) -> Any:
    pytest.importorskip("mistralai")
    from kits.mistral import Client

    return Client(api_key="none", server_url=url).embeddings.create(model="embed-1", inputs=["secret"])


def ollama(url: str) -> Any:
    return pytest.importorskip("ollama").Client(url).embed("embed-1", "secret")


def ollama_async(url: str) -> Any:
    return asyncio.run(pytest.importorskip("ollama").AsyncClient(url).embed("embed-1", "secret"))


_V1 = {"id": "e", "texts": [], "embeddings": [VECTOR], "response_type": "embeddings_floats", "meta": BILLED}
_V2 = {**_V1, "embeddings": {"float": [VECTOR]}, "response_type": "embeddings_by_type"}
_GOOGLE = {"embeddings": [{"values": VECTOR}, {"values": VECTOR}]}
_OF_OPENAI = {**OF_OPENAI, "usage": {"prompt_tokens": 4, "total_tokens": 4}}
_MISTRAL = {**OF_OPENAI, "id": "e", "usage": {"prompt_tokens": 4, "completion_tokens": 0, "total_tokens": 4}}
_OLLAMA = {"model": "embed-1", "embeddings": [VECTOR], "prompt_eval_count": 4}


@pytest.mark.parametrize(
    ("embed", "body", "provider", "usage"),
    [
        (cohere_1, _V1, "cohere", Usage(4)),
        (cohere_2, _V2, "cohere", Usage(4)),
        (google_genai, _GOOGLE, "gcp.gemini", None),
        (groq, _OF_OPENAI, "groq", Usage(4)),
        (mistral, _MISTRAL, "mistral_ai", Usage(4, 0)),
        (ollama, _OLLAMA, "ollama", Usage(4)),
        (ollama_async, _OLLAMA, "ollama", Usage(4)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_embeddings_are_recorded_without_their_text(
    embed: Callable[[str], Any], body: dict[str, Any], provider: str, usage: Usage | None
) -> None:
    """One span; the text is not on it, and the vector only in the exchange that a replay needs."""
    library = embed.__name__.removesuffix("_async").rstrip("_12")
    with Server(json_reply(body)) as server, capture(instrument=(library,), redact=False) as captured:
        embed(server.url)
    (span,) = spans(captured)
    operation = span.operation
    assert isinstance(operation, Embedding)
    assert (span.name, operation.provider, operation.request_model) == ("embeddings embed-1", provider, "embed-1")
    assert (operation.dimensions, operation.usage) == (2, usage)
    assert operation.response_model == (None if library in ("cohere", "google_genai") else "embed-1")
    assert "secret" not in repr(span)
    assert str(VECTOR) not in repr((operation, span.attributes))
