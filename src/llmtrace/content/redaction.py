"""Redaction: replaces secrets, and what the user's rules match, by ``[REDACTED:<rule>]`` before content leaves memory.

Rules, in this order: JSON paths and key names (in values, and in text that is JSON or looks like ``name=value``), secrets with
a known form, the user's regular expressions, the user's function. Law: redaction fails closed. If a rule raises, the whole text
becomes ``[REDACTED:error]``. If a rule is invalid, every text does, and `Redactor.broken` is True, so that no content is
recorded. Clean values are returned as the same objects.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from pydantic_core import from_json
from pydantic_core import to_json as write_json

from llmtrace.config import Config, PersonalData
from llmtrace.content.blobs import LEAST_BASE64, blob_mark, blob_rule, is_base64
from llmtrace.content.key_value_secrets import pair_rules, secret_pairs
from llmtrace.content.keys import is_pass, is_password, is_schema, is_secret, is_token, words
from llmtrace.content.paths import Path, names, parse_path, replace_at
from llmtrace.content.personal_data import is_card, is_national_number, personal_rules
from llmtrace.content.redaction_stats import ERROR, MARK, RedactionStats, mark
from llmtrace.content.scan import Rule, Scanner
from llmtrace.content.secrets import LONGEST_BARE, SHORTEST_BARE, bare_secret, secret_groups
from llmtrace.content.snapshot import to_json
from llmtrace.model import JsonValue

T = TypeVar("T")

logger = logging.getLogger("llmtrace")

_CLEAN, _SECRET, _USERS, _TEXT, _SECRET_TEXT = range(5)
"""Classes of key names: harmless, secret by common usage, secret by the user's rule, itself containing a secret, or both."""
_BY_KEY = frozenset({_SECRET, _USERS, _SECRET_TEXT})
_MAX_KEYS = 4096
_SHORTEST = 6
"""Shorter texts cannot hold a name and a secret."""
_KNOWN_LENGTH = 128
_MAX_KNOWN = 4096
"""Short texts remembered as clean, at most: ids, states and names recur."""
_KNOWN_BYTES = 1024
"""Longest document remembered as clean. Arguments and results are seen three times: in the model's answer, in the tool's span,
and in the next request."""
_EXAMPLES = ("default", "const", "enum", "examples", "example")
_SCHEMA_MEMBERS = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_reported_rules: set[tuple[str, str]] = set()
"""Invalid rules that were logged, as (option, rule): a program has several redactors, and each would log them again."""


class Redactor:
    """The rules of a `Config`, applied to texts and JSON values. Never raises."""

    def __init__(self, config: Config, *, blobs: bool = False) -> None:
        """``blobs``: also replace ``data:`` URLs and long base64 values by digest and size."""
        self._blobs = blobs
        self._has_reported = False
        self._defaults = config.redact is not False
        self._personal: Sequence[PersonalData] = () if isinstance(config.redact, bool) else config.redact
        self._own_keys: set[str] = set()
        self._keys: dict[str, int] = {}
        self._clean_texts: set[str] = set()
        self._clean_documents: set[bytes] = set()
        self._patterns: list[re.Pattern[str]] = []
        self._paths: list[Path] = []
        self.broken = False
        """True if a rule is invalid; the log says which."""
        for key in config.redact_keys:
            self._read("redact_keys", key, lambda key_name: self._own_keys.add(_key(key_name)))
        for pattern in config.redact_patterns:
            self._read("redact_patterns", pattern, lambda regex: self._patterns.append(_pattern(regex)))
        for path in config.redact_paths:
            self._read("redact_paths", path, lambda json_path: self._paths.append(parse_path(_text(json_path))))
        self._function: Callable[[str], str] | None = config.redact_with
        if self._function is not None and not callable(self._function):
            self._read("redact_with", self._function, _reject_function)
        self._in_paths = Scanner([_path_pairs(self._paths)])
        self.groups = tuple(group for group in self._rules() if group)
        """The rules, in groups whose anchors are tested together."""
        self._scan = Scanner(self.groups)
        self._forms = Scanner(self._form_rules())
        self._always = bool(self._paths or self._patterns or self._function or self.broken)

    def _read(self, option: str, value: Any, read: Callable[[Any], object]) -> None:
        try:
            read(value)
        except Exception as error:
            self.broken = True
            rule = _shown(value)
            if (option, rule) not in _reported_rules:
                _reported_rules.add((option, rule))
                logger.error(
                    "llmtrace: configure(%s): the rule %s cannot be used: %s. No content is recorded until this is put right.",
                    option,
                    rule,
                    error,
                )

    def _form_rules(self) -> list[Sequence[Rule]]:
        """Return the rules for secrets with a known form, and for inline bytes."""
        return [[blob_rule()] if self._blobs else [], *(secret_groups() if self._defaults else ())]

    def _rules(self) -> list[Sequence[Rule]]:
        key_rules = pair_rules("key", sorted(self._own_keys), lambda name: words(name) in self._own_keys, any_value=True)
        pairs = secret_pairs() if self._defaults else ()
        forms = secret_groups() if self._defaults else ((),) * 6
        blobs = [blob_rule()] if self._blobs else []
        return [
            key_rules[:1],
            forms[0],
            [*pairs[0:1], *forms[1]],
            [*pairs[2:3], *forms[2]],
            [*key_rules[1:], *pairs[1:4:2], *pairs[5:], *blobs, *forms[3]],
            forms[4],
            [*pairs[4:5], *forms[5]],
            personal_rules(self._personal),
        ]

    # -- the two ways in

    def text(self, text: str) -> str:
        """Return ``text`` with secrets replaced, or the same object if it has none."""
        return self.in_text(text, RedactionStats())

    def value(self, value: JsonValue) -> JsonValue:
        """Return a JSON value with secrets replaced in its texts, names and members, or the same object if it has none."""
        return self.in_document(value, RedactionStats())

    # -- the same, counted

    def in_text(self, text: str, stats: RedactionStats) -> str:
        size = len(text)
        stats.size += size
        if size <= _KNOWN_LENGTH and text in self._clean_texts and not stats.secrets:
            return text
        try:
            if size >= _SHORTEST or self._always or not text.isascii():
                text = self._scan(original := text, stats)
                if self._always:
                    text = self._by_user(text, stats)
                elif size <= _KNOWN_LENGTH and text is original:
                    _remember_clean(self._clean_texts, text)
            if SHORTEST_BARE <= size <= LONGEST_BARE and self._defaults and (rule := bare_secret(text)) is not None:
                return stats.take(rule)
            if size >= LEAST_BASE64 and self._blobs and is_base64(text):
                return blob_mark(text)
            return stats.without_secrets(text) if stats.secrets else text
        except Exception as error:
            return self._failed(error, stats)

    def is_clean_body(self, body: str) -> bool:
        """Return False if the raw body of an answer may contain a secret. Its messages were redacted already, so only secrets
        with a known form are searched for, unless the user has rules."""
        try:
            if self._always or self._own_keys or self._personal:
                return self.in_text(body, RedactionStats()) is body
            return self._forms(body, RedactionStats()) is body
        except Exception:  # a rule failed, so the body is not stored
            return False

    def is_clean_error(self, body: str) -> bool:
        """Return False if the body of an error may contain a secret. All rules are tried: none of it was redacted before."""
        return self.in_text(body, RedactionStats()) is body

    def in_name(self, text: str, stats: RedactionStats) -> str:
        """Redact the name of a span, tool or model by all rules but the user's function. An invalid rule does not hide it."""
        try:
            redacted = self._scan(text, stats)
            return self._by_patterns(redacted, stats) if self._patterns else redacted
        except Exception as error:
            return self._failed(error, stats)

    def in_document(self, value: JsonValue, stats: RedactionStats) -> JsonValue:
        """Redact a whole JSON value, to which ``$`` in JSON paths refers."""
        try:
            if type(value) is not dict or self._always or stats.secrets:
                if self._paths and type(value) is not str:
                    value = self._by_paths(value, stats)
                return self.in_value(value, stats)
            written = _encode(value)
            if written in self._clean_documents:
                stats.size += len(written)
                return value
            redacted = self.in_value(value, stats)
            if redacted is value and written and len(written) <= _KNOWN_BYTES:
                _remember_clean(self._clean_documents, written)
            return redacted
        except Exception as error:  # nested too deep
            return self._failed(error, stats)

    def in_chunks(self, items: list[JsonValue], stats: RedactionStats) -> list[JsonValue]:
        """Redact the items of a generator. If a secret is split over several texts, they become one; else the same object."""
        if not all(type(item) is str for item in items):
            return items
        texts = cast("list[str]", items)
        trial = RedactionStats()
        try:
            joined = "".join([self._scan(text, trial) for text in texts])
            redacted = self._scan(joined, trial)
        except Exception as error:
            return [self._failed(error, stats)]
        if redacted == joined:
            return items
        stats.redacted += trial.redacted
        stats.remember(trial.secrets)
        return [redacted]

    def in_context(self, value: JsonValue, where: Sequence[str], stats: RedactionStats) -> JsonValue:
        """Redact a value as if it still stood in its document, below the members ``where``."""
        if not self._paths and type(value) is not dict and all(self._classify_key(name) == _CLEAN for name in where):
            return self.in_value(value, stats)
        for name in reversed(where):
            value = {name: value}
        redacted = self.in_document(value, stats)
        for name in where:
            if not isinstance(redacted, dict):
                return redacted
            redacted = redacted.get(name, ERROR)  # a name that is itself a secret is gone
        return redacted

    # -- values

    def in_value(self, value: JsonValue, stats: RedactionStats) -> JsonValue:
        kind = type(value)
        if kind is str:
            return self.in_text(value, stats)
        stats.size += 8
        if kind is dict:
            return self._in_dict(value, stats)
        if kind is list or kind is tuple:
            return self._in_list(value, stats)
        if value is None or kind is bool or kind is int or kind is float:
            return self._in_number(value, stats) if self._personal else value
        if isinstance(value, Mapping) and all(type(key) is str for key in value):
            return self._in_dict(dict(value), stats)
        return self.in_value(to_json(value), stats)  # not JSON: redact the form in which it will be written

    def _in_number(self, value: JsonValue, stats: RedactionStats) -> JsonValue:
        if type(value) is int and value > 0:
            if "cards" in self._personal and is_card(str(value)):
                return stats.take("card")
            if "national_id" in self._personal and is_national_number(str(value)):
                return stats.take("national_id")
        return value

    def _in_list(self, items: Sequence[JsonValue], stats: RedactionStats) -> JsonValue:
        changed_items: list[JsonValue] | None = None
        for index, item in enumerate(items):
            new = self.in_value(item, stats)
            if new is not item:
                if changed_items is None:
                    changed_items = list(items)
                changed_items[index] = new
        return items if changed_items is None else changed_items

    def _in_dict(self, members: dict[str, JsonValue], stats: RedactionStats) -> JsonValue:
        changed_members: dict[str, JsonValue] | None = None
        renamed = False
        for key, item in members.items():
            key_class = self._keys.get(key)
            if key_class is None:
                if type(key) is not str:
                    return self.in_value(to_json(members), stats)
                key_class = self._classify_key(key)
            stats.size += len(key) + 4
            kind = type(item)
            if key_class == _CLEAN and kind is str:
                new: JsonValue = self.in_text(item, stats)
            elif key_class == _CLEAN and (kind is int or kind is float):
                stats.size += 8
                new = self._in_number(item, stats) if self._personal else item
            else:
                new = self._in_member(key, item, key_class, members, stats)
            if new is not item:
                if changed_members is None:
                    changed_members = dict(members)
                changed_members[key] = new
            if key_class >= _TEXT:
                renamed = True
        result = members if changed_members is None else changed_members
        if not renamed and stats.secrets:
            renamed = any(secret in key for key in result for secret in stats.secrets)
        return {self.in_text(key, stats): item for key, item in result.items()} if renamed else result

    def _in_member(
        self, key: str, item: JsonValue, key_class: int, members: Mapping[str, JsonValue], stats: RedactionStats
    ) -> JsonValue:
        if key_class in _BY_KEY:
            return self._redact_by_key(key, item, key_class, members, stats)
        if type(item) is dict and key in _SCHEMA_MEMBERS:
            return self._in_schemas(item, stats)
        return self.in_value(item, stats)

    def _in_schemas(self, properties: dict[str, JsonValue], stats: RedactionStats) -> JsonValue:
        """Redact ``properties`` of a JSON Schema. ``password`` there describes a password; its default may be one."""
        schemas: dict[str, JsonValue] = {}
        for name, schema in properties.items():
            if type(name) is str and is_schema(schema) and self._classify_key(name) in _BY_KEY:
                schemas[name] = self._in_secret_schema(schema, stats)
            else:
                schemas.update(self._in_dict({name: schema}, stats))
        changed = len(schemas) != len(properties) or any(schemas.get(name) is not schema for name, schema in properties.items())
        return schemas if changed else properties

    def _in_secret_schema(self, schema: dict[str, JsonValue], stats: RedactionStats) -> JsonValue:
        examples = [name for name in _EXAMPLES if schema.get(name) is not None]
        redacted = self._in_dict({name: item for name, item in schema.items() if name not in examples}, stats)
        same = not examples and all(redacted.get(name) is item for name, item in schema.items())
        return schema if same else {**redacted, **{name: stats.take("key") for name in examples}}

    def _redact_by_key(
        self, key: str, item: JsonValue, key_class: int, members: Mapping[str, JsonValue], stats: RedactionStats
    ) -> JsonValue:
        if item is None or item == "" or (isinstance(item, str) and item.startswith(MARK)):
            return item
        if key_class != _USERS:
            if isinstance(item, bool) or (isinstance(item, (int, float)) and is_token(key)):
                return item
            if is_pass(key) and not (isinstance(item, str) and is_password(item, key)):
                return self.in_value(item, stats)
            if is_token(key) and ("logprob" in members or isinstance(item, (dict, list))):
                return self.in_value(item, stats)
        return stats.take("key", *_texts(item))

    def _classify_key(self, key: str) -> int:
        key_class = self._keys.get(key)
        if key_class is not None:
            return key_class
        snake_case = words(key)
        if snake_case in self._own_keys:
            key_class = _USERS
        elif self._defaults and is_secret(key):
            key_class = _SECRET if self._is_clean(key) else _SECRET_TEXT
        else:
            key_class = _CLEAN if self._is_clean(key) else _TEXT
        if len(self._keys) < _MAX_KEYS and len(key) <= _KNOWN_LENGTH:
            self._keys[key] = key_class
        return key_class

    def _is_clean(self, key: str) -> bool:
        return self.in_text(key, RedactionStats()) == key

    # -- the user's rules

    def _by_paths(self, value: JsonValue, stats: RedactionStats) -> JsonValue:
        def take(secret: JsonValue) -> JsonValue:
            if secret is None or (isinstance(secret, str) and secret.startswith(MARK)):
                return secret
            return stats.take("path", *_texts(secret))

        for path in self._paths:
            value = replace_at(value, path, take)
        return value

    def _by_user(self, text: str, stats: RedactionStats) -> str:
        if self.broken:
            stats.redacted += 1
            return ERROR
        if self._paths:
            text = self._json_by_paths(text, stats)
        text = self._by_patterns(text, stats)
        if self._function is not None:
            redacted = self._function(text)
            if type(redacted) is not str:
                raise TypeError(f"redact_with gave {type(redacted).__name__}, not str")
            if redacted != text:
                stats.redacted += 1
                text = redacted
        return text

    def _by_patterns(self, text: str, stats: RedactionStats) -> str:
        for pattern in self._patterns:
            if pattern.search(text) is not None:
                text, count = pattern.subn(mark("pattern"), text)
                stats.redacted += count
        return text

    def _json_by_paths(self, text: str, stats: RedactionStats) -> str:
        """Apply JSON paths to a text that is JSON. If it only looks like JSON, the last name of each path is searched for."""
        if text.lstrip()[:1] not in ("{", "["):
            return text
        try:
            value = from_json(text)
        except (TypeError, ValueError):  # TypeError: half a surrogate pair
            return self._in_paths(text, stats)
        redacted = self._by_paths(value, stats)
        return text if redacted is value else write_json(redacted).decode()

    def _failed(self, error: Exception, stats: RedactionStats) -> str:
        stats.redacted += 1
        if not self._has_reported:
            self._has_reported = True  # the error's text may quote the content, so only its type is logged
            logger.error("llmtrace: redaction failed (%s); the value is left out.", type(error).__name__)
        return ERROR


def _remember_clean(clean: set[T], content: T) -> None:
    if len(clean) >= _MAX_KNOWN:
        clean.clear()
    clean.add(content)


def _encode(value: JsonValue) -> bytes:
    """Return a value as JSON, or b"" if it is not JSON."""
    try:
        return write_json(value)
    except ValueError:
        return b""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {type(value).__name__}")
    return value


def _key(value: object) -> str:
    snake_case = words(_text(value))
    if not snake_case:
        raise ValueError(f"expected a key name such as 'ssn', got {value!r}")
    return snake_case


def _pattern(value: Any) -> re.Pattern[str]:
    pattern = re.compile(value)
    _text(pattern.pattern)  # refuses a pattern for bytes, which matches no text
    return pattern


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def _reject_function(value: object) -> None:
    raise TypeError(f"expected a function from str to str, got {type(value).__name__}")


def _path_pairs(paths: Iterable[Path]) -> Sequence[Rule]:
    last = {words(name) for path in paths for name in names(path)}
    return pair_rules("path", sorted(last), lambda name: words(name) in last, any_value=True)


def _texts(value: JsonValue) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
