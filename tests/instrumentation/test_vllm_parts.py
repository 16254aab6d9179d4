"""What the instrumentor of vLLM does with texts and numbers. With a real engine it is driven in ``tests/real_vllm``."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrace import semconv
from llmtrace.config import Config
from llmtrace.evaluation import Evaluator
from llmtrace.instrumentation import _vllm_engine, vllm
from llmtrace.instrumentation._logprobs import Confidence
from llmtrace.instrumentation._openai_chat import Chat
from llmtrace.instrumentation._vllm_answers import read_hermes
from llmtrace.model import Custom, Inference, Message, Span, Text, ToolCall, Usage
from llmtrace.reading.result_form import is_cut_json
from llmtrace.recorder import active
from llmtrace.testing import capture

CALL = '<tool_call>\n{{"name": "look_up", "arguments": {}}}\n</tool_call>'


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (CALL.format('{"id": 7}'), (ToolCall("look_up", {"id": 7}, "call_0"),)),
        ("So.\n" + CALL.format("[1]"), (Text("So."), ToolCall("look_up", "[1]", "call_0"))),
        (CALL.format('{"a": 1, "a": 2}'), (ToolCall("look_up", '{"a": 1, "a": 2}', "call_0"),)),
        (CALL.format("{") + CALL.format("{}"), (ToolCall("look_up", "{", "call_0"), ToolCall("look_up", {}, "call_1"))),
        ('<tool_call>{"arguments": {}, "name": "f"}', (ToolCall("f", {}, "call_0"),)),
        ("<tool_call>\n{}\n</tool_call>", (Text("<tool_call>\n{}\n</tool_call>"),)),
        ("", ()),
    ],
)
def test_the_hermes_form(text: str, parts: tuple[object, ...]) -> None:
    """Calls keep the arguments as they were written; what has no name stays text."""
    assert tuple(read_hermes(text)) == parts


PIECES = [*'{}[]":,\\ \n', "a", "<tool_call>", "</tool_call>", '"name"', '"arguments"']


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_any_text_is_read(text: str) -> None:
    """Nothing raises; a text without a mark is the text."""
    parts = list(read_hermes(text))
    if "<tool_call>" not in text:
        assert parts == ([Text(text)] if text else [])


def test_unlikely_tokens_are_found_in_the_text() -> None:
    """Three in a row make a stretch, by its place; two do not, nor do tokens that are far apart."""
    confidence = Confidence()
    tokens = [
        ("The ", -0.1),
        ("year ", -0.2),
        ("1", -3.0),
        ("8", -2.0),
        ("7", -4.0),
        (" was", -0.1),
        (" a", -9.0),
        (" b", -9.0),
    ]
    for token, logprob in tokens:
        confidence.add(0, token, logprob)
    attributes = confidence.attributes(["The year 187 was a b"])
    assert attributes[semconv.LOGPROB_LOW] == [0, 9, 12]
    assert attributes[semconv.LOGPROB_MIN] == -9.0
    assert attributes[semconv.LOGPROB_MEAN] == pytest.approx(-27.4 / 8)
    assert Confidence().attributes([]) == {}


@pytest.mark.parametrize(
    ("parameters", "text", "codes"),
    [
        ({"structured_outputs": {"choice": ["yes", "no"]}}, "no", []),
        ({"structured_outputs": {"choice": ["yes", "no"]}}, "nope", ["not_allowed"]),
        ({"structured_outputs": {"regex": "[a-z]+-[0-9]{2}"}}, "etf-33", []),
        ({"guided_regex": "[a-z]+-[0-9]{2}"}, "etf-3", ["bad_format"]),
        ({"structured_outputs": {"json": '{"type": "object", "required": ["a"]}'}}, "{}", ["missing"]),
        ({"structured_outputs": {"json_object": True}}, "[]", ["wrong_type"]),
        ({"structured_outputs": {"grammar": "root ::= 'a'"}}, "b", []),
    ],
)
def test_structured_outputs(parameters: dict[str, object], text: str, codes: list[str]) -> None:
    """What vLLM was told to hold an answer to is checked, by whatever way it was told."""
    inference = Inference("vllm", parameters=parameters, output=(Message("assistant", (Text(text),)),))
    evaluator = Evaluator(())
    judged = evaluator.step(evaluator.start(), Span("0" * 32, "0" * 16, "chat", 0, 1, operation=inference))
    assert [violation.code for violation in judged.violations] == codes


def test_too_much_is_not_cut() -> None:
    """A brace too many, as vLLM's streaming parsers leave, is no sign of a cut."""
    assert is_cut_json('{"a": {"b": 1}')
    assert not is_cut_json('{"a": {"b": 1}}}')


def test_vllm_is_not_imported() -> None:
    """Neither by llmtrace, nor by its instrumentor, nor by turning it on."""
    program = (
        "import sys, llmtrace; from llmtrace.instrumentation import vllm; llmtrace.configure(store='off', instrument=['vllm']);"
        "assert not {name for name in sys.modules if name.partition('.')[0] in ('vllm', 'torch')}"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_only_servers_of_the_programs_own_are_told_our_id() -> None:
    """By ``X-Request-Id``: not OpenAI itself, not a server that is not known, and never in place of the program's own."""
    recorder = SimpleNamespace(config=Config())
    recording = SimpleNamespace(trace_id="a" * 32, span_id="b" * 16, recorder=recorder)
    client = SimpleNamespace(_custom_headers={})

    def sent(host: str | None, headers: dict[str, str], provider: str = "openai") -> dict[str, str]:
        call: Any = SimpleNamespace(fields={"provider": provider, "server_address": host}, client=client, recording=recording)
        return Chat().extra_headers(call, headers)

    ours = {"x-request-id": f"llmtrace-{'a' * 32}-{'b' * 16}"}
    assert sent("gpu.internal", {}) == ours
    assert sent("api.openai.com", {}) == sent(None, {}) == sent("api.groq.com", {}, "groq") == {}
    assert sent("gpu.internal", {"X-Request-ID": "mine"}) == {}
    for host in ("localhost", "127.0.0.1", "::1", "10.0.0.7", "192.168.1.2", "100.64.0.1", "gpu", "llm.ml.svc", "box.local"):
        assert sent(host, {}) == ours, host
    for host in ("api.z.ai", "managed-inference-api-proxy.crusoecloud.com", "acct.snowflakecomputing.com", "8.8.8.8", ""):
        assert sent(host, {}) == {}, host
    with capture(request_id_hosts=("LLM.example.com",)):
        configured = active()
        assert configured is not None
        recorder.config = configured.config
        assert sent("llm.example.com", {}) == ours
        assert sent("other.example.com", {}) == {}


class FakeEngine:
    """As much of ``LLMEngine`` as the instrumentor looks at."""

    model_config = SimpleNamespace(served_model_name="tiny")

    def __init__(self) -> None:
        self.waiting: list[str] = []

    def add_request(self, request_id: str, prompt: Any, params: Any) -> str:
        if prompt == "too long":
            raise ValueError("too long")
        self.waiting.append(request_id)
        return f"internal-{request_id}"

    def step(self) -> list[Any]:
        sequence = SimpleNamespace(
            index=0, text="On its way.", token_ids=[1, 2], logprobs=None, finish_reason="stop", stop_reason=None
        )
        times = SimpleNamespace(
            queued_ts=1.0,
            scheduled_ts=2.0,
            first_token_ts=3.0,
            last_token_ts=5.0,
            num_generation_tokens=2,
            first_token_latency=2.0,
        )
        return [
            SimpleNamespace(
                request_id=self.waiting.pop(0),
                prompt_token_ids=[7, 8, 9],
                num_cached_tokens=1,
                outputs=[sequence],
                metrics=times,
                finished=True,
            )
        ]


def generate(prompts: list[Any]) -> Any:
    """``LLM.generate`` over the engine, both wrapped."""
    engine, params = FakeEngine(), SimpleNamespace(max_tokens=5, temperature=0.5)

    def run(batch: list[Any]) -> None:
        for number, prompt in enumerate(batch):
            _vllm_engine.adding(engine.add_request, engine, (str(number), prompt, params), {})
        while engine.waiting:
            _vllm_engine.stepping(engine.step, engine, (), {})

    return vllm.batched("LLM.generate")(run, SimpleNamespace(llm_engine=engine), (prompts,), {})


def test_prompts_of_a_batch_end_in_their_steps() -> None:
    """Each prompt is a span below that of the call, whose end is seen when the call returns."""
    with capture(instrument=()) as captured:
        generate(["Where is order 7?", "And 8?"])
        first, second, batch = captured.spans
    assert (batch.name, batch.operation) == ("LLM.generate", Custom({"prompts": 2}))
    assert {first.parent_id, second.parent_id} == {batch.span_id}
    assert isinstance(first.operation, Inference)
    assert first.operation.input == (Message("user", (Text("Where is order 7?"),)),)
    assert first.operation.output == (Message("assistant", (Text("On its way."),), finish_reason="stop"),)
    assert (first.operation.usage, first.operation.request_model) == (Usage(3, 2, 1), "tiny")
    assert first.operation.parameters == {"temperature": 0.5, "max_tokens": 5}
    assert first.attributes[semconv.ENGINE_QUEUE] == 1.0


def test_a_prompt_that_is_refused() -> None:
    """Its span and the one of the call have failed; the other prompt's, which never got an answer, has not."""
    with capture(instrument=()) as captured, pytest.raises(ValueError, match="too long"):
        generate(["Hello", "too long"])
    assert [span.failure.type for span in captured.spans if span.failure] == ["ValueError", "ValueError"]
