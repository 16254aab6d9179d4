"""Failures of calls in stable words, each of them documented."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import ModuleType

import anthropic
import httpx
import openai
import pytest

from llmtrace.instrumentation._failures import BY_NAME, BY_PHRASE, CONNECTION_REFUSED, failure_in_call

DOCS = Path(__file__).resolve().parents[2] / "docs" / "how_to/providers.md"


def test_every_word_is_documented() -> None:
    """The table in the docs has every word, so that an alert can be built on it."""
    text = DOCS.read_text("utf-8")
    words = {*BY_NAME.values(), *BY_PHRASE.values(), CONNECTION_REFUSED}
    assert [word for word in words if f"| `{word}` |" not in text] == []


def _caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


class APIConnectionError(Exception):
    """Known by its name, whoever defines it."""


class Grouped(Exception):
    """What an `ExceptionGroup` looks like, also before Python 3.11."""

    def __init__(self, *exceptions: BaseException) -> None:
        super().__init__("several")
        self.exceptions = exceptions


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (asyncio.CancelledError(), "cancelled"),
        (asyncio.TimeoutError(), "timeout"),
        (KeyboardInterrupt(), "interrupted"),
        (ConnectionRefusedError(), "connection_refused"),
        (ConnectionResetError(), "connection"),
        (_caused(APIConnectionError(), ConnectionRefusedError()), "connection_refused"),
        (_caused(APIConnectionError(), _caused(OSError(), Grouped(OSError(), ConnectionRefusedError()))), "connection_refused"),
        (_caused(APIConnectionError(), OSError()), "connection"),
        (ValueError("x"), "ValueError"),
        (Grouped(), f"{Grouped.__module__}.Grouped"),
    ],
    ids=lambda value: getattr(value, "__class__", type(value)).__name__ if isinstance(value, BaseException) else value,
)
def test_words(error: BaseException, word: str) -> None:
    """Causes count, through groups; what has no word has its class name."""
    assert failure_in_call(error).type == word


def test_causes_in_a_circle_end() -> None:
    """An exception that is its own cause's cause."""
    first, two = APIConnectionError(), OSError()
    first.__cause__, two.__cause__ = two, first
    assert failure_in_call(first).type == "connection"


@pytest.mark.parametrize("sdk", [openai, anthropic], ids=lambda sdk: sdk.__name__)
@pytest.mark.parametrize(
    ("status", "word"),
    [
        (402, "quota"),
        (408, "timeout"),
        (418, "bad_request"),
        (424, "server_error"),
        (429, "rate_limit"),
        (498, "overloaded"),
        (500, "server_error"),
        (502, "server_error"),
        (503, "server_error"),
        (504, "deadline_exceeded"),
        (529, "overloaded"),
    ],
)
def test_a_status_without_a_code(sdk: ModuleType, status: int, word: str) -> None:
    """A gateway's answer has no code of the provider's: its status tells the word, whatever class the SDK has for it."""
    client = openai.OpenAI(api_key="none") if sdk is openai else anthropic.Anthropic(api_key="none")
    answer = httpx.Response(status, text="upstream request timeout", request=httpx.Request("POST", "http://localhost"))
    with pytest.raises(sdk.APIStatusError) as caught:
        raise client._make_status_error_from_response(answer)
    assert failure_in_call(caught.value).type == word


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("prompt is too long: 210000 tokens > 200000 maximum", "context_length"),
        ("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000", "context_length"),
        ("This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.", "context_length"),
        ("The decoder prompt (length 9000) is longer than the maximum model length of 8192.", "context_length"),
        ("This model's maximum prompt length is 131072 but the request contains 200000 tokens.", "context_length"),
        ("Prompt contains 40961 tokens, too large for model with 32768 maximum context length", "context_length"),
        ("The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).", "context_length"),
        ("Your credit balance is too low to access the Anthropic API.", "quota"),
        ("API key not valid. Please pass a valid API key.", "authentication"),
        ("messages: at least one message is required", "bad_request"),
    ],
)
def test_what_only_the_message_tells(message: str, word: str) -> None:
    """Most servers say in prose that a request is longer than the context; the word is the same for all of them."""
    client = anthropic.Anthropic(api_key="none")
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    answer = httpx.Response(400, json=body, request=httpx.Request("POST", "http://localhost"))
    with pytest.raises(anthropic.APIStatusError) as caught:
        raise client._make_status_error_from_response(answer)
    assert failure_in_call(caught.value).type == word
