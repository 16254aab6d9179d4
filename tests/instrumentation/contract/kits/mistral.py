"""mistralai: chat.complete and chat.stream. Its calls come in one piece, also in a stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kit import MODEL, Answer, Kit, Question, Reply, json_reply, pieces_of, sse_reply
from kits.openai import _finish, _request
from openai_server import chunk, completion, message

try:
    from mistralai.client import Mistral as Client
    from mistralai.client.utils import BackoffStrategy, RetryConfig
except ImportError:  # 1.x
    from mistralai import Mistral as Client
    from mistralai.utils import BackoffStrategy, RetryConfig

_PAUSE = 300
"""Milliseconds."""


class Mistral(Kit):
    name = "mistral"
    library = "mistralai"
    provider = "mistral_ai"
    has_choices = True

    def client(self, url: str, *, asynchronous: bool = False, retries: int = 0) -> Any:
        # The SDK tries until a time has passed: here, that of so many pauses.
        pauses = BackoffStrategy(_PAUSE, _PAUSE, 1.0, retries * _PAUSE - _PAUSE // 2)
        if hasattr(pauses, "jitter_ms"):
            pauses.jitter_ms = 0
        again = RetryConfig("backoff", pauses, True) if retries else None
        client: Any = Client(api_key="none", server_url=url, retry_config=again)
        client.is_async = asynchronous
        return client

    def close(self, client: Any) -> Any:
        configuration = client.sdk_configuration
        return (configuration.async_client.aclose if client.is_async else configuration.client.close)()

    def ask(self, client: Any, question: Question) -> Any:
        chat = client.chat
        return (chat.complete_async if client.is_async else chat.complete)(**_request(question))

    def stream(self, client: Any, question: Question) -> Any:
        chat = client.chat
        return (chat.stream_async if client.is_async else chat.stream)(**_request(question))

    def text(self, chunk: Any) -> str:
        return "".join(choice.delta.content or "" for choice in chunk.data.choices if choice.index == 0)

    def whole(self, answer: Answer) -> Reply:
        messages = [message(answer.text, **_calls(answer))] * answer.n
        return json_reply(completion(*messages, finish=_finish(answer), model=MODEL, usage=_usage(answer)))

    def streamed(self, answer: Answer) -> Reply:
        *chunks, last = [piece for index in range(answer.n) for piece in _chunks(answer, index)]
        return sse_reply([*chunks, {**last, "usage": _usage(answer)}], done=b"data: [DONE]\n\n")

    def error(self, status: int) -> Reply:
        error = {"object": "error", "message": f"refused with {status}", "type": "error", "code": str(status)}
        return json_reply(error, status)


def _calls(answer: Answer) -> dict[str, Any]:
    called = [
        {"id": call.id, "index": index, "function": {"name": call.name, "arguments": call.arguments}}
        for index, call in enumerate(answer.calls)
    ]
    return {"tool_calls": called} if called else {}


def _chunks(answer: Answer, index: int) -> Iterator[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": ""},
        *({"content": piece} for piece in pieces_of(answer.text)),
    ]
    for delta in deltas:
        yield chunk(delta, index=index, model=MODEL)
    yield chunk({"content": "", **_calls(answer)}, finish=_finish(answer), index=index, model=MODEL)


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "num_cached_tokens": answer.cached_tokens,
    }


KIT = Mistral()
