"""The configuration: one frozen `Config`; each field has an ``LLMTRACE_<FIELD>`` variable.

An argument of ``configure()`` wins over the variable, and the variable over the default. Law: a wrong argument raises
`ConfigurationError` at once. A wrong variable must not break a program, so the logger ``llmtrace`` names it in one line, and
the default is used. A store that cannot be opened is replaced by memory, and one line says so.

In variables, lists are comma-separated, switches are ``on`` or ``off``, LLMTRACE_REDACT_PATTERNS is one expression and
LLMTRACE_PRICES is JSON. Honoured standard variables: ``OTEL_EXPORTER_OTLP_*``, OTEL_TRACES_EXPORTER and OTEL_SDK_DISABLED (see
docs/how_to/export.md), OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, and OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT:
SPAN_ONLY and SPAN_AND_EVENT mean ``content="all"``, unless LLMTRACE_CONTENT or the argument says otherwise.
"""

from __future__ import annotations

import functools
import inspect
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_args
from urllib.parse import unquote

from llmtrace.errors import ConfigurationError
from llmtrace.near_names import most_like

logger = logging.getLogger("llmtrace")


def _handle(record: logging.LogRecord) -> None:
    """Pass a record to the program's handlers and filters; their errors do not reach the caller."""
    try:
        type(logger).handle(logger, record)
    except Exception:
        return


logger.handle = _handle  # type: ignore[method-assign]

ContentLevel: TypeAlias = Literal["none", "local", "all"]
OnInvalid: TypeAlias = Literal["record", "raise", "reply", "repair", "review"]
Unattended: TypeAlias = Literal["deny", "raise"]
PersonalData: TypeAlias = Literal["cards", "iban", "ssn", "national_id", "email", "phone"]
Profile: TypeAlias = Literal["full", "tempo"]


def _flag(text: str) -> bool:
    words = {"1": True, "true": True, "on": True, "yes": True, "0": False, "false": False, "off": False, "no": False}
    try:
        return words[text.strip().lower()]
    except KeyError:
        raise ValueError("on or off") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _choice(choices: Any) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        word = value.strip().lower() if isinstance(value, str) else ""
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
        return _number(number)

    return read


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ValueError("a number above 0")
    return value


def _count(text: str) -> int:
    return _whole_number(int(text) if text.strip().isdecimal() else text)


def _whole_number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("a whole number, 0 or more")
    return value


def _share(value: Any) -> float:
    try:
        share = -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError("a share from 0 to 1")
    return share


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def _path(value: Any) -> str:
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(path, str):
        raise ValueError("auto, off, or the folder or URL of a store")
    return path


def _file(value: Any) -> str:
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(path, str):
        raise ValueError("the path of a file")
    return path


def _price_table(text: str) -> dict[str, Any]:
    try:
        table = json.loads(text)
    except ValueError:
        table = None
    return _prices(table)


def _prices(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(rates, Mapping) for rates in value.values()):
        raise ValueError("an object: {model: {input, output}}")
    for model, rates in value.items():
        for kind, price in rates.items():
            if isinstance(price, bool) or not isinstance(price, (int, float)) or not price >= 0:
                raise ValueError(f"US dollars per million tokens, 0 or more, as {kind!r} of {model!r}")
    return dict(value)


def _headers(text: str) -> dict[str, str]:
    """Parse headers as in OTEL_EXPORTER_OTLP_HEADERS. Never raises, because a message would quote secrets; bad items are
    skipped."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        _warn("LLMTRACE_STORE_HEADERS: a part without a name or '=' is left out")
    return {name.strip(): unquote(value.strip()) for name, equals, value in pairs if name.strip() and equals}


def _header_mapping(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for header in value.items() for text in header):
        raise ValueError("a mapping of header names to texts")
    return dict(value)


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(text, str) for text in value):
        return tuple(value)
    raise ValueError("a list of texts")


def _patterns(value: Any) -> tuple[Any, ...]:
    if isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(rule, (str, re.Pattern)) for rule in value):
        return tuple(value)
    raise ValueError("a list of regular expressions")


def _function(value: Any) -> Any:
    if not callable(value):
        raise ValueError("a function from text to text")
    return value


def _notification(value: Any) -> Any:
    if callable(value) or (isinstance(value, str) and value.startswith(("http://", "https://"))):
        return value
    raise ValueError("a function of the ReviewRequest, or an http(s) URL")


def _truth(value: Any) -> bool:
    if value not in (True, False):
        raise ValueError("True or False")
    return bool(value)


def _redaction(value: Any) -> bool | tuple[str, ...]:
    """Parse True, False, ``personal``, or the kinds of personal data that are redacted beside secrets."""
    if isinstance(value, str) and value.strip().lower() == "personal":
        return get_args(PersonalData)
    if isinstance(value, str):
        kinds = tuple(name.lower() for name in _names(value))
        if not kinds or not set(kinds) <= set(get_args(PersonalData)):
            try:
                return _flag(value)
            except ValueError:
                raise ValueError(f"on, off, personal, or some of {', '.join(get_args(PersonalData))}") from None
        return kinds
    if value in (True, False):
        return bool(value)
    if isinstance(value, (list, tuple, set, frozenset)) and value and set(value) <= set(get_args(PersonalData)):
        return tuple(value)
    raise ValueError(f"True, False, personal, or some of {', '.join(get_args(PersonalData))}")


def _option(
    default: Any,
    read: Callable[[str], Any],
    doc: str,
    *,
    check: Callable[[Any], Any] | None = None,
    secret: bool = False,
) -> Any:
    """Define a field: its default, the parser of its variable, its line in the docs.

    ``check`` converts an argument to the field's type, or raises ValueError with what was expected. Texts, and all values if
    there is no ``check``, are parsed as the variable is. ``secret``: messages do not show the value.
    """
    metadata = {"read": read, "doc": doc, "check": check, "secret": secret}
    if isinstance(default, (dict, list)):
        return field(default_factory=type(default), metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True)
class Config:
    """All options. ``Config.read(**options)`` merges arguments, variables and defaults."""

    store: str = _option(
        "auto",
        str,
        "Where spans are kept: `auto` (the user's data folder), `off`, or a folder or URL of a store.",
        check=_path,
    )
    store_headers: Mapping[str, str] = _option(
        {},
        _headers,
        "Headers for a store that is asked over HTTP: `name=value`, comma-separated, values percent-encoded where need be.",
        check=_header_mapping,
        secret=True,
    )
    content: ContentLevel = _option(
        "local",
        _choice(ContentLevel),
        "Where prompts, answers, arguments and results may go: `none` (nowhere), `local` (the local store only), "
        "`all` (also to OpenTelemetry spans and exporters).",
    )
    redact: bool | tuple[PersonalData, ...] = _option(
        True,
        _redaction,
        "Replace common secrets (keys, tokens, passwords) before content leaves memory; `personal`: and cards, IBANs, "
        "national ids, e-mail addresses, phone numbers; or some of `cards`, `iban`, `ssn`, `national_id`, `email`, `phone`, "
        "comma-separated.",
        check=_redaction,
    )
    redact_keys: tuple[str, ...] = _option(
        (), _names, "More key names whose values are replaced, as comma-separated list.", check=_texts
    )
    redact_paths: tuple[str, ...] = _option(
        (), _names, "JSON paths (`$.user.ssn`, `$..card`) whose values are replaced.", check=_texts
    )
    redact_patterns: tuple[str, ...] = _option(
        (), lambda text: (text,), "Regular expressions whose matches are replaced.", check=_patterns
    )
    redact_with: Callable[[str], str] | None = _option(
        None, str, "A function from text to text, applied to every text last. Arguments of `configure()` only.", check=_function
    )
    replayable: bool = _option(
        True,
        _flag,
        "Keep in the local store what `llmtrace replay` needs of a call: the answer as it came, and a digest of the request.",
        check=_truth,
    )
    fingerprint_env: tuple[str, ...] = _option(
        (),
        _names,
        "Environment variables whose values are kept with each run, comma-separated; redaction applies. `llmtrace diff` and "
        "`verify` compare them.",
        check=_texts,
    )
    max_content_bytes: int = _option(
        1 << 20,
        _positive(int),
        "Longest content attribute (messages, arguments, result) in bytes; more is cut, JSON kept.",
        check=_number,
    )
    issues: str = _option(
        "",
        str,
        "File with the decisions about issues, such as one in a git repository; unset: `issues.jsonl` in the store's folder.",
        check=_file,
    )
    max_store_bytes: int = _option(
        1 << 30, _positive(int), "Size of the local store in bytes; the oldest goes first.", check=_number
    )
    max_store_days: float = _option(7.0, _positive(float), "Age in days after which local spans are removed.", check=_number)
    on_invalid: OnInvalid = _option(
        "record", _choice(OnInvalid), "What an invalid tool call leads to, where the tool does not say."
    )
    notify: Callable[[Any], Any] | str | None = _option(
        None,
        _notification,
        "Who is told that a call waits for review: a URL that gets it as JSON; in `configure()` also a function of the "
        "`ReviewRequest`, which may return a `Decision`.",
        check=_notification,
    )
    review_timeout: float = _option(
        3600.0, _positive(float), "Seconds until a review that nobody decides is denied.", check=_number
    )
    review_wait: float | None = _option(
        None,
        _positive(float),
        "Seconds after which a program stops waiting for a review and ends with `ReviewPending`; unset: it waits for the "
        "whole timeout.",
        check=_number,
    )
    review_terminal: bool = _option(
        True,
        _flag,
        "Ask about a held call at the program's own terminal, if stdin and stderr are one; false: only tell where to decide.",
        check=_truth,
    )
    unattended: Unattended | None = _option(
        None,
        _choice(Unattended),
        "Set where nobody is there to review: `deny` held calls at once, or `raise` `ReviewDenied`; unset: wait.",
    )
    receipt_reads: int = _option(
        1000,
        _count,
        "Changes that one run reads back by `@tool(confirm=)`, at most; 0: none.",
        check=_whole_number,
    )
    instrument: tuple[str, ...] | None = _option(
        None, _names, "Libraries to instrument, comma-separated; unset: all that are installed; empty: none.", check=_texts
    )
    signals: tuple[str, ...] | None = _option(
        None, _names, "Quality signals to evaluate, comma-separated; unset: all; empty: none.", check=_texts
    )
    vllm_tool_parser: str = _option(
        "",
        str.strip,
        "vLLM's own tool parser by which calls are read from the text of `LLM.chat`; unset: the Hermes form.",
        check=_text,
    )
    request_id_hosts: tuple[str, ...] = _option(
        (),
        _names,
        "Hosts of your own vLLM servers at public addresses, which get `X-Request-Id` as private ones do.",
        check=_texts,
    )
    prices: Mapping[str, Any] = _option(
        {},
        _price_table,
        "Prices per model in USD per million tokens: `{model: {input, output}}`; a bill in the server's answer comes first.",
        check=_prices,
    )
    older_metrics: bool = _option(
        False,
        _flag,
        "Count model calls under the names of former conventions, too: `gen_ai.client.operation.duration`, "
        "`gen_ai.client.token.usage`.",
        check=_truth,
    )
    service_name: str = _option(
        "", str, "`service.name` of the resource; else OTEL_SERVICE_NAME; else the program's name.", check=_text
    )

    exporters: tuple[str, ...] | None = _option(
        None,
        _names,
        "Where spans go besides the store, comma-separated: `otlp`, `otlp:URL`, `console`, `jsonl:PATH`; unset: as the "
        "standard OTEL_* variables say; empty: nowhere.",
        check=_texts,
    )
    otlp_profile: Profile = _option(
        "full",
        _choice(Profile),
        "`tempo` keeps each attribute sent by OTLP within the 2 KB that Grafana Tempo takes.",
    )
    otlp_sample: float = _option(
        1.0,
        _share,
        "Share of healthy traces sent by OTLP; those with an error, a finding or a slow run are always sent.",
        check=_share,
    )

    @classmethod
    def read(cls, **options: Any) -> Config:
        """Merge ``options`` with LLMTRACE_* variables and defaults; an option that is None counts as not set.

        Raises TypeError for an unknown option and `ConfigurationError` for a wrong value. A wrong variable is logged in
        one line and left out.
        """
        fields_by_name = {option.name: option for option in fields(cls)}
        values: dict[str, Any] = {}
        for variable in os.environ:
            if variable.startswith("LLMTRACE_") and variable not in _OTHER_VARIABLES:
                _read_variable(variable, fields_by_name, values)
        if "content" not in values:
            values |= _content_of_otel()
        for name, value in options.items():
            if name not in fields_by_name:
                raise TypeError(unexpected_keyword("configure", name, fields_by_name))
            if value is not None:
                values[name] = _checked(name, value, fields_by_name[name])
        return cls(**values)


C = TypeVar("C", bound=Callable[..., Any])


def suggest_keywords(target: C) -> C:
    """Make an unknown keyword raise a TypeError that names the nearest one, as Python does from 3.13 on.

    ``target``: a function, or a class, whose ``__init__`` is concerned.
    """
    if isinstance(target, type):
        target.__init__ = _check_keywords(target.__init__, target.__name__)  # type: ignore[misc]
        return target
    return _check_keywords(target, target.__name__)


def _check_keywords(function: C, name: str) -> C:
    code = inspect.unwrap(function).__code__
    keywords = code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount]

    @functools.wraps(function)
    def wrapper(*args: Any, **options: Any) -> Any:
        for option in options:
            if option not in keywords:
                raise TypeError(unexpected_keyword(name, option, keywords))
        return function(*args, **options)

    return cast(C, wrapper)


def unexpected_keyword(function: str, name: str, names: Iterable[str]) -> str:
    """Return Python's message for a keyword that ``function`` does not have, with the nearest of ``names``."""
    hint = nearest(name, names)
    if function == "configure" and name in _BY_OPENTELEMETRY:
        hint = f". Set {_BY_OPENTELEMETRY[name]} in the environment"
    return f"{function}() got an unexpected keyword argument {name!r}{hint}"


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest of ``names``, if one is near."""
    near = most_like(name, names)
    return f". Did you mean {near!r}?" if near else ""


_BY_OPENTELEMETRY = {
    "api_key": "OTEL_EXPORTER_OTLP_HEADERS",
    "endpoint": "OTEL_EXPORTER_OTLP_ENDPOINT",
    "headers": "OTEL_EXPORTER_OTLP_HEADERS",
    "otlp_endpoint": "OTEL_EXPORTER_OTLP_ENDPOINT",
    "otlp_headers": "OTEL_EXPORTER_OTLP_HEADERS",
    "protocol": "OTEL_EXPORTER_OTLP_PROTOCOL",
}
"""Words for what is an option elsewhere, and here OpenTelemetry's own variable."""
_OTHER_VARIABLES = frozenset({"LLMTRACE_BENCH_DATA"})


def _read_variable(variable: str, fields_by_name: Mapping[str, Any], values: dict[str, Any]) -> None:
    name = variable.removeprefix("LLMTRACE_").lower()
    if name not in fields_by_name:
        near = most_like(name, fields_by_name)
        hint = f" (did you mean 'LLMTRACE_{near.upper()}'?)" if near else ""
        _warn(f"environment: unknown variable {variable}{hint}; it is ignored")
        return
    option = fields_by_name[name]
    try:
        values[name] = option.metadata["read"](os.environ[variable])
    except ValueError as error:
        _warn(
            f"environment: {variable}={os.environ[variable]!r} is not valid (expected {error}); "
            f"using the default {_default(option)!r}"
        )


def _default(option: Any) -> Any:
    return option.default if option.default is not MISSING else option.default_factory()


def _checked(name: str, value: Any, option: Any) -> Any:
    read, check, secret = (option.metadata[key] for key in ("read", "check", "secret"))
    try:
        if isinstance(value, str):
            value = str.__str__(value)  # a subclass may have methods that raise later
        return read(value) if check is None or (isinstance(value, str) and check is not _function) else check(value)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"configure({name}={'...' if secret else _shown(value)}): expected {error}") from None
    except Exception as error:  # the value's own methods
        raise ConfigurationError(
            f"configure({name}={'...' if secret else _shown(value)}): the value cannot be read, its {type(value).__name__} "
            f"raises {type(error).__name__}"
        ) from error


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


_OTEL_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_ON_SPANS = ("SPAN_ONLY", "SPAN_AND_EVENT")


def _content_of_otel() -> dict[str, Any]:
    """Read the standard variable that decides whether message content may be on OpenTelemetry spans."""
    text = os.environ.get(_OTEL_CONTENT, "").strip()
    mode = text.upper()
    if mode not in ("", "NO_CONTENT", "EVENT_ONLY", "FALSE", *_ON_SPANS):
        _warn(f"{_OTEL_CONTENT}={text!r}: expected one of NO_CONTENT, SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT; it is ignored")
    return {"content": "all"} if mode in _ON_SPANS else {}


def _warn(message: str) -> None:
    logger.warning("llmtrace: %s", message)
