"""Every test that takes ``way`` runs for each kit in ``kits/``, by its sync and by its async client."""

from __future__ import annotations

import pytest
from way import NAMES, Way, load


@pytest.fixture(params=[f"{name}-{how}" for name in NAMES for how in ("sync", "async")])
def way(request: pytest.FixtureRequest) -> Way:
    """One way to call one library."""
    name, _, how = request.param.rpartition("-")
    kit = load(name)
    if not (kit.has_async if how == "async" else kit.has_sync):
        pytest.skip(f"{name} has no {how} client")
    return Way(kit, how == "async")
