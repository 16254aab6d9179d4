"""Recorded answers of real servers, through the real clients: nothing of them is lost. See `benchmarks/cassettes`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parents[2] / "benchmarks" / "cassettes"
NAMES = sorted(path.stem for path in (HERE / "drivers").glob("[!_]*.py"))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The benchmark as a module."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.syspath_prepend(str(HERE.parent))
    before = set(sys.modules)
    import bench

    yield bench
    for name in set(sys.modules) - before:
        if str(HERE.parent) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("name", NAMES)
def test_recorded_answers_are_read_whole(name: str, bench: Any, data: Path) -> None:
    """Of every exchange that the driver takes: messages, calls, tools, usage, finish reasons, as the bytes say."""
    if name not in bench.drivers():
        pytest.skip(f"the library of {name} is not installed")
    if not (data / "cassettes").is_dir():
        pytest.skip("no recorded exchanges")
    rows, _ = bench.run(data / "cassettes", name)
    assert sum(row.driven for row in rows.values()) > 0
    assert [str(value) for row in rows.values() for value in row.unexplained] == []


def test_a_difference_is_found(bench: Any) -> None:
    """The comparison can fail: an answer that is read by the wrong driver's rules differs."""
    driver = bench.drivers().get("openai") or pytest.skip("openai is not installed")
    exchange = bench.Exchange(
        "openai", "made up", 0, "POST", "http://x/v1/chat/completions",
        b'{"model": "m", "messages": [{"role": "user", "content": "Hm?"}]}', 200, "application/json",
        b'{"id": "c", "model": "m", "choices": [{"index": 0, "message": {"content": "Hm."}, "finish_reason": "stop"}]}',
    )  # fmt: skip
    with bench.replaying() as server:
        spans = bench.drive(driver, exchange, server)
        assert bench.compare(driver, exchange, spans) == []
        changed_exchange = bench.Exchange(*(*vars(exchange).values(),)[:8], exchange.body.replace(b"Hm.", b"No."))
        (difference,) = bench.compare(driver, changed_exchange, spans)
    assert (difference.field, difference.told, difference.found) == ("output", ["No."], ["Hm."])
