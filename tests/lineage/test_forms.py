"""Spellings: which forms of one value share a key, and which values must not be taken for each other."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrace.lineage import forms
from llmtrace.lineage.forms import (
    flat,
    has_mark,
    keys_in,
    keys_of_word,
    may_hold,
    may_hold_date,
    number_key,
    numbers_in,
    occurs,
    occurs_as_number,
    read_number,
    trace_of,
    words_with_keys,
)
from llmtrace.lineage.values import read_value
from llmtrace.lineage.vocabulary import Vocabulary


def keys_of(text: str) -> set[str]:
    return {key for word in words_with_keys(text) for key in keys_of_word(word)}


SAME = [
    ("W88123", "order #W88123."),
    ("#W88123", "order w88123,"),
    ("gift-card-4471", "gift_card_4471"),
    ("KS-20418", '{"order":"KS-20418"}'),
    ("KS-20418", "order=KS-20418&x=1"),
    ("a.reyes@example.com", "write to A.Reyes@Example.com!"),
    ("1234.5", "it is 1,234.50 EUR"),
    ("1234.5", "es sind 1.234,50"),
    (54, "for $54"),
    (54, "54.00"),
    (54, "about 54USD"),
    (54.0, '{"price": 54}'),
    ("15%", "with 15 % off"),
    (0.15, "15% off"),
    (5400, "5.4k"),
    ("2031-05-17", "on 17.05.2031"),
    ("2031-05-17", "2031-05-17T10:00:00Z"),
    ("2031-05-17", "20310517"),
    ("/srv/data/a7.csv", "open /srv/data/a7.csv:12"),
    ("order-99813", "订单order-99813已"),
    ("99813", "９９８１３"),
    ("W88123", r'{"text": "a\nW88123\nb"}'),
    ("W88123", r'{"text": "{\"a\": \"x\\nW88123\"}"}'),
    ("ÄB-4471", r'{"text": "\u00c4B-4471"}'),
    ("W88123", "he said \\nW88123"),
]
DIFFERENT = [
    ("W88123", "W88124 W8812 W881234"),
    (54, "W54 1054 54.75 540"),
    ("KS-20418", "KS-20419 20418a"),
    ("2031-05-17", "2030-05-17"),
    (1234, "1.234,50"),
]


@pytest.mark.parametrize(("content", "text"), SAME)
def test_one_value_in_two_spellings_shares_a_key(content: object, text: str) -> None:
    """Case, separators, thousands, currency, padding and JSON escapes do not matter."""
    value = read_value(content)
    assert value is not None
    assert keys_of(text).intersection(value.keys)


@pytest.mark.parametrize(("content", "text"), DIFFERENT)
def test_different_values_do_not(content: object, text: str) -> None:
    value = read_value(content)
    assert value is not None
    assert not keys_of(text).intersection(value.keys)


@given(st.integers(min_value=0, max_value=10**15))
def test_a_whole_number_has_one_key(number: int) -> None:
    """However it is grouped or padded, up to ten digits."""
    assert number_key(number) in keys_of(f"x {number:,} y")
    assert number_key(number) in keys_of(f"${number}.00")
    assert number_key(number) in keys_of(str(number))


@given(st.from_regex(r"[a-z]{1,6}[-_#][0-9]{1,9}", fullmatch=True))
def test_the_short_way_for_usual_identifiers_says_the_same(word: str) -> None:
    assert set(keys_of_word(word)) == forms._keys_of_compound(word)


@given(st.text(alphabet="ab12 -_#.,:/\n\"'{}[]", max_size=80), st.from_regex(r"[a-c]{1,3}[-_]?[0-9]{4,6}", fullmatch=True))
def test_a_value_on_its_own_in_any_text_is_found(text: str, value: str) -> None:
    """Whatever stands around it, as long as white space parts it from that."""
    read = read_value(value)
    assert read is not None
    assert keys_of(f"{text} {value} {text}").intersection(read.keys)


READ = st.text(alphabet='ab129KUn.,:/-_% \n"{}[]@$#\\u0é９…→ß’\u0338<＼\u2028\u00a0', max_size=120)


@given(st.lists(READ, min_size=1, max_size=4), st.sampled_from([0, 100, 10_000]), st.sets(st.sampled_from(["1", "=1", "ab"])))
def test_the_vocabulary_of_a_text_has_its_keys(texts: list[str], learnt_from: int, echo: set[str]) -> None:
    """So has each word by itself, whichever way it is read, and whatever was read before."""
    vocabulary = Vocabulary(learnt_from)
    for number, text in enumerate(texts):
        keys = vocabulary.take(number, text, echo).difference(echo)
        keys.update(key for key, numbers in vocabulary.keys.items() if numbers and numbers[-1] == number)
        assert keys == keys_in(text).difference(echo)
        assert keys_in(text) == keys_of(text)


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    """No text raises, and keys have no spaces."""
    assert all(key and not any(map(str.isspace, key)) for key in keys_of(text))
    list(numbers_in(text))
    read_number(text)
    read_value(text)


@given(st.text(alphabet='ab129K.,:/-_% \n"\\u{}[]@é’ß９\u2028\u0663', max_size=120))
def test_nothing_is_ruled_out_that_a_text_has(text: str) -> None:
    """Whatever key a text has, its marks, its letters and digits alone, and its look of a date allow it."""
    keys = keys_of(text)
    assert has_mark(text) or not keys
    assert all(may_hold(flat(text), trace_of(key)) for key in keys)
    assert may_hold_date(text) or not any(key.startswith("@") for key in keys)


@given(st.floats(min_value=0, max_value=1e12), st.sampled_from(["{}", "${:,}", "{:.12f}", "{:,.2f}", "{}k", "{}%", "x={}"]))
def test_no_number_is_ruled_out_either(number: float, form: str) -> None:
    """Numbers that are rounded for their key among them."""
    text = form.format(number)
    assert all(may_hold(flat(text), trace_of(key)) for key in keys_of(text))


def test_plain_prose_has_no_keys() -> None:
    assert keys_of("please reconcile the figures with the ledger, and call the right tool") == set()


def test_occurs_only_with_nothing_of_the_word_around() -> None:
    assert occurs("W88", "(W88)")
    assert not occurs("W88", "W881 and AW88")
    assert occurs_as_number("54", "costs 54.")
    assert not occurs_as_number("54", "54.75, 1,054, x54 and 54,000")


@pytest.mark.parametrize("piece", ["1.", "a@", "1-", "9/", "may 1 ", "12:", "$", "x1", "１", "\\u12", "1,111,"])
def test_hostile_text_takes_linear_time(piece: str) -> None:
    """200 KB of any repeated piece is read in well under a second."""
    start = time.process_time()
    keys_of(piece * (200_000 // len(piece)))
    assert time.process_time() - start < 1.0


@pytest.mark.parametrize("path", ["/", "//", "./", "~/", "-/"])
def test_a_path_without_a_name_is_no_value_that_could_be_made_up(path: str) -> None:
    value = read_value(path)
    assert value is not None
    assert value.kind == "word"
    assert not value.keys
