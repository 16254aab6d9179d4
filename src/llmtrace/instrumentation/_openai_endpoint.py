"""What OpenAI's endpoints have in common: whom a call asks, for which model, and the headers that it takes along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace import semconv
from llmtrace.instrumentation._openai_vendors import provider_of
from llmtrace.instrumentation._provider import Endpoint, Fields, Headers
from llmtrace.instrumentation._stainless import server_of, with_headers


class OpenAIEndpoint(Endpoint):
    """One resource of the client; each adds what it reads of a request and of an answer."""

    def client(self, instance: Any) -> Any:
        return instance._client

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        host, port = server_of(client)
        model = kwargs.get("model")
        return {
            "provider": provider_of(client, host),
            "request_model": model if isinstance(model, str) else None,
            "server_address": host,
            "server_port": port,
        }

    def inject_headers(self, client: Any, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], Headers | None]:
        return with_headers(client, kwargs)


class Generation(OpenAIEndpoint):
    """An endpoint at which a model answers."""

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        return {**super().start_attributes(client, kwargs), "operation": semconv.CHAT, "stream": kwargs.get("stream") is True}
