"""No function that reads text takes time like the square of its length, whatever stands in the text."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from typing import Any

import pytest

from llmtrace.cli.terminal import Cell, Screen, short, wrap
from llmtrace.codec import json_text
from llmtrace.config import Config
from llmtrace.content.blobs import is_base64
from llmtrace.content.placeholders import holds_placeholder
from llmtrace.content.redaction import Redactor
from llmtrace.content.truncation import fit, fit_text
from llmtrace.model import ToolDefinition, reads_as_data
from llmtrace.text import dates, failure_words, matching, numbers, refusals, tool_names, unsafe_characters, word_difference
from llmtrace.validation.check_values import check_arguments
from llmtrace.validation.parse_arguments import parse_arguments, read, strip_fence
from llmtrace.validation.repair import repair

CHARACTERS = " \t\n\r\v\f\0\x1b\x7f\x9b\"'`\\/{}[]()<>:;,.|=+-_*#$%@&!?~^0a\u00e9\u00a0\u200b\u2028\u202e\u4e00\ud800\U0001f642"
PAIRS = ('\\"', "\\n", '" ', "a ", " \n", '":', "[{", "0.", "a@", "a.", "a-", "1,", "/a", "'a", "\\u0020", "=a")
FORMS = ("{}", '{{"a": NaN, "{}', '{{"a": "{}"}}', "```json\n{}\n```", "password{}", "x {} y", '{{"a" {}: 1}}', "[1, {}")
DEFINITION = ToolDefinition("f", parameters={"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["b"]})
REDACTOR = Redactor(Config())


def full(text: str) -> None:
    screen = Screen(StringIO(), colour=False, width=80)
    screen.item(Cell("label"), text, whole=True)
    screen.item(Cell("label"), text)


def collected(function: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: list(function(text))


READERS: dict[str, Callable[[str], Any]] = {
    "parse_arguments": parse_arguments,
    "read": read,
    "strip_fence": strip_fence,
    "check_arguments": lambda text: check_arguments(text, DEFINITION),
    "repair": lambda text: repair(text, DEFINITION),
    "json_text.read_object": json_text.read_object,
    "clean": unsafe_characters.clean,
    "escape_json": unsafe_characters.escape_json,
    "short": lambda text: short(text, 80),
    "wrap": lambda text: wrap(text, 80),
    "show --full": full,
    "redact": lambda text: REDACTOR.text(text),
    "redact value": lambda text: REDACTOR.value({"a": [text]}),
    "placeholders": holds_placeholder,
    "fit": lambda text: fit({"a": text}, 5000),
    "fit_text": lambda text: fit_text(text, 5000),
    "is_base64": is_base64,
    "reads_as_data": reads_as_data,
    "dates": collected(dates.dates_in),
    "read_date": dates.read_date,
    "error": failure_words.begins_as_error,
    "failure": failure_words.mentions_failure,
    "normalize": matching.normalize,
    "tokens": matching.tokens,
    "unescape": matching.unescape,
    "stands_alone": lambda text: matching.stands_alone("KS-1", text),
    "is_email": matching.is_email,
    "is_identifier": matching.is_identifier,
    "number": numbers.read_number,
    "numbers": lambda text: list(numbers.written_numbers(text, spaced=True)),
    "refusals": refusals.declines,
    "tool name": tool_names.split_name,
    "word_difference": lambda text: word_difference.word_difference(text, text[: len(text) // 2] + "b"),
}
"""What reads text of models, tools and users, by a name for the report."""
LEAST = 0.02
"""Seconds of one call below which its growth is not measured."""


FEW = (" ", "\n", '"', "\\", "[", "`", "a", "\u200b", '\\"', "0.")
UNITS = (*CHARACTERS, *PAIRS)


def texts(size: int, units: Sequence[str]) -> Iterator[tuple[str, str]]:
    for unit in units:
        for form in FORMS:
            yield f"{form} of {unit!r}", form.format(unit * (size // len(unit)))


def seconds(function: Callable[[str], Any], text: str, *, tries: int = 1) -> float:
    best = float("inf")
    for _ in range(tries):
        began = time.process_time()
        function(text)
        best = min(best, time.process_time() - began)
    return best


def too_slow(function: Callable[[str], Any], sizes: tuple[int, int, int], units: Sequence[str] = UNITS) -> list[str]:
    """The texts for which both doublings take three times as long or more; that is measured again before it is believed."""
    slow = []
    for (name, small), (_, middle), (_, large) in zip(*(texts(size, units) for size in sizes), strict=True):
        if seconds(function, large) > LEAST:
            times = [seconds(function, text, tries=3) for text in (small, middle, large)]
            if times[2] > LEAST and times[1] > 2.8 * times[0] and times[2] > 2.8 * times[1]:
                slow.append(f"{name}: {' '.join(f'{1000 * each:.0f}' for each in times)} ms")
    return slow


@pytest.mark.parametrize("name", READERS)
def test_time_grows_like_the_text(name: str) -> None:
    """A size that shows the square is small where the function is slow."""
    assert too_slow(READERS[name], (2_500, 5_000, 10_000), FEW) == []


@pytest.mark.long
@pytest.mark.parametrize("name", READERS)
def test_time_grows_like_a_long_text(name: str) -> None:
    assert too_slow(READERS[name], (10_000, 20_000, 40_000)) == []


def test_a_square_is_found() -> None:
    """The test itself can fail."""
    pattern = re.compile(r" +x")
    assert too_slow(pattern.search, (3_000, 6_000, 12_000), " ")
