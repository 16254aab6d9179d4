"""Formats ``--help`` within the width of the screen.

Law: no line is wider than the screen; an example that is wrapped can be pasted into a shell.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

_WORD = re.compile(r"\"[^\"]*\"|'[^']*'|\S+")
_ENDS = ((" [", 0), (" ", 0), (",", 1), ("|", 1))
"""Where a line may break, the best first, and how many characters stay: options can be as long as ``{ok,recovered,failed}``."""
EXAMPLE = "example: "


class Formatter(argparse.HelpFormatter):
    """argparse's formatter, but without lines that run beyond the screen because they have no spaces."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(EXAMPLE):
            return "\n".join(_example(text, self._screen))
        return super()._fill_text(text, width, indent)

    def format_help(self) -> str:
        lines = super().format_help().splitlines()
        return "".join(f"{piece}\n" for line in lines for piece in _folded(line, self._screen))

    @property
    def _screen(self) -> int:
        """Columns; argparse itself leaves two of them free."""
        return self._width + 2


def _example(text: str, width: int) -> Iterator[str]:
    """A command in lines that a shell reads as one."""
    line, *words = _WORD.findall(text)
    for number, word in enumerate(words, 1):
        is_last = number == len(words)
        if len(f"{line} {word}") > (width if is_last else width - 2):
            yield f"{line} \\"
            line = " " * (len(EXAMPLE) - 1)
        line = f"{line} {word}"
    yield line


def _folded(line: str, width: int) -> Iterator[str]:
    if "\x1b" in line:  # Python 3.14 on a terminal: colours, which have no width
        yield line
        return
    start = len(line) - len(line.lstrip())
    indent = min(start + 4, width // 2)
    while len(line) > width:
        ends = (line.rfind(mark, start + 1, width + len(mark) - shown) + shown for mark, shown in _ENDS)
        end = next((end for end in ends if end > start + 1), width)
        yield line[:end].rstrip()
        line, start = " " * indent + line[end:].lstrip(), indent
    yield line
