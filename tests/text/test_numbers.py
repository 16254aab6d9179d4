"""Numbers are compared as numbers, in every usual spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrace.text.matching import normalize
from llmtrace.text.numbers import number_key, places_of_number, read_number, spellings, written_numbers


def stands(number: float, text: str) -> bool:
    return not set(spellings(number_key(number) or "")).isdisjoint(written_numbers(normalize(text), spaced=True))


SPELLINGS = [
    "1,234.5",
    "1.234,5",
    "1 234,5",
    "1\u202f234,50",
    "1'234.5",
    "1’234.50",
    "1234.500",
    "١٬٢٣٤٫٥",
    "１２３４.５",
    "$1,234.5",
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_all_usual_spellings_are_the_same_number(text: str) -> None:
    assert stands(1234.5, f"total: {text} EUR")
    assert read_number(text) == ("=1234.5",)


@pytest.mark.parametrize("text", ["1,23,456", "123,456", "123 456", "123456.00", "123'456"])
def test_groups_of_digits_as_they_are_set_anywhere(text: str) -> None:
    assert stands(123456, text)
    assert "=123456" in read_number(text)


def test_what_can_be_read_in_two_ways_matches_either() -> None:
    assert read_number("1,234") == ("=1234", "=1.234")
    assert stands(1234, "1,234")
    assert stands(1.234, "1,234")


@pytest.mark.parametrize(
    ("number", "text"), [(1850, "18.50"), (204, "KS204"), (204, "2041"), (5, "1.5"), (1234, "12345"), (99, "99.5"), (17, "x17")]
)
def test_other_numbers_and_parts_of_a_number_are_not_the_same(number: float, text: str) -> None:
    assert not stands(number, text)


def test_numbers_of_a_list_without_spaces_are_found() -> None:
    assert all(stands(number, "[18.5,42.17,99]") for number in (18.5, 42.17, 99))


def test_what_is_not_a_number_has_no_reading() -> None:
    assert number_key(float("nan")) is None
    assert number_key(float("inf")) is None
    assert not any(map(read_number, ("", "abc", "1.2.3", "12:30", "1-2", "1,2,3", "10kg", "1" * 50)))


def test_a_number_of_any_length_raises_nothing() -> None:
    """One that Python may not write has no key."""
    assert number_key(-(10**400)) == "=1" + "0" * 400
    assert number_key(10**5000) is None
    assert number_key(1e308) == f"={10**308}"


@given(st.floats(0, 1e15) | st.integers(0, 10**18))
def test_a_number_is_found_in_each_of_its_spellings(number: float) -> None:
    key = number_key(number)
    assert key is not None
    for spelling in spellings(key):
        assert stands(number, f"({spelling})")
        places = {f"({spelling})"[start:end] for start, end in places_of_number(f"({spelling})", key)}
        assert spelling in places
        assert len(spelling) > 40 or key in read_number(spelling)
