"""The door: what is off or redacted is nowhere, what is clean comes back as it is."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from llmtrace import semconv
from llmtrace.codec import genai
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.content.truncation import json_size
from llmtrace.model import (
    Custom,
    Evaluation,
    Exchange,
    Failure,
    Inference,
    Message,
    Operation,
    Recorded,
    Review,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    ToolResult,
    Violation,
    replace,
)
from tests.content.spans import full_span, operations
from tests.strategies import alike, spans

CANARY = "CANARY7QX"
SECRET = "sk-proj-CANARY0123456789abcdef"


def without_content(content: Content, span: Span) -> Span:
    """The span as it is read where content is not kept."""
    return genai.decode(content.without_content(content.write(span)))


def looks(span: Span) -> str:
    """All of a span, independent of any encoding; what others remember in a message's cache included."""
    caches: list[Any] = []
    operation: Any = span.operation
    for name in ("input", "output"):
        caches += [message.cache for message in getattr(operation, name, ())]
    return repr(span) + repr(caches)


@pytest.mark.parametrize("operation", operations(CANARY), ids=lambda operation: type(operation).__name__)
def test_a_bare_span_holds_no_content(operation: Operation) -> None:
    """What is off is nowhere: not in messages, arguments, errors, offending values, evidence, events or foreign attributes."""
    span = full_span(operation, CANARY)
    assert CANARY in repr(span)
    for level in ("none", "local", "all"):
        bare = without_content(Content(Config(content=level)), span)
        assert CANARY not in looks(bare)
        assert bare.attributes[semconv.CONTENT_LEVEL] == "none"
        assert bare.attributes["tenant"] == "blue"
    assert CANARY not in looks(Content(Config(content="none")).clean(span))


@pytest.mark.parametrize("operation", operations(SECRET), ids=lambda operation: type(operation).__name__)
def test_a_secret_is_nowhere_in_a_clean_span(operation: Operation) -> None:
    """What is redacted is nowhere, in whichever place of the span it stood."""
    for content_attributes in (True, False):
        span = full_span(operation, SECRET, content_attributes=content_attributes)
        clean = Content(Config()).clean(span)
        assert SECRET in repr(span)
        assert "CANARY" not in looks(clean)
        assert clean.attributes[semconv.CONTENT_REDACTED] > 5


@pytest.mark.parametrize(
    "rules",
    [{"redact_patterns": ("CANARY\\w+",)}, {"redact_with": lambda text: text.replace(CANARY, "#")}],
    ids=["pattern", "function"],
)
def test_a_users_rule_reaches_every_place(rules: dict[str, Any]) -> None:
    """Regular expressions and the function see every text of the span, also with the common secrets off."""
    for operation in operations(CANARY):
        for content_attributes in (True, False):
            span = full_span(operation, CANARY, content_attributes=content_attributes)
            assert CANARY not in looks(Content(Config(redact=False, **rules)).clean(span))


def test_a_password_is_taken_out_wherever_the_span_repeats_it() -> None:
    """What a key name marks as secret is a secret in the result, the error and the findings, too."""
    span = Span(
        "0" * 32,
        "1" * 16,
        "execute_tool log_in",
        1,
        2,
        operation=ToolExecution("log_in", {"password": "hunter2!"}, "no user with hunter2!", True),
        failure=Failure("ValueError", "hunter2! is wrong", "raise ValueError('hunter2! is wrong')"),
        violations=(
            Violation("too_long", "/password", "maxLength", "is too long", 5, "hunter2!"),
            Violation("wrong_type", "/login", "type", "…", got={"password": "hunter2!"}),
            Violation("too_long", "/logins/0/pin_password", "maxLength", "is too long", 5, 12345678),
        ),
        evaluations=(Evaluation("made_up", "warning", "…", evidence={"value": "hunter2!"}, pointer="/password"),),
    )
    clean = Content(Config()).clean(span)
    assert "hunter2" not in repr(clean)
    assert "12345678" not in repr(clean)
    assert isinstance(clean.operation, ToolExecution)
    assert clean.operation.arguments == {"password": "[REDACTED:key]"}
    assert clean.operation.result == "no user with [REDACTED:key]"


def test_a_document_that_was_clean_before_is_not_where_it_repeats_a_secret() -> None:
    content, harmless = Content(Config()), {"said": "hunter2!"}
    for _ in range(2):
        before = content.clean(Span("0" * 32, "1" * 16, "t", 1, 2, operation=ToolExecution("t", harmless)))
        assert isinstance(before.operation, ToolExecution)
        assert before.operation.arguments == harmless
    repeated = ToolExecution("log_in", {"password": "hunter2!"}, {"said": "hunter2!"}, True)
    clean = content.clean(Span("0" * 32, "2" * 16, "log_in", 1, 2, operation=repeated))
    assert clean.operation == ToolExecution("log_in", {"password": "[REDACTED:key]"}, {"said": "[REDACTED:key]"}, True)


def test_a_clean_span_is_written_as_it_is() -> None:
    """Nothing to redact, cut or take out: it is written as by the plain encoder."""
    for operation in operations("fine"):
        content = Content(Config())
        clean = content.clean(full_span(operation, "fine"))
        assert content.write(clean) == genai.encode(clean)


def test_a_message_seen_before_is_not_looked_at_again() -> None:
    """Cleaned once, and counted each time."""
    seen: list[str] = []
    message = Message("user", (Text(f"my key is {SECRET}"),), cache={"codec": "raw fragment"})
    content = Content(Config(redact_with=lambda text: seen.append(text) or text))  # type: ignore[func-returns-value]
    first, second = (
        content.clean(Span("0" * 32, str(number) * 16, "chat", 1, 2, operation=Inference("openai", input=(message,))))
        for number in (1, 2)
    )
    assert isinstance(first.operation, Inference)
    assert isinstance(second.operation, Inference)
    assert seen == ["my key is [REDACTED:openai_key]"]
    assert first.operation == second.operation
    assert first.attributes == second.attributes == {semconv.CONTENT_REDACTED: 1}
    assert Content(Config(redact=False)).clean(first).operation == first.operation


def test_a_message_without_cache_is_cleaned_each_time() -> None:
    message = Message("user", (Text(f"my key is {SECRET}"),))
    span = Span("0" * 32, "1" * 16, "chat", 1, 2, operation=Inference("openai", input=(message,)))
    assert Content(Config()).clean(span).operation == Content(Config()).clean(span).operation
    assert message.cache is None


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(spans())
def test_cleaning_never_raises_and_is_done_after_once(span: Span) -> None:
    """Any span of the model: cleaned without error, and a clean one stays as it is."""
    content = Content(Config())
    clean = content.clean(span)
    assert clean.attributes.get(semconv.CONTENT_LEVEL) == span.attributes.get(semconv.CONTENT_LEVEL)
    assert alike(content.clean(clean), clean)
    bare = without_content(content, span)
    assert alike(without_content(content, bare), bare)
    assert (bare.trace_id, bare.span_id, bare.start, bare.end) == (span.trace_id, span.span_id, span.start, span.end)


def test_the_span_given_is_not_changed() -> None:
    for operation in operations(SECRET):
        span = full_span(operation, SECRET)
        before = repr(span)
        Content(Config(max_content_bytes=2000)).clean(span)
        without_content(Content(Config()), span)
        assert repr(span) == before


def test_a_rule_that_cannot_be_read_turns_content_off(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails closed: no content at all, one log line that names the rule, not even the user's attributes as text."""
    monkeypatch.setattr("llmtrace.content.redaction._reported_rules", set())
    for rules in (
        {"redact_patterns": ("(unclosed",)},
        {"redact_paths": ("user.ssn",)},
        {"redact_keys": (re.compile("ssn"),)},
        {"redact_with": "mask"},
    ):
        caplog.clear()
        with caplog.at_level(logging.ERROR, logger="llmtrace"):
            content = Content(Config(content="all", **rules))  # type: ignore[arg-type]
        assert len(caplog.records) == 1
        assert next(iter(rules)) in caplog.text
        assert not content.exports_content
        clean = content.clean(full_span(operations(CANARY)[0], CANARY))
        assert CANARY not in looks(clean)
        assert "tenant" not in clean.attributes
        assert clean.name == "step"


def test_a_broken_rule_is_said_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program cleans content for several places; each rule that cannot be read is one line, not one for each of them."""
    monkeypatch.setattr("llmtrace.content.redaction._reported_rules", set())

    class Unshown:
        def __repr__(self) -> str:
            raise ValueError

    rules: Any = ("customer.email", "$.ok", b"$.a", Unshown())
    with caplog.at_level(logging.ERROR, logger="llmtrace"):
        for _ in range(3):
            assert not Content(Config(content="all", redact_paths=rules)).exports_content
        Content(Config(redact_keys=rules[2:3]))
    said = [record.getMessage().partition(" cannot be used")[0] for record in caplog.records]
    assert said == [
        "llmtrace: configure(redact_paths): the rule 'customer.email'",
        "llmtrace: configure(redact_paths): the rule b'$.a'",
        "llmtrace: configure(redact_paths): the rule <Unshown>",
        "llmtrace: configure(redact_keys): the rule b'$.a'",
    ]


def test_a_function_that_raises_hides_the_text_it_was_given(caplog: pytest.LogCaptureFixture) -> None:
    """Fails closed and says so once, without the text."""

    def mask(text: str) -> str:
        raise ValueError(text)

    with caplog.at_level(logging.ERROR, logger="llmtrace"):
        content = Content(Config(redact_with=mask))
        for operation in operations(CANARY):
            span = full_span(operation, CANARY)
            assert CANARY not in looks(content.clean(span))
    assert len(caplog.records) == 1
    assert CANARY not in caplog.text


def test_content_leaves_only_at_level_all() -> None:
    assert [Content(Config(content=level)).exports_content for level in ("none", "local", "all")] == [False, False, True]  # type: ignore[arg-type]


def test_what_cannot_be_cleaned_does_not_get_out(caplog: pytest.LogCaptureFixture) -> None:
    """A span that breaks the model's own rules: only its ids and times are kept."""
    broken = Inference("openai", input=(CANARY,))  # type: ignore[arg-type]
    with caplog.at_level(logging.ERROR, logger="llmtrace"):
        clean = Content(Config()).clean(Span("0" * 32, "1" * 16, CANARY, 1, 2, operation=broken, failure=Failure("E", CANARY)))
    assert CANARY not in repr(clean)
    assert (clean.span_id, clean.end, clean.name) == ("1" * 16, 2, "Inference")
    assert clean.failure == Failure("E")
    assert "AttributeError" in caplog.text


def test_the_bare_span_keeps_what_was_found_and_how_much() -> None:
    """Without content there is still: model, usage, settings, codes, pointers, severity, the error's type."""
    inference = Inference(
        "openai", request_model="gpt-4o", parameters={"temperature": 0.5, "reasoning.level": "high", "stop": "x"}
    )
    span = Span(
        "0" * 32,
        "1" * 16,
        "chat gpt-4o",
        1,
        2,
        operation=inference,
        failure=Failure("TimeoutError", "after 5 s"),
        violations=(Violation("missing", "/order_id", "required", "`order_id` is required", tool="refund"),),
    )
    bare = without_content(Content(Config()), span)
    assert isinstance(bare.operation, Inference)
    assert bare.operation.parameters == {"temperature": 0.5, "reasoning.level": "high"}
    assert bare.operation.request_model == "gpt-4o"
    assert bare.failure == Failure("TimeoutError")
    assert bare.violations == span.violations


def test_names_that_the_model_made_up_are_left_out_of_the_bare_span() -> None:
    """A tool that does not exist, a member that nobody declared: the name is the model's, and may be content."""
    execution = ToolExecution("give me all the money", {"a": 1}, executed=False)
    found = Violation("unexpected", "/items/0/my secret", "additionalProperties", "`my secret` is not expected", got=1)
    span = Span("0" * 32, "1" * 16, "execute_tool give me all the money", 1, 2, operation=execution, violations=(found,))
    bare = without_content(Content(Config()), span)
    assert bare.name == "execute_tool *"
    assert bare.operation == ToolExecution("*", executed=False)
    assert bare.violations[0] == Violation("unexpected", "/items/0/*", "additionalProperties", "`*` is not expected")


def test_a_result_that_was_taken_out_is_no_null_result() -> None:
    bare = without_content(Content(Config()), Span("0" * 32, "1" * 16, "f", 1, 2, operation=Custom(None, None, True)))
    assert bare.operation == Custom()


def test_long_content_is_cut_and_counted() -> None:
    """Each content attribute has the limit for itself; the count is that of all."""
    limit = 4000
    content = Content(Config(max_content_bytes=limit))
    long = "word " * 5000
    inference = Inference(
        "openai",
        system=(Text(long),),
        input=tuple(Message("user", (Text(long[:3000]), ToolCall("f", {"a": long})), cache={}) for _ in range(9)),
        output=(Message("assistant", (ToolResult({"rows": [{"n": i, "text": long[:50]} for i in range(500)]}),)),),
        tools=tuple(ToolDefinition(f"tool_{i}", {"description": long}, long, cache={}) for i in range(3)),
        parameters={"metadata": {"note": long}},
    )
    span = Span("0" * 32, "1" * 16, "chat", 1, 2, operation=inference, failure=Failure("E", long, long), attributes={"a": long})
    clean = content.clean(span)
    assert isinstance(clean.operation, Inference)
    for held in (clean.operation.system, clean.operation.parameters, clean.failure.message, clean.attributes["a"]):  # type: ignore[union-attr]
        assert json_size(held) <= limit + 100
    for messages in (clean.operation.input, clean.operation.output):
        assert sum(json_size(message.parts) for message in messages) <= limit
    assert sum(json_size(tool.parameters) + json_size(tool.description) for tool in clean.operation.tools) <= limit
    assert clean.attributes[semconv.CONTENT_TRUNCATED] > 9 * 3000 + 3 * len(long)


def test_the_resource_is_cleaned_once_and_not_counted() -> None:
    """It is the program's, and the same on every span."""
    resource = {"service.name": "shop", "process.command_args": ["run", f"--key={SECRET}"]}
    content = Content(Config())
    first = content.clean(Span("0" * 32, "1" * 16, "a", 1, 2, resource=resource))
    second = content.clean(Span("0" * 32, "2" * 16, "b", 1, 2, resource=resource))
    assert first.resource is second.resource
    assert SECRET not in repr(first)
    assert semconv.CONTENT_REDACTED not in first.attributes


def test_what_a_message_hides_is_hidden_in_what_was_found_about_it() -> None:
    """A secret that is known by its name in the answer is repeated by no explanation, evidence or failure; also later on."""
    content = Content(Config())
    answer = Message("assistant", (Text("Your password: Zq8fK2mN4pR6 was set"),), cache={})
    found = Evaluation("unsupported_claim", "warning", "it says Zq8fK2mN4pR6", evidence={"claim": "Zq8fK2mN4pR6 was set"})
    for _ in range(2):  # the second time, the message is known
        operation = Inference("openai", "gpt-4o", output=(answer,))
        span = Span("0" * 32, "1" * 16, "chat", 1, 2, operation=operation, evaluations=(found,))
        span = replace(span, failure=Failure("ValueError", "cannot use Zq8fK2mN4pR6"))
        assert "Zq8fK2mN4pR6" not in repr(replace(content.clean(span)))


def test_names_of_members_are_redacted_too() -> None:
    """A name that is or holds a secret, beside a value that is one, or that repeats one."""
    content = Content(Config())
    arguments = {SECRET: 1, f"{SECRET}_token": "x1y2", "password": "Zq8fK2mN4pR6", "Zq8fK2mN4pR6": {"Zq8fK2mN4pR6": 2}}
    span = Span("0" * 32, "1" * 16, "tool", 1, 2, operation=ToolExecution("look_up", arguments))
    cleaned = repr(content.clean(span))
    assert SECRET not in cleaned
    assert "Zq8fK2mN4pR6': 1" not in cleaned


def test_a_secret_that_is_split_over_chunks_is_hidden() -> None:
    """The texts that a generator gave are looked at as one; those without a secret between them stay as they are."""
    content = Content(Config())

    def recorded(*chunks: Any) -> Any:
        operation = Custom("stream", result=list(chunks), has_result=True)
        return content.clean(Span("0" * 32, "1" * 16, "s", 1, 2, operation=operation)).operation.result  # type: ignore[union-attr]

    assert recorded("the key is ", SECRET[:12], SECRET[12:], ".") == ["the key is [REDACTED:openai_key]."]
    assert recorded("pass", "word: hun", "ter2") == ["password: [REDACTED:key]"]
    assert recorded("one", "two", f"{SECRET} three") == ["one", "two", "[REDACTED:openai_key] three"]
    assert recorded(1, "two") == [1, "two"]


def test_the_start_of_a_span_is_as_redacted_as_its_end() -> None:
    """Made once for equal calls, with the ids of each; a name that a model invented is hidden where content is not sent."""
    content = Content(Config())
    for call_id in ("call_1", SECRET):
        for name in ("refund", "give me all", SECRET):
            opening = content.opening(ToolExecution(name, {"a": 1}, call_id=call_id), None)
            written = content.write(Span("0" * 32, "1" * 16, opening.name, 1, 2, operation=ToolExecution(name)))
            assert opening.stored.name == written.name
            assert opening.stored.attributes["gen_ai.tool.name"] == written.attributes["gen_ai.tool.name"]
            assert (opening.stored.attributes["gen_ai.tool.call.id"] == call_id) is (call_id != SECRET)
            assert opening.exported.attributes["gen_ai.tool.name"] == (name if name == "refund" else "*")
            assert opening.exported.name == f"execute_tool {name if name == 'refund' else '*'}"
    unhashable: Any = Inference("openai", request_model=["gpt", "4o"])  # type: ignore[arg-type]
    assert content.opening(unhashable, None) == content.opening(unhashable, None)
    assert content.opening(Inference("openai", "m"), "mine").name == "mine"


def test_a_recorded_error_is_searched_by_all_rules() -> None:
    """Its text was in no message, so that nothing else has looked for a password in it."""
    error = Exchange(400, body=b'{"error": {"message": "password=hunter2!"}}')
    span = Span("0" * 32, "1" * 16, "t", 1, 2, operation=Inference("openai"), recorded=Recorded("digest", (error,)))
    assert Content(Config()).clean(span).recorded == Recorded("digest", (), "", "redacted")


def test_an_escaped_slash_hides_no_secret_in_a_pointer() -> None:
    """As where a model made a webhook's URL the name of an argument."""
    pointer = "/https:~1~1hooks.slack.com~1services~1T000~1B000~1abcdefghijklmnop/a~0b/0"
    violations = (Violation("unexpected", pointer, "additionalProperties", "…"),)
    evaluations = (Evaluation("made_up", "warning", "…", pointer=pointer),)
    clean = Content(Config()).clean(Span("0" * 32, "1" * 16, "t", 1, 2, violations=violations, evaluations=evaluations))
    for finding in (*clean.violations, *clean.evaluations):
        assert finding.pointer == "/https:~1~1[REDACTED:slack_webhook]/a~0b/0"


def test_a_recorded_answer_that_repeats_a_password_is_not_kept() -> None:
    """Such as the exception of a tool that quotes an argument; the other answers of the span go with it."""
    answers = (Exchange(body=b'{"args": ["hunter2! is wrong"]}'), Exchange(body=b"fine"))
    execution = ToolExecution("log_in", {"password": "hunter2!"})
    span = Span("0" * 32, "1" * 16, "t", 1, 2, operation=execution, recorded=Recorded("digest", answers))
    assert Content(Config()).clean(span).recorded == Recorded("digest", (), "", "redacted")
    fine = Content(Config()).clean(replace(span, operation=ToolExecution("log_in", {"user": "hunter2!"})))
    assert fine.recorded == Recorded("digest", answers)


@pytest.mark.parametrize(
    ("rules", "tool", "arguments"),
    [
        ({"redact_with": lambda text: text.replace("Bob", "XX")}, f"wire Bob {CANARY}", None),
        ({"redact_with": lambda text: 1 / 0}, f"wire Bob {CANARY}", None),
        ({"redact_patterns": ("(",)}, f"wire Bob {CANARY}", None),
        ({"max_content_bytes": 1024}, f"wire {CANARY} " * 200, None),
        ({}, f"do {CANARY}-and-3 now", {"password": f"{CANARY}-and-3"}),
    ],
)
def test_a_name_that_a_model_made_up_is_in_no_form_left_in_the_name_of_its_span(
    rules: dict[str, Any], tool: str, arguments: Any
) -> None:
    """However the tool's own name was redacted or cut."""
    for operation in (ToolExecution(tool, arguments), Review(tool, tool=tool, payload=arguments)):
        span = Span("0" * 32, "1" * 16, f"execute_tool {tool}", 1, 2, operation=operation)
        assert CANARY not in repr(Content(Config(content="none", **rules)).write(span))
        content = Content(Config(**rules))
        assert CANARY not in repr(content.without_content(content.write(span)))


def test_a_secret_of_repaired_arguments_is_nowhere_else_in_the_call() -> None:
    execution = ToolExecution(f"say {CANARY}-3", "broken", f"welcome {CANARY}-3", True, repaired={"password": f"{CANARY}-3"})
    assert CANARY not in repr(Content(Config()).write(Span("0" * 32, "1" * 16, "step", 1, 2, operation=execution)))


def test_only_plain_starts_are_remembered() -> None:
    """Not what equals another value and is written in another way, nor what is long; whatever its hash raises."""

    class Odd(str):
        __slots__ = ()

    class Unhashable(str):
        __slots__ = ()

        def __hash__(self) -> int:
            raise ValueError

    content = Content(Config())
    for model in (Odd(SECRET), Unhashable("m"), "m" * 1000):
        content.opening(Inference("o", request_model=model), "short")
    assert content.opening(Inference("o", request_model=SECRET), "short").stored.attributes["gen_ai.request.model"] != SECRET
    assert len(content._openings) == 1
