"""The reference has every library that the suite drives."""

from __future__ import annotations

from tests.documentation import DOCS, generated
from way import NAMES, load


def test_every_kit_has_its_row() -> None:
    """By the name under which the library is installed; docs/how_to/providers.md names those without async clients."""
    installed = {"google.genai": "google-genai"}
    libraries = generated()["reference/libraries.md"]
    only_sync = (DOCS / "how_to/providers.md").read_text("utf-8").partition("Sync only: ")[2].partition(".")[0]
    for name in NAMES:
        kit = load(name)
        library = installed.get(kit.library, kit.library)
        assert f"| `{library}` |" in libraries
        assert (f"`{library}`" in only_sync) is not kit.has_async
