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
from llmtrace.instrumentation._provider import note_answer, traced, traced_async
from llmtrace.instrumentation._streams import aclosing, closing

LIBRARY, DISTRIBUTION = "openai", "openai"
SUPPORTED = ">=1.66,<4"
"""Versions of the library that are tested."""
CLIENTS = {f"openai.{name}OpenAI": "" for name in ("", "Async", "Azure", "AsyncAzure")}


_CHAT, _RESPONSES, _FETCHED = Chat(), Responses(), FetchedResponses()
_COMPLETIONS, _EMBEDDINGS = Completions(), Embeddings()

_IN_CHAT = "openai.resources.chat.completions.completions"
_IN_RESPONSES = "openai.resources.responses.responses"
_IN_BETA = "openai.resources.beta.responses.responses"
_IN_COMPLETIONS = "openai.resources.completions"
_IN_EMBEDDINGS = "openai.resources.embeddings"
_CHAT_STREAMS = "openai.lib.streaming.chat._completions"
_RESPONSE_STREAMS = "openai.lib.streaming.responses._responses"

PATCHES = (
    Patch(_IN_CHAT, "Completions.create", traced(_CHAT)),
    Patch(_IN_CHAT, "Completions.parse", traced(_CHAT)),
    Patch(_IN_CHAT, "AsyncCompletions.create", traced_async(_CHAT)),
    Patch(_IN_CHAT, "AsyncCompletions.parse", traced_async(_CHAT)),
    Patch(_IN_CHAT, "_parse_chat_completion", note_answer),  # 2.x
    Patch("openai.lib._chat_completion_resources", "_parse_chat_completion", note_answer),  # 3.x
    Patch(_CHAT_STREAMS, "ChatCompletionStream.close", closing),
    Patch(_CHAT_STREAMS, "AsyncChatCompletionStream.close", aclosing),
    Patch(_IN_RESPONSES, "Responses.create", traced(_RESPONSES)),
    Patch(_IN_RESPONSES, "Responses.parse", traced(_RESPONSES)),
    Patch(_IN_RESPONSES, "Responses.retrieve", traced(_FETCHED)),
    Patch(_IN_RESPONSES, "AsyncResponses.create", traced_async(_RESPONSES)),
    Patch(_IN_RESPONSES, "AsyncResponses.parse", traced_async(_RESPONSES)),
    Patch(_IN_RESPONSES, "AsyncResponses.retrieve", traced_async(_FETCHED)),
    Patch(_IN_RESPONSES, "Responses.compact", traced(_RESPONSES)),
    Patch(_IN_RESPONSES, "AsyncResponses.compact", traced_async(_RESPONSES)),
    Patch(_IN_BETA, "Responses.create", traced(_RESPONSES)),
    Patch(_IN_BETA, "Responses.retrieve", traced(_FETCHED)),
    Patch(_IN_BETA, "AsyncResponses.create", traced_async(_RESPONSES)),
    Patch(_IN_BETA, "AsyncResponses.retrieve", traced_async(_FETCHED)),
    Patch(_IN_BETA, "Responses.compact", traced(_RESPONSES)),
    Patch(_IN_BETA, "AsyncResponses.compact", traced_async(_RESPONSES)),
    Patch(_IN_RESPONSES, "parse_response", note_answer),  # 2.x
    Patch("openai.lib._response_resources", "parse_response", note_answer),  # 3.x
    Patch(_RESPONSE_STREAMS, "ResponseStream.close", closing),
    Patch(_RESPONSE_STREAMS, "AsyncResponseStream.close", aclosing),
    Patch(_IN_COMPLETIONS, "Completions.create", traced(_COMPLETIONS)),
    Patch(_IN_COMPLETIONS, "AsyncCompletions.create", traced_async(_COMPLETIONS)),
    Patch(_IN_EMBEDDINGS, "Embeddings.create", traced(_EMBEDDINGS)),
    Patch(_IN_EMBEDDINGS, "AsyncEmbeddings.create", traced_async(_EMBEDDINGS)),
    *TOOLS,
    *_stainless.patches("openai", CLIENTS),
)
