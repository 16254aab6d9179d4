"""What an inference cost: known, or None; never 0 for what is not known."""

from __future__ import annotations

import logging
import random
import subprocess
import sys
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrace import log_once, prices
from llmtrace.model import Usage
from llmtrace.prices import cost_usd

TABLE: dict[str, Any] = {
    "big": {"input": 2.5, "output": 10, "cache_read": 1.25, "cache_write": 0},
    "azure.ai.openai/big": {"input": 3, "output": 12},
    "mine": {"input": 0, "output": 0},
    "embedder": {"input": 0.1},
    "broken": {"input": "2.5"},
    "misspelt": {"inputs": 2.5},
    "negative": {"input": -1},
}


@pytest.mark.parametrize(
    ("model", "usage", "cost"),
    [
        ("big", Usage(1_000_000, 100_000), 3.5),
        ("big", Usage(1_000_000, 0, cache_read_input_tokens=400_000), 0.6 * 2.5 + 0.4 * 1.25),
        ("big", Usage(1_000_000, 0, cache_write_input_tokens=400_000), 0.6 * 2.5),
        ("big-2024-08-06", Usage(1_000_000, 0), 2.5),
        ("big@20240806", Usage(1_000_000, 0), 2.5),
        ("big:latest", Usage(1_000_000, 0), 2.5),
        ("big-mini", Usage(1_000_000, 0), None),
        ("mine", Usage(1000, 1000), 0.0),
        ("embedder", Usage(1_000_000), 0.1),
        ("embedder", Usage(1_000_000, 5), None),
        ("big", Usage(1000), None),
        ("big", Usage(None, 1000), None),
        ("big", Usage(), None),
        ("big", None, None),
        ("big", Usage(100, 1, cache_read_input_tokens=200), None),
        ("unheard-of", Usage(1, 1), None),
        ("", Usage(1, 1), None),
        (None, Usage(1, 1), None),
    ],
)
def test_the_users_table(model: str | None, usage: Usage | None, cost: float | None) -> None:
    assert cost_usd("openai", model, usage, TABLE) == (None if cost is None else pytest.approx(cost))


def test_the_table_may_name_the_provider() -> None:
    assert cost_usd("azure.ai.openai", "big", Usage(1_000_000, 0), TABLE) == 3
    assert cost_usd("azure.ai.openai", "big-2024-08-06", Usage(1_000_000, 0), TABLE) == 3


@pytest.mark.parametrize("model", ["broken", "misspelt", "negative"])
def test_a_wrong_entry_is_named_once_and_ignored(
    model: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_once, "_logged", {})
    with caplog.at_level(logging.WARNING, logger="llmtrace"):
        for _ in range(3):
            assert cost_usd("openai", model, Usage(1, 1), TABLE) is None
    assert len(caplog.records) == 1
    assert model in caplog.text


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_cost_is_none_or_not_negative(total: int, read: int, write: int, output: int) -> None:
    cost = cost_usd("openai", "big", Usage(total, output, read, write), TABLE)
    assert (cost is None) == (read + write > total)
    assert cost is None or cost >= 0


# -- with genai-prices


@pytest.fixture
def listed() -> Any:
    """The price list itself, the oracle."""
    pytest.importorskip("genai_prices", exc_type=ImportError)
    from genai_prices.data_snapshot import get_snapshot

    return get_snapshot()


def test_known_models(listed: Any) -> None:
    """By the names of the conventions, dated or not; of a provider that is not listed nothing is claimed."""
    usage = Usage(1000, 100, 200)
    assert cost_usd("openai", "gpt-4o", usage) == cost_usd("openai", "gpt-4o-2024-08-06", usage) == pytest.approx(0.00325)
    assert cost_usd("azure.ai.openai", "gpt-4o", usage) is not None
    assert cost_usd("gcp.gemini", "gemini-2.5-pro", usage) is not None
    assert cost_usd("anthropic", "claude-sonnet-4-5-20250929", usage) is not None
    assert cost_usd("vllm", "gpt-4o", usage) is None
    assert cost_usd("openai", "Qwen/Qwen3-8B", usage) is None
    assert cost_usd("openai", "gpt-4o", Usage(1000)) is None


def test_the_users_table_wins(listed: Any) -> None:
    assert cost_usd("openai", "gpt-4o", Usage(1_000_000, 0), {"gpt-4o": {"input": 1, "output": 1}}) == 1
    assert cost_usd("openai", "gpt-4o", Usage(1_000_000, 0), {"other": {"input": 1}}) == pytest.approx(2.5)


def test_every_listed_model_costs_what_the_library_says(listed: Any) -> None:
    """Our arithmetic is thirty times as fast, and must agree: tiers, cached tokens, prices for each request."""
    import genai_prices

    chosen = random.Random(7)
    compared = 0
    for provider in listed.providers:
        for model in provider.models:
            total = chosen.choice([10, 1000, 150_000, 300_000])
            usage = Usage(total, chosen.choice([0, 5000]), chosen.randint(0, total // 2), chosen.randint(0, total // 3))
            ours = cost_usd(provider.id, model.id, usage)
            if ours is None:
                continue
            theirs = genai_prices.Usage(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cache_read_tokens=usage.cache_read_input_tokens,
                cache_write_tokens=usage.cache_write_input_tokens,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = genai_prices.calc_price(theirs, model.id, provider_id=provider.id).total_price
            assert ours == pytest.approx(float(expected)), (provider.id, model.id)
            compared += 1
    assert compared > 1000


@pytest.mark.parametrize(
    ("provider", "model", "usage", "told"),
    [
        (
            "anthropic",
            "claude-sonnet-4-5",
            Usage(1000, 10, 0, 600, None, 400),
            {"cache_write_tokens": 600, "cache_write_1h_tokens": 400},
        ),
        ("google", "gemini-2.5-flash", Usage(1000, 10, audio_input_tokens=700), {"input_audio_tokens": 700}),
        ("google", "gemini-2.5-flash-image", Usage(10, 1300, image_output_tokens=1290), {"output_image_tokens": 1290}),
        (
            "openai",
            "gpt-audio",
            Usage(1000, 500, audio_input_tokens=900, audio_output_tokens=400),
            {"input_audio_tokens": 900, "output_audio_tokens": 400},
        ),
        ("openai", "gpt-4o", Usage(1000, 10, image_input_tokens=500), {}),
    ],
)
def test_audio_images_and_long_caches_have_prices_of_their_own(
    listed: Any, provider: str, model: str, usage: Usage, told: dict[str, int]
) -> None:
    """As the library counts them; where a model has no such price, they cost what text does."""
    import genai_prices

    theirs = genai_prices.Usage(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, **told)
    expected = genai_prices.calc_price(theirs, model, provider_id=provider).total_price
    assert cost_usd(provider, model, usage) == pytest.approx(float(expected))


def test_bedrocks_profile_counts(listed: Any) -> None:
    """Which only the name that was asked for tells; one that the list does not have costs what the plain model does."""
    usage, answered = Usage(1_000_000, 0), "claude-sonnet-4-5-20250929"
    plain = f"anthropic.{answered}-v1:0"
    profile = f"arn:aws:bedrock:us-east-1:1:inference-profile/global.{plain}"
    for asked, cost in ((f"global.{plain}", 3), (profile, 3), (f"us.{plain}", 3.3), (plain, 3.3), ("arn:aws:…/own", 3.3)):
        assert cost_usd("aws.bedrock", answered, usage, request_model=asked) == pytest.approx(cost)
    older = "anthropic.claude-opus-4-1-20250805-v1:0"
    assert cost_usd("aws.bedrock", f"global.{older}", usage) == cost_usd("aws.bedrock", older, usage) == pytest.approx(15)


def test_the_users_table_may_name_what_was_asked_for() -> None:
    """After what answered."""
    assert cost_usd("aws.bedrock", "big", Usage(1_000_000, 0), TABLE, "mine") == 2.5
    assert cost_usd("aws.bedrock", "other", Usage(1_000_000, 0), TABLE, "mine") == 0


def test_cached_audio_costs_no_less_than_nothing(listed: Any) -> None:
    """Nobody says how much of what was cached was audio; the parts never come to more than the whole."""
    everything = cost_usd("openai", "gpt-audio", Usage(1000, 0, 900, None, audio_input_tokens=1000))
    assert everything == pytest.approx((900 * 2.5 + 100 * 32) / 1_000_000)


def test_without_genai_prices_the_cost_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    prices._find.cache_clear()
    prices._price_list.cache_clear()
    monkeypatch.setitem(sys.modules, "genai_prices.data_snapshot", None)
    try:
        assert cost_usd("openai", "gpt-4o", Usage(1, 1)) is None
    finally:
        prices._find.cache_clear()
        prices._price_list.cache_clear()


def test_the_list_is_only_read_when_needed() -> None:
    """Importing costs nothing; ``preload`` reads it beside the program."""
    program = (
        "import sys\n"
        "from llmtrace import prices\n"
        "from llmtrace.model import Usage\n"
        "prices.cost_usd('openai', 'x', Usage(1, 1), {'x': {'input': 1, 'output': 1}})\n"
        "assert 'genai_prices' not in sys.modules\n"
        "prices.preload()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_a_version_that_the_list_does_not_have_costs_what_its_model_costs() -> None:
    """The answer names a later version than the price list; the request names the model."""
    usage = Usage(1000, 20)
    assert cost_usd("openai", "unheard-of-2099-01-01", usage, None, "gpt-4o-mini") == cost_usd("openai", "gpt-4o-mini", usage)
    assert cost_usd("", "gpt-4o-mini", usage) is not None
    assert cost_usd("vllm", "gpt-4o-mini", usage) is None
