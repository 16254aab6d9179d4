"""Chat completions by the ``groq`` client: OpenAI's wire form, read as the driver of openai reads it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import groq

from driver import Call, Exchange, Told
from drivers.openai import OpenAI


class Groq(OpenAI):
    name = "groq"
    library = "groq"

    def takes(self, exchange: Exchange) -> bool:
        return exchange.provider == "groq" and super().takes(exchange)

    def drive(self, exchange: Exchange, url: str) -> None:
        answer: Any = _client(url).chat.completions.create(**exchange.asked)
        if isinstance(answer, groq.Stream):
            for _ in answer:
                pass

    def told(self, exchange: Exchange) -> Told:
        """A call that the server rejected is in the error that it reports."""
        told = super().told(exchange)
        bodies = list(exchange.events) if exchange.is_events else [exchange.answered]
        for body in bodies:
            generated = (body.get("error") or {}).get("failed_generation")
            if generated:
                call = json.loads(generated)
                told.calls = [*(told.calls or ()), Call(call["name"], call["arguments"])]
                told.output, told.finish, told.partial = told.output or [""], ["error"], False
        return told


@cache
def _client(url: str) -> groq.Groq:
    return groq.Groq(api_key="none", base_url=url, max_retries=0)


DRIVER = Groq()
