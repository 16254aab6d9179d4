"""The files of the page: small, bundled for the single file, and with no way from text to markup."""

from __future__ import annotations

import re
from collections import Counter

from llmtrace.viewer.page import STATIC, bundle

SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(STATIC.glob("*.js"))}


def test_script_stays_small() -> None:
    """250 KB in all, without `types.js`, which is there for the type checker and never fetched."""
    assert sum(len(text.encode()) for name, text in SCRIPTS.items() if name != "types.js") <= 250_000


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
