"""A value is planted in one form and used in another: it is found, and the very characters are named on both sides."""

from __future__ import annotations

import json
from calendar import month_name
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lineage_story import Story

from llmtrace.lineage import Lineage, Match, Use
from llmtrace.lineage.forms import in_words
from llmtrace.model import JsonValue, Text

DAYS = st.dates(date(2024, 1, 11), date(2029, 12, 28))


def identifiers() -> st.SearchStrategy[tuple[str, str]]:
    made = st.tuples(st.sampled_from(["KS", "ord", "Rf"]), st.integers(10_000, 999_999))
    spelt = st.sampled_from(["{}-{}", "{}_{}", "{}{}", "{} {}", "#{}-{}"])
    return st.tuples(made, spelt, spelt, st.booleans()).map(
        lambda drawn: (drawn[1].format(*drawn[0]).replace(" ", "-"), _in_case(drawn[2].format(*drawn[0]), drawn[3]))
    )


def _in_case(text: str, upper: bool) -> str:
    return text.upper() if upper else text.lower()


def numbers() -> st.SearchStrategy[tuple[float, str]]:
    spelt = st.sampled_from(["{:.2f}", "{:,.2f}", "${:,.2f}", "{:.2f}EUR", "€{:.2f}"])
    european = st.builds(
        lambda n: (n / 100, f"{n / 100:,.2f}".translate(str.maketrans(",.", ".,"))), st.integers(1101, 9_999_999)
    )
    return st.builds(lambda n, form: (n / 100, form.format(n / 100)), st.integers(1101, 9_999_999), spelt) | european


def thousands() -> st.SearchStrategy[tuple[int, str]]:
    return st.integers(11, 999).map(lambda n: (n * 100, f"${n / 10:.1f}k"))


def in_letters() -> st.SearchStrategy[tuple[int, str]]:
    return st.integers(11, 99).map(lambda n: (n, str(in_words(n))))


def days() -> st.SearchStrategy[tuple[str, str]]:
    spelt = st.sampled_from(
        [
            lambda day: day.isoformat(),
            lambda day: day.strftime("%d.%m.%Y"),
            lambda day: day.strftime("%m/%d/%Y"),
            lambda day: day.strftime("%Y%m%d"),
            lambda day: f"{month_name[day.month]} {day.day}, {day.year}",
            lambda day: f"{day.day} {month_name[day.month][:3]} {day.year}",
            lambda day: f"{day.day}th of {month_name[day.month]} {day.year}",
            lambda day: f"{month_name[day.month]} {day.day}",
        ]
    )
    return st.builds(lambda day, form: (day.isoformat(), form(day)), DAYS, spelt)


def texts() -> st.SearchStrategy[tuple[str, str]]:
    words = st.lists(st.sampled_from(["blue", "Kettle", "with", "wooden", "handle", "Ghent", "parcel"]), min_size=2, max_size=9)
    gaps = st.sampled_from([" ", "  ", "\n", ", "])
    return st.builds(lambda said, gap, upper: (" ".join(said), _in_case(gap.join(said), upper)), words, gaps, st.booleans())


def emails() -> st.SearchStrategy[tuple[str, str]]:
    return st.builds(
        lambda n, upper: (f"ada.r{n}@example.com", _in_case(f"ada.r{n}@example.com", upper)), st.integers(1, 999), st.booleans()
    )


def phones() -> st.SearchStrategy[tuple[str, str]]:
    return st.integers(100_0000, 999_9999).map(lambda n: (f"+1555{n}", f"(555) {n // 10_000}-{n % 10_000:04}"))


PLANTED = st.one_of(identifiers(), numbers(), thousands(), in_letters(), days(), texts(), emails(), phones())
PLACES = st.sampled_from(["user", "second part", "prose", "json", "json text", "list"])


@given(PLANTED, PLACES)
@settings(max_examples=300, deadline=None)
def test_what_was_planted_is_found_at_its_characters(planted: tuple[Any, str], place: str) -> None:
    """In whatever form, wherever it stands: both ranges cover the value and nothing else."""
    value, written = planted
    sentence = f"Well then: {written} it is."
    story = Story().user("Go on.")
    if place == "user":
        story.user(sentence)
    elif place == "second part":
        story.user("As said,", Text(sentence))
    else:
        result: JsonValue = {"prose": sentence, "json": {"all": [{"of": written}]}, "list": ["other", sentence]}.get(place, "")
        story.calls("look_up", json.dumps({"a/b": sentence}) if place == "json text" else result, q="x")
    lineage, use = traced(story.calls("act", {}, it=value))
    assert use.provenance.status == "grounded"
    assert (use.start, use.end) == (0, len(str(value)))
    for origin in (use.provenance.earliest, use.provenance.latest):
        assert origin is not None
        (match,) = lineage.matches(origin, use)
        assert (match.start, match.end) == (use.start, use.end)
        assert match.text in written
        assert len(match.text) >= len(written.strip("(#$€EUR"))
        whole = written if place == "json" else sentence
        assert whole[match.origin_start : match.origin_end] == match.text
        pointers = {"json": "/all/0/of", "json text": "/a~1b", "list": "/1"}
        assert match.pointer == pointers.get(place, "")


def traced(story: Story) -> tuple[Lineage, Use]:
    """The lineage, and the use of the last argument."""
    lineage = Lineage()
    return lineage, [use for span in story.spans for use in lineage.add(span) if use.part == "argument"][-1]


@given(PLANTED)
@settings(max_examples=100, deadline=None)
def test_a_value_that_stands_nowhere_has_no_characters(planted: tuple[Any, str]) -> None:
    _, use = traced(Story().user("Please go on with it.").calls("act", {}, it=planted[0]))
    assert use.provenance.status in ("ungrounded", "unknown")
    assert use.provenance.earliest is None


def test_an_answer_names_its_own_characters_too() -> None:
    """Of the part of the message that it is."""
    text = "Your order KS-20418 of May 2, 2031 cost 1,018.50 EUR."
    story = Story().user("Look").calls("look_up", {"id": "ks_20418", "day": "2031-05-02", "total": 1018.5}, q="x")
    story.says("Sure.", text)
    lineage = Lineage()
    uses = [use for span in story.spans for use in lineage.add(span) if use.part == "answer"]
    assert [(text[use.start : use.end], use.text_part) for use in uses] == [
        ("May 2, 2031", 1),
        ("KS-20418", 1),
        ("1,018.50", 1),
    ]
    found = [lineage.matches(use.provenance.latest, use)[0] for use in uses if use.provenance.latest]
    assert [(match.pointer, match.text) for match in found] == [
        ("/day", "2031-05-02"),
        ("/id", "ks_20418"),
        ("/total", "1018.5"),
    ]


def test_each_element_of_a_list_has_its_own_characters() -> None:
    listed = "KS-20418, KS-20457;KS-20418"
    story = Story().user("KS-20457 and KS-20418").calls("act", {}, it=listed)
    uses = [use for use in story.uses() if use.part == "argument"]
    assert [(use.start, use.end) for use in uses] == [(0, 8), (10, 18), (19, 27)]
    assert [listed[use.start : use.end] for use in uses] == ["KS-20418", "KS-20457", "KS-20418"]


@pytest.mark.parametrize(
    ("value", "result"), [("SFO-JFK", {"from": "SFO", "to": "JFK"}), ("Ada Reyes", {"of": ["Reyes", "Ada"]})]
)
def test_a_joined_value_names_each_piece(value: str, result: JsonValue) -> None:
    """Where it stands in the value, and where in the origin; the pieces stand in one source."""
    lineage, use = traced(Story().user("Book it").calls("look_up", result, q="x").calls("act", {}, it=value))
    provenance = use.provenance
    assert (provenance.status, provenance.form, provenance.rule) == ("grounded", "derived", "joined")
    found: list[Match] = [match for origin in provenance.inputs for match in lineage.matches(origin, use)]
    assert [value[match.start : match.end] for match in found] == [match.text for match in found]
    assert {match.text for match in found} == set(value.replace("-", " ").split())
    assert len({match.pointer for match in found}) == 2


def test_a_part_of_a_value_is_found_in_the_whole() -> None:
    """The first name, out of the name."""
    lineage, use = traced(Story().user("Hi").calls("look_up", {"name": "Ada Reyes"}, q="x").calls("act", {}, first="ada"))
    assert use.provenance.latest is not None
    (match,) = lineage.matches(use.provenance.latest, use)
    assert (match.pointer, match.origin_start, match.origin_end) == ("/name", 0, 3)


def test_a_word_inside_another_is_no_place() -> None:
    _, use = traced(Story().user("I am in Canada").calls("act", {}, first="ada"))
    assert use.provenance.status == "unknown"


COMPUTED: list[tuple[str, Any, str, list[str]]] = [
    ("18.50 and 4.25", 22.75, "sum", ["18.50", "4.25"]),
    ("250 dollars at 0.915", 228.75, "product", ["250", "0.915"]),
    ("a spread of 13.490737563232042", 13.49, "rounded", ["13.490737563232042"]),
    ("41.36 kilograms", 41.4, "rounded", ["41.36"]),
    ("226.1 kilometres", 226, "rounded", ["226.1"]),
    ("100.10 less 18.50", 81.6, "difference", ["100.10", "18.50"]),
    ("200.00 with 15% off", 170.0, "share", ["200.00", "15%"]),
    ("12 at 18.55", 222.6, "product", ["18.55", "12"]),
    ("10.50, 10.50 and 20.25", 41.25, "total", ["10.50", "10.50", "20.25"]),
    ("18.20 twice: 18.20, and 3 of 4.11, 4.11, 4.11", 48.73, "total", ["18.20", "18.20", "4.11", "4.11", "4.11"]),
]


@pytest.mark.parametrize(("said", "value", "rule", "terms"), COMPUTED)
def test_a_computed_value_names_its_inputs(said: str, value: Any, rule: str, terms: list[str]) -> None:
    """Derived, by which rule, and the very characters of each input."""
    lineage, use = traced(Story().user(said).calls("act", {}, it=value))
    assert (use.provenance.form, use.provenance.rule) == ("derived", rule)
    found = [match.text for origin in use.provenance.inputs for match in lineage.matches(origin, use)]
    assert sorted(found) == sorted(terms)


UNITS: list[tuple[Any, JsonValue, str]] = [
    (5000, "it is 5 km away", "5 km"),
    (2500, {"weight_kg": 2.5}, "2.5"),
    (90, "in 1.5 hours", "1.5 hours"),
    (1.75, "some 105 minutes", "105 minutes"),
    (4200, "it costs $42", "$42"),
    (1850, {"price": "18.50"}, "18.50"),
    (18.75, "1,875 cents", "1,875 cents"),
    (21, "for 3 weeks", "3 weeks"),
]


@pytest.mark.parametrize(("value", "told", "written"), UNITS)
def test_another_unit_is_found_where_the_text_says_it(value: Any, told: JsonValue, written: str) -> None:
    """Beside the number, or in the name of its member."""
    lineage, use = traced(Story().user("Well?").calls("look_up", told, q="x").calls("act", {}, it=value))
    assert (use.provenance.status, use.provenance.rule) == ("grounded", "unit")
    assert use.provenance.latest is not None
    (match,) = lineage.matches(use.provenance.latest, use)
    assert match.text in written
    assert match.text.startswith(written.split(maxsplit=1)[0].lstrip("$"))


@pytest.mark.parametrize(("value", "told"), [(5317, "5.317 apples"), (3180, "53 apples"), (7371, {"km": 7.3})])
def test_a_number_is_no_other_unit_of_any_number(value: int, told: JsonValue) -> None:
    _, use = traced(Story().user("Well?").calls("look_up", told, q="x").calls("act", {}, it=value))
    assert use.provenance.status == "ungrounded"


ROWS = [{"id": f"A{n}", "price": 113 + 29 * n, "seats": 11 + 3 * n} for n in range(5)]


@pytest.mark.parametrize(("value", "rule"), [(113 + 171, "sum"), (113 + 14, ""), (171 * 3, "product"), (29, "difference")])
def test_a_whole_number_is_computed_from_what_goes_together(value: int, rule: str) -> None:
    """Prices with prices, not prices with seats."""
    _, use = traced(Story().user("Book it").calls("search", ROWS, q="x").calls("pay", {}, it=value))
    assert (use.provenance.status, use.provenance.rule) == ("grounded" if rule else "ungrounded", rule)


def test_a_long_text_names_what_it_quotes() -> None:
    """Overlapping pieces: each stretch of words that stands in the origin, with the range on both sides."""
    notice = "The kettle with the wooden handle was damaged on its way to Ghent, and the carrier paid for it."
    note = "Hello! the KETTLE with the wooden handle was damaged. Also: the carrier paid for it. Bye now dear all."
    lineage, use = traced(Story().user("x").calls("look_up", {"notice": notice}, q="x").calls("act", {}, message=note))
    assert (use.provenance.status, use.provenance.rule) == ("grounded", "quoted")
    assert use.provenance.latest is not None
    found = lineage.matches(use.provenance.latest, use)
    quoted = ["the KETTLE with the wooden handle was damaged", "the carrier paid for it"]
    assert [note[match.start : match.end] for match in found] == quoted
    assert [notice[match.origin_start : match.origin_end] for match in found] == [match.text for match in found]
    assert [match.text.casefold() for match in found] == [text.casefold() for text in quoted]


def test_the_earliest_and_the_latest_place_are_both_named() -> None:
    story = Story().user("Order KS-20418 please").calls("look_up", {"id": "KS-20418"}, q="x").calls("act", {}, it="KS-20418")
    lineage, use = traced(story)
    earliest, latest = use.provenance.earliest, use.provenance.latest
    assert earliest is not None
    assert latest is not None
    assert (earliest.place, latest.place) == ("message 1 (user)", "result of look_up")
    (first,), (last,) = lineage.matches(earliest, use), lineage.matches(latest, use)
    assert (first.pointer, first.origin_start, last.pointer, last.origin_start) == ("", 6, "/id", 0)


def test_a_result_with_half_a_surrogate_pair_is_a_plain_text() -> None:
    """It looks like JSON, and no parser takes it."""
    story = Story("You refund orders.").calls("list_all", '["KS-20431 \ud800"]').calls("refund", "ok", order_id="KS-20431")
    lineage = Lineage()
    [use] = [use for span in story.trace().spans for use in lineage.add(span) if use.value == "KS-20431"]
    assert use.provenance.latest is not None
    assert [match.text for match in lineage.matches(use.provenance.latest, use)] == ["KS-20431"]


def test_the_root_of_a_file_system_is_no_value() -> None:
    """Nor does it end the run's lineage."""
    story = Story("You list folders.").calls("list_all", "etc usr", path="/").calls("refund", "ok", order_id="KS-20431")
    for thorough in (True, False):
        lineage = Lineage(thorough=thorough)
        uses = [use for span in story.trace().spans for use in lineage.add(span)]
        assert [use.value for use in uses if use.provenance.status == "ungrounded"] == ["KS-20431"]
