"""Traces of extreme shapes never stop the page for long: not at opening, and not at any key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmtrace.model import replace
from tests.viewer.browser.conftest import DIAGNOSED, visit
from tests.viewer.browser.longest_block import KEYS, LongestBlock
from tests.viewer.conftest import showing
from tests.viewer.shapes import SHAPES, TRACE

pytestmark = [pytest.mark.all, pytest.mark.timeout(600)]

GENEROUS = 1500
"""Milliseconds. `benchmarks/viewer.py` measures 200 on an idle machine; a page that is quadratic takes many seconds."""


@pytest.mark.parametrize("shape", SHAPES)
def test_no_long_block(shape: str, open_page: Callable[..., Any], tmp_path: Path) -> None:
    """Whatever the shape, no task of the main thread is long, in waterfall and conversation."""
    with showing(tmp_path, SHAPES[shape]()) as served:
        served.store.traces()
        page = open_page("about:blank")
        blocks = LongestBlock(page)
        visit(page, f"{served.address}#/trace/{TRACE}", ".pane h2")
        page.wait_for_selector(DIAGNOSED)
        longest = {"opening": blocks.read()}
        for key in KEYS:
            page.keyboard.press(key)
            longest[key] = max(longest.get(key, 0), blocks.read())
        assert {key: took for key, took in longest.items() if took > GENEROUS} == {}
        page.close()


def test_of_a_huge_result_the_first_part_is_written(open_page: Callable[..., Any], tmp_path: Path) -> None:
    """A result of 60,000 rows is cut, and the page says where all of it is; one argument of 300,000 letters begins in full."""
    root, call = SHAPES["huge"]()
    with showing(
        tmp_path, [root, replace(call, operation=replace(call.operation, arguments={"text": "a" * 300_000}))]
    ) as served:
        page = open_page(f"{served.address}#/trace/{TRACE}?span={call.span_id}", ".pane .code.result")
        result, arguments = page.inner_text(".pane .code.result"), page.inner_text(".pane .code.call")
        assert result.startswith('[\n  {"id": 0, "name": "customer 0"')
        assert arguments.startswith('query(\n  text="aaaaaaaaaa')
        for text in (result, arguments):
            assert "too long to show here; y copies all of it" in text
        page.wait_for_selector(DIAGNOSED)  # after which the pane is drawn again
        page.click(".pane .code.result .more")
        assert "customer 2000" in page.inner_text(".pane .code.result")
        page.close()
