"""``LLM`` and ``LLMEngine`` in this process: a real engine, whose answers are compared with what was recorded of them."""

from __future__ import annotations

import inspect
import json
import logging
from typing import Any

import pytest
from vllm import LLM, SamplingParams
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.llm_engine import LLMEngine

from llmtrace import semconv
from llmtrace.instrumentation import _vllm_answers, _vllm_engine
from llmtrace.instrumentation import vllm as ours
from llmtrace.model import Custom, Embedding, Inference, Span
from llmtrace.testing import Captured, capture

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "maximum": 7}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
ASK = [{"role": "user", "content": "How is the weather?"}]
TIMES = (
    semconv.ENGINE_QUEUE,
    semconv.ENGINE_PREFILL,
    semconv.ENGINE_DECODE,
    semconv.ENGINE_PER_TOKEN,
    semconv.ENGINE_FIRST_TOKEN,
)


def sampling(seed: int = 1, **more: Any) -> SamplingParams:
    return SamplingParams(**({"temperature": 1.0, "seed": seed, "max_tokens": 12} | more))


def inferences(captured: Captured) -> list[Span]:
    return [span for span in captured.spans if isinstance(span.operation, Inference)]


def says(llm: Any, text: str, **more: Any) -> Any:
    """Have the model answer a chat with exactly this text."""
    held = StructuredOutputsParams(choice=[text])
    (output,) = llm.chat(ASK, sampling(structured_outputs=held, max_tokens=400), use_tqdm=False, **more)
    assert output.outputs[0].text == text
    return output


def test_a_batch_is_a_span_for_each_prompt(llm: Any, captured: Captured) -> None:
    """Below one span of the call: what went in and came out, tokens, and the engine's times, as vLLM itself gives them."""
    prompts = ["The quick brown fox", {"prompt": "What is the weather in Paris?"}, {"prompt_token_ids": [65, 66, 67]}]
    outputs = llm.generate(prompts, [sampling(1), sampling(2, n=2), sampling(3, stop=["e", "a", " "])], use_tqdm=False)
    batch = captured.trace.root
    assert (batch.name, batch.operation) == ("LLM.generate", Custom({"prompts": 3}))
    spans = sorted(inferences(captured), key=lambda span: span.operation.response_id)
    assert [span.parent_id for span in spans] == [batch.span_id] * 3
    for span, output in zip(spans, outputs, strict=True):
        did = span.operation
        assert (did.provider, did.request_model, did.operation) == ("vllm", "tiny", "text_completion")
        assert [message.text() for message in did.output] == [one.text for one in output.outputs]
        assert did.finish_reasons == tuple(one.finish_reason for one in output.outputs)
        assert did.usage.input_tokens == len(output.prompt_token_ids)
        assert did.usage.output_tokens == sum(len(one.token_ids) for one in output.outputs)
        assert all(span.attributes[name] >= 0 for name in TIMES)
        assert batch.start <= span.start <= span.end <= batch.end
    assert spans[0].operation.input[0].text() == "The quick brown fox"
    assert spans[1].operation.parameters["choice.count"] == 2
    assert spans[2].operation.parameters["stop_sequences"] == ["e", "a", " "]
    stopped = outputs[2].outputs[0].stop_reason
    assert spans[2].attributes.get(semconv.ENGINE_STOP_REASONS) == (None if stopped is None else [str(stopped)])


def test_one_prompt_is_one_span(llm: Any, captured: Captured) -> None:
    """Without a batch around it; of a prompt that was there before, the cached tokens are told."""
    for _ in range(2):
        llm.generate("The quick brown fox jumps over the lazy dog. " * 8, sampling(), use_tqdm=False)
    first, second = captured.traces
    assert [len(first.spans), len(second.spans)] == [1, 1]
    assert (second.root.operation.usage.cache_read_input_tokens or 0) >= 32


def test_what_the_program_gets_is_the_same(llm: Any) -> None:
    """With llmtrace on and off: the same classes, texts and tokens, in the same order; and the methods are themselves again."""
    before = LLM.generate

    def seen() -> list[Any]:
        outputs = llm.generate(["a", "b", "c"], sampling(), use_tqdm=False)
        return [(type(one), one.prompt, one.outputs[0].text, list(one.outputs[0].token_ids)) for one in outputs]

    off = seen()
    with capture(instrument=("vllm",)):
        assert LLM.generate is not before
        assert seen() == off
    assert LLM.generate is before


@pytest.mark.parametrize(
    ("said", "codes"),
    [
        ('{"city": "Paris", "days": 3}', []),
        ('{"city": 7}', ["wrong_type"]),
        ('{"city": "Paris", "days": 9}', ["out_of_range"]),
        ('["Paris"]', ["not_an_object"]),
        ('{"city": "Par\nis"}', ["malformed_json"]),
        ('{"city": "Paris"}}', ["malformed_json"]),
    ],
)
def test_calls_in_the_text_of_a_chat_are_judged(llm: Any, captured: Captured, said: str, codes: list[str]) -> None:
    """Read in the Hermes form, with their arguments as the model wrote them."""
    says(llm, f'<tool_call>\n{{"name": "get_weather", "arguments": {said}}}\n</tool_call>', tools=[WEATHER])
    (span,) = inferences(captured)
    (call,) = span.operation.output[0].tool_calls()
    assert call.name == "get_weather"
    assert [violation.code for violation in span.violations] == codes
    assert [found.name for found in span.evaluations if found.severity == "error"] == ["invalid_tool_call"] * bool(codes)


def test_what_is_no_call_stays_text(llm: Any, captured: Captured) -> None:
    """A block without a name is left in the text, and is told as a leaked call; the whole call beside it is a call."""
    says(llm, 'Hm.\n<tool_call>\n{"nam\n</tool_call>', tools=[WEATHER])
    (span,) = inferences(captured)
    assert [type(part).__name__ for part in span.operation.output[0].parts] == ["Text"]


def test_vllms_own_parser_is_asked_where_it_is_named(llm: Any) -> None:
    """It gives what vLLM's server would give: all calls, or none at all where one of them is no JSON."""
    one = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris", "days": 9}}\n</tool_call>'
    broken = '\n<tool_call>\n{"name": "get_weather", "arguments": {"city": \n</tool_call>'
    with capture(instrument=("vllm",), redact=False, vllm_tool_parser="hermes") as captured:
        says(llm, one, tools=[WEATHER])
        says(llm, one + broken, tools=[WEATHER])
    whole, dropped = inferences(captured)
    assert [violation.pointer for violation in whole.violations] == ["/days"]
    assert dropped.operation.output[0].tool_calls() == ()
    assert "leaked_tool_call" in {found.name for found in dropped.evaluations}


def test_structured_outputs_are_validated(llm: Any, captured: Captured) -> None:
    """What holds to its schema, choice or expression has no violation; what was cut has one."""
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}
    held = [
        StructuredOutputsParams(json=schema),
        StructuredOutputsParams(choice=["yes", "no"]),
        StructuredOutputsParams(regex="[a-z]{3}-[0-9]{2}"),
        StructuredOutputsParams(regex="[a-z]{9}-[0-9]{40}"),
    ]
    limits = (200, 10, 20, 4)
    asked = [sampling(structured_outputs=one, max_tokens=limit) for one, limit in zip(held, limits, strict=True)]
    outputs = llm.generate(["a", "b", "c", "d"], asked, use_tqdm=False)
    json.loads(outputs[0].outputs[0].text)
    spans = sorted(inferences(captured), key=lambda span: span.operation.response_id)
    assert [[violation.where for violation in span.violations] for span in spans] == [[], [], [], ["output"]]


def test_enqueued_prompts_end_when_they_are_done(llm: Any, captured: Captured) -> None:
    """By ``wait_for_completion``, below the span of the call that enqueued them, which ends with the last."""
    llm.enqueue(["a", "b"], sampling(), use_tqdm=False)
    llm.enqueue_chat(ASK, sampling(), use_tqdm=False)
    assert captured.spans == ()
    outputs = llm.wait_for_completion(use_tqdm=False)
    assert len(outputs) == len(inferences(captured)) == 3
    assert sorted(trace.root.name for trace in captured.traces) == ["LLM.enqueue", "chat tiny"]


def test_a_refused_prompt_is_a_failed_span(llm: Any, captured: Captured) -> None:
    """Alone it has a span of its own; in a batch the batch has failed, and what was added before is ended, aborted."""
    for prompts in ("x " * 3000, ["fine", "x " * 3000]):
        with pytest.raises(Exception, match="maximum context length"):
            llm.generate(prompts, sampling(), use_tqdm=False)
    alone, batch = captured.traces
    assert alone.root.failure is not None
    assert batch.root.failure is not None
    (added,) = [span for span in batch.spans if isinstance(span.operation, Inference)]
    assert added.operation.finish_reasons == ("abort",)
    assert not llm.llm_engine.has_unfinished_requests()


@pytest.mark.parametrize("kind", list(RequestOutputKind), ids=lambda kind: kind.name)
def test_the_engine_itself(llm: Any, captured: Captured, kind: Any) -> None:
    """``add_request`` and ``step``, for every kind of outputs: text and tokens are counted once. What is aborted says so."""
    engine = llm.llm_engine
    for name in ("one", "two"):
        engine.add_request(name, "The quick", sampling(output_kind=kind, n=2, max_tokens=8))
    engine.abort_request(["two"])
    texts: dict[int, str] = {}
    while engine.has_unfinished_requests():
        for output in engine.step():
            for one in output.outputs:
                texts[one.index] = texts.get(one.index, "") + one.text if kind.name == "DELTA" else one.text
    two, one = inferences(captured)
    assert (two.operation.finish_reasons, two.operation.partial) == (("abort",), True)
    assert [message.text() for message in one.operation.output] == [texts[0], texts[1]]
    assert one.operation.usage.output_tokens == 16
    assert (one.operation.time_to_first_chunk is not None) == (kind.name != "FINAL_ONLY")


def test_without_metrics_one_line_says_how_to_have_them(
    llm: Any, captured: Captured, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once for the process, however many calls there are; the rest of the span is whole."""
    monkeypatch.setattr(_vllm_answers, "_hinted", False)
    for part in (llm.llm_engine, llm.llm_engine.output_processor):
        monkeypatch.setattr(part, "log_stats", False)
    with caplog.at_level(logging.WARNING, "llmtrace"):
        llm.generate(["a", "b"], sampling(), use_tqdm=False)
    assert [record.getMessage().count("disable_log_stats=False") for record in caplog.records] == [1]
    assert not any(name in span.attributes for span in inferences(captured) for name in TIMES)
    assert all(span.operation.usage.output_tokens for span in inferences(captured))


def test_the_arguments_are_where_they_are_looked_for() -> None:
    """By position, as in 0.32 and 0.33: a version that moves them shows here."""
    added = list(inspect.signature(LLMEngine.add_request).parameters)
    assert added[1:8] == [
        "request_id",
        "prompt",
        "params",
        "arrival_time",
        "lora_request",
        "tokenization_kwargs",
        "trace_headers",
    ]
    assert list(inspect.signature(AsyncLLM.generate).parameters)[1:4] == ["prompt", "sampling_params", "request_id"]
    assert list(inspect.signature(AsyncLLM.encode).parameters)[1:4] == ["prompt", "pooling_params", "request_id"]
    takers = ((LLM.generate, "prompts"), (LLM.enqueue, "prompts"), (LLM.chat, "messages"), (LLM.enqueue_chat, "messages"))
    for method, first in takers:
        assert list(inspect.signature(method).parameters)[1] == first


HOOKS = [
    (_vllm_engine.Batch, "read"),
    (_vllm_engine.Batch, "finished"),
    (_vllm_engine.Prompt, "see"),
    (_vllm_engine.Prompt, "_end"),
    (_vllm_engine.AddPrompt, "start_attributes"),
    (_vllm_engine.Generate, "inject_headers"),
    (_vllm_engine.Generate, "request"),
    (_vllm_engine.AddPrompt, "on_response"),
    (_vllm_answers.OutputReader, "feed"),
    (_vllm_answers.OutputReader, "fields"),
    (_vllm_answers, "timings"),
    (ours, "_batch"),
    (ours, "_failed"),
]


@pytest.mark.guard_may_log
@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: f"{hook[0].__name__.rpartition('.')[2]}.{hook[1]}")
def test_a_broken_hook_is_not_noticed(llm: Any, captured: Captured, monkeypatch: pytest.MonkeyPatch, hook: Any) -> None:
    """Whatever of ours raises, the program gets its answers, and its own errors."""

    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(*hook, broken)
    outputs = llm.generate(["a", "b"], sampling(), use_tqdm=False)
    assert [len(one.outputs[0].token_ids) for one in outputs] == [12, 12]
    (output,) = llm.chat(ASK, sampling(), tools=[WEATHER], use_tqdm=False)
    assert output.outputs[0].text
    with pytest.raises(Exception, match="maximum context length"):
        llm.generate("x " * 3000, sampling(), use_tqdm=False)


def test_a_beam_search_is_one_span(llm: Any, captured: Captured) -> None:
    """Its many small requests are its own affair."""
    from vllm.sampling_params import BeamSearchParams

    llm.beam_search([{"prompt": "The"}], BeamSearchParams(beam_width=2, max_tokens=3), use_tqdm=False)
    assert [span.name for span in captured.spans] == ["LLM.beam_search"]


def test_logprobs_become_numbers(llm: Any, captured: Captured) -> None:
    """Mean and least, as vLLM gives them, and where in the text the model was unsure."""
    (output,) = llm.generate("The", sampling(logprobs=1), use_tqdm=False)
    made = output.outputs[0]
    own = [of[token].logprob for token, of in zip(made.token_ids, made.logprobs, strict=True)]
    (span,) = inferences(captured)
    assert span.attributes[semconv.LOGPROB_MEAN] == pytest.approx(sum(own) / len(own))
    assert span.attributes[semconv.LOGPROB_MIN] == pytest.approx(min(own))
    low = span.attributes[semconv.LOGPROB_LOW]
    assert all(choice == 0 and 0 <= start < end <= len(made.text) for choice, start, end in zip(*[iter(low)] * 3, strict=True))


def test_vectors_and_scores_are_one_span_a_call(options: dict[str, Any], captured: Captured) -> None:
    """With the tokens that were read, and the length of a vector; no vector is kept."""
    pooler = LLM(**options, runner="pooling")
    vectors = pooler.embed(["The quick brown", "fox"], use_tqdm=False)
    scores = pooler.score("fox", ["dog", "fox"], use_tqdm=False)
    embedded, scored = captured.spans
    assert isinstance(embedded.operation, Embedding)
    assert embedded.operation.dimensions == len(vectors[0].outputs.embedding)
    assert embedded.operation.usage.input_tokens == sum(len(one.prompt_token_ids) for one in vectors)
    assert (scored.name, scored.operation.arguments["count"]) == ("LLM.score", len(scores))
