"""Sends one request to an endpoint with OpenAI's chat API, for the judge, the canary and the checks of a vLLM server.

Law: an answer is read up to a limit, redirects are not followed, and no message of ours contains the key. `requests` is used
because OpenTelemetry's exporters use it too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

OPENAI: Final = "https://api.openai.com/v1"
MOST_SHOWN: Final = 200
"""Characters of an endpoint's own message that a message of ours quotes, at most."""


class Response(NamedTuple):
    status: int
    body: bytes
    headers: Mapping[str, str]
    """By name, in upper or lower case."""

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Return the body's JSON value; None for any other body."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class AnswerTooLong(Exception):
    """The answer has more bytes than may be read."""


def post(url: str, key: str | None, request: Mapping[str, Any], *, seconds: float, most_bytes: int) -> Response:
    """Ask for a chat completion. ``url``: up to ``/v1``. Raises as `send` does."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return send(f"{url.rstrip('/')}/chat/completions", request, headers, seconds=seconds, most_bytes=most_bytes)


def send(url: str, content: Any, headers: Mapping[str, str], *, seconds: float, most_bytes: int) -> Response:
    """Send a POST with ``content`` as JSON, or a GET if it is None. ``seconds``: for the whole answer.

    Raises `AnswerTooLong`, TimeoutError, and what `requests` raises.
    """
    import requests

    end = time.monotonic() + seconds
    with requests.Session() as session:
        session.auth = lambda request: request  # otherwise a key from ~/.netrc would replace ours
        response = session.request(
            "GET" if content is None else "POST",
            url,
            data=None if content is None else json.dumps(content).encode(),
            headers={"user-agent": "llmtrace", "content-type": "application/json", **headers},
            timeout=seconds,
            allow_redirects=False,
            stream=True,
        )
        body = b""
        for piece in response.iter_content(1 << 14):
            body += piece
            if len(body) > most_bytes:
                raise AnswerTooLong
            if time.monotonic() > end:
                raise TimeoutError
    return Response(response.status_code, body, response.headers)


def error_message(body: bytes) -> str:
    """Return ": " and the message of an error in OpenAI's format, or "" if there is none."""
    try:
        return f": {str(json.loads(body)['error']['message'])[:MOST_SHOWN]}"
    except (ValueError, TypeError, LookupError, RecursionError):
        return ""


def without_key(message: str, key: str | None) -> str:
    return message.replace(key, "***") if key else message
