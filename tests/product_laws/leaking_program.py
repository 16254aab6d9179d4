"""A program with a secret of each kind in everything that it hands to llmtrace; `PLACES` names where.

Run with a JSON document on stdin: the options of ``configure()``, and the texts to plant, by place.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from llmtrace.model.reviews import ReviewRequest

PLACES = (
    "user message", "system prompt", "image url", "answer", "stream", "called tool", "arguments", "broken arguments",
    "wrong argument", "argument names", "result", "result names", "result texts", "tool chunks", "exception",
    "exception password", "exception info", "exception note", "exception cause", "http error",
    "task", "agent answer", "step argument", "span name",
    "attribute", "event", "tag", "user", "conversation", "context attribute", "outcome", "feedback", "feedback label",
    "feedback user", "header", "query", "metadata", "tool description", "default", "examples", "enum", "parameter description",
    "template", "template value", "retrieval query", "document", "document id", "checkpoint", "review question",
    "review payload", "held call", "decision", "manual message", "manual answer", "stop sequence", "fingerprint_env",
    "resource", "service name",
)  # fmt: skip


class Refused(Exception):
    """An exception of a client library, which keeps what was sent."""

    def __init__(self, text: str, password: str, info: str) -> None:
        super().__init__(text)
        self.password = password
        self.info = {"request": info}


def main() -> None:
    document = json.load(sys.stdin)
    planted: dict[str, list[str]] = document["planted"]
    os.environ["FINGERPRINT"] = "\n".join(planted["fingerprint_env"])
    os.environ["OTEL_RESOURCE_ATTRIBUTES"] = ",".join(
        f"note{number}={quote(text)}" for number, text in enumerate(planted["resource"])
    )
    import llmtrace

    def decide(request: ReviewRequest) -> llmtrace.Decision:
        return llmtrace.Decision("approved", by="Ada", reason="\n".join(planted["decision"]))

    options = document["options"]
    options.setdefault("notify", decide)
    llmtrace.configure(fingerprint_env=["FINGERPRINT"], service_name=" ".join(planted["service name"]) or "shop", **options)
    for number in range(max(map(len, planted.values()))):
        run(llmtrace, {place: texts[number] for place, texts in planted.items() if number < len(texts)})
    if document.get("feedback"):
        for number, comment in enumerate(planted["feedback"]):
            llmtrace.feedback(
                llmtrace.last(),
                score=0.0,
                comment=comment,
                label=planted["feedback label"][number],
                user=planted["feedback user"][number],
            )
    llmtrace.flush()
    llmtrace.shutdown()


def run(llmtrace: Any, secret: Mapping[str, str]) -> None:
    """One run with one secret at each place."""
    from tests.instrumentation.openai_server import Server, completion, error, message, streamed, text_chunks, tool_call, whole

    def look_up(order_id: str = secret["default"]) -> Any:
        if order_id == "raise":
            failure = Refused(secret["exception"], secret["exception password"], secret["exception info"])
            if hasattr(failure, "add_note"):
                failure.add_note(secret["exception note"])
            raise failure from ValueError(secret["exception cause"])
        return {secret["result names"]: 1, "text": secret["result"], "texts": ["a", secret["result texts"]]}

    def chunks(order_id: str) -> Iterator[str]:
        yield from pieces(secret["tool chunks"])

    def held(order_id: str) -> str:
        return order_id

    schema = {
        "type": "object",
        "properties": {
            "order_id": {
                "type": "string",
                "description": secret["parameter description"],
                "examples": [secret["examples"]],
                "default": secret["default"],
            },
            "way": {"enum": ["a", secret["enum"]]},
        },
    }
    look_up_tool = llmtrace.tool(look_up, description=secret["tool description"], schema=schema)
    chunk_tool = llmtrace.tool(chunks)
    held_tool = llmtrace.tool(held, review=True)
    tools = llmtrace.Tools(look_up_tool, chunk_tool, held_tool)
    calls = [
        tool_call(json.dumps({"order_id": secret["arguments"]}), id="a"),
        tool_call(f'{{"order_id": {secret["broken arguments"]}', id="b"),
        tool_call(json.dumps({"order_id": [secret["wrong argument"]]}), id="c"),
        tool_call(json.dumps({secret["argument names"]: 1}), id="d"),
        tool_call('{"order_id": "raise"}', id="e"),
        tool_call('{"order_id": "x"}', id="f", name="chunks"),
        tool_call(json.dumps({"order_id": secret["held call"]}), id="g", name="held"),
        tool_call("{}", id="h", name=secret["called tool"]),
    ]
    client = Server(
        whole(completion(message(None, tool_calls=calls), finish="tool_calls")),
        error(400, text=secret["http error"]),
        streamed(text_chunks(secret["stream"])),
        whole(completion(message(secret["answer"]))),
    ).client()
    create: Callable[..., Any] = client.chat.completions.create

    @llmtrace.agent
    def support(task: str) -> str:
        template = secret["template"].replace("{", "{{").replace("}", "}}")
        picture = {"type": "image_url", "image_url": {"url": secret["image url"]}}
        messages: list[Any] = [
            {"role": "system", "content": secret["system prompt"]},
            {"role": "user", "content": [{"type": "text", "text": secret["user message"]}, picture]},
            {"role": "user", "content": llmtrace.prompt("greet", f"{template} {{who}}", who=secret["template value"])},
        ]
        answer = create(
            model="gpt-4o",
            messages=messages,
            tools=tools.openai(),
            stop=[secret["stop sequence"]],
            metadata={"note": secret["metadata"]},
            extra_headers={"X-Note": " ".join(secret["header"].split("\n"))},
            extra_query={"note": secret["query"]},
        )
        messages += [answer.choices[0].message, *tools.run(answer.choices[0].message)]
        with contextlib.suppress(Exception):
            create(model="gpt-4o", messages=messages)
        list(create(model="gpt-4o", messages=messages, stream=True))
        current = llmtrace.current_span()
        current.set_attribute("shop.note", secret["attribute"])
        current.add_event("note", {"note": secret["event"]})
        with llmtrace.retrieval(secret["retrieval query"], source="shelf") as found:
            found.documents = [{"id": secret["document id"], "content": secret["document"]}]
        with llmtrace.inference("mine", model="m", messages=secret["manual message"]) as manual:
            manual.output = secret["manual answer"]
        llmtrace.checkpoint("state", {"note": secret["checkpoint"]})
        llmtrace.review(secret["review question"], {"note": secret["review payload"]}).wait()
        create(model="gpt-4o", messages=messages)
        llmtrace.outcome("failure", reason=secret["outcome"])
        return secret["agent answer"]

    def step(argument: str) -> str:
        return support(secret["task"]) if argument else ""

    attributes = {"note": secret["context attribute"]}
    with llmtrace.context(user=secret["user"], conversation=secret["conversation"], tags=[secret["tag"]], **attributes):
        llmtrace.span(name=secret["span name"])(step)(secret["step argument"])


def pieces(text: str, size: int = 7) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


if __name__ == "__main__":
    main()
