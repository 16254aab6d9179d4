"""OpenAI's embeddings: ``client.embeddings``. The embedded texts and the vectors are not recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace import semconv
from llmtrace.instrumentation._openai_endpoint import OpenAIEndpoint
from llmtrace.instrumentation._openai_messages import read_usage
from llmtrace.instrumentation._provider import Fields
from llmtrace.instrumentation._stainless import members
from llmtrace.model import Embedding

_BYTES, _BASE64 = 4, 3 / 4
"""Bytes of one number of a vector, and of one character of base64."""


class Embeddings(OpenAIEndpoint):
    operation_type = Embedding

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        dimensions = kwargs.get("dimensions")
        return {**super().start_attributes(client, kwargs), "dimensions": dimensions if isinstance(dimensions, int) else None}

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        form = kwargs.get("encoding_format")
        return {"attributes": {semconv.REQUEST_ENCODING_FORMATS: [form]} if isinstance(form, str) else None}, False

    def answer(self, result: Any) -> Fields:
        response = members(result)
        fields: Fields = {"response_model": response.get("model"), "usage": read_usage(response.get("usage"))}
        vectors = response.get("data") or ()
        length = _length(members(vectors[0]).get("embedding")) if vectors else None
        return fields if length is None else {**fields, "dimensions": length}


def _length(vector: Any) -> int | None:
    if isinstance(vector, list):
        return len(vector)
    return int(len(vector.rstrip("=")) * _BASE64) // _BYTES if isinstance(vector, str) else None
