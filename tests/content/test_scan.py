"""The fast look: where a rule would do anything, its anchor matches."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrace.content.blobs import blob_rule
from llmtrace.content.key_value_secrets import pair_rules, secret_pairs
from llmtrace.content.keys import words
from llmtrace.content.redaction_stats import RedactionStats
from llmtrace.content.scan import Scanner, matcher
from llmtrace.content.secrets import secret_rules

RULES = [
    *secret_rules(),
    *secret_pairs(),
    blob_rule(),
    *pair_rules("key", ["cardNumber"], lambda name: words(name) == "card_number"),
]
TESTS = [(rule, matcher(rule.anchor)) for rule in RULES]

PIECES = """
connection string CONNECTION STRING key _ -
password token api_key apiKey API_KEY secretKey ACCESS-KEY authorization Cookie connectionString card number cardNumber = : " '
\\" => -- --token sk- ghp_ AKIA eyJ . :// @ user Bearer Basic dXNlcjpwYXNz x1 a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6 { } [ ] ` **
AAAABBBBCCCCDDDD , ; & <password> </password> data:a/b;base64, null str ( 1234
"""
pieces = st.sampled_from([*PIECES.split(), "\n"])


@settings(max_examples=1500, deadline=None)
@given(st.lists(pieces, max_size=12), st.sampled_from(["", " "]))
def test_the_anchor_of_a_rule_matches_wherever_the_rule_does(words: list[str], between: str) -> None:
    """Otherwise a secret would pass unseen. (Names in mixed case such as ``PaSsWoRd`` are left out on purpose.)"""
    text = between.join(words)
    for rule, test in TESTS:
        if rule.apply(text, RedactionStats()) != text:
            own = [test(text) for other, test in TESTS if other.apply == rule.apply]
            assert any(own), rule.name


def test_short_and_long_texts_are_judged_alike() -> None:
    """One test of all anchors, or one for each group: the same answer."""
    scan = Scanner([RULES[:4], RULES[4:]])
    for text in ("password=x1", "hello", "AKIAIOSFODNN7EXAMPLE"):
        padded = " " * 500 + text
        assert (scan(text, RedactionStats()) == text) == (scan(padded, RedactionStats()) == padded)


def test_lone_surrogates_do_not_hide_a_secret() -> None:
    """The fast engine cannot read them and says no to the whole text; they are replaced first."""
    scan = Scanner([RULES])
    assert scan("\ud800 password=x1y2", RedactionStats()) == "\ufffd password=[REDACTED:key]"
    assert scan("\ud83e\udd9c fine", RedactionStats()) == "🦜 fine"


@pytest.mark.parametrize("text", ["connection-string=Server=db;pw=x1", "spring.api.key=x1y2z3", "my--private--key: x1y2z3"])
def test_any_separator_within_a_name(text: str) -> None:
    """The words of a name may be joined by any of ``._-``, as in property files."""
    assert Scanner([RULES])(text, RedactionStats()) != text


def test_without_rules_nothing_happens() -> None:
    assert Scanner([])("password=x1", RedactionStats()) == "password=x1"


def test_a_pattern_that_the_fast_engine_refuses_is_tested_by_the_other() -> None:
    assert matcher(r"(?<=a)b")("ab")
    assert not matcher(r"(?<=a)b")("cb")
