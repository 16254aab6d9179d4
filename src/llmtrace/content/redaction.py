"""Redaction: secrets, and whatever the user's rules name, give way to ``[REDACTED:<rule>]`` before content leaves memory.

Rules, in this order: JSON paths and key names (in values, and in text that is JSON or looks like ``name=value``), secrets known
by their form, the user's regular expressions, the user's function. Law: it fails closed. Where a rule raises, the text becomes
``[REDACTED:error]``; a rule that cannot be read makes every text that, and `Redactor.broken` tells, so that no content is
recorded at all. Clean values come back as the same objects.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import from_json
from pydantic_core import to_json as write_json

from llmtrace.config import Config
from llmtrace.content.blobs import LEAST_BASE64, blob_mark, blob_rule, is_base64
from llmtrace.content.keys import is_schema, is_secret, is_token, words
from llmtrace.content.pairs import pair_rules, secret_pairs
from llmtrace.content.paths import Path, names, parse_path, replace_at
from llmtrace.content.scan import Rule, Scanner
from llmtrace.content.secrets import secret_rules
from llmtrace.content.snapshot import to_json, well_formed
from llmtrace.content.tally import ERROR, MARK, Tally, mark
from llmtrace.model import JsonValue

logger = logging.getLogger("llmtrace")

_CLEAN, _SECRET, _USERS, _TEXT = range(4)
"""What is known of a key name: nothing, secret by common usage, by the user's rule, or it holds a secret itself."""
_BY_KEY = frozenset({_SECRET, _USERS})
_MAX_KEYS = 4096
_SHORTEST = 6
"""No shorter text can hold a name and a secret."""
_KNOWN_LENGTH = 128
_MAX_KNOWN = 4096
"""So many short texts are known to be clean: ids, states and names come again and again."""
_EXAMPLES = ("default", "const", "enum", "examples", "example")
_SCHEMA_MEMBERS = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_said_broken: set[tuple[str, str]] = set()
"""Options and their rules that could not be read: a program has several redactors, and each would say so."""


class Redactor:
    """The rules of a `Config`, applied to texts and JSON values. Never raises."""

    def __init__(self, config: Config, *, blobs: bool = False) -> None:
        """``blobs``: also replace ``data:`` URLs and long base64 values by digest and size."""
        self._blobs = blobs
        self._said = False
        self._defaults = config.redact
        self._own_keys: set[str] = set()
        self._keys: dict[str, int] = {}
        self.innocent: set[str] = set()
        """Key names that `is_innocent` has said yes to."""
        self._known: set[str] = set()
        self._patterns: list[re.Pattern[str]] = []
        self._paths: list[Path] = []
        self.broken = False
        """True when a rule could not be read; the log has said which."""
        for key in config.redact_keys:
            self._read("redact_keys", key, lambda given: self._own_keys.add(_key(given)))
        for pattern in config.redact_patterns:
            self._read("redact_patterns", pattern, lambda given: self._patterns.append(_pattern(given)))
        for path in config.redact_paths:
            self._read("redact_paths", path, lambda given: self._paths.append(parse_path(_text(given))))
        self._function: Callable[[str], str] | None = config.redact_with
        if self._function is not None and not callable(self._function):
            self._read("redact_with", self._function, _refuse)
        self._in_paths = Scanner([_path_pairs(self._paths)])
        self._scan = Scanner(self._rules())
        self._always = bool(self._paths or self._patterns or self._function or self.broken)

    def _read(self, option: str, given: Any, read: Callable[[Any], object]) -> None:
        try:
            read(given)
        except Exception as error:
            self.broken = True
            rule = _shown(given)
            if (option, rule) not in _said_broken:
                _said_broken.add((option, rule))
                logger.error(
                    "llmtrace: configure(%s): the rule %s cannot be used: %s. No content is recorded until this is put right.",
                    option,
                    rule,
                    error,
                )

    def _rules(self) -> list[Sequence[Rule]]:
        own = pair_rules("key", sorted(self._own_keys), lambda name: words(name) in self._own_keys, any_value=True)
        common = secret_pairs() if self._defaults else ()
        forms = [*([blob_rule()] if self._blobs else []), *(secret_rules() if self._defaults else [])]
        return [own[:1], common[0:1], common[2:3], [*own[1:], *common[1::2]], forms]

    # -- the two ways in

    def text(self, text: str) -> str:
        """``text`` with secrets replaced; the same object where there are none."""
        return self.in_text(text, Tally())

    def value(self, value: JsonValue) -> JsonValue:
        """A JSON value with secrets replaced in all its texts, names and members; the same object where there are none."""
        return self.in_document(value, Tally())

    # -- the same, counted

    def in_text(self, text: str, tally: Tally) -> str:
        size = len(text)
        tally.size += size
        if size <= _KNOWN_LENGTH and text in self._known and not tally.secrets:
            return text
        try:
            if size >= _SHORTEST or self._always or not text.isascii():
                text = self._scan(given := text, tally)
                if self._always:
                    text = self._by_user(text, tally)
                elif size <= _KNOWN_LENGTH and text is given:
                    self._know(text)
            if size >= LEAST_BASE64 and self._blobs and is_base64(text):
                return blob_mark(text)
            return tally.without_secrets(text) if tally.secrets else text
        except Exception as error:
            return self._failed(error, tally)

    # -- the same for many texts at once, as far as it can be told by one look

    @property
    def asks_for_more(self) -> bool:
        """True where the user has set rules that no scan can stand for."""
        return self._always

    def is_innocent(self, name: str) -> bool:
        """True for a key name that neither is nor stands for a secret."""
        if type(name) is not str or len(name) > _KNOWN_LENGTH or self._judge(name) != _CLEAN:
            return False
        if len(self.innocent) < _MAX_KEYS:
            self.innocent.add(name)
        return True

    def are_clean(self, texts: Sequence[str]) -> bool:
        """True where no rule would change one of these texts; False: one might.

        They are scanned as one text, which is five times as fast. No anchor asks where a text begins or ends, so what matches
        in one of them matches in all together, too.
        """
        new = set(texts) - self._known
        if not new:
            return True
        joined = "\n".join(new)
        if not (joined.isascii() or well_formed(joined) is joined) or self._scan.may_change(joined):
            return False
        for text in new:
            if len(text) <= _KNOWN_LENGTH:
                self._know(text)
            elif len(text) >= LEAST_BASE64 and self._blobs and is_base64(text):
                return False
        return True

    def _know(self, text: str) -> None:
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known.add(text)

    def in_name(self, text: str, tally: Tally) -> str:
        """A name of a span, tool or model: all rules but the user's function, and readable even where a rule is broken."""
        try:
            made = self._scan(text, tally)
            return self._by_patterns(made, tally) if self._patterns else made
        except Exception as error:
            return self._failed(error, tally)

    def in_document(self, value: JsonValue, tally: Tally) -> JsonValue:
        """A whole value: the one that ``$`` of a JSON path stands for."""
        try:
            if self._paths and type(value) is not str:
                value = self._by_paths(value, tally)
            return self.in_value(value, tally)
        except Exception as error:  # nested too deep
            return self._failed(error, tally)

    def in_place(self, value: JsonValue, where: Sequence[str], tally: Tally) -> JsonValue:
        """A value that was taken out of a document, judged as it stood there, below the members ``where``."""
        if not self._paths and type(value) is not dict and all(self._judge(name) == _CLEAN for name in where):
            return self.in_value(value, tally)
        for name in reversed(where):
            value = {name: value}
        made = self.in_document(value, tally)
        for name in where:
            if not isinstance(made, dict):
                return made
            made = made.get(name, ERROR)  # a name that is itself a secret is gone
        return made

    # -- values

    def in_value(self, value: JsonValue, tally: Tally) -> JsonValue:
        kind = type(value)
        if kind is str:
            return self.in_text(value, tally)
        tally.size += 8
        if kind is dict:
            return self._in_dict(value, tally)
        if kind is list or kind is tuple:
            return self._in_list(value, tally)
        if value is None or kind is bool or kind is int or kind is float:
            return value
        if isinstance(value, Mapping) and all(type(key) is str for key in value):
            return self._in_dict(dict(value), tally)
        return self.in_value(to_json(value), tally)  # no JSON: shown as it will be written

    def _in_list(self, items: Sequence[JsonValue], tally: Tally) -> JsonValue:
        made: list[JsonValue] | None = None
        for index, item in enumerate(items):
            new = self.in_value(item, tally)
            if new is not item:
                if made is None:
                    made = list(items)
                made[index] = new
        return items if made is None else made

    def _in_dict(self, members: dict[str, JsonValue], tally: Tally) -> JsonValue:
        made: dict[str, JsonValue] | None = None
        renamed = False
        for key, item in members.items():
            what = self._keys.get(key)
            if what is None:
                if type(key) is not str:
                    return self.in_value(to_json(members), tally)
                what = self._judge(key)
            tally.size += len(key) + 4
            kind = type(item)
            if what == _CLEAN and kind is str:
                new: JsonValue = self.in_text(item, tally)
            elif what == _CLEAN and (kind is int or kind is float):
                tally.size += 8
                continue
            else:
                new = self._in_member(key, item, what, members, tally)
            if new is not item:
                if made is None:
                    made = dict(members)
                made[key] = new
            if what == _TEXT:
                renamed = True
        result = members if made is None else made
        return {self.in_text(key, tally): item for key, item in result.items()} if renamed else result

    def _in_member(self, key: str, item: JsonValue, what: int, members: Mapping[str, JsonValue], tally: Tally) -> JsonValue:
        if what in _BY_KEY:
            return self._of_key(key, item, what, members, tally)
        if type(item) is dict and key in _SCHEMA_MEMBERS:
            return self._in_schemas(item, tally)
        return self.in_value(item, tally)

    def _in_schemas(self, properties: dict[str, JsonValue], tally: Tally) -> JsonValue:
        """The members of ``properties`` in a JSON Schema: ``password`` there says what one looks like. Its default does not."""
        made: dict[str, JsonValue] = {}
        for name, schema in properties.items():
            if type(name) is str and is_schema(schema) and self._judge(name) in _BY_KEY:
                made[name] = self._in_secret_schema(schema, tally)
            else:
                made.update(self._in_dict({name: schema}, tally))
        changed = len(made) != len(properties) or any(made.get(name) is not schema for name, schema in properties.items())
        return made if changed else properties

    def _in_secret_schema(self, schema: dict[str, JsonValue], tally: Tally) -> JsonValue:
        examples = [name for name in _EXAMPLES if schema.get(name) is not None]
        others = self._in_dict({name: item for name, item in schema.items() if name not in examples}, tally)
        same = not examples and all(others.get(name) is item for name, item in schema.items())
        return schema if same else {**others, **{name: tally.take("key") for name in examples}}

    def _of_key(self, key: str, item: JsonValue, what: int, members: Mapping[str, JsonValue], tally: Tally) -> JsonValue:
        if item is None or item == "" or (isinstance(item, str) and item.startswith(MARK)):
            return item
        if what == _SECRET:
            if isinstance(item, bool) or (isinstance(item, (int, float)) and is_token(key)):
                return item
            if is_token(key) and ("logprob" in members or isinstance(item, (dict, list))):
                return self.in_value(item, tally)
        return tally.take("key", *_texts(item))

    def _judge(self, key: str) -> int:
        known = self._keys.get(key)
        if known is not None:
            return known
        spelt = words(key)
        if spelt in self._own_keys:
            what = _USERS
        elif self._defaults and is_secret(key):
            what = _SECRET
        else:
            what = _CLEAN if self.in_text(key, Tally()) == key else _TEXT
        if len(self._keys) < _MAX_KEYS and len(key) <= _KNOWN_LENGTH:
            self._keys[key] = what
        return what

    # -- the user's rules

    def _by_paths(self, value: JsonValue, tally: Tally) -> JsonValue:
        def take(found: JsonValue) -> JsonValue:
            if found is None or (isinstance(found, str) and found.startswith(MARK)):
                return found
            return tally.take("path", *_texts(found))

        for path in self._paths:
            value = replace_at(value, path, take)
        return value

    def _by_user(self, text: str, tally: Tally) -> str:
        if self.broken:
            tally.redacted += 1
            return ERROR
        if self._paths:
            text = self._json_by_paths(text, tally)
        text = self._by_patterns(text, tally)
        if self._function is not None:
            made = self._function(text)
            if type(made) is not str:
                raise TypeError(f"redact_with gave {type(made).__name__}, not str")
            if made != text:
                tally.redacted += 1
                text = made
        return text

    def _by_patterns(self, text: str, tally: Tally) -> str:
        for pattern in self._patterns:
            if pattern.search(text) is not None:
                text, count = pattern.subn(mark("pattern"), text)
                tally.redacted += count
        return text

    def _json_by_paths(self, text: str, tally: Tally) -> str:
        """Text that is JSON is judged as such; what only looks like it, by the last name of each path."""
        if text.lstrip()[:1] not in ("{", "["):
            return text
        try:
            value = from_json(text)
        except (TypeError, ValueError):  # TypeError: half a surrogate pair as it is
            return self._in_paths(text, tally)
        made = self._by_paths(value, tally)
        return text if made is value else write_json(made).decode()

    def _failed(self, error: Exception, tally: Tally) -> str:
        tally.redacted += 1
        if not self._said:
            self._said = True  # the error's text may quote what it was about: only its type is told
            logger.error("llmtrace: redaction failed (%s); what it was to look at is left out.", type(error).__name__)
        return ERROR


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError(f"expected text, got {type(given).__name__}")
    return given


def _key(given: object) -> str:
    spelt = words(_text(given))
    if not spelt:
        raise ValueError("expected the name of a key, and there is no word in it")
    return spelt


def _pattern(given: Any) -> re.Pattern[str]:
    pattern = re.compile(given)
    _text(pattern.pattern)  # one for bytes fits no text
    return pattern


def _shown(given: object) -> str:
    try:
        return repr(given)
    except Exception:
        return f"<{type(given).__name__}>"


def _refuse(given: object) -> None:
    raise TypeError(f"expected a function from str to str, got {type(given).__name__}")


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
