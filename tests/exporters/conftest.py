"""A collector that takes everything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.exporters.collector import Collector


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running
