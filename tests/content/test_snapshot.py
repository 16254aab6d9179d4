"""Snapshots: any object, never an exception, no side effect, bounded in time and size."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import ipaddress
import json
import os
import pathlib
import re
import sys
import threading
import time
import types
import uuid
import zoneinfo
from collections.abc import Iterator, Mapping
from typing import Any

import pydantic
import pydantic_core
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrace.content import to_json
from llmtrace.model import Message, Text
from tests.strategies import json_values, texts


class Colour(enum.Enum):
    RED = "red"
    BOTH = ("a", 1)


class Level(enum.IntEnum):
    HIGH = 3


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    name: str
    when: datetime.date | None = None
    hidden: str = pydantic.Field(default="x", exclude=True)
    key: pydantic.SecretStr = pydantic.SecretStr("hunter2")
    stream: Any = None


@dataclasses.dataclass
class Point:
    x: int
    inner: Any = None
    secret: str = dataclasses.field(default="hunter2", repr=False)


class Named(tuple):
    _fields = ("a", "b")


class Hostile:
    """Raises wherever it is touched."""

    def _raise(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("touched")

    __repr__ = __str__ = __iter__ = __len__ = __eq__ = __hash__ = __bool__ = __getattr__ = __format__ = __int__ = _raise  # type: ignore[assignment]
    __class__ = property(_raise)  # type: ignore[assignment]


class HostileDict(dict):  # type: ignore[type-arg]
    def _raise(self, *_: Any) -> Any:
        raise RuntimeError("touched")

    items = keys = values = __iter__ = __len__ = __getitem__ = get = _raise  # type: ignore[assignment]


class HostileList(list):  # type: ignore[type-arg]
    def _raise(self, *_: Any) -> Any:
        raise RuntimeError("touched")

    __iter__ = __len__ = __getitem__ = _raise  # type: ignore[assignment]


class Endless(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        return 1

    def __len__(self) -> int:
        return sys.maxsize

    def __iter__(self) -> Iterator[str]:
        number = 0
        while True:
            number += 1
            yield str(number)


plain = {"a": 1, "b": [1.5, True, None, "x"], "c": {"d": "é"}}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (plain, plain),
        (Colour.RED, "red"),
        (Colour.BOTH, ["a", 1]),
        (Level.HIGH, 3),
        (datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.timezone.utc), "2026-01-02T03:04:00+00:00"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.time(3, 4), "03:04:00"),
        (datetime.timedelta(hours=1), "PT1H"),
        (datetime.timedelta(seconds=-3.5), "-PT3.5S"),
        (zoneinfo.ZoneInfo("UTC"), "UTC"),
        (pydantic.HttpUrl("https://shop.example/a?b=c"), "https://shop.example/a?b=c"),
        (pydantic.AnyUrl("ftp://shop.example/"), "ftp://shop.example/"),
        (pydantic.PostgresDsn("postgres://a:1,b:2/orders"), "postgres://a:1,b:2/orders"),
        (pydantic_core.Url("https://shop.example/"), "https://shop.example/"),
        (pydantic_core.MultiHostUrl("redis://a:1,b:2/0"), "redis://a:1,b:2/0"),
        (pydantic.NameEmail("Ada", "ada@shop.example"), "Ada <ada@shop.example>"),
        (pydantic.RootModel[list[int]]([1, 2]), [1, 2]),
        (decimal.Decimal("1.10"), "1.10"),
        (fractions.Fraction(1, 3), "1/3"),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (ipaddress.ip_address("10.0.0.1"), "10.0.0.1"),
        (re.compile("a+"), "a+"),
        (range(3), "range(0, 3)"),
        (1 + 2j, "(1+2j)"),
        (b"hello", "hello"),
        (b"\xff\xfe", "<2 bytes>"),
        (bytearray(b"hi"), "hi"),
        (memoryview(b"hi"), "hi"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (-float("inf"), "-Infinity"),
        (1 << 200, 1 << 200),
        (1 << 10_000, "<int of 10001 bits>"),
        ("\ud800 \ud83e\udd9c", "\ufffd 🦜"),
        ({None: "b", True: "c", 2.5: "d", Colour.RED: "f"}, {"null": "b", "true": "c", "2.5": "d", "red": "f"}),
        ({(1, "x"): "e"}, {"[1, 'x']": "e"}),
        ({1: "a", "1": "b"}, {"1": "a"} | {"1": "b"}),
        ({"1": "b", 1: "a"}, {"1": "b", "1 <int>": "a"}),
        ({3}, [3]),
        (frozenset({3}), [3]),
        (collections.deque([1, 2]), [1, 2]),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.defaultdict(list, a=[1]), {"a": [1]}),
        (collections.Counter("aa"), {"a": 2}),
        (collections.UserDict(a=1), {"a": 1}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        ({"a": 1}.keys(), ["a"]),
        (Named((1, 2)), {"a": 1, "b": 2}),
        (Point(1, Point(2)), {"x": 1, "inner": {"x": 2, "inner": None}}),
        (Model(name="a", when=datetime.date(2026, 1, 2), extra=Point(1)), None),
        (ValueError("bad", 5), "ValueError: bad, 5"),
        (KeyError(), "KeyError"),
        (len, "<function builtins.len>"),
        (os.path.join, "<function posixpath.join>"),
        (Point, "<class tests.content.test_snapshot.Point>"),
        (json, "<module json>"),
        (object(), "<unserialisable builtins.object>"),
        (threading.Lock(), f"<unserialisable {type(threading.Lock()).__module__}.lock>"),
        (iter([1]), "<list_iterator>"),
        (Hostile(), "<unserialisable tests.content.test_snapshot.Hostile>"),
        (HostileDict(a=1), {"a": 1}),
        (HostileList([1, 2]), [1, 2]),
        (
            Message("user", (Text("hi"),), cache={}),
            {"role": "user", "parts": [{"content": "hi"}], "name": None, "finish_reason": None},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_shown(value: Any, shown: Any) -> None:
    made = to_json(value)
    if shown is not None:
        assert made == shown
        assert type(made) is type(shown)
    pydantic_core.to_json(made)


def test_models() -> None:
    """Fields as they are set, extras too; what the model itself excludes, and secrets, are not shown."""
    assert to_json(Model(name="a", when=datetime.date(2026, 1, 2), extra=Point(1))) == {
        "name": "a",
        "when": "2026-01-02",
        "key": "<unserialisable pydantic.types.SecretStr>",
        "stream": None,
        "extra": {"x": 1, "inner": None},
    }


def test_iterators_are_not_consumed() -> None:
    """The program will read them; llmtrace must not."""

    def numbers() -> Iterator[int]:
        yield from (1, 2)

    generator, mapped, opened = numbers(), map(str, [1, 2]), Model(name="a", stream=(held := iter([1, 2])))
    assert to_json({"g": generator, "m": mapped, "o": opened})["m"] == "<map>"
    assert list(generator) == [1, 2]
    assert list(mapped) == ["1", "2"]
    assert list(held) == [1, 2]


async def _coroutine() -> None:
    return None


def test_coroutines_and_files(tmp_path: pathlib.Path) -> None:
    coroutine = _coroutine()
    assert "coroutine" in to_json(coroutine) or "iterator" in to_json(coroutine)
    coroutine.close()
    path = tmp_path / "a.txt"
    path.write_text("hello")
    with path.open() as opened:
        assert to_json([opened]) == ["<open file>"]
        assert opened.read() == "hello"
    assert to_json(opened) == "<closed file>"


def test_numbers_of_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    assert to_json({"a": numpy.float64(1.5), "b": numpy.arange(3), "c": numpy.bool_(True)}) == {
        "a": 1.5,
        "b": [0, 1, 2],
        "c": True,
    }
    assert to_json(numpy.zeros((1000, 1000))) == "<array numpy.ndarray 1000x1000>"


def test_arrays_by_their_module() -> None:
    """Of numpy, torch and pandas only the shape is asked; nothing of theirs is imported for it."""
    array = type("ndarray", (), {"__module__": "numpy", "shape": (2000, 10), "tolist": lambda self: pytest.fail("read")})
    small = type("ndarray", (), {"__module__": "numpy", "shape": (2,), "tolist": lambda self: [1, 2]})
    assert to_json(array()) == "<array numpy.ndarray 2000x10>"
    assert to_json(small()) == [1, 2]


def test_cycles_and_depth() -> None:
    loop: dict[str, Any] = {"a": 1}
    loop["self"] = [loop]
    assert to_json(loop) == {"a": 1, "self": ["<cycle>"]}
    shared = ["x"]
    assert to_json([shared, shared]) == [["x"], ["x"]]
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    assert "<nested deeper than 100>" in json.dumps(to_json(deep))


def test_on_a_stack_that_is_nearly_used_up() -> None:
    def down(left: int) -> Any:
        if left:
            return down(left - 1)
        return to_json({"a": [[[[[[1]]]]]]})

    depth = 0
    while True:  # as deep as it goes
        depth += 10
        try:
            assert isinstance(down(depth), (dict, str))
        except RecursionError:
            break


@pytest.mark.timeout(20)
def test_huge_values_take_bounded_time_and_size() -> None:
    values = [0] * 10_000_000
    started = time.process_time()
    made = to_json(values)
    assert time.process_time() - started < 1
    assert made[-1] == f"<{10_000_000 - len(made) + 1} more items>"
    for value in ({"a": values}, {f"k{number}": number for number in range(1_000_000)}, Endless(), set(range(1_000_000))):
        started = time.process_time()
        made = to_json(value)
        assert time.process_time() - started < 1
        assert len(json.dumps(made)) < 4 << 20


def test_wide_sharing_does_not_explode() -> None:
    value: Any = "x"
    for _ in range(60):
        value = [value, value]
    started = time.process_time()
    to_json(value)
    assert time.process_time() - started < 2


def test_a_limit() -> None:
    assert to_json(["x" * 10] * 100, limit=100)[-1].endswith("more items>")
    long = to_json("x" * 100_000, limit=10_000)
    assert long == "x" * 10_000 + "…[cut 90000 characters]…"
    assert to_json({"a": "x" * 100_000, "b": "y" * 100_000}, limit=50_000)["<more>"] == "<1 more members>"
    assert to_json({f"k{number}": 1 for number in range(100)}, limit=60)["<more>"].endswith("more members>")
    assert to_json(b"x" * 1000, limit=10) == "<1000 bytes>"


def test_the_snapshot_is_no_view() -> None:
    value = {"a": [1, {"b": 2}]}
    made = to_json(value)
    value["a"].append(3)  # type: ignore[attr-defined]
    value["a"][1]["b"] = 5  # type: ignore[index]
    assert made == {"a": [1, {"b": 2}]}


def test_changed_while_it_is_read() -> None:
    """Another thread, or the object itself, may change a dict just then: a placeholder, no error."""
    value: dict[str, Any] = {}

    class Grows(Point):
        x = property(lambda self: value.setdefault("more", 1))  # type: ignore[assignment]

    value |= {"a": Grows.__new__(Grows), "b": 1}
    assert to_json([value, 5]) == ["<changed or too deep builtins.dict>", 5]


@settings(max_examples=200, deadline=None)
@given(json_values(texts(60)))
def test_json_stays_what_it_is(value: Any) -> None:
    """But for what no JSON writer would write: NaN, infinities, lone surrogates."""
    made = to_json(value)
    assert json.loads(pydantic_core.to_json(made)) == made
    written = json.dumps(value)
    if "NaN" not in written and "Infinity" not in written and "\\ud" not in written:
        assert made == value


hostile = st.deferred(
    lambda: st.one_of(
        st.just(None),
        st.integers(),
        st.floats(),
        texts(),
        st.binary(max_size=20),
        st.decimals(),
        st.datetimes(timezones=st.timezones()),
        st.uuids(),
        st.complex_numbers(),
        st.builds(Hostile),
        st.builds(object),
        st.builds(lambda held: Point(1, held), hostile),
        st.builds(lambda held: Model(name="a", stream=held), hostile),
        st.builds(lambda held: HostileDict(a=held), hostile),
        st.builds(lambda held: HostileList([held]), hostile),
        st.builds(ValueError, hostile),
        st.lists(hostile, max_size=3),
        st.lists(hostile, max_size=3).map(tuple),
        st.lists(hostile, max_size=3).map(collections.deque),
        st.dictionaries(
            st.integers() | texts() | st.none() | st.binary(max_size=3) | st.tuples(st.integers()), hostile, max_size=3
        ),
        st.builds(lambda held: iter([held]), hostile),
    )
)


@settings(max_examples=300, deadline=None)
@given(hostile)
def test_nothing_makes_it_raise(value: Any) -> None:
    pydantic_core.to_json(to_json(value), inf_nan_mode="constants")


class Loud(pydantic.HttpUrl):
    def __str__(self) -> str:
        raise AssertionError("called")


def test_a_known_class_is_read_past_what_a_subclass_makes_of_it() -> None:
    """The text of a URL is pydantic's; a class that only bears the name of a known one is not known."""
    assert to_json(Loud("https://shop.example/")) == "https://shop.example/"
    fake = type("ZoneInfo", (), {"__module__": "zoneinfo", "key": "Mars/Base"})()
    assert to_json(fake) == "<unserialisable zoneinfo.ZoneInfo>"


class Slow(Mapping[int, int]):
    """As a shelf on a slow disk."""

    reads = 0

    def __len__(self) -> int:
        return 1000

    def __iter__(self) -> Iterator[int]:
        return iter(range(1000))

    def __getitem__(self, key: int) -> int:
        self.reads += 1
        time.sleep(0.005)
        return key


def test_a_slow_container_is_not_read_to_its_end() -> None:
    """Iteration that is somebody's code has 20 ms; what was not read is counted."""
    slow = Slow()
    shown: Any = to_json({"a": slow, "b": slow})
    assert 0 < slow.reads < 50
    assert len(shown["a"]) - 1 + int(shown["a"]["<more>"][1:].split()[0]) == 1000
    assert len(shown["b"]) == 2


@pytest.mark.parametrize(
    "make", [lambda inner: [inner, inner], lambda inner: {"a": inner, "b": inner}, lambda inner: (inner, inner)]
)
def test_shared_references_are_bounded(make: Any) -> None:
    """2 to the 60 paths to one value: so many containers are entered, whatever they hold."""
    value: Any = make([])
    for _ in range(60):
        value = make(value)
    began = time.process_time()
    shown = to_json(value)
    assert time.process_time() - began < 3
    assert json.dumps(shown).count("[") + json.dumps(shown).count("{") <= (1 << 16) + 1
