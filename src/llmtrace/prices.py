"""Computes the cost of an inference: from the user's own price table, or else from genai-prices, if that is installed.

Law: an unknown cost is None, never 0. A price of 0 in the table is a price, as for a model that the user hosts.
"""

from __future__ import annotations

import datetime
import importlib
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

from llmtrace.locks import background_importing
from llmtrace.log_once import warn_once
from llmtrace.model import Inference, Operation, Usage, replace

_MILLION = 1_000_000
_DATE = re.compile(r"[-@](?:\d{4}-\d{2}-\d{2}|\d{8})$|:latest$")
"""The version that a provider adds to a model's name in its answer."""
_FIELDS = ("input", "output", "cache_read", "cache_write")
_BEDROCK, _GLOBAL = "aws.bedrock", "global."
"""The provider whose prices depend on the inference profile, and the prefix of the profile that runs in any region."""
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
    """US dollars per million tokens; None without a price."""

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
    request_model: str | None = None,
) -> float | None:
    """Return the cost of one inference in US dollars; None if the price or the usage is not known. Never raises.

    ``model``: the model that answered. ``request_model``: the model that the request named; on Bedrock it includes the
    inference profile, on which the price depends.

    ``table``: US dollars per million tokens by model name, ``{"gpt-4o": {"input": 2.5, "output": 10, "cache_read": 1.25,
    "cache_write": 0}}``. The name may be ``provider/model``, and covers dated versions of the model. Cached tokens, audio and
    images without a price cost as much as input or output tokens. Prices are those of the provider's standard tier.
    """
    if not model or usage is None or (usage.input_tokens is None and usage.output_tokens is None):
        return None
    try:
        rates = None
        for name in (model, request_model) if table else ():
            rates = rates or (_user_rates(provider, name, table or {}) if name else None)
        if provider == _BEDROCK and request_model and model in request_model:
            model = request_model  # global.anthropic.claude-… costs less than the claude-… that the answer names
        rates = rates or _listed_rates(provider, model, usage.input_tokens or 0)
        if rates is None and request_model and request_model != model:  # a version that the list does not have yet
            rates = _listed_rates(provider, request_model, usage.input_tokens or 0)
        return _cost(rates, usage)
    except Exception as error:
        warn_once(f"the cost of {model} could not be computed: {type(error).__name__}: {error}")
        return None


def cost_of(inference: Inference, table: Mapping[str, Any] | None = None) -> float | None:
    """Return the cost of an inference in US dollars, as `cost_usd` computes it. Never raises."""
    model = inference.model
    return cost_usd(inference.provider, model, inference.usage, table, inference.request_model)


def with_cost(operation: Operation, table: Mapping[str, Any] | None = None) -> Operation:
    """Return an inference with its cost, if it has none and the price is known; any other operation as it is. Never raises."""
    if not isinstance(operation, Inference) or operation.cost_usd is not None:
        return operation
    cost = cost_of(operation, table)
    return operation if cost is None else replace(operation, cost_usd=cost)


def preload() -> None:
    """Read the price list in the background: the first `cost_usd` would otherwise wait 0.2 s for it. Never raises."""
    global _preloading
    if _preloading is None:
        _preloading = threading.Thread(target=_preload, name="llmtrace-prices", daemon=True)
        with suppress(RuntimeError):  # no thread is to be had: the first `cost_usd` reads it
            _preloading.start()


def _preload() -> None:
    with background_importing:
        _price_list()


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
    output = usage.output_tokens or 0
    of_read = rates.input if rates.cache_read is None else rates.cache_read
    of_write = rates.input if rates.cache_write is None else rates.cache_write
    hour = min(usage.cache_write_1h_input_tokens or 0, write) if rates.cache_write_1h is not None else 0
    kinds = (usage.audio_input_tokens, rates.audio_input), (usage.image_input_tokens, rates.image_input)
    output_kinds = (usage.audio_output_tokens, rates.audio_output), (usage.image_output_tokens, rates.image_output)
    tokens: Sequence[tuple[int, float | None]] = (
        *_split_by_kind(plain, rates.input, *kinds),
        (read, of_read),
        (write - hour, of_write),
        (hour, rates.cache_write_1h),
        *_split_by_kind(output, rates.output, *output_kinds),
    )
    total = 0.0
    for count, rate in tokens:
        if rate is not None:
            total += count * rate
        elif count:
            return None
    return total / _MILLION + rates.request


def _split_by_kind(
    total: int, text_rate: float | None, *kinds: tuple[int | None, float | None]
) -> list[tuple[int, float | None]]:
    """Return the number of tokens of each kind that has its own price, and of the others, each with its price.

    ``total`` excludes cached tokens. Providers do not report their kind: text is assumed to be cached first."""
    parts: list[tuple[int, float | None]] = []
    for count, rate in kinds:
        if count and rate is not None:
            parts.append((min(count, total), rate))
            total -= parts[-1][0]
    return [(total, text_rate), *parts]


# -- the user's table


def _user_rates(provider: str, model: str, table: Mapping[str, Any]) -> _Rates | None:
    undated = _DATE.sub("", model)
    for name in (f"{provider}/{model}", model, f"{provider}/{undated}", undated):
        entry = table.get(name)
        if entry is not None:
            return _read(name, entry)
    return None


def _read(name: str, entry: Any) -> _Rates | None:
    wrong = not isinstance(entry, Mapping) or not entry or any(field not in _FIELDS for field in entry)
    if wrong or any(not _is_price(price) for price in entry.values()):
        warn_once(
            f"prices[{name!r}]={entry!r} is not a price and is ignored. Use {{'input': USD, 'output': USD}} per million "
            "tokens, with 'cache_read' and 'cache_write' if they differ"
        )
        return None
    return _Rates(**{field: float(price) for field, price in entry.items()})


def _is_price(price: object) -> bool:
    return isinstance(price, (int, float)) and not isinstance(price, bool) and 0 <= price < float("inf")


# -- genai-prices


def _listed_rates(provider: str, model: str, input_tokens: int) -> _Rates | None:
    entry, flat = _find(provider, model)
    if entry is None or flat is not None:
        return flat
    prices = entry.prices
    if isinstance(prices, list):  # by date or time of day
        prices = entry.get_prices(datetime.datetime.now(datetime.timezone.utc))
    return _rates(prices, input_tokens)


@lru_cache(maxsize=1024)
def _find(provider: str, model: str) -> tuple[Any, _Rates | None]:
    """Return the model's entry in the price list, and its rates if they do not depend on time or length; else None."""
    prices = _price_list()
    if prices is None:
        return None, None
    entry = _find_in(prices, provider, model)
    if entry is None and provider == _BEDROCK and _GLOBAL in model:
        entry = _find_in(prices, provider, model.rpartition(_GLOBAL)[2])
    if entry is None:
        return None, None
    return entry, None if isinstance(entry.prices, list) or _has_tiers(entry.prices) else _rates(entry.prices, 0)


def _find_in(prices: Any, provider: str, model: str) -> Any:
    try:
        return prices.find_provider_model(model, None, _PROVIDERS.get(provider, provider) or None, None)[1]
    except LookupError:
        return None


def _has_tiers(prices: Any) -> bool:
    return any(getattr(price, "tiers", ()) for price in prices.__dict__.values())


@lru_cache(maxsize=1)
def _price_list() -> Any:
    try:
        # importing it takes 0.2 s, and a program with a price table, or without a model call, does not need it
        return importlib.import_module("genai_prices.data_snapshot").get_snapshot()
    except ImportError:
        return None


def _rates(prices: Any, input_tokens: int) -> _Rates:
    """Return the rates of a price entry. If they depend on the input's length, the tier of ``input_tokens`` holds for all."""

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
