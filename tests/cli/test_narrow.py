"""A terminal of 40 columns: no line is wider, and what does not fit beside something else stands below it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmtrace.cli.paint import cells
from llmtrace.store import open_store
from tests.cli.test_stats import shop
from tests.cli.traces import recovered, silent

COMMANDS = [
    ["ls"],
    ["show", "last"],
    ["why", "last"],
    ["check", "last"],
    ["tail", "--no-follow", "-n", "100"],
    ["stats"],
    ["stats", "--lengths"],
    ["stats", "--suggest"],
    ["stats", "--by", "model", "--text", "plot", "--lengths"],
    ["drift"],
    ["drift", "--text", "plot"],
    ["doctor"],
]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Forty runs of a shop, and the two of a support agent."""
    url = str(Path(tmp_path_factory.mktemp("narrow")) / "store")
    opened = open_store(url)
    for span in (*(span for number in range(1, 41) for span in shop(number)), *recovered(), *silent()):
        opened.append(span)
    opened.close()
    return url


@pytest.fixture
def narrow(llmtrace: Callable[..., Any], many: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    def call(*words: str, columns: int = 40) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        ran = llmtrace(*words, "--store", many)
        assert ran.err == ""
        return str(ran.out)

    return call


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_line_is_wider_than_a_narrow_terminal(narrow: Callable[..., str], words: list[str]) -> None:
    """Forty columns are what a phone and a split screen have."""
    for columns in (40, 59, 66):
        wide = [line for line in narrow(*words, columns=columns).splitlines() if cells(line) > columns]
        assert wide == []


@pytest.mark.parametrize("words", [["stats"], ["stats", "--lengths"], ["drift"], ["drift", "--text", "plot"]], ids=" ".join)
def test_a_narrow_table_loses_nothing(narrow: Callable[..., str], words: list[str]) -> None:
    """Each column, and each number in it, is there as in a wide terminal; only the last column may be cut."""
    whole, folded = (_words(narrow(*words, columns=columns)) for columns in (200, 40))
    cut = [word for word in folded if word.endswith("…")]
    assert len([word for word in whole if word not in folded]) <= 4 * len(cut)
    assert all(word in folded for word in whole if any(letter.isdigit() for letter in word))


def _words(out: str) -> list[str]:
    """Without bars, which are as long as there is room, and without how long ago it was, which goes on."""
    text = " ".join(out.translate(str.maketrans("", "", "█▁▂▃▄▅▆▇")).split())
    return re.sub(r"last \S+ ago", "", text).split()


def test_what_was_found_stands_whole(narrow: Callable[..., str]) -> None:
    """The span of a finding, and what a call came to, are not cut off."""
    assert "span 0000000000000002" in narrow("check", "last")
    assert "timeout" in narrow("tail", "--no-follow", "-n", "100").replace("\n", " ").lower()
