"""Recorded answers of real servers, through the real clients: nothing of them is lost. See `benchmarks/cassettes`."""

from __future__ import annotations

import json
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


def test_data_that_nobody_has_seen_is_a_row(bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A driver that raises over an exchange is a row, and a line that is no cassette is left out: neither ends the program."""
    if "openai" not in bench.drivers():
        pytest.skip("openai is not installed")
    asked = {"model": "m", "messages": [{"role": "user", "content": "Hm?"}]}
    choice = {"index": 0, "message": {"content": "Hm."}, "finish_reason": "stop"}
    bodies = [
        json.dumps({"id": "c", "model": "m", "choices": [choice]}),
        json.dumps({"choices": [{"message": 7}]}),
        "<html>",
        "",
    ]

    def interaction(request: Any, body: str, uri: str = "https://api.openai.com/v1/chat/completions") -> dict[str, Any]:
        sent = {"method": "post", "uri": uri, "req_body": request, "req_enc": "text"}
        return {**sent, "status": 200, "content_type": "application/json", "resp_body": body, "resp_enc": "text"}

    interactions = [interaction(json.dumps(asked), body) for body in bodies] + [interaction(None, bodies[0], "https://[")]
    lines = [{"repo": "r", "path": "p", "interactions": interactions}, {"repo": "r"}, 7]
    (tmp_path / "openai.jsonl").write_text("\n".join([*map(json.dumps, lines), "{"]))
    rows, exchanges = bench.run(tmp_path)
    row = rows["openai", "openai"]
    assert (row.driven >= 4, row.exact) == (True, 1)
    assert [one.field for one in row.differences].count(bench.RAISED) >= 2
    assert "Drivers that raised" in "".join(bench.tables(rows, exchanges))
    said = capsys.readouterr().err
    assert [f"openai.jsonl, line {number}: " in said for number in (1, 2, 3, 4)] == [False, True, True, True]
