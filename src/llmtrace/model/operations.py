"""Operations of spans: one class per operation of the GenAI conventions, and `Custom` for everything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TypeAlias, Union

from llmtrace.model.messages import JsonValue, Message, Part, ToolDefinition
from llmtrace.model.receipts import Receipt
from llmtrace.model.value import value


@value
class Usage:
    """Token counts of one inference. Totals include their parts: input includes cached, audio and images, output includes
    reasoning, audio and images; what was written to a cache includes what stays there for an hour.

    None means that the provider did not say; it is never turned into 0. Of audio, images and the hour, which most calls have
    nothing of, None also means none.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    reasoning_output_tokens: int | None = None
    cache_write_1h_input_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    image_input_tokens: int | None = None
    image_output_tokens: int | None = None


@value
class Fingerprint:
    """Digests (16 hex digits of SHA-256 each) of the parts of a request that shape its answer; see `llmtrace.fingerprints`."""

    system: str | None = None
    tools: str | None = None
    parameters: str | None = None
    output: str | None = None
    """Digest of the requested form of the answer (its JSON Schema), which is also one of the parameters."""
    prompts: tuple[str, ...] = ()
    """Name and digest of each template that `llmtrace.prompt` filled for this call: ``support 0123456789abcdef``."""


CALLED = frozenset({"tool_call", "tool_calls", "tool_use", "function_call"})
"""Finish reasons of answers that ask for tools."""
CUT = frozenset({"length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"})
"""Finish reasons of answers that end where a limit was reached."""


@value
class Inference:
    """One call of a model: request, response, and timing."""

    provider: str
    operation: str = "chat"
    """chat, text_completion or generate_content."""
    request_model: str | None = None
    system: tuple[Part, ...] = ()
    """System instructions that are separate from the messages."""
    input: tuple[Message, ...] = ()
    output: tuple[Message, ...] = ()
    """One message per choice, in order."""
    tools: tuple[ToolDefinition, ...] = ()
    parameters: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    """Other parameters of the request, by the conventions' names without their prefix (temperature, top_p, max_tokens, seed,
    stop_sequences, choice.count, frequency_penalty …), or else by the provider's own name (tool_choice, response_format …).
    Parameters that the request does not have are absent."""
    previous_response_id: str | None = None
    """Set if the provider stores earlier context that is not visible here."""
    response_id: str | None = None
    response_model: str | None = None
    finish_reasons: tuple[str, ...] = ()
    system_fingerprint: str | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    """US dollars; None if the price is unknown."""
    stream: bool = False
    partial: bool = False
    """True when a stream was left or broke before its end."""
    time_to_first_chunk: float | None = None
    """Seconds from the request to the first chunk of the stream."""
    chunks: int | None = None
    attempts: int | None = None
    """HTTP requests that the client made for this call, retries included; None if unknown."""
    server_address: str | None = None
    server_port: int | None = None
    fingerprint: Fingerprint | None = None
    status: str | None = None
    """State of the answer if the provider reports one: queued, in_progress, completed, incomplete, failed, cancelled. An answer
    made in the background is queued or in_progress, and fetched later (`FetchResponse`)."""

    @property
    def model(self) -> str | None:
        """The model that answered, or the requested one if that is unknown. All counts and names use it."""
        return self.response_model or self.request_model

    @property
    def alias(self) -> str | None:
        """The requested model, if another one answered."""
        return self.request_model if self.request_model != self.model else None

    @property
    def title(self) -> str:
        """Name of the call in lists, trees and causes: ``chat gpt-4o``, by its `model`."""
        return f"{self.operation} {self.model or ''}".rstrip()

    @property
    def calls_tools(self) -> bool:
        """True if the model asks for a tool, by its messages or, if these were not stored, by its finish reason."""
        return not CALLED.isdisjoint(self.finish_reasons) or any(message.tool_calls() for message in self.output)

    @property
    def is_continued(self) -> bool:
        """True if the request continues context that the provider stores: the model saw more than is visible here."""
        return self.previous_response_id is not None or "conversation" in self.parameters


@value
class ToolExecution:
    """One run of a tool, or the refusal to run it (``executed`` False)."""

    name: str
    arguments: JsonValue = None
    """As requested: a dict, or the raw text if it was not a JSON object."""
    result: JsonValue = None
    has_result: bool = False
    """Distinguishes a null result from no result."""
    call_id: str | None = None
    definition: ToolDefinition | None = None
    executed: bool = True
    inferred: bool = False
    """True if the call id or the arguments were taken from a pending call of the model that matches this execution."""
    repaired: JsonValue = None
    """The arguments that the tool received if they were repaired first; else None."""
    type: str = "function"
    skill: str | None = None
    """The agent skill that the tool loads, reads or runs."""
    skill_resource: str | None = None
    """The file or script of the skill."""
    receipt: Receipt | None = None
    """What reading the change back found; None if nobody read it back."""

    @property
    def subject(self) -> str:
        """What follows the operation in the span's name: the tool, the skill and its resource."""
        return " ".join(filter(None, (self.name, self.skill, self.skill_resource)))


@value
class AgentInvocation:
    name: str
    description: str | None = None
    input: tuple[Message, ...] = ()
    output: tuple[Message, ...] = ()


@value
class Workflow:
    name: str
    input: tuple[Message, ...] = ()
    output: tuple[Message, ...] = ()


@value
class Plan:
    agent_name: str | None = None


@value
class Retrieval:
    data_source_id: str | None = None
    query: str | None = None
    documents: JsonValue = None
    top_k: int | None = None
    provider: str | None = None
    request_model: str | None = None
    """The model that ranks the documents."""
    server_address: str | None = None
    server_port: int | None = None


@value
class Embedding:
    provider: str
    request_model: str | None = None
    response_model: str | None = None
    dimensions: int | None = None
    usage: Usage | None = None
    server_address: str | None = None
    server_port: int | None = None
    attempts: int | None = None
    """As in `Inference`."""

    @property
    def model(self) -> str | None:
        """As in `Inference`."""
        return self.response_model or self.request_model


@value
class Memory:
    """A search or change of a memory store. ``operation`` is search_memory, create_memory, update_memory …"""

    operation: str
    store_id: str | None = None
    record_id: str | None = None
    query: str | None = None
    records: JsonValue = None
    provider: str | None = None


@value
class FetchResponse:
    """Fetching an answer that an earlier `Inference` asked for. Its tokens are not counted here."""

    provider: str
    response_id: str | None = None
    response_model: str | None = None
    status: str | None = None
    """As in `Inference`."""
    output: tuple[Message, ...] = ()
    finish_reasons: tuple[str, ...] = ()
    partial: bool = False
    """True when a stream was left or broke before its end."""
    attempts: int | None = None
    """As in `Inference`."""
    server_address: str | None = None
    server_port: int | None = None


@value
class Review:
    """A wait for a person before a call or a step. The result is in ``decision``.

    Ids, texts and digests are those of the store's table of reviews. Times are in nanoseconds since the Unix epoch.
    """

    question: str
    """The question; for a tool call, the tool's name."""
    review_id: str | None = None
    tool: str | None = None
    """The tool whose call was held; None for a question of the program (`llmtrace.review`)."""
    call_id: str | None = None
    reason: str | None = None
    """Why it was held."""
    payload: JsonValue = None
    """The content for the reviewer: the call's arguments, or the payload of the program's question."""
    digest: str | None = None
    """Keyed digest of the payload before redaction."""
    decision: str | None = None
    """approved, edited, rejected, answered, timed_out, unattended; pending if the run ended first; None while it waits."""
    decided_by: str | None = None
    decided_at: int | None = None
    note: str | None = None
    """The reason that the person gave."""
    value: JsonValue = None
    """Edited: the arguments that ran in place of the payload. Answered: what the person said."""

    @property
    def outcome(self) -> str:
        """The decision in words, with who decided and why."""
        words = "waits for a person" if self.decision in (None, "pending") else str(self.decision).replace("_", " ")
        if self.decided_by:
            words += f" by {self.decided_by}"
        return f"{words}: {self.note}" if self.note else words


@value
class Custom:
    """A plain internal span: any function that a user wants to see, or a span of another instrumentation."""

    arguments: JsonValue = None
    result: JsonValue = None
    has_result: bool = False


Operation: TypeAlias = Union[
    Inference,
    ToolExecution,
    AgentInvocation,
    Workflow,
    Plan,
    Retrieval,
    Embedding,
    Memory,
    FetchResponse,
    Review,
    Custom,
]
