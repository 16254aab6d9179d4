"""One suite for every quality signal, built in or a user's: what `llmtrace.laws` promises of each."""

from __future__ import annotations

import copy
import json
import re
import sys
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from law_cases import (
    ARGUMENTS,
    CANARY,
    CASES,
    ERROR,
    JSON,
    TOOLS,
    call,
    execute,
    find,
    infer,
    result_of,
    run,
    step,
    user,
    violation,
)
from tests.documentation import generated

import llmtrace
from llmtrace.codec import genai
from llmtrace.evaluation import Evaluator
from llmtrace.laws import AnySignal, advice, load, user_signals
from llmtrace.model import Inference, Span, ToolExecution, replace
from llmtrace.reading.run_evidence import RunEvidence

BUILT_IN = load()
EVERY_SPAN = [span for cases in CASES.values() for spans in (*cases.bad.values(), *cases.good) for span in spans]


def _users_signals() -> tuple[AnySignal, ...]:
    """A user's signal in each of its three forms."""
    before = dict(user_signals.registered)

    @llmtrace.signal(name="users_function", looks_at=Inference)
    def function(span: Span) -> Any:
        return len(span.operation.output[0].parts) > 1 if span.operation.output else None  # type: ignore[union-attr]

    @llmtrace.signal(name="users_class")
    class Seen:
        def __init__(self) -> None:
            self.names: list[str] = []

        def step(self, span: Span) -> Any:
            self.names = [*self.names[-5:], span.span_id]
            return len(set(self.names)) < len(self.names)

        def finish(self) -> float:
            return float(len(self.names))

    @llmtrace.signal(name="users_generator")
    def generator() -> Iterator[Any]:
        before = yield
        while True:
            span = yield
            span, before = (yield before.name == span.name), span

    written = tuple(signal for name, signal in user_signals.registered.items() if name not in before)
    user_signals.registered.clear()
    user_signals.registered.update(before)
    return written


SIGNALS = (*BUILT_IN, *_users_signals())
every_signal = pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.name)
any_run = st.lists(st.sampled_from(EVERY_SPAN), min_size=1, max_size=30).map(
    lambda spans: [replace(span, span_id=f"{place:016x}", sequence=place) for place, span in enumerate(spans)]
)


@pytest.mark.parametrize(
    ("name", "label"), [(name, label) for name, cases in CASES.items() for label in cases.bad], ids=lambda part: part
)
def test_the_bad_case_fires(name: str, label: str) -> None:
    """Each label of each signal has a run that shows it; the finding is by that name and has an explanation."""
    (signal,) = load((name,))
    evaluations = [evaluation for _, evaluation in find(signal, CASES[name].bad[label])]
    assert label.split(",", maxsplit=1)[0] in {evaluation.label for evaluation in evaluations}
    assert {evaluation.name for evaluation in evaluations} == {name}
    assert all(evaluation.explanation for evaluation in evaluations)


@pytest.mark.parametrize(
    ("name", "place"), [(name, place) for name, cases in CASES.items() for place in range(len(cases.good))]
)
def test_the_good_case_does_not(name: str, place: int) -> None:
    """A run that looks like the bad one in some way and is fine gives nothing."""
    (signal,) = load((name,))
    assert find(signal, CASES[name].good[place]) == []


@every_signal
@given(spans=any_run)
@settings(max_examples=40, deadline=None)
def test_replaying_gives_the_same(signal: AnySignal, spans: list[Span]) -> None:
    """The same spans in the same order give the same evaluations, and are left as they were."""
    before = copy.deepcopy(spans)
    live = find(signal, spans)
    assert find(signal, spans) == live
    assert spans == before
    assert repr(spans) == repr(before)


@every_signal
@given(spans=any_run)
@settings(max_examples=25, deadline=None)
def test_replaying_stored_spans_gives_the_same(signal: AnySignal, spans: list[Span]) -> None:
    """A span that was encoded and decoded again is judged like the live one."""
    stored = [genai.decode(genai.encode(span)) for span in spans]
    assert find(signal, stored) == find(signal, spans)


@every_signal
@given(spans=any_run)
@settings(max_examples=25, deadline=None)
def test_runs_do_not_touch_each_other(signal: AnySignal, spans: list[Span]) -> None:
    """Two runs that go on at once are judged as if each were alone: a signal keeps nothing outside its state."""
    evaluator = Evaluator((signal,))
    first, second = evaluator.start(), evaluator.start()
    both = [(evaluator.evaluate(first, span), evaluator.evaluate(second, span)) for span in spans]
    assert [one for one, _ in both] == [other for _, other in both]


@every_signal
@given(spans=any_run)
@settings(max_examples=40, deadline=None)
def test_explanations_are_free_of_content(signal: AnySignal, spans: list[Span]) -> None:
    """What a model, a tool or a user said is in the evidence at most. Sources are spans of the run."""
    for _, evaluation in find(signal, spans):
        open_parts = (evaluation.name, evaluation.label, evaluation.explanation, evaluation.pointer, evaluation.severity)
        assert CANARY not in repr(open_parts)
        assert set(evaluation.sources) <= {span.span_id for span in spans}
        json.dumps(evaluation.evidence)


@every_signal
def test_evidence_is_short(signal: AnySignal) -> None:
    """However long the text, the evidence is an excerpt."""
    padding = "x" * 100_000
    tagged = f'<tool_call>{{"name": "look_up", "arguments": "{padding}"}}</s>'
    bare = f'{{"name": "look_up", "arguments": "{padding}"}}'
    spans = run(infer(tagged, parameters=JSON), infer(bare), infer(padding, parameters=JSON))
    assert all(len(repr(evaluation.evidence)) < 2_000 for _, evaluation in find(signal, spans))


def test_the_states_are_bounded() -> None:
    """Over 10,000 rounds the state of each signal stops growing, far below 8 MB. So does the evidence, which all share."""
    evidence = RunEvidence()
    states = {signal: signal.start(evidence) for signal in BUILT_IN}
    sizes = defaultdict(list)
    for number in range(10_000):
        for span in _busy(number):
            evidence.add(span)
            for signal, state in states.items():
                if not signal.looks_at or type(span.operation) in signal.looks_at:
                    list(signal.step(state, span))
        if number in (2_999, 9_999):
            sizes["evidence"].append(_weigh(evidence))
            for signal, state in states.items():
                sizes[signal.name].append(_weigh(state, shared=evidence))
    assert {name: last for name, (first, last) in sizes.items() if last > first * 2 + 1_000 or last >= 8_000_000} == {}


@every_signal
def test_odd_values_raise_nothing(signal: AnySignal) -> None:
    """Whatever stands where JSON should be, a signal finds something or nothing, and does not raise."""
    cycle: list[Any] = []
    cycle.append(cycle)
    for odd in (object(), cycle, {1: 2, "a": 3}, float("nan"), b"\xff", {"error": cycle}, [], {}, "", None, {"a": {1, 2}}):
        request = result_of(call(), odd)
        find(signal, run(infer(call(arguments=odd)), execute(odd, arguments=odd), infer("It is 42.", request=request)))
        find(signal, run(infer("x", parameters={"response_format": odd, "text": odd, "tool_choice": odd})))


@every_signal
def test_hostile_text_raises_nothing(signal: AnySignal) -> None:
    """Unclosed fences, deep nesting, lone surrogates, marks without end: 100 KB each, in every place."""
    for piece in (
        "<tool_call>",
        "```{",
        "functions.a ",
        "[" * 50,
        '{"a":',
        "a",
        "\n",
        "1.",
        "a@",
        "<|",
        "Error",
        "\ud800",
        ")",
    ):
        text = piece * (100_000 // len(piece))
        error = infer(text, request=result_of(call(), text))
        find(signal, run(infer(text, parameters=JSON, request=(user(text),)), infer(f"search({text})"), execute(text), error))


def test_every_built_in_signal_has_cases() -> None:
    """No signal comes without a good and a bad case."""
    assert {signal.name for signal in BUILT_IN} == set(CASES)
    assert all(cases.good and cases.bad for cases in CASES.values())


def test_every_built_in_signal_is_documented() -> None:
    """Each has a section with its labels, where it stands, and a good and a bad case."""
    parts = re.split(r"^## (\w+)$", generated()["reference/signals.md"], flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert set(sections) == {signal.name for signal in BUILT_IN}
    for name, section in sections.items():
        assert all(f"* **{part}** " in section for part in ("Labels", "On", "Bad", "Good")), name
        for label in CASES[name].bad:
            assert f"`{label.split(',')[0]}`" in section or name == "invalid_tool_call", label


@every_signal
def test_advice_is_one_sentence(signal: AnySignal) -> None:
    """What to do about a finding is said so that it can stand alone."""
    text = signal.advice
    assert not text or (text[0].isupper() and text.endswith(".") and "\n" not in text)
    assert signal not in BUILT_IN or advice().get(signal.name, "") == text


def _busy(number: int) -> Iterable[Span]:
    """A span of every kind that signals remember: new calls, failures with and without ids, answers."""
    name = f"{number:x}"
    arguments = {**ARGUMENTS, "n": number}
    asked = call("refund", arguments, f"r{name}")
    yield from run(
        infer(call(arguments=arguments, call_id=name)),
        step(execute(ERROR, arguments=arguments, call_id=name), violations=(violation(),)),
        ToolExecution(f"search_{number}", arguments, ERROR, has_result=True),
        infer(asked, request=(user(name), *result_of(call(arguments=arguments, call_id=name), ERROR)[1:])),
        execute(f"done {number}", "refund", arguments, f"r{name}"),
        *([Inference("openai", input=(user(name),), tools=TOOLS)] if number % 10 == 0 else ()),
        outermost=False,
    )


def _weigh(value: object, shared: object = None) -> int:
    """Bytes of everything that a state reaches, without ``shared``, definitions and classes."""
    total, seen, queue = 0, {id(shared)}, deque([value])
    while queue:
        one = queue.popleft()
        if id(one) in seen or isinstance(one, type) or callable(one):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        if isinstance(one, Mapping):
            queue.extend(one.keys())
            queue.extend(one.values())
        elif isinstance(one, (list, tuple, set, frozenset, deque)):
            queue.extend(one)
        else:
            slots = [slot for kind in type(one).__mro__ for slot in getattr(kind, "__slots__", ())]
            queue.extend(getattr(one, slot) for slot in slots if hasattr(one, slot))
            queue.extend(getattr(one, "__dict__", {}).values())
    return total
