"""Chat completions by the ``mistralai`` client: OpenAI's wire form, read as the driver of openai reads it."""

from __future__ import annotations

from functools import cache
from typing import Any

from mistralai.client import Mistral as Client

from driver import Exchange, Told
from drivers.openai import OpenAI

_RENAMED = {"stream"}


class Mistral(OpenAI):
    name = "mistral"
    library = "mistralai.client"

    def takes(self, exchange: Exchange) -> bool:
        return exchange.provider == "mistral" and super().takes(exchange)

    def drive(self, exchange: Exchange, url: str) -> None:
        given: Any = {name: value for name, value in exchange.asked.items() if name not in _RENAMED}
        chat = _client(url).chat
        if not exchange.is_events:
            chat.complete(**given)
            return
        for _ in chat.stream(**given):
            pass

    def told(self, exchange: Exchange) -> Told:
        """Cached tokens have a name of their own."""
        told = super().told(exchange)
        bodies = list(exchange.events) if exchange.is_events else [exchange.answered]
        cached = [body["usage"].get("num_cached_tokens") for body in bodies if body.get("usage")]
        if told.cache_read is None and cached:
            told.cache_read = cached[-1]
        return told


@cache
def _client(url: str) -> Client:
    return Client(api_key="none", server_url=url)


DRIVER = Mistral()
