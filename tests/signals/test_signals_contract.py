"""One suite for every quality signal, built in or to come: what `llmtrace.signals` promises of each."""

from __future__ import annotations

import copy
import json
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signal_cases import ARGUMENTS, CANARY, CASES, ERROR, JSON, TOOLS, call, found, infer, ran, run, says, told, violation

from llmtrace.codec import genai
from llmtrace.evaluation import Evaluator
from llmtrace.model import Inference, Message, Span, Text, ToolExecution, replace
from llmtrace.signals import Signal, advice, load

SIGNALS = load()
DOCS = Path(__file__).parents[2] / "docs"
EVERY_SPAN = [span for cases in CASES.values() for spans in (*cases.bad.values(), *cases.good) for span in spans]
HOSTILE = (
    *("<tool_call>", "<|", "```{", "```", "functions.a ", "[" * 50, '{"a":', ")", "\ud800"),
    *("a", " ", "\n", "1", "1.", "a@", "http://", "no x ", "Error", "a."),
)

every_signal = pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.name)
any_run = st.lists(st.sampled_from(EVERY_SPAN), max_size=30).map(
    lambda spans: [replace(span, span_id=f"{place:016x}", sequence=place) for place, span in enumerate(spans)]
)


@pytest.mark.parametrize(
    ("name", "label"), [(name, label) for name, cases in CASES.items() for label in cases.bad], ids=lambda part: part
)
def test_the_bad_case_fires(name: str, label: str) -> None:
    """Each label of each signal has a run that shows it; the finding is by that name and has an explanation."""
    (signal,) = load((name,))
    evaluations = [evaluation for _, evaluation in found(signal, CASES[name].bad[label])]
    assert label.split(",", maxsplit=1)[0] in {evaluation.label for evaluation in evaluations}
    assert {evaluation.name for evaluation in evaluations} == {name}
    assert all(evaluation.explanation for evaluation in evaluations)


@pytest.mark.parametrize(
    ("name", "place"), [(name, place) for name, cases in CASES.items() for place in range(len(cases.good))]
)
def test_the_good_case_does_not(name: str, place: int) -> None:
    """A run that looks like the bad one in some way and is none gives nothing."""
    (signal,) = load((name,))
    assert found(signal, CASES[name].good[place]) == []


@every_signal
@given(spans=any_run)
@settings(max_examples=60, deadline=None)
def test_replaying_gives_the_same(signal: Signal, spans: list[Span]) -> None:
    """The same spans in the same order give the same evaluations, and are left as they were."""
    before = copy.deepcopy(spans)
    live = found(signal, spans)
    assert found(signal, spans) == live
    assert spans == before
    assert repr(spans) == repr(before)


@every_signal
@given(spans=any_run)
@settings(max_examples=30, deadline=None)
def test_replaying_stored_spans_gives_the_same(signal: Signal, spans: list[Span]) -> None:
    """A span that was encoded and decoded again is judged like the one that was live."""
    stored = [genai.decode(genai.encode(span)) for span in spans]
    assert found(signal, stored) == found(signal, spans)


@every_signal
@given(spans=any_run)
@settings(max_examples=60, deadline=None)
def test_runs_do_not_touch_each_other(signal: Signal, spans: list[Span]) -> None:
    """Two runs that go on at once are judged as if each were alone: a signal keeps nothing outside its state."""
    first, second = signal.start(), signal.start()
    both = [(list(signal.step(first, span)), list(signal.step(second, span))) for span in spans]
    assert [one for one, _ in both] == [other for _, other in both]


@every_signal
@given(spans=any_run)
@settings(max_examples=60, deadline=None)
def test_explanations_are_free_of_content(signal: Signal, spans: list[Span]) -> None:
    """What a model, a tool or a user said is in the evidence at most."""
    for _, evaluation in found(signal, spans):
        open_parts = (evaluation.name, evaluation.label, evaluation.explanation, evaluation.pointer, evaluation.severity)
        assert CANARY not in repr(open_parts)
        assert set(evaluation.sources) <= {span.span_id for span in spans}
        json.dumps(evaluation.evidence)


@every_signal
def test_evidence_is_short(signal: Signal) -> None:
    """However long the text, the evidence is an excerpt."""
    padding = "x" * 100_000
    tagged = f'<tool_call>{{"name": "look_up", "arguments": "{padding}"}}</s>'
    bare = f'{{"name": "look_up", "arguments": "{padding}"}}'
    spans = run(infer(tagged, parameters=JSON), infer(bare), infer(padding, parameters=JSON))
    assert all(len(repr(evaluation.evidence)) < 2_000 for _, evaluation in found(signal, spans))


@every_signal
def test_the_state_is_bounded(signal: Signal) -> None:
    """A run five times as long needs no state five times as large: it stops growing, far below 8 MB."""
    state = signal.start()
    sizes = []
    for number in range(10_000):
        for span in _busy(number):
            list(signal.step(state, span))
        if number in (2_999, 9_999):
            sizes.append(_weigh(state))
    assert sizes[1] <= sizes[0] * 2 + 1_000
    assert sizes[1] < 8_000_000


@every_signal
def test_hostile_text_is_read_in_time(signal: Signal) -> None:
    """No text makes a signal slow: patterns that invite backtracking, unclosed fences and deep nesting, 100 KB each."""
    pieces = (
        "<tool_call>",
        "```{",
        "functions.a ",
        "[" * 50,
        '{"a":',
        "a",
        " ",
        "\n",
        "1.",
        "a@",
        "<|",
        "no x ",
        "Error",
        "\ud800",
        ")",
    )
    for piece in pieces:
        text = piece * (100_000 // len(piece))
        hostile = run(
            infer(text, parameters=JSON, asked=says(text)),
            infer(f"search({text})"),
            ran(text),
            ran(ERROR),
            infer(text, asked=told(text)),
        )
        start = time.process_time()
        found(signal, hostile)
        assert time.process_time() - start < 1.0, piece


@every_signal
def test_odd_values_raise_nothing(signal: Signal) -> None:
    """Whatever stands where JSON should be, a signal finds something or nothing, and does not raise."""
    cycle: list[Any] = []
    cycle.append(cycle)
    for odd in (object(), cycle, {1: 2, "a": 3}, float("nan"), b"\xff", {"error": cycle}, [], {}, "", None, {"a": {1, 2}}):
        found(signal, run(infer(call(arguments=odd)), ran(odd, arguments=odd), infer("It is 42.", asked=told(odd))))
        found(signal, run(infer("x", parameters={"response_format": odd, "text": odd, "tool_choice": odd})))


def test_every_built_in_signal_has_cases() -> None:
    """No signal comes without a documented good and bad case (`unfinished_run` reads traces and has tests of its own)."""
    own_suite = {"unfinished_run", "ungrounded_argument"}
    assert {signal.name for signal in SIGNALS} - own_suite == set(CASES)
    assert all(cases.good and cases.bad for cases in CASES.values())


def test_every_built_in_signal_is_documented() -> None:
    """Each has a page with its labels, a good and a bad case, what was measured, what to search for, how to switch it off."""
    index = (DOCS / "signals.md").read_text(encoding="utf-8")
    parts = ("Fires", "Severity", "Tune", "Bad", "Good", "Measured", "Search", "Off")
    assert {page.stem for page in (DOCS / "signals").glob("*.md")} == {signal.name for signal in SIGNALS}
    for signal in SIGNALS:
        page = (DOCS / "signals" / f"{signal.name}.md").read_text(encoding="utf-8")
        assert f"(signals/{signal.name}.md)" in index
        assert all(f"* **{part}** " in page for part in parts), signal.name
        for label in CASES[signal.name].bad if signal.name in CASES else ():
            assert f"`{label.split(',')[0]}`" in page or signal.name == "invalid_tool_call", label


@every_signal
def test_advice_is_one_sentence(signal: Signal) -> None:
    """Where a signal says what to do about a finding, it says it so that it can stand alone."""
    told = getattr(signal, "advice", "")
    assert not told or (told[0].isupper() and told.endswith(".") and "\n" not in told)
    assert advice().get(signal.name, "") == told


def test_the_evaluator_runs_them_all() -> None:
    """On the live path a run gets the findings of every signal, on the spans that they are about."""
    evaluator = Evaluator(SIGNALS)
    state = evaluator.start()
    spans = CASES["failed_tool_ignored"].bad["answered"]
    judged = [evaluator.step(state, span) for span in spans]
    assert [evaluation.name for evaluation in judged[1].evaluations] == ["failed_tool_ignored"]
    assert judged[1].evaluations[0].sources == (spans[0].span_id,)


@every_signal
@given(spans=any_run.filter(bool))
@settings(max_examples=60, deadline=None)
def test_what_a_signal_is_not_called_for_is_nothing_to_it(signal: Signal, spans: list[Span]) -> None:
    """The evaluator leaves out calls of a signal that could find nothing; all the others give the same findings."""
    evaluator = Evaluator((signal,))
    state = evaluator.start()
    bare = [replace(span, evaluations=()) for span in spans]
    judged = [evaluator.step(state, span, outermost=span is bare[-1]) for span in bare]
    judged[-1] = evaluator.finish(state, judged[-1])
    assert [(span.span_id, one) for span in judged for one in span.evaluations] == found(signal, [*_checked(bare)])


def _checked(spans: list[Span]) -> Iterable[Span]:
    """Spans with what validation finds in them, as signals get them."""
    evaluator = Evaluator(())
    state = evaluator.start()
    return [evaluator.step(state, span) for span in spans]


def _busy(number: int) -> Iterable[Span]:
    """A span of every kind that signals remember: new calls, failures with and without ids, answers."""
    name = f"{number:x}"
    arguments = {**ARGUMENTS, "n": number}
    yield from run(
        infer(call(arguments=arguments, call_id=name)),
        replace(run(ran(ERROR, arguments=arguments, call_id=name))[0], violations=(violation(),)),
        ToolExecution("search", arguments, ERROR, has_result=True),
        infer(call("refund", call_id=f"r{name}"), asked=told(ERROR, call_id=name)),
        outermost=False,
    )
    if number % 10 == 0:
        answer = (Message("assistant", (Text(f"It is {number}."),)),)
        yield from run(Inference("openai", input=says(name), output=answer, tools=TOOLS), outermost=False)


def _weigh(value: object) -> int:
    """Bytes of everything that a state reaches."""
    total, seen, queue = 0, set(), deque([value])
    while queue:
        one = queue.popleft()
        if id(one) in seen or isinstance(one, type):
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
