"""Sends a question to an endpoint with OpenAI's chat API, and returns the answer as text.

Law: one deadline for the whole exchange, however slowly the server answers.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, NamedTuple

from llmtrace.chat_endpoint import MOST_SHOWN, OPENAI, AnswerTooLong, error_message, post, without_key
from llmtrace.errors import JudgeFailed
from llmtrace.model.value import value

MOST_OUTPUT_TOKENS = 4000
"""Enough for a model that reasons before its answer; the verdict itself needs a tenth."""
_MOST_BYTES = 1 << 20
_NO_SUCH_FORMAT = frozenset({400, 404, 415, 422, 501})


class Answer(NamedTuple):
    text: str
    input_tokens: int | None = None
    output_tokens: int | None = None


@value
class Endpoint:
    model: str
    url: str = OPENAI
    """The URL up to ``/v1``."""
    key: str | None = None
    seconds: float = 60.0

    def ask(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> Answer:
        """Return the model's answer. If the server rejects the response format, ask again without one. Raises JudgeFailed."""
        outcomes: list[Answer | BaseException] = []
        end = time.monotonic() + self.seconds

        def work() -> None:
            try:
                outcomes.append(self._ask(messages, schema, end))
            except BaseException as error:
                outcomes.append(error)

        # the timeout of `requests` starts again with each byte; joining a thread holds to one deadline, and may leave it behind
        thread = threading.Thread(target=work, name="llmtrace judge", daemon=True)
        thread.start()
        thread.join(self.seconds)
        outcome = outcomes[0] if outcomes else None
        if isinstance(outcome, Answer):
            return outcome
        if isinstance(outcome, JudgeFailed):
            raise outcome
        if outcome is None or time.monotonic() >= end:
            raise JudgeFailed(f"no answer within {self.seconds:g} s")
        raise JudgeFailed(without_key(_reason(outcome), self.key)) from None

    def _ask(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], end: float) -> Answer:
        plain = {"model": self.model, "messages": list(messages)}
        form = {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": schema}}
        status, body = self._post({**plain, "response_format": form, "max_completion_tokens": MOST_OUTPUT_TOKENS}, end)
        if status in _NO_SUCH_FORMAT:
            status, body = self._post({**plain, "max_tokens": MOST_OUTPUT_TOKENS}, end)
        if not 200 <= status < 300:
            usual = ": is there a /v1 at the end of its URL?" if status in (404, 405) else ""
            usual = ", and a redirect is not followed" if 300 <= status < 400 else usual
            message = f"it answered HTTP {status}{error_message(body) or usual}"
            raise JudgeFailed(without_key(message, self.key))
        return _answer(body)

    def _post(self, question: Mapping[str, Any], end: float) -> tuple[int, bytes]:
        seconds = max(0.01, end - time.monotonic())
        try:
            return post(self.url, self.key, question, seconds=seconds, most_bytes=_MOST_BYTES)[:2]
        except AnswerTooLong:
            raise JudgeFailed("its answer is longer than any verdict") from None


def _answer(body: bytes) -> Answer:
    try:
        completion = json.loads(body)
        choice = completion["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content"), message.get("refusal")
        usage = completion.get("usage") or {}
        tokens = (_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise JudgeFailed("its answer is not a chat completion") from None
    if refusal:
        raise JudgeFailed(f"the model refused: {str(refusal)[:MOST_SHOWN]}")
    if choice.get("finish_reason") == "length":
        raise JudgeFailed(f"its answer was cut off at {MOST_OUTPUT_TOKENS} tokens")
    if not isinstance(text, (str, NoneType)):
        raise JudgeFailed("its answer is not a chat completion")
    if not text or not text.strip():
        raise JudgeFailed("its answer is empty")
    return Answer(text, *tokens)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _reason(error: BaseException) -> str:
    """Return the text of an operating system error, or else the innermost error's type."""
    seen, text = error, type(error).__name__
    for _ in range(8):
        if isinstance(seen, OSError) and seen.strerror:
            return f"it cannot be reached: {seen.strerror}"
        if type(seen).__module__.startswith(("requests", "urllib3")):
            text = type(seen).__name__
        inner = seen.__cause__ or seen.__context__
        if inner is None:
            break
        seen = inner
    return f"it cannot be reached: {text}"
