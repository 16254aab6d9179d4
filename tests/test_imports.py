"""Files of a registry do not know each other, a room keeps its underscore modules to itself, and a wrong import gets a hint."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmtrace

SOURCE = Path(__file__).resolve().parent.parent / "src" / "llmtrace"
REGISTRIES = {
    "laws": {"base", "finding", "judging", "user_signals"},
    "codec/dialects": {"base"},
    "exporters": set(),
    "instrumentation": set(),
    "monitors": set(),
}
"""Folders in which each file is an extension, with the files that all of them may import."""


def imports(file: Path) -> Iterator[str]:
    """Every module, or name of a module, that a file imports, also inside functions and for types only."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(file: Path) -> str:
    return ".".join(("llmtrace", *file.relative_to(SOURCE).with_suffix("").parts))


@pytest.mark.parametrize("folder", REGISTRIES)
def test_extensions_do_not_know_each_other(folder: str) -> None:
    """A signal, a dialect, a provider, an exporter is added and removed as one file."""
    package = ".".join(("llmtrace", *folder.split("/")))
    files = [file for file in (SOURCE / folder).glob("*.py") if not file.stem.startswith("_")]
    names = {f"{package}.{file.stem}" for file in files} - {f"{package}.{name}" for name in REGISTRIES[folder]}
    assert names
    broken = [(file.stem, name) for file in files for name in imports(file) if name in names and name != module_of(file)]
    assert broken == []


def test_underscore_modules_stay_in_their_room() -> None:
    """Another room uses what a room exports."""
    broken = []
    for file in SOURCE.rglob("*.py"):
        room = module_of(file).split(".")[1]
        for name in imports(file):
            parts = name.split(".")
            is_module = (SOURCE / Path(*parts[1:])).with_suffix(".py").is_file() or (SOURCE / Path(*parts[1:])).is_dir()
            is_private = any(part.startswith("_") and not part.startswith("__") for part in parts[2:])
            if parts[0] == "llmtrace" and is_private and is_module and parts[1] != room:
                broken.append(f"{module_of(file)} imports {name}")
    assert sorted(set(broken)) == []


def test_an_error_that_is_looked_for_at_the_top_is_named_where_it_is() -> None:
    with pytest.raises(AttributeError, match=r"it is llmtrace\.errors\.BudgetExceeded$"):
        llmtrace.BudgetExceeded  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute 'Sequence'$"):
        llmtrace.Sequence  # noqa: B018
