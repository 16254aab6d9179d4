"""``@tool``: a function that a model may call. Its schema is derived from its signature and docstring, or passed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, cast, get_args, overload

from llmtrace.config import OnInvalid, suggest_keywords
from llmtrace.decorators.options import check_text
from llmtrace.decorators.tool_execution import ToolSpec, called_directly
from llmtrace.errors import ConfigurationError
from llmtrace.model import JsonValue
from llmtrace.recorder import functions
from llmtrace.recorder.function_proxy import BoundProxy, DecoratedProxy
from llmtrace.validation import parameters as _parameters  # noqa: F401 - a tool's first call may find no descriptor left …
from llmtrace.validation import result_schema as _results  # noqa: F401 - … to import them with
from llmtrace.validation.compiled_schema import compile_schema
from llmtrace.validation.signature import Signature

if TYPE_CHECKING:
    from llmtrace.guards.receipt_reader import Reader
    from llmtrace.guards.review_policy import Condition, ReviewPolicy

CONFIRM_SECONDS = 2.0
"""Seconds that reading a change back may take by default."""

P = ParamSpec("P")
R = TypeVar("R")


class ToolFunction(DecoratedProxy):
    def __init__(self, function: Any, spec: ToolSpec) -> None:
        kind = functions.kind_of(function)

        def call(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            bound = wrapped is not function
            if kind == "plain":
                step = called_directly(spec, args, kwargs, bound=bound, receiver=instance)
                return functions.call_plain(wrapped, step, awaits=True)
            return functions.call(
                kind, wrapped, args, kwargs, lambda: called_directly(spec, args, kwargs, bound=bound, receiver=instance)
            )

        super().__init__(function, call)
        self._self_spec = spec


@overload
def tool(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    schema: type | Mapping[str, JsonValue] | None = None,
    strict: bool = False,
    on_invalid: OnInvalid | None = None,
    changes: bool | None = None,
    polls: bool = False,
    trusted: bool | None = None,
    review: Condition | Sequence[Condition] = False,
    on_denied: Literal["reply", "raise"] = "reply",
    probe: Callable[[Any], bool | None] | None = None,
    confirm: Callable[..., Any] | None = None,
    confirm_timeout: float | str = CONFIRM_SECONDS,
    confirm_within: float | str | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


@suggest_keywords
def tool(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    schema: type | Mapping[str, JsonValue] | None = None,
    strict: bool = False,
    on_invalid: OnInvalid | None = None,
    changes: bool | None = None,
    polls: bool = False,
    trusted: bool | None = None,
    review: Condition | Sequence[Condition] = False,
    on_denied: Literal["reply", "raise"] = "reply",
    probe: Callable[[Any], bool | None] | None = None,
    confirm: Callable[..., Any] | None = None,
    confirm_timeout: float | str = CONFIRM_SECONDS,
    confirm_within: float | str | None = None,
) -> Any:
    """Trace a function as a tool and check its arguments before it runs.

    ``name`` and ``description``: default, the function's name and docstring. ``schema``: a JSON Schema of the parameters, a
    pydantic model, or a provider's tool definition; default, derived from the signature. ``strict`` (default False): unexpected
    members and wrong formats are errors, not warnings. ``on_invalid`` says what to do with arguments that break the schema, or
    that a pydantic validator of the tool refuses:

    * ``record`` (default, or what ``configure(on_invalid=)`` says): run it, and record the faults;
    * ``raise``: raise `InvalidToolCall`, do not run it;
    * ``reply``: do not run it; the result is a text that tells the model all faults at once;
    * ``repair``: run it with a lossless correction if there is one, else reply;
    * ``review``: let a person decide.

    ``review``: which calls wait for a person before they run: True, all; ``"when changing"``, those of a tool that changes
    something; ``"when ungrounded"``, those with an identifier that nothing visible contains; ``"when untrusted"``, those with a
    value that only the text of a tool's result contains; or a function of the arguments (a dict) and a `ReviewContext` that
    returns True, or a reason, to hold the call. In a list, one condition is enough to hold a call. `llmtrace.review` explains
    who decides, and what. The result of a denied call is a text that says so (``on_denied="reply"``, default), or the call
    raises `ReviewDenied` (``"raise"``). ``probe``: a function of the arguments for a call during which the program died. It
    returns whether the call took effect, or None if it does not know. Without it, a person says so.

    ``confirm``: a function that reads a change back after it has answered, such as the program's own look-up; plain or async.
    It gets those of the tool's arguments that its parameters name, and the result as ``result``; or, as a function of two other
    parameters, all arguments (a dict) and the result. It returns the record, a list of the records that this call should have
    made, None or a LookupError for none, a bool, or a `Receipt`. Each member of the record that has an argument's name must be
    equal to that argument, or to what the result says in its place. The receipt is kept on the tool's span: *confirmed*;
    *missing*, *different* or *doubled*, which mark the run; or *unknown*, if the reader raised, took longer than
    ``confirm_timeout`` (seconds; default 2) or could tell nothing, which marks nothing. The tool's answer waits for the reader,
    which runs on another thread, unless it is async, without being recorded. ``confirm_within``: the change may take effect
    later, within seconds or a time such as ``"30s"``; it is looked at again, and the verdict on the run is completed. In a
    replay, no reader runs.

    Options for quality signals: ``changes=True``, each call changes something outside the program, so that the same call twice
    is a finding, and ``changes=False``, it does not; ``polls=True``, repeating a call is intended, and not a finding.
    ``trusted``: who may have written the tool's results, for ``review="when untrusted"`` of other tools. True: nobody but whom
    the program trusts; False: anybody; default: its text is not trusted, and whole fields of a structured result are.

    Raises `ConfigurationError` for a wrong value, for something that cannot be called or already is a tool, and for a
    ``schema`` that is not one.
    """
    if on_invalid is not None and on_invalid not in get_args(OnInvalid):
        raise ConfigurationError(f"tool(on_invalid={on_invalid!r}): expected one of {', '.join(get_args(OnInvalid))}")
    policy = _review_policy(review, on_denied, probe)
    check_text("tool", "name", name)
    check_text("tool", "description", description)
    for option, value in (("strict", strict), ("changes", changes), ("polls", polls), ("trusted", trusted)):
        if not (isinstance(value, bool) or (value is None and option in ("changes", "trusted"))):
            raise ConfigurationError(f"tool({option}={value!r}): expected True or False")
    changes = _is_change(changes, confirm, confirm_timeout, confirm_within)

    def decorate(function: Any) -> Any:
        inner = function.__func__ if isinstance(function, (classmethod, staticmethod)) else function
        if not callable(inner):
            raise ConfigurationError(f"tool({function!r}): expected a function; options go by name, as in @tool(name=...)")
        spec = tool_spec(inner)
        if spec is not None:
            raise ConfigurationError(
                f"tool({spec.definition.name!r}): it already is a tool, whose calls would count twice; decorate it once"
            )
        signature = Signature(
            inner,
            name=name,
            description=description,
            schema=schema,
            strict=strict,
            changes=changes,
            polls=polls,
            trusted=trusted,
        )
        if isinstance(schema, Mapping) and signature.definition.parameters is not None:
            compiled = compile_schema(signature.definition.parameters)
            if not compiled.is_schema:
                problem = f"the schema given as schema= cannot be used: {compiled.problem}"
                raise ConfigurationError(f"tool {signature.definition.name!r}: {problem}")
        reader = None if confirm is None else _reader(confirm, signature, confirm_timeout, confirm_within)
        return ToolFunction(function, ToolSpec(signature, on_invalid, policy, on_denied, probe, reader))

    return decorate if function is None else decorate(function)


def _review_policy(review: Any, on_denied: object, probe: object) -> ReviewPolicy | None:
    if on_denied not in ("reply", "raise"):
        raise ConfigurationError(f"tool(on_denied={on_denied!r}): expected 'reply' or 'raise'")
    if probe is not None and not callable(probe):
        raise ConfigurationError(f"tool(probe={probe!r}): expected a function of the arguments")
    if review is False:
        return None
    from llmtrace.guards.review_policy import review_policy

    return review_policy(review)


def _is_change(changes: bool | None, confirm: object, timeout: object, within: object) -> bool | None:
    """Return the option ``changes`` of a tool: one that is confirmed changes something. Raises `ConfigurationError`."""
    if confirm is None:
        if within is not None or timeout != CONFIRM_SECONDS:
            raise ConfigurationError("tool(confirm_timeout=..., confirm_within=...): they need confirm=, a function that reads")
        return changes
    if changes is False:
        raise ConfigurationError("tool(confirm=..., changes=False): only a change can be confirmed")
    return True


def _reader(confirm: Any, signature: Signature, timeout: float | str, within: float | str | None) -> Reader:
    """Return the reader of a tool. Raises `ConfigurationError`."""
    from llmtrace.guards.receipt_reader import Reader

    if tool_spec(confirm) is not None:  # a tool of its own: its body is run, without checks or reviews
        confirm = getattr(confirm, "__wrapped__", confirm)
    definition = signature.definition
    schema = definition.parameters if isinstance(definition.parameters, Mapping) else {}
    properties = schema.get("properties")
    parameters = frozenset(properties) if isinstance(properties, Mapping) else frozenset[str]()
    return Reader(confirm, definition.name, parameters, timeout=timeout, within=within)


def tool_spec(function: Any) -> ToolSpec | None:
    """Return the specification of a decorated function, or of a method bound from one; None without `tool`."""
    if issubclass(type(function), BoundProxy):  # not isinstance: a proxy passes for the object that it wraps
        function = function._self_parent
    return cast(ToolSpec, function._self_spec) if issubclass(type(function), ToolFunction) else None
