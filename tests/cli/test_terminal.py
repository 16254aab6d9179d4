"""Cutting, wrapping, cleaning, colour: nothing is wider than the screen, and no content reaches the terminal as a command."""

from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrace.cli.terminal import Cell, Screen, branch, cells, cut, pad, short, wrap
from llmtrace.text.unsafe_characters import clean

WIDTHS = st.integers(2, 60)


@given(st.text(), WIDTHS)
def test_cut_fits(text: str, width: int) -> None:
    """What is cut takes at most the width, and only what is too wide is changed."""
    shown = cut(text, width)
    assert cells(shown) <= width
    assert shown == text or cells(text) > width or len(text) > width


@given(st.text(), WIDTHS)
def test_short_fits_on_one_line(text: str, width: int) -> None:
    """However long and wild a text is, its short form is one line within the width."""
    shown = short(text, width)
    assert cells(shown) <= width
    assert len(shown.splitlines()) <= 1


@given(st.text())
def test_clean_obeys_no_text(text: str) -> None:
    """No control character, no direction mark and no lone surrogate is left."""
    for character in clean(text):
        assert unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")
        assert unicodedata.bidirectional(character) not in ("RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI", "FSI", "PDI")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("two \n  lines\tand  spaces ", "two lines and  spaces"),
        ("abc\u202edef", "abc\\u202edef"),
        ("\ud800", "\\ud800"),
        ("日本 é", "日本 é"),
    ],
)
def test_clean_shows_what_it_took_away(text: str, shown: str) -> None:
    """Control characters become visible escapes; line breaks become spaces; letters stay."""
    assert clean(text) == shown


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" ")), st.integers(8, 40))
def test_wrap_keeps_every_word(text: str, width: int) -> None:
    """Wrapped lines fit, and hold the same characters as before, but for spaces."""
    lines = wrap(clean(text), width)
    assert all(cells(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == clean(text).replace(" ", "")


def test_wide_characters_count_twice() -> None:
    """A Chinese character takes two columns, a combining accent none."""
    assert (cells("日本"), cells("e\u0301"), cells("abc")) == (4, 1, 3)
    assert pad("日本", 6) == "日本  "


def test_tables_line_up_and_fit() -> None:
    """Columns line up by width on screen; the last one gives way."""
    screen = Screen(io.StringIO(), width=40)
    lines = list(screen.table_lines(["A", "N", "TEXT"], [[Cell("日本"), Cell("7"), Cell("x" * 60)]], right=[1]))
    assert lines == ["A     N  TEXT", "日本  7  " + "x" * 30 + "…"]


def test_where_a_table_has_no_room_columns_are_left_out() -> None:
    """Those that can be spared, in their order, until the last one has its twelve columns."""
    rows = [[Cell("1" * 8), Cell("2" * 8), Cell("3" * 8), Cell("x" * 60)]]
    for width, shown in (
        (60, "AAAA      B         C         TEXT"),
        (41, "AAAA      C         TEXT"),
        (40, "AAAA      C         TEXT"),
    ):
        screen = Screen(io.StringIO(), width=width)
        head, row = screen.table_lines(["AAAA", "B", "C", "TEXT"], rows, spare=(1, 2))
        assert (head, cells(row)) == (shown, width)


def test_a_heading_is_not_cut() -> None:
    """What does not fit goes on below."""
    screen = Screen(io.StringIO(), width=40)
    screen.headed(Cell("look_up was called with a made-up /order_id"), Cell("85 %"))
    assert screen.stream.getvalue().splitlines() == ["look_up was called with a made-up   85 %", "/order_id"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("environment", "terminal", "colour"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_colour(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], terminal: bool, colour: bool) -> None:
    """Colour is for terminals; NO_COLOR wins over FORCE_COLOR."""
    for variable in ("TERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    for variable, setting in environment.items():
        monkeypatch.setenv(variable, setting)

    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    screen = Screen(Stream())
    assert screen.colour is colour
    assert screen.paint("x", "red") == ("\x1b[31mx\x1b[0m" if colour else "x")


def test_ascii_where_the_encoding_has_no_more() -> None:
    """A stream that cannot show a tree gets one in ASCII, and content as escapes; the command goes on."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="\n")
    screen = Screen(stream)
    screen.spread(Cell("日本 → 5 µs"), Cell(""), prefix="├─ ")
    stream.flush()
    assert raw.getvalue() == b"|- \\u65e5\\u672c > 5 us\n"


def test_deep_trees_stay_readable() -> None:
    """From depth 13 on a node is shown by its depth, not by ever longer branches."""
    assert branch([False, True], has_children=True).title == "│  └─ "
    assert cells(branch([False] * 500, has_children=False).title) < 20


@pytest.mark.parametrize("character", ["\u00a0", "\u3000", "\u0301", "x", "\u4e00"])
def test_a_word_of_any_character_is_wrapped(character: str) -> None:
    """Also of white space that is no place to break a line: nothing is lost, and it ends."""
    lines = wrap(character * 1000, 40)
    assert "".join(lines) == character * 1000
    assert max(map(cells, lines)) <= 40
