"""Any one I/O call may fail, also those of SQLite: the program is unharmed, and the next one reads everything that was not said
to be lost. See `tests.store.faults`.
"""

from __future__ import annotations

import pytest

from tests.store import faults

LONG = {"journal": 0, "reviews": 300, "budgets": 0, "letters": 600, "recordings": 600, "baselines": 0, "index": 600}
"""Faults of each scenario in the long run; 0: all."""


def _check(name: str, count: int) -> None:
    library = faults.shim()
    if isinstance(library, str):
        pytest.skip(library)
    report = faults.run_apart(name, str(count))
    print(f"{name}: {report['cases']} faults in {report['calls']} calls: {report['kinds']}")
    assert report["cases"]
    assert not report["failures"], f"{len(report['failures'])} of {report['cases']}\n" + "\n\n".join(report["failures"][:5])


@pytest.mark.parametrize("name", ["journal", "baselines"])
def test_a_sample_of_faults(name: str) -> None:
    _check(name, 15)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", LONG)
def test_every_call_fails_once(name: str) -> None:
    _check(name, LONG[name])
