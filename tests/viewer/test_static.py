"""The files of the page: small, bundled for the single file, and with no way from text to markup."""

from __future__ import annotations

import hashlib
import re
from collections import Counter

from llmtrace.viewer.page import STATIC, bundle

VENDORED = {
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}

SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(STATIC.glob("*.js"))}


def test_script_stays_small() -> None:
    """250 KB in all, the plotting library included. `types.js` is there for the type checker and never fetched."""
    own = sum(len(text.encode()) for name, text in SCRIPTS.items() if name != "types.js")
    assert own + (STATIC / "vendor" / "uPlot.iife.min.js").stat().st_size <= 250_000


def test_libraries_of_others_are_unmodified() -> None:
    """As they were published, with their licence, and not in the single file."""
    folder = STATIC / "vendor"
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.suffix in (".js", ".css")
    }
    assert files == VENDORED
    assert "MIT License" in (folder / "uPlot.LICENSE").read_text(encoding="utf-8")
    assert "uPlot" not in bundle()


def test_text_never_becomes_markup() -> None:
    """Nothing in the scripts turns text into HTML, or runs it."""
    for name, text in SCRIPTS.items():
        ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc|javascript:"
        assert re.findall(ways, text) == [], name


def test_names_are_unique_in_the_bundle() -> None:
    """The single file holds all modules in one scope: every import is gone and no two of them use one name."""
    text = bundle()
    assert not re.search(r"^(import|export)\b", text, re.MULTILINE)
    names = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", text, re.MULTILINE)
    assert [name for name, times in Counter(names).items() if times > 1] == []
