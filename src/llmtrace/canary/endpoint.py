"""A client for an endpoint with OpenAI's chat API that asks one question at a time and measures the time of the answer.

Law: it makes at most ``most_calls`` requests, including retries. An option that the endpoint refuses is left out of later
requests and listed in `Endpoint.without`, so that a comparison can see if both sides asked with the same options.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from llmtrace.canary.probes import Probe
from llmtrace.chat_endpoint import OPENAI, AnswerTooLong, error_message, post, without_key
from llmtrace.errors import EndpointFailed
from llmtrace.exporters.forwarding.transport import retry_after
from llmtrace.model import JsonValue

_ATTEMPTS: Final = 4
_LONGEST_WAIT: Final = 30.0
_MOST_BYTES: Final = 4 << 20
_RENAMED: Final = "max_tokens"
_NEWER_NAME: Final = "max_completion_tokens"
_OPTIONAL: Final = ("logprobs", "temperature", "top_p", "seed", "tool_choice", "reasoning_effort")


class Reply(NamedTuple):
    message: Mapping[str, Any]
    finish_reason: str
    tokens: int | None
    seconds: float
    model: str
    fingerprint: str
    top_logprobs: tuple[tuple[str, float], ...] = ()
    """The likeliest first tokens with their log-probabilities; empty if not requested or not returned."""


@dataclass(eq=False, repr=False)
class Endpoint:
    model: str
    url: str = OPENAI
    """The URL up to ``/v1``."""
    key: str | None = None
    seconds: float = 60.0
    """Time limit for one answer."""
    most_calls: int = 1000
    calls: int = 0
    """Number of requests so far."""
    without: dict[str, None] = field(default_factory=dict)
    """Options that the endpoint refused, so that they are left out."""
    problem: str = ""
    """The reason why a question was not answered: the latest one."""
    _token_option: str = _RENAMED
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """Stop retries: questions in progress are not tried again."""
        self._stopped.set()

    def ask(self, probe: Probe, *, logprobs: bool = False) -> Reply | None:
        """Return the answer; None if all attempts failed. Raises EndpointFailed if trying again would be useless."""
        from requests import RequestException

        options: dict[str, JsonValue] = {"logprobs": True, "top_logprobs": 2} if logprobs else {}
        problem = ""
        for attempt in range(_ATTEMPTS):
            request, wait = self._request(probe, options), None
            self._count_call()
            begin = time.monotonic()
            try:
                response = post(self.url, self.key, request, seconds=self.seconds, most_bytes=_MOST_BYTES)
            except (AnswerTooLong, TimeoutError):
                problem = f"no whole answer within {self.seconds:g} s"
            except RequestException as error:
                problem = f"{self.url} cannot be reached: {type(error).__name__}"
            else:
                status, message = response.status, error_message(response.body)
                if 200 <= status < 300:
                    return _reply(response.body, time.monotonic() - begin)
                problem, wait = f"HTTP {status}{message}", retry_after(response.headers.get("retry-after"))
                if status in (400, 422) and self._adapts(message, request):
                    continue
                if status not in (408, 409, 425, 429) and status < 500:
                    raise EndpointFailed(without_key(f"{self.url} answered {problem}{_hint(status)}", self.key))
            if attempt + 1 < _ATTEMPTS:
                # exponential backoff with jitter, unless the endpoint says how long to wait
                usual = random.uniform(0.5, 1.0) * 2**attempt  # noqa: S311
                self._stopped.wait(min(_LONGEST_WAIT, usual if wait is None else wait))
            if self._stopped.is_set():
                break
        with self._lock:
            self.problem = without_key(problem, self.key)
        return None

    def _count_call(self) -> None:
        with self._lock:
            if self.calls >= self.most_calls:
                raise EndpointFailed(f"stopped after {self.calls:,} calls. Allow more with --max-calls N.")
            self.calls += 1

    def _request(self, probe: Probe, options: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        request: dict[str, JsonValue] = {"model": self.model, "messages": list(probe.messages), **probe.options, **options}
        if probe.tools:
            request["tools"] = list(probe.tools)
        for name in tuple(self.without):  # another thread may add one
            request.pop(name, None)
        if "logprobs" not in request:  # endpoints refuse top_logprobs without it
            request.pop("top_logprobs", None)
        if _RENAMED in request and self._token_option != _RENAMED:
            request[self._token_option] = request.pop(_RENAMED)
        return request

    def _adapts(self, message: str, request: Mapping[str, JsonValue]) -> bool:
        """Omit or rename the option that the endpoint's error message names. Returns True if asking again may help."""
        with self._lock:
            if _RENAMED in message and _RENAMED in request:
                self._token_option = _NEWER_NAME
                return True
            for name in _OPTIONAL:
                if name in message and name in request:
                    self.without[name] = None
                    return True
        return False


def _reply(body: bytes, seconds: float) -> Reply:
    try:
        completion = json.loads(body)
        choice = completion["choices"][0]
        message = choice["message"]
        tokens = (completion.get("usage") or {}).get("completion_tokens")
        if not isinstance(message, Mapping):
            raise TypeError
        return Reply(
            message,
            str(choice.get("finish_reason") or ""),
            tokens if isinstance(tokens, int) and not isinstance(tokens, bool) else None,
            seconds,
            str(completion.get("model") or ""),
            str(completion.get("system_fingerprint") or ""),
            _top_logprobs(choice),
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise EndpointFailed("its answer is not a chat completion in OpenAI's form") from None


def _top_logprobs(choice: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    try:
        tokens = choice["logprobs"]["content"][0]["top_logprobs"]
        return tuple((str(token["token"]), float(token["logprob"])) for token in tokens)
    except (KeyError, IndexError, TypeError, ValueError):
        return ()


def _hint(status: int) -> str:
    if status in (401, 403):
        return ".\nSet OPENAI_API_KEY"
    return ".\nIs there a /v1 at the end of --base-url?" if status in (404, 405) or 300 <= status < 400 else ""
