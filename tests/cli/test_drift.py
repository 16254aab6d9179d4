"""``llmtrace drift``: what changed is said with its cause, in 80 columns and as JSON; baselines go from store to store."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmtrace.model import Fingerprint, Inference, Message, Span, Text, Trace, Usage
from llmtrace.store import open_store
from tests.cli.conftest import Ran
from tests.monitors.streams import BEGAN, SECOND, chat, lengths, run_of, tool
from tests.stored import append


def update(before: int = 80, after: int = 20) -> Iterator[Trace]:
    """A model is replaced by one that says a tenth, and a tool's result loses a field."""
    for number, tokens in enumerate(lengths(2, before)):
        yield run_of(number, chat(tokens), tool({"id": 1, "total": 2}))
    for number, tokens in enumerate(lengths(3, after, 0.1), before):
        yield run_of(number, chat(tokens, model="m-2"), tool({"id": 1}))


def fill(url: str, traces: Iterator[Trace]) -> str:
    append(url, *(span for trace in traces for span in trace.spans))
    return url


@pytest.fixture
def updated(tmp_path: Path) -> str:
    return fill(str(tmp_path / "updated"), update())


def test_what_changed_is_said_with_its_cause(llmtrace: Callable[..., Ran], updated: str) -> None:
    """The newest change first, the cause before it, what a baseline would see beside each monitor; nothing wider than 80."""
    code, out, err = llmtrace("drift", "--store", updated)
    assert (code, err) == (0, "")
    assert all(len(line) <= 80 for line in out.splitlines())
    said = " ".join(out.split())
    assert "2 keys, 4 changes" in said
    assert "support · chat · m · prompt aaaaaaaa" in said
    assert re.search(r"! 2026-09-21 15:\d\d UTC model changed m-1 -> m-2: response length fell [89]\d %", said)
    assert "the result lacks a field (/total) that all of the 80 before had, and so it is in others" in said
    assert "from 3 calls, compared with 80 before: llmtrace show 00000000" in said


def test_json_has_every_number(llmtrace: Callable[..., Ran], updated: str) -> None:
    """Keys, courses and changes; --since, --agent and --changed leave out what they say."""
    (support,) = json.loads(llmtrace("drift", "--store", updated, "--json", "--agent", "support").out)["keys"]
    length = next(one for one in support["monitors"] if one["monitor"] == "response_length")
    (change,) = length["changes"]
    assert change["causes"] == [
        {"what": "model", "word": "model", "before": "m-1", "now": "m-2", "time": BEGAN + (80 * 60 + 2) * SECOND}
    ]
    assert sum(block["calls"] for block in length["history"]) == 100
    assert abs(change["since"] - BEGAN - 80 * 60 * SECOND) < 5 * 60 * SECOND
    none = json.loads(llmtrace("drift", "--store", updated, "--json", "--changed", "--since", "2027-01-01").out)
    assert none == {"keys": []}


def test_a_plot_shows_the_course(llmtrace: Callable[..., Ran], updated: str) -> None:
    """A line for each block of calls, and where the change is; what never moved is one line."""
    out = llmtrace("drift", "--store", updated, "--text", "plot").out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "refusal rate: 0.0 % all the time" in out
    course = out.split("  response length: not enough data: ")[1].split("  time per")[0]
    (here,) = [line for line in course.splitlines() if "< change" in line]
    assert here.strip().startswith("2026-09-21 15:")


def test_not_enough_data_is_said(llmtrace: Callable[..., Ran], tmp_path: Path) -> None:
    """With how many calls are missing; and where there is nothing at all, that."""
    few = fill(str(tmp_path / "few"), update(7, 0))
    out = llmtrace("drift", "--store", few).out
    assert "tokens  13 calls more" in out
    assert "Not enough data yet for 9 of 9 monitors: each needs 20 calls in 5 runs." in " ".join(out.split())
    empty = fill(str(tmp_path / "none"), (Trace([one.spans[0]]) for one in update(1, 0)))
    assert "No calls of a model or tool yet" in llmtrace("drift", "--store", empty).out
    assert "No calls of nobody" in llmtrace("drift", "--agent", "nobody", "--store", few).out


@pytest.mark.parametrize("text", ["table", "plot"])
def test_nothing_is_wider_than_the_terminal(llmtrace: Callable[..., Ran], tmp_path: Path, text: str) -> None:
    """However little is known yet, and however long the names are of what is followed."""
    offered = {"fingerprint": Fingerprint("aa" * 8, "bb" * 8, "cc" * 8), "finish_reasons": ("a_finish_reason_of_its_own_kind",)}
    store = fill(str(tmp_path / "few"), (run_of(n, chat(20, **offered), tool({"id": n})) for n in range(3)))
    out = llmtrace("drift", "--text", text, "--store", store).out
    assert "share of answers" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_file_of_spans_is_worked_out_alike(llmtrace: Callable[..., Ran], updated: str, tmp_path: Path) -> None:
    """Of a store that keeps nothing of monitors the same is said."""
    exported = fill(str(tmp_path / "spans.jsonl"), update())
    assert llmtrace("drift", "--store", exported, "--json").out == llmtrace("drift", "--store", updated, "--json").out


def test_a_baseline_goes_from_store_to_store(llmtrace: Callable[..., Ran], tmp_path: Path) -> None:
    """Exported where much is known, imported where nothing is: the first calls there are compared with it, until unpinned."""
    file, source, target = str(tmp_path / "b.json"), str(tmp_path / "source"), str(tmp_path / "target")
    fill(source, update(200, 0))
    fill(target, iter([run_of(500, chat(200))]))
    assert llmtrace("drift", "baseline", "export", file, "--store", source).code == 0
    shown = llmtrace("drift", "baseline", "import", file, "--store", target).out
    assert "2 keys with a pinned baseline" in shown
    fill(target, (run_of(600 + n, chat(tokens)) for n, tokens in enumerate(lengths(3, 12, 0.1))))
    assert "response length fell 91 %" in " ".join(llmtrace("drift", "--store", target).out.split())
    assert "2 keys" in llmtrace("drift", "baseline", "--store", target).out
    assert "1 key with" in llmtrace("drift", "baseline", "unpin", "--agent", "shop", "--store", target).out
    assert "No baseline is pinned" in llmtrace("drift", "baseline", "unpin", "--store", target).out
    assert "2 keys with" in llmtrace("drift", "baseline", "pin", "--store", source).out


def test_what_has_no_baseline_yet_is_said(llmtrace: Callable[..., Ran], tmp_path: Path) -> None:
    """Of what is pinned or shipped, which monitors are not in it and what they need; of an agent, whether it has any."""
    store = fill(str(tmp_path / "some"), update(25, 0))
    fill(store, iter([run_of(500, chat(200), agent="other")]))
    ran = llmtrace("drift", "baseline", "pin", "--store", store)
    assert "2 keys with a pinned baseline" in ran.out
    assert "Not enough data yet, so left out: other · chat · m" in ran.err
    assert "(19 calls more)" in ran.err
    ran = llmtrace("drift", "baseline", "export", "-", "--agent", "other", "--store", store)
    assert (ran.code, ran.out) == (2, "")
    assert "no baseline of 'other' yet: a monitor needs 20 calls in 5 runs" in ran.err


def test_bad_input_is_refused(llmtrace: Callable[..., Ran], updated: str, tmp_path: Path) -> None:
    """With what to do instead, and exit code 2."""
    (tmp_path / "other.json").write_text("[1]")
    spans = fill(str(tmp_path / "spans.jsonl"), update(1, 0))
    for words, told in (
        (("base",), "unknown argument 'base'"),
        (("baseline", "ship"), "unknown action 'ship' for baseline"),
        (("baseline", "export"), "takes one file"),
        (("baseline", "import", str(tmp_path / "other.json")), "not a baseline file"),
        (("baseline", "import", str(tmp_path / "absent.json")), "cannot read"),
        (("baseline", "show", "--store", spans), "local store"),
    ):
        ran = llmtrace("drift", *words, *(() if "--store" in words else ("--store", updated)))
        assert ran.code == 2
        assert told in ran.err


def test_a_recorded_update_is_found_and_the_model_named(llmtrace: Callable[..., Ran], tmp_path: Path, data: Path) -> None:
    """Real answers of a model before and after its update: found within 25 calls, with the model as the cause."""
    rows = [json.loads(line) for line in (data / "llmdrift" / "PRIME_FULL.jsonl").read_text().splitlines()]
    old, new = ([row for row in rows if row["model"].endswith(f"gpt-4-{version}")] for version in ("0314", "0613"))
    store = open_store(str(tmp_path / "recorded"))
    for number, row in enumerate([*old[:200], *new[:40]]):
        start = BEGAN + number * 60 * SECOND
        answer, model = (Message("assistant", (Text(row["answer"]),)),), row["model"].rpartition("/")[2]
        operation = Inference(
            "openai", request_model="gpt-4", response_model=model, output=answer, usage=Usage(60, row["answer_token"])
        )
        end = start + int(row["latency"] * SECOND)
        ids = (f"{number + 1:032x}", f"{number + 1:016x}")
        store.append(Span(*ids, "chat", start, end, operation=operation, run_id=ids[0]))
    store.close()
    (key,) = json.loads(llmtrace("drift", "--store", str(tmp_path / "recorded"), "--json").out)["keys"]
    length = next(one for one in key["monitors"] if one["monitor"] == "response_length")
    (change,) = length["changes"]
    assert [(one["what"], one["before"], one["now"]) for one in change["causes"]] == [("model", "gpt-4-0314", "gpt-4-0613")]
    assert int(change["trace_id"], 16) - 1 - 200 < 25
