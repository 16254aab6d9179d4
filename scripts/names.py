#!/usr/bin/env python3
"""Counts names that say nothing: scripts/names.py [--list] [PATH …].

A name is bound by an assignment, a parameter, a ``def``, a ``class``, a loop, an import or an attribute of ``self``.
A good name is a noun or a verb of the field; a bare participle or pronoun (`WORDS`) has to be decoded.
Exits with 1 if more than `MOST_PERCENT` of all bound names are such words. ``--list`` prints where they stand.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

WORDS = frozenset(
    "told said asked given made found held known one each kept taken left own other others most here there".split()  # noqa: SIM905
)
MOST_PERCENT = 0.5
SOURCE = Path(__file__).resolve().parent.parent / "src"


def bound_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every bound name with its line."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs)) and node.name:
            yield node.name, node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, 0


def main(arguments: list[str]) -> int:
    paths = [Path(argument) for argument in arguments if not argument.startswith("-")] or [SOURCE]
    files = sorted(file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path]))
    total = empty = 0
    for file in files:
        for name, line in bound_names(ast.parse(file.read_text(encoding="utf-8"))):
            total += 1
            if name.strip("_") in WORDS:
                empty += 1
                if "--list" in arguments:
                    print(f"{file}:{line}: {name}")
    percent = 100 * empty / total if total else 0.0
    print(f"{empty} of {total} names say nothing ({percent:.1f} %; at most {MOST_PERCENT} %)")
    return 1 if percent > MOST_PERCENT else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
