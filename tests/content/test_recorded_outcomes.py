"""What a replay needs of a tool's outcome holds no secret either: texts of exceptions, and what their attributes are called."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import llmtrace
from llmtrace.errors import ReplayDiverged
from llmtrace.model import Trace
from llmtrace.recorder.recorded_outcome import recorded_outcome
from llmtrace.store import open_store

SECRET = "Zq8Rt5Lm" + "".join(chr(ord("a") + number) for number in range(4))


class Odd(Exception):
    def __init__(self, text: str, **held: Any) -> None:
        super().__init__(text)
        self.__dict__.update(held)


@dataclass
class Thing:
    password: str = ""
    notes: list[Any] = field(default_factory=list)
    total: int = 0


def recorded(folder: Path, outcome: Any) -> Trace:
    """The trace of a tool that raises or returns this."""
    llmtrace.configure(store=str(folder), instrument=(), exporters=())

    @llmtrace.tool
    def look() -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    if isinstance(outcome, Exception):
        with pytest.raises(type(outcome)):
            look()
    else:
        look()
    llmtrace.shutdown()
    with open_store(str(folder)) as store:
        return store.trace("last")


@pytest.mark.parametrize(
    "outcome",
    [
        ValueError(f"no: password: {SECRET}"),
        ValueError({"password": SECRET}),
        Odd("failed", password=SECRET),
        Odd("failed", info={"note": f"api_key={SECRET}"}),
        Thing(password=SECRET),
        Thing(notes=[Thing(notes=[f"token={SECRET}"])]),
    ],
    ids=["text", "argument", "attribute", "inside an attribute", "field", "nested"],
)
def test_a_secret_is_in_no_file(tmp_path: Path, outcome: Any) -> None:
    trace = recorded(tmp_path, outcome)
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert SECRET.encode() not in written
    with pytest.raises(ReplayDiverged, match="redacted"):
        recorded_outcome(trace.spans[-1])


@pytest.mark.parametrize("outcome", [ValueError("no such order: KS-1"), Odd("failed", code=4), Thing(total=3)])
def test_an_outcome_without_secrets_is_kept(tmp_path: Path, outcome: Any) -> None:
    trace = recorded(tmp_path, outcome)
    assert trace.spans[-1].recorded is not None
    assert trace.spans[-1].recorded.exchanges
