"""What can be configured: one frozen `Config`; each field has an ``LLMTRACE_<FIELD>`` variable.

Order: an argument of ``configure()`` wins over the variable, the variable over the default. Law: a wrong value never stops
the program; it is named in one log line on the logger ``llmtrace`` and the default is used.
"""

from __future__ import annotations

import difflib
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import unquote

logger = logging.getLogger("llmtrace")

ContentLevel: TypeAlias = Literal["none", "local", "all"]
OnInvalid: TypeAlias = Literal["record", "raise", "reply", "repair"]
Profile: TypeAlias = Literal["full", "tempo"]


def _flag(text: str) -> bool:
    words = {"1": True, "true": True, "on": True, "yes": True, "0": False, "false": False, "off": False, "no": False}
    try:
        return words[text.strip().lower()]
    except KeyError:
        raise ValueError("on or off") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _choice(choices: Any) -> Callable[[str], str]:
    def read(text: str) -> str:
        word = text.strip().lower()
        if word not in get_args(choices):
            raise ValueError(f"one of {', '.join(get_args(choices))}")
        return word

    return read


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = 0
        if number <= 0:
            raise ValueError("a number above 0")
        return number

    return read


def _number(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or given <= 0:
        raise ValueError("a number above 0")
    return given


def _share(given: Any) -> float:
    try:
        share = -1.0 if isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError("a share from 0 to 1")
    return share


def _price_table(text: str) -> dict[str, Any]:
    try:
        table = json.loads(text)
    except ValueError:
        table = None
    return _mapping(table)


def _mapping(given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError("an object: {model: {input, output}}")
    return dict(given)


def _headers(text: str) -> dict[str, str]:
    """As OTEL_EXPORTER_OTLP_HEADERS. Never raises, since a message would hold what is secret; what has no name is left out."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        _warn("LLMTRACE_STORE_HEADERS: a part without a name or '=' is left out")
    return {name.strip(): unquote(value.strip()) for name, equals, value in pairs if name.strip() and equals}


def _texts(given: Any) -> dict[str, str]:
    return {str(name): str(text) for name, text in given.items()} if isinstance(given, Mapping) else {}


def _list(given: Any) -> tuple[Any, ...]:
    try:
        return tuple(given)
    except TypeError:
        raise ValueError("a list of names") from None


def _rules(given: Any) -> tuple[Any, ...]:
    """As they are: what cannot be a rule of redaction is not left out, but keeps all content in (see `content.redaction`)."""
    if isinstance(given, (bytes, bytearray)):  # no list of numbers
        return (given,)
    try:
        return tuple(given)
    except Exception:
        return (given,)


def _truth(given: Any) -> bool:
    if given not in (True, False):
        raise ValueError("True or False")
    return bool(given)


def _as_it_is(given: Any) -> Any:
    return given


def _option(
    default: Any,
    read: Callable[[str], Any],
    doc: str,
    *,
    of: Any = None,
    take: Callable[[Any], Any] = _as_it_is,
    secret: bool = False,
) -> Any:
    """A field: its default, how its variable's text is read, its line in the docs, and the words it may hold.

    ``take`` checks an argument that is no text; a text is read as the variable is. ``secret``: its value is never shown.
    """
    metadata = {"read": read, "doc": doc, "of": of, "take": take}
    if isinstance(default, (dict, list)):
        return field(default_factory=type(default), metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True)
class Config:
    """Everything that can be set. ``Config.read(**options)`` merges arguments, variables and defaults."""

    store: str = _option(
        "auto",
        str,
        "Where spans are kept: `auto` (the user's data folder), `off`, or a folder or URL of a store.",
        take=os.fspath,
    )
    store_headers: Mapping[str, str] = _option(
        {},
        _headers,
        "Headers for a store that is asked over HTTP: `name=value`, comma-separated, values percent-encoded where need be.",
        take=_texts,
        secret=True,
    )
    content: ContentLevel = _option(
        "local",
        _choice(ContentLevel),
        "Where prompts, answers, arguments and results may go: `none` (nowhere), `local` (the local store only), "
        "`all` (also to OpenTelemetry spans and exporters).",
        of=ContentLevel,
    )
    redact: bool = _option(
        True, _flag, "Replace common secrets (keys, tokens, passwords) before content leaves memory.", take=_truth
    )
    redact_keys: tuple[str, ...] = _option(
        (), _names, "More key names whose values are replaced, as comma-separated list.", take=_rules
    )
    redact_paths: tuple[str, ...] = _option(
        (), _names, "JSON paths (`$.user.ssn`, `$..card`) whose values are replaced.", take=_rules
    )
    redact_patterns: tuple[str, ...] = _option(
        (), lambda text: (text,), "Regular expressions whose matches are replaced.", take=_rules
    )
    redact_with: Callable[[str], str] | None = _option(
        None, str, "A function from text to text, applied to every text last. Arguments of `configure()` only."
    )
    max_content_bytes: int = _option(
        1 << 20,
        _positive(int),
        "Longest content attribute (messages, arguments, result) in bytes; more is cut, JSON kept.",
        take=_number,
    )
    max_store_bytes: int = _option(
        1 << 30, _positive(int), "Size of the local store in bytes; the oldest goes first.", take=_number
    )
    max_store_days: float = _option(7.0, _positive(float), "Age in days after which local spans are removed.", take=_number)
    on_invalid: OnInvalid = _option(
        "record", _choice(OnInvalid), "What an invalid tool call leads to, where the tool does not say.", of=OnInvalid
    )
    instrument: tuple[str, ...] | None = _option(
        None, _names, "Libraries to instrument, comma-separated; unset: all that are installed; empty: none.", take=_list
    )
    signals: tuple[str, ...] | None = _option(
        None, _names, "Quality signals to evaluate, comma-separated; unset: all; empty: none.", take=_list
    )
    vllm_tool_parser: str = _option(
        "",
        str.strip,
        "vLLM's own tool parser by which calls are read from the text of `LLM.chat`; unset: the Hermes form.",
        take=str,
    )
    prices: Mapping[str, Any] = _option(
        {},
        _price_table,
        "Prices per model in USD per million tokens: `{model: {input, output}}`; a bill in the server's answer comes first.",
        take=_mapping,
    )
    older_metrics: bool = _option(
        False,
        _flag,
        "Count model calls under the names of former conventions, too: `gen_ai.client.operation.duration`, "
        "`gen_ai.client.token.usage`.",
        take=_truth,
    )
    service_name: str = _option(
        "", str, "`service.name` of the resource; else OTEL_SERVICE_NAME; else the program's name.", take=str
    )

    exporters: tuple[str, ...] | None = _option(
        None,
        _names,
        "Where spans go besides the store, comma-separated: `otlp`, `otlp:URL`, `console`, `jsonl:PATH`; unset: as the "
        "standard OTEL_* variables say; empty: nowhere.",
        take=_list,
    )
    otlp_profile: Profile = _option(
        "full",
        _choice(Profile),
        "`tempo` keeps each attribute sent by OTLP within the 2 KB that Grafana Tempo takes.",
        of=Profile,
    )
    otlp_sample: float = _option(
        1.0,
        _share,
        "Share of healthy traces sent by OTLP; those with an error, a finding or a slow run are always sent.",
        take=_share,
    )

    @classmethod
    def read(cls, **options: Any) -> Config:
        """Merge ``options`` with LLMTRACE_* variables and defaults. Never raises; wrong values are logged and left out."""
        known = {option.name: option for option in fields(cls)}
        chosen: dict[str, Any] = {}
        for variable in os.environ:
            if variable.startswith("LLMTRACE_") and variable not in _OTHER_VARIABLES:
                _read_variable(variable, known, chosen)
        if "content" not in chosen:
            chosen |= _content_of_otel()
        for name, given in options.items():
            if name not in known:
                _warn(f"configure(): unknown option {name!r}{_did_you_mean(name, known)}; it is ignored")
            elif given is not None:
                _read_argument(name, given, known[name], chosen)
        return cls(**chosen)


_OTHER_VARIABLES = frozenset({"LLMTRACE_BENCH_DATA"})


def _read_variable(variable: str, known: Mapping[str, Any], chosen: dict[str, Any]) -> None:
    name = variable.removeprefix("LLMTRACE_").lower()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        meant = f" (did you mean 'LLMTRACE_{near[0].upper()}'?)" if near else ""
        _warn(f"environment: unknown variable {variable}{meant}; it is ignored")
        return
    option = known[name]
    try:
        chosen[name] = option.metadata["read"](os.environ[variable])
    except ValueError as error:
        _warn(
            f"environment: {variable}={os.environ[variable]!r} is not valid (expected {error}); "
            f"using the default {_default(option)!r}"
        )


def _default(option: Any) -> Any:
    return option.default if option.default is not MISSING else option.default_factory()


def _read_argument(name: str, given: Any, option: Any, chosen: dict[str, Any]) -> None:
    how = option.metadata
    try:
        if how["of"] is not None and given not in get_args(how["of"]):
            raise ValueError(f"one of {', '.join(get_args(how['of']))}")
        is_text = isinstance(given, str) and how["take"] is not _as_it_is
        chosen[name] = how["read"](given) if is_text else how["take"](given)
    except (TypeError, ValueError) as error:
        expected = error if isinstance(error, ValueError) else option.type
        _warn(f"configure({name}={given!r}): expected {expected}; it is ignored")


_OTEL_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_ON_SPANS = ("SPAN_ONLY", "SPAN_AND_EVENT")


def _content_of_otel() -> dict[str, Any]:
    """The standard variable: it says whether message content may be on OpenTelemetry spans."""
    given = os.environ.get(_OTEL_CONTENT, "").strip()
    mode = given.upper()
    if mode not in ("", "NO_CONTENT", "EVENT_ONLY", "FALSE", *_ON_SPANS):
        _warn(f"{_OTEL_CONTENT}={given!r}: expected one of NO_CONTENT, SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT; it is ignored")
    return {"content": "all"} if mode in _ON_SPANS else {}


def _did_you_mean(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _warn(message: str) -> None:
    logger.warning("llmtrace: %s", message)
