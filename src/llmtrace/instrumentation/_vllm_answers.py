"""What vLLM answers: put together from its outputs of any kind, told at any moment.

An engine gives outputs that hold all there is so far (``CUMULATIVE``), only what is new (``DELTA``), or comes once, whole
(``FINAL_ONLY``). Law: whichever it is, text and tokens are counted once, for each choice.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from llmtrace import semconv
from llmtrace.instrumentation._logprobs import Confidence
from llmtrace.instrumentation._provider import Fields
from llmtrace.instrumentation._streams import Reader
from llmtrace.instrumentation._vllm_tools import CallReader
from llmtrace.model import JsonValue, Message, Part, Text, Usage
from llmtrace.recorder.guard import guard

logger = logging.getLogger("llmtrace")

ABORTED = "abort"


class _Choice:
    """One sequence of an answer."""

    __slots__ = ("finish", "logprobs", "stop", "text", "tokens")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.tokens: list[int] = []
        self.logprobs: list[Any] = []
        self.finish: str | None = None
        self.stop: int | str | None = None

    def add(self, output: Any, *, delta: bool) -> None:
        if not delta:
            self.text, self.tokens, self.logprobs = [], [], []
        self.text.append(output.text)
        self.tokens.extend(output.token_ids)
        if output.logprobs is not None:
            self.logprobs.extend(output.logprobs)
        self.finish = output.finish_reason or self.finish
        self.stop = self.stop if output.stop_reason is None else output.stop_reason


class OutputReader(Reader):
    """`Reader` of ``RequestOutput``s. ``calls``: reads tool calls from the text, if tools were offered."""

    __slots__ = ("_calls", "_choices", "_delta", "_last", "_latest")

    def __init__(self, *, delta: bool = False, calls: CallReader | None = None) -> None:
        self._delta = delta
        self._calls = calls
        self._choices: dict[int, _Choice] = {}
        self._last: Any = None
        self._latest: dict[int, Any] = {}
        """By choice, the last output that holds all so far: it is only read at the end."""

    def feed(self, output: Any) -> None:
        self._last = output
        if output.finished and output.metrics is None:
            hint_once()
        for sequence in output.outputs:
            if self._delta:
                choice = self._choices.get(sequence.index)
                if choice is None:
                    choice = self._choices[sequence.index] = _Choice()
                choice.add(sequence, delta=True)
            else:
                self._latest[sequence.index] = sequence

    def fields(self) -> Fields:
        """Return the fields of the `Inference`, as far as seen."""
        last = self._last
        if last is None:
            return {}
        for index, output in self._latest.items():
            choice = self._choices[index] = _Choice()
            choice.add(output, delta=False)
        choices = [self._choices[index] for index in sorted(self._choices)]
        reasons = tuple([choice.finish or ("error" if last.finished else "") for choice in choices])
        fields: Fields = {
            "output": tuple([self._message(choice) for choice in choices]),
            "usage": _usage(last, choices),
            "attributes": {**timings(last.metrics), **_stop_reasons(choices), **_confidence(choices)},
        }
        if all(reasons):
            fields["finish_reasons"] = reasons
        if last.finished:
            fields["partial"] = ABORTED in reasons
        return fields

    def _message(self, choice: _Choice) -> Message:
        text = "".join(choice.text)
        parts: Sequence[Part] | None = None
        if self._calls is not None:
            parts = guard(self._calls.read, text)
        if parts is None:
            parts = (Text(text),) if text else ()
        return Message("assistant", tuple(parts), finish_reason=choice.finish)


def _usage(last: Any, choices: Sequence[_Choice]) -> Usage:
    prompt = last.prompt_token_ids
    output_tokens = sum([len(choice.tokens) for choice in choices])
    written = getattr(last, "num_cache_creation_tokens", None)
    return Usage(
        None if prompt is None else len(prompt),
        output_tokens,
        cache_read_input_tokens=last.num_cached_tokens,
        cache_write_input_tokens=written or None,
    )


def _stop_reasons(choices: Sequence[_Choice]) -> dict[str, JsonValue]:
    """Return the stop string or token that ended each choice, if it is not the model's own end token."""
    reasons = [str(choice.stop) for choice in choices if choice.stop is not None]
    return {semconv.ENGINE_STOP_REASONS: reasons} if reasons else {}


def _confidence(choices: Sequence[_Choice]) -> dict[str, JsonValue]:
    confidence = Confidence()
    for number, choice in enumerate(choices):
        if choice.logprobs:
            guard(_tell, confidence, number, choice)
    return confidence.attributes()


def _tell(confidence: Confidence, number: int, choice: _Choice) -> None:
    for token, alternatives in zip(choice.tokens, choice.logprobs, strict=False):
        chosen = alternatives.get(token)
        if chosen is not None:
            confidence.add(number, chosen.decoded_token or "", chosen.logprob)
    confidence.fit(number, "".join(choice.text))


def timings(metrics: Any) -> dict[str, JsonValue]:
    """Return a request's times in seconds as the engine measured them; nothing if it keeps no metrics."""
    if metrics is None:
        return {}
    queued, scheduled = metrics.queued_ts, metrics.scheduled_ts
    first, last, tokens = metrics.first_token_ts, metrics.last_token_ts, metrics.num_generation_tokens
    times: dict[str, JsonValue] = {}
    if queued and scheduled >= queued:
        times[semconv.ENGINE_QUEUE] = scheduled - queued
    if scheduled and first >= scheduled:
        times[semconv.ENGINE_PREFILL] = first - scheduled
    if first and last >= first:
        times[semconv.ENGINE_DECODE] = last - first
        if tokens > 1:
            times[semconv.ENGINE_PER_TOKEN] = (last - first) / (tokens - 1)
    if metrics.first_token_latency:
        times[semconv.ENGINE_FIRST_TOKEN] = metrics.first_token_latency
    if getattr(metrics, "num_preemptions", 0):
        times[semconv.ENGINE_PREEMPTIONS] = metrics.num_preemptions
    return times


_hinted = False


def hint_once() -> None:
    """Log once that the engine keeps no request metrics, and how to turn them on."""
    global _hinted
    if not _hinted:
        _hinted = True
        logger.warning(
            "llmtrace: this vLLM engine keeps no request metrics, so its spans lack queue, prefill and decode times. "
            "Make it with LLM(..., disable_log_stats=False) to have them."
        )
