"""OpenAI: chat completions, the Responses API, plain completions and embeddings. Each endpoint stands in a file of its own
(``_openai_chat``, ``_openai_responses``, ``_openai_completions``, ``_openai_embeddings``), and so do the tools that the client
runs (``_openai_tools``); the engine is `_provider`, what is shared with the sister SDKs `_stainless`.

Works with openai 1.66 and later, with Azure's client classes, and with every server that speaks the protocol.
"""

from __future__ import annotations

from llmtrace.instrumentation import _stainless
from llmtrace.instrumentation._openai_chat import Chat
from llmtrace.instrumentation._openai_completions import Completions
from llmtrace.instrumentation._openai_embeddings import Embeddings
from llmtrace.instrumentation._openai_responses import FetchedResponses, Responses
from llmtrace.instrumentation._openai_tools import TOOLS
from llmtrace.instrumentation._patches import Patch
from llmtrace.instrumentation._provider import note_answer
from llmtrace.instrumentation._stainless import both
from llmtrace.instrumentation._streams import aclosing, closing

LIBRARY, DISTRIBUTION = "openai", "openai"
SUPPORTED = ">=1.66,<4"
CLIENTS = {f"openai.{name}OpenAI": "" for name in ("", "Async", "Azure", "AsyncAzure")}


_CHAT, _RESPONSES, _FETCHED = Chat(), Responses(), FetchedResponses()

_IN_CHAT = "openai.resources.chat.completions.completions"
_IN_RESPONSES = "openai.resources.responses.responses"
_IN_BETA = "openai.resources.beta.responses.responses"
_CHAT_STREAMS = "openai.lib.streaming.chat._completions"
_RESPONSE_STREAMS = "openai.lib.streaming.responses._responses"

PATCHES = (
    *both(_IN_CHAT, "Completions.create", _CHAT),
    *both(_IN_CHAT, "Completions.parse", _CHAT),
    Patch(_IN_CHAT, "_parse_chat_completion", note_answer),  # 2.x
    Patch("openai.lib._chat_completion_resources", "_parse_chat_completion", note_answer),  # 3.x
    Patch(_CHAT_STREAMS, "ChatCompletionStream.close", closing),
    Patch(_CHAT_STREAMS, "AsyncChatCompletionStream.close", aclosing),
    *both(_IN_RESPONSES, "Responses.create", _RESPONSES),
    *both(_IN_RESPONSES, "Responses.parse", _RESPONSES),
    *both(_IN_RESPONSES, "Responses.retrieve", _FETCHED),
    *both(_IN_RESPONSES, "Responses.compact", _RESPONSES),
    *both(_IN_BETA, "Responses.create", _RESPONSES),
    *both(_IN_BETA, "Responses.retrieve", _FETCHED),
    *both(_IN_BETA, "Responses.compact", _RESPONSES),
    Patch(_IN_RESPONSES, "parse_response", note_answer),  # 2.x
    Patch("openai.lib._response_resources", "parse_response", note_answer),  # 3.x
    Patch(_RESPONSE_STREAMS, "ResponseStream.close", closing),
    Patch(_RESPONSE_STREAMS, "AsyncResponseStream.close", aclosing),
    *both("openai.resources.completions", "Completions.create", Completions()),
    *both("openai.resources.embeddings", "Embeddings.create", Embeddings()),
    *TOOLS,
    *_stainless.patches("openai", CLIENTS),
)
