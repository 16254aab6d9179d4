"""What it costs to look for secrets in texts that have none, by length; and each group of rules alone.

Run: ``python benchmarks/redaction_speed.py``. Times are microseconds of processor time, the best of several rounds.
"""

from __future__ import annotations

import argparse
import difflib
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from llmtrace.config import Config
from llmtrace.content import Redactor
from llmtrace.content.scan import Scanner

LENGTHS = (60_000, 1_000, 150)
ROUNDS = 20


def texts(length: int) -> list[str]:
    """Program texts and documentation, cut into pieces that hold no secret."""
    sources = [Path(module.__file__) for module in (argparse, difflib, textwrap)]
    sources += sorted((Path(__file__).parents[1] / "docs").rglob("*.md"))
    whole = "".join(source.read_text(encoding="utf-8") for source in sources)
    pieces = [whole[start : start + length] for start in range(0, len(whole) - length, length)]
    redactor = Redactor(Config())
    return [piece for piece in pieces if redactor.text(piece) is piece][:400]


def microseconds(look: Callable[[str], object], pieces: Sequence[str]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for piece in pieces:
            look(piece)
        best = min(best, time.process_time() - began)
    return best / max(len(pieces), 1) * 1e6


def main() -> None:
    redactor = Redactor(Config(), blobs=True)
    columns = {length: texts(length) for length in LENGTHS}
    looks: dict[str, Callable[[str], object]] = {"all": redactor.text}
    for group in redactor.groups:
        looks[", ".join(dict.fromkeys(rule.name for rule in group))] = Scanner([group]).may_change
    print(f"{'µs a text':40}" + "".join(f"{length:>10} B" for length in LENGTHS))
    for name, look in looks.items():
        times = [microseconds(look, pieces) for pieces in columns.values()]
        print(f"{textwrap.shorten(name, 40):40}" + "".join(f"{spent:>12.2f}" for spent in times))


if __name__ == "__main__":
    main()
