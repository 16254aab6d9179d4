"""The canary against a local server whose model can be changed: what it sees, what it does not, and its file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from threading import Lock
from typing import Any

import pytest

from llmtrace.canary import Baseline, Endpoint, Observed, Probe, compare
from llmtrace.canary.asking import ask_until_decided
from llmtrace.canary.baseline import observe
from llmtrace.canary.border import find_border_probes
from llmtrace.canary.compare import looks_cached
from llmtrace.canary.probes import border_candidates, read_prompts, read_tools, tool_probes
from llmtrace.canary.sample import Sample
from llmtrace.demo.server import ModelServer
from llmtrace.errors import EndpointFailed
from llmtrace.validation.check_values import check_arguments
from llmtrace.validation.tool_definitions import read_definition
from tests.servers import serving

REFUND = {
    "name": "refund",
    "parameters": {
        "type": "object",
        "properties": {
            "order_id": {"type": "string", "minLength": 8},
            "amount": {"type": "number", "exclusiveMinimum": 0},
            "kind": {"enum": ["whole", "part"]},
            "notes": {"type": "array", "items": {"$ref": "#/$defs/note"}},
        },
        "required": ["order_id", "amount", "kind", "notes"],
        "$defs": {"note": {"type": "object", "properties": {"at": {"type": "string", "format": "date"}}, "required": ["at"]}},
    },
}


class Model:
    """Answers at random, as its settings say."""

    def __init__(self) -> None:
        self.yes = 0.7
        self.words = 20
        self.valid = 0.95
        self.chance = Random(4)
        self.lock = Lock()

    def answer(self, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        text = str(messages[-1]["content"])
        with self.lock:
            if "Call the tool" in text:
                amount: Any = 4.5 if self.chance.random() < self.valid else "4.5 EUR"
                arguments = {"order_id": "KS-20457", "amount": amount, "kind": "whole", "notes": []}
                function = {"name": "refund", "arguments": json.dumps(arguments)}
                return {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "c", "type": "function", "function": function}],
                }
            if "two words" in text:
                first, second = text.rsplit(":", 1)[1].strip(" .").split(", ")
                return {"role": "assistant", "content": first if self.chance.random() < self.yes else second}
            start = "Yes," if self.chance.random() < self.yes else "No,"
            return {"role": "assistant", "content": f"{start} {'word ' * (self.words + self.chance.randrange(5))}"}


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def server(model: Model) -> Iterator[ModelServer]:
    with ModelServer(model.answer, pace=0) as server:
        yield server


PROMPTS = read_prompts("\n".join(json.dumps(f"Question {number}?") for number in range(8)), {})
TOOLS = tool_probes(read_tools(json.dumps([REFUND])), {})


def ask(server: ModelServer, probes: Sequence[Probe], times: int = 6) -> Baseline:
    return observe(Endpoint("m", server.url), probes, times)


CHANGES: dict[str, tuple[str, Callable[[Model], None]]] = {
    "answers begin otherwise": ("first word", lambda model: setattr(model, "yes", 0.05)),
    "answers are longer": ("length", lambda model: setattr(model, "words", 40)),
    "calls are invalid": ("arguments valid", lambda model: setattr(model, "valid", 0.2)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_seen_and_named(what: str, server: ModelServer, model: Model) -> None:
    name, change = CHANGES[what]
    probes = [*PROMPTS, *TOOLS] if name != "arguments valid" else TOOLS
    times = 24 if name == "arguments valid" else 6
    before = ask(server, probes, times)
    same = compare(before, ask(server, probes, times))
    assert (same.verdict, same.reasons) == ("no change", ())
    change(model)
    changed = compare(before, ask(server, probes, times))
    assert changed.verdict == "changed"
    assert name in [metric.name for metric in changed.metrics if metric.has_changed]


def test_border_probes(server: ModelServer, model: Model) -> None:
    """Only near ties are kept; a small change of the model, of which nothing else shows, moves their tokens."""
    model.yes = 0.5
    endpoint = Endpoint("m", server.url)
    probes = find_border_probes(endpoint, border_candidates())
    assert len(probes) == 10
    before = observe(endpoint, probes, 8)
    model.yes = 0.95
    changed = compare(before, ask(server, probes, 8))
    assert [(metric.name, metric.has_changed) for metric in changed.metrics] == [("border token", True)]
    model.yes = 1.0
    assert find_border_probes(endpoint, list(border_candidates())[:5]) == []


def test_another_model_is_a_change(server: ModelServer) -> None:
    before = observe(Endpoint("m-1", server.url), PROMPTS[:2], 2)
    comparison = compare(before, observe(Endpoint("m-2", server.url), PROMPTS[:2], 2))
    assert comparison.verdict == "changed"
    assert comparison.reasons == ("the endpoint names another model: m-2, before m-1",)


def test_too_few_answers_tell_nothing(server: ModelServer) -> None:
    before = ask(server, PROMPTS[:1], 1)
    comparison = compare(before, ask(server, PROMPTS[:1], 1))
    assert (comparison.verdict, comparison.reasons) == ("unknown", ("there are too few answers to see any change",))


def test_missing_answers_tell_nothing() -> None:
    probe = PROMPTS[0]
    samples = tuple(Sample("Yes,", 10 + number % 3) for number in range(40))
    before = Baseline("http://x/v1", "m", 40, (Observed(probe, samples),))
    now = Baseline("http://x/v1", "m", 40, (Observed(probe, samples[:20]),), problem="HTTP 503")
    comparison = compare(before, now)
    assert (comparison.verdict, comparison.reasons) == ("unknown", ("only 20 of 40 questions were answered: HTTP 503",))


def test_a_refused_option_is_left_out_and_named(server: ModelServer) -> None:
    """The server that refuses is a real one; what it says decides."""

    def refuse(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        raise ValueError("Unsupported parameter: temperature")

    with ModelServer(refuse, pace=0) as refusing:
        endpoint = Endpoint("m", refusing.url)
        probe = Probe("p", "prompt", ({"role": "user", "content": "hi"},), options={"temperature": 0.1})
        with pytest.raises(EndpointFailed, match="temperature"):
            endpoint.ask(probe)
        assert list(endpoint.without) == ["temperature"]
        assert endpoint.calls == 2


def test_options_are_left_out_in_parallel_calls_too() -> None:
    """Several calls may be refused for the same option before it is left out. None of them ends the canary."""

    def choosy(_: str, __: Mapping[str, str], asked: bytes) -> tuple[int, dict[str, str], bytes]:
        refused = next((name for name in ("max_tokens", "temperature") if name in json.loads(asked)), None)
        if refused is None:
            body = {"choices": [{"message": {"content": "Yes, sir"}, "finish_reason": "stop"}], "model": "m"}
            return 200, {}, json.dumps(body).encode()
        time.sleep(0.1)
        return 400, {}, json.dumps({"error": {"message": f"Unsupported parameter: '{refused}'"}}).encode()

    with serving(choosy) as url:
        probes = read_prompts("\n".join(json.dumps(f"Q{number}") for number in range(8)), {"temperature": 0, "max_tokens": 5})
        baseline = observe(Endpoint("m", f"{url}/v1"), probes, 1, parallel=8)
    assert (baseline.answered, baseline.without) == (8, ("temperature",))


def test_no_more_calls_than_allowed(server: ModelServer) -> None:
    endpoint = Endpoint("m", server.url, most_calls=3)
    with pytest.raises(EndpointFailed, match="stopped after 3 calls"):
        observe(endpoint, PROMPTS, 1, parallel=1)
    assert endpoint.calls == 3


@pytest.mark.parametrize(("status", "expected"), [(404, "/v1 at the end"), (401, "OPENAI_API_KEY"), (307, "/v1 at the end")])
def test_an_endpoint_that_refuses(status: int, expected: str) -> None:
    """It is asked once, and the message says what to do."""
    with serving(lambda *_: (status, {}, b"")) as url:
        endpoint = Endpoint("m", f"{url}/v1", key="sk-secret")
        with pytest.raises(EndpointFailed, match=rf"HTTP {status}(.|\n)*{expected}"):
            endpoint.ask(PROMPTS[0])
        assert endpoint.calls == 1


def test_an_endpoint_that_is_out_of_order_is_not_asked_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmtrace.canary.endpoint._LONGEST_WAIT", 0.01)
    with serving(lambda *_: (503, {}, b"")) as url:
        endpoint = Endpoint("m", f"{url}/v1")
        with pytest.raises(EndpointFailed, match="HTTP 503"):
            observe(endpoint, PROMPTS, 20, parallel=2)
        assert endpoint.calls < 60


def test_the_file_is_read_as_it_was_written(server: ModelServer) -> None:
    baseline = ask(server, [*PROMPTS[:2], *TOOLS], 2)
    assert Baseline.read(baseline.write()) == baseline
    json.loads(baseline.write())
    for text in ("", "[]", "{}", '{"llmtrace_canary": 1}', '{"llmtrace_canary": 9, "probes": []}'):
        with pytest.raises(ValueError, match=r"."):
            Baseline.read(text)


def test_prompts_are_read_in_three_forms() -> None:
    text = '"Hi"\n\n{"prompt": "Ho", "id": "two", "temperature": 0.2}\n{"messages": [{"role": "user", "content": "x"}]}'
    probes = read_prompts(text, {"max_tokens": 5})
    assert [(probe.id, dict(probe.options)) for probe in probes] == [
        ("line 1", {"max_tokens": 5}),
        ("two", {"max_tokens": 5, "temperature": 0.2}),
        ("line 4", {"max_tokens": 5}),
    ]
    assert len(read_prompts('"one\u2028two"\n"three\u0085four"', {})) == 2
    for bad in ("{", "[1]", "{}", '{"messages": []}', '{"prompt": 1}', '{"prompt": "a", "id": 1}\n{"prompt": "b", "id": 1}'):
        with pytest.raises(ValueError, match=r"line|two prompts"):
            read_prompts(bad, {})


def test_the_probe_of_a_tool_asks_for_a_valid_call() -> None:
    _, arguments = str(TOOLS[0].messages[0]["content"]).split("with exactly these arguments: ")
    assert check_arguments(json.loads(arguments), read_definition(REFUND)) == ()


TOOL_PROMPTS = read_prompts(
    "\n".join(json.dumps(f"Order {number}") for number in range(6)), {}, read_tools(json.dumps([REFUND]))
)


def drawn(counts: Mapping[str, int], seed: int, declines: int = 0) -> tuple[Sample, ...]:
    """Samples of one question, in any order: so many of each tool, and so many that decline in words."""
    samples = [
        Sample(f"call {tool}", 12, tool=tool, digest=f"{tool}{number}")
        for tool, count in counts.items()
        for number in range(count)
    ]
    samples += [Sample("I'm", 9, tool="", declined=True, digest=f"no{number}") for number in range(declines)]
    Random(seed).shuffle(samples)
    return tuple(samples)


def of_samples(*samples: tuple[Sample, ...], sessions: int = 1) -> Baseline:
    observed = tuple(Observed(probe, answers) for probe, answers in zip(TOOL_PROMPTS, samples, strict=False))
    return Baseline("http://x/v1", "m", len(samples[0]), observed, sessions=sessions)


def changed_metrics(before: Baseline, now: Baseline) -> list[str]:
    return [metric.name for metric in compare(before, now).metrics if metric.has_changed]


def test_another_tool_and_refusals_in_words_are_seen() -> None:
    before = of_samples(*[drawn({"refund": 26, "look_up": 4}, seed) for seed in range(6)])
    assert changed_metrics(before, of_samples(*[drawn({"refund": 25, "look_up": 5}, seed) for seed in range(6)])) == []
    other = changed_metrics(before, of_samples(*[drawn({"refund": 18, "look_up": 12}, seed) for seed in range(6)]))
    assert "usual tool chosen" in other
    declined = changed_metrics(
        before, of_samples(*[drawn({"refund": 22, "look_up": 4}, seed, declines=4) for seed in range(6)])
    )
    assert "refused in words" in declined


def test_a_cache_before_the_endpoint_is_no_change_and_no_silence(server: ModelServer, model: Model) -> None:
    """The same answer each time, at a temperature above 0: nothing can be told, also where all answers changed at once."""
    before = ask(server, PROMPTS, 6)
    assert looks_cached(before) == ""
    kept: dict[str, dict[str, Any]] = {}

    def from_cache(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return kept.setdefault(str(messages), model.answer(messages))

    with ModelServer(from_cache, pace=0) as caching:
        cached = ask(caching, PROMPTS, 6)
        cold = ask(caching, read_prompts('"Q1"\n"Q2"\n"Q3"', {"temperature": 0}), 6)
    for sides in ((before, cached), (cached, before), (cached, cached)):
        comparison = compare(*sides)
        assert comparison.verdict == "unknown"
        assert comparison.reasons[0].startswith("the answers look cached: 8 of 8 questions got the same answer each time")
    assert "8 of 8" in looks_cached(cached)
    assert looks_cached(cold) == ""  # at temperature 0 equal answers are what one expects


def test_a_change_must_exceed_what_sessions_differ_by(server: ModelServer, model: Model) -> None:
    """An endpoint that answers 40 % longer in one session of its baseline may do so again."""
    before = ask(server, PROMPTS, 6)
    model.words = 28
    longer = observe(Endpoint("m", server.url), PROMPTS, 6, session=1)
    now = ask(server, PROMPTS, 6)
    assert "length" in changed_metrics(before, now)
    both = before.joined(longer)
    assert (both.sessions, both.times, both.answered) == (2, 12, 96)
    assert "length" not in changed_metrics(both, now)
    assert Baseline.read(both.write()) == both


def test_it_asks_until_it_is_decided(server: ModelServer, model: Model) -> None:
    """A large change is seen at once; without one it asks on, as far as it may."""
    before, asked = ask(server, PROMPTS, 12), list[int]()

    def again() -> Baseline:
        asked.append(1)
        return ask(server, PROMPTS, 4)

    now, comparison = ask_until_decided(before, again, 3)
    assert (comparison.verdict, now.answered, len(asked)) == ("no change", 96, 3)
    model.words = 60
    now, comparison = ask_until_decided(before, again, 3)
    assert (comparison.verdict, now.answered) == ("changed", 32)


def test_a_baseline_of_an_older_form_is_read() -> None:
    text = of_samples(drawn({"refund": 3}, 1)).write()
    older = json.loads(text)
    older["llmtrace_canary"] = 2
    del older["sessions"]
    for sample in older["observed"][0]["samples"]:
        for name in ("digest", "tool", "declined", "session"):
            sample.pop(name, None)
    read = Baseline.read(json.dumps(older))
    assert (read.sessions, looks_cached(read)) == (1, "")
