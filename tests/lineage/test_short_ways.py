"""Short ways through large texts: each says what the long way says."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import replace
from itertools import chain
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lineage_story import Story

from llmtrace.lineage import Lineage
from llmtrace.lineage.characters import compatible, spaced
from llmtrace.lineage.computed import Term, computed, may_follow
from llmtrace.lineage.context import Context
from llmtrace.lineage.dates import dates_by_name, dates_in
from llmtrace.lineage.forms import keys_in, keys_of_word, words_with_keys
from llmtrace.lineage.history import _begins_with
from llmtrace.lineage.quantities import labelled, names_may_hold_digits, written
from llmtrace.lineage.sieve import Sieve
from llmtrace.lineage.sources import Source
from llmtrace.lineage.vocabulary import Vocabulary
from llmtrace.lineage.wanted import Wanted, WantedVocabulary
from llmtrace.lineage.words import MOST_TRIED, Words, readable, words_of
from llmtrace.model import Blob, Inference, Message, Operation, Span, Text, ToolCall

CENTS = st.one_of(st.integers(0, 99_999).map(lambda cents: cents / 100), st.integers(0, 400).map(float))
FINER = st.integers(0, 99_999).map(lambda parts: parts / 8000)
LARGE = st.integers(10**9, 2 * 10**12).map(float)


@given(
    st.one_of(
        st.text(alphabet='ab1290K.,:/-_% \n"\\{}[]$#=&?+~@éusdeur٣\ud800', max_size=120),
        st.recursive(
            st.one_of(CENTS, st.text(max_size=9), st.sampled_from(["KS-204", "2031-05-02", "x=5", "1,018.50"])), st.lists
        ).map(lambda rows: json.dumps({"id": rows, "2": rows, "total 7 ": rows})),
    )
)
def test_numbers_alone_are_the_numbers_with_what_they_count(text: str) -> None:
    if not names_may_hold_digits(text):
        assert [number for number, _ in written(text)] == [number for number, _ in labelled(text)]


@settings(max_examples=400)
@given(st.data())
def test_only_what_does_not_follow_is_ruled_out_beforehand(data: st.DataObject) -> None:
    """Whatever the numbers count, and whoever wrote them."""
    numbers = data.draw(st.lists(st.one_of(CENTS, FINER, LARGE), min_size=2, max_size=16))
    numbers += data.draw(st.lists(st.sampled_from(numbers), max_size=3))
    source = Source("", "", "", asked=data.draw(st.booleans()))
    terms = [Term(number, data.draw(st.sampled_from(["", "$", "%", "#"])), source) for number in numbers]
    one, other, factor = numbers[0], numbers[-1], data.draw(st.integers(2, 10))
    made = [one + other, one - other, one * other, one * factor, one / factor, one * other / 100, sum(numbers[:5])]
    made += [one * (100 - other) / 100, one / other if other else one, data.draw(CENTS)]
    made += [sum(numbers[:count]) / len(numbers[:count]) for count in (2, 3, 12)]
    made += [round(each, 2) for each in made] + [round(each, digits) for each in numbers for digits in (0, 1)]
    for number in made:
        assert may_follow(float(number), numbers) or computed(float(number), terms) is None


WORDS = (
    "refund",
    "Ship",
    "the",
    "a1",
    "x-7",
    "12",
    "1.50",
    "KS-204",
    "naïve",
    "２",
    "\\nsoon",
    "end.",
    '"id":',
    "\u2028",
    "ß",
    "É",
    "7→be",
    "ﬁve…",
    "",
)


@given(
    st.lists(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join), max_size=24),
    st.lists(st.sampled_from(WORDS), max_size=3),
    st.sampled_from([0, 100, 10_000]),
)
def test_words_stand_where_they_are_read_in_every_text(texts: list[str], wanted: list[str], learnt_from: int) -> None:
    """Words with a digit, which are read later than the others, among them."""
    vocabulary = Vocabulary(learnt_from)
    words = Words(vocabulary.plain)
    for number, text in enumerate(texts):
        vocabulary.take(number, text)
        words.take(text)
    phrase = _parted(" ".join(wanted))
    holding = [number for number, text in enumerate(texts) if phrase.strip(" ") and phrase in _parted(readable(text))]
    found = words.first_and_last(" ".join(wanted))
    assert found == ((holding[0], holding[-1]) if holding else ()) or (len(texts) > MOST_TRIED and set(found) <= set(holding))


PIECES = (
    *WORDS,
    "5/7",
    "20310502",
    "17th",
    "\\",
    "\\\\u0041b-7",
    "\\U5",
    "{",
    "[",
    '"',
    ":",
    "=",
    "/",
    "é",
    "\u0338",
    "→",
    "\x85",
    "\ud800",
    "\n",
    " ",
)


@settings(max_examples=400)
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=9).map("".join), max_size=6), st.data())
def test_what_is_known_to_be_wanted_is_found_as_if_all_were(texts: list[str], data: st.DataObject) -> None:
    every = Vocabulary(data.draw(st.sampled_from([0, 10_000])))
    dated = [every.take(number, text) for number, text in enumerate(texts)]
    keys = sorted({*every.keys, *chain.from_iterable(dated)})
    words = sorted({*every.plain, *chain.from_iterable(map(words_of, map(readable, texts)))})
    wanted = Wanted(*(frozenset(data.draw(st.sets(st.sampled_from(each or ["a"])))) for each in (keys, words)))
    chosen = WantedVocabulary(wanted)
    with patch("llmtrace.lineage.wanted.MOST_KNOWN", data.draw(st.sampled_from([5, 1000]))):
        days = [chosen.take(number, text) for number, text in enumerate(texts)]
    given = set[str]()
    for number in range(len(texts)):
        of_text = dated[number].union(key for key in every.keys if number in every.keys[key])
        dates = {key for key in of_text if key[0] == "@"}
        assert dates - given <= days[number] <= dates
        given |= dates
        assert {key for key in chosen.keys if number in chosen.keys[key]} == of_text & wanted.keys | dates
        standing = {word for word in chosen.plain if number in chosen.plain[word]}
        numbered = {word for word in standing if re.search("[0-9]", word)}  # of these some that are escapes may be among them
        readable_words = {word for word in words_of(readable(texts[number])) if re.fullmatch("[a-z]*[0-9][a-z0-9]*", word)}
        assert numbered >= readable_words & wanted.words
        assert standing - numbered == {word for word in every.plain if number in every.plain[word]} & wanted.words


TIMES = """
    Today tuesday's days daybook weekly Mid-month Nov november. novel may June-July the of 17 17th 3. 2031 ,2031
    17-may-2031 2.mars mars März märz 5月17日 月 mai main 1er d'août июля ─── é - . "
"""


@settings(max_examples=400)
@given(st.lists(st.sampled_from([*TIMES.split(), " ", "\n", "\ud800"]), max_size=12).map("".join), st.integers(0, 3))
def test_dates_are_read_only_where_a_word_tells_of_one(text: str, many: int) -> None:
    vocabulary = WantedVocabulary(Wanted(frozenset(), frozenset()))
    for number in range(many):
        vocabulary.take(number, "In May or on a weekday")
    counted = {key for key, numbers in vocabulary.keys.items() if numbers and key[0] == "~"}
    counted |= {key for key in vocabulary.take(many, text) if key[0] == "~"}
    found = dates_by_name(text, vocabulary.months or ()) | {key for key in counted if many in vocabulary.keys[key]}
    assert found == dates_in(text)


def _parted(text: str) -> str:
    """The same words, found one by one; every character beyond ASCII that separates none is part of one."""
    return " ".join(["", *re.findall(r"(?:[a-z0-9]|[^\x00-\x7f])+", spaced(compatible(text)).casefold()), ""])


@given(
    st.lists(
        st.from_regex(
            r"[#,.]?(?:[ab]{1,2}[-_#]?[0-9]{1,9}|[0-9]{1,9}(?:\.[0-9]{1,3})?|20[0-9]{2}-[01][0-9]-[0-3][0-9])[,.:]?",
            fullmatch=True,
        ),
        min_size=100,
        max_size=140,
    )
)
@settings(max_examples=30)
def test_many_words_that_differ_by_their_digits_alone_are_read_as_each_by_itself(words: list[str]) -> None:
    text = " ".join(words)
    keys, vocabulary = {key for word in words_with_keys(text) for key in keys_of_word(word)}, Vocabulary(0)
    assert keys_in(text) == keys == Vocabulary().take(0, text) == vocabulary.take(0, text).union(vocabulary.keys)


@settings(max_examples=400)
@given(
    st.lists(st.text(alphabet="ab019.,:=&?+/@#_-$%ku", min_size=1, max_size=14), min_size=12, max_size=20),
    st.sets(st.sampled_from(["=1", "=10", "=1000", "=0.1", "=19", "=1.9", "=100000000.1", "=1e+12"])),
    st.data(),
)
def test_a_word_that_a_sieve_leaves_out_has_no_key_that_is_wanted(
    words: list[str], numbers: set[str], data: st.DataObject
) -> None:
    of_each = {word: {key for key in keys_of_word(word) if key[0] not in "@~"} for word in words}
    keys = data.draw(st.sets(st.sampled_from(sorted({"a", *chain.from_iterable(of_each.values())})))) | numbers
    left = Sieve(keys).left(words)
    assert set(left) <= set(words)
    assert all(keys.isdisjoint(of_each[word]) for word in words if word not in left)


MESSAGES = [Message(role, (Text(text),)) for role in ("user", "assistant") for text in ("a", "b")]


@given(st.lists(st.sampled_from(MESSAGES), max_size=5), st.lists(st.sampled_from(MESSAGES), max_size=5), st.booleans())
def test_a_history_that_goes_on_is_known_without_a_slice(one: list[Message], other: list[Message], copied: bool) -> None:
    longer = (*one, *other)
    for before in (tuple(one), tuple(other), longer):
        known = tuple([Message(each.role, each.parts) for each in before]) if copied else before
        assert _begins_with(longer, known) == (longer[: len(known)] == known)


NOTES = ("Nothing.", "It is KS-2041.", "It is KS-2042.", "It is KS-2043.")


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["go on", "go on", "go on", "ask another"]),
            st.lists(st.tuples(st.integers(1, 4), st.sampled_from([*NOTES, None])), max_size=2),
            st.sampled_from([*NOTES, "call 1", "call 2", "call 3"]),
        ),
        max_size=14,
    )
)
def test_requests_are_judged_alike_whether_the_same_objects_come_again_or_others(turns: list[tuple[Any, ...]]) -> None:
    """Also where a program puts something else in the place of a message in the middle, for as long as it likes, but not what
    stood there before; None is an image. It may ask another model in between."""
    histories = [[Message(role, (Text(NOTES[0]),)) for role in ("system", "user", "user", "assistant", "user")] for _ in "ab"]
    stood = defaultdict[object, list[object]](lambda: [Text(NOTES[0])])
    story = Story()
    for number, (asked, replaced, said) in enumerate(turns):
        messages = histories[asked == "ask another"]
        for place, note in replaced:
            part = Blob("image") if note is None else Text(note)
            if part not in stood[asked, place]:
                messages[place] = Message("user", (part,))
                stood[asked, place].append(part)
        words = Text(f"Well. {said}") if said in NOTES else ToolCall("act", {"it": f"KS-204{said[-1]}"}, f"call_{number}")
        answer = Message("assistant", (words,))
        story.span(Inference("openai", input=tuple(messages), output=(answer,)))
        messages += [answer, Message("user", (Text("go on"),))]
    copied = [replace(span, operation=_copied(span.operation)) for span in story.spans]
    assert _judged(story.spans) == _judged(copied)


def _copied(inference: Operation) -> Operation:
    """The same request made of other objects."""
    assert isinstance(inference, Inference)
    return replace(inference, input=tuple([Message(message.role, message.parts) for message in inference.input]))


def _judged(spans: list[Span]) -> list[object]:
    lineage, found = Lineage(thorough=False), list[object]()
    lineage.looked_up = True
    for span in spans:
        found += [(use.value, use.provenance.status) for use in lineage.add(span)]
        found.append([value.text for value in lineage.unsupported(span, span.operation.output[0].text())])  # type: ignore[union-attr]
    return found


PIECES = ("KS-204", "ks-204", "54 USD", "54", "1.54", "1.54 USD", ".", ",", " ", "x", "#", "a@b.io", "/srv/a", "17 May")


@settings(max_examples=400)
@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from(PIECES), max_size=4).map("".join), st.lists(st.sampled_from(PIECES), max_size=2)),
        max_size=5,
    )
)
def test_an_argument_that_stands_as_it_is_is_found_if_it_is_looked_for(turns: list[tuple[str, list[str]]]) -> None:
    """Also one that a result only repeats, since the model had made it up."""
    story = Story().user("go")
    for told, asked in turns:
        story.calls("act", told, it="".join(asked), again=turns[0][1])
    quick = story.uses(thorough=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Context, "holds_as_written", lambda *_: False)
        assert story.uses(thorough=False) == quick
