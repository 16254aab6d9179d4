"""``llmtrace canary`` from the file of prompts to the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from llmtrace.demo.server import ModelServer
from tests.servers import serving

SETTINGS = {"words": 12}


def answer(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    count = SETTINGS["words"] + Random(str(messages)).randrange(3)
    return {"role": "assistant", "content": "Sure. " + "word " * count}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    SETTINGS["words"] = 12
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-0123456789")
    with ModelServer(answer, pace=0) as server:
        yield server


def test_record_and_compare(llmtrace: Callable[..., Any], server: ModelServer, tmp_path: Path) -> None:
    prompts, baseline = tmp_path / "prompts.jsonl", tmp_path / "baseline.json"
    prompts.write_text("\n".join(json.dumps(f"Question {number}") for number in range(6)), encoding="utf-8")
    recorded = llmtrace(
        "canary", "record", str(prompts), "--model", "m", "--base-url", server.url, "-k", "4", "--temperature", "0"
    )
    assert (recorded.code, "24 of 24 answers recorded" in recorded.err) == (0, True)
    assert "sk-secret" not in recorded.out
    baseline.write_text(recorded.out, encoding="utf-8")
    same = llmtrace("canary", "compare", str(baseline))
    assert (same.code, same.out.splitlines()[0]) == (0, "No change seen.")
    assert "would have been seen 8 in 10 times" in " ".join(same.out.split())
    SETTINGS["words"] = 30
    changed = llmtrace("canary", "compare", str(baseline), "--json")
    told = json.loads(changed.out)
    assert (changed.code, told["verdict"]) == (3, "changed")
    assert [metric["name"] for metric in told["metrics"] if metric["changed"]] == ["length"]
    assert llmtrace("canary", "compare", str(baseline)).out.startswith("Changed: length.")


def test_an_endpoint_that_is_gone_cannot_be_compared(llmtrace: Callable[..., Any], server: ModelServer, tmp_path: Path) -> None:
    baseline = tmp_path / "baseline.json"
    (tmp_path / "p.jsonl").write_text('"Hi"', encoding="utf-8")
    words = ("--model", "m", "--base-url", server.url, "-k", "1")
    baseline.write_text(llmtrace("canary", "record", str(tmp_path / "p.jsonl"), *words).out, encoding="utf-8")
    with serving(lambda *_: (404, {}, b"")) as url:
        told = llmtrace("canary", "compare", str(baseline), "--base-url", f"{url}/v1")
    assert (told.code, told.out.startswith("Could not tell: "), "HTTP 404" in told.out) == (4, True, True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("record", "x.jsonl"), "needs --model"),
        (("record", "--model", "m"), "needs prompts"),
        (("record", "absent.jsonl", "--model", "m"), "cannot read"),
        (("compare",), "needs the baseline"),
        (("compare", "x", "--tools", "y"), "is for canary record"),
        (("record", "PROMPTS", "--model", "m", "-k", "2000"), "--max-calls"),
        (("record", "PROMPTS", "--model", "m", "--border", "--max-calls", "300"), "--max-calls 415"),
        (("record", "PROMPTS", "--model", "m", "--base-url", "ftp://x"), "http://"),
    ],
)
def test_bad_input(words: tuple[str, ...], expected: str, llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('"Hi"', encoding="utf-8")
    told = llmtrace("canary", *(str(tmp_path / "prompts.jsonl") if word == "PROMPTS" else word for word in words))
    assert (told.code, expected in told.err) == (2, True)


def test_a_baseline_of_several_sessions(llmtrace: Callable[..., Any], server: ModelServer, tmp_path: Path) -> None:
    """A second session is added to the file. A comparison asks each question as often as one session did."""
    prompts, baseline = tmp_path / "prompts.jsonl", tmp_path / "baseline.json"
    prompts.write_text("\n".join(json.dumps(f"Question {number}") for number in range(6)), encoding="utf-8")
    words = ("--model", "m", "--base-url", server.url, "-k", "4", "--temperature", "0")
    baseline.write_text(llmtrace("canary", "record", str(prompts), *words).out, encoding="utf-8")
    added = llmtrace("canary", "record", "--add-to", str(baseline))
    assert (added.code, "24 of 24 answers added: 2 sessions in" in " ".join(added.err.split())) == (0, True), added.err
    assert json.loads(baseline.read_text(encoding="utf-8"))["sessions"] == 2
    told = json.loads(llmtrace("canary", "compare", str(baseline), "--max-calls", "24", "--json").out)
    assert told["answers"] == {"before": 48, "now": 24, "planned": 24}
    refused = llmtrace("canary", "record", str(prompts), "--add-to", str(baseline))
    assert (refused.code, "it takes no file" in refused.err) == (2, True)
