"""The pytest plugin: the fixtures ``llmtrace_capture`` and ``llmtrace_replay``. The report of a test that failed shows ``why``.

Loading it imports nothing of llmtrace, since every pytest run does.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from llmtrace.testing import Captured, ReplayedRun, Run

_TO_KEEP = pytest.StashKey[list["ReplayedRun"]]()
"""Those whose new run takes the place of its recording when the test has passed."""
_RUNS = pytest.StashKey[list["Run"]]()
"""The runs of a test."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--llmtrace-record``, ``--llmtrace-allow`` and ``--llmtrace-baseline``."""
    group = parser.getgroup("llmtrace")
    group.addoption(
        "--llmtrace-record",
        action="store_true",
        help="where a program differs from its recording, run it for real from there on, and keep the new run",
    )
    group.addoption(
        "--llmtrace-allow",
        action="append",
        default=[],
        metavar="TOOL",
        help="with --llmtrace-record, a tool that changes something and may run for real all the same (can be repeated)",
    )
    group.addoption(
        "--llmtrace-baseline",
        action="store_true",
        help="keep how often each case of llmtrace.cases passes, for later runs to be compared with",
    )


@pytest.fixture
def llmtrace_capture(request: pytest.FixtureRequest) -> Iterator[Captured]:
    """Everything that is recorded during the test."""
    from llmtrace.testing import capture

    with capture() as captured:
        request.node.stash.setdefault(_RUNS, []).append(captured)
        yield captured


@pytest.fixture
def llmtrace_replay(request: pytest.FixtureRequest) -> Callable[..., ReplayedRun]:
    """Run an agent or a program again, answered from a recording: ``llmtrace_replay("refund.jsonl")``.

    The file is looked for beside the test. ``tools={"look_up": "live"}`` runs the body of that tool; ``programs=["git"]`` lets
    the agent start that program. ``loose="prompts"``: another system prompt, or description of a tool, gets the recorded
    answer all the same, with a warning. See `ReplayedRun`.
    """
    from llmtrace.testing import ReplayedRun

    def make(
        recording: str,
        *,
        tools: Mapping[str, Literal["recorded", "live", "after"]] | None = None,
        programs: Collection[str] = (),
        loose: bool | Literal["prompts"] = False,
    ) -> ReplayedRun:
        path = request.path.parent / recording
        record, allow = (request.config.getoption(name) for name in ("--llmtrace-record", "--llmtrace-allow"))
        run = ReplayedRun(path, tools=tools, programs=programs, loose=loose, record=bool(record), allow=allow)
        request.node.stash.setdefault(_TO_KEEP, []).append(run)
        request.node.stash.setdefault(_RUNS, []).append(run)
        return run

    return make


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Add to the report of a test that failed what ``llmtrace why`` says of its runs."""
    outcome: Any = yield
    if call.when == "call" and call.excinfo is None:
        for run in item.stash.get(_TO_KEEP, []):
            run.keep()
    runs = item.stash.get(_RUNS, [])
    if call.when == "call" and runs and call.excinfo is not None:
        with suppress(Exception):  # the report of the test comes first
            text = _why(runs)
            if text:
                outcome.get_result().sections.append(("llmtrace why", text))


def _why(runs: list[Run]) -> str:
    from llmtrace.cli import why
    from llmtrace.cli.terminal import Screen
    from llmtrace.diagnosis import diagnose
    from llmtrace.testing import ReplayedRun

    text = io.StringIO()
    screen = Screen(text)
    compared = [run for run in runs if not isinstance(run, ReplayedRun) or run.is_same]
    for trace in [trace for run in compared for trace in run.traces]:
        why.show(screen, trace, diagnose(trace), top=3)
    return text.getvalue()
