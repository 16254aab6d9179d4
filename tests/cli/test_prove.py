"""``llmtrace why --prove`` on the tutorial's agent: the made-up order number is a cause, and anything else is not.

That its right number is the cause is proven in the first tier: `tests/test_docs.py` runs the tutorial's commands.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmtrace.demo.server import ModelServer
from llmtrace.model import Inference
from llmtrace.store import open_store
from tests.benchmark_program import benchmark
from tests.cli.conftest import Ran
from tests.tutorial import TASK, record

pytestmark = [pytest.mark.all, pytest.mark.timeout(300)]  # programs of their own, one after the other

PROGRAM = ("--", "python", "agent.py", TASK)
RIGHT = ("--set", "look_up/order_id=KS-20418", "--check", "grep -q KS-20418")
LIVE = ("--tool", "look_up=live", "--tool", "refund=live")


@pytest.fixture(autouse=True)
def _recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path, monkeypatch)


def test_the_judge_gives_the_correction(llmtrace: Callable[..., Ran]) -> None:
    """It is said before that it is asked, and then that the correction is the judge's; nonsense means the record's own."""
    asked: list[dict[str, Any]] = []
    words = {"value": '"KS-20418"', "reason": "Ada's only order"}

    def script(messages: Any) -> dict[str, Any]:
        asked.append(json.loads(messages[1]["content"])["correct"])
        return {"role": "assistant", "content": json.dumps(words)}

    with ModelServer(script, pace=0) as server:
        judge = ("--judge", "m", "--judge-url", server.url, *RIGHT[2:], "--times", "1", *LIVE)
        said = " ".join(llmtrace("why", "last", "--prove", *judge, *PROGRAM).out.split())
        assert f"Asks m at {server.url[7:-3]} for 1 correction: sends about" in said
        assert (asked[0]["place"], asked[0]["recorded"]) == ("look_up/order_id", "KS-20431")
        assert asked[0]["schema"]["properties"]["order_id"]["type"] == "string"
        correction = 'look_up/order_id="KS-20418", which judge m gives: "Ada\'s only order"'
        assert f"corrected ({correction}): 1 of 1 run ended well" in said
        assert len(asked) == 1
        words["value"] = ""
        del words["reason"]
        ran = llmtrace("why", "last", "--prove", *judge, "--json", *PROGRAM)
    assert "No correction from judge m, the record's own is tried: its answer is not in the form" in " ".join(ran.err.split())
    assert json.loads(ran.out)["proofs"][0]["correction"].startswith("taken out")


def test_a_proof_makes_the_issue_proven(llmtrace: Callable[..., Ran]) -> None:
    """With the counts of the runs, and without the correction, which is content."""
    times = ("--times", "5")
    proof = json.loads(llmtrace("why", "last", "--prove", "--json", *RIGHT, *times, *LIVE, *PROGRAM).out)["proofs"][0]
    assert proof["verdict"] == "cause"
    issues = json.loads(llmtrace("issues", "--json").out)["issues"]
    (issue,) = [issue for issue in issues if issue["state"] == "proven"]
    (decision,) = issue["history"]
    assert decision["because"] == "with a correction 5 of 5 runs ended well, and 0 of 5 runs as recorded"
    assert (decision["run"], issue["title"]) == (issue["traces"][0], proof["title"])


def test_what_does_not_help_is_no_cause(llmtrace: Callable[..., Ran]) -> None:
    """Without --set the step is taken out: the refund is not made then, and the customer has no money either."""
    words = ("--check", "grep -q KS-20418", "--times", "2", *LIVE, "--json")
    proof = json.loads(llmtrace("why", "last", "--prove", *words, *PROGRAM).out)["proofs"][0]
    assert proof["correction"] == "taken out: look_up answers that there is nothing"
    assert (proof["corrected"]["ended_well"], proof["as_recorded"]["ended_well"]) == (0, 0)
    assert proof["verdict"] == "no help"


def test_nothing_runs_that_was_not_allowed(llmtrace: Callable[..., Ran], tmp_path: Path) -> None:
    for words, said in (
        (RIGHT, "after the correction, look_up and refund would run for real, 10 times"),
        ((*RIGHT, "--tool", "look_up=live"), "allow it: --tool refund=live"),
        ((*RIGHT, "--tool", "all=live"), "after the correction, refund would run for real"),
        (RIGHT[:2], "does not say whether it ended well"),
        ((*RIGHT[2:], "--set", "look_up/nothing=1"), "nothing at /nothing: it has order_id. It corrects the first"),
        ((*RIGHT, "--tool", "look_up"), "expected NAME=live"),
        (("--set", "look_up:/nothing=1", *RIGHT[2:], *LIVE), "nothing at /nothing: it has order_id"),
        ((*RIGHT, "--budget", "nan"), "expected a number of dollars"),
        (("--set", "look_up/order_id=KS-20418", "--check", "grep -q KS-20431"), "ended well by this check"),
        (("--set", "look_up/order_id=KS-20418", "--check", "no-such-command"), "not found"),
    ):
        ran = llmtrace("why", "last", "--prove", *words, *PROGRAM)
        assert ran.code == 2
        assert said in " ".join(ran.err.split()), ran.err
    assert not (tmp_path / "traces" / "replays" / "journal").exists()
    assert llmtrace("why", "last", "--times", "3").code == 2
    with open_store(str(tmp_path / "traces")) as store:
        first_call = next(span.span_id for span in store.trace("last").spans if isinstance(span.operation, Inference))
    ran = llmtrace("why", "last", "--prove", "--set", f"{first_call}:/hits=9", *RIGHT[2:], *LIVE, *PROGRAM)
    assert "A new member can be a parameter only, such as temperature" in " ".join(ran.err.split())
    ran = llmtrace("why", "last", "--prove", *RIGHT, *LIVE, "--", "python", "agent.py", "another task")
    assert "the unchanged program does not replay" in ran.err


def test_the_program_reaches_nothing_but_recorded_answers(llmtrace: Callable[..., Ran], tmp_path: Path) -> None:
    """In the process that a replay starts, too: a connection beside the recorded calls is refused."""
    trace = open_store(str(tmp_path / "traces")).trace("last").trace_id
    text = (tmp_path / "agent.py").read_text(encoding="utf-8")
    call = "import urllib.request\nif __name__ == '__main__':\n    urllib.request.urlopen('http://127.0.0.1:9/')\n"
    (tmp_path / "agent.py").write_text(text.replace('if __name__ == "__main__":\n', f"{call}", 1), encoding="utf-8")
    ran = llmtrace("replay", trace, *PROGRAM)
    assert ran.code == 3
    assert "network: the program connects to 127.0.0.1:9" in " ".join(ran.err.split())


@pytest.mark.parametrize(("kind", "word"), [("wrong result", "cause"), ("made up, gives up", "another way")])
def test_planted_failures(kind: str, word: str) -> None:
    """The culprit's right value is a cause. A value after which the agent gives up proves nothing: no amount is refunded."""
    proofs = benchmark("proofs")
    outcome = proofs.try_kind(proofs.KINDS[kind]._replace(times=4), proofs.DOMAINS["travel"])
    assert outcome.verdict == word, outcome.said
