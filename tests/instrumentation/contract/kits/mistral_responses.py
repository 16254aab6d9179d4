"""mistralai: responses.create. What the server sends has the form of OpenAI's."""

from __future__ import annotations

from typing import Any

import mistralai.client.responses  # noqa: F401 - older releases have none
from kit import Question
from kits import openai_responses
from kits.mistral import Mistral

_SERVER = openai_responses.KIT


class MistralResponses(Mistral):
    has_choices = False

    def ask(self, client: Any, question: Question) -> Any:
        resource = client.responses
        return (resource.create_async if client.is_async else resource.create)(**openai_responses._request(question))

    def stream(self, client: Any, question: Question) -> Any:
        resource = client.responses
        return (resource.create_async if client.is_async else resource.create)(
            **openai_responses._request(question), stream=True
        )

    def text(self, chunk: Any) -> str:
        event = getattr(chunk, "data", chunk)
        return str(event.delta) if event.type == "response.output_text.delta" else ""

    whole, streamed = _SERVER.whole, _SERVER.streamed  # type: ignore[assignment]


KIT = MistralResponses()
