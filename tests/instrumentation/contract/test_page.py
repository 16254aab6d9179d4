"""docs/how_to/providers.md has every library that the suite drives."""

from __future__ import annotations

from pathlib import Path

from way import NAMES, load

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "how_to/providers.md").read_text(encoding="utf-8")


def test_every_kit_has_its_row() -> None:
    """By the name under which the library is installed, with the clients that it has."""
    installed = {"google.genai": "google-genai"}
    for name in NAMES:
        kit = load(name)
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{installed.get(kit.library, kit.library)}` |")]
        assert row.endswith("| sync, async |" if kit.has_async else "| sync |")
