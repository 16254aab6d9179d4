"""``llmtrace skill``: print docs/how_to/skill.md, the page that teaches a coding agent to debug with llmtrace."""

from __future__ import annotations

import argparse
from pathlib import Path

from llmtrace.cli.options import FINE, print_json

NAME = "skill"
HELP = "print a page that teaches a coding agent to find and fix faults"
EXAMPLE = "llmtrace skill > .claude/skills/llmtrace/SKILL.md"

_HOMES = (Path(__file__).with_name("skill.md"), Path(__file__).parents[3] / "docs" / "how_to" / "skill.md")
"""Path of the page in an installed wheel, and in a clone."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add nothing: this command has no options of its own."""


def run(args: argparse.Namespace) -> int:
    text = next(path for path in _HOMES if path.exists()).read_text(encoding="utf-8")
    if args.json:
        print_json({"skill": text})
    else:
        print(text, end="")
    return FINE
