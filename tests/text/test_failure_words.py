"""Errors as programs write them, and failures as people speak of them."""

from __future__ import annotations

import pytest

from llmtrace.text.failure_words import begins_as_error, mentions_failure


@pytest.mark.parametrize(
    "text",
    [
        "Error: no such order",
        "ValueError: could not convert string to float",
        "Traceback (most recent call last):\n  File ...",
        "requests.exceptions.ConnectionError: refused",
        "HTTP 404",
        "404 Not Found",
        "Failed to open the file",
        "bash: foo: command not found",
        "<error>locked</error>",
        "[ERROR] disk full",
        "meta=None content=[...] isError=True",
        "Error executing tool pay: limit exceeded",
        "An error occurred while running the tool. Please try again. Error: limit exceeded",
    ],
)
def test_a_text_that_begins_as_programs_write_errors(text: str) -> None:
    """An exception's name, a level, an HTTP status, a shell's message, MCP's flag."""
    assert begins_as_error(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3 orders",
        "Your order was sent.",
        "The error rate is 2 %.",
        "Error rate: 2 %",
        "404 pages were read",
        "{}",
        "isError=False",
    ],
)
def test_other_texts_are_no_errors(text: str) -> None:
    """Words about errors further on, and numbers that are no status, are results."""
    assert not begins_as_error(text)


@pytest.mark.parametrize(
    "text", ["I could not find it.", "Leider nicht.", "No se pudo.", "未找到", "찾을 수 없습니다", "К сожалению, нет"]
)
def test_failures_are_spoken_of_in_many_languages(text: str) -> None:
    """Broad on purpose: it only ever excuses."""
    assert mentions_failure(text)
    assert not mentions_failure("All paid: 220 EUR.")
