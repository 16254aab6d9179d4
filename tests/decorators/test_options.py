"""Options of decorators and blocks: ``name=`` by keyword everywhere; a wrong value is an error where it is written."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest

import llmtrace
from llmtrace.errors import ConfigurationError
from llmtrace.testing import Captured, capture


def work(task: str = "") -> str:
    return task


@pytest.mark.parametrize("decorator", [llmtrace.agent, llmtrace.workflow, llmtrace.span])
def test_a_name_is_given_by_position_or_by_keyword(decorator: Any, captured: Captured) -> None:
    """Of a decorator and of a block alike; two names are one too many."""
    decorator("a")(work)()
    decorator(name="b")(work)()
    with decorator("c"):
        pass
    with decorator(name="d"):
        pass
    assert [span.name[-1] for span in captured.spans] == ["a", "b", "c", "d"]
    with pytest.raises(TypeError, match="two names"):
        decorator("a", name="b")


def test_every_public_decorator_and_block_takes_a_name() -> None:
    """`context`, whose keywords are attributes, has none."""
    for decorator in (llmtrace.agent, llmtrace.tool, llmtrace.workflow, llmtrace.span, llmtrace.signal, llmtrace.slo):
        assert "name" in inspect.signature(decorator).parameters
    assert llmtrace.Budget(calls=1, name="trial").name == "trial"


@pytest.mark.parametrize(
    ("callee", "args", "wrong", "right"),
    [
        (llmtrace.agent, (), "nmae", "name"),
        (llmtrace.agent, ("support",), "budgets", "budget"),
        (llmtrace.tool, (), "on_invlid", "on_invalid"),
        (llmtrace.workflow, (), "budgt", "budget"),
        (llmtrace.span, (), "nmae", "name"),
        (llmtrace.signal, (), "look_at", "looks_at"),
        (llmtrace.slo, ("support",), "p_99", "p99"),
        (llmtrace.inference, ("openai",), "modle", "model"),
        (llmtrace.retrieval, ("refunds",), "topk", "top_k"),
        (llmtrace.Budget, (), "call", "calls"),
        (llmtrace.Tools, (work,), "on_failure", "on_fail"),
    ],
)
def test_an_unknown_option_is_a_type_error(callee: Any, args: tuple[Any, ...], wrong: str, right: str) -> None:
    """As of any function of Python, and with the nearest option in every version of Python."""
    with pytest.raises(TypeError) as error:
        callee(*args, **{wrong: "x"})
    assert str(error.value) == f"{callee.__name__}() got an unexpected keyword argument {wrong!r}. Did you mean {right!r}?"


@pytest.mark.parametrize(
    ("block", "wrong", "right"),
    [
        (lambda: llmtrace.agent("support"), "ouput", "output"),
        (lambda: llmtrace.inference("openai"), "ouput", "output"),
        (lambda: llmtrace.inference("openai"), "finish_reasons", "finish_reason"),
        (lambda: llmtrace.retrieval("refunds"), "document", "documents"),
    ],
)
def test_an_unknown_attribute_of_a_block_is_an_error(block: Callable[[], Any], wrong: str, right: str) -> None:
    """What is written to a misspelt name would be missing in the record; where nothing is recorded, too."""
    for recording in (capture(), contextlib.nullcontext()):
        with (
            recording,
            block() as opened,
            pytest.raises(AttributeError, match=rf"no attribute '{wrong}'. Did you mean '{right}'\?"),
        ):
            setattr(opened, wrong, "x")


@pytest.mark.parametrize(
    ("decorate", "message"),
    [
        (lambda: llmtrace.agent(budget=0.10), "agent(budget=0.1): expected a Budget or a list of them, as in budget=Budget("),  # type: ignore[call-overload]
        (lambda: llmtrace.agent(budget={}), "agent(budget={}): expected a Budget"),  # type: ignore[call-overload]
        (lambda: llmtrace.workflow(budget="x"), "workflow(budget='x'): expected a Budget"),  # type: ignore[call-overload]
        (lambda: llmtrace.agent(name=5), "agent(name=5): expected a text"),  # type: ignore[call-overload]
        (lambda: llmtrace.agent(description=5), "agent(description=5): expected a text"),  # type: ignore[call-overload]
        (lambda: llmtrace.agent(5), "agent(5): expected a function to decorate"),  # type: ignore[call-overload]
        (lambda: llmtrace.agent(check=5), "agent(check=5): expected JSON Schema, a pydantic model or a function"),  # type: ignore[call-overload]
        (lambda: llmtrace.agent(check={"type": "strnig"}), "agent(check=...): this is not a JSON Schema"),
        (lambda: llmtrace.span(name=""), "span(name=''): expected a text"),
        (lambda: llmtrace.tool(on_invalid="explode"), "tool(on_invalid='explode'): expected one of record, raise"),  # type: ignore[call-overload]
        (lambda: llmtrace.tool(strict="yes"), "tool(strict='yes'): expected True or False"),  # type: ignore[call-overload]
        (lambda: llmtrace.tool(name=5), "tool(name=5): expected a text"),  # type: ignore[call-overload]
        (lambda: llmtrace.signal(severity="bad"), "signal(severity='bad'): expected info, warning or error"),  # type: ignore[call-overload]
        (lambda: llmtrace.signal(below="0.5"), "signal(below='0.5'): expected a number"),  # type: ignore[call-overload]
        (lambda: llmtrace.signal(looks_at=str), "expected classes of llmtrace.model: Inference, ToolExecution"),
        (lambda: llmtrace.context(tags=5), "context(tags=5): expected a list of texts"),  # type: ignore[arg-type]
        (lambda: llmtrace.wrap(5), "wrap(5): expected a function"),  # type: ignore[arg-type]
        (lambda: llmtrace.slo("a", p99=0), "slo('a', p99=0): expected a number of seconds above 0"),
    ],
)
def test_a_wrong_value_is_an_error_where_it_is_written(decorate: Callable[[], Any], message: str) -> None:
    """At the decorator, not at the first call, and with what is expected."""
    with pytest.raises(ConfigurationError) as error:
        decorate()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("schema", "where"),
    [
        ({"type": "objekt"}, "/type"),
        ({"properties": {"order": {"type": "strnig"}}}, "/properties/order/type"),
        ({"type": "object", "required": "order"}, "/required"),
        ({"name": "work", "input_schema": {"type": "objekt"}}, "/type"),
    ],
)
def test_a_schema_that_is_none_is_refused_at_the_decorator(schema: dict[str, Any], where: str) -> None:
    """Else each call would go unchecked; the place in it is named."""
    with pytest.raises(ConfigurationError) as error:
        llmtrace.tool(schema=schema)(work)
    assert str(error.value) == (
        f"tool 'work': the schema given as schema= cannot be used: it is not a valid JSON Schema: {where} is not valid"
    )


@pytest.mark.parametrize("schema", [{}, {"$ref": "https://example.com/order.json"}, {"properties": {"a": {"pattern": "("}}}])
def test_a_schema_that_is_one_is_taken(schema: dict[str, Any]) -> None:
    """Also if it can only be used in part, which is logged when it is used."""
    assert llmtrace.tool(schema=schema)(work)("x") == "x"
