"""vLLM's ``llm_request``: the engine's side of a model call, with its times and token counts but without content.

Recognised by its scope and name. It has the span kind ``server``: below a span of the caller it is the same call, which is
counted once (`codec.reconcile`); on its own, it is the inference. The engine's latencies get llmtrace's names. If the trace id
was lost on the way to the server, the request id, which llmtrace chose, tells which span it belongs below.
"""

from __future__ import annotations

import re

from llmtrace import semconv as sc
from llmtrace.codec import fields
from llmtrace.codec.dialects._dialect import Dialect, SpanReader
from llmtrace.codec.dialects._shapes import usage_of_counts
from llmtrace.model import Inference, Link, Operation, RawSpan, replace

_TIMES = {
    "gen_ai.latency.time_in_queue": sc.ENGINE_QUEUE,
    "gen_ai.latency.time_in_model_prefill": sc.ENGINE_PREFILL,
    "gen_ai.latency.time_in_model_decode": sc.ENGINE_DECODE,
}
_REQUEST = "gen_ai.request.id"
_SPAN = "llm_request"
_OURS = re.compile(rf"(?:^|-){sc.REQUEST_ID_MARK}-([0-9a-f]{{32}})-([0-9a-f]{{16}})(?:-|$)")


class Vllm(Dialect):
    name = "vllm"
    marks = frozenset({_SPAN})

    def knows(self, raw: RawSpan) -> bool:
        return raw.scope.name.startswith("vllm") and raw.name == _SPAN and sc.OPERATION_NAME not in raw.attributes

    def read(self, reader: SpanReader) -> Operation | None:
        reader.raw = _below_caller(reader.raw)
        request = reader.text(_REQUEST)
        reader.rename(_TIMES)
        count = reader.count("gen_ai.request.n")
        input_tokens = reader.count("gen_ai.usage.prompt_tokens", sc.USAGE_INPUT_TOKENS)
        output_tokens = reader.count("gen_ai.usage.completion_tokens", sc.USAGE_OUTPUT_TOKENS)
        first, decode = (
            reader.seconds("gen_ai.latency.time_to_first_token"),
            fields.as_seconds(reader.rest.get(sc.ENGINE_DECODE)),
        )
        if first is not None:
            reader.rest[sc.ENGINE_FIRST_TOKEN] = first
        if decode is not None and output_tokens is not None and output_tokens > 1:
            # decoding begins after the first token
            reader.rest[sc.ENGINE_PER_TOKEN] = decode / (output_tokens - 1)
        return Inference(
            "vllm",
            sc.TEXT_COMPLETION if (request or "").startswith("cmpl-") else sc.CHAT,
            request_model=reader.text(sc.REQUEST_MODEL, sc.RESPONSE_MODEL),
            response_id=request,
            parameters={} if count is None else {"choice.count": count},
            usage=usage_of_counts(input_tokens, output_tokens),
            time_to_first_chunk=first,
        )


def _below_caller(raw: RawSpan) -> RawSpan:
    """Return the span as a child of our span that its request id names, with a link to its former parent."""
    request_id = raw.attributes.get(_REQUEST)
    caller = _OURS.search(request_id) if isinstance(request_id, str) else None
    if caller is None or caller.groups() == (raw.trace_id, raw.parent_id):
        return raw
    if caller[1] == raw.trace_id and raw.parent_id is not None:
        return raw  # a gateway's spans lie between
    lost = () if raw.parent_id is None else (Link(raw.trace_id, raw.parent_id),)
    return replace(raw, trace_id=caller[1], parent_id=caller[2], links=(*raw.links, *lost))


DIALECT = Vllm()
