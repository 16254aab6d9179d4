"""Where a value stands in what was visible, in whatever form, or what it follows from.

Three steps, each taken only when the one before found nothing: the value itself, its spelling aside; the same with other
separators, units or words; what can be worked out from something visible.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timezone
from itertools import islice

from llmtrace.lineage import dates
from llmtrace.lineage.bills import by_rule_of_three, totals
from llmtrace.lineage.computed import FEW, MOST_COUNTED, SMALL, Term, computed, may_follow
from llmtrace.lineage.context import RECENT_CHARACTERS, RECENT_SOURCES, Context
from llmtrace.lineage.forms import in_words, number_key, occurs, occurs_as_number, phrase, read_number, squash
from llmtrace.lineage.measures import is_measure, measured, measures
from llmtrace.lineage.passages import Place, Places
from llmtrace.lineage.periods import Period, around, periods
from llmtrace.lineage.provenance import Match, Rule
from llmtrace.lineage.quantities import MONEY, PER_CENT, conversions, labelled, names_may_hold_digits, written
from llmtrace.lineage.sources import Found, Source
from llmtrace.lineage.values import SPECIFIC, Value
from llmtrace.lineage.wording import joints, windows
from llmtrace.lineage.words import words_of

RECENT_NUMBERS = 48
"""How many numbers of the newest sources a number may be computed from."""
_MOST_ASKED = 8
"""Numbers of the user's from which others may follow by the rule of three."""
_MOST_PRICES = 12
_FEW_PERIODS = 2
_SHORTEST_TEXT = 3
_DIGITS = re.compile(r"\d+")
_DIALLING = re.compile(r"[+().\s-]")
_BY_KEYS_ALONE = frozenset({"identifier", "phone", "email"})
"""Kinds whose other forms are found by the keys of words and by nothing else."""
_TAILS = (7, 4, 3, 2)
"""How many of the last digits of a phone number may stand apart from the rest."""
_LINE_OF = re.compile(r"(.*\.[A-Za-z]{1,5}):([0-9]{1,6})(?::[0-9]{1,6})?")
"""``app/api.py:118``"""
_LEAP = 2024
_MOST_DAYS = 3660
_SHORTEST_PHONE = 7
_SHORTEST_BARE = 5
"""Digits from which on a number that a user gave stands for an identifier with a prefix before it."""


def find(context: Context, value: Value) -> Found | None:
    """The first and last place of the value, or of what it follows from; None where it is in nothing visible."""
    kind = value.kind
    if (
        context.holds_no_key()
        and (kind in _BY_KEYS_ALONE or (kind == "date" and not context.tells_of_dates()))
        and (value.content if type(value.content) is str else value.text).isascii()
    ):
        return None
    return context.find(value) or find_otherwise(context, value)


def find_otherwise(context: Context, value: Value) -> Found | None:
    """The same of a value that does not stand there itself, its spelling aside."""
    return _in_another_form(context, value) or _follows(context, value)


def find_words(context: Context, value: Value) -> Found | None:
    """Where a plain text stands: as a whole, of a long one some of its pieces, of one that is put together all of them."""
    text = value.text
    if len(text.strip()) < _SHORTEST_TEXT:
        return None
    if value.kind == "code":
        return context.find_code(text.strip())
    return context.find_words(text) or _quoted(context, text) or _joined(context, text)


def _quoted(context: Context, text: str) -> Found | None:
    found = context.find_words(*windows(text))
    return None if found is None else _by(found, "quoted")


def _joined(context: Context, text: str) -> Found | None:
    pieces = joints(text)
    source = context.find_together(pieces) if pieces else None
    return None if source is None else Found(source, source, "joined", tuple((source, piece) for piece in pieces))


def keys_sought(value: Value) -> Iterator[str]:
    """The keys that `find` may look up for the value, except those of dates."""
    yield from value.keys
    if value.kind == "number":
        number = read_number(value.text)
        yield from () if number is None else [number_key(other.number) for other in conversions(number)]
    elif value.kind == "url":
        yield from map(squash, _numbered_pieces(_parts_of_url(value)[1]))
    elif value.kind in ("identifier", "phone"):
        yield max(_DIGITS.findall(value.text), key=len, default="")
        yield from (dialled(value)[0][-tail:] for tail in _TAILS)


def words_sought(value: Value) -> Iterator[str]:
    """The words that `find_words` may look up for the value."""
    for text in (value.text, *windows(value.text), *joints(value.text)):
        yield from words_of(text)


def matches(places: Places, value: Value, start: int = 0) -> list[Match]:
    """The characters of a source that hold a value, or that it follows from, in the forms that `find` and `find_words` know.
    ``start``: where the value begins in its argument or answer."""
    end = start + len(value.text)
    if value.kind not in SPECIFIC:
        return [place.match(start + first, start + last) for first, last, place in places.of_words(value.text)]
    place = places.of_text(value.text.strip()) or places.of_keys(value.keys) or _other_place(places, value)
    return [place.match(start, end)] if place is not None else []


def _other_place(places: Places, value: Value) -> Place | None:
    number = read_number(value.text) if value.kind == "number" else None
    if number is not None:
        word = in_words(number)
        found = places.of_pattern(rf"(?<![^\W_]){word}(?![^\W_])") if word is not None else None
        return (
            found or places.of_quantity(list(conversions(number))) or places.of_keys([f"@{day}" for day in _unix_day(number)])
        )
    if value.kind == "date":
        of_day = (places.of_keys(dates.clues_of(day)) or places.nearest_day(day) for day in value.dates)
        return next((place for place in of_day if place is not None), None)
    if value.kind in ("url", "path"):
        return next((place for name in _named_pieces(value) for _, _, place in places.of_words(name)), None)
    longest = max(_DIGITS.findall(value.text), key=len, default="")
    forms = (phrase(value.text), dialled(value)[1]) if longest else ()
    by_form = (places.of_pattern(form) for form in forms if form)
    return next((place for place in by_form if place is not None), None) or places.of_keys([longest])


def _named_pieces(value: Value) -> list[str]:
    """The last name of a path, the host of a URL."""
    bare = re.sub(r"^[a-z][a-z0-9+.-]*://|^www\.", "", value.text.strip(), flags=re.IGNORECASE)
    names = [name for name in re.split(r"[/\\?#:]", bare) if name not in ("", ".", "..", "~")]
    return names[:1] if value.kind == "url" else names[-1:]


def _in_another_form(context: Context, value: Value) -> Found | None:
    if value.kind == "number":
        return _number_in_another_form(context, value)
    if value.kind not in ("identifier", "phone"):
        return None
    pieces = _DIGITS.findall(value.text)
    longest = max(pieces, key=len, default="")
    found = _spaced(context, value, longest) or _dialled(context, value) or _prefixed(context, value, pieces)
    return found or _set_apart(context, value) or _within(context, value) or _line_of(context, value)


def _spaced(context: Context, value: Value, anchor: str) -> Found | None:
    """The same stretches of letters and digits with other separators between them."""
    return _where(context, value, anchor, phrase(value.text)) if anchor and context.at(anchor) is not None else None


def _dialled(context: Context, value: Value) -> Found | None:
    """A phone number: its last ten digits, however they are set apart."""
    digits, pattern = dialled(value)
    if not pattern:
        return None
    found = (_where(context, value, digits[-tail:], pattern) for tail in _TAILS)
    return next((place for place in found if place is not None), None)


def dialled(value: Value) -> tuple[str, str]:
    """The digits of a phone number, and a pattern that finds the last ten; empty for what is none."""
    digits = _DIALLING.sub("", value.text)
    if not digits.isdigit() or len(digits) < _SHORTEST_PHONE:
        return "", ""
    return digits, r"[\W_]{0,3}".join(digits[-10:]) + r"(?!\d)"


def _where(context: Context, value: Value, anchor: str, pattern: str) -> Found | None:
    """The source among those that hold the anchor in which the pattern occurs; a forgotten one may."""
    found = context.at(anchor) if anchor else None
    if found is not None and found.last is None and len(anchor) >= _SHORTEST_BARE:
        return found
    for source in (found.first, found.last) if found else ():
        if source is not None and source.echo.isdisjoint(value.keys) and re.search(pattern, source.text, re.IGNORECASE):
            return Found(source, source)
    return None


def _prefixed(context: Context, value: Value, pieces: list[str]) -> Found | None:
    """A user gave the digits alone, and the model put the prefix before them that the tool wants."""
    if len(pieces) != 1 or len(pieces[0]) < _SHORTEST_BARE or not value.text.strip().endswith(pieces[0]):
        return None
    found = context.at(pieces[0])
    sources = (found.first, found.last) if found else ()
    return next((Found(source, source, "prefix") for source in sources if source is not None and source.asked), None)


def _set_apart(context: Context, value: Value) -> Found | None:
    """A post code that a user wrote with a space in it: ``110 00``."""
    digits = value.text.strip()
    if not (digits.isdigit() and _SHORTEST_BARE <= len(digits) < _SHORTEST_PHONE):
        return None
    parted = [f"{digits[:at]} {digits[at:]}" for at in range(2, len(digits) - 1)]
    users = (source for source in islice(context.newest_first(), RECENT_SOURCES) if source.asked)
    found = next((source for source in users if any(occurs(each, source.text) for each in parted)), None)
    return None if found is None else Found(found, found)


def _within(context: Context, value: Value) -> Found | None:
    """One of those that somebody asked for by the first and the last of them."""
    for named, source in reversed(context.ranges):
        if named.holds(value.text):
            return Found(source, source, "range", tuple((source, end) for end in named.ends))
    return None


def _line_of(context: Context, value: Value) -> Found | None:
    """A line of a file, where one text holds the name of the file and the number of the line."""
    match = _LINE_OF.fullmatch(value.text)
    if match is None:
        return None
    path, line = match.groups()
    found = context.find_text(path)
    for source in (found.first, found.last) if found is not None else ():
        if source is not None and source.echo.isdisjoint(value.keys) and occurs_as_number(line, source.text):
            return Found(source, source, "joined", ((source, path),))
    return None


def _number_in_another_form(context: Context, value: Value) -> Found | None:
    number = read_number(value.text)
    if number is None:
        return None
    for other in conversions(number):
        found = context.at(number_key(other.number))
        for source in (found.first, found.last) if found else ():
            if source is not None and other.place_in(source.text):
                return Found(source, source, "unit")
    word = in_words(number)
    if word is not None:
        return context.find_text(word) or context.find_text(word.capitalize())
    day = next((f"@{day}" for day in _unix_day(number)), None) or _days_apart(context, number)
    found = None if day is None else context.at(day)
    return found and _by(found, "date")


def _days_apart(context: Context, number: float) -> str | None:
    """The first of two dates between which there are so many days."""
    whole = SMALL < number <= _MOST_DAYS and number.is_integer()
    return context.days_apart(int(number)) if whole and context.tells_of_dates() else None


def _unix_day(number: float) -> tuple[str, ...]:
    """The day of a Unix time in seconds or milliseconds, if it is one."""
    seconds = number / 1000 if number > 1e11 else number
    return (datetime.fromtimestamp(seconds, timezone.utc).date().isoformat(),) if 1e8 < seconds < 1e11 else ()


def _follows(context: Context, value: Value) -> Found | None:
    if value.kind == "date":
        return _date_follows(context, value)
    if value.kind == "number":
        return _computed(context, value)
    if value.kind == "url":
        return _url_follows(context, value)
    if value.kind == "path":
        return _path_follows(context, value)
    return None


def _date_follows(context: Context, value: Value) -> Found | None:
    """A date without year, a month by name, or some days or weeks from another date where words speak of such."""
    if not context.tells_of_dates():
        return None
    for day in value.dates or _possible_days(context, value):
        for key in dates.clues_of(day):
            found = context.at(key)
            if found is not None:
                return _by(found, "date")
        nearest = context.nearest_day(day.toordinal())
        if nearest is not None and nearest[0] <= _reach(context):
            found = context.at(nearest[1])
            return found and _by(found, "date")
        apart = _a_period_apart(context, day)
        if apart is not None:
            return apart
    return None


def _a_period_apart(context: Context, day: date) -> Found | None:
    """A day from a date that stands with a period of so many days or months, or where the user said the one or the other, or a
    result tells of few."""
    for source in context.recent():
        known = source.periods
        if known is None:
            known = source.periods = periods(source.text) if source.marked and len(source.text) <= RECENT_CHARACTERS else ()
        if not known:
            continue
        alone = _is_users(source) or (source.call_id is not None and len(known) <= _FEW_PERIODS)
        for found in _days_around(context, day, known):
            if any(alone or one is source or _is_users(one) for one in (found.first, found.last) if one is not None):
                return _by(found, "date")
    return None


def leads_to(context: Context, value: Value, text: str) -> bool:
    """Whether a period that the text tells of leads to the date from one that is visible."""
    known = periods(text)
    return bool(known) and any(_days_around(context, day, known) for day in value.dates)


def _days_around(context: Context, day: date, known: Sequence[Period]) -> list[Found]:
    keys = (key for other in around(day, known) for key in (f"@{other.isoformat()}", f"@--{other.isoformat()[5:]}"))
    return [found for key in keys if (found := context.at(key)) is not None]


def _possible_days(context: Context, value: Value) -> list[date]:
    """Of a date without year, in the years of the first and the last date that stand anywhere, and in those next to them."""
    ends = (context.nearest_day(date.min.toordinal()), context.nearest_day(date.max.toordinal()))
    years = [int(found[1][1:5]) for found in ends if found is not None] or [_LEAP]
    return list(dates.possible(value.keys[0], sorted({year + off for year in years for off in (-1, 0, 1)})))


def _reach(context: Context) -> int:
    if context.at("~week") is not None:
        return dates.WEEKS
    return dates.DAYS if context.at("~day") is not None else dates.NEAR


def _computed(context: Context, value: Value) -> Found | None:
    number = read_number(value.text)
    return None if number is None else _of_two(context, number) or _of_more(context, abs(number))


def _of_two(context: Context, number: float) -> Found | None:
    recent = _recent_sizes(context)
    if not may_follow(number, [size for _, sizes in recent for size in sizes]):
        return None
    basis = computed(number, _terms(recent))
    if basis is None:
        return None
    source = basis.terms[0].source
    return Found(source, source, basis.rule, tuple((term.source, term.size) for term in basis.terms))


def _of_more(context: Context, number: float) -> Found | None:
    """From more than two others: in another unit, as what a record comes to, or by the rule of three."""
    recent = context.recent()
    few_digits, cents = is_measure(number), round(number, 2)
    said = [source for source in recent if source.asked and _is_users(source)]
    asked = [(size, source) for source in said for size, _ in _numbers_of(source)][:_MOST_ASKED]
    for source in recent:
        if few_digits:
            if source.measures is None:
                source.measures = measures(source.text[:RECENT_CHARACTERS]) if source.marked else ()
            one = measured(number, source.measures) if source.measures else None
            if one is not None and number_key(one.size) not in source.echo:
                return Found(source, source, "unit", ((source, one.size),))
        known = source.totals
        if known is None:
            known = source.totals = () if source.echo or len(source.text) > RECENT_CHARACTERS else totals(source.text)
        if known and cents in known:
            return Found(source, source, "total")
        if asked:
            many = by_rule_of_three(number, [size for size, _ in asked], _numbers_of(source))
            if many is not None:
                users = next(where for size, where in asked if size == many[0])
                return Found(source, source, "proportion", ((users, many[0]), (source, many[1]), (source, many[2])))
    return _so_many_each(context, cents, [size for size, _ in asked]) if asked else None


def _so_many_each(context: Context, number: float, asked: Iterable[float]) -> Found | None:
    """So many, as the user asked for, at a price to which another was added, or of which a share was taken off."""
    terms = [term for term in _terms(_recent_sizes(context)) if term.label in (MONEY, PER_CENT)]
    for many in asked:
        each = round(number / many, 2) if many.is_integer() and 1 < many <= MOST_COUNTED else 0.0
        if each and round(each * many, 2) == number:
            basis = computed(each, terms[:_MOST_PRICES])
            if basis is not None and basis.rule in ("sum", "difference", "share"):
                return Found(basis.terms[0].source, basis.terms[0].source, "product", ())
    return None


def _is_users(source: Source) -> bool:
    return source.asked and "system" not in source.place and "developer" not in source.place


def _recent_sizes(context: Context) -> list[tuple[Source, Sequence[float]]]:
    """Of the newest sources the numbers at the beginning of their texts, until there are enough different ones."""
    recent: list[tuple[Source, Sequence[float]]] = []
    seen: set[float] = set()
    for source in context.recent():
        taken: list[float] = []
        for size in _sizes_of(source):
            taken.append(size)
            seen.add(size)
            if len(seen) >= RECENT_NUMBERS:
                return [*recent, (source, taken)]
        recent.append((source, taken))
    return recent


def _terms(recent: Iterable[tuple[Source, Sequence[float]]]) -> Iterator[Term]:
    """The same with what they count, which takes three times as long to read."""
    seen: set[float] = set()
    for source, taken in recent:
        for number, label in _numbers_of(source)[: len(taken)]:
            yield Term(number, label, source, len(seen) < FEW)
            seen.add(number)


def _sizes_of(source: Source) -> Sequence[float]:
    """The sizes of `_numbers_of`."""
    if source.sizes is None:
        text = source.text[:RECENT_CHARACTERS]
        if source.numbers is None and source.marked and not names_may_hold_digits(text):
            source.sizes = [number for number, _ in _beginning(source, written(text))]
        else:
            source.sizes = [number for number, _ in _numbers_of(source)]
    return source.sizes


def _numbers_of(source: Source) -> Sequence[tuple[float, str]]:
    """The numbers at its beginning that it does not merely repeat, as many as anybody may ask for, each with what it counts."""
    if source.numbers is None:
        source.numbers = list(_beginning(source, labelled(source.text[:RECENT_CHARACTERS]))) if source.marked else ()
    return source.numbers


def _beginning(source: Source, numbers: Iterable[tuple[float, str]]) -> Iterator[tuple[float, str]]:
    seen: set[float] = set()
    low, high = _ends_of_echo(source)
    for each in numbers:
        number = each[0]
        if not (low <= number <= high and number_key(number) in source.echo):
            yield each
            seen.add(number)
            if len(seen) >= RECENT_NUMBERS:
                return


def _ends_of_echo(source: Source) -> tuple[float, float]:
    """Between which numbers those stand that a source only repeats."""
    numbers = [float(key[1:]) for key in source.echo if key[0] == "="]
    return (min(numbers) * (1 - 1e-9), max(numbers) * (1 + 1e-9)) if numbers else (1.0, 0.0)


def _url_follows(context: Context, value: Value) -> Found | None:
    """Put together: the host is visible, and so is every piece of the rest that holds a digit."""
    host, rest = _parts_of_url(value)
    found = context.find_text(host, value.keys) if host else None
    if found is None:
        return Found(None, None, "joined") if context.exhausted else None
    return _by(found, "joined") if all(context.at(squash(piece)) is not None for piece in _numbered_pieces(rest)) else None


def _parts_of_url(value: Value) -> tuple[str, str]:
    """Its host, and what follows that."""
    bare = re.sub(r"^[a-z][a-z0-9+.-]*://|^www\.", "", value.text.strip(), flags=re.IGNORECASE)
    host = re.split(r"[/?#:]", bare)[0].removeprefix("www.")
    return host, bare[len(host) :]


def _numbered_pieces(rest: str) -> list[str]:
    return [piece for piece in re.split(r"[/?#&=]+", rest) if any(map(str.isdigit, piece))]


def _path_follows(context: Context, value: Value) -> Found | None:
    """Put together: the last name is visible, as in the listing of a folder."""
    names = [name for name in re.split(r"[/\\]", value.text) if name not in ("", ".", "..", "~")]
    found = context.find_text(names[-1], value.keys) if names else None
    if found is not None:
        return _by(found, "joined")
    return Found(None, None, "joined") if context.exhausted else None


def _by(found: Found, rule: Rule) -> Found:
    return Found(found.first, found.last, rule)
