"""Identifiers that are asked for by the first and the last of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lineage_story import Story

from llmtrace.lineage import ranges, visible
from llmtrace.lineage.ranges import ranges_in

NAMED = [
    "Check the orders KS-100 to KS-139.",
    "check ks-100 through 139",
    "KS-100 – KS-139, please",
    "KS-100–139",
    "KS-100..KS-139",
    "KS-100 ... KS-139",
    "KS-100-KS-139",
    "KS-100 - KS-139",
    "all between KS-100 and KS-139",
    "von KS-100 bis KS-139 …",
]


@pytest.mark.parametrize("text", NAMED)
def test_what_stands_between_the_ends_is_given(text: str) -> None:
    """However the range is written; and the ends are told as what it follows from."""
    story = Story().user(text).calls("act", {}, it="KS-101")
    provenance = story.use("/it").provenance
    assert (provenance.status, provenance.form, provenance.rule) == ("grounded", "derived", "range")
    assert provenance.inputs[0].value in ("KS-100", "ks-100")
    assert not any(use.made_up for use in story.uses(thorough=False))


@pytest.mark.parametrize("it", ["KS-99", "KS-140", "AB-101", "KS-0101", "KS-1010"])
def test_what_stands_beyond_them_is_not(it: str) -> None:
    assert Story().user("Check the orders KS-100 to KS-139.").calls("act", {}, it=it).use("/it").made_up


@pytest.mark.parametrize(
    "text",
    [
        "orders KS-100 and KS-139",
        "KS-4 to 500 users",
        "KS-139 to KS-100",
        "KS-100-139",
        "KS-100 to AB-139",
        "KS-1 to KS-999999",
        "2031-05-17",
    ],
)
def test_two_identifiers_are_no_range(text: str) -> None:
    """Nor is one with two numbers in it, nor one that would hold nearly anything."""
    assert not any(each.holds("KS-101") for each in ranges_in(text))


def test_a_tool_names_no_range() -> None:
    """Only who asks for something does."""
    story = Story().user("Check").calls("list", {}).calls("act", {}, it="KS-101")
    assert story.use("/it").made_up
    told = Story().user("Check").calls("list", "KS-100 to KS-139").calls("act", {}, it="KS-101")
    assert told.use("/it").made_up


@pytest.mark.parametrize("it", ["KS-96", "KS-1005", "KS-10020"])
def test_ends_of_different_lengths(it: str) -> None:
    (found,) = ranges_in("KS-95 to KS-10020")
    assert found.holds(it)
    assert not found.holds("KS-096")
    assert not found.holds("KS-0100")


def test_a_range_is_known_as_long_as_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is said after it, and though its text is forgotten; no text is kept for it."""
    monkeypatch.setattr(visible, "SOURCES", 8)
    story = Story().user("Check the orders KS-100 to KS-139.")
    for number in range(70):
        story = story.user(f"and then {number}")
    assert not any(use.made_up for use in story.calls("act", {}, it="KS-101").uses(thorough=False))


PIECES = (
    "KS-100",
    "ks-139",
    "139",
    "to",
    "up to",
    "between",
    "and",
    "..",
    "...",
    "-",
    " - ",
    "x",
    "A7",
    "A12",
    "bis",
    "\n",
    "–",
    "…",
    "\u2003",
    "é",
)


@given(st.lists(st.sampled_from(PIECES), max_size=8), st.sampled_from(["", " ", "\x1c"]))
def test_the_first_look_misses_no_range(pieces: list[str], between: str) -> None:
    text = between.join(pieces)
    assert ranges._may_hold_range(text.encode("ascii", "replace").decode()) or not any(
        pattern.search(text) for pattern in ranges._RANGES
    )


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 1500), st.sampled_from(["KS-", "ord_", "A", "X#"]))
def test_a_range_holds_what_counts_from_its_first_to_its_last(first: int, more: int, wanted: int, letters: str) -> None:
    (found,) = ranges_in(f"see {letters}{first:04} to {letters}{first + more:04} now")
    assert found.holds(f"{letters}{wanted:04}") is (first <= wanted <= first + more)
