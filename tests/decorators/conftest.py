"""The decorators of the package, each in turn."""

from __future__ import annotations

from typing import Any

import pytest

import llmtrace

DECORATORS = [llmtrace.tool, llmtrace.agent, llmtrace.workflow, llmtrace.span]


@pytest.fixture(params=DECORATORS, ids=lambda decorator: decorator.__name__)
def decorate(request: pytest.FixtureRequest) -> Any:
    return request.param
