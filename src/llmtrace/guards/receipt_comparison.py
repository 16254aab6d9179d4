"""Compares what a reader returned with the change that was asked for, and says what it proves: a `Receipt`.

Laws: a difference is only what cannot be another notation of the same value. Members that the record does not have are not
compared, and a record that shares no member with the call proves nothing. Pure, and free of the program's own objects.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timezone
from decimal import Decimal, InvalidOperation
from typing import Any

from llmtrace.content import to_json
from llmtrace.content.placeholders import holds_placeholder
from llmtrace.content.snapshot import UNSERIALISABLE
from llmtrace.model import JsonValue, Receipt, replace
from llmtrace.model.receipts import STATUSES
from llmtrace.model.value import value
from llmtrace.reading.result_fields import structure_of
from llmtrace.reading.result_form import is_error, may_be_finding
from llmtrace.text.dates import dates_in, read_date
from llmtrace.text.matching import is_email, is_identifier, normalize, squash
from llmtrace.text.numbers import number_key, read_number
from llmtrace.validation.json_pointers import pointer

_DEEPEST = 16
_MOST_ROWS = 1000
_FLAGS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
"""The notations of a flag in JSON and SQL."""
_MOST_ITEMS = 50
"""Items of a list that are compared."""
_LONGEST_ZONE = 14 * 3600
"""Seconds by which a time without a zone may differ from the same time with one."""


@value
class ChangeRecord:
    """A change that has answered, as its receipt is judged by."""

    arguments: Mapping[str, JsonValue]
    """The arguments that the tool got."""
    result: JsonValue
    keys: Collection[str]
    """Names of the arguments by which the reader found the record. That these are equal proves nothing."""
    by_handle: bool = False
    """True if the reader found the record by a value that only the tool's result has, such as a new id."""
    times: int = 1
    """How often the run has begun this change, this time included."""


def compare(answer: object, change: ChangeRecord) -> Receipt:
    """Return the receipt for what a reader returned. Raises ValueError for a `Receipt` with wrong values."""
    if isinstance(answer, Receipt):
        return _checked(answer)
    if answer is None or isinstance(answer, bool):
        return Receipt("confirmed" if answer else "missing")
    found = as_record(answer)
    if isinstance(found, str):
        found = structure_of(found)
    if not isinstance(found, (dict, list)):
        return Receipt("unknown", error="not_a_record")
    if is_error(found) and not may_be_finding(found):
        return Receipt("unknown", error="error_result", record=found)
    if not found:
        return Receipt("missing", record=found, records=0)
    if isinstance(found, dict):
        return replace(_of_record(found, change), record=found)
    return replace(_of_records(found, change), record=found)


def _checked(receipt: Receipt) -> Receipt:
    """Return a receipt that a reader made, with only what a reader may decide."""
    texts = (receipt.status, receipt.pointer, receipt.note, receipt.of)
    is_valid = all(isinstance(text, str) for text in texts) and receipt.status in STATUSES
    if not is_valid or receipt.pointer[:1] not in ("", "/") or receipt.of not in ("arguments", "result"):
        raise ValueError("a receipt has a status, and a JSON Pointer such as /amount")
    records = receipt.records if type(receipt.records) is int else None
    shown = to_json(receipt.record)
    return Receipt(receipt.status, receipt.pointer, receipt.note, shown, records, receipt.of)


def as_record(answer: Any) -> JsonValue:
    """Return a record, or a list of records, of any library as JSON. Rows become objects by the names of their columns."""
    if isinstance(answer, (list, tuple, set, frozenset)) and not hasattr(answer, "_asdict"):
        return [_row(item) for item in list(answer)[:_MOST_ROWS]]
    return _row(answer)


def _row(row: Any) -> JsonValue:
    if row is None or isinstance(row, (str, bytes, int, float, Mapping)):
        return to_json(row)
    if isinstance(mapping := getattr(row, "_mapping", None), Mapping):  # a row of SQLAlchemy
        return to_json(dict(mapping))
    if callable(as_dict := getattr(row, "_asdict", None)):  # a named tuple
        return to_json(as_dict())
    if callable(names := getattr(row, "keys", None)) and hasattr(row, "__getitem__"):  # a row of sqlite3 or asyncpg
        return to_json({name: row[name] for name in names()})
    shown = to_json(row)
    if isinstance(shown, str) and shown.startswith(UNSERIALISABLE) and hasattr(row, "__dict__"):  # an object of an ORM
        return to_json({name: member for name, member in vars(row).items() if not name.startswith("_")})
    return shown


def _of_records(rows: Sequence[JsonValue], change: ChangeRecord) -> Receipt:
    """Judge a list of the records that match the change: one is right, more are too many."""
    if not all(isinstance(row, dict) for row in rows):
        return Receipt("unknown", error="not_a_record")
    judged = [_of_record(row, change) for row in rows]
    # the second record of a doubled change has an id of its own, which differs from the one in the result
    fitting = [receipt for receipt in judged if receipt.status == "confirmed" or receipt.of == "result"]
    if len(fitting) > change.times:
        return Receipt("doubled", records=len(fitting))
    if fitting:
        best = next((receipt for receipt in fitting if receipt.status == "confirmed"), fitting[0])
        return replace(best, records=len(fitting))
    if any(receipt.status == "unknown" for receipt in judged):
        return Receipt("unknown", error="nothing_to_compare", records=len(rows))
    return replace(judged[0], records=1) if len(judged) == 1 else Receipt("missing", records=0)


def _of_record(record: Mapping[str, JsonValue], change: ChangeRecord) -> Receipt:
    compared: set[str] = set()
    names = {squash(name): name for name in record}
    result = change.result if isinstance(change.result, Mapping) else structure_of(change.result)
    reported = result if isinstance(result, Mapping) else {}
    for path, asked in _members(change.arguments, names):
        name = names.get(squash(path[-1]))
        if name is None or _is_hidden(asked) or _is_hidden(record[name]):
            continue
        place = _difference(asked, record[name])
        if place is not None and not _is_reported(reported, path[-1], record[name]):
            return Receipt("different", pointer((*path, *place)))
        compared.add(path[0])
    for name, said in reported.items():
        own = names.get(squash(name))
        if own is None or name in change.arguments or not _names_thing(said):
            continue
        if _is_explained(record[own], change) or _is_hidden(record[own]):
            continue
        if (place := _difference(said, record[own])) is not None:
            return Receipt("different", pointer((name, *place)), of="result")
    given = {name for name, argument in change.arguments.items() if argument is not None}
    if change.by_handle or compared - set(change.keys) or given <= set(change.keys):
        return Receipt("confirmed")
    return Receipt("unknown", error="nothing_to_compare")


def _members(arguments: Mapping[str, JsonValue], names: Collection[str]) -> Iterator[tuple[tuple[str, ...], JsonValue]]:
    """Yield path and value of each argument; of an object that the record does not have as such, its members."""
    for name, argument in arguments.items():
        if argument is None:
            continue
        if isinstance(argument, Mapping) and squash(name) not in names:
            yield from (((name, str(inner)), member) for inner, member in argument.items() if member is not None)
        else:
            yield (name,), argument


def _is_hidden(member: JsonValue) -> bool:
    return holds_placeholder(member)


def _is_reported(reported: Mapping[str, JsonValue], name: str, found: JsonValue) -> bool:
    """Return True if the tool's result says this value under the same name: it did something else, and said so."""
    return name in reported and reported[name] is not None and _difference(reported[name], found) is None


def _names_thing(said: JsonValue) -> bool:
    """Return True for a number or an identifier. Other values, such as a status, may mean the call and not the record."""
    if isinstance(said, str):
        return is_identifier(said) or is_email(said)
    return isinstance(said, (int, float)) and not isinstance(said, bool)


def _is_explained(found: JsonValue, change: ChangeRecord) -> bool:
    """Return True if the value is an argument under another name."""
    return any(_difference(argument, found) is None for argument in change.arguments.values() if argument is not None)


# -- one value and another


def _difference(asked: JsonValue, found: JsonValue, depth: int = 0) -> tuple[str | int, ...] | None:
    """Return the path to the first part of ``asked`` that ``found`` does not have; None if the two may be the same."""
    if asked is None or depth > _DEEPEST:
        return None
    if isinstance(found, str) and isinstance(asked, (dict, list)):
        parsed = structure_of(found)
        found = parsed if parsed is not None else found
    if isinstance(asked, dict):
        return _difference_of_objects(asked, found, depth) if isinstance(found, dict) else ()
    if isinstance(asked, list):
        return _difference_of_lists(asked, found, depth)
    if isinstance(found, list):
        return None if any(_difference(asked, item, depth + 1) is None for item in found) else ()
    if isinstance(found, dict):
        parsed = structure_of(asked)
        return _difference(parsed, found, depth + 1) if parsed is not None else ()
    return None if _is_same(asked, found) else ()


def _difference_of_objects(
    asked: Mapping[str, JsonValue], found: Mapping[str, JsonValue], depth: int
) -> tuple[str | int, ...] | None:
    names = {squash(name): name for name in found}
    for name, member in asked.items():
        own = names.get(squash(name))
        if own is not None and (place := _difference(member, found[own], depth + 1)) is not None:
            return (name, *place)
    return None


def _difference_of_lists(asked: Sequence[JsonValue], found: JsonValue, depth: int) -> tuple[str | int, ...] | None:
    """Return the place of the first item that the other list lacks. The order does not matter, and more items are allowed."""
    if not isinstance(found, list):
        joined = "".join(str(item) for item in asked)
        return None if isinstance(found, str) and squash(joined) == squash(found) else ()
    fits = [
        [at for at, other in enumerate(found[:_MOST_ITEMS]) if _difference(item, other, depth + 1) is None]
        for item in asked[:_MOST_ITEMS]
    ]
    taken: dict[int, int] = {}
    for place in range(len(fits)):
        if not _take(place, fits, taken, set()):
            return (place,)
    return None


def _take(place: int, fits: Sequence[Sequence[int]], taken: dict[int, int], tried: set[int]) -> bool:
    """Give an item one of the others that fit it, and another one to the item that had that. Returns False if none is left."""
    for at in fits[place]:
        if at not in tried:
            tried.add(at)
            if at not in taken or _take(taken[at], fits, taken, tried):
                taken[at] = place
                return True
    return False


def _is_same(asked: JsonValue, found: JsonValue) -> bool:
    """Return True if two scalars may be the same value in two notations."""
    if bool(asked == found):
        return True
    if found is None:
        return bool(asked == "")
    if isinstance(asked, bool) or isinstance(found, bool):
        return _is_same_flag(asked, found)
    first, second = _as_moment(asked), _as_moment(found)
    if first is not None and second is not None:
        return _is_same_moment(first, second)
    exact, other = _as_number(asked), _as_number(found)
    if exact is not None and other is not None:
        return _is_same_number(exact, other)
    if isinstance(asked, str) and isinstance(found, str):
        return _is_same_text(asked, found)
    return bool(set(_number_keys(asked)) & set(_number_keys(found)))


def _is_same_flag(asked: JsonValue, found: JsonValue) -> bool:
    """Compare a flag with a value. A text that no database writes for a flag may be one in any language."""
    flags = [_FLAGS.get(str(member).strip().casefold()) for member in (asked, found)]
    if None in flags:
        return isinstance(asked, str) or isinstance(found, str)
    return flags[0] == flags[1]


def _as_number(member: JsonValue) -> Decimal | None:
    if isinstance(member, (int, float)):
        member = repr(member)
    try:
        number = Decimal(member.strip()) if isinstance(member, str) else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() else None


def _is_same_number(asked: Decimal, found: Decimal) -> bool:
    """Return True if the numbers are equal, or if ``found`` is the other one rounded to its decimals, two at least."""
    difference = abs(asked - found)
    if difference <= max(abs(asked), abs(found)) * Decimal("1e-9"):
        return True
    exponent = found.as_tuple().exponent
    decimals = max(2, -exponent if isinstance(exponent, int) else 0)
    return bool(found) and difference <= Decimal(5).scaleb(-decimals - 1)


def _number_keys(member: JsonValue) -> tuple[str, ...]:
    if isinstance(member, str):
        sign = "-" if normalize(member).strip()[:1] in ("-", "−") else ""
        return tuple(sign + key for key in read_number(member))
    key = number_key(member)
    return () if key is None else (("-" if member < 0 else "") + key,)


def _is_same_text(asked: str, found: str) -> bool:
    if read_number(asked) and read_number(found):
        return bool(set(_number_keys(asked)) & set(_number_keys(found)))
    first = read_date(asked)
    if first and read_date(found):
        return any(not set(first).isdisjoint(keys) for _, _, keys in dates_in(normalize(found)))
    letters = squash(asked)
    return letters == squash(found) if letters else asked.strip() == found.strip()


def _as_moment(member: JsonValue) -> datetime | date | None:
    """Read a time or a day in ISO form."""
    if not isinstance(member, str) or len(member) < 8 or not member[:4].isdecimal():
        return None
    text = member.strip()
    try:
        return date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None


def _is_same_moment(first: datetime | date, second: datetime | date) -> bool:
    """Compare two times, or the days if one is only a day. A missing zone may be any."""
    if not isinstance(first, datetime) or not isinstance(second, datetime):
        days = [moment.date() if isinstance(moment, datetime) else moment for moment in (first, second)]
        return days[0] == days[1]
    if (first.tzinfo is None) == (second.tzinfo is None):
        seconds = abs((first - second).total_seconds())
    else:
        in_utc = [moment.replace(tzinfo=moment.tzinfo or timezone.utc) for moment in (first, second)]
        seconds = abs((in_utc[0] - in_utc[1]).total_seconds())
        if seconds <= _LONGEST_ZONE:
            seconds %= 900  # zones differ by quarters of an hour
    return seconds < 1
