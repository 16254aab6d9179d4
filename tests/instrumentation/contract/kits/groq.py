"""Groq: chat completions in OpenAI's wire form, with the usage of a stream where Groq puts it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import groq
from kit import Answer, Question, Reply, sse_reply
from kits.openai import OpenAI, _request


class Groq(OpenAI):
    name = "groq"
    library = "groq"
    provider = "groq"

    def client(self, url: str, *, asynchronous: bool = False, retries: int = 0) -> Any:
        client_class: Any = groq.AsyncGroq if asynchronous else groq.Groq
        return client_class(api_key="gsk-test", base_url=url, max_retries=retries)

    def ask(self, client: Any, question: Question) -> Any:
        return client.chat.completions.create(**_request(question))

    def stream(self, client: Any, question: Question) -> Any:
        return client.chat.completions.create(**_request(question), stream=True)

    def streamed(self, answer: Answer) -> Reply:
        *chunks, last, done = super().streamed(answer).pieces
        usage = json.loads(last[len("data: ") :])["usage"]
        final = json.loads(chunks[-1][len("data: ") :])
        (piece,) = sse_reply([{**final, "x_groq": {"id": "req_1", "usage": usage}}]).pieces
        return replace(super().streamed(answer), pieces=(*chunks[:-1], piece, done))


KIT = Groq()
