"""vLLM's ``llm_request``: the engine's side of a model call, by its times and token counts, without a word of content.

Known by its scope. It has the span kind ``server``: below a span of the caller's it is the same call, which counts once
(`codec.calls`); on its own, it is the inference. Its latencies in the engine stay attributes.
"""

from __future__ import annotations

from llmtrace import semconv as sc
from llmtrace.codec.dialects._reading import Reading
from llmtrace.model import Inference, Operation, RawSpan, Usage


def knows(raw: RawSpan) -> bool:
    return raw.scope.name.startswith("vllm") and raw.name == "llm_request" and sc.OPERATION_NAME not in raw.attributes


def read(reading: Reading) -> Operation | None:
    if sc.SAME_CALL in reading.rest:
        return None
    request = reading.text("gen_ai.request.id")
    given = {"max_tokens": reading.count, "temperature": reading.number, "top_p": reading.number}
    found = {name: take(sc.REQUEST_PREFIX + name) for name, take in given.items()}
    found["choice.count"] = reading.count("gen_ai.request.n")
    counts = (
        reading.count("gen_ai.usage.prompt_tokens", sc.USAGE_INPUT_TOKENS),
        reading.count("gen_ai.usage.completion_tokens", sc.USAGE_OUTPUT_TOKENS),
    )
    return Inference(
        "vllm",
        sc.TEXT_COMPLETION if (request or "").startswith("cmpl-") else sc.CHAT,
        request_model=reading.text(sc.REQUEST_MODEL, sc.RESPONSE_MODEL),
        response_id=request,
        parameters={name: value for name, value in found.items() if value is not None},
        usage=None if counts == (None, None) else Usage(*counts),
        time_to_first_chunk=reading.number("gen_ai.latency.time_to_first_token"),
    )
