"""`cases` in a pytest of its own, since what counts is what a user sees there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from llmtrace.errors import ConfigurationError
from llmtrace.testing import cases

pytestmark = pytest.mark.timeout(300)  # programs of their own, one after the other

TEST = """
import itertools, llmtrace
from llmtrace.testing import Run

made = itertools.count()

@llmtrace.tool
def add(number: int) -> int:
    return number

@llmtrace.cases("cases", runs=10, min_pass=0.8)
def test_sum(case, run: Run, tmp_path):
    with llmtrace.agent("adder"):
        add(case["number"])
    assert run.tools == ["add"]
    assert run.invalid_calls == []
    with open("made", "a") as file:
        file.write(".")
    assert next(made) % case.get("of", 100) < case.get("pass", 100)

@llmtrace.cases("cases")
async def test_async(case):
    assert "number" in case
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cases").mkdir()
    (tmp_path / "test_it.py").write_text(TEST, encoding="utf-8")
    return tmp_path


def run(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def test_a_folder_of_cases_is_run_until_the_outcome_is_settled(folder: Path) -> None:
    """A case that always passes stops at 8 of 10, one that never does at the third failure; both say what they counted."""
    (folder / "cases" / "good.json").write_text('{"number": 1}', encoding="utf-8")
    printed = run(folder)
    assert "PASSED test_it.py::test_sum[good]" in printed, printed
    assert (folder / "made").read_text() == "." * 8
    (folder / "cases" / "good.json").unlink()
    (folder / "made").unlink()
    (folder / "cases" / "bad.jsonl").write_text('{"number": 1, "pass": 0}\n', encoding="utf-8")
    printed = run(folder)
    assert "FAILED test_it.py::test_sum[bad-1]" in printed
    assert "PASSED test_it.py::test_async[bad-1]" in printed
    assert "0 of 3 runs passed (0%, 95 % interval 0% to 56%); at least 80% must" in printed
    assert (folder / "made").read_text() == "." * 3


@pytest.mark.all
def test_a_case_that_passes_less_often_than_before_fails(folder: Path) -> None:
    """With a share that is still enough: 10 of 10 before, then 4 of 10 where 3 must."""
    (folder / "test_it.py").write_text(TEST.replace("min_pass=0.8", "min_pass=0.3"), encoding="utf-8")
    case = folder / "cases" / "sum.json"
    case.write_text('{"number": 1}', encoding="utf-8")
    assert "PASSED test_it.py::test_sum[sum]" in run(folder, "--llmtrace-baseline")
    kept = folder / "cases" / "baseline" / "test_sum-sum.json"
    assert json.loads(kept.read_text()) == {"passed": 10, "runs": 10}
    assert "PASSED test_it.py::test_sum[sum]" in run(folder)
    case.write_text('{"number": 1, "of": 10, "pass": 4}', encoding="utf-8")
    printed = run(folder, "-k", "sum")
    assert "worse than before: 4 of 10 runs passed (40%" in printed
    assert "10 of 10 runs passed (100%" in printed


def test_wrong_options_are_errors_at_the_decorator() -> None:
    for options in ({"runs": 0}, {"min_pass": 1.5}):
        with pytest.raises(ConfigurationError, match="expected at least 1 run"):
            cases("cases", **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"there is no \*\.json"):
        cases("no-such-folder")(lambda case: None)


def test_a_case_is_a_line_whatever_characters_its_texts_hold(tmp_path: Path) -> None:
    tasks = ["one\u2028two", "three\u0085four"]
    lines = [json.dumps({"task": task}, ensure_ascii=False) for task in tasks]
    (tmp_path / "tasks.jsonl").write_text("\n".join(lines), encoding="utf-8")

    def test(case: object) -> None:
        pass

    test = cases(str(tmp_path))(test)
    assert [case.content["task"] for case in test.pytestmark[0].args[1]] == tasks


def test_a_test_may_use_the_fixture_request(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "one.json").write_text("1", encoding="utf-8")
    seen: list[object] = []

    def test(case: object, request: object) -> None:
        seen.append(request)

    test = cases(str(tmp_path))(test)
    test(case=test.pytestmark[0].args[1][0], request=request)
    assert seen == [request]
