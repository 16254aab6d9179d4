"""OpenAI: the Responses API."""

from __future__ import annotations

from typing import Any

from kit import MODEL, SYSTEM, TOOL, Answer, Question, Reply, json_reply, sse_reply
from kits.openai import OpenAI
from openai_responses_server import call, events, response, text_item


class OpenAIResponses(OpenAI):
    has_choices = False

    def ask(self, client: Any, question: Question) -> Any:
        return client.responses.create(**_request(question))

    def stream(self, client: Any, question: Question) -> Any:
        return client.responses.create(**_request(question), stream=True)

    def text(self, chunk: Any) -> str:
        return str(chunk.delta) if chunk.type == "response.output_text.delta" else ""

    def whole(self, answer: Answer) -> Reply:
        return json_reply(_response(answer))

    def streamed(self, answer: Answer) -> Reply:
        return sse_reply(events(_response(answer)), named=True)


def _request(question: Question) -> dict[str, Any]:
    request = {"model": MODEL, "instructions": SYSTEM, "input": question.text, "max_output_tokens": question.max_tokens}
    return {**request, "tools": [{"type": "function", **TOOL}]} if question.tools else request


def _response(answer: Answer) -> dict[str, Any]:
    cut = answer.finish == "length"
    calls = [call(said.arguments, call_id=said.id, name=said.name) for said in answer.calls]
    usage = {
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "input_tokens_details": {"cached_tokens": answer.cached_tokens, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    return response(
        *([text_item(answer.text)] if answer.text else ()),
        *calls,
        model=MODEL,
        status="incomplete" if cut else "completed",
        incomplete_details={"reason": "max_output_tokens"} if cut else None,
        usage=usage,
    )


KIT = OpenAIResponses()
