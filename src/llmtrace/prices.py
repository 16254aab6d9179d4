"""What an inference cost: the user's own table first, then the prices of genai-prices, if that is installed.

Law: what is not known is None, never 0. A price of 0 in the table is a price (a model of one's own).
"""

from __future__ import annotations

import datetime
import importlib
import logging
import os
import re
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from llmtrace.model import Usage

logger = logging.getLogger("llmtrace")

_MILLION = 1_000_000
_DATE = re.compile(r"[-@](?:\d{4}-\d{2}-\d{2}|\d{8})$|:latest$")
"""What a provider adds to a model's name when it answers."""
_FIELDS = ("input", "output", "cache_read", "cache_write")
_BEDROCK, _GLOBAL = "aws.bedrock", "global."
"""Whose prices depend on the inference profile, and the prefix of the one that may run anywhere."""
_PROVIDERS = {
    # provider names of the GenAI conventions -> ids of genai-prices, where they differ
    _BEDROCK: "aws",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "x_ai": "x-ai",
}


class _Rates(NamedTuple):
    """US dollars for a million tokens; None where there is no price."""

    input: float | None = None
    output: float | None = None
    cache_read: float | None = None
    cache_write: float | None = None
    cache_write_1h: float | None = None
    audio_input: float | None = None
    audio_output: float | None = None
    image_input: float | None = None
    image_output: float | None = None
    request: float = 0.0
    """US dollars for each request."""


def cost_usd(
    provider: str,
    model: str | None,
    usage: Usage | None,
    table: Mapping[str, Any] | None = None,
    asked: str | None = None,
) -> float | None:
    """US dollars for one inference; None where the price or the usage is not known. Never raises.

    ``model`` is the one that answered, ``asked`` the one that was asked for: on Bedrock its name says by which profile, too.

    ``table``: US dollars per million tokens by model name, ``{"gpt-4o": {"input": 2.5, "output": 10, "cache_read": 1.25,
    "cache_write": 0}}``; the name may be ``provider/model``, and stands for its dated versions, too. Without a price for cached
    tokens, audio or images that of input or output tokens counts. Prices are those of the provider's standard tier.
    """
    if not model or usage is None or (usage.input_tokens is None and usage.output_tokens is None):
        return None
    try:
        rates = _of_user(provider, model, table) or (_of_user(provider, asked, table) if asked else None) if table else None
        if provider == _BEDROCK and asked and model in asked:
            model = asked  # global.anthropic.claude-… costs less than the claude-… that the answer names
        return _cost(rates or _known_rates(provider, model, usage.input_tokens or 0), usage)
    except Exception as error:
        _warn_once(f"the cost of {model} could not be computed: {type(error).__name__}: {error}")
        return None


def preload() -> None:
    """Read the price list in the background: the first `cost_usd` would otherwise wait 0.2 s for it. Never raises.

    A fork in the meantime waits for it: a child would inherit the import locks that the thread holds, and never get them.
    """
    global _preloading
    if _preloading is None:
        _preloading = threading.Thread(target=_price_list, name="llmtrace-prices", daemon=True)
        _preloading.start()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=_preloading.join)


_preloading: threading.Thread | None = None


def _cost(rates: _Rates | None, usage: Usage) -> float | None:
    if rates is None:
        return None
    read, write = usage.cache_read_input_tokens or 0, usage.cache_write_input_tokens or 0
    if rates.input is not None and usage.input_tokens is None:
        return None
    if rates.output and usage.output_tokens is None:
        return None
    plain = (usage.input_tokens or 0) - read - write
    if plain < 0:  # parts that are larger than their total: whichever is wrong, the cost is not known
        return None
    made = usage.output_tokens or 0
    of_read = rates.input if rates.cache_read is None else rates.cache_read
    of_write = rates.input if rates.cache_write is None else rates.cache_write
    tokens: Sequence[tuple[int, float | None]] = (
        (plain, rates.input),
        (read, of_read),
        (write, of_write),
        (made, rates.output),
    )
    if (
        usage.cache_write_1h_input_tokens
        or usage.audio_input_tokens
        or usage.image_input_tokens
        or usage.audio_output_tokens
        or usage.image_output_tokens
    ):  # most calls have none of these
        hour = min(usage.cache_write_1h_input_tokens or 0, write) if rates.cache_write_1h is not None else 0
        given = _apart(plain, (usage.audio_input_tokens, rates.audio_input), (usage.image_input_tokens, rates.image_input))
        said = _apart(made, (usage.audio_output_tokens, rates.audio_output), (usage.image_output_tokens, rates.image_output))
        written = ((write - hour, of_write), (hour, rates.cache_write_1h))
        tokens = (
            (plain - sum(count for count, _ in given), rates.input),
            *given,
            (read, of_read),
            *written,
            (made - sum(count for count, _ in said), rates.output),
            *said,
        )
    total = 0.0
    for count, rate in tokens:
        if rate is not None:
            total += count * rate
        elif count:
            return None
    return total / _MILLION + rates.request


def _apart(total: int, *kinds: tuple[int | None, float | None]) -> list[tuple[int, float | None]]:
    """How many of ``total`` tokens are of each kind, where that has a price of its own, with it. What was cached is not among
    ``total``, and nobody says of which kind it was: text is taken to be cached first."""
    found: list[tuple[int, float | None]] = []
    for count, rate in kinds:
        own = min(count or 0, total) if rate is not None else 0
        found.append((own, rate))
        total -= own
    return found


# -- the user's table


def _of_user(provider: str, model: str, table: Mapping[str, Any]) -> _Rates | None:
    undated = _DATE.sub("", model)
    for name in (f"{provider}/{model}", model, f"{provider}/{undated}", undated):
        entry = table.get(name)
        if entry is not None:
            return _read(name, entry)
    return None


def _read(name: str, entry: Any) -> _Rates | None:
    wrong = not isinstance(entry, Mapping) or not entry or any(field not in _FIELDS for field in entry)
    if wrong or any(not _is_price(price) for price in entry.values()):
        _warn_once(
            f"prices[{name!r}]={entry!r} is no price: expected {{'input': USD, 'output': USD}} per million tokens "
            "(and 'cache_read', 'cache_write'); it is ignored"
        )
        return None
    return _Rates(**{field: float(price) for field, price in entry.items()})


def _is_price(price: object) -> bool:
    return isinstance(price, (int, float)) and not isinstance(price, bool) and 0 <= price < float("inf")


# -- genai-prices


def _known_rates(provider: str, model: str, input_tokens: int) -> _Rates | None:
    found, flat = _find(provider, model)
    if found is None or flat is not None:
        return flat
    prices = found.prices
    if isinstance(prices, list):  # by date or time of day
        prices = found.get_prices(datetime.datetime.now(datetime.timezone.utc))
    return _rates(prices, input_tokens)


@lru_cache(maxsize=1024)
def _find(provider: str, model: str) -> tuple[Any, _Rates | None]:
    """The model's entry in the price list, and its rates where they depend on nothing else; None where there are none."""
    prices = _price_list()
    if prices is None:
        return None, None
    found = _listed(prices, provider, model)
    if found is None and provider == _BEDROCK and _GLOBAL in model:
        found = _listed(prices, provider, model.rpartition(_GLOBAL)[2])
    if found is None:
        return None, None
    return found, None if isinstance(found.prices, list) or _has_tiers(found.prices) else _rates(found.prices, 0)


def _listed(prices: Any, provider: str, model: str) -> Any:
    try:
        return prices.find_provider_model(model, None, _PROVIDERS.get(provider, provider), None)[1]
    except LookupError:
        return None


def _has_tiers(prices: Any) -> bool:
    return any(getattr(price, "tiers", ()) for price in prices.__dict__.values())


@lru_cache(maxsize=1)
def _price_list() -> Any:
    try:
        # heavy (0.2 s), and not needed where there is a price table or no model call
        return importlib.import_module("genai_prices.data_snapshot").get_snapshot()
    except ImportError:
        return None


def _rates(prices: Any, input_tokens: int) -> _Rates:
    """Some prices depend on the length of the input: then the tier of ``input_tokens`` counts for all tokens."""

    def of(name: str) -> float | None:
        price = prices.__dict__.get(name)
        if price is None:
            return None
        for tier in reversed(getattr(price, "tiers", ())):
            if input_tokens > tier.start:
                return float(tier.price)
        return float(getattr(price, "base", price))

    return _Rates(
        of("input_mtok"),
        of("output_mtok"),
        of("cache_read_mtok"),
        of("cache_write_mtok"),
        of("cache_write_1h_mtok"),
        of("input_audio_mtok"),
        of("output_audio_mtok"),
        of("input_image_mtok"),
        of("output_image_mtok"),
        (of("requests_kcount") or 0.0) / 1000,
    )


_warned: set[str] = set()


def _warn_once(message: str) -> None:
    if message not in _warned:
        _warned.add(message)
        logger.warning("llmtrace: %s", message)
