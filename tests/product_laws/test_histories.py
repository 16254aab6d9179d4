"""What was accepted is delivered, whatever is killed, paused or cut off: histories of real processes, drawn from a seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.product_laws.history import History


def check(seed: int, home: Path) -> None:
    outcome = History(seed, home).run()
    faults = outcome.faults()
    assert not faults, "\n".join([f"history {seed}:", *outcome.history.events, *faults[:20]])
    assert len(outcome.ledger.accepted) > 5
    assert outcome.deliveries


@pytest.mark.parametrize("seed", [1])
def test_what_was_accepted_is_delivered(tmp_path: Path, seed: int) -> None:
    check(seed, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 220))
def test_what_was_accepted_is_delivered_in_many_histories(tmp_path: Path, seed: int) -> None:
    check(seed, tmp_path)
