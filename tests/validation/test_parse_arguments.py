"""Reading the raw text of arguments."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrace.validation.parse_arguments import MAX_DEPTH, parse_arguments, read, strip_fence, usable_arguments

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
json_objects = st.dictionaries(st.text(max_size=5), json_values, max_size=5)


@given(json_objects, st.sampled_from([None, 0, 2]), st.booleans())
def test_one_object_is_a_dict(value: dict[str, Any], indent: int | None, ascii_only: bool) -> None:
    """Text of one JSON object, however it is laid out, is read as the dict that the standard library reads."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert parse_arguments(text) == json.loads(text)


@given(st.text(max_size=30) | json_values.map(json.dumps) | json_objects.map(lambda value: json.dumps(value)[:-1]))
def test_anything_else_is_the_text_itself(text: str) -> None:
    """What is not one JSON object comes back unrepaired, and a reader that refuses the text says why."""
    try:
        strict = json.loads(text, parse_constant=int)  # int("NaN") raises ValueError
    except ValueError:
        strict = None
        assert read(text).problem
    parsed = parse_arguments(text)
    assert parsed == strict if isinstance(strict, dict) else parsed is text


@given(st.lists(st.tuples(st.sampled_from(["a", "b", 'c":', "d : e"]), st.text(max_size=4)), max_size=5), st.booleans())
def test_duplicate_keys_are_found_however_the_colons_stand(pairs: list[tuple[str, str]], spaced: bool) -> None:
    """A dict comes back if and only if no key was given twice, whatever colons stand in keys and values."""
    colon = " : " if spaced else ":"
    text = "{" + ",".join(json.dumps(name) + colon + json.dumps(value) for name, value in pairs) + "}"
    names = [name for name, _ in pairs]
    assert isinstance(parse_arguments(text), dict) is (len(set(names)) == len(names))
    assert len(read(text).duplicates) == len({name for name in names if names.count(name) > 1})


@pytest.mark.parametrize(
    ("text", "pointers"),
    [
        ('{"a": 1, "a": 2}', ("/a",)),
        ('{"a": {"b/c": 1, "b/c": 1}}', ("/a/b~1c",)),
        ('{"x": [{"y": 1}, {"y": 1, "y": 2}]}', ("/x/1/y",)),
        ('{"a": {"b": 1, "b": 2}, "a": 3}', ("/a",)),
    ],
)
def test_duplicates_have_pointers(text: str, pointers: tuple[str, ...]) -> None:
    """Each duplicate is at its exact place; what a later duplicate replaced is not searched."""
    assert parse_arguments(text) is text
    assert read(text).duplicates == pointers


@pytest.mark.parametrize(
    ("text", "says", "line", "column"),
    [
        ("", "empty", 1, 1),
        ("{'a': 1}", "single quotes", 1, 2),
        ("{\"a\": 'b'}", "single quotes", 1, 7),
        ('{"a": 1,}', "comma stands before a closing bracket", None, None),
        ('{"a": [1, ]}', "comma stands before a closing bracket", None, None),
        ('{"a": 1', "cut off", 1, 8),
        ('{"a": "b', "cut off inside a string", 1, 7),
        ('```json\n{"a": 1}\n```', "code fence", 1, 1),
        ('{"a": True}', "Python's True", 1, 7),
        ('{"a": None}', "Python's True, False or None", 1, 7),
        ('{"a": 1}{"b": 2}', "more than one JSON value", 1, 9),
        ('{"a": 1}\n{"b": 2}', "more than one JSON value", 2, 1),
        ('{"a": 1} done', "text after the JSON value", 1, 10),
        ("{a: 1}", "not in double quotes", 1, 2),
        ('{"a" 1}', "colon is missing", 1, 6),
        ('{"a": 1 "b": 2}', "comma or a closing bracket is missing", 1, 9),
        ('{"a": "x\ny"}', "raw line break", 1, 9),
        ('{"a": "\\x"}', "backslash", 1, 8),
        ('{"a": // no\n1}', "no comments", 1, 7),
        ('{"a": NaN}', "NaN and Infinity", 1, 7),
        ('{"a": "NaN",\n "b": -Infinity}', "NaN and Infinity", 2, 7),
        ("I will call the tool", "does not begin as JSON", 1, 1),
        ('\ufeff{"a": 1}', "byte order mark", 1, 1),
        ('{"a": ' + "9" * 5000 + "}", "too many digits", None, None),
    ],
)
def test_malformed_text_is_explained(text: str, says: str, line: int | None, column: int | None) -> None:
    """The ways in which models get JSON wrong are told apart, with line and column."""
    assert parse_arguments(text) is text
    reading = read(text)
    assert says in reading.problem
    if line is not None:
        assert (reading.line, reading.column) == (line, column)


@given(st.text(max_size=20), st.sampled_from(["{'%s': 1}", '{"a": "%s', '{"%s" 1}', '{"a": %s}', "%s", '{"a":1}%s']))
def test_explanations_are_free_of_content(secret: str, form: str) -> None:
    """No word of the text stands in the explanation."""
    canary = f"canary{secret}"
    assert "canary" not in read(form % canary).problem


@pytest.mark.parametrize("opening", ['{"a":', '{"a":[', '{"a":"\\ud800","b":'])
def test_nesting_is_bounded(opening: str) -> None:
    """Text nested as deep as allowed is read; deeper, it is refused by name, whatever the depth."""
    closing = {"{": "}", "[": "]"}

    def nested(times: int) -> str:
        return opening * times + "1" + "".join(closing[letter] for letter in reversed(opening * times) if letter in closing)

    levels = sum(letter in closing for letter in opening)
    assert isinstance(parse_arguments(nested(MAX_DEPTH // levels)), dict)
    for depth in (MAX_DEPTH + 2, 900, 100_000):
        assert parse_arguments(nested(depth)) == nested(depth)
        assert "nested deeper" in read(nested(depth)).problem


def test_half_a_surrogate_pair_is_json() -> None:
    """A cut emoji (half a surrogate pair) does not make the text malformed."""
    assert parse_arguments('{"a": "\\ud83d"}') == {"a": "\ud83d"}
    for text in ('{"a": "\ud83d"}', '{"a": "\\u0031", "b": "\ud83d"}'):
        assert read(text).value == usable_arguments(text) == json.loads(text)
    assert read('{"a": "\ud83d').problem


def test_what_is_no_text_comes_back() -> None:
    """An object that a provider handed over is not touched."""
    for given_object in ({"a": 1}, [1], None, 5, object()):
        assert parse_arguments(given_object) is given_object


def test_usable_arguments() -> None:
    """What a lenient program would run with: nothing is {}, the last duplicate wins, and what is no object is None."""
    assert usable_arguments({"a": 1}) == {"a": 1}
    assert usable_arguments(None) == usable_arguments("") == usable_arguments(" \n") == {}
    assert usable_arguments('{"a": 1, "a": 2}') == {"a": 2}
    assert usable_arguments("{") is usable_arguments("[1]") is usable_arguments("null") is usable_arguments([1]) is None


def test_code_fences_come_off() -> None:
    """A fence that wraps the whole text, with or without a language, and nothing else."""
    assert strip_fence('```json\n{"a": 1}\n```') == '{"a": 1}'
    assert strip_fence('  ```\n{"a": 1}```\n') == '{"a": 1}'
    assert strip_fence('Here:\n```json\n{"a": 1}\n```') is None
    assert strip_fence('{"a": 1}') is None
