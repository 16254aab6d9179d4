"""What a terminal shows: colour, width, tables, trees.

Law: text of a model or user is cleaned before it is shown (one line, no control characters, no direction marks), so it can
neither move the cursor nor pose as our own output; and no line is wider than the screen, unless asked for whole content.

Colour is on when the stream is a terminal. ``NO_COLOR`` (any value) turns it off, ``FORCE_COLOR`` (any value but 0) on;
``NO_COLOR`` wins. The width is the terminal's, or what ``COLUMNS`` says, or 80.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, TextIO, TypeAlias

Style: TypeAlias = Literal["bold", "dim", "red", "green", "yellow", "blue", "cyan"]

_CODES: dict[str, str] = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "cyan": "36",
}

_NARROWEST = 12
"""Columns that the last one of a table keeps as long as there are others to leave out."""
_MOST_LINES = 6
"""Of a heading."""

# what is shown where the stream's encoding has no such character
_ASCII = str.maketrans(
    {"…": "~", "→": ">", "←": "<", "├": "|", "└": "`", "│": "|", "─": "-", "✗": "x", "•": "*", "·": ".", "↑": "^", "µ": "u"}
)


class Cell(NamedTuple):
    text: str
    styles: tuple[Style, ...] = ()


class Screen:
    """A stream and what it can show. ``colour`` and ``width`` are found out unless given. None, a closed one, swallows all."""

    def __init__(self, stream: TextIO | None, *, colour: bool | None = None, width: int | None = None) -> None:
        stream = io.StringIO() if stream is None else stream
        self.stream = stream
        self.colour = _wants_colour(stream) if colour is None else colour
        self.width = max(40, width or shutil.get_terminal_size((80, 24)).columns)
        self.unicode = _can_show(stream, "…→←├└│─✗•·↑µ")
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")  # a character that the encoding lacks must not end the command

    def line(self, text: str = "") -> None:
        self.stream.write((text if self.unicode else text.translate(_ASCII)).rstrip() + "\n")

    def paint(self, text: str, *styles: Style) -> str:
        """The text with its styles where there is colour, else unchanged."""
        if not self.colour or not styles or not text:
            return text
        return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"

    def room(self, prefix: str) -> int:
        """Columns that are left after a prefix; never fewer than 24, so that a deep tree stays readable."""
        return max(24, self.width - cells(prefix))

    def spread(self, left: Cell, right: Cell, *, prefix: str = "") -> None:
        """One line: ``left`` at the left edge after ``prefix``, cleaned and cut to fit, and ``right`` at the right edge."""
        text = short(left.text, self.room(prefix) - cells(right.text) - (2 if right.text else 0))
        gap = " " * max(1, self.width - cells(prefix) - cells(text) - cells(right.text))
        self.line(self.paint(prefix, "dim") + self.paint(text, *left.styles) + gap + self.paint(right.text, *right.styles))

    def headed(self, left: Cell, right: Cell, *, prefix: str = "") -> None:
        """As `spread`, but a text that does not fit goes on in lines of its own."""
        first, *rest = wrap(short(left.text, _MOST_LINES * self.width), self.room(prefix) - cells(right.text) - 2)
        self.spread(Cell(first, left.styles), right, prefix=prefix)
        for line in rest:
            self.line(self.paint(prefix, "dim") + self.paint(line, *left.styles))

    def item(self, label: Cell, text: str, *styles: Style, prefix: str = "", gap: int = 8, whole: bool = False) -> None:
        """A label and its text: cut to one line, or, when ``whole``, with all its lines under each other."""
        first, below = self.paint(prefix, "dim") + self.paint(pad(label.text, gap), *label.styles), prefix + " " * gap
        if not whole:
            self.line(first + self.paint(short(text, self.room(prefix) - gap), *styles))
            return
        lines = [clean(line) for line in text.splitlines()] or [""]
        self.line(first + self.paint(lines[0], *styles))
        for line in lines[1:]:
            self.line(self.paint(below, "dim") + self.paint(line, *styles))

    def wrapped(self, text: str, indent: int = 0) -> list[str]:
        """A text cleaned and broken at words into lines that fit beside an indent; one empty line where there is no text."""
        return wrap(clean(text), self.room(" " * indent))

    def prose(self, text: str, *styles: Style, prefix: str = "") -> None:
        """A text of ours, wrapped at words to the width."""
        for line in self.wrapped(text, cells(prefix)):
            self.line(self.paint(prefix, "dim") + self.paint(line, *styles))

    def said(self, label: str, text: str, *styles: Style) -> None:
        """A label and a text, wrapped, whose lines all begin after the label."""
        for line in self.wrapped(text, cells(label)):
            self.line(self.paint(label, "dim") + self.paint(line, *styles))
            label = " " * cells(label)

    def table(
        self,
        titles: Sequence[str],
        rows: Sequence[Sequence[Cell]],
        *,
        right: Iterable[int] = (),
        prefix: str = "",
        spare: Iterable[int] = (),
    ) -> Iterable[str]:
        """The lines of a table, which fit after ``prefix``; numbers in ``right`` are the columns set flush right. The last
        column gives way; where that is not enough, those in ``spare`` are left out, in their order."""
        whole = [[Cell(title, ("dim",)) for title in titles], *rows]
        return _table(self.room(prefix), self, whole, frozenset(right), iter(spare))


def _table(
    room: int, screen: Screen, rows: Sequence[Sequence[Cell]], right: frozenset[int], spare: Iterator[int]
) -> Iterable[str]:
    columns = list(range(len(rows[0])))
    widths = [max(cells(row[column].text) for row in rows) for column in columns]
    while (left := room - sum(widths[column] + 2 for column in columns[:-1])) < min(widths[-1], _NARROWEST):
        column = next(spare, -1)
        if column < 0:
            break
        columns.remove(column)
    widths[-1] = min(widths[-1], max(6, left))
    for row in rows:
        shown = []
        for column in columns:
            cell = row[column]
            text = cut(cell.text, widths[column])
            filling = " " * (widths[column] - cells(text))
            painted = screen.paint(text, *cell.styles)
            shown.append(filling + painted if column in right else painted + filling)
        yield "  ".join(shown).rstrip()


class Branch(NamedTuple):
    """Where a node stands in a tree: what is before its title, and before the lines that belong to it."""

    title: str
    body: str


def branch(last: Sequence[bool], *, has_children: bool) -> Branch:
    """The lines of a tree for a node. ``last``: for each of its ancestors but the root, and itself, whether none follows.

    An empty ``last`` is a root. Nodes deeper than 12 are set under each other with their depth, so that lines stay short.
    """
    if len(last) > 12:
        return Branch(f"{'·' * 6}[{len(last)}] ", "  " * 6)
    own = "│  " if has_children else "   "
    if not last:
        return Branch("", own)
    above = "".join("   " if done else "│  " for done in last[:-1])
    return Branch(above + ("└─ " if last[-1] else "├─ "), above + ("   " if last[-1] else "│  ") + own)


# control characters, lone surrogates, and marks that change the direction of text or hide it
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e0fff]"
)
# a line break or tab, with the white space around it
_SPACE = re.compile(r" *[\t\n\r\v\f\u2028\u2029][\t\n\r\v\f\u2028\u2029 ]*")


def clean(text: str) -> str:
    """The text on one line, with everything that a terminal might obey written as an escape."""
    return _UNSAFE.sub(_escape, _SPACE.sub(" ", text).strip())


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def short(text: str, width: int) -> str:
    """The text cleaned and cut to ``width`` columns; however long it is, only its beginning is looked at."""
    head = clean(text[: 4 * width])
    return cut(head + "…" if len(text) > 4 * width else head, width)


def cells(text: str) -> int:
    """Columns that the text takes: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_cell(character) for character in text)


def _cell(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """At most ``width`` columns of the text; an ellipsis stands for what is missing."""
    if len(text) <= width and cells(text) <= width:
        return text
    taken, used = [], 0
    for character in text:
        used += _cell(character)
        if used > width - 1:
            break
        taken.append(character)
    return "".join(taken).rstrip() + "…"


def pad(text: str, width: int) -> str:
    return text + " " * (width - cells(text))


def wrap(text: str, width: int) -> list[str]:
    """The text in lines of at most ``width`` columns, broken at spaces; a longer word is cut into pieces."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cells(joined) <= width:
            lines[-1] = joined
            continue
        while cells(word) > width:
            head = cut(word, width)[:-1]
            lines.append(head)
            word = word[len(head) :]
        lines.append(word)
    return lines if lines[0] or len(lines) == 1 else lines[1:]


def _wants_colour(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    if os.environ.get("TERM") == "dumb" or (os.name == "nt" and not os.environ.keys() & {"WT_SESSION", "ANSICON", "TERM"}):
        return False
    return stream.isatty()


def _can_show(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "utf-8")
    except (UnicodeError, LookupError):
        return False
    return True
