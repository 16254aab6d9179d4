"""What every store does, whichever it is: one suite over all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmtrace.errors import TraceNotFound
from llmtrace.model import (
    Custom,
    Evaluation,
    Failure,
    Inference,
    Memory,
    Message,
    Retrieval,
    Span,
    Text,
    ToolDefinition,
    ToolExecution,
    Usage,
    Violation,
    Workflow,
    replace,
)
from llmtrace.semconv import REPLAY_LIVE, REPLAY_OF
from llmtrace.statistics.counted_steps import steps_of
from llmtrace.store import Query, Store, open_store
from llmtrace.store.filters import FILTERS, SORTS
from llmtrace.store.local import LocalStore
from tests.store.spans import SECOND, agent, inference, span, span_id, trace_id
from tests.strategies import alike, spans

Opened: TypeAlias = Callable[[Path], Store]


def _without_index(folder: Path) -> Store:
    """A local store whose index cannot be made, so that it reads its journals."""
    (folder / "index.db").mkdir(parents=True)
    return LocalStore(folder)


STORES: dict[str, Opened] = {
    "local": lambda folder: open_store(str(folder)),
    "local-without-index": _without_index,
    "memory": lambda folder: open_store("memory:"),
    "otlp-file": lambda folder: open_store(f"otlp-json:{folder / 'spans.json'}"),
}


@pytest.fixture(params=sorted(STORES))
def opened(request: pytest.FixtureRequest) -> Opened:
    return STORES[request.param]


@pytest.fixture
def store(opened: Opened, tmp_path: Path) -> Store:
    return opened(tmp_path / "store")


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(made=st.lists(spans(), min_size=1, max_size=4, unique_by=lambda one: one.span_id))
def test_append_then_read_is_equal(opened: Opened, tmp_path_factory: pytest.TempPathFactory, made: list[Span]) -> None:
    """What is appended is read back equal, ended or not, whatever it holds."""
    store = opened(tmp_path_factory.mktemp("store") / "store")
    made = [replace(one, trace_id=trace_id(7)) for one in made]
    for one in made:
        store.append(one)
    read = {one.span_id: one for one in store.trace(trace_id(7)).spans}
    assert len(read) == len(made)
    for one in made:
        assert alike(read[one.span_id], one)
    store.close()


def test_spans_come_in_order_of_start(store: Store) -> None:
    """A trace's spans are in order of start, not of arrival."""
    for number in (3, 1, 2):
        store.append(span(1, number))
    assert [one.span_id for one in store.trace("last").spans] == [span_id(1), span_id(2), span_id(3)]


def test_an_unfinished_span_runs_while_its_program_does(store: Store) -> None:
    """A start mark without an end is running, since this very process could still end it."""
    store.append(span(1, 1, ended=False))
    trace = store.trace("last")
    assert trace.spans[0].end is None
    assert trace.health == "running"
    assert [one.health for one in store.traces()] == ["running"]
    assert store.traces(Query(health="failed")) == []
    assert len(store.traces(Query(health="running"))) == 1


@pytest.mark.parametrize("mark_first", [True, False])
def test_the_ended_span_replaces_its_start_mark(store: Store, mark_first: bool) -> None:
    """A span is stored once; ended wins over its start mark, in whichever order they arrive."""
    mark, ended = span(1, 1, ended=False), span(1, 1, operation=agent("support"))
    for one in (mark, ended) if mark_first else (ended, mark):
        store.append(one)
    assert store.trace("last").spans == (ended,)
    assert store.traces()[0].health == "ok"


@pytest.mark.parametrize("richer_first", [True, False])
def test_the_richer_of_two_versions_wins(store: Store, richer_first: bool) -> None:
    """A span that arrives twice, once without content, is kept with it; read in between or not."""
    richer, bare = span(1, operation=inference("refund my order", "done")), span(1)
    first, second = (richer, bare) if richer_first else (bare, richer)
    store.append(first)
    assert len(store.trace("last")) == 1
    store.append(second)
    assert store.trace("last").spans == (richer,)
    assert store.traces()[0].task == "refund my order"


def test_a_trace_goes_by_id_beginning_and_last(store: Store) -> None:
    """The full id, a beginning of four digits that only one has, and "last" name a trace, in any case."""
    ids = ["abcd" + "0" * 28, "abce" + "0" * 28, "f00d" + "1" * 28]
    for number, one in enumerate(ids):
        store.append(span(number, trace_id=one))
    assert store.trace(ids[0]).trace_id == ids[0]
    assert store.trace("F00D").trace_id == ids[2]
    assert store.trace("last").trace_id == ids[2]
    with pytest.raises(TraceNotFound, match="Did you mean f00d1"):
        store.trace("f00e1111")
    with pytest.raises(TraceNotFound, match=f"no trace '{'f00d2' * 6}11'. The newest is {ids[2]}"):
        store.trace("f00d2" * 6 + "11")
    with pytest.raises(TraceNotFound, match="at least 4"):
        store.trace("abc")
    store.append(span(9, trace_id="abcd" + "9" * 28))
    with pytest.raises(TraceNotFound, match=r"several traces: abcd0+, abcd9+"):
        store.trace("abcd")
    with pytest.raises(TraceNotFound, match="no trace"):
        store.trace("%' or 1=1; --")


def test_traces_come_newest_first_and_within_limits(store: Store) -> None:
    """Summaries are ordered by start, newest first; limit, since (inclusive) and until (exclusive) hold."""
    for number in (2, 1, 3):
        store.append(span(number))
    start = 1_700_000_000 * SECOND + 1000
    assert [one.trace_id for one in store.traces()] == [trace_id(3), trace_id(2), trace_id(1)]
    assert [one.trace_id for one in store.traces(Query(limit=2))] == [trace_id(3), trace_id(2)]
    assert store.traces(Query(limit=0)) == []
    assert [one.trace_id for one in store.traces(Query(since=start + 2 * SECOND))] == [trace_id(3), trace_id(2)]
    assert [one.trace_id for one in store.traces(Query(until=start + 2 * SECOND))] == [trace_id(1)]


FOUND: dict[str, tuple[Any, list[int]]] = {
    "health": ("failed", [2]),
    "finding": ("timeout", [2]),
    "agent": ("support", [1]),
    "workflow": ("nightly", [3]),
    "model": ("gpt-4o", [3, 1]),
    "user": ("ann", [1]),
    "conversation": ("talk", [2, 1]),
    "tag": ("beta", [3, 2]),
    "used_skill": ("returns", [2]),
    "used_record": ("kb-7", [3, 1]),
    "since": (1_700_000_002 * SECOND, [3, 2]),
    "until": (1_700_000_002 * SECOND, [1]),
    "min_cost": (0.25, [2]),
    "max_cost": (0.25, [1]),
    "min_tokens": (200, [2]),
    "max_tokens": (15, [3, 1]),
    "min_duration": (1.0, [2]),
    "max_duration": (1.0, [3, 1]),
}
"""By filter: a value, and which of the traces of `varied` have it. A trace whose value is unknown is never found."""


def varied(store: Store) -> None:
    """Three traces with different names, costs, tokens and durations; the third cost nobody knows what."""
    talk = {"gen_ai.conversation.id": "talk"}
    store.append(span(1, operation=agent("support"), attributes={**talk, "user.id": "ann", "llmtrace.tags": ("alpha",)}))
    store.append(span(1, 2, parent=1, operation=inference("a", "b", response_model="gpt-4o-2024-08-06", cost_usd=0.1)))
    late = 1_700_000_002 * SECOND + 2 * SECOND
    failed = {"failure": Failure("timeout"), "attributes": {**talk, "llmtrace.tags": ("alpha", "beta")}, "end": late}
    store.append(span(2, operation=agent("support desk"), **failed))
    store.append(span(2, 2, parent=1, operation=Inference("x", request_model="gpt", usage=Usage(190, 10), cost_usd=0.3)))
    store.append(span(3, operation=Workflow("nightly"), attributes={"llmtrace.tags": ("beta",)}))
    store.append(span(3, 2, parent=1, operation=inference("a", "b")))
    store.append(span(2, 3, parent=1, operation=ToolExecution("load_skill", skill="returns")))
    refused_load = ToolExecution("load_skill", skill="returns", executed=False)
    store.append(span(3, 3, parent=1, operation=refused_load))
    store.append(span(1, 4, parent=1, operation=Retrieval(documents=[{"id": "kb-7", "content": "closed"}])))
    store.append(span(3, 4, parent=1, operation=Memory("search_memory", records=[{"id": "kb-7", "content": "closed"}])))


def numbers(store: Store, **query: Any) -> list[int]:
    return [int(one.trace_id, 16) for one in store.traces(Query(**query))]


def test_every_filter_means_the_same_in_every_store(store: Store) -> None:
    """Names are matched whole, bounds are inclusive; all that a list can be filtered by, but for confidence (`listing`)."""
    varied(store)
    assert set(FOUND) == {filter_.name for filter_ in FILTERS} - {"confidence"}
    assert {name: numbers(store, **{name: value}) for name, (value, _) in FOUND.items()} == {
        name: found for name, (_, found) in FOUND.items()
    }
    assert numbers(store, tag="beta", health="failed", limit=1) == [2]
    assert numbers(store, agent="support", health="failed") == []


def test_a_finding_is_found_by_its_name_and_its_label(store: Store) -> None:
    """A signal with several labels can be narrowed to one. A label that no finding has finds nothing."""
    for number, label in ((1, "never_succeeded"), (2, "not_approved"), (3, None)):
        store.append(span(number, evaluations=(Evaluation("failed_tool", "warning", "bad", label),)))
    assert numbers(store, finding="failed_tool") == [3, 2, 1]
    assert numbers(store, finding="failed_tool:not_approved") == [2]
    assert numbers(store, finding="failed_tool:raised") == []
    assert numbers(store, finding="not_approved") == []


def test_every_order_means_the_same_in_every_store(store: Store) -> None:
    """The largest first, the unknown last; of equal ones the newer first; the other way round on demand."""
    varied(store)
    orders = {name: numbers(store, sort=name) for name in SORTS}
    assert orders == {
        "age": [3, 2, 1],
        "duration": [2, 3, 1],
        "spans": [3, 2, 1],
        "tokens": [2, 3, 1],
        "cost": [2, 1, 3],
        "findings": [2, 3, 1],
        "health": [2, 3, 1],
    }
    assert numbers(store, sort="cost", limit=1) == [2]
    assert numbers(store, sort="age", reverse=True) == [1, 2, 3]
    assert numbers(store, sort="cost", reverse=True) == [3, 1, 2]


def test_traces_by_text(store: Store) -> None:
    """Every term must be somewhere in the trace: in messages, arguments, results, names; in any script, as beginning too."""
    store.append(span(1, operation=inference("Please refund ORD-1234", "Ist erledigt, schöne Grüße"), name="chat gpt-4o"))
    call = ToolExecution("look_up", {"order_id": "ORD-9"}, result={"city": "京都市"}, has_result=True)
    store.append(span(1, 2, parent=1, operation=call))
    store.append(span(2, operation=inference("refund\nnothing", "no")))

    def found(text: str) -> list[str]:
        return [one.trace_id for one in store.traces(Query(text=text))]

    assert found("refund") == [trace_id(2), trace_id(1)]
    assert found("ord-1234 erledigt") == [trace_id(1)]
    assert found("REFUND ord-12") == [trace_id(1)]
    assert found("look_up") == [trace_id(1)]
    assert found("ord-9 refund") == [trace_id(1)]
    assert found("都市 grüsse") == [trace_id(1)]
    assert found("nothing") == [trace_id(2)]
    assert found("nothing erledigt") == []
    assert found('"; -- *') == [trace_id(2), trace_id(1)]
    assert found('NEAR("refund" *') == []


def test_text_is_found_though_a_conversation_repeats_it(store: Store) -> None:
    """What a later call sends again is found, also when the first span that had it is replaced by a richer version."""
    question = Message("user", (Text("where is my parcel"),))
    store.append(span(1, operation=inference("where is my parcel", "wait")))
    assert len(store.traces(Query(text="parcel"))) == 1
    answered = replace(inference("?", "found it"), input=(question, Message("assistant", (Text("wait"),))))
    store.append(span(1, 2, operation=answered))
    store.append(span(1, operation=replace(inference("where is my parcel", "wait for it"), response_id="r1")))
    for text in ("parcel", "wait", "found", "parcel found"):
        assert len(store.traces(Query(text=text))) == 1


@pytest.mark.parametrize("given", ['{"task": "Say \\"hi\\"\\nto Ann", "stream": false}', '{"task": "Say \\"hi\\"\\nto Ann'])
def test_a_task_within_an_object_is_told_itself(store: Store, given: str) -> None:
    """Frameworks hand a task on as one argument of several; it may have been cut. What is no such object stays as it is."""
    for number, text in enumerate((given, '{"order": 7}'), 1):
        store.append(span(number, operation=agent("support", input=(Message("user", (Text(text),)),))))
    assert {one.task for one in store.traces()} == {'Say "hi"\nto Ann', '{"order": 7}'}


def test_words_are_told_rather_than_data(store: Store) -> None:
    """Where a framework hands a task on as an object, and its answer as one, what its model was asked and said; an agent that
    answers with data answers with that."""
    task, answer = (Message(role, (Text('{"state": {"is_running": true}}'),)) for role in ("user", "assistant"))
    store.append(span(1, operation=Workflow("crew", (task,), (answer,))))
    store.append(span(1, 2, parent=1, operation=inference("Where is it?", "On its way.")))
    store.append(span(2, operation=Workflow("crew", (task,), (answer,))))
    store.append(span(2, 2, parent=1, operation=inference('{"order": 7}', '{"on": "its way"}')))
    told = {one.trace_id: (one.task, one.answer) for one in store.traces()}
    assert told[trace_id(1)] == ("Where is it?", "On its way.")
    assert told[trace_id(2)] == ('{"state": {"is_running": true}}', '{"state": {"is_running": true}}')


def test_a_summary_says_what_happened(store: Store) -> None:
    """One line holds name, task, answer, agents, models, errors, findings, tokens and service."""
    task = Message("user", (Text("refund my order"),))
    answer = Message("assistant", (Text("x" * 300),))
    store.append(span(1, operation=agent("support", input=(task,), output=(answer,))))
    store.append(span(1, 2, parent=1, operation=replace(inference("refund my order", "calling"), cost_usd=0.25)))
    store.append(
        span(
            1,
            3,
            parent=1,
            operation=ToolExecution("refund"),
            violations=(Violation("unexpected", "/x", "additionalProperties", "x", severity="warning"),),
            evaluations=(Evaluation("invalid_tool_call", "error", "bad"),),
        )
    )
    (one,) = store.traces()
    assert (one.name, one.spans, one.health, one.service) == ("step 1", 3, "recovered", "shop")
    assert (one.task, one.answer) == ("refund my order", "x" * 200)
    assert (one.agents, one.models, one.errors) == (("support",), ("gpt-4o",), 1)
    assert one.findings == ("invalid_tool_call", "unexpected")
    assert (one.input_tokens, one.output_tokens, one.cost_usd) == (10, 5, 0.25)
    assert one.duration == pytest.approx(2.5e-6)


def test_a_summary_says_why_a_run_failed(store: Store) -> None:
    """The failure where it began, by its kind and once, however far it travels; a violation says more than its type."""
    store.append(span(1, failure=Failure("openai.APITimeoutError", "no answer")))
    store.append(span(1, 2, parent=1, failure=Failure("httpx.ReadTimeout", "no answer")))
    store.append(span(1, 3, parent=1, failure=Failure("authentication")))
    refused = (Violation("wrong_type", "/x", "type", "x"),)
    store.append(span(1, 4, parent=1, failure=Failure("invalid_tool_call"), violations=refused))
    (one,) = store.traces()
    assert (one.health, one.findings) == ("failed", ("timeout", "authentication", "wrong_type"))


def test_a_call_that_two_saw_is_summed_once(store: Store) -> None:
    """A framework's span around the client's: the tokens and dollars of one call."""
    call = inference("refund", "done", cost_usd=0.25)
    store.append(span(1, operation=call))
    store.append(span(1, 2, parent=1, operation=Custom()))
    store.append(span(1, 3, parent=2, operation=call))
    (one,) = store.traces()
    assert (one.input_tokens, one.output_tokens, one.cost_usd) == (10, 5, 0.25)


def test_a_call_answered_from_the_record_costs_nothing_new(store: Store) -> None:
    """A run that was resumed after a review: only what it did for real counts, in both of its traces together once."""
    root = span(1, operation=agent("support"), attributes={REPLAY_OF: trace_id(9)})
    store.append(root)
    store.append(span(1, 2, parent=1, operation=inference("a", "b", cost_usd=0.5)))
    store.append(span(1, 3, parent=1, operation=inference("a", "b", cost_usd=0.25), attributes={REPLAY_LIVE: True}))
    store.append(span(1, 4, parent=1, operation=ToolExecution("look_up", {}, 1, True)))
    (summary,) = store.traces()
    assert (summary.cost_usd, summary.tokens) == (0.25, 15)
    assert [step.span.span_id for step in steps_of(store.trace("last"))] == [span_id(1), span_id(3)]


def test_what_is_not_known_is_none_not_zero(store: Store) -> None:
    """A trace without inference has no tokens, cost, task or answer; one whose root is open has no end."""
    store.append(span(1, 1, ended=False, resource={}))
    (one,) = store.traces()
    assert (one.input_tokens, one.output_tokens, one.cost_usd) == (None, None, None)
    assert (one.task, one.answer, one.end, one.duration, one.service) == (None, None, None, None, None)


def test_spans_come_trace_by_trace(store: Store) -> None:
    """All spans of the traces that a query asks for: newest trace first, a trace's spans together and in order of start."""
    for trace, number in ((1, 2), (3, 1), (2, 1), (1, 1), (2, 2)):
        store.append(span(trace, number, operation=agent("support" if trace < 3 else "billing")))
    store.append(span(4, ended=False))

    def found(query: Query) -> list[tuple[str, str]]:
        return [(one.trace_id, one.span_id) for one in store.spans(query)]

    second, first = ([(trace_id(trace), span_id(number)) for number in (1, 2)] for trace in (2, 1))
    assert found(Query()) == [(trace_id(4), span_id(1)), (trace_id(3), span_id(1)), *second, *first]
    assert found(Query(agent="support")) == [*second, *first]
    assert found(Query(agent="support", limit=1)) == second
    assert found(Query(until=1_700_000_002 * SECOND)) == first
    assert found(Query(health="failed")) == []
    assert [span for one in store.traces(Query(limit=40)) for span in store.trace(one.trace_id).spans] == list(store.spans())


def test_spans_of_many_traces(store: Store) -> None:
    """More traces than a store reads at once lose none, also when some arrive while the reader is on its way."""
    for number in range(1, 41):
        store.append(span(number))
    reader = store.spans(Query(limit=1000))
    read = [next(reader)]
    store.append(span(99))
    read += reader
    assert [one.trace_id for one in read] == [trace_id(number) for number in range(40, 0, -1)]


def test_spans_without_prompts(store: Store) -> None:
    """What models were given is left out on request, however long; what they said, and every number, is there."""
    for question in ("refund my order", "x" * 5000):
        asked = inference(question, "done", system=(Text(question),), tools=(ToolDefinition("refund", {"x": question}),))
        store.append(span(1, len(question), operation=asked))
        bare = replace(asked, input=(), system=(), tools=())
        (read,) = (one for one in store.spans(prompts=False) if one.span_id == span_id(len(question)))
        assert read == span(1, len(question), operation=bare)
        assert next(one for one in store.spans() if one.span_id == read.span_id).operation == asked


def test_many_threads_append_and_read_at_once(store: Store) -> None:
    """Nothing is lost or doubled when threads append while others read."""

    def write(thread: int) -> None:
        for number in range(50):
            store.append(span(thread + 1, number + 1))

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    threads += [threading.Thread(target=store.traces) for _ in range(2)]
    store.append(span(9))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.spans for one in store.traces()) == [1, 50, 50, 50, 50]


def test_a_closed_store_opens_again(store: Store) -> None:
    """After close() a store can be read and appended to; flush and close are repeatable."""
    store.append(span(1))
    store.flush()
    store.close()
    store.close()
    store.append(span(2))
    assert len(store.traces()) == 2
