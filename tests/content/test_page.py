"""docs/reference/content.md says what is there: its examples hold, its rules are all and only ours."""

from __future__ import annotations

import re
from pathlib import Path

from llmtrace.config import Config
from llmtrace.content import Redactor
from llmtrace.content.secrets import secret_rules

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/content.md").read_text(encoding="utf-8")


def test_the_examples_hold() -> None:
    table = PAGE.partition("| text | becomes |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(.*)` \| `(.*)` \|$", table, re.MULTILINE)
    assert len(rows) == len(table.splitlines()) > 5
    redactor = Redactor(Config())
    for text, becomes in rows:
        assert redactor.text(text) == becomes


def test_every_form_is_listed() -> None:
    table = PAGE.partition("| rule | what |\n|---|---|\n")[2].partition("\n\n")[0]
    assert sorted(
        re.findall(r"`(\w+)`", "\n".join(row.partition("| ")[2].partition(" |")[0] for row in table.splitlines()))
    ) == sorted({rule.name for rule in secret_rules()})
