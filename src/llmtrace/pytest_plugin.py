"""The pytest plugin: one fixture, ``llmtrace_capture``. Loading it imports nothing, since every pytest run does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from llmtrace.testing import Captured


@pytest.fixture
def llmtrace_capture() -> Iterator[Captured]:
    """Everything that is recorded during the test."""
    from llmtrace.testing import capture

    with capture() as captured:
        yield captured
