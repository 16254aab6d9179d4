"""`llmtrace.instrument(client)` records the calls of one client, whichever library it is of."""

from __future__ import annotations

import pytest
from kit import Answer, Question
from server import Server
from way import Way, settled

import llmtrace
from llmtrace.recorder import collected
from llmtrace.testing import capture

SKIPPED = ("bedrock", "google_genai", "google_interactions", "litellm")
"""Libraries whose clients cannot be told apart, or that have none."""


def test_one_client_only(way: Way) -> None:
    kit = way.kit
    with Server(*[kit.whole(Answer())] * 2, *[kit.streamed(Answer())] * 2) as server:

        async def main() -> None:
            watched, ignored = (kit.client(server.url, asynchronous=way.asynchronous) for _ in range(2))
            if kit.name in SKIPPED:
                with pytest.raises(TypeError):
                    llmtrace.instrument(watched)
                return
            assert llmtrace.instrument(watched) is watched
            for client in (watched, ignored):
                await settled(way.ask(client, Question()))
            for client in (watched, ignored):
                await way.read(await way.open(client, Question()))
            for client in (watched, ignored):
                await settled(kit.close(client))

        with capture(instrument=()) as captured:
            way.run(main())
            collected.settle()
        if kit.name not in SKIPPED:
            assert len(captured.spans) == 2
