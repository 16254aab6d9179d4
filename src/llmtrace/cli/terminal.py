"""Terminal output: colour, width, tables, trees.

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
import sys
import threading
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Literal, NamedTuple, TextIO, TypeAlias, TypeVar

from llmtrace.text.unsafe_characters import clean, escape_unsafe

Style: TypeAlias = Literal["bold", "dim", "red", "green", "yellow", "blue", "magenta", "cyan"]

_CODES: dict[str, str] = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}

_NARROWEST = 12
"""Minimum width of a table's last column, as long as other columns can be left out."""
_MOST_LINES = 6
"""Maximum number of lines of a text in `Screen.headed`."""

_PAINTED = re.compile("(\x1b\\[[0-9;]*m|[\n\t])")
# used if the stream's encoding does not have these characters
_ASCII = str.maketrans(
    {"…": "~", "→": ">", "←": "<", "├": "|", "└": "`", "│": "|", "─": "-", "✗": "x", "•": "*", "·": ".", "↑": "^", "µ": "u"}
)


class Cell(NamedTuple):
    text: str
    styles: tuple[Style, ...] = ()


Rows: TypeAlias = Sequence[Sequence[Cell]]


class Screen:
    """Writes text to a stream; to None, it writes nothing. ``colour`` and ``width`` are detected by default."""

    def __init__(self, stream: TextIO | None, *, colour: bool | None = None, width: int | None = None) -> None:
        stream = io.StringIO() if stream is None else stream
        self.stream = stream
        self.is_terminal = stream.isatty()
        self.colour = _wants_colour(stream) if colour is None else colour
        self.width = max(40, width or shutil.get_terminal_size((80, 24)).columns)
        try:
            "".join(map(chr, _ASCII)).encode(stream.encoding or "utf-8")
            self.unicode = True
        except (UnicodeError, LookupError):
            self.unicode = False
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")  # a character that the encoding does not have must not stop the command

    def line(self, text: str = "", *styles: Style) -> None:
        """Write a line. Unsafe characters are escaped, also where a caller forgot it: only styles reach the terminal."""
        parts = _PAINTED.split(self.paint(text, *styles))  # every second part is a style, a line break or a tab
        text = "".join(part if number % 2 else escape_unsafe(part) for number, part in enumerate(parts))
        self.stream.write((text if self.unicode else text.translate(_ASCII)).rstrip() + "\n")

    def paint(self, text: str, *styles: Style) -> str:
        """Return the text with its styles; unchanged if colour is off."""
        if not self.colour or not styles or not text:
            return text
        return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"

    def room(self, prefix: str) -> int:
        """Return the number of columns after a prefix; at least 24, so that a deep tree stays readable."""
        return max(24, self.width - cells(prefix))

    def spread(self, left_cell: Cell, right: Cell, *, prefix: str = "") -> None:
        """Print one line: ``left_cell`` after ``prefix``, cleaned and cut to fit, and ``right`` at the right edge."""
        text = short(left_cell.text, self.room(prefix) - cells(right.text) - (2 if right.text else 0))
        gap = " " * max(1, self.width - cells(prefix) - cells(text) - cells(right.text))
        self.line(self.paint(prefix, "dim") + self.paint(text, *left_cell.styles) + gap + self.paint(right.text, *right.styles))

    def headed(self, left_cell: Cell, right: Cell) -> None:
        """Like `spread`, but a text that does not fit continues on the next lines."""
        first, *rest = wrap(short(left_cell.text, _MOST_LINES * self.width), self.width - cells(right.text) - 2)
        self.spread(Cell(first, left_cell.styles), right)
        for line in rest:
            self.line(line, *left_cell.styles)

    def item(self, label: Cell, text: str, *styles: Style, prefix: str = "", gap: int = 8, whole: bool = False) -> None:
        """Print a label and its text, cut to one line; if ``whole``, with all its lines and their indentation."""
        first, below = self.paint(prefix, "dim") + self.paint(pad(label.text, gap), *label.styles), prefix + " " * gap
        if not whole:
            self.line(first + self.paint(short(text, self.room(prefix) - gap), *styles))
            return
        expanded = [line.expandtabs(4) for line in text.splitlines()]  # indentation has a meaning in code, JSON, stack traces
        lines = [" " * (len(line) - len(line.lstrip(" "))) + clean(line) for line in expanded] or [""]
        self.line(first + self.paint(lines[0], *styles))
        for line in lines[1:]:
            self.line(self.paint(below, "dim") + self.paint(line, *styles))

    def wrapped(self, text: str, indent: int = 0) -> list[str]:
        """Return the lines of a text, cleaned and wrapped at words to fit beside an indent; one empty line for an empty
        text."""
        return wrap(clean(text), self.room(" " * indent))

    def prose(self, text: str, *styles: Style, prefix: str = "") -> None:
        for line in self.wrapped(text, cells(prefix)):
            self.line(self.paint(prefix, "dim") + self.paint(line, *styles))

    def labelled(self, label: str, text: str, *styles: Style) -> None:
        """Print a label and a wrapped text. All lines of the text begin in the column after the label."""
        for line in self.wrapped(text, cells(label)):
            self.line(self.paint(label, "dim") + self.paint(line, *styles))
            label = " " * cells(label)

    def table(self, titles: Sequence[str], rows: Rows, *, prefix: str = "", **columns: Iterable[int]) -> None:
        """Print a table, each line after ``prefix``. ``columns``: ``right`` and ``spare`` of `table_lines`."""
        for line in self.table_lines(titles, rows, prefix=prefix, **columns):
            self.line(prefix + line)

    def table_lines(
        self, titles: Sequence[str], rows: Rows, *, right: Iterable[int] = (), spare: Iterable[int] = (), prefix: str = ""
    ) -> Iterator[str]:
        """Yield the lines of a table that fits after ``prefix``. ``right``: indexes of the columns that are aligned right.

        The last column is cut to fit. If that is not enough, the columns with the indexes ``spare`` are left out, in that
        order.
        """
        cells_of_rows = [[Cell(title, ("dim",)) for title in titles], *rows]
        columns, waiting, room = list(range(len(titles))), iter(spare), self.room(prefix)
        widths = [max(cells(row[column].text) for row in cells_of_rows) for column in columns]
        while (remaining := room - sum(widths[column] + 2 for column in columns[:-1])) < min(widths[-1], _NARROWEST):
            column = next(waiting, -1)
            if column < 0:
                break
            columns.remove(column)
        widths[-1] = min(widths[-1], max(6, remaining))
        for row in cells_of_rows:
            shown = []
            for column in columns:
                text = cut(row[column].text, widths[column])
                filling, painted = " " * (widths[column] - cells(text)), self.paint(text, *row[column].styles)
                shown.append(filling + painted if column in right else painted + filling)
            yield "  ".join(shown).rstrip()


class Branch(NamedTuple):
    """The prefixes of a node in a tree: for its title, and for its other lines."""

    title: str
    body: str


def branch(last: Sequence[bool], *, has_children: bool) -> Branch:
    """Return the prefixes of a node.

    ``last``: one value for each ancestor below the root and for the node itself, True if no sibling follows it. A root has an
    empty ``last``. Nodes below level 12 are not indented further but show their level, so lines stay short.
    """
    if len(last) > 12:
        return Branch(f"{'·' * 6}[{len(last)}] ", "  " * 6)
    node = "│  " if has_children else "   "
    if not last:
        return Branch("", node)
    above = "".join("   " if done else "│  " for done in last[:-1])
    return Branch(above + ("└─ " if last[-1] else "├─ "), above + ("   " if last[-1] else "│  ") + node)


def short(text: str, width: int) -> str:
    """Return the text, cleaned and cut to ``width`` columns. Only the beginning of a long text is read."""
    head = clean(text[: 4 * width])
    return cut(head + "…" if len(text) > 4 * width else head, width)


def cells(text: str) -> int:
    """Return the number of columns that the text takes: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(_cell(character) for character in text)


def _cell(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Return at most ``width`` columns of the text, with an ellipsis if it was cut."""
    if len(text) <= width and cells(text) <= width:
        return text
    characters, used = [], 0
    for character in text:
        used += _cell(character)
        if used > width - 1:
            break
        characters.append(character)
    return "".join(characters).rstrip() + "…"


def pad(text: str, width: int) -> str:
    return text + " " * (width - cells(text))


def wrap(text: str, width: int) -> list[str]:
    """Return the text in lines of at most ``width`` columns, broken at spaces. A longer word is cut into pieces."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cells(joined) <= width:
            lines[-1] = joined
            continue
        lines += _pieces(word, width)
    return lines if lines[0] or len(lines) == 1 else lines[1:]


def _pieces(word: str, width: int) -> list[str]:
    """Return a word in pieces of at most ``width`` columns."""
    pieces, start, used = [], 0, 0
    for place, character in enumerate(word):
        columns = _cell(character)
        if used + columns > width:
            pieces.append(word[start:place])
            start, used = place, 0
        used += columns
    return [*pieces, word[start:]]


def _wants_colour(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    if os.environ.get("TERM") == "dumb" or (os.name == "nt" and not os.environ.keys() & {"WT_SESSION", "ANSICON", "TERM"}):
        return False
    return stream.isatty()


T = TypeVar("T")

AFTER = 1.0
"""Seconds until the progress line appears on a terminal."""
AFTER_IN_PIPE = 10.0
"""Seconds until the first line with the progress is written elsewhere, and between two such lines."""
_EVERY = 0.25


class Progress:
    """Shows the progress while its block runs: on a terminal a line that goes away, elsewhere a line now and then.

    The block must not print anything itself.
    """

    def __init__(self, text: str, stream: TextIO | None = None) -> None:
        """Show ``text`` as the line. ``stream``: default, stderr."""
        self.text = text
        self._stream = sys.stderr if stream is None else stream
        self._ended = threading.Event()
        self._writer: threading.Thread | None = None

    def __enter__(self) -> Progress:
        if self._stream is not None:
            write = self._write if self._stream.isatty() else self._write_lines
            self._writer = threading.Thread(target=write, name="llmtrace progress", daemon=True)
            self._writer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        if self._writer is not None:
            self._writer.join()

    def count(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, and show their number so far after the text."""
        text = self.text
        for number, item in enumerate(items, 1):
            self.text = f"{text}: {number:,}"
            yield item

    def _write_lines(self) -> None:
        began = time.monotonic()
        while not self._ended.wait(AFTER_IN_PIPE):
            print(f"llmtrace: {clean(self.text)} … {time.monotonic() - began:.0f} s", file=self._stream, flush=True)

    def _write(self) -> None:
        began = time.monotonic()
        if self._ended.wait(AFTER):
            return
        width = Screen(self._stream).width - 1
        while not self._ended.is_set():
            line = f"{clean(self.text)} … {time.monotonic() - began:.0f} s"
            print(f"\r\x1b[K{line[:width]}", end="", file=self._stream, flush=True)
            self._ended.wait(_EVERY)
        print("\r\x1b[K", end="", file=self._stream, flush=True)
