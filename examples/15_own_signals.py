"""Quality signals of your own: one in line, one that judges in the background, an acceptance check, and a person's feedback.

python examples/15_own_signals.py
llmtrace show
"""

from __future__ import annotations

import llmtrace
from llmtrace.config import Config
from llmtrace.model import AgentInvocation, Inference, Span
from llmtrace.store import open_store
from stand_in import scripted

client = scripted("YOUR ORDER W1 IS ON ITS WAY.")


@llmtrace.signal(looks_at=Inference)
def shouting(span: Span) -> bool:
    "The answer is in capitals"
    return any(message.text().isupper() for message in span.operation.output)


@llmtrace.signal(background=True, looks_at=AgentInvocation, below=0.5)
def polite(span: Span) -> float:
    "How polite the answer is"
    return 0.9 if "please" in span.operation.output[0].text().lower() else 0.1  # a model would judge better


@llmtrace.agent(check=lambda answer: "W1" in answer or "the order is not named")
def support(task: str) -> str:
    messages = [{"role": "user", "content": task}]
    return client.chat.completions.create(model="gpt-4o", messages=messages).choices[0].message.content


llmtrace.configure()
with llmtrace.span("request") as request:
    print(support("Where is my order W1?"))

llmtrace.flush()  # the judge is waited for
llmtrace.feedback(request, score=0, comment="It need not shout at me.")
for span in open_store(Config.read().store).trace(request.trace_id).spans:
    for found in span.evaluations:
        print(f"{span.name:20} {found.severity:8} {found.name}: {found.label}")
