"""A value is planted in one spelling and used in another: the characters are named on both sides."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lineage_story import Story, all_uses

from llmtrace.model import JsonValue, Text
from llmtrace.reading.graph import analyze
from llmtrace.reading.lineage import Lineage, find_matches
from llmtrace.reading.provenance import ValueUse
from llmtrace.reading.sources import Source
from llmtrace.reading.timeline import Timeline


def identifiers() -> st.SearchStrategy[tuple[Any, str]]:
    parts = st.tuples(st.sampled_from(["KS", "ord", "Rf", "КС"]), st.integers(10_000, 999_999))
    written = st.sampled_from(["{}-{}", "{}_{}", "{}{}", "{} {}", "{}/{}"])
    return st.builds(lambda part, form: ("{}-{}".format(*part), form.format(*part).upper()), parts, written)


def numbers() -> st.SearchStrategy[tuple[Any, str]]:
    written = st.sampled_from([lambda n: f"{n:.2f}", lambda n: f"{n:,.2f}", lambda n: f"{n:,.2f}".replace(",", " "), _european])
    return st.builds(lambda n, form: (n / 100, form(n / 100)), st.integers(1101, 99_999_999), written)


def _european(number: float) -> str:
    return f"{number:,.2f}".translate(str.maketrans(",.", ".,"))


def days() -> st.SearchStrategy[tuple[Any, str]]:
    written = st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%Y%m%d", "%d %B %Y", "%Y年%m月%d"])
    return st.builds(
        lambda day, form: (day.isoformat(), day.strftime(form)), st.dates(date(1990, 1, 1), date(2099, 12, 31)), written
    )


def texts() -> st.SearchStrategy[tuple[Any, str]]:
    words = st.lists(st.sampled_from(["blue", "Kettle", "café", "東京", "Ghent", "дом"]), min_size=2, max_size=30)
    return st.builds(lambda text, gap: (" ".join(text), gap.join(text).upper()), words, st.sampled_from([" ", "\n", ", "]))


PLACES = st.sampled_from(["user", "second part", "prose", "json", "json text", "list"])


@given(identifiers() | numbers() | days() | texts() | st.just(("a.r@example.com", "A.R@Example.com")), PLACES)
@settings(max_examples=300)
def test_what_was_planted_is_found_at_its_characters(planted: tuple[Any, str], place: str) -> None:
    """Both ranges cover the value and nothing else."""
    value, written = planted
    sentence = f"Well then; {written}; it is."
    story = Story().user("Go on.")
    if place == "user":
        story.user(sentence)
    elif place == "second part":
        story.user("Hello,", Text(sentence))
    else:
        result: JsonValue = {"prose": sentence, "json": {"all": [{"of": written}]}, "list": ["other", sentence]}.get(place, "")
        story.call("look_up", json.dumps({"a/b": sentence}) if place == "json text" else result, q="abc")
    lineage, use = last_use(story.call("act", {}, it=value))
    assert use.provenance.status == "grounded"
    assert (use.start, use.end) == (0, len(str(value)))
    for origin in (use.provenance.earliest, use.provenance.latest):
        assert origin is not None
        (match,) = lineage.matches(origin, use)
        assert (match.start, match.end, match.text) == (use.start, use.end, written)
        text = written if place == "json" else sentence
        assert text[match.origin_start : match.origin_end] == match.text
        assert match.pointer == {"json": "/all/0/of", "json text": "/a~1b", "list": "/1"}.get(place, "")


def last_use(story: Story) -> tuple[Lineage, ValueUse]:
    """The lineage, and the use of the last argument."""
    timeline = Timeline(story.spans)
    return timeline.lineage, [use for use in all_uses(timeline, story.spans) if use.part == "argument"][-1]


def test_the_name_of_a_member_may_be_the_value() -> None:
    """Members come first."""
    story = Story().user("go").call("look_up", {"KS-20418": {"id": "ks20418"}}).call("act", {}, it="KS-20418")
    lineage, use = last_use(story)
    assert use.provenance.latest is not None
    found = [(match.pointer, match.of_name, match.text) for match in lineage.matches(use.provenance.latest, use)]
    assert found == [("/KS-20418/id", False, "ks20418"), ("/KS-20418", True, "KS-20418")]


@pytest.mark.parametrize(
    "content", ["{not json KS-20418", '["half a surrogate \\ud800", "KS-20418"]', "x" * (1 << 21) + " KS-20418"]
)
def test_text_that_cannot_be_taken_apart_is_searched_as_it_is(content: str) -> None:
    """A very long one not at all."""
    lineage, use = last_use(Story().user(content).call("act", {}, it="KS-20418"))
    assert use.provenance.latest is not None
    texts = [match.text for match in lineage.matches(use.provenance.latest, use)]
    assert texts == (["KS-20418"] if len(content) < 1000 else [])


def test_a_place_that_is_not_known_has_no_characters() -> None:
    lineage, use = last_use(Story().user("It is KS-20418").call("act", {}, it="KS-20418"))
    assert use.provenance.latest is not None
    assert Lineage([]).matches(use.provenance.latest, use) == []
    assert lineage.locate(use.provenance.latest, use) == ""


def test_a_value_in_a_tuple_is_found() -> None:
    """Results of a run that is not stored yet may have some."""
    source = Source("1" * 16, "result of f", {"ids": ("KS-20417", "KS-20418")})  # type: ignore[dict-item]
    story = Story().user("Go on.").call("f", {}, of="KS-20418")
    (use,) = (use for use in analyze(story.trace()).uses if use.value == "KS-20418")
    assert [match.pointer for match in find_matches(source, use)] == ["/ids/1"]
