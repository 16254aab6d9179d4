"""``llmtrace import`` of many spans: in batches, in any order, repeated, and killed on the way.

Law: the store then has the spans that an ingestor stores which gets them one by one and evaluates each trace at the end.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmtrace.cli import import_, main
from llmtrace.codec import otlp
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.external import ingest
from llmtrace.external.ingest import Ingestor
from llmtrace.model import RawSpan, Span, replace
from llmtrace.semconv import EVALUATION_ROUND, HEALTH
from llmtrace.store import Query, open_store
from llmtrace.store.local import LocalStore
from llmtrace.store.memory import MemoryStore


class Killed(BaseException):
    """Ends the import as a signal would: nothing is written or evaluated afterwards."""


def trace(number: int, steps: int, *, fails: bool, is_ours: bool) -> list[RawSpan]:
    """An agent that calls a tool in each step; the last call fails if the trace ``fails``."""
    trace_id, ids = f"{number + 1:032x}", [f"{number + 1:08x}{part:08x}" for part in range(2 * steps + 1)]
    run = {"llmtrace.run.id": trace_id} if is_ours else {}
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support", **run}
    spans = [RawSpan(trace_id, ids[0], "invoke_agent support", 1000, 9000, attributes=agent)]
    for step in range(steps):
        call = {"type": "tool_call", "id": f"c{step}", "name": "look_up", "arguments": {"order": step}}
        messages = [{"role": "assistant", "parts": [call], "finish_reason": "tool_call"}]
        chat = {"gen_ai.operation.name": "chat", "gen_ai.output.messages": json.dumps(messages), **run}
        tool = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "look_up",
            "gen_ai.tool.call.id": f"c{step}",
            **run,
        }
        has_failed = fails and step == steps - 1
        tool |= run | ({"error.type": "TimeoutError"} if has_failed else {"gen_ai.tool.call.result": "on its way"})
        start = 1100 + 200 * step
        spans += [
            RawSpan(trace_id, ids[2 * step + 1], "chat m", start, start + 90, ids[0], attributes=chat),
            RawSpan(
                trace_id,
                ids[2 * step + 2],
                "execute_tool look_up",
                start + 100,
                start + 190,
                ids[0],
                attributes=tool,
                status="error" if has_failed else "unset",
            ),
        ]
    return spans


@st.composite
def files(draw: st.DrawFn) -> list[RawSpan]:
    """Spans of some traces, in any order, some twice, some without their root, and some with a start mark before them."""
    spans: list[RawSpan] = []
    for number in range(draw(st.integers(1, 5))):
        steps, has_root = draw(st.integers(0, 4)), draw(st.booleans()) or number == 0
        spans += trace(number, steps, fails=draw(st.booleans()), is_ours=draw(st.integers(0, 3)) == 0)[0 if has_root else 1 :]
    if draw(st.booleans()):
        random.Random(draw(st.integers(0, 1000))).shuffle(spans)
    doubles = [spans[at % len(spans)] for at in draw(st.lists(st.integers(0, 99), max_size=3))] if spans else []
    marks = [replace(span, end=None, attributes={}) for span in doubles if "llmtrace.run.id" not in span.attributes]
    return [*marks[:1], *spans, *doubles]


def stored(store: LocalStore | MemoryStore) -> dict[str, dict[str, Span]]:
    """All spans of a store, without the number of the evaluation, which depends on how many there were."""
    traces: dict[str, dict[str, Span]] = {}
    for span in store.spans(Query(limit=1000)):
        attributes = {name: value for name, value in span.attributes.items() if name != EVALUATION_ROUND}
        traces.setdefault(span.trace_id, {})[span.span_id] = replace(span, attributes=attributes)
    return traces


def one_by_one(spans: Sequence[RawSpan]) -> dict[str, dict[str, Span]]:
    store = MemoryStore()
    ingestor = Ingestor(store, content=Content(Config()), quiet=1e9)
    for raw in spans:
        if "llmtrace.run.id" in raw.attributes:
            store.append_all([raw])
        else:
            ingestor.ingest([raw])
    ingestor.evaluate_all()
    return stored(store)


def import_file(spans: Sequence[RawSpan], folder: Path) -> None:
    """Import a file with two spans in each line into the store in this folder."""
    path = folder / "spans.jsonl"
    lines = [otlp.to_json_line(spans[at : at + 2]).rstrip() + b"\n" for at in range(0, len(spans), 2)]
    path.write_bytes(b"".join(lines))
    assert main(["import", str(path), "--store", str(folder / "store")]) == 0


def imported(folder: Path) -> dict[str, dict[str, Span]]:
    with open_store(str(folder / "store")) as store:
        assert isinstance(store, LocalStore)
        return stored(store)


def journal_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "store" / "journal").glob("*.journal"))


@pytest.mark.parametrize("kill", [False, True])
def test_batches_give_what_single_spans_give(kill: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    """However the spans are ordered, in small batches and with few spans held. Also if an import is killed at any write, as far
    as traces have a root, and it comes last: its verdict shows that they were evaluated."""

    @settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(files(), st.integers(1, 8), st.integers(1, 12), st.integers(0, 6))
    def check(spans: list[RawSpan], batch: int, held: int, writes: int) -> None:
        if kill:
            rooted = {span.trace_id for span in spans if span.parent_id is None and span.end is not None}
            spans = sorted([s for s in spans if s.trace_id in rooted], key=lambda span: span.parent_id is None)
        folder, expected = tmp_path_factory.mktemp("import"), one_by_one(spans)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(import_, "_BATCH", batch)
            patch.setattr(ingest, "MOST_HELD", held)
            if kill:
                killing_import(spans, folder, writes)
            import_file(spans, folder)
            once = imported(folder)
            assert once == expected
            before = journal_size(folder)
            import_file(spans, folder)
            assert imported(folder) == once
            assert journal_size(folder) == before

    check()


def killing_import(spans: Sequence[RawSpan], folder: Path, writes: int) -> None:
    """Import the spans, and end the program at a write, after this number of writes."""
    append_all, left = LocalStore.append_all, [writes]

    def append_or_die(store: LocalStore, raws: Sequence[RawSpan]) -> None:
        if not left[0]:
            raise Killed
        left[0] -= 1
        append_all(store, raws)

    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        patch.setattr(LocalStore, "append_all", append_or_die)
        import_file(spans, folder)


def test_all_traces_are_evaluated_after_a_killed_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those whose spans were written without their evaluation, since too many waited."""
    spans = trace(0, 4, fails=True, is_ours=False)
    monkeypatch.setattr(import_, "_BATCH", 2)
    monkeypatch.setattr(ingest, "MOST_HELD", 3)
    last_first = [*spans[1:], spans[0]]
    killing_import(last_first, tmp_path, 3)
    (killed,) = imported(tmp_path).values()
    assert not any(HEALTH in span.attributes for span in killed.values())
    import_file(last_first, tmp_path)
    assert imported(tmp_path) == one_by_one(last_first)
