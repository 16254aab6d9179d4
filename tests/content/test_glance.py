from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmtrace.config import Config
from llmtrace.content import Content, Redactor
from llmtrace.content.glance import Glance
from llmtrace.model import Evaluation, Inference, Message, Span, Text, ToolCall, Violation, replace
from tests import strategies
from tests.content import spans

SECRET = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"
LOOKED = settings(deadline=None, suppress_health_check=list(HealthCheck))


def without_glance(options: dict[str, Any]) -> Content:
    content = Content(Config.read(**options))
    content._glance.is_clean = lambda _span: False  # type: ignore[method-assign]
    return content


OPTIONS: list[dict[str, Any]] = [
    {"content": "all"},
    {"content": "none"},
    {"content": "all", "max_content_bytes": 300},
    {"content": "all", "redact_keys": ["a"]},
    {"content": "all", "redact": False},
]


@LOOKED
@given(strategies.spans(), st.sampled_from(OPTIONS))
def test_cleaning_is_the_same_with_it_as_without(span: Span, options: dict[str, Any]) -> None:
    """Whatever the span and the level, the first look changes nothing about what comes out, the first time and the next."""
    expected = without_glance(options).clean(replace(span, operation=_fresh(span.operation)))
    content = Content(Config.read(**options))
    for _ in range(2):
        assert strategies.alike(content.clean(span), expected)


def _fresh(operation: Any) -> Any:
    """The operation without what others remember on its messages."""
    changes: dict[str, Any] = {
        name: tuple(replace(each, cache={}) if hasattr(each, "cache") else each for each in getattr(operation, name))
        for name in ("input", "output", "tools")
        if hasattr(operation, name)
    }
    return replace(operation, **changes)


@pytest.mark.parametrize("place", range(len(spans.operations("x"))))
def test_a_secret_is_never_overlooked(place: int) -> None:
    """Where a secret stands in any text of an operation, the first look does not call it clean."""
    content = Content(Config.read(content="all"))
    span = Span("0" * 32, "0" * 16, "name", 1, 2, operation=spans.operations(SECRET)[place])
    assert not content._glance.is_clean(span)
    assert SECRET not in repr(content.clean(span))


@pytest.mark.parametrize(
    "found",
    [
        {"violations": (Violation("missing", "/a", "required", "it", got={"password": "hunter22"}),)},
        {"violations": (Violation("missing", "/password", "required", "it", got="hunter22"),)},
        {"evaluations": (Evaluation("e", "info", "it", evidence={"value": "hunter22"}, pointer="/a/password"),)},
        {"attributes": {"password": "hunter22"}},
    ],
)
def test_a_secret_by_its_name_is_never_overlooked(found: dict[str, Any]) -> None:
    """Nor where only the name, or the place that a value was taken from, says that it is a secret."""
    span = Span("0" * 32, "0" * 16, "name", 1, 2, **found)
    cleaned = Content(Config.read(content="all")).clean(span)
    assert "hunter22" not in repr(cleaned)


def test_a_clean_span_comes_back_itself() -> None:
    """What holds nothing to take out is the same object, and its new messages are known from then on."""
    message = Message("assistant", (Text("all is well"), ToolCall("look_up", {"order": "A-17", "page": 2}, "c1")), cache={})
    span = Span("0" * 32, "0" * 16, "name", 1, 2, operation=Inference("openai", output=(message,)))
    content = Content(Config.read(content="all"))
    assert content.clean(span) is span
    assert content._messages in (message.cache or {})


def test_no_rule_asks_where_a_text_begins_or_ends() -> None:
    """Or texts could not be scanned together: no anchor has ``^``, ``$`` or the like outside of a class."""
    for rule in Redactor(Config.read(redact_keys=["mine"]), blobs=True)._scan._rules:
        bare = re.sub(r"\[(?:\\.|[^\]])*\]|\\[^AzZ]", "", rule.anchor)
        assert not re.search(r"\^|\$|\\[AzZ]", bare)


def test_glance_is_a_first_look_only() -> None:
    """A user's pattern, path or function makes it say nothing at all."""
    for rules in ({"redact_patterns": ["x"]}, {"redact_paths": ["$.x"]}, {"redact_with": str.upper}):
        glance: Glance = Content(Config.read(content="all", **rules))._glance
        assert not glance.is_clean(Span("0" * 32, "0" * 16, "name", 1, 2))
