"""Embeddings: model, dimensions and tokens are on a span; neither what is embedded nor the vectors are."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from pathlib import Path
from typing import Any

import openai
import pytest
from openai_server import Body, Server, error, http, whole
from spans_of import spans

from llmtrace import semconv
from llmtrace.instrumentation._openai_endpoint import by_host
from llmtrace.model import Embedding, Usage
from llmtrace.testing import Captured

NUMBERS = [0.5, -0.25, 1.0]
MODEL = "text-embedding-3-small"


def embedded(vector: Any = None) -> dict[str, Any]:
    encoded = base64.b64encode(struct.pack("<3f", *NUMBERS)).decode() if vector is None else vector
    data = [{"object": "embedding", "index": 0, "embedding": encoded}]
    return {"object": "list", "data": data, "model": MODEL, "usage": {"prompt_tokens": 4, "total_tokens": 4}}


def embedding(captured: Captured) -> Embedding:
    (span,) = spans(captured)
    assert isinstance(span.operation, Embedding)
    return span.operation


def test_an_embedding_is_recorded(captured: Captured) -> None:
    """The program gets its vectors as ever; the span has a name, a kind and numbers, and no text."""
    server = Server(whole(embedded()))
    result = server.client().embeddings.create(model=MODEL, input="a secret", dimensions=3, encoding_format="float")
    assert result.model == MODEL
    (span,) = spans(captured)
    assert (span.name, span.kind) == (f"embeddings {MODEL}", "client")
    assert span.operation == Embedding("openai", MODEL, MODEL, 3, Usage(4), "llm.local", 8000, 1)
    assert span.attributes == {semconv.REQUEST_ENCODING_FORMATS: ["float"], semconv.HEALTH: "ok", semconv.FINDINGS_COUNT: 0}
    assert "secret" not in repr(span)
    assert server.requests[0].headers["traceparent"] == f"00-{span.trace_id}-{span.span_id}-01"


@pytest.mark.parametrize("vector", [NUMBERS, None])
def test_dimensions_are_counted(captured: Captured, vector: Any) -> None:
    """In a list, and in the base64 that the client asks for by itself."""
    result = Server(whole(embedded(vector))).client().embeddings.create(model=MODEL, input=["a", "b"])
    assert result.data[0].embedding == NUMBERS
    assert embedding(captured).dimensions == 3


def test_raw_answers_are_read(captured: Captured) -> None:
    """By ``with_raw_response`` and ``with_streaming_response``."""
    client = Server(whole(embedded()), whole(embedded())).client()
    client.embeddings.with_raw_response.create(model=MODEL, input="a")
    with client.embeddings.with_streaming_response.create(model=MODEL, input="a") as raw:
        raw.read()
    first, second = (span.operation for span in spans(captured))
    assert first == second == Embedding("openai", MODEL, MODEL, 3, Usage(4), "llm.local", 8000, 1)


def test_async_and_a_retry(captured: Captured) -> None:
    """As sync; what the client tried is counted."""
    server = Server(error(503), whole(embedded()))

    async def main() -> None:
        async with server.aclient(max_retries=1) as client:
            await client.embeddings.create(model=MODEL, input="a")

    asyncio.run(main())
    assert embedding(captured).attempts == 2


def test_recorded_answers_are_read(captured: Captured, data: Path) -> None:
    """Recorded exchanges with a real server, through the real client: model, tokens and dimensions as the bytes say."""
    lines = (data / "cassettes" / "azure-openai.jsonl").read_text("utf-8").splitlines()
    exchanges = [
        interaction
        for line in lines
        for interaction in json.loads(line)["interactions"]
        if interaction["uri"].split("?")[0].endswith("/embeddings")
    ]
    assert len(exchanges) == 8
    for exchange in exchanges:
        reply = http.Response(
            exchange["status"], headers={"content-type": "application/json"}, stream=Body([exchange["resp_body"].encode()])
        )
        request = json.loads(exchange["req_body"])
        client = openai.AzureOpenAI(
            api_key="none",
            azure_endpoint="https://test-resource.openai.azure.com",
            api_version="2024-06-01",
            max_retries=0,
            http_client=http.Client(transport=http.MockTransport(Server(reply))),
        )
        try:
            client.embeddings.create(**request)
        except openai.AuthenticationError:
            assert exchange["status"] == 401
    recorded_spans = spans(captured)
    assert len(recorded_spans) == len(exchanges)
    for span, exchange in zip(recorded_spans, exchanges, strict=True):
        operation, response = span.operation, json.loads(exchange["resp_body"])
        assert isinstance(operation, Embedding)
        assert operation.provider == "azure.ai.openai"
        assert operation.request_model == json.loads(exchange["req_body"])["model"]
        if exchange["status"] == 401:
            assert span.failure is not None
            continue
        assert span.failure is None
        assert (operation.response_model, operation.usage) == (response["model"], Usage(response["usage"]["prompt_tokens"]))
        vector = response["data"][0]["embedding"]
        length = len(vector) if isinstance(vector, list) else len(base64.b64decode(vector)) // 4
        assert operation.dimensions == length


# -- who answers

HOSTS = {
    "api.openai.com": "openai",
    "eu.api.openai.com": "openai",
    "localhost": "openai",
    "127.0.0.1": "openai",
    "vllm.internal": "openai",
    "api.deepseek.com": "deepseek",
    "API.DeepSeek.com.": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.x.ai": "x_ai",
    "eu-west-1.api.x.ai": "x_ai",
    "netflix.ai": "openai",
    "api.perplexity.ai": "perplexity",
    "api.moonshot.cn": "moonshot_ai",
    "openrouter.ai": "openrouter",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "us-central1-aiplatform.googleapis.com": "gcp.vertex_ai",
    "mine.openai.azure.com": "azure.ai.openai",
    "mine.services.ai.azure.com": "azure.ai.inference",
    "bedrock-runtime.us-west-2.amazonaws.com": "aws.bedrock",
    "us-south.ml.cloud.ibm.com": "ibm.watsonx.ai",
    "api.deepseek.com.evil.example": "openai",
    "": "openai",
}


@pytest.mark.parametrize(("host", "provider"), HOSTS.items())
def test_the_provider_is_told_by_the_host(host: str, provider: str) -> None:
    """Well-known hosts have the conventions' names; a server of one's own stays openai."""
    assert by_host(host) == provider


def test_the_provider_of_a_call(captured: Captured) -> None:
    """By the host of the base URL for any endpoint; Azure's class wins over its host."""
    client = Server(whole(embedded()), whole(embedded())).client(base_url="https://api.groq.com/openai/v1")
    client.embeddings.create(model=MODEL, input="a")
    azure = openai.AzureOpenAI(
        api_key="none",
        base_url="https://gateway.example/openai",
        api_version="2024-06-01",
        http_client=http.Client(transport=http.MockTransport(Server(whole(embedded())))),
    )
    azure.embeddings.create(model=MODEL, input="a")
    providers = [span.operation.provider for span in spans(captured)]  # type: ignore[union-attr]
    assert providers == ["groq", "azure.ai.openai"]


def test_a_client_made_for_a_provider(captured: Captured) -> None:
    """Also behind an address of one's own. Older clients have no such providers, and this one signs by AWS's own library."""
    providers = pytest.importorskip("openai.providers")
    pytest.importorskip("botocore")
    bedrock = providers.bedrock(
        region="us-west-2", access_key_id="none", secret_access_key="none", base_url="https://gateway.example/v1"
    )
    server = Server(whole(embedded()))
    client = openai.OpenAI(provider=bedrock, http_client=http.Client(transport=http.MockTransport(server)))
    client.embeddings.create(model=MODEL, input="a")
    assert embedding(captured).provider == "aws.bedrock"
    assert "authorization" in server.requests[0].headers
