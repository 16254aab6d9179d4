"""The environment of a run: facts that shape its answers. Comparing two environments shows why two runs behave differently.

A fact of a call (model, prompt, a tool, a parameter) belongs to the agent that made the call. A fact of the program (Python, a
library, the commit) belongs to the whole run. Pure.

Law: a fact changed if each run has a value of it that the other run lacks. So a run that ended earlier, and showed fewer
prompts, did not change. A fact that one run does not record (content that was not kept, another writer) is unknown, not
changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from llmtrace.fingerprints import fingerprint
from llmtrace.model import AgentInvocation, Inference, JsonValue, Part, Text, Trace, Workflow
from llmtrace.model.value import value
from llmtrace.reading.message_history import SYSTEM
from llmtrace.semconv import (
    CONTENT_LEVEL,
    ENV_PREFIX,
    LIBRARIES,
    PACKAGES,
    PYTHON_NAME,
    PYTHON_VERSION,
    SERVICE_VERSION,
    VCS_CHANGES,
    VCS_REVISION,
)

KINDS: Final = (
    *("model", "prompt template", "system prompt", "tool", "tools", "output schema", "parameter", "parameters"),
    *("python", "library", "environment variable", "answering model", "provider fingerprint"),
    *("service version", "code", "uncommitted changes", "installed packages", "server", "task"),
)
"""Kinds of facts, in the order in which changes are named as the cause: the most specific first, mere consequences last."""
PROGRAM_KINDS: Final = (
    *("python", "library", "environment variable", "service version", "code", "uncommitted changes", "installed packages"),
)
"""Kinds that belong to the whole run, so that they are also known of a program that runs now."""
_SUMS: Final = {"tool": "tools", "parameter": "parameters"}
"""The kind of the digest of all tools or parameters, by the kind of a single one. A run without content has only the digest."""
_OF_SOME_CALLS: Final = frozenset({"tool", "parameter", "prompt template"})
"""Kinds that only some calls of an agent may have."""
_OF_ONE_CALL: Final = frozenset(
    {"user", "metadata", "conversation", "prompt_cache_key", "safety_identifier", "previous_response_id", "extra_headers"}
)
"""Parameters that name a user or a conversation. They differ from run to run and do not shape the answer."""
_LONGEST: Final = 80
"""Characters of a parameter that is kept as text, at most; of a longer one, a digest is kept."""
ABSENT: Final = "(none)"


class Fact(NamedTuple):
    kind: str
    """Kind of the fact, one of `KINDS`."""
    where: str = ""
    """Name of the agent whose calls have it; empty for the whole run, and for calls outside any agent."""
    name: str = ""
    """Name of the tool, parameter, library …"""


@value
class Environment:
    facts: Mapping[Fact, tuple[str, ...]]
    """The values of each fact in order of appearance: digests of prompts and tools, otherwise the value itself."""
    texts: Mapping[tuple[Fact, str], str]
    """The content behind a digest, by fact and digest, if it was recorded."""

    def callers(self) -> frozenset[str]:
        """Names of the agents that called a model."""
        return frozenset(fact.where for fact in self.facts if fact.kind == "model")

    def kinds(self) -> frozenset[str]:
        return frozenset(fact.kind for fact in self.facts)


@value
class Change:
    fact: Fact
    before: tuple[str, ...]
    """The values that only the first run has."""
    now: tuple[str, ...]
    """The values that only the second run has."""


class _Facts:
    def __init__(self) -> None:
        self.facts: dict[Fact, dict[str, None]] = {}
        self.texts: dict[tuple[Fact, str], str] = {}
        self.calls: dict[str, list[frozenset[Fact]]] = {}
        """For each agent, the facts that each of its calls has."""

    def add(self, fact: Fact, content: str, text: str | None = None) -> None:
        self.facts.setdefault(fact, {})[content] = None
        if text is not None:
            self.texts[fact, content] = text

    def environment(self) -> Environment:
        """Return the collected facts. A tool, parameter or template that some calls of its agent lack gets the value `ABSENT`,
        too."""
        for calls in self.calls.values():
            for fact in frozenset().union(*calls):
                if any(fact not in call for call in calls):
                    self.add(fact, ABSENT)
        ordered = sorted(self.facts, key=lambda fact: KINDS.index(fact.kind))
        return Environment({fact: tuple(self.facts[fact]) for fact in ordered}, self.texts)


def environment_of(trace: Trace) -> Environment:
    """Return the facts of a run, in the order of `KINDS`."""
    facts = _Facts()
    resources: dict[int, Mapping[str, JsonValue]] = {}
    is_task_known = False
    for _, span in trace.walk():
        resources[id(span.resource)] = span.resource
        changes = span.attributes.get(VCS_CHANGES)
        if isinstance(changes, str):
            facts.add(Fact("uncommitted changes"), changes)
        if not is_task_known and isinstance(span.operation, (AgentInvocation, Workflow, Inference)):
            is_task_known = _add_task(facts, span.operation)
        if isinstance(span.operation, Inference):
            has_content = span.attributes.get(CONTENT_LEVEL) != "none"
            above = (outer.operation for outer in trace.ancestors(span))
            caller = next((outer.name for outer in above if isinstance(outer, (AgentInvocation, Workflow))), "")
            _add_call(facts, caller, span.operation, has_content=has_content)
    for resource in resources.values():
        _add_program(facts, resource)
    return facts.environment()


def without_task(environment: Environment) -> Environment:
    """Return the environment without the fact of the run's task."""
    facts = {fact: contents for fact, contents in environment.facts.items() if fact.kind != "task"}
    return Environment(facts, environment.texts)


def environment_of_program(resource: Mapping[str, JsonValue], changes: str | None) -> Environment:
    """Return the facts of a program that runs now. ``changes``: its uncommitted changes, as in the attribute `VCS_CHANGES`."""
    facts = _Facts()
    _add_program(facts, resource)
    if changes is not None:
        facts.add(Fact("uncommitted changes"), changes)
    return facts.environment()


def compare(before: Environment, now: Environment) -> list[Change]:
    """Return the changes, the likeliest cause first."""
    callers = before.callers() & now.callers()
    comparable_kinds = before.kinds() & now.kinds() | _OF_SOME_CALLS
    changes = []
    for fact in sorted({**before.facts, **now.facts}, key=lambda fact: KINDS.index(fact.kind)):
        is_of_a_call = fact.kind not in PROGRAM_KINDS and fact.kind != "task"
        if fact.kind not in comparable_kinds or (is_of_a_call and fact.where not in callers):
            continue
        old, new = before.facts.get(fact, ()), now.facts.get(fact, ())
        if fact.kind == "environment variable" and not (old and new):
            continue  # each program lists the variables to record; only those on both lists can be compared
        if (not old and _is_unknown(fact, before)) or (not new and _is_unknown(fact, now)):
            continue
        old, new = old or (ABSENT,), new or (ABSENT,)
        gone = tuple(content for content in old if content not in new)
        came = tuple(content for content in new if content not in old)
        if gone and came:
            changes.append(Change(fact, gone, came))
    # left out, since they follow from a more specific change: the packages' digest, and a prompt whose template was replaced
    has_library = any(change.fact.kind == "library" for change in changes)
    replaced = {
        change.fact.where
        for change in changes
        if change.fact.kind == "prompt template" and (ABSENT,) not in (change.before, change.now)
    }
    changes = [
        change
        for change in changes
        if not (has_library and change.fact.kind == "installed packages")
        and not (change.fact.kind == "system prompt" and change.fact.where in replaced)
    ]
    return sorted(changes, key=lambda change: _rank(change, before, now))


def is_same_template(where: str, before: Environment, now: Environment) -> bool:
    """Return True if the calls of an agent use the same prompt templates in both runs, so that only the values can differ."""
    old, new = (
        {fact: contents for fact, contents in run.facts.items() if fact.kind == "prompt template" and fact.where == where}
        for run in (before, now)
    )
    return bool(old) and old == new


def _rank(change: Change, before: Environment, now: Environment) -> int:
    """Return the position in `KINDS`. A system prompt with other values in the same template ranks as parameters do."""
    kind = change.fact.kind
    if kind == "system prompt" and is_same_template(change.fact.where, before, now):
        kind = "parameters"
    return KINDS.index(kind)


def unknown_kinds(before: Environment, now: Environment) -> list[str]:
    """Return the kinds of program facts that only one environment has, so that they were not compared."""
    return [kind for kind in PROGRAM_KINDS if kind in before.kinds() ^ now.kinds()]


def _is_unknown(fact: Fact, environment: Environment) -> bool:
    """Return True if a run does not show if its calls had this tool, parameter or template: it was recorded without content, or
    by another writer."""
    if fact.kind not in _OF_SOME_CALLS:
        return False
    is_without_content = fact.kind in _SUMS and Fact(_SUMS[fact.kind], fact.where) in environment.facts
    return is_without_content or Fact("output schema", fact.where) not in environment.facts


def _add_task(facts: _Facts, operation: AgentInvocation | Workflow | Inference) -> bool:
    message = next((message for message in reversed(operation.input) if message.role == "user"), None)
    if message is None:
        return False
    text = message.text()
    facts.add(Fact("task"), _digest(text), text)
    return True


def _add_call(facts: _Facts, where: str, inference: Inference, *, has_content: bool) -> None:
    facts.add(Fact("model", where), inference.request_model or ABSENT)
    if inference.response_model:
        facts.add(Fact("answering model", where), inference.response_model)
    if inference.system_fingerprint:
        facts.add(Fact("provider fingerprint", where), inference.system_fingerprint)
    if inference.server_address:
        facts.add(Fact("server", where), inference.server_address)
    digests = inference.fingerprint
    if digests is None:
        if not inference.input:
            return  # another writer's span without content
        digests = fingerprint(inference)
    optional: list[tuple[Fact, str, str | None]] = []
    for prompt in digests.prompts:
        name, _, digest = prompt.rpartition(" ")
        optional.append((Fact("prompt template", where, name), digest, None))
    facts.add(Fact("system prompt", where), digests.system or ABSENT, _system_text(inference) if digests.system else None)
    form = inference.parameters.get("response_format") or inference.parameters.get("text")
    facts.add(Fact("output schema", where), digests.output or ABSENT, None if form is None else _json(form))
    if not has_content:
        facts.add(Fact("tools", where), digests.tools or ABSENT)
        facts.add(Fact("parameters", where), digests.parameters or ABSENT)
    for tool in inference.tools:
        # the parts of the definition that are sent to the model
        text = "\n".join([tool.description or "", _json(tool.parameters), *(["strict"] if tool.strict else [])])
        optional.append((Fact("tool", where, tool.name), _digest(text), text))
    optional += [(Fact("parameter", where, name), content, None) for name, content in _parameters(inference)]
    for fact, content, content_text in optional:
        facts.add(fact, content, content_text)
    facts.calls.setdefault(where, []).append(frozenset(fact for fact, _, _ in optional))


def _system_text(inference: Inference) -> str | None:
    parts: list[Part] = [*inference.system]
    for message in inference.input:
        if message.role in SYSTEM:
            parts += message.parts
    return "\n".join(part.content for part in parts if isinstance(part, Text)) or None


def _parameters(inference: Inference) -> Iterator[tuple[str, str]]:
    for name, content in inference.parameters.items():
        if name in _OF_ONE_CALL or name == "response_format":  # the latter is in the fact "output schema"
            continue
        if name == "text" and isinstance(content, Mapping):
            content = {member: setting for member, setting in content.items() if member != "format"}
            if not content:
                continue
        text = _json(content)
        yield name, text if len(text) <= _LONGEST else _digest(text)


def _add_program(facts: _Facts, resource: Mapping[str, JsonValue]) -> None:
    version = resource.get(PYTHON_VERSION)
    if isinstance(version, str):
        facts.add(Fact("python"), f"{resource.get(PYTHON_NAME) or 'python'} {version}")
    for name, attribute in (("service version", SERVICE_VERSION), ("code", VCS_REVISION), ("installed packages", PACKAGES)):
        content = resource.get(attribute)
        if isinstance(content, str):
            facts.add(Fact(name), content)
    libraries = resource.get(LIBRARIES)
    for library in libraries if isinstance(libraries, (list, tuple)) else ():
        name, _, version = str(library).rpartition(" ")
        facts.add(Fact("library", "", name), version)
    for attribute, content in resource.items():
        if attribute.startswith(ENV_PREFIX):
            facts.add(Fact("environment variable", "", attribute.removeprefix(ENV_PREFIX)), str(content))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _json(content: JsonValue) -> str:
    return json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)


# -- as JSON


def facts_as_json(environment: Environment) -> list[dict[str, Any]]:
    return [
        {**{key: part for key, part in fact._asdict().items() if part}, "values": list(contents)}
        for fact, contents in environment.facts.items()
    ]


def facts_from_json(items: Iterable[Mapping[str, Any]]) -> Environment:
    """Return the environment that `facts_as_json` wrote. Kinds that a later version adds are left out. Raises ValueError for
    other data."""
    facts: dict[Fact, tuple[str, ...]] = {}
    for item in items:
        try:
            fact = Fact(str(item["kind"]), str(item.get("where", "")), str(item.get("name", "")))
            contents = item["values"]
        except (KeyError, TypeError, AttributeError):
            raise ValueError("expected a fact with a kind and values") from None
        if not isinstance(contents, list):
            raise ValueError(f"expected a list of the values of {fact.kind!r}, got {type(contents).__name__}")
        if fact.kind in KINDS:
            facts[fact] = tuple(map(str, contents))
    return Environment(facts, {})
