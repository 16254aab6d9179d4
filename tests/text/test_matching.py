"""One rule of identity: equal letters and digits, at the edges of tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrace.text.matching import contains, is_email, is_identifier, normalize, occurrences, squash, tokens, unescape

TEXTS = [
    ("order KS-20418 please", "ks_20418"),
    ("the order W 88123.", "#W88123"),
    ("die Bestellung (ks20418), bitte", "KS-20418"),
    ("l'ordre «KS–20418»", "KS-20418"),
    ("el pedido KS-20418: ¿dónde está?", "ks 20418"),
    ("заказ КС-20418 отменить", "кс20418"),
    ("订单KS-20418已发货", "KS-20418"),
    ("注文ＫＳ－２０４１８を取り消す", "KS-20418"),
    ("주문KS-20418을 취소", "KS20418"),
    ("الطلب KS-٢٠٤١٨ متأخر", "KS-20418"),
    ("आदेश KS-२०४१८", "KS-20418"),
    ("ใบสั่งซื้อKS-20418แล้ว", "KS-20418"),
    ("Meet in 東京都 today", "東京都"),
    ("STRASSE 12a", "Straße 12A"),
    ("cafe\u0301 X-12", "CAFÉ X12"),
    ("url?order=KS-20418&x=1", "KS-20418"),
    ("DE89 3704 0044 0532 0130 00", "DE89370400440532013000"),
]


@pytest.mark.parametrize(("text", "value"), TEXTS)
def test_a_value_stands_in_a_text_of_any_language_however_it_is_separated(text: str, value: str) -> None:
    assert contains(tokens(text), squash(value))


@pytest.mark.parametrize("text", ["KS-204181", "XKS-20418", "KS-2041 9", "KS 2041", "1KS20418", "KS-20418B", ""])
def test_a_value_begins_and_ends_at_the_edge_of_a_token(text: str) -> None:
    assert not contains(tokens(text), "ks20418")


@given(st.text(), st.text(min_size=1), st.text())
def test_a_text_between_separators_is_always_found(before: str, value: str, after: str) -> None:
    """Whatever characters there are."""
    key = squash(value)
    text = f"{before} {value} {after}"
    if key and squash(text) == squash(before) + key + squash(after):
        assert contains(tokens(text), key)


@given(st.text(alphabet=st.characters(codec="ascii")), st.text(alphabet="abAB12-_ ", min_size=1, max_size=6))
def test_the_characters_that_are_named_spell_the_value(text: str, value: str) -> None:
    """And there are some exactly where the value is contained."""
    key = squash(value)
    places = list(occurrences(text, key)) if key else []
    assert all(squash(text[start:end]) == key for start, end in places)
    assert bool(places) == bool(key and contains(tokens(text), key))


def test_escapes_of_json_are_resolved() -> None:
    assert tokens(unescape(r"{\"a\": \"one\nKS-20418\t\u0041B\"}")) == ["a", "one", "ks", "20418", "ab"]


def test_digits_and_spaces_of_every_script_are_plain() -> None:
    assert normalize("١٢٣\u00a0४५\u202f６") == "123 45 6"


IDENTIFIERS = [
    *("KS-20418", "#W88123", "mia-li-3668-b", "4WQ150", "ZFA04Y", "gift_card_7245904", "mia_li_3668", "B07XJ8C8F5"),
    *("DE89370400440532013000", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "КС-20418", "a81f4471bb"),
]
OTHERS = [
    *(
        "20418",
        "1,234.50",
        "hello",
        "two words 1234",
        "sha256",
        "密码123",
        "本月25日",
        "10000원",
        "1500米跑",
        "10000руб",
        "utf-8",
        "x86_64",
        "step_10_result",
        "user42",
    ),
    *("v1.2.3", "1.2.3-beta4", "report_20418.csv", "web01.example.com", "https://example.com/a1234", "/data/a1234"),
    *("10kg", "250ml", "3000mAh", "1h30m", "PT15M", "2031-05-17", "20310517T101500", "FY2031", "Q3-2031", "2031-W12"),
    *("AES-256", "SHA-256", "UTF-16", "RSA-2048", "RSA-4096", "B-2002"),
    *("#ff8800", "1e10", "model-3-5-large-20310517", "f(88123)", "a=88123", "A1", "", "x" * 200 + "1234"),
]


@pytest.mark.parametrize("text", IDENTIFIERS)
def test_letters_and_digits_mixed_name_one_thing_among_many(text: str) -> None:
    assert is_identifier(text)


@pytest.mark.parametrize("text", OTHERS)
def test_what_else_mixes_letters_and_digits_is_not_an_identifier(text: str) -> None:
    """Files, versions, measures, days, colours, code words, standards, numbers."""
    assert not is_identifier(text)


def test_an_email_address_is_one_by_its_form() -> None:
    assert is_email("a.reyes+x@mail.example.org")
    assert not any(map(is_email, ("@handle", "a@b", "a b@c.de", "scp a@b.c:/d")))


@given(st.text(max_size=40))
def test_every_text_has_an_answer(text: str) -> None:
    assert is_identifier(text) in (True, False)
    assert squash(squash(text)) == squash(text)
