"""Hugging Face: chats in OpenAI's wire form, by a client of its own."""

from __future__ import annotations

from typing import Any

import huggingface_hub
from kit import MODEL, Question, Reply, json_reply
from kits.openai import OpenAI, _request


class HuggingFace(OpenAI):
    name = "huggingface"
    library = "huggingface_hub"
    provider = "huggingface"
    retries = False

    def client(self, url: str, *, asynchronous: bool = False, retries: int = 0) -> Any:
        client_class: Any = huggingface_hub.AsyncInferenceClient if asynchronous else huggingface_hub.InferenceClient
        return client_class(base_url=f"{url}/v1", api_key="hf-test")

    def ask(self, client: Any, question: Question) -> Any:
        return client.chat_completion(**_request(question))

    def stream(self, client: Any, question: Question) -> Any:
        return client.chat_completion(**_request(question), stream=True, stream_options={"include_usage": True})

    def seen(self, answer: Any) -> Any:
        return type(answer).__qualname__, dict(answer), vars(answer)

    def error(self, status: int) -> Reply:
        return json_reply({"error": f"refused with {status}", "model": MODEL}, status)


KIT = HuggingFace()
