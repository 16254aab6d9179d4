"""One suite for every law, built in or a user's signal: what `llmtrace.laws` promises of each."""

from __future__ import annotations

import ast
import copy
import json
import re
import sys
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from law_cases import (
    ARGUMENTS,
    CANARY,
    CASES,
    ERROR,
    JSON,
    TOOLS,
    call,
    evaluate,
    execute,
    facts,
    findings,
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
from llmtrace.laws import AnyLaw, load, user_signals
from llmtrace.model import Inference, Span, ToolExecution, replace
from llmtrace.reading.timeline import Timeline

BUILT_IN = load()
EVERY_SPAN = [span for cases in CASES.values() for spans in cases.runs for span in spans[:-1] if span.end is not None]


def _users_signals() -> tuple[AnyLaw, ...]:
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


LAWS = (*BUILT_IN, *_users_signals())
every_law = pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
ANOTHER_NAME = run(
    infer(call(CANARY), tools=()), step(execute(call_id="c1"), violations=(violation(),)), infer("It is done.", tools=())
)
"""The model names a tool in words of its own, and the program runs the right one under the same id."""
any_run = st.lists(st.sampled_from(EVERY_SPAN), min_size=1, max_size=30).map(lambda spans: run(*spans))


def kind_of(label: str) -> str:
    return label.split(",", maxsplit=1)[0]


@pytest.mark.parametrize(("name", "label"), [(name, label) for name, cases in CASES.items() for label in cases.facts])
def test_a_law_states_its_facts(name: str, label: str) -> None:
    """Each label has a run that shows it. The fact has the law's name, an explanation and no confidence: it marks nothing."""
    (law,) = load((name,))
    stated = [fact for _, fact in facts(law, CASES[name].facts[label])]
    assert kind_of(label) in {fact.label for fact in stated}
    assert {fact.name for fact in stated} == {name}
    assert all(fact.explanation for fact in stated)


@pytest.mark.parametrize(("name", "label"), [(name, label) for name, cases in CASES.items() for label in cases.findings])
def test_a_law_judges_with_its_confidence(name: str, label: str) -> None:
    """Each label has a run that the law judges with this confidence, and with no other confidence for this label."""
    (law,) = load((name,))
    confidence, spans = CASES[name].findings[label]
    found = findings(law, spans)
    assert {finding.confidence for finding in found if finding.label == kind_of(label)} == {confidence}
    assert all(finding.law == name and finding.title and finding.evidence and finding.advice for finding in found)


@pytest.mark.parametrize(
    ("name", "place"), [(name, place) for name, cases in CASES.items() for place in range(len(cases.good))]
)
def test_a_law_is_silent_about_a_good_run(name: str, place: int) -> None:
    """A run that looks like the bad one in some way and is fine has no finding, and no fact that a person would look at."""
    (law,) = load((name,))
    spans = CASES[name].good[place]
    assert findings(law, spans) == []
    assert [fact for _, fact in facts(law, spans) if fact.severity != "info" or name != "failed_tool"] == []


@pytest.mark.parametrize(("name", "label"), [(name, label) for name, cases in CASES.items() for label in cases.findings])
def test_a_finding_is_one_live_and_stored(name: str, label: str) -> None:
    """The outermost span carries the marks of the live run, and they are those of the stored one."""
    (law,) = load((name,))
    _, spans = CASES[name].findings[label]
    if spans[-1].end is None:
        return  # only a reader sees that a program died
    live = [mark for mark in evaluate(spans, law)[-1].evaluations if mark.confidence is not None]
    stored = [finding.as_evaluation() for finding in findings(law, spans) if finding.is_marked]
    assert live == stored


@every_law
@given(spans=any_run)
@settings(max_examples=40, deadline=None)
def test_replaying_gives_the_same(law: AnyLaw, spans: list[Span]) -> None:
    """The same spans in the same order give the same evaluations, and are left as they were."""
    before = copy.deepcopy(spans)
    live = evaluate(spans, law)
    assert evaluate(spans, law) == live
    assert spans == before
    assert repr(spans) == repr(before)


@every_law
@given(spans=any_run)
@settings(max_examples=25, deadline=None)
def test_replaying_stored_spans_gives_the_same(law: AnyLaw, spans: list[Span]) -> None:
    """A span that was encoded and decoded again is judged like the live one."""
    stored = [genai.decode(genai.encode(span)) for span in spans]
    live, again = evaluate(spans, law), evaluate(stored, law)
    assert [span.evaluations for span in again] == [span.evaluations for span in live]


@every_law
@given(spans=any_run)
@settings(max_examples=25, deadline=None)
def test_runs_do_not_touch_each_other(law: AnyLaw, spans: list[Span]) -> None:
    """Two runs that go on at once are judged as if each were alone: a law keeps nothing outside its state."""
    evaluator = Evaluator((law,))
    first, second = evaluator.start(), evaluator.start()
    both = [(evaluator.evaluate(first, span), evaluator.evaluate(second, span)) for span in spans]
    assert [one for one, _ in both] == [other for _, other in both]


@every_law
@given(spans=any_run)
@example(spans=ANOTHER_NAME)
@settings(max_examples=40, deadline=None)
def test_titles_are_free_of_content(law: AnyLaw, spans: list[Span]) -> None:
    """What a model, a tool or a user said is in the evidence at most. Sources are spans of the run."""
    ids = {span.span_id for span in spans}
    for span in evaluate(spans, law):
        for evaluation in span.evaluations:
            open_parts = (evaluation.name, evaluation.label, evaluation.explanation, evaluation.pointer, evaluation.severity)
            assert CANARY not in repr(open_parts)
            assert set(evaluation.sources) <= ids
            json.dumps(evaluation.evidence)
    for finding in findings(law, spans):
        assert CANARY not in repr((finding.law, finding.label, finding.title))
        assert {finding.span_id, *finding.spans} <= ids


@every_law
def test_evidence_is_short(law: AnyLaw) -> None:
    """However long the text, the evidence of facts and findings is an excerpt."""
    padding = "x" * 100_000
    tagged = f'<tool_call>{{"name": "look_up", "arguments": "{padding}"}}</s>'
    bare = f'{{"name": "look_up", "arguments": "{padding}"}}'
    spans = run(infer(tagged, parameters=JSON), infer(bare), infer(padding, parameters=JSON))
    assert all(len(repr(fact.evidence)) < 2_000 for _, fact in facts(law, spans))
    assert all(len(finding.title) + len(finding.evidence) < 2_000 for finding in findings(law, spans))


def test_the_states_are_bounded() -> None:
    """Over 10,000 rounds the state of each law stops growing, far below 1 MB. So does the timeline, which all share."""
    timeline = Timeline(bounded=True)
    states = {law: law.start(timeline) for law in BUILT_IN}
    sizes = defaultdict(list)
    for number in range(10_000):
        for span in _busy(number):
            timeline.add(span)
            for law, state in states.items():
                if not law.looks_at or type(span.operation) in law.looks_at:
                    facts_ = tuple(law.step(state, span))
                    span = replace(span, evaluations=(*span.evaluations, *facts_))
            timeline.note(span)
        if number in (2_999, 9_999):
            sizes["timeline"].append(_weigh(timeline))
            for law, state in states.items():
                sizes[law.name].append(_weigh(state, shared=timeline))
    assert {name: last for name, (first, last) in sizes.items() if last > first * 2 + 1_000} == {}
    assert sizes.pop("timeline")[-1] < 16_000_000
    assert {name: last for name, (_, last) in sizes.items() if last >= 1_000_000} == {}


@every_law
def test_odd_values_raise_nothing(law: AnyLaw) -> None:
    """Whatever stands where JSON should be, a law finds something or nothing, and does not raise."""
    cycle: list[Any] = []
    cycle.append(cycle)
    for odd in (object(), cycle, {1: 2, "a": 3}, float("nan"), b"\xff", {"error": cycle}, [], {}, "", None, {"a": {1, 2}}):
        request = result_of(call(), odd)
        findings(law, run(infer(call(arguments=odd)), execute(odd, arguments=odd), infer("It is 42.", request=request)))
        findings(law, run(infer("x", parameters={"response_format": odd, "text": odd, "tool_choice": odd})))


@every_law
def test_hostile_text_raises_nothing(law: AnyLaw) -> None:
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
        findings(law, run(infer(text, parameters=JSON, request=(user(text),)), infer(f"search({text})"), execute(text), error))


def test_every_law_has_cases() -> None:
    """No law comes without a bad and a good case."""
    assert {law.name for law in BUILT_IN} == set(CASES)
    assert all(cases.good and cases.bad for cases in CASES.values())


@pytest.mark.parametrize("law", BUILT_IN, ids=lambda law: law.name)
def test_the_docstring_names_every_label(law: AnyLaw) -> None:
    """A reader of the reference finds each label that a law states or judges with, and each label is in a case."""
    module = sys.modules[f"llmtrace.laws.{law.name}"]
    documented = set(re.findall(r"`(\w+)`", module.__doc__ or ""))
    used = {kind_of(label) for label in (*CASES[law.name].facts, *CASES[law.name].findings)}
    if law.name == "invalid_tool_call":  # its facts have the codes of violations as labels
        used -= {kind_of(label) for label in CASES[law.name].facts} - {"unknown_tool"}
    assert used <= documented
    written = _labels_in(Path(module.__file__ or ""))
    assert written <= used | {"p50", "p95", "p99", "ttft"}


def _labels_in(file: Path) -> set[str]:
    """The labels that a law's code passes to a finding or an evaluation as a literal."""
    labels: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        place = {"Finding": 1, "of_call": 1, "Evaluation": 3, "_finding": 1}.get(name)
        if place is not None and len(node.args) > place:
            choices = node.args[place]
            parts = (choices.body, choices.orelse) if isinstance(choices, ast.IfExp) else (choices,)
            labels |= {part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)}
    return labels


def test_every_law_is_documented() -> None:
    """Each has a section of the reference with its labels, and a bad and a good case."""
    parts = re.split(r"^## (\w+)$", generated()["reference/signals.md"], flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert set(sections) == {law.name for law in BUILT_IN}
    for name, section in sections.items():
        assert all(f"* **{part}** " in section for part in ("Labels", "Bad", "Good")), name


@every_law
def test_advice_is_one_sentence(law: AnyLaw) -> None:
    """What to do about a finding is said so that it can stand alone."""
    text = law.advice
    assert not text or (text[0].isupper() and text.endswith(".") and "\n" not in text)
    assert text or law not in BUILT_IN


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
    )[:-1]


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
