"""Numbers of a text that stand with a unit, and what they are, rounded, in another unit of the same kind: miles in kilometres,
pounds in kilograms, °F in °C, seconds in hours.

Law: the text says the unit of its number, beside it, in the name of its member or in a member of its own (``"unit": "mi"``);
the other number has few digits, and is the same to the last of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from llmtrace.content.scan import matcher

_MOST_DIGITS = 4
"""That a measure is told with; a sum of money has more, or is whole."""
_MOST, _MOST_APART = 64, 16
"""Measures of one text that are read, and units in members of their own."""
_UNITS: tuple[tuple[str, float, str], ...] = (
    ("length", 1, "m meter meters metre metres"),
    ("length", 1000, "km kms kilometer kilometers kilometre kilometres"),
    ("length", 0.01, "cm centimeter centimeters centimetre centimetres"),
    ("length", 0.001, "mm millimeter millimeters millimetre millimetres"),
    ("length", 1609.344, "mi mile miles meile meilen milla millas"),
    ("length", 0.3048, "ft feet foot"),
    ("length", 0.0254, "inch inches"),
    ("length", 0.9144, "yd yard yards"),
    ("mass", 1, "kg kilo kilos kilogram kilograms"),
    ("mass", 0.001, "g gram grams gramm"),
    ("mass", 1000, "t ton tons tonne tonnes"),
    ("mass", 0.45359237, "lb lbs pound pounds"),
    ("mass", 0.028349523, "oz ounce ounces"),
    ("volume", 1, "l liter liters litre litres"),
    ("volume", 0.001, "ml milliliter milliliters millilitre millilitres"),
    ("volume", 1000, "m³ m3 cbm"),
    ("volume", 3.785412, "gal gallon gallons"),
    ("volume", 0.2365882, "cup cups"),
    ("volume", 0.0295735, "floz"),
    ("volume", 0.0147868, "tbsp tablespoon tablespoons"),
    ("volume", 0.0049289, "tsp teaspoon teaspoons"),
    ("speed", 1, "km/h kmh kph"),
    ("speed", 1.609344, "mph mi/h"),
    ("speed", 3.6, "m/s"),
    ("speed", 1.852, "kn knot knots"),
    ("area", 1, "m² m2 sqm squaremeter squaremeters squaremetre squaremetres"),
    ("area", 1e6, "km² km2 sqkm"),
    ("area", 10_000, "ha hectare hectares"),
    ("area", 0.09290304, "ft² ft2 sqft squarefoot squarefeet"),
    ("area", 4046.8564, "acre acres"),
    ("time", 1, "s sec secs second seconds"),
    ("time", 0.001, "ms millis millisecond milliseconds"),
    ("time", 60, "min mins minute minutes"),
    ("time", 3600, "h hr hrs hour hours"),
    ("time", 86_400, "d day days"),
    ("data", 1, "b byte bytes"),
    ("data", 1e3, "kb kilobyte kilobytes"),
    ("data", 1e6, "mb megabyte megabytes"),
    ("data", 1e9, "gb gigabyte gigabytes"),
    ("data", 2**10, "kib"),
    ("data", 2**20, "mib"),
    ("data", 2**30, "gib"),
    ("energy", 1, "kj"),
    ("energy", 4.184, "kcal"),
    ("degrees", 1, "f fahrenheit"),
    ("degrees", 0, "c celsius"),
)
"""What is measured, how many of the first unit of its kind each unit is, and how it is written."""
_LIKE_BINARY = {1e3: 2**10, 1e6: 2**20, 1e9: 2**30}
"""What a unit of data in thousands may mean as well."""
_BY_NAME = {name: (kind, scale) for kind, scale, names in _UNITS for name in names.split()}
_SCALES: dict[str, list[float]] = {}
for _kind, _scale, _ in _UNITS:
    _SCALES.setdefault(_kind, []).append(_scale)

_NUMBER = r"(-?[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?)"
_UNIT = r"((?:(?:°|deg(?:rees?)?|square|sq|fl)[\s.]{0,2})?[a-z]{1,11}(?:[²2]|/[a-z]{1,2})?)(?![^\W_]|[/²])"
_BESIDE = re.compile(rf"(?<![\w.,]){_NUMBER}[\s-]?{_UNIT}", re.IGNORECASE)
_MEMBER = re.compile(rf'"([^"\\]{{2,64}})"\s*:\s*"?{_NUMBER}(?![\w.-])')
_UNIT_APART = re.compile(rf'"(?:[^"\\]{{0,64}}_)?units?"\s*:\s*"{_UNIT}"', re.IGNORECASE)
_BRACE = re.compile("[{}]")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ANY = "|".join(map(re.escape, _BY_NAME))
_may_measure = matcher(
    rf'(?i)[0-9][\s-]?(?:°|deg|square|sq|fl|(?:{_ANY})(?:[^0-9a-z]|$))|"(?:[^"]{{0,40}}_)?units?"\s*:'
    rf'|(?:[_ "](?:{_ANY})|[a-z](?-i:[A-Z])[a-z]{{0,10}})"\s*:\s*"?-?[0-9][0-9.,]*(?:[^0-9.,a-z-]|$)'
)
"""False where a text holds no number with a unit."""
_PLAIN = re.compile(r"deg(?:rees?)?\s|[°\s.]")


class Measure(NamedTuple):
    size: float
    kind: str
    scale: float


def measures(text: str) -> tuple[Measure, ...]:
    """The numbers of a text that stand with a unit."""
    return tuple(dict.fromkeys(_read(text)))[:_MOST] if _may_measure(text) else ()


def _read(text: str) -> Iterator[Measure]:
    for number, unit in _BESIDE.findall(text):
        yield from _measure(number, unit)
    for name, number in _MEMBER.findall(text):
        yield from _measure(number, _CAMEL.sub("_", name).replace(" ", "_").rpartition("_")[2])
    for match in islice(_UNIT_APART.finditer(text), _MOST_APART):
        for _, number in _MEMBER.findall(text, text.rfind("{", 0, match.start()) + 1, _end_of_object(text, match.end())):
            yield from _measure(number, match[1])


def _end_of_object(text: str, at: int) -> int:
    """Where the object ends that begins before this place."""
    depth = 1
    for brace in _BRACE.finditer(text, at):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return brace.start()
    return len(text)


def _measure(number: str, unit: str) -> Iterator[Measure]:
    known = _BY_NAME.get(_PLAIN.sub("", unit.casefold()))
    if known is not None:
        yield Measure(float(number.replace(",", "")), *known)


def is_measure(number: float) -> bool:
    """False for a number with more digits than a measure is told with, unless it is whole."""
    return number.is_integer() or len(f"{number:.10g}".replace(".", "").strip("0")) <= _MOST_DIGITS


def measured(number: float, known: Sequence[Measure]) -> Measure | None:
    """Which of these is the number (without sign) in another unit, to its last digit."""
    half = 0.5 * 10 ** -len(f"{number:.10g}".partition(".")[2]) * (1 + 1e-9)
    return next((one for one in known if any(abs(abs(other) - number) <= half for other in _others(one))), None)


def _others(one: Measure) -> Iterator[float]:
    """The same in each other unit of its kind."""
    if one.kind == "degrees":
        yield (one.size - 32) / 1.8 if one.scale else one.size * 1.8 + 32
        return
    for other in _SCALES[one.kind]:
        if other != one.scale:
            yield one.size * one.scale / other
            if one.kind == "data" and one.scale == 1 and other in _LIKE_BINARY:
                yield one.size / _LIKE_BINARY[other]
