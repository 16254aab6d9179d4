"""Every attribute, event and metric name that llmtrace reads or writes. Other modules use these constants.

``gen_ai.*`` names are those of open-telemetry/semantic-conventions-genai v0.1.0, its first release. Core names (``error.type``,
``server.address``, ``process.exit.code`` …) are of semantic conventions 1.45.0. Names of former conventions are only read.
``llmtrace.*`` are our own. Names that only other instrumentations use are in their dialects (`codec.dialects`).

The docstring of a name is its type and meaning. The type JSON means JSON text in a string. ● marks content, which leaves the
program only with ``content="all"`` (see docs/reference/content.md). An attribute without a value is absent. The name of a span
is ``{operation} {subject}`` (``chat gpt-4o``). Its kind is client for inferences, embeddings, retrievals, memory and fetched
responses, else internal.

On the wire, an integer of more than 64 bits is sent as bytes: ``llmtrace:int:`` and its digits. Values nested deeper than 24
levels are sent as JSON text, with NaN, Infinity and -Infinity. A lone surrogate becomes U+FFFD in protobuf. Only read, never
written: ``gen_ai.workflow.name`` and ``gen_ai.usage.cache_creation.input_tokens`` of older writers. Only in a `Span`:
``otel.status_code`` and ``otel.status_description``. Only in a message part: ``llmtrace.generic``.
"""

from typing import Final

# -- the operation and who performs it
OPERATION_NAME: Final = "gen_ai.operation.name"
"""string: `chat`, `text_completion`, `generate_content`, `embeddings`, `retrieval`, `fetch_response`, `invoke_agent`,
`execute_tool`, `invoke_workflow`, `plan`, `search_memory` …; absent on a plain span."""
PROVIDER_NAME: Final = "gen_ai.provider.name"
"""string: The provider (`openai`)."""
AGENT_NAME: Final = "gen_ai.agent.name"
"""string: The agent or workflow that was invoked, or the agent that planned."""
AGENT_DESCRIPTION: Final = "gen_ai.agent.description"
"""string: The agent's description."""
WORKFLOW_NAME: Final = "gen_ai.workflow.name"
"""Former name of `AGENT_NAME` on a workflow; read, never written."""
CONVERSATION_ID: Final = "gen_ai.conversation.id"
"""string: The conversation."""
SERVER_ADDRESS: Final = "server.address"
"""string: Host of the provider."""
SERVER_PORT: Final = "server.port"
"""int: Port of the provider."""
ERROR_TYPE: Final = "error.type"
"""string: Why the span ended in error: the exception's class, or a code (`timeout`, `invalid_tool_call`)."""
USER_ID: Final = "user.id"
"""string: The user."""
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
"""Our own operation: a person was asked, and the run waited. The conventions have no name for it yet
(semantic-conventions-genai #95)."""
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
"""string: The requested model."""
REQUEST_STREAM: Final = "gen_ai.request.stream"
"""boolean: True if the answer was streamed."""
REQUEST_PREVIOUS_RESPONSE_ID: Final = "gen_ai.request.previous_response.id"
"""string: The response that is continued."""
REQUEST_STREAM_CURSOR: Final = "gen_ai.request.stream_cursor"
"""string: Position from which a fetched stream continues."""
REQUEST_ENCODING_FORMATS: Final = "gen_ai.request.encoding_formats"
"""string[]: Requested forms of the embeddings."""
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
"""string: The requested format: `json` or `text`."""

# -- response
RESPONSE_ID: Final = "gen_ai.response.id"
"""string: The provider's id of the answer."""
RESPONSE_MODEL: Final = "gen_ai.response.model"
"""string: The model that answered."""
RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
"""string[]: Why the model stopped, one for each choice."""
RESPONSE_STATUS: Final = "gen_ai.response.status"
"""string: The provider's status: `queued`, `in_progress`, `completed`, `incomplete`, `failed`, `cancelled`."""
RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
"""double: Seconds from the request to the first chunk."""
OPENAI_SERVICE_TIER: Final = "openai.response.service_tier"
"""string: The service tier."""
OPENAI_SYSTEM_FINGERPRINT: Final = "openai.response.system_fingerprint"
"""string: The provider's fingerprint."""
USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
"""int: Input tokens, cached ones included."""
USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
"""int: Output tokens, reasoning included."""
USAGE_CACHE_READ: Final = "gen_ai.usage.cache_read.input_tokens"
"""int: Input tokens read from a cache."""
USAGE_CACHE_WRITE: Final = "gen_ai.usage.cache_write.input_tokens"
"""int: Input tokens written to a cache."""
USAGE_CACHE_CREATION: Final = "gen_ai.usage.cache_creation.input_tokens"
"""Older name of `USAGE_CACHE_WRITE`; read, never written."""
USAGE_REASONING: Final = "gen_ai.usage.reasoning.output_tokens"
"""int: Output tokens for reasoning."""
USAGE_AUDIO_INPUT: Final = "gen_ai.usage.audio.input_tokens"
"""int: Audio input tokens."""
USAGE_AUDIO_OUTPUT: Final = "gen_ai.usage.audio.output_tokens"
"""int: Audio output tokens."""
USAGE_IMAGE_INPUT: Final = "gen_ai.usage.image.input_tokens"
"""int: Image input tokens."""
USAGE_IMAGE_OUTPUT: Final = "gen_ai.usage.image.output_tokens"
"""int: Image output tokens."""
USAGE_CACHE_WRITE_1H: Final = "llmtrace.usage.cache_write_1h.input_tokens"
"""int: Input tokens written to a cache for one hour (Anthropic); part of `gen_ai.usage.cache_write.input_tokens`."""

# -- content (opt-in everywhere)
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
"""JSON array: System instructions outside the messages."""
INPUT_MESSAGES: Final = "gen_ai.input.messages"
"""JSON array: Messages sent; also on agents and workflows."""
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
"""JSON array: Messages received, one for each choice; also on agents, workflows and fetched responses."""
TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
"""JSON array: Tools on offer; on a tool execution, the definition that it was checked by. `strict` and `output` are llmtrace's
own members."""

# -- tools
TOOL_NAME: Final = "gen_ai.tool.name"
"""string: The tool."""
TOOL_TYPE: Final = "gen_ai.tool.type"
"""string: `function`, or the provider's own type."""
TOOL_DESCRIPTION: Final = "gen_ai.tool.description"
"""string: The definition's description."""
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
"""string: The model's id of the call."""
TOOL_CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
"""string: Arguments of the call: a text unchanged, anything else as JSON."""
TOOL_CALL_RESULT: Final = "gen_ai.tool.call.result"
"""string: The result: a text unchanged, anything else as JSON."""

SKILL_NAME: Final = "gen_ai.skill.name"
"""string: The agent skill that the tool loads, reads or runs."""
SKILL_RESOURCE: Final = "gen_ai.skill.resource.name"
"""string: The file or script of the skill."""
SKILL_DESCRIPTION: Final = "gen_ai.skill.description"
"""string: The skill's description; kept as other writers wrote it."""
SKILL_SOURCE: Final = "gen_ai.skill.source.uri"
"""string: Where the skill came from; kept as other writers wrote it."""

# -- retrieval, embeddings, memory
DATA_SOURCE_ID: Final = "gen_ai.data_source.id"
"""string: The data source of a retrieval."""
RETRIEVAL_QUERY: Final = "gen_ai.retrieval.query.text"
"""string: The query."""
RETRIEVAL_DOCUMENTS: Final = "gen_ai.retrieval.documents"
"""JSON: The documents found."""
RETRIEVAL_TOP_K: Final = "gen_ai.retrieval.top_k"
"""int: Requested number of documents."""
EMBEDDINGS_DIMENSION: Final = "gen_ai.embeddings.dimension.count"
"""int: Dimensions of the embedding."""
MEMORY_STORE_ID: Final = "gen_ai.memory.store.id"
"""string: The memory store."""
MEMORY_RECORD_ID: Final = "gen_ai.memory.record.id"
"""string: The memory record."""
MEMORY_QUERY: Final = "gen_ai.memory.query.text"
"""string: The query."""
MEMORY_RECORDS: Final = "gen_ai.memory.records"
"""JSON: The records found or stored."""

# -- events
EVALUATION_EVENT: Final = "gen_ai.evaluation.result"
"""event: Result of a quality signal."""
EVALUATION_NAME: Final = "gen_ai.evaluation.name"
"""string: The quality signal."""
EVALUATION_SCORE_VALUE: Final = "gen_ai.evaluation.score.value"
"""double: The score of the evaluation."""
EVALUATION_SCORE_LABEL: Final = "gen_ai.evaluation.score.label"
"""string: The label of the evaluation."""
EVALUATION_EXPLANATION: Final = "gen_ai.evaluation.explanation"
"""string: Explanation of the finding, without content."""
EXCEPTION_EVENT: Final = "exception"
"""event: The failure that ended the span; the status is ERROR."""
CLIENT_EXCEPTION_EVENT: Final = "gen_ai.client.operation.exception"
"""log record: A model call failed; see export."""
TOOL_EXCEPTION_EVENT: Final = "gen_ai.execute_tool.exception"
"""log record: A tool execution failed; see export."""
DETAILS_EVENT: Final = "gen_ai.client.inference.operation.details"
"""log record: A model call, if enabled; see export."""
EXCEPTION_TYPE: Final = "exception.type"
"""string: The same as `error.type`."""
EXCEPTION_MESSAGE: Final = "exception.message"
"""string: The message."""
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
"""string: The stack trace."""

# -- the Model Context Protocol
MCP_METHOD: Final = "mcp.method.name"
"""string: `tools/call`, `prompts/get` …"""
MCP_PROTOCOL_VERSION: Final = "mcp.protocol.version"
"""string: The protocol revision."""
MCP_SESSION_ID: Final = "mcp.session.id"
"""string: The session, on the server; absent from revision 2026-07-28 on."""
MCP_RESOURCE_URI: Final = "mcp.resource.uri"
"""string: The resource that was read."""
JSONRPC_REQUEST_ID: Final = "jsonrpc.request.id"
"""string: Id of the request."""
RPC_STATUS_CODE: Final = "rpc.response.status_code"
"""string: JSON-RPC code of an error."""
PROMPT_NAME: Final = "gen_ai.prompt.name"
"""string: The requested prompt."""
NETWORK_TRANSPORT: Final = "network.transport"
"""string: `tcp` if the request came over HTTP."""
MCP_ROUNDS: Final = "llmtrace.mcp.rounds"
"""int: How often the server asked for more input before it answered the tool call."""
MCP_TOOL_ERROR: Final = "llmtrace.mcp.tool_error"
"""boolean: True if the server reported a tool error."""

# -- resource
SERVICE_NAME: Final = "service.name"
"""string: The program."""
SERVICE_VERSION: Final = "service.version"
"""string: Version of the program."""
SERVICE_INSTANCE_ID: Final = "service.instance.id"
"""string: The instance of the service."""
HOST_NAME: Final = "host.name"
"""string: The machine."""
PROCESS_PID: Final = "process.pid"
"""int: Process id."""
PROCESS_PARENT_PID: Final = "process.parent_pid"
"""int: Id of the process that started it."""
PROCESS_WORKER: Final = "llmtrace.process.worker"
"""boolean: True for a worker that `multiprocessing` started, which runs a part of its parent's program."""
TELEMETRY_SDK_NAME: Final = "telemetry.sdk.name"
"""string: `opentelemetry`."""
TELEMETRY_SDK_LANGUAGE: Final = "telemetry.sdk.language"
"""string: `python`."""
TELEMETRY_SDK_VERSION: Final = "telemetry.sdk.version"
"""string: Version of the OpenTelemetry SDK."""
VCS_REVISION: Final = "vcs.ref.head.revision"
"""string: The git commit of the program."""
VCS_CHANGES: Final = "llmtrace.vcs.changes"
"""string: On the outermost span: digest of the tracked files that differ from the commit, or `none`."""
PYTHON_NAME: Final = "process.runtime.name"
"""string: `cpython`."""
PYTHON_VERSION: Final = "process.runtime.version"
"""string: Version of Python."""

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
METRIC_INFERENCE_CALLS: Final = "gen_ai.invoke_agent.inference_calls"
METRIC_TOOL_CALLS: Final = "gen_ai.invoke_agent.tool_calls"
METRIC_MCP_CLIENT_DURATION: Final = "mcp.client.operation.duration"
METRIC_MCP_SERVER_DURATION: Final = "mcp.server.operation.duration"
# the conventions' former metric, split by METRIC_TOKEN_TYPE into input and output
METRIC_OLDER_TOKENS: Final = "gen_ai.client.token.usage"
METRIC_TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105
METRIC_COST: Final = "llmtrace.client.inference.cost"
METRIC_TOOL_CALLS_ASKED: Final = "llmtrace.tool_calls"
METRIC_EVALUATIONS: Final = "llmtrace.evaluations"
METRIC_IN_FLIGHT: Final = "llmtrace.client.inflight"
METRIC_WAITING: Final = "llmtrace.client.waiting"
METRIC_DEAD_LETTERS: Final = "llmtrace.dead_letters"
METRIC_OLDEST_DEAD_LETTER: Final = "llmtrace.dead_letters.oldest"
METRIC_ISSUES: Final = "llmtrace.issues"
METRIC_ISSUE_STATE: Final = "llmtrace.issue.state"
"""Attribute of `METRIC_ISSUES`."""
METRIC_DEAD_LETTER_REASON: Final = "llmtrace.dead_letter.reason"
"""Attribute of `METRIC_DEAD_LETTERS` and `METRIC_OLDEST_DEAD_LETTER`."""
METRIC_TOKEN_MODALITY: Final = "gen_ai.token.modality"  # noqa: S105
"""Attribute of the usage counters: ``text``, or ``unknown``."""

# -- llmtrace's own
SCOPE_NAME: Final = "llmtrace"
RUN_ID: Final = "llmtrace.run.id"
"""string: The run: the outermost span in the process and everything below it."""
SEQUENCE: Final = "llmtrace.sequence"
"""int: Position of the span in the order in which the run's spans end, from 0."""
TAGS: Final = "llmtrace.tags"
"""string[]: Tags of the program."""
CONTEXT_PREFIX: Final = "llmtrace.context."
"""any: Another attribute given to `context()`."""
SIGNAL: Final = "llmtrace.signal"
"""string: The background signal that made this call."""
PARTIAL: Final = "llmtrace.response.partial"
"""boolean: True if the program stopped reading the stream, or it broke, before its end."""
STREAM_CUT: Final = "llmtrace.response.stream_cut"
"""boolean: True if the program read the whole stream, but it had no finish reason."""
CHUNKS: Final = "llmtrace.response.chunks"
"""int: Chunks of the stream."""
ATTEMPTS: Final = "llmtrace.request.attempts"
"""int: HTTP requests for this call, retries included."""
REQUEST_OTHER: Final = "llmtrace.request.parameters"
"""JSON object: Every other request parameter, and standard ones whose value has an unexpected type."""
COST_USD: Final = "llmtrace.cost.usd"
"""double: Cost in US dollars (source); absent if the price is unknown."""
FINGERPRINT_SYSTEM: Final = "llmtrace.fingerprint.system"
"""string: Digest of the system prompt."""
FINGERPRINT_TOOLS: Final = "llmtrace.fingerprint.tools"
"""string: Digest of the tool definitions."""
FINGERPRINT_PARAMETERS: Final = "llmtrace.fingerprint.parameters"
"""string: Digest of the request parameters."""
FINGERPRINT_OUTPUT: Final = "llmtrace.fingerprint.output"
"""string: Digest of the output format that the request demands, such as a JSON schema."""
FINGERPRINT_PROMPTS: Final = "llmtrace.fingerprint.prompts"
"""string[]: Name and digest of each template that `prompt` filled."""
TOOL_EXECUTED: Final = "llmtrace.tool.executed"
"""boolean: False if the call was refused; absent if the tool ran."""
TOOL_INFERRED: Final = "llmtrace.tool.inferred"
"""boolean: True if the call id or the arguments come from a matching call of the model."""
TOOL_REPAIRED: Final = "llmtrace.tool.repaired_arguments"
"""JSON: The repaired arguments that the tool got."""
TOOL_RECEIPT_STATUS: Final = "llmtrace.tool.receipt.status"
"""string: What reading the change back found: `confirmed`, `missing`, `different`, `doubled`, `pending` or `unknown`."""
TOOL_RECEIPT_POINTER: Final = "llmtrace.tool.receipt.pointer"
"""string: JSON Pointer of the first value that differs."""
TOOL_RECEIPT_OF: Final = "llmtrace.tool.receipt.of"
"""string: `result` if the pointer points into the tool's result; absent if it points into the arguments."""
TOOL_RECEIPT_ERROR: Final = "llmtrace.tool.receipt.error"
"""string: Why the receipt is unknown: the class of the reader's exception, or a code such as `timeout`."""
TOOL_RECEIPT_SEEN: Final = "llmtrace.tool.receipt.seen"
"""string: Status of the last look at a receipt that was pending."""
TOOL_RECEIPT_RECORDS: Final = "llmtrace.tool.receipt.records"
"""int: Number of records that fit the change."""
TOOL_RECEIPT_LOOKS: Final = "llmtrace.tool.receipt.looks"
"""int: How often the reader was called."""
TOOL_RECEIPT_SECONDS: Final = "llmtrace.tool.receipt.seconds"
"""double: Seconds that reading took, all looks together."""
TOOL_RECEIPT_RECORD: Final = "llmtrace.tool.receipt.record"
"""JSON: What was read back."""
TOOL_RECEIPT_NOTE: Final = "llmtrace.tool.receipt.note"
"""string: The reader's own words."""
TOOL_ARGUMENTS_FORM: Final = "llmtrace.tool.arguments.form"
"""string: `text` or `json` if the arguments alone are ambiguous; absent for an object."""
TOOL_RESULT_FORM: Final = "llmtrace.tool.result.form"
"""string: `text` or `json` if the result alone is ambiguous; absent for an object or a list."""
TOOL_CALL_VALID: Final = "llmtrace.tool_call.valid"
"""boolean: False if a checked tool call breaks its schema, true if all are valid; absent without a check."""
EVALUATION_FAILED: Final = "llmtrace.evaluation.failed"
"""string[]: Names of the evaluations of severity warning or error."""
EVALUATION_ROUND: Final = "llmtrace.evaluation.round"
"""int: How often the span was judged: again when more spans of another instrumentation or a receipt came; absent if once."""
FINDING_PREFIX: Final = "llmtrace.finding."
"""boolean: True for each name in `llmtrace.evaluation.failed`, and for the code of each such violation."""
HEALTH: Final = "llmtrace.health"
"""string: On the outermost span of a run, when it ends: `ok`, `recovered`, `suspect` or `failed`. On a program's: the worst."""
FINDINGS_COUNT: Final = "llmtrace.findings.count"
"""int: On the outermost span: certain and likely findings in the run."""
WORST_FINDING: Final = "llmtrace.worst_finding.name"
"""string: On the outermost span: the most certain finding; among equals the most severe, then the first."""
WORST_FINDING_CONFIDENCE: Final = "llmtrace.worst_finding.confidence"
"""string: On the outermost span: `certain`, `likely` or `possible`."""
SUSPECT: Final = "llmtrace.suspect"
"""boolean: On the outermost span: true if the run failed, or a certain or likely finding marks it."""
SLO_NAME: Final = "llmtrace.slo.name"
"""string: Name of the objective for this span."""
SLO_P50: Final = "llmtrace.slo.p50"
"""double: Seconds for 50 % of such spans to end."""
SLO_P95: Final = "llmtrace.slo.p95"
"""double: Seconds for 95 % of such spans to end."""
SLO_P99: Final = "llmtrace.slo.p99"
"""double: Seconds for 99 % of such spans to end."""
SLO_TIME_TO_FIRST_TOKEN: Final = "llmtrace.slo.time_to_first_token"  # noqa: S105
"""double: Seconds for 99 % of such spans to get their first chunk."""
GUARDRAIL_TRIGGERED: Final = "llmtrace.guardrail.triggered"
"""boolean: True if this guardrail stopped the agent."""
OUTCOME: Final = "llmtrace.outcome"
"""string: The run's outcome as set by the program: `success`, `failure` or `unknown`."""
OPERATION_ARGUMENTS: Final = "llmtrace.arguments"
"""JSON: Arguments of a plain span's function."""
OPERATION_RESULT: Final = "llmtrace.result"
"""JSON: Result of a plain span's function."""
VIOLATION_EVENT: Final = "llmtrace.violation"
"""event: A place at which arguments, answer or result break the schema."""
VIOLATION_PREFIX: Final = "llmtrace.violation."
EVALUATION_PREFIX: Final = "llmtrace.evaluation."
EVALUATION_CONFIDENCE: Final = EVALUATION_PREFIX + "confidence"
FAILURE_MARK: Final = "llmtrace.failure"
"""boolean: True on the exception that ended the span. Other exceptions were handled."""
ATTRIBUTE_PREFIX: Final = "llmtrace.attribute."
"""any: A user's attribute whose name llmtrace itself uses on this span."""
EVENT_PREFIX: Final = "llmtrace.event."
"""event: A user's event whose name llmtrace itself uses."""
GENERIC_PART: Final = "llmtrace.generic"
"""Member of a message part that wraps all fields of a `Generic` part, if they would otherwise read as another kind of part."""
SAME_CALL: Final = "llmtrace.same_call"
"""string: On another instrumentation's duplicate of a call: the id of the span that is counted."""
CONTENT_LEVEL: Final = "llmtrace.content.level"
"""string: `none` if content was left out."""
CONTENT_REDACTED: Final = "llmtrace.content.redacted"
"""int: Number of redacted values."""
CONTENT_TRUNCATED: Final = "llmtrace.content.truncated"
"""int: Number of characters that were cut."""
REPLAY_REQUEST: Final = "llmtrace.replay.request"
"""string: Local store only: keyed digest of the request before redaction."""
REPLAY_EXCHANGES: Final = "llmtrace.replay.exchanges"
"""string: Local store only: the HTTP answers of the call, or the object that a tool returned, as JSON."""
REPLAY_RESULT_TYPE: Final = "llmtrace.replay.result_type"
"""string: Local store only: class of a tool's result or exception that JSON cannot represent."""
REPLAY_UNUSABLE: Final = "llmtrace.replay.unusable"
"""string: Local store only: why the answer cannot be replayed: `redacted`, `cut` or `computed in this process`."""
REVIEW_ID: Final = "llmtrace.review.id"
"""string: On a `review` span: the id of the review, needed to decide it."""
REVIEW_QUESTION: Final = "llmtrace.review.question"
"""string: The question; for a tool call, the tool's name."""
REVIEW_REASON: Final = "llmtrace.review.reason"
"""string: Why the call waits for a review."""
REVIEW_PAYLOAD: Final = "llmtrace.review.payload"
"""string: The call's arguments as shown to the reviewer, as JSON."""
REVIEW_DIGEST: Final = "llmtrace.review.digest"
"""string: Keyed digest of the payload before redaction."""
REVIEW_DECISION: Final = "llmtrace.review.decision"
"""string: `approved`, `edited`, `rejected`, `answered`, `timed_out`, `unattended` or `pending`."""
REVIEW_DECIDED_BY: Final = "llmtrace.review.decided_by"
"""string: Who decided; by default, the name of the process's user."""
REVIEW_DECIDED_AT: Final = "llmtrace.review.decided_at"
"""int: Time of the decision, in nanoseconds since the Unix epoch."""
REVIEW_NOTE: Final = "llmtrace.review.note"
"""string: The reviewer's reason."""
REVIEW_VALUE: Final = "llmtrace.review.value"
"""string: The answer, or the arguments that ran instead of the payload, as JSON."""
REVIEW_WAITED: Final = "llmtrace.review.waited"
"""double: On each span around a review: seconds of waiting for a person. Simultaneous reviews count once."""
PROGRAM: Final = "llmtrace.program"
"""boolean: True on the span of a whole program under `llmtrace run`."""
REPLAY_OF: Final = "llmtrace.replay.of"
"""string: On the outermost span of a replay: the id of the trace that was replayed."""
REPLAY_DIVERGED: Final = "llmtrace.replay.diverged"
"""string: On a span of a replay that is not as recorded: `changed`, `missing` or `incomparable`."""
REPLAY_LIVE: Final = "llmtrace.replay.live"
"""boolean: True on a call that a replay really made, instead of using the recorded answer."""
REPLAY_EDITED: Final = "llmtrace.replay.edited"
"""string: On the outermost span of a replay with an edit, and on the edited call: id of the recorded span."""
CHECKPOINT: Final = "llmtrace.checkpoint.name"
"""string: Name of a checkpoint. Its `llmtrace.arguments` are the state, its `llmtrace.result` the change of the state."""
CHECKPOINT_PASSED: Final = "llmtrace.checkpoint.passed"
"""boolean: True if the state passed its check; absent without a check."""
VALIDATED: Final = "llmtrace.validated.name"
"""string: On the span of `validated`: name of the output schema. `llmtrace.result` holds the attempts."""
VALIDATED_ATTEMPTS: Final = "llmtrace.validated.attempts"
"""int: Number of answers."""
VALIDATED_PASSED: Final = "llmtrace.validated.passed"
"""boolean: True if the last answer was valid; absent if the call itself failed."""
VALIDATED_INPUT: Final = "llmtrace.validated.usage.input_tokens"
"""int: Input tokens of all attempts; the calls below have their own counts, too."""
VALIDATED_OUTPUT: Final = "llmtrace.validated.usage.output_tokens"
"""int: Output tokens of all attempts."""
LIBRARIES: Final = "llmtrace.libraries"
"""string[]: llmtrace and model libraries, with versions."""
PACKAGES: Final = "llmtrace.packages"
"""string: Digest of the names and versions of all installed packages."""
ENV_PREFIX: Final = "llmtrace.env."
"""Prefix of the name of an environment variable that the program allowed to be recorded."""
ENGINE_FIRST_TOKEN: Final = "llmtrace.engine.time_to_first_token"  # noqa: S105
"""double: Seconds in the engine (vLLM) from arrival to the first token."""
ENGINE_PER_TOKEN: Final = "llmtrace.engine.time_per_output_token"  # noqa: S105
"""double: Seconds for each token after the first."""
ENGINE_QUEUE: Final = "llmtrace.engine.time_in_queue"
"""double: Seconds before the request was scheduled."""
ENGINE_PREFILL: Final = "llmtrace.engine.time_in_prefill"
"""double: Seconds from scheduling to the first token."""
ENGINE_DECODE: Final = "llmtrace.engine.time_in_decode"
"""double: Seconds from the first to the last token."""
ENGINE_PREEMPTIONS: Final = "llmtrace.engine.preemptions"
"""int: How often the engine preempted the request."""
ENGINE_STOP_REASONS: Final = "llmtrace.engine.stop_reasons"
"""string[]: Stop strings or stop tokens that ended the answer."""
REQUEST_ID_MARK: Final = "llmtrace"
"""Beginning of the request ids that llmtrace sends to a server; the ids of trace and span follow."""
LOGPROB_MEAN: Final = "llmtrace.logprob.mean"
"""double: Mean log-probability of the answer's tokens."""
LOGPROB_MIN: Final = "llmtrace.logprob.min"
"""double: Lowest log-probability."""
LOGPROB_TOKENS: Final = "llmtrace.logprob.tokens"
"""int: Number of tokens that the mean and the minimum are computed from."""
LOGPROB_LOW: Final = "llmtrace.logprob.low"
"""int[]: Passages of unlikely tokens, three numbers each: choice, begin, end in its text."""
INTERRUPTED: Final = "llmtrace.interrupted"
"""boolean: True on an unfinished span of a program that died; its end is the last known time."""
SAMPLING_RATE: Final = "llmtrace.sampling.rate"
"""double: With sampling: share of traces like this one that is sent; 1 for traces that are always sent."""

# -- attributes with content, absent if content is off
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
        TOOL_RECEIPT_RECORD,
        TOOL_RECEIPT_NOTE,
        SKILL_DESCRIPTION,
        SKILL_SOURCE,
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
        REVIEW_REASON,
        REVIEW_PAYLOAD,
        REVIEW_NOTE,
        REVIEW_VALUE,
    }
)
"""Attributes of spans and events that hold content."""
FOREIGN_CONTENT: Final = (
    # older conventions and OpenLLMetry
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

# -- attributes that stay when a trace is forgotten except for its verdicts
COUNTED: Final = frozenset(
    {
        OPERATION_NAME,
        PROVIDER_NAME,
        AGENT_NAME,
        ERROR_TYPE,
        REQUEST_MODEL,
        REQUEST_STREAM,
        RESPONSE_MODEL,
        RESPONSE_FINISH_REASONS,
        RESPONSE_STATUS,
        RESPONSE_TIME_TO_FIRST_CHUNK,
        USAGE_INPUT_TOKENS,
        USAGE_OUTPUT_TOKENS,
        USAGE_CACHE_READ,
        USAGE_CACHE_WRITE,
        USAGE_CACHE_WRITE_1H,
        USAGE_REASONING,
        USAGE_AUDIO_INPUT,
        USAGE_AUDIO_OUTPUT,
        USAGE_IMAGE_INPUT,
        USAGE_IMAGE_OUTPUT,
        TOOL_NAME,
        TOOL_TYPE,
        TOOL_EXECUTED,
        TOOL_RECEIPT_STATUS,
        TOOL_RECEIPT_POINTER,
        TOOL_RECEIPT_OF,
        TOOL_CALL_VALID,
        MCP_METHOD,
        MCP_TOOL_ERROR,
        RUN_ID,
        SEQUENCE,
        PROGRAM,
        PROCESS_WORKER,
        SAME_CALL,
        PARTIAL,
        STREAM_CUT,
        CHUNKS,
        ATTEMPTS,
        COST_USD,
        FINGERPRINT_PROMPTS,
        VCS_CHANGES,
        EVALUATION_FAILED,
        EVALUATION_ROUND,
        HEALTH,
        FINDINGS_COUNT,
        WORST_FINDING,
        WORST_FINDING_CONFIDENCE,
        SUSPECT,
        GUARDRAIL_TRIGGERED,
        OUTCOME,
        INTERRUPTED,
        SAMPLING_RATE,
        REVIEW_DECISION,
        REVIEW_WAITED,
        CONTENT_LEVEL,
        SERVICE_NAME,
        SERVICE_VERSION,
        VCS_REVISION,
        TELEMETRY_SDK_NAME,
        TELEMETRY_SDK_LANGUAGE,
    }
)
"""Attributes of spans and resources that name no person and hold no content: kinds, names that the program chose, counts, times
and verdicts."""
