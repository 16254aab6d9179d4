"""``inference`` and ``retrieval``: blocks that record calls by hand if no instrumentor covers them.

Law: such calls are validated and evaluated as if an instrumentor had recorded them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from llmtrace.codec.messages import read_definitions, read_messages, read_output
from llmtrace.config import suggest_keywords
from llmtrace.content import to_json
from llmtrace.decorators.operations import Block
from llmtrace.decorators.options import check_text
from llmtrace.errors import ConfigurationError
from llmtrace.guards.completion import read_usage
from llmtrace.model import Inference, JsonValue, Message, Operation, Retrieval, Text, ToolDefinition, Usage, replace
from llmtrace.recorder.guard import guard
from llmtrace.recorder.open_span import OpenSpan

logger = logging.getLogger("llmtrace")

InferenceKind: TypeAlias = Literal["chat", "text_completion", "generate_content"]
S = TypeVar("S", bound="_ManualBlock")


class _ManualBlock(OpenSpan):
    """A ``with`` or ``async with`` block around one call."""

    def __init__(self, operation: Operation, name: str | None) -> None:
        super().__init__(None)
        self._operation = operation
        self._name = name
        self._block: Block | None = None

    def _completed(self) -> Operation:
        raise NotImplementedError

    def __enter__(self: S) -> S:
        if self._block is not None:
            raise ConfigurationError(f"{type(self).__name__}: this block was used already; make one for each call")
        self._block = Block(self._operation, self._name, opened=self)
        self._recording = self._block.step.recording
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._block is not None:
            self._operation = guard(self._completed) or self._operation
            if error is not None and isinstance(self._operation, Inference) and self._operation.stream:
                self._operation = replace(self._operation, partial=True)
            self._block.step.operation = self._operation
            self._block.leave(error)

    async def __aenter__(self: S) -> S:
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.__exit__(kind, error, trace)


class ManualInference(_ManualBlock):
    """The block of `inference`. Set the model's answer before the block ends. All fields are optional."""

    output: object = None
    """The answer: a text, a message or a list of messages, as dicts or objects of OpenAI's or Anthropic's form."""
    usage: Usage | Mapping[str, Any] | None = None
    """Tokens: a `Usage`, ``{"input_tokens": 12, "output_tokens": 5}``, or OpenAI's ``prompt_tokens``, ``completion_tokens``."""
    response_model: str | None = None
    """The model that answered, if it differs from the requested one."""
    response_id: str | None = None
    """The server's id of the answer."""
    finish_reason: str | None = None
    """Why the model stopped: ``stop``, ``length``, ``tool_calls`` …"""
    cost_usd: float | None = None
    """US dollars, if the server bills the call; default, computed from the usage and the price list."""

    def first_chunk(self) -> None:
        """Report the first chunk of a stream. The time to first chunk is the time since the block began."""
        if self._recording is not None and isinstance(self._operation, Inference):
            seconds = time.perf_counter() - self._started
            self._operation = replace(self._operation, stream=True, time_to_first_chunk=seconds)
            guard(self._recording.first_chunk)

    def __enter__(self: S) -> S:
        self._started = time.perf_counter()
        return super().__enter__()

    def _completed(self) -> Operation:
        assert isinstance(self._operation, Inference)
        output = _messages(self.output, "assistant")
        reasons = (self.finish_reason,) if self.finish_reason else tuple(filter(None, (item.finish_reason for item in output)))
        return replace(
            self._operation,
            output=output,
            usage=_usage(self.usage),
            response_model=self.response_model or self._operation.response_model,
            response_id=self.response_id,
            finish_reasons=reasons,
            cost_usd=self.cost_usd,
        )


@suggest_keywords
def inference(
    provider: str,
    *,
    model: str | None = None,
    messages: str | Iterable[Any] = (),
    tools: Iterable[Any] = (),
    parameters: Mapping[str, Any] | None = None,
    operation: InferenceKind = "chat",
    stream: bool = False,
    name: str | None = None,
) -> ManualInference:
    """Record a model call that no instrumentor covers, as a ``with`` or ``async with`` block around it::

        with llmtrace.inference("my-gateway", model="m-1", messages=messages, tools=tools) as call:
            answer = post(messages)
            call.output, call.usage = answer["message"], answer["usage"]

    It is validated and evaluated like an instrumented call: tool calls in ``call.output`` are checked against ``tools``, the
    call counts for budgets, and its cost is computed. ``provider``: the server of the model, by its name in the GenAI
    conventions (``openai``, ``anthropic``) or a name of your own. ``messages``: a text, or messages as dicts or objects of
    OpenAI's or Anthropic's form. ``tools``: a `Tools`, or tool definitions of either form. ``parameters``: other options of the
    request (``temperature``, ``max_tokens``, ``top_p`` …). ``operation``: ``chat`` (default), ``text_completion`` or
    ``generate_content``. ``stream``: True for a stream; see `ManualInference.first_chunk`. ``name``: of the span; default, the
    operation and the model.

    Raises `ConfigurationError` for a wrong value, and `BudgetExceeded` when the block begins and a budget is spent.
    """
    if not isinstance(provider, str) or not provider:
        raise ConfigurationError(f"inference({provider!r}): expected the provider's name, as in inference('openai')")
    check_text("inference", "model", model)
    check_text("inference", "name", name)
    if operation not in get_args(InferenceKind):
        raise ConfigurationError(f"inference(operation={operation!r}): expected one of {', '.join(get_args(InferenceKind))}")
    if not isinstance(stream, bool):
        raise ConfigurationError(f"inference(stream={stream!r}): expected True or False")
    if parameters is not None and not isinstance(parameters, Mapping):
        raise ConfigurationError(f"inference(parameters={parameters!r}): expected a mapping")
    request = Inference(
        provider,
        operation,
        request_model=model,
        input=guard(_messages, messages, "user") or (),
        tools=_definitions(tools),
        parameters=to_json(dict(parameters or {})),
        stream=stream,
    )
    return ManualInference(request, name)


class ManualRetrieval(_ManualBlock):
    """The block of `retrieval`. Set the documents before the block ends."""

    documents: Sequence[Any] | None = None
    """The documents: texts, or objects with ``id``, ``content``, ``score`` …; an empty list if the search found none."""

    def _completed(self) -> Operation:
        assert isinstance(self._operation, Retrieval)
        if self.documents is None:
            return self._operation
        values: list[JsonValue] = [to_json(document) for document in self.documents]
        objects = [value if isinstance(value, dict) else {"content": value} for value in values]  # per conventions
        return replace(self._operation, documents=objects)


@suggest_keywords
def retrieval(
    query: str,
    *,
    source: str | None = None,
    top_k: int | None = None,
    provider: str | None = None,
    model: str | None = None,
    name: str | None = None,
) -> ManualRetrieval:
    """Record a search for documents, as a ``with`` or ``async with`` block around it::

        with llmtrace.retrieval("refund policy", source="handbook", top_k=5) as search:
            search.documents = index.search("refund policy", 5)

    It is evaluated like an instrumented search: one that finds nothing is a finding (`empty_result`), and the values in its
    documents are grounded. ``source``: the name or id of the index; ``top_k``: number of documents wanted; ``provider``: the
    server of the index; ``model``: the model that embeds or ranks; ``name``: of the span. Raises `ConfigurationError` for a
    wrong value.
    """
    if not isinstance(query, str):
        raise ConfigurationError(f"retrieval({query!r}): expected the text that is searched for")
    for option, value in (("source", source), ("provider", provider), ("model", model), ("name", name)):
        check_text("retrieval", option, value)
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
        raise ConfigurationError(f"retrieval(top_k={top_k!r}): expected a number of documents, 1 or more")
    request = Retrieval(source, query, top_k=top_k, provider=provider, request_model=model)
    return ManualRetrieval(request, name)


def _messages(content: object, role: str) -> tuple[Message, ...]:
    """Read messages of any form; ``role`` is used for a message without a role."""
    if content is None:
        return ()
    if isinstance(content, str):
        return (Message(role, (Text(content),)),)
    if isinstance(content, (Message, Mapping)) or not isinstance(content, Iterable) or hasattr(content, "role"):
        content = [content]
    messages: list[Message] = []
    for item in content:
        if isinstance(item, Message):
            messages.append(item)
        else:
            read = read_output if role == "assistant" else lambda value: read_messages(value, "user")
            messages += read([to_json(item)]) or ()
    return tuple(messages)


def _definitions(tools: Iterable[Any]) -> tuple[ToolDefinition, ...]:
    if not isinstance(tools, Iterable) or isinstance(tools, (str, bytes, Mapping)):
        raise ConfigurationError(f"inference(tools={tools!r}): expected Tools or a list of tool definitions")
    definitions: list[ToolDefinition] = []
    for tool in tools:
        read = (tool,) if isinstance(tool, ToolDefinition) else read_definitions([to_json(tool)])
        if read is None:
            raise ConfigurationError(
                f"inference(tools=[{tool!r}]): expected a tool definition as a dict; a function goes into Tools"
            )
        definitions += read
    return tuple(definitions)


def _usage(usage: Usage | Mapping[str, Any] | None) -> Usage | None:
    if usage is None or isinstance(usage, Usage):
        return usage
    counts: JsonValue = to_json(usage)
    if not isinstance(counts, dict):
        logger.warning("llmtrace: inference: usage is %s; expected a mapping with input_tokens and output_tokens", type(usage))
        return None
    return read_usage(counts)
