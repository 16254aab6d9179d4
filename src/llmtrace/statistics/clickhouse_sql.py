"""Counts the steps of traces inside ClickHouse: `counted_steps.steps_of` and the counting of `Group`, in SQL.

One query reads the spans of each trace, finds the agent and step around each span (a fold over the trace, parents first),
computes the values that groups count, and sums them up. No span leaves the database.

Law: the figures are those that this process would compute from the spans. If SQL cannot be certain of that, the query returns
the trace's id instead, and this process counts the trace. That is so for a trace with more than `MOST` spans, a span in another
writer's dialect, a span that was stored twice, a finding or tool call in an unexpected form, a model call within another, or a
parent that begins after its child.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from llmtrace import semconv as sc
from llmtrace.codec import dialects, findings, finish_reasons, operations
from llmtrace.codec.fields import MAX_EXACT_INT, MAX_SECONDS
from llmtrace.model import (
    BUDGET_EXCEEDED,
    CANCELLED,
    CANCELLING,
    DEADLINE,
    TIMEOUT,
    AgentInvocation,
    Embedding,
    Inference,
    ToolExecution,
    Workflow,
)
from llmtrace.model.operations import CALLED, CUT
from llmtrace.statistics.distribution import EXACT, LOG, SMALLEST
from llmtrace.statistics.error_budget import SHARES, WINDOWS
from llmtrace.statistics.groups import MALFORMED, NO_QUALITY, By

MOST: Final = 5_000
"""Largest number of spans of a trace whose tree is walked in SQL. The time grows with the square of it."""


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def _with_names(sql: str, **more: str) -> str:
    """Return SQL with its placeholders replaced by the quoted values of `semconv` and by ``more``."""
    return sql.format(**{name: _quoted(value) for name, value in vars(sc).items() if isinstance(value, str)}, **more)


# -- one attribute of a span, as SQL

_WHOLE = r"-?(0|[1-9][0-9]{0,18})"
_MORE = r"(\.[0-9]+)?([eE][+-]?[0-9]+)?"


def _at(key: str) -> str:
    return f"SpanAttributes[{_quoted(key)}]"


def _has(key: str) -> str:
    return f"mapContains(SpanAttributes, {_quoted(key)})"


def _text(key: str) -> str:
    return f"if({_has(key)}, {_at(key)}, NULL)"


def _number(key: str, form: str = _WHOLE + _MORE) -> str:
    number = f"toFloat64OrNull({_at(key)})"
    return f"if(match({_at(key)}, {_quoted(f'^{form}$')}) AND isFinite({number}), {number}, NULL)"


def _count(key: str) -> str:
    number = _number(key)
    return f"if(floor({number}) = {number} AND abs({number}) <= {MAX_EXACT_INT}, {number}, NULL)"


def _number_up_to(key: str, most: int) -> str:
    number = _number(key)
    return f"if(abs({number}) <= {most}, {number}, NULL)"


def _float(key: str) -> str:
    """Return SQL for a number that is not written as an integer."""
    return f"if(match({_at(key)}, '[.eE]'), {_number(key)}, NULL)"


# -- events; in SQL, n is the name of an event and a are its attributes


def _event(condition: str) -> str:
    return f"arrayExists((n, a) -> {condition}, Events.Name, Events.Attributes)"


def _form(prefix: str, required: Iterable[str], optional: Iterable[str]) -> str:
    """Return a condition: the event has all required attributes and no others than these and the optional ones."""
    needed = [prefix + name for name in required]
    names = [*needed, *(prefix + name for name in optional)]
    return f"hasAll(mapKeys(a), {_list(needed)}) AND hasAll({_list(names)}, mapKeys(a))"


_V, _E = sc.VIOLATION_PREFIX, sc.EVALUATION_PREFIX
_VIOLATION = _with_names(
    """{form}
    AND a[{severity}] IN ('info', 'warning', 'error')
    AND match(a[{choice}], {whole}) AND match(a[{line}], {whole}) AND match(a[{column}], {whole})
    AND (NOT mapContains(a, {expected}) OR (isValidJSON(a[{expected}]) AND trim(a[{expected}]) != 'null'))
    AND (NOT mapContains(a, {got}) OR (isValidJSON(a[{got}]) AND trim(a[{got}]) != 'null'))
    AND a[{executed}] IN ('', 'true', 'false')""",
    form=_form(
        _V,
        ("code", "pointer", "keyword", "message", "severity", "where"),
        ("expected", "got", "tool", "call_id", "choice", "line", "column", "executed"),
    ),
    whole=_quoted(f"^({_WHOLE})?$"),
    **{name: _quoted(_V + name) for name in ("severity", "choice", "line", "column", "expected", "got", "executed")},
)
"""Condition for an event that the codec reads as a violation without loss."""
_EVALUATION = _with_names(
    """{form}
    AND a[{severity}] IN ('info', 'warning', 'error')
    AND match(a[{EVALUATION_SCORE_VALUE}], {number})
    AND (NOT mapContains(a, {evidence}) OR JSONType(a[{evidence}]) = 'Object')
    AND (NOT mapContains(a, {sources}) OR (JSONType(a[{sources}]) = 'Array'
        AND arrayAll(x -> startsWith(x, '"'), JSONExtractArrayRaw(a[{sources}]))))
    AND a[{derived}] IN ('', 'true', 'false')
    AND (NOT mapContains(a, {confidence}) OR a[{confidence}] IN ('certain', 'likely', 'possible'))""",
    form=_form(
        "",
        (sc.EVALUATION_NAME, _E + "severity", sc.EVALUATION_EXPLANATION),
        (
            sc.EVALUATION_SCORE_VALUE,
            sc.EVALUATION_SCORE_LABEL,
            *(_E + name for name in ("pointer", "call_id", "evidence", "sources", "derived", "source", "confidence")),
        ),
    ),
    number=_quoted(f"^({_WHOLE}{_MORE})?$"),
    **{name: _quoted(_E + name) for name in ("severity", "evidence", "sources", "derived", "confidence")},
)
"""Condition for an event that the codec reads as an evaluation without loss."""
_FAILED_BY = _with_names(
    """n = {EXCEPTION_EVENT} AND a[{FAILURE_MARK}] = 'true' AND mapContains(a, {EXCEPTION_TYPE})
    AND mapContains(a, {EXCEPTION_MESSAGE}) AND length(a) = 3 + mapContains(a, {EXCEPTION_STACKTRACE})"""
)
"""Condition for the event that `codec.findings` writes for a failure."""

# -- the columns of a span that counting needs: name and SQL. `odd`: the span may have to be counted in this process

_KINDS = {Inference: "inference", Embedding: "embedding", AgentInvocation: "agent", Workflow: "workflow", ToolExecution: "tool"}


def _kind() -> str:
    cases = [
        f"{_at(sc.OPERATION_NAME)} IN ({_list(shape.names)[1:-1]}), '{_KINDS.get(shape.operation_class, 'other')}'"
        for shape in operations.SHAPES
        if shape.names
    ]
    return f"multiIf({', '.join(cases)}, 'custom')"


def _is_read_alike(reason: str) -> bool:
    """Return True if a finish reason of another writer says here what its word of the conventions does."""
    return all((reason in words) == (finish_reasons.finish_reason(reason) in words) for words in (CALLED, CUT))


_OUTCOMES = ", ".join([f"lower({_at(key)})" for key in sorted(findings.OUTCOMES)])
_COLUMNS: Final[dict[str, str]] = {
    "id": "sipHash64(SpanId)",
    "parent": "if(ParentSpanId = '', 0, sipHash64(ParentSpanId))",
    "start": "toUnixTimestamp64Nano(Timestamp)",
    "took": "toInt64(Duration)",
    "kind": _kind(),
    "latency": f"greatest(0, took / 1e9 - greatest(0, ifNull({_number(sc.REVIEW_WAITED)}, 0)))",
    "name": "toString(SpanName)",
    "counted_as": r"replaceRegexpOne(name, '([\\pL\\pN_])\\s+#?\\d+$', '\\1')",
    "named": f"multiIf(kind = 'agent', {_at(sc.AGENT_NAME)}, kind = 'tool', {_at(sc.TOOL_NAME)}, {_at(sc.OPERATION_NAME)})",
    "model": f"""multiIf(kind NOT IN ('inference', 'embedding'), NULL,
        {_at(sc.RESPONSE_MODEL)} != '', {_at(sc.RESPONSE_MODEL)}, {_text(sc.REQUEST_MODEL)})""",
    "asked_for": f"""if(kind IN ('inference', 'embedding') AND {_at(sc.RESPONSE_MODEL)} != '' AND {_at(sc.REQUEST_MODEL)} != '',
        {_text(sc.REQUEST_MODEL)}, NULL)""",
    "prompt": _text(sc.FINGERPRINT_SYSTEM),
    "input_tokens": _count(sc.USAGE_INPUT_TOKENS),
    "output": _count(sc.USAGE_OUTPUT_TOKENS),
    "cache_read": _count(sc.USAGE_CACHE_READ),
    "cache_write": f"""if({_has(sc.USAGE_CACHE_WRITE)}, {_count(sc.USAGE_CACHE_WRITE)}, {_count(sc.USAGE_CACHE_CREATION)})""",
    "reasoning": _count(sc.USAGE_REASONING),
    "cost": _number_up_to(sc.COST_USD, MAX_EXACT_INT),
    "limited_to": _number(f"{sc.REQUEST_PREFIX}max_tokens", _WHOLE),
    "first_chunk": f"if(kind = 'inference', {_number_up_to(sc.RESPONSE_TIME_TO_FIRST_CHUNK, MAX_SECONDS)}, NULL)",
    "engine_first": f"if(kind = 'inference', {_float(sc.ENGINE_FIRST_TOKEN)}, NULL)",
    "engine_pace": _float(sc.ENGINE_PER_TOKEN),
    "streamed": f"{_at(sc.REQUEST_STREAM)} = 'true'",
    "partial": f"{_at(sc.PARTIAL)} = 'true'",
    "cut": _with_names(
        """arrayAll(r -> startsWith(r, '"'), JSONExtractArrayRaw({reasons}))
        AND hasAny(JSONExtract({reasons}, 'Array(String)'), {cut})""",
        reasons=_at(sc.RESPONSE_FINISH_REASONS),
        cut=_list(sorted(CUT)),
    ),
    "failed": _with_names(
        """(lower(StatusCode) IN ('error', 'status_code_error') OR (NOT {ours} AND (
        lower({type}) NOT IN {no_error} OR {outcome}
        OR (lower(StatusCode) NOT IN ('ok', 'status_code_ok') AND {exception}))))""",
        ours=_has(sc.RUN_ID),
        type=_at(sc.ERROR_TYPE),
        no_error=f"({_list(sorted(findings.NO_ERROR))[1:-1]})",
        outcome=f"hasAny([{_OUTCOMES}], {_list(sorted(findings.FAILED))})",
        exception=_event(f"n = {_quoted(sc.EXCEPTION_EVENT)} AND lower(a[{_quoted(findings.ESCAPED)}]) != 'false'"),
    ),
    "failure": _with_names(
        """multiIf({told}, arrayFirst((a, n) -> {by}, Events.Attributes, Events.Name)[{EXCEPTION_TYPE}],
        arrayFirst(x -> x != '', [{type}, {outcome},
        arrayLast((a, n) -> n = {EXCEPTION_EVENT}, Events.Attributes, Events.Name)[{EXCEPTION_TYPE}], '{untyped}']))""",
        told=_event(_FAILED_BY),
        by=_FAILED_BY,
        type=_at(sc.ERROR_TYPE),
        outcome=_at(findings.OUTCOME_TYPE),
        untyped=findings.UNTYPED,
    ),
    "ending": f"""multiIf(position(lower(splitByChar('.', failure)[-1]), 'deadline') > 0, '{DEADLINE}',
        match(lower(splitByChar('.', failure)[-1]), 'timeout|timedout|^timed_out$'), '{TIMEOUT}',
        splitByChar('.', failure)[-1] IN ({_list(sorted(CANCELLING))[1:-1]}), '{CANCELLED}',
        splitByChar('.', failure)[-1] = 'BudgetExceeded', '{BUDGET_EXCEEDED}', failure)""",
    "wrong": _with_names(
        """toFloat64(length(arrayDistinct(arrayMap(a -> (a[{choice}], a[{call_id}], a[{tool}]), arrayFilter(
        (a, n) -> n = {VIOLATION_EVENT} AND a[{severity}] = 'error' AND a[{where}] = 'arguments',
        Events.Attributes, Events.Name)))))""",
        **{name: _quoted(_V + name) for name in ("choice", "call_id", "tool", "severity", "where")},
    ),
    "asked": _with_names(
        """if(kind = 'inference' AND position({said}, '"tool_call"') > 0, toFloat64(arraySum(
        m -> arrayCount(p -> JSONExtractString(p, 'type') = 'tool_call', JSONExtractArrayRaw(m, 'parts')),
        JSONExtractArrayRaw({said}))), 0)""",
        said=_at(sc.OUTPUT_MESSAGES),
    ),
    "calls_tools": _with_names(
        """asked > 0 OR (arrayAll(r -> startsWith(r, '"'), JSONExtractArrayRaw({reasons}))
        AND hasAny(JSONExtract({reasons}, 'Array(String)'), {called}))""",
        reasons=_at(sc.RESPONSE_FINISH_REASONS),
        called=_list(sorted(CALLED)),
    ),
    "faults": _with_names(
        """arrayDistinct(arrayMap(a -> a[{EVALUATION_NAME}], arrayFilter(
        (a, n) -> n = {EVALUATION_EVENT} AND a[{severity}] != 'info'
            AND NOT arrayExists(x -> startsWith(a[{EVALUATION_NAME}], x), {other}),
        Events.Attributes, Events.Name)))""",
        severity=_quoted(f"{_E}severity"),
        other=_list(NO_QUALITY),
    ),
    "malformed": f"""hasAny(faults, {_list(sorted(MALFORMED))})
        OR {_event(f"n = '{sc.VIOLATION_EVENT}' AND a['{_V}where'] = 'output'")}""",
    "objective": _text(sc.SLO_NAME),
    "bounds": "[" + ", ".join(f"if(isNull({_number(key)}), '', {_at(key)})" for key in SHARES) + "]",
    "odd": _with_names(
        """(NOT {ours} AND hasAny(arrayConcat(mapKeys(SpanAttributes), Events.Name, [SpanName]), {marks}))
        OR {violation} OR {evaluation} OR {exception}
        OR arrayExists(k -> startsWith(k, concat({ATTRIBUTE_PREFIX}, 'llmtrace.')), mapKeys(SpanAttributes))
        OR match({objective}, '^(true|false|\\\\[.*|-?[0-9].*)$')
        OR (kind = 'inference' AND multiSearchAny({said}, ['tool_call', 'tool_use', 'function_call', {GENERIC_PART}])
            AND (NOT startsWith({said}, '[') OR position({said}, {GENERIC_PART}) > 0
                OR arrayExists(m -> JSONType(m, 'parts') != 'Array' OR arrayExists(
                    p -> JSONExtractString(p, 'type') IN ('tool_use', 'function_call'), JSONExtractArrayRaw(m, 'parts')),
                JSONExtractArrayRaw({said}))))
        OR {operation} = {CREATE_AGENT} OR {refused} OR {validated}
        OR (NOT {ours} AND ((kind = 'agent' AND {AGENT} = '') OR match(concat({AGENT}, {WORKFLOW}), {uuid})
            OR ({has_model} AND lower({model}) IN {no_model})
            OR NOT hasAll({words}, JSONExtract({reasons}, 'Array(String)'))))
        OR lower(SpanId) != SpanId OR lower(ParentSpanId) != ParentSpanId OR lower(TraceId) != TraceId""",
        ours=_has(sc.RUN_ID),
        marks=_list(sorted(dialects.marks())),
        violation=_event(f"n = '{sc.VIOLATION_EVENT}' AND NOT ({_VIOLATION})"),
        evaluation=_event(f"n = '{sc.EVALUATION_EVENT}' AND NOT ({_EVALUATION})"),
        exception=_event(f"n = '{sc.EVENT_PREFIX}{sc.EXCEPTION_EVENT}'"),
        objective=_at(sc.SLO_NAME),
        said=_at(sc.OUTPUT_MESSAGES),
        operation=_at(sc.OPERATION_NAME),
        refused=_has(sc.TOOL_EXECUTED),  # the model was asked to correct the call: see `counted_steps.corrections_of`
        validated=_has(sc.VALIDATED_ATTEMPTS),
        AGENT=_at(sc.AGENT_NAME),
        WORKFLOW=_at(sc.WORKFLOW_NAME),
        uuid=_quoted(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}"),
        has_model=_has(sc.RESPONSE_MODEL),
        model=_at(sc.RESPONSE_MODEL),
        no_model=f"({_list(sorted(dialects.NO_MODEL))[1:-1]})",
        words=_list(sorted(word for word in finish_reasons.WORDS if _is_read_alike(word))),
        reasons=_at(sc.RESPONSE_FINISH_REASONS),
    ),
}
_NODE: Final = (
    "Tuple(id UInt64, parent UInt64, start Int64, took Int64, kind String, named String, counted_as String, "
    "first_chunk Nullable(Float64))"
)
"""The type of a span in the tree of its trace."""
_PLACE: Final = (
    "Tuple(id UInt64, parent UInt64, agent Nullable(String), step Nullable(String), below Nullable(String), "
    "within UInt8, calling UInt8, around Array(UInt64))"
)
"""The type of a span's place in the tree: its id, its parent, its agent, the step around it, the step around its children, if
it is inside a model call, if its children are, and the ids of the agents and workflows around it, itself included."""

GROUPED: Final[dict[By, tuple[str, str]]] = {
    "agent": ("1", "[agent]"),
    "operation": ("kind NOT IN ('agent', 'workflow', 'custom')", "[agent, step, model]"),
    "model": ("kind IN ('inference', 'embedding')", "[model]"),
    "tool": ("kind = 'tool'", "[toNullable(named)]"),
    "prompt": ("kind = 'inference'", "[prompt]"),
    "name": ("1", "[toNullable(name)]"),
}
"""For each grouping that SQL can do: the condition for steps that are in a group, and the group's key, as in `groups`."""

DISTRIBUTIONS: Final = {
    "duration": f"if(failed AND ending != '{TIMEOUT}', NULL, latency)",
    "first_token": "first",
    "per_token": "pace",
    "limits": "limited_to",
    "output_tokens": "if(whole, output, NULL)",
    "answered": "if(whole, took / 1e9, NULL)",
    "answers_tokens": "if(whole AND NOT calls_tools, output, NULL)",
    "answers_per_token": "if(calls_tools, NULL, pace)",
    "called_tokens": "if(whole AND calls_tools, output, NULL)",
    "called_per_token": "if(calls_tools, pace, NULL)",
}
"""For each distribution of `Group` and of its `Turns`: the number of a step, in SQL. Negative numbers are left out."""
AMOUNTS: Final = {
    "input_tokens": "input_tokens",
    "output": "output",
    "cache_read_input_tokens": "cache_read",
    "cache_write_input_tokens": "cache_write",
    "reasoning_output_tokens": "reasoning",
    "cost_usd": "cost",
}
WORDS: Final = {
    "endings": "if(failed, [ending], [])",
    "models": "if(isNull(model), [], [assumeNotNull(model)])",
    "asked_for": "if(isNull(asked_for), [], [assumeNotNull(asked_for)])",
    "steps": "[step]",
    "evaluations": "faults",
}
SUMS: Final = {
    "cut": "whole AND cut",
    "flawed": "notEmpty(faults)",
    "malformed": "malformed",
    "tool_calls": "multiIf(kind = 'inference', greatest(asked, wrong), kind = 'tool', 1, 0)",
    "invalid_calls": "multiIf(kind = 'inference', wrong, kind = 'tool', least(wrong, 1), 0)",
}
WATCHED: Final = [(measure, window) for measure, _ in SHARES.values() for window in ("all", *WINDOWS)]
"""The measures and windows of an objective, in the order of the columns ``watched`` (calls) and ``slow`` (too slow calls)."""


def _distribution(name: str) -> str:
    """Return SQL for a distribution: count, sum, smallest, largest, and all values if they are few, else counts by bucket."""
    few = f"count({name}) <= {EXACT}"
    buckets = f"sumMapIf([toInt32(ceil(log(greatest({name}, {SMALLEST})) / {LOG!r}))], [1], isNotNull({name}))"
    every = f"groupArray({EXACT + 1})({name})"
    return f"(count({name}), sum({name}), min({name}), max({name}), if({few}, {every}, []), if({few}, ([], []), {buckets}))"


def _watched() -> tuple[str, str]:
    """Return SQL for two arrays along `WATCHED`. The first has 1 if the objective has that bound and the step is in that
    window; the second has 1 if the step also took too long."""
    calls, slow = [], []
    for number, (measure, _) in enumerate(SHARES.values(), 1):
        took, bound = "first" if measure == "ttft" else "latency", f"bounds[{number}]"
        for seconds in (None, *WINDOWS.values()):
            lately = "1" if seconds is None else f"start >= {{now:Int64}} - {seconds * 10**9}"
            condition = f"isNotNull({took}) AND {bound} != '' AND {lately}"
            calls.append(f"toUInt64({condition})")
            slow.append(f"toUInt64({condition} AND ifNull({took} > toFloat64OrZero({bound}), 0))")
    return f"[{', '.join(calls)}]", f"[{', '.join(slow)}]"


_QUERY: Final = """
WITH
spans AS (
    SELECT TraceId AS trace, {columns}
    FROM {table}
    WHERE TraceId GLOBAL IN ({found})
),
traces AS (
    SELECT trace, any(id) AS one, max(odd) OR count() != uniqExact(id) OR count() > {most} AS unsure,
        if(unsure, [], arraySort(s -> (s.start, -s.took), groupArray({most})(CAST(
            (id, parent, start, took, kind, named, counted_as, first_chunk), '{node}')))) AS nodes
    FROM spans
    GROUP BY trace
    HAVING min(start) >= {{began:Int64}} AND (unsure OR countIf({agent_itself}) > 0)
),
trees AS (
    SELECT trace, one, unsure, nodes, arrayFold(
        (known, s) -> arrayPushBack(known, CAST((
            s.id,
            {above}.id,
            if(s.kind = 'agent', toNullable(s.named), {above}.agent),
            {above}.below,
            multiIf(s.kind IN ('agent', 'workflow'), NULL, s.kind = 'inference', {above}.below, toNullable(s.counted_as)),
            {above}.calling,
            s.kind = 'inference' OR (s.kind = 'custom' AND {above}.calling),
            if(s.kind IN ('agent', 'workflow'), arrayPushBack({above}.around, s.id), {above}.around)
        ), '{place}')),
        nodes, CAST([], 'Array({place})')) AS places
    FROM traces
),
walked AS (
    SELECT trace, one, places,
        unsure
            OR hasAny(nodes.id, arrayMap((above, parent) -> if(above = 0, parent, 0), places.parent, nodes.parent))
            OR arrayExists((p, s) -> p.within AND s.kind IN ('inference', 'embedding'), places, nodes) AS here,
        arrayFilter(h -> isNotNull(h.1), arrayMap((s, p) -> (s.start + toInt64(round(s.first_chunk * 1e9)), p.around),
            nodes, places)) AS heard,
        arrayMap(s -> if(s.kind IN ('agent', 'workflow') AND arrayExists(h -> has(h.2, s.id), heard),
            arrayMin(arrayMap(h -> greatest(0, assumeNotNull(h.1) - s.start), arrayFilter(h -> has(h.2, s.id), heard))) / 1e9,
            NULL), nodes) AS firsts
    FROM trees
),
placed AS (
    SELECT trace, here, if(here, one, p.id) AS id, p.agent AS agent, p.step AS around, heard_first, number = 0 AS leads
    FROM walked
    ARRAY JOIN arrayResize(places, if(here, 1, length(places))) AS p, arrayResize(firsts, if(here, 1, length(places)), NULL)
        AS heard_first, range(if(here, 1, length(places))) AS number
),
steps AS (
    SELECT spans.*, here, agent, leads,
        multiIf(kind = 'inference', if(around != '', around, named), kind = 'embedding', if(around != '', around, 'embeddings'),
            kind = 'tool' AND named != '', concat('execute_tool ', named), name) AS step,
        if(kind = 'inference', ifNull(first_chunk, engine_first), heard_first) AS first,
        kind = 'inference' AND NOT failed AND NOT partial AS answered,
        answered AND isNotNull(output) AS whole,
        multiIf(NOT answered, NULL, isNotNull(engine_pace), engine_pace, ifNull(output, 0) = 0, NULL,
            isNull(first_chunk), if(streamed, NULL, took / 1e9 / output),
            output > 1, (took / 1e9 - first_chunk) / (output - 1), NULL) AS pace
    FROM spans GLOBAL INNER JOIN placed USING (trace, id)
),
told AS (
    SELECT multiIf(here, 'here', {agent_around}, kind, 'another') AS what,
        multiIf(here, [toNullable(trace)], what != 'another' AND {grouped}, {key}, []) AS key,
        if(whole, arrayFirst(b -> b >= output, {lengths}), 0) AS length,
        objective, bounds, start, leads,
        {numbers}
    FROM steps
)
SELECT what, key, length, objective, bounds, count() AS calls, countIf(leads) AS traces,
    min(start) AS first, max(start) AS last, {counted}
FROM told
GROUP BY what, key, length, objective, bounds
FORMAT JSONEachRow
"""


def counting(by: By, trace_ids: str, table: str, *, of_agent: bool) -> str:
    """Return the query that counts. ``trace_ids``: a SELECT of the ids of traces, with parameters of its own.

    The query's parameters: ``now``; ``began``, the earliest start of a trace (both nanoseconds since the Unix epoch); and, with
    ``of_agent``, ``agent``: only its steps are counted.

    Each row is about the steps of one kind, group, length bucket and objective. Its columns:

    * ``what``: inference, embedding, agent, workflow, tool, custom or other; ``another`` for steps of another agent; ``here``
      for a trace that this process has to count.
    * ``key``: of the group, empty if the steps are in no group. For ``here``, the id of the trace.
    * ``length``: upper bound of the answer's length bucket, 0 without one.
    * ``calls``: number of steps. ``traces``: number of traces whose first step is among them.
    * ``first`` and ``last``: the earliest and the latest start.
    * The names of `DISTRIBUTIONS`, `AMOUNTS` (sum, and number of unknown ones), `WORDS` (with the count of each) and `SUMS`.
    * ``watched`` and ``slow``: numbers of calls and of too slow calls, along `WATCHED`.
    """
    grouped, key = GROUPED[by]
    numbers = {name: f"if({sql} >= 0, {sql}, NULL)" for name, sql in DISTRIBUTIONS.items()} | AMOUNTS | WORDS | SUMS
    watched, slow = _watched()
    numbers |= {"watched": watched, "slow": slow}
    counted = {name: _distribution(f"one_{name}") for name in DISTRIBUTIONS}
    counted |= {name: f"(sum(one_{name}), countIf(isNull(one_{name})))" for name in AMOUNTS}
    counted |= {name: f"sumMap(one_{name}, arrayMap(w -> 1, one_{name}))" for name in WORDS}
    counted |= {name: f"sum(one_{name})" for name in SUMS}
    counted |= {name: f"sumForEach(one_{name})" for name in ("watched", "slow")}
    return _QUERY.format(
        columns=", ".join(f"{sql} AS {name}" for name, sql in _COLUMNS.items()),
        table=table,
        found=trace_ids,
        most=MOST,
        node=_NODE,
        place=_PLACE,
        above="known[indexOf(known.id, s.parent)]",
        grouped=grouped,
        key=key,
        agent_itself="kind = 'agent' AND named = {agent:String}" if of_agent else "1",
        agent_around="agent = {agent:String}" if of_agent else "1",
        lengths=[1 << power for power in range(4, 54)],
        numbers=", ".join(f"{sql} AS one_{name}" for name, sql in numbers.items()),
        counted=", ".join(f"{sql} AS {name}" for name, sql in counted.items()),
    )
