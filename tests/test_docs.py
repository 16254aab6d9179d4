"""The documentation says what is there: options, public names, the README's program."""

from __future__ import annotations

import ast
import re
from dataclasses import MISSING, fields
from pathlib import Path

import llmtrace
from llmtrace.config import Config

ROOT = Path(__file__).resolve().parent.parent


def test_every_option_is_documented() -> None:
    """docs/configuration.md has a row for each option, and no other."""
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    expected = []
    for option in fields(Config):
        default = option.default if option.default is not MISSING else {}
        doc = option.metadata["doc"]
        expected.append(f"| `{option.name}` | `LLMTRACE_{option.name.upper()}` | `{default!r}` | {doc} |")
    assert rows == expected


def test_every_public_name_is_documented() -> None:
    """docs/api.md has a heading for each public name, and no other."""
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^### `([A-Za-z_]+)", page, re.MULTILINE))
    assert headings == set(llmtrace.__all__) - {"__version__"}


def test_public_names_are_pinned() -> None:
    """A public name comes or goes only on purpose."""
    assert sorted(llmtrace.__all__) == [
        "Budget",
        "Tools",
        "__version__",
        "agent",
        "budget",
        "configure",
        "context",
        "extract",
        "flush",
        "inject",
        "outcome",
        "shutdown",
        "span",
        "testing",
        "tool",
        "workflow",
        "wrap",
    ]
    for name in llmtrace.__all__:
        assert getattr(llmtrace, name) is not None


def test_python_in_the_pages_is_python() -> None:
    """Every Python block in README and docs parses."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            ast.parse(block)


def test_links_in_the_pages_lead_somewhere() -> None:
    """Relative links in README and docs point at files that exist."""
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
