"""Every attribute, event and metric name that llmtrace reads or writes. Nothing else spells one.

``gen_ai.*`` names are those of open-telemetry/semantic-conventions-genai, vendored as read in November 2026 (registry at
e9de14b; no release is tagged yet). Core names (``error.type``, ``server.address`` …) are of semantic conventions 1.44.0.
``llmtrace.*`` are our own. Names that only other instrumentations use stand with their dialect (`codec.dialects`).
"""

from typing import Final

# -- the operation and who performs it
OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
AGENT_NAME: Final = "gen_ai.agent.name"
AGENT_DESCRIPTION: Final = "gen_ai.agent.description"
WORKFLOW_NAME: Final = "gen_ai.workflow.name"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"
USER_ID: Final = "user.id"
OTEL_STATUS_CODE: Final = "otel.status_code"
OTEL_STATUS_DESCRIPTION: Final = "otel.status_description"
"""Attributes of a `Span` for another writer's status `OK` and its text; in OTLP they are the span's status."""

# -- values of gen_ai.operation.name
CHAT: Final = "chat"
TEXT_COMPLETION: Final = "text_completion"
GENERATE_CONTENT: Final = "generate_content"
EMBEDDINGS: Final = "embeddings"
RETRIEVAL: Final = "retrieval"
FETCH_RESPONSE: Final = "fetch_response"
INVOKE_AGENT: Final = "invoke_agent"
CREATE_AGENT: Final = "create_agent"
EXECUTE_TOOL: Final = "execute_tool"
INVOKE_WORKFLOW: Final = "invoke_workflow"
PLAN: Final = "plan"
REVIEW: Final = "review"
"""Of our own: a person was asked, and the run waited. The conventions have no name for it (semantic-conventions-genai #95)."""
MEMORY_OPERATIONS: Final = (
    "search_memory",
    "create_memory",
    "update_memory",
    "upsert_memory",
    "delete_memory",
    "create_memory_store",
    "delete_memory_store",
)

# -- request
REQUEST_PREFIX: Final = "gen_ai.request."
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
REQUEST_PREVIOUS_RESPONSE_ID: Final = "gen_ai.request.previous_response.id"
REQUEST_STREAM_CURSOR: Final = "gen_ai.request.stream_cursor"
REQUEST_ENCODING_FORMATS: Final = "gen_ai.request.encoding_formats"
REQUEST_PARAMETERS: Final = (
    "max_tokens",
    "choice.count",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "reasoning.level",
)
"""Request parameters that the conventions name, without their prefix ``gen_ai.request.``."""
OUTPUT_TYPE: Final = "gen_ai.output.type"

# -- response
RESPONSE_ID: Final = "gen_ai.response.id"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
RESPONSE_STATUS: Final = "gen_ai.response.status"
RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
OPENAI_SERVICE_TIER: Final = "openai.response.service_tier"
OPENAI_SYSTEM_FINGERPRINT: Final = "openai.response.system_fingerprint"
USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_CACHE_WRITE: Final = "gen_ai.usage.cache_write.input_tokens"
USAGE_CACHE_CREATION: Final = "gen_ai.usage.cache_creation.input_tokens"
"""Older name of `USAGE_CACHE_WRITE`; read, never written."""
USAGE_REASONING: Final = "gen_ai.usage.reasoning.output_tokens"
USAGE_AUDIO_INPUT: Final = "gen_ai.usage.audio.input_tokens"
USAGE_AUDIO_OUTPUT: Final = "gen_ai.usage.audio.output_tokens"
USAGE_IMAGE_INPUT: Final = "gen_ai.usage.image.input_tokens"
USAGE_IMAGE_OUTPUT: Final = "gen_ai.usage.image.output_tokens"
USAGE_CACHE_WRITE_1H: Final = "llmtrace.usage.cache_write_1h.input_tokens"

# -- content (opt-in everywhere)
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"

# -- tools
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_DESCRIPTION: Final = "gen_ai.tool.description"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
TOOL_CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_CALL_RESULT: Final = "gen_ai.tool.call.result"

# -- retrieval, embeddings, memory
DATA_SOURCE_ID: Final = "gen_ai.data_source.id"
RETRIEVAL_QUERY: Final = "gen_ai.retrieval.query.text"
RETRIEVAL_DOCUMENTS: Final = "gen_ai.retrieval.documents"
RETRIEVAL_TOP_K: Final = "gen_ai.retrieval.top_k"
EMBEDDINGS_DIMENSION: Final = "gen_ai.embeddings.dimension.count"
MEMORY_STORE_ID: Final = "gen_ai.memory.store.id"
MEMORY_RECORD_ID: Final = "gen_ai.memory.record.id"
MEMORY_QUERY: Final = "gen_ai.memory.query.text"
MEMORY_RECORDS: Final = "gen_ai.memory.records"

# -- events
EVALUATION_EVENT: Final = "gen_ai.evaluation.result"
EVALUATION_NAME: Final = "gen_ai.evaluation.name"
EVALUATION_SCORE_VALUE: Final = "gen_ai.evaluation.score.value"
EVALUATION_SCORE_LABEL: Final = "gen_ai.evaluation.score.label"
EVALUATION_EXPLANATION: Final = "gen_ai.evaluation.explanation"
EXCEPTION_EVENT: Final = "exception"
CLIENT_EXCEPTION_EVENT: Final = "gen_ai.client.operation.exception"
"""Name of a log record about the exception of a model call."""
DETAILS_EVENT: Final = "gen_ai.client.inference.operation.details"
"""Name of a log record with all that is known of a model call."""
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"

# -- the Model Context Protocol
MCP_METHOD: Final = "mcp.method.name"
MCP_PROTOCOL_VERSION: Final = "mcp.protocol.version"
MCP_SESSION_ID: Final = "mcp.session.id"
MCP_RESOURCE_URI: Final = "mcp.resource.uri"
JSONRPC_REQUEST_ID: Final = "jsonrpc.request.id"
RPC_STATUS_CODE: Final = "rpc.response.status_code"
PROMPT_NAME: Final = "gen_ai.prompt.name"
NETWORK_TRANSPORT: Final = "network.transport"
MCP_ROUNDS: Final = "llmtrace.mcp.rounds"
"""How often an MCP server asked for more input before it answered the call of a tool."""
MCP_TOOL_ERROR: Final = "llmtrace.mcp.tool_error"
"""True on the span of a tool's execution in which an MCP server answered that the tool failed, whatever came of it."""

# -- resource
SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
PROCESS_PID: Final = "process.pid"
TELEMETRY_SDK_NAME: Final = "telemetry.sdk.name"
TELEMETRY_SDK_LANGUAGE: Final = "telemetry.sdk.language"
TELEMETRY_SDK_VERSION: Final = "telemetry.sdk.version"
VCS_REVISION: Final = "vcs.ref.head.revision"
VCS_CHANGES: Final = "llmtrace.vcs.changes"
"""On the outermost span: digest of the tracked files that differ from the commit, or ``none``."""
PYTHON_NAME: Final = "process.runtime.name"
PYTHON_VERSION: Final = "process.runtime.version"

# -- metrics
METRIC_INFERENCE_DURATION: Final = "gen_ai.client.inference.duration"
METRIC_TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.inference.time_to_first_chunk"
METRIC_TIME_PER_OUTPUT_CHUNK: Final = "gen_ai.client.inference.time_per_output_chunk"
METRIC_INPUT_TOKENS: Final = "gen_ai.client.inference.usage.input_tokens"
METRIC_OUTPUT_TOKENS: Final = "gen_ai.client.inference.usage.output_tokens"
METRIC_CACHE_READ: Final = "gen_ai.client.inference.usage.cache_read.input_tokens"
METRIC_CACHE_WRITE: Final = "gen_ai.client.inference.usage.cache_write.input_tokens"
METRIC_REASONING: Final = "gen_ai.client.inference.usage.reasoning.output_tokens"
METRIC_OPERATION_INPUT: Final = "gen_ai.client.inference.operation.input_tokens"
METRIC_OPERATION_OUTPUT: Final = "gen_ai.client.inference.operation.output_tokens"
METRIC_OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
"""Duration of client operations other than inferences."""
METRIC_EXECUTE_TOOL_DURATION: Final = "gen_ai.execute_tool.duration"
METRIC_INVOKE_AGENT_DURATION: Final = "gen_ai.invoke_agent.duration"
METRIC_INVOKE_WORKFLOW_DURATION: Final = "gen_ai.invoke_workflow.duration"
METRIC_INFERENCE_CALLS: Final = "gen_ai.invoke_agent.inference_calls"
METRIC_TOOL_CALLS: Final = "gen_ai.invoke_agent.tool_calls"
METRIC_MCP_CLIENT_DURATION: Final = "mcp.client.operation.duration"
METRIC_MCP_SERVER_DURATION: Final = "mcp.server.operation.duration"
METRIC_OLDER_TOKENS: Final = "gen_ai.client.token.usage"
METRIC_TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105
METRIC_COST: Final = "llmtrace.client.inference.cost"
METRIC_TOOL_CALLS_ASKED: Final = "llmtrace.tool_calls"
METRIC_EVALUATIONS: Final = "llmtrace.evaluations"
METRIC_IN_FLIGHT: Final = "llmtrace.client.inflight"
METRIC_WAITING: Final = "llmtrace.client.waiting"
METRIC_DEAD_LETTERS: Final = "llmtrace.dead_letters"
METRIC_OLDEST_DEAD_LETTER: Final = "llmtrace.dead_letters.oldest"
DEAD_LETTER_REASON: Final = "llmtrace.dead_letter.reason"
"""Attribute of these two metrics."""
METRIC_TOKEN_MODALITY: Final = "gen_ai.token.modality"  # noqa: S105
"""Attribute of the usage counters: ``text``, or ``unknown``."""

# -- llmtrace's own
SCOPE_NAME: Final = "llmtrace"
RUN_ID: Final = "llmtrace.run.id"
SEQUENCE: Final = "llmtrace.sequence"
TAGS: Final = "llmtrace.tags"
CONTEXT_PREFIX: Final = "llmtrace.context."
SIGNAL: Final = "llmtrace.signal"
"""The quality signal in the background that made this call itself."""
PARTIAL: Final = "llmtrace.response.partial"
STREAM_CUT: Final = "llmtrace.response.stream_cut"
CHUNKS: Final = "llmtrace.response.chunks"
ATTEMPTS: Final = "llmtrace.request.attempts"
REQUEST_OTHER: Final = "llmtrace.request.parameters"
"""Request parameters that the conventions do not name, as one JSON object. Content: it may hold prompts and schemas."""
COST_USD: Final = "llmtrace.cost.usd"
FINGERPRINT_SYSTEM: Final = "llmtrace.fingerprint.system"
FINGERPRINT_TOOLS: Final = "llmtrace.fingerprint.tools"
FINGERPRINT_PARAMETERS: Final = "llmtrace.fingerprint.parameters"
FINGERPRINT_OUTPUT: Final = "llmtrace.fingerprint.output"
FINGERPRINT_PROMPTS: Final = "llmtrace.fingerprint.prompts"
TOOL_EXECUTED: Final = "llmtrace.tool.executed"
TOOL_INFERRED: Final = "llmtrace.tool.inferred"
TOOL_REPAIRED: Final = "llmtrace.tool.repaired_arguments"
TOOL_ARGUMENTS_FORM: Final = "llmtrace.tool.arguments.form"
"""How to read the arguments where their text alone does not tell: `text` is a text, `json` the JSON text of another value."""
TOOL_RESULT_FORM: Final = "llmtrace.tool.result.form"
TOOL_ARGUMENTS_WRAPPED: Final = "llmtrace.tool.arguments.wrapped"
"""True beside arguments that an older version wrote as ``{"value": x}``; read, never written."""
TOOL_RESULT_WRAPPED: Final = "llmtrace.tool.result.wrapped"
TOOL_CALL_VALID: Final = "llmtrace.tool_call.valid"
"""False if any tool call that the span is about has a violation of severity error, true if it was validated clean."""
EVALUATION_FAILED: Final = "llmtrace.evaluation.failed"
"""Names of the evaluations of severity warning or error on this span."""
EVALUATION_ROUND: Final = "llmtrace.evaluation.round"
"""How often another writer's span was judged, from 2 on: its verdicts changed as more of its trace arrived."""
FINDING_PREFIX: Final = "llmtrace.finding."
"""Before the name of each evaluation and the code of each violation of severity warning or error on this span: true. A backend
that compares whole values finds one finding by it, whatever others there are."""
HEALTH: Final = "llmtrace.health"
"""On the outermost span of a run, known when it ends: `ok`, `recovered` or `failed`. So are the next four."""
FINDINGS_COUNT: Final = "llmtrace.findings.count"
WORST_FINDING: Final = "llmtrace.worst_finding.name"
WORST_FINDING_CONFIDENCE: Final = "llmtrace.worst_finding.confidence"
SUSPECT: Final = "llmtrace.suspect"
"""True if the run failed, or if a certain or likely finding marks it; else absent."""
SLO_NAME: Final = "llmtrace.slo.name"
"""Name of the agent, tool or operation whose objective this span has. The other attributes hold its bounds, in seconds."""
SLO_P50: Final = "llmtrace.slo.p50"
SLO_P95: Final = "llmtrace.slo.p95"
SLO_P99: Final = "llmtrace.slo.p99"
SLO_TIME_TO_FIRST_TOKEN: Final = "llmtrace.slo.time_to_first_token"  # noqa: S105
GUARDRAIL_TRIGGERED: Final = "llmtrace.guardrail.triggered"
"""Whether the check that this span ran stopped the agent."""
OUTCOME: Final = "llmtrace.outcome"
OPERATION_ARGUMENTS: Final = "llmtrace.arguments"
OPERATION_RESULT: Final = "llmtrace.result"
VIOLATION_EVENT: Final = "llmtrace.violation"
VIOLATION_PREFIX: Final = "llmtrace.violation."
EVALUATION_PREFIX: Final = "llmtrace.evaluation."
FAILURE_MARK: Final = "llmtrace.failure"
"""True on the `exception` event of the failure that ended the span. Other such events are exceptions that were handled."""
ATTRIBUTE_PREFIX: Final = "llmtrace.attribute."
"""Goes before the name of a user's attribute that llmtrace writes itself on such a span, so that both survive."""
EVENT_PREFIX: Final = "llmtrace.event."
"""Goes before the name of a user's event that could be mistaken for one of llmtrace's findings."""
GENERIC_PART: Final = "llmtrace.generic"
"""Member of a message part that holds all its fields, where they would be read as another kind of part without it."""
SAME_CALL: Final = "llmtrace.same_call"
"""Set on a span of another writer that duplicates a model call: the id of the span that counts."""
CONTENT_LEVEL: Final = "llmtrace.content.level"
"""`none` on a span whose content was left out. Absent where content is there."""
CONTENT_REDACTED: Final = "llmtrace.content.redacted"
"""Number of values that redaction replaced on this span."""
CONTENT_TRUNCATED: Final = "llmtrace.content.truncated"
"""Number of characters that truncation cut from this span."""
REPLAY_REQUEST: Final = "llmtrace.replay.request"
"""Digest of a request's content before redaction. This and the next three are kept by the local store only."""
REPLAY_EXCHANGES: Final = "llmtrace.replay.exchanges"
"""The HTTP answers of a call as JSON."""
REPLAY_RESULT_TYPE: Final = "llmtrace.replay.result_type"
"""Class of a tool's result that is not plain JSON."""
REPLAY_UNUSABLE: Final = "llmtrace.replay.unusable"
"""Why a recorded answer cannot be replayed: `redacted` or `cut`."""
REVIEW_ID: Final = "llmtrace.review.id"
REVIEW_QUESTION: Final = "llmtrace.review.question"
REVIEW_REASON: Final = "llmtrace.review.reason"
REVIEW_PAYLOAD: Final = "llmtrace.review.payload"
REVIEW_DIGEST: Final = "llmtrace.review.digest"
REVIEW_DECISION: Final = "llmtrace.review.decision"
REVIEW_DECIDED_BY: Final = "llmtrace.review.decided_by"
REVIEW_DECIDED_AT: Final = "llmtrace.review.decided_at"
REVIEW_NOTE: Final = "llmtrace.review.note"
REVIEW_VALUE: Final = "llmtrace.review.value"
REVIEW_WAITED: Final = "llmtrace.review.waited"
PROGRAM: Final = "llmtrace.program"
"""True on the span of a whole program under `llmtrace run`."""
REPLAY_OF: Final = "llmtrace.replay.of"
"""On the outermost span of a replay: the id of the trace that was replayed."""
REPLAY_DIVERGED: Final = "llmtrace.replay.diverged"
"""On a span of a replay that differs from its recording: how."""
REPLAY_LIVE: Final = "llmtrace.replay.live"
"""True on a call of a replay that was made for real."""
REPLAY_EDITED: Final = "llmtrace.replay.edited"
"""On the outermost span of a replay with an edit: the id of the recorded span whose answer was changed."""
CHECKPOINT: Final = "llmtrace.checkpoint.name"
"""On the span of a checkpoint, whose arguments are the state and whose result is what changed since the last one."""
CHECKPOINT_PASSED: Final = "llmtrace.checkpoint.passed"
"""Whether the state passed its check; absent without a check."""
VALIDATED: Final = "llmtrace.validated.name"
"""On the span of `validated`: the name of the form that the answer must have. Its result holds the attempts."""
VALIDATED_ATTEMPTS: Final = "llmtrace.validated.attempts"
VALIDATED_PASSED: Final = "llmtrace.validated.passed"
"""Whether the last attempt was valid; absent where the call itself failed."""
VALIDATED_INPUT: Final = "llmtrace.validated.usage.input_tokens"
"""Of all attempts, as the completions say; the calls below hold their own."""
VALIDATED_OUTPUT: Final = "llmtrace.validated.usage.output_tokens"
LIBRARIES: Final = "llmtrace.libraries"
PACKAGES: Final = "llmtrace.packages"
"""Digest of the names and versions of all installed packages."""
ENV_PREFIX: Final = "llmtrace.env."
"""Goes before the name of an environment variable that the program allowed to be recorded."""
ENGINE_FIRST_TOKEN: Final = "llmtrace.engine.time_to_first_token"  # noqa: S105
"""What the engine that served a call tells of it, in seconds: from its arrival there to the first token …"""
ENGINE_PER_TOKEN: Final = "llmtrace.engine.time_per_output_token"  # noqa: S105
"""… for each token after the first …"""
ENGINE_QUEUE: Final = "llmtrace.engine.time_in_queue"
"""… waiting to be scheduled …"""
ENGINE_PREFILL: Final = "llmtrace.engine.time_in_prefill"
ENGINE_DECODE: Final = "llmtrace.engine.time_in_decode"
ENGINE_PREEMPTIONS: Final = "llmtrace.engine.preemptions"
"""… and how often it was set aside for others."""
ENGINE_STOP_REASONS: Final = "llmtrace.engine.stop_reasons"
"""The stop strings or tokens that ended the choices."""
REQUEST_ID_MARK: Final = "llmtrace"
"""What the ids begin with by which a server knows our requests, before the ids of trace and span."""
LOGPROB_MEAN: Final = "llmtrace.logprob.mean"
"""Over the tokens of an answer whose log-probabilities were asked for."""
LOGPROB_MIN: Final = "llmtrace.logprob.min"
LOGPROB_TOKENS: Final = "llmtrace.logprob.tokens"
LOGPROB_LOW: Final = "llmtrace.logprob.low"
"""Low stretches of an answer, three numbers each: the choice, and where in its text the stretch begins and ends."""
INTERRUPTED: Final = "llmtrace.interrupted"
"""True on a span that was sent for a program that died before it ended; its end is the last that is known."""
SAMPLING_RATE: Final = "llmtrace.sampling.rate"
"""Where sampling is on: the share of traces like this one that are sent; 1 for those that are always sent."""

# -- what holds content, and is nowhere where content is off
CONTENT: Final = frozenset(
    {
        SYSTEM_INSTRUCTIONS,
        INPUT_MESSAGES,
        OUTPUT_MESSAGES,
        TOOL_DEFINITIONS,
        TOOL_DESCRIPTION,
        TOOL_CALL_ARGUMENTS,
        TOOL_CALL_RESULT,
        TOOL_REPAIRED,
        RETRIEVAL_QUERY,
        RETRIEVAL_DOCUMENTS,
        MEMORY_QUERY,
        MEMORY_RECORDS,
        EVALUATION_EXPLANATION,
        EXCEPTION_MESSAGE,
        EXCEPTION_STACKTRACE,
        REQUEST_OTHER,
        OPERATION_ARGUMENTS,
        OPERATION_RESULT,
    }
)
"""Attributes of spans and events that hold content."""
FOREIGN_CONTENT: Final = (
    # the conventions as they were; OpenLLMetry
    "gen_ai.prompt",
    "gen_ai.completion",
    "gen_ai.event.content",
    "llm.prompts",
    "llm.completions",
    "llm.request.functions",
    "traceloop.entity.input",
    "traceloop.entity.output",
    # OpenInference
    "input.value",
    "output.value",
    "llm.input_messages",
    "llm.output_messages",
    "llm.invocation_parameters",
    "llm.tools",
    "llm.function_call",
    "llm.prompt_template",
    "message.",
    "document.",
    "tool.parameters",
    "tool.json_schema",
    "tool.description",
    "retrieval.documents",
    "reranker.",
    "embedding.text",
    "embedding.vector",
    "embedding.embeddings",
    # Vercel AI SDK, Logfire and Pydantic AI, MLflow, Langfuse
    "ai.prompt",
    "ai.response.text",
    "ai.response.object",
    "ai.response.toolCalls",
    "ai.toolCall.args",
    "ai.toolCall.result",
    "ai.value",
    "ai.embedding",
    "all_messages_events",
    "pydantic_ai.all_messages",
    "final_result",
    "tool_arguments",
    "tool_response",
    "request_data",
    "response_data",
    "mlflow.spanInputs",
    "mlflow.spanOutputs",
    "langfuse.observation.input",
    "langfuse.observation.output",
    "langfuse.trace.input",
    "langfuse.trace.output",
)
"""Prefixes of attributes in which other instrumentations put content."""
