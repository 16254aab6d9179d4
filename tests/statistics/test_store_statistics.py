"""What an engine counts is what is counted here, from the same spans."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from llmtrace.cli import format_stats
from llmtrace.codec import genai
from llmtrace.errors import UnreadableStore
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Embedding,
    Evaluation,
    Event,
    Failure,
    Fingerprint,
    Inference,
    Message,
    RawSpan,
    Span,
    Text,
    ToolCall,
    ToolExecution,
    Usage,
    Violation,
    Workflow,
    replace,
)
from llmtrace.semconv import VALIDATED_ATTEMPTS, VALIDATED_PASSED
from llmtrace.statistics import By, Statistics, clickhouse_sql, collect, gather, groups, store_statistics
from llmtrace.statistics.distribution import EXACT
from llmtrace.store import Query, Store, open_store
from tests import strategies
from tests.codec.dialects.recordings import NAMES, raws_of
from tests.store.remote.backends import ClickHouseEngine, FakeTempo, Served

ALL = Query(limit=sys.maxsize)
BYS: tuple[By, ...] = get_args(By)
HOUR = 3600 * 10**9
NOW = time.time_ns()

needs_chdb = pytest.mark.skipif(
    importlib.util.find_spec("chdb") is None, reason="needs chdb, ClickHouse in a process; scripts/test --all has it"
)


@pytest.fixture(scope="module")
def clickhouse() -> Iterator[ClickHouseEngine]:
    engine = ClickHouseEngine()
    yield engine
    engine.close()


@pytest.fixture
def engine(clickhouse: ClickHouseEngine, monkeypatch: pytest.MonkeyPatch) -> ClickHouseEngine:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(store_statistics, "warn_once", pytest.fail)  # the engine has to answer: streaming would be right, too
    clickhouse.empty()
    return clickhouse


def opened(engine: ClickHouseEngine) -> Store:
    return open_store(f"{engine.url}?days=30000")


def told(found: Statistics) -> Any:
    """Every number."""
    return {
        "all": (found.traces, found.unfinished, found.first, found.last),
        "total": format_stats.as_json(found.total, found.by, suggested=False),
        "groups": {key: format_stats.as_json(group, found.by, suggested=True) for key, group in found.groups.items()},
        "turns": {key: [as_kind(turns) for turns in (group.answers, group.called)] for key, group in found.groups.items()},
        "objectives": {key: (burn.calls, burn.breaches) for key, burn in found.objectives.burns.items()},
    }


def as_kind(turns: groups.Turns) -> Any:
    return [format_stats.distribution(one) for one in (turns.tokens, turns.per_token)]


def same(one: Any, other: Any, where: str = "") -> None:
    """Equal, but for the order in which floats were summed."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            same(one[key], other[key], f"{where} {key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, pair in enumerate(zip(one, other, strict=True)):
            same(*pair, f"{where} {place}")
    elif isinstance(one, float) and isinstance(other, float):
        assert math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12), where
    else:
        assert one == other, where
        assert type(one) is type(other), where


def counted(store: Store, query: Query = ALL, **more: Any) -> Statistics:
    """Counted in the engine, having been found the same as from its spans."""
    more = {"by": "operation", "now": NOW} | more
    inside = gather(store, query, Statistics(**more))
    same(told(inside), told(collect(store.spans(query, prompts=False), Statistics(**more))))
    return inside


def fetched(engine: ClickHouseEngine) -> int:
    """How often spans were asked for."""
    return sum("param_ids" in options for _, options in engine.served.asked)


def alone(engine: ClickHouseEngine, **more: Any) -> Statistics:
    """What the engine counts without a span leaving it."""
    engine.served.asked.clear()
    found = gather(opened(engine), ALL, Statistics("operation", now=NOW, **more))
    assert not fetched(engine)
    return found


CALLS = (Message("assistant", (Text("so"), ToolCall("refund", {}, "c"), ToolCall("refund", {}, "d"))),)
BAD = Violation("missing", "/amount", "required", "x", tool="refund", call_id="c", choice=0)
SLO = {"llmtrace.slo.name": "support", "llmtrace.slo.p99": 2.0, "llmtrace.slo.time_to_first_token": 0.4}


def run(number: int) -> Iterator[Span]:
    """An agent with another below it, steps, tools, and every kind of ending."""

    def made(place: int, parent: int | None, name: str, operation: Any, at: float, took: float, **more: Any) -> Span:
        start = NOW - number * 600 * 10**9 + round(at * 1e9)
        above = None if parent is None else f"{parent:016x}"
        times = {"start": start, "end": start + round(took * 1e9), "parent_id": above}
        return Span(f"{number + 1:032x}", f"{place:016x}", name, operation=operation, run_id="a" * 32, **times, **more)

    def chat(tokens: int | None, model: str, **more: Any) -> Inference:
        usage = None if tokens is None else Usage(tokens * 10, tokens, cache_read_input_tokens=tokens if number % 3 else None)
        return Inference("openai", request_model=model, usage=usage, fingerprint=Fingerprint(system=model), **more)

    tokens = number % 700
    waited = {"llmtrace.review.waited": (0.5, 90, -1, 0.25 + number / 100)[number % 4]} if number % 3 else {}
    yield made(1, None, "invoke_agent support", AgentInvocation("support"), 0, 1 + number / 100, attributes=SLO | waited)
    yield made(2, 1, f"plan {number % 7}", Custom(), 0.01, 0.5)
    ended = ("tool_call" if number % 3 else "stop",)
    yield made(
        3, 2, "chat small", chat(tokens, "small", cost_usd=tokens / 7000, finish_reasons=ended), 0.02, 0.01 + number / 3000
    )
    failure = (None, None, None, Failure("openai.APITimeoutError"), Failure("asyncio.CancelledError"), Failure("E"))[number % 6]
    streamed = chat(
        tokens, "large", stream=True, time_to_first_chunk=0.1 + number / 1000, output=CALLS, partial=number % 5 == 0
    )
    yield made(4, 1, "chat", streamed, 0.6, 2 + number / 50, failure=failure, violations=(BAD,) if number % 8 == 0 else ())
    found = (Evaluation("repeated_call", "warning", "x"), Evaluation("slo", "warning", "y")) if number % 5 == 0 else ()
    yield made(
        5, 1, "execute_tool refund", ToolExecution("refund"), 3, 0.05, evaluations=found, violations=(BAD,) * (number % 2)
    )
    yield made(6, 5, "invoke_agent inner", AgentInvocation("inner"), 3.1, 1)
    engine = {"llmtrace.engine.time_to_first_token": 0.25, "llmtrace.engine.time_per_output_token": 0.0125}
    whole = chat(None if number % 4 else 9, "local", finish_reasons=("length",), parameters={"max_tokens": 9})
    yield made(7, 6, "chat", whole, 3.2, 0.5, attributes=engine)
    yield made(8, 6, "embed", Embedding("openai", "embedder", usage=Usage(7)), 3.8, 0.1)
    yield made(9, 1, "flow", Workflow("flow"), 4, 3)
    malformed = (Evaluation("malformed_output", "error", "x"),)
    yield made(10, 9, "chat", replace(streamed, partial=False), 4.5, 2, evaluations=malformed if number % 9 == 0 else ())


def bare(number: int, parent: int | None = None, operation: Any = None, trace: int = 1, **more: Any) -> Span:
    at = NOW - HOUR + number * 1000
    made: dict[str, Any] = {"start": at, "end": at + 10**6, "run_id": "a" * 32, "operation": operation or Custom()}
    above = None if parent is None else f"{parent:016x}"
    return Span(f"{trace:032x}", f"{number:016x}", f"span {number}", parent_id=above, **(made | more))


CHAT = Inference("openai", request_model="m", usage=Usage(5, 3))
RUNS = 130


@needs_chdb
def test_each_grouping(engine: ClickHouseEngine) -> None:
    """Counts, percentiles of few and of many, rates, sums, words and objectives."""
    engine.keep(span for number in range(RUNS) for span in run(number))
    for by in BYS:
        found = counted(opened(engine), by=by)
        assert found.traces == RUNS
        assert found.total.duration.count > EXACT
        assert found.objectives.burns


@needs_chdb
def test_corrections(engine: ClickHouseEngine) -> None:
    """Of refused calls and of answers that were asked for again; they depend on the order of spans."""
    refused, asked_again = ToolExecution("refund", executed=False), {VALIDATED_ATTEMPTS: 2, VALIDATED_PASSED: True}
    engine.keep([bare(1, None, CHAT, trace=1), bare(2, 1, refused, trace=1), bare(3, 1, ToolExecution("refund"), trace=1)])
    engine.keep([bare(1, None, CHAT, trace=2), bare(2, 1, refused, trace=2)])
    engine.keep([bare(1, None, trace=3, attributes=asked_again), bare(2, 1, CHAT, trace=3)])
    total = counted(opened(engine)).total
    assert (total.corrections, total.corrected) == (3, 2)


@needs_chdb
def test_of_one_agent_and_of_some_time(engine: ClickHouseEngine) -> None:
    """What the query narrows down; a name is data, whatever it says."""
    odd = "a' OR 1=1 -- \\ {x:String} \n"
    engine.keep(span for number in range(RUNS) for span in run(number))
    engine.keep([bare(1, None, AgentInvocation(odd), trace=999), bare(2, 1, CHAT, trace=999)])
    store = opened(engine)
    for agent, traces in (("support", RUNS), ("inner", RUNS), ("nobody", 0), (odd, 1)):
        assert counted(store, replace(ALL, agent=agent), by="agent", agent=agent).traces == traces
    some = counted(store, replace(ALL, since=NOW - 10 * HOUR + 3 * 10**9, until=NOW - HOUR))
    assert 0 < some.traces < 60


@needs_chdb
def test_too_many_groups_and_words(engine: ClickHouseEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest groups have their own name, and nothing is lost of the others."""
    monkeypatch.setattr(groups, "MAX_GROUPS", 3)
    monkeypatch.setattr(groups, "_KINDS", 3)
    engine.keep(span for number in range(60) for span in run(number))
    engine.keep(bare(1, None, CHAT, trace=900 + number) for number in range(200))
    found = gather(opened(engine), ALL, Statistics("model", now=NOW))
    assert set(found.groups) == {("m",), ("large",), ("embedder",), groups.OTHERS}
    assert found.groups["m",].calls == 200
    assert sum(group.calls for group in found.groups.values()) == found.total.calls == 200 + 5 * 60
    for words in (found.total.steps, found.total.models):
        assert sum(words.values()) == found.total.calls
        assert len(words) <= 4
    whole = collect(opened(engine).spans(ALL, prompts=False), Statistics("model", now=NOW))
    few = {"models": 0}
    one, other = (format_stats.as_json(each.total, "model", suggested=True) for each in (found, whole))
    same(one | few, other | few)


@needs_chdb
def test_what_a_budget_stopped_goes_by_one_word(engine: ClickHouseEngine) -> None:
    """In the engine, too."""
    engine.keep([bare(1, None, CHAT, failure=Failure("llmtrace.errors.BudgetExceeded"))])
    assert counted(opened(engine)).total.endings == {"budget_exceeded": 1}


@needs_chdb
def test_no_span_leaves_the_engine(engine: ClickHouseEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where traces are counted in several queries."""
    engine.keep(span for number in range(30) for span in run(number))
    whole = alone(engine)
    monkeypatch.setattr(store_statistics, "AT_ONCE", 120)
    same(told(alone(engine)), told(whole))
    assert len(engine.served.asked) == 1 + 3


ODD: dict[str, list[Span]] = {
    "a call within a call": [bare(1, None, CHAT), bare(2, 1), bare(3, 2, CHAT)],
    "a parent that begins later": [bare(1, 2, CHAT), bare(2, None, AgentInvocation("a"))],
    "a parent of its own": [bare(1, None, CHAT), bare(2, 2, CHAT)],
    "a circle": [bare(1, None, CHAT), bare(2, 3, CHAT), bare(3, 2, CHAT)],
    "one that came twice": [bare(1, None, CHAT), bare(1, None, replace(CHAT, usage=None))],
    "an objective that is a number": [bare(1, None, CHAT, attributes={"llmtrace.slo.name": "7", "llmtrace.slo.p99": 1.0})],
    "too many spans": [bare(number, None, CHAT) for number in range(1, 8)],
}


@needs_chdb
def test_what_sql_cannot_judge_is_counted_here(engine: ClickHouseEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those traces are read; the others are not."""
    monkeypatch.setattr(clickhouse_sql, "MOST", 6)
    odd = [f"{number:032x}" for number in range(1, len(ODD) + 1)]
    for trace_id, spans in zip(odd, ODD.values(), strict=True):
        engine.keep([replace(one, trace_id=trace_id) for one in spans])
    engine.keep([bare(1, None, CHAT, trace=99), bare(2, 1, trace=99), bare(1, None, CHAT, trace=98)])
    gather(opened(engine), ALL, Statistics("operation"))
    asked = [options["param_ids"] for _, options in engine.served.asked if "param_ids" in options]
    assert sorted(one for ids in asked for one in json.loads(ids.replace("'", '"'))) == odd
    for by in ("operation", "agent", "name"):
        counted(opened(engine), by=by)


@needs_chdb
def test_other_writers(engine: ClickHouseEngine) -> None:
    """Spans of every recorded library, with those of llmtrace beside them."""
    for name in NAMES:
        engine.keep_raw(replace(raw, end=raw.end or raw.start) for raw in raws_of(name))
    engine.keep(span for number in range(3) for span in run(number))
    for by in ("operation", "agent", "name"):
        counted(opened(engine), by=by)


@needs_chdb
def test_the_conventions_of_today_need_no_dialect(engine: ClickHouseEngine) -> None:
    """Another writer's spans by today's names are counted in the engine."""
    said = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.output_tokens": 3}
    plain = RawSpan("b" * 32, "1" * 16, "chat m", NOW - HOUR, NOW, attributes=said)
    failed = replace(
        plain, span_id="2" * 16, status="error", events=(Event("exception", NOW, {"exception.type": "x.ReadTimeout"}),)
    )
    engine.keep_raw([plain, failed])
    found = alone(engine)
    assert found.total.endings == {"timeout": 1}
    assert found.total.output.sum == 6
    counted(opened(engine))


@st.composite
def traces(draw: st.DrawFn) -> list[RawSpan]:
    """Spans of any writer in any tree."""
    some = draw(
        st.lists(
            st.one_of(strategies.raw_spans(strategies.utf8_texts()), strategies.telling_spans(), written()),
            min_size=1,
            max_size=8,
        )
    )
    found = []
    for place, raw in enumerate(some):
        above = draw(st.integers(0, place))
        start = NOW - HOUR + draw(st.integers(0, 10)) * 10**8 + place
        took = draw(st.integers(0, 10**10))
        times = {"start": start, "end": start + took, "events": tuple([replace(event, time=start) for event in raw.events])}
        found.append(replace(raw, span_id=f"{place + 1:016x}", parent_id=f"{above:016x}" if above else None, **times))
    return found


def written() -> st.SearchStrategy[RawSpan]:
    return strategies.spans().map(lambda span: genai.encode(replace(span, run_id="a" * 32)))


@needs_chdb
def test_any_spans(engine: ClickHouseEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the spans say."""
    monkeypatch.setattr(groups, "MAX_GROUPS", 10_000)
    monkeypatch.setattr(groups, "_KINDS", 10_000)
    many: list[list[RawSpan]] = []

    @given(traces())
    @settings(
        max_examples=120, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    def drawn(some: list[RawSpan]) -> None:
        many.append(some)

    drawn()
    engine.keep_raw(replace(raw, trace_id=f"{number + 1:032x}") for number, some in enumerate(many) for raw in some)
    for by in BYS:
        counted(opened(engine), by=by)


def test_an_engine_that_refuses(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line says so, and the spans are counted here; where they cannot be had either, that is said."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    old = Served(lambda *_: (400, b"Code: 46. DB::Exception: Unknown function arrayFold"))
    try:
        with pytest.raises(UnreadableStore, match="arrayFold"):
            gather(open_store(f"clickhouse://{old.host}"), ALL, Statistics("model"))
    finally:
        old.close()
    (line,) = caplog.messages
    assert "counted here" in line
    assert "arrayFold" in line


def test_other_stores_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store without an engine, and a backend that knows no SQL."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    spans = [span for number in range(3) for span in run(number)]
    local, tempo = open_store(str(tmp_path / "store")), FakeTempo()
    for span in spans:
        local.append(span)
    tempo.keep(spans)
    try:
        found = [gather(store, ALL, Statistics("tool", now=NOW)) for store in (local, open_store(tempo.url))]
    finally:
        local.close()
        tempo.close()
    assert found[0].total.calls == 15
    same(told(found[0]), told(found[1]))
