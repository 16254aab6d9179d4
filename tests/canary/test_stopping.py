"""A canary that fails or is interrupted does not wait for attempts that would still be made."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from llmtrace.canary.baseline import observe
from llmtrace.canary.endpoint import Endpoint
from llmtrace.canary.probes import read_prompts
from llmtrace.errors import EndpointFailed
from tests.servers import serving


def busy(_: str, __: Mapping[str, str], asked: bytes) -> tuple[int, dict[str, str], bytes]:
    """Asks to be asked again in half a minute; a question with "key" is refused, a moment later."""
    if is_refused := b"key" in asked:
        time.sleep(0.5)
    return 401 if is_refused else 503, {"retry-after": "30"}, b""


def test_a_refusal_ends_the_waiting_of_all_threads() -> None:
    begin = time.monotonic()
    with serving(busy) as url, pytest.raises(EndpointFailed, match="401"):
        observe(Endpoint("m", f"{url}/v1"), read_prompts('"busy"\n"key"', {}), 1, parallel=2)
    assert time.monotonic() - begin < 15
