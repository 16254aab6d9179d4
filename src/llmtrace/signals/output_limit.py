"""The limit on the length of answers is not set, or far over what the prompt ever needed: nothing stops one that runs on.

How long the answers of a prompt are is known after some of them: so it is said once for each prompt (model and system prompt)
of a run, at its tenth answer. Over runs, `llmtrace stats` suggests a limit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from llmtrace.model import Evaluation, Inference, JsonValue, Message, Span, Text
from llmtrace.signals import Signal

ANSWERS = 10
"""Answers after which it is judged."""
FAR = 20
"""How many times the longest answer a limit may be."""
LEAST = 2048
"""Tokens up to which no limit is too high."""
PROMPTS = 64
_NAMES = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "num_predict")


@dataclass(slots=True)
class Seen:
    answers: int = 0
    longest: int = 0


State: TypeAlias = "OrderedDict[tuple[str, int], Seen]"


class OutputLimit:
    name = "output_limit"
    looks_at = (Inference,)
    alone = 0

    def start(self) -> State:
        return OrderedDict()

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:
        inference = span.operation
        if not isinstance(inference, Inference) or inference.usage is None or not inference.usage.output_tokens:
            return ()
        key = (inference.request_model or "", _prompt(inference))
        seen = state.pop(key, None) or Seen()
        state[key] = seen
        if len(state) > PROMPTS:
            state.popitem(last=False)
        seen.answers += 1
        seen.longest = max(seen.longest, inference.usage.output_tokens)
        return self._judge(inference, seen) if seen.answers == ANSWERS else ()

    def _judge(self, inference: Inference, seen: Seen) -> Iterable[Evaluation]:
        limit = next((found for name in _NAMES if (found := _number(inference.parameters.get(name))) is not None), None)
        so_far = f"the longest of {seen.answers} answers to this prompt has {seen.longest:,} tokens"
        if limit is None:
            return (Evaluation(self.name, "info", f"no limit on the answer's length is set; {so_far}", "unset"),)
        if limit > max(LEAST, FAR * seen.longest):
            text = f"the limit on the answer's length is {limit:,} tokens; {so_far}"
            return (Evaluation(self.name, "info", text, "far_over", float(limit)),)
        return ()


def _prompt(inference: Inference) -> int:
    if inference.fingerprint is not None and inference.fingerprint.system is not None:
        return hash(inference.fingerprint.system)
    if inference.system:
        return hash(tuple([part.content for part in inference.system if isinstance(part, Text)]))
    first: Message | None = inference.input[0] if inference.input else None
    return hash(first.text()) if first is not None and first.role in ("system", "developer") else 0


def _number(value: JsonValue) -> int | None:
    return value if type(value) is int else None


SIGNAL: Signal = OutputLimit()
