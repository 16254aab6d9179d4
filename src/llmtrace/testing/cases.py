"""`cases`: one test over a folder of cases. Each runs several times, because an agent does not always act in the same way."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from llmtrace.errors import ConfigurationError
from llmtrace.statistics.two_samples import shares_test, wilson
from llmtrace.testing.captured import capture

BASELINE = "baseline"
"""Folder beside the cases with the pass counts of each."""
KEEP_BASELINE = "--llmtrace-baseline"
"""Option of pytest that writes the baseline."""
CHANCE = 0.05
"""Highest probability that chance alone causes a drop, for it to be called worse than the baseline."""


class _Case(NamedTuple):
    name: str
    content: Any


class _Count(NamedTuple):
    passed: int
    runs: int

    def __str__(self) -> str:
        low, high = wilson(self.passed, self.runs)
        share = f"{self.passed / self.runs:.0%}, 95 % interval {low:.0%} to {high:.0%}" if self.runs else "none"
        return f"{self.passed} of {self.runs} runs passed ({share})"


def cases(folder: str, *, runs: int = 1, min_pass: float = 1.0) -> Callable[[Callable[..., Any]], Any]:
    """Run a test on each case of ``folder``, ``runs`` times; it passes if at least the share ``min_pass`` of the runs passed.

    ``folder`` is relative to the test's file. A file ``*.json`` is a case, and so is each line of a file ``*.jsonl``. The test
    gets the case as its argument ``case``; with an argument ``run``, it also gets a `Captured` of that one run. Its other
    arguments are fixtures, which all runs of a case share. Without a baseline, it stops when the outcome is settled.

    ``pytest --llmtrace-baseline`` stores in ``folder/baseline`` how often each case passed. Later a case also fails if it
    passes so much less often that chance would do that in fewer than 5 of 100 times. Raises `ConfigurationError` for a folder
    without cases, ``runs`` below 1, or ``min_pass`` outside of 0 to 1.
    """
    if runs < 1 or not 0 <= min_pass <= 1:
        raise ConfigurationError(f"cases(runs={runs}, min_pass={min_pass}): expected at least 1 run, and a share from 0 to 1")

    def decorate(test: Callable[..., Any]) -> Any:
        import pytest

        path = Path(inspect.getfile(test)).parent / folder
        all_cases = list(_read(path))
        if not all_cases:
            raise ConfigurationError(f"cases({folder!r}): there is no *.json or *.jsonl in {path}")

        parameters = inspect.signature(test).parameters

        @functools.wraps(test)
        def run_all(case: _Case, request: Any, **fixtures: Any) -> None:
            __tracebackhide__ = True
            name = re.sub(r"[^-\w]+", "_", f"{test.__name__}-{case.name}")
            file = path / BASELINE / f"{name}.json"
            keeps = bool(request.config.getoption(KEEP_BASELINE, default=False))
            has_baseline = not keeps and file.is_file()
            before = _Count(**json.loads(file.read_text(encoding="utf-8"))) if has_baseline else None
            enough = None if keeps or before is not None else math.ceil(min_pass * runs - 1e-9)
            if "request" in parameters:
                fixtures["request"] = request
            count, failures = _run(test, case, runs, enough, fixtures)
            if keeps:
                file.parent.mkdir(exist_ok=True)
                file.write_text(json.dumps(count._asdict()) + "\n", encoding="utf-8")
            _judge(count, min_pass, before, failures)

        shared = [parameter for name, parameter in parameters.items() if name not in ("run", "request")]
        request = inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY)
        run_all.__signature__ = inspect.Signature([*shared, request])  # type: ignore[attr-defined]
        return pytest.mark.parametrize("case", all_cases, ids=[case.name for case in all_cases])(run_all)

    return decorate


def _read(path: Path) -> Iterator[_Case]:
    for file in sorted(path.glob("*.json*")) if path.is_dir() else ():
        text = file.read_text(encoding="utf-8")
        try:
            if file.suffix == ".json":
                yield _Case(file.stem, json.loads(text))
            elif file.suffix == ".jsonl":
                for number, line in enumerate(filter(str.strip, text.split("\n")), 1):
                    yield _Case(f"{file.stem}-{number}", json.loads(line))
        except ValueError as error:
            raise ConfigurationError(f"the case {file} is no JSON: {error}") from None


def _run(
    test: Callable[..., Any], case: _Case, runs: int, enough: int | None, fixtures: dict[str, Any]
) -> tuple[_Count, list[BaseException]]:
    """Run a test ``runs`` times, or until ``enough`` runs have passed or no longer can. ``enough`` None: never stop early."""
    import pytest

    passed, failures = 0, list[BaseException]()
    takes_run = "run" in inspect.signature(test).parameters
    for _ in range(runs):
        with capture() as captured:
            try:
                result = test(**fixtures, case=case.content, **({"run": captured} if takes_run else {}))
                if inspect.iscoroutine(result):
                    asyncio.run(result)
                passed += 1
            except (Exception, pytest.fail.Exception) as error:
                failures.append(error)
        if enough is not None and (passed >= enough or len(failures) > runs - enough):
            break
    return _Count(passed, passed + len(failures)), failures


def _judge(count: _Count, min_pass: float, before: _Count | None, failures: list[BaseException]) -> None:
    __tracebackhide__ = True
    first = failures[0] if failures else None
    if count.passed < math.ceil(min_pass * count.runs - 1e-9):
        raise AssertionError(f"{count}; at least {min_pass:.0%} must. The first that did not: {first!r}") from first
    if before is None:
        return
    outcomes = [[number < counted.passed for number in range(counted.runs)] for counted in (before, count)]
    tested = shares_test([(outcomes[0], outcomes[1])])
    if tested.effect < 0 and tested.p <= CHANCE:
        raise AssertionError(f"worse than before: {count}, {before} before. The first that did not: {first!r}") from first
