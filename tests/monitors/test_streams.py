"""The sequential tests: how rarely they are wrong, how soon they see, and what they keep."""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrace.monitors._number_stream import Numbers
from llmtrace.monitors._run_similarity import Runs
from llmtrace.monitors._shape_stream import Shapes
from llmtrace.monitors._share_stream import Shares
from llmtrace.monitors._stream import At, Stream
from tests.monitors.streams import followed, lengths


def test_a_shift_is_found_and_told() -> None:
    """22 % more with a log-spread of 0.4, after 1,000 calls: found within 150 calls, and told since when and by how much."""
    for seed in range(2, 7):
        call, found = next(followed([*lengths(seed, 1000), *lengths(seed + 100, 400, 1.22)]))
        assert 1000 <= call < 1150
        assert 0.9 < found.before / 200 < 1.1
        assert 1.1 < found.now / found.before < 1.6
        assert abs(found.call - 1000) < 100


def test_where_nothing_changes_there_is_an_alarm_in_30_000_calls_at_most() -> None:
    """Whatever the distribution: heavy tails, few values, two humps, a load that comes and goes. In 30,000 calls one
    may come on average, so that more than three would come once in fifty times."""
    chance = random.Random(3)
    load = [1.0]
    while len(load) < 2000:
        load.append(load[-1] ** 0.6 * chance.lognormvariate(0, 0.3))
    kinds = [
        [chance.paretovariate(1) for _ in range(2000)],
        [chance.choice((1, 2, 2, 3)) for _ in range(2000)],
        [chance.choice((chance.gauss(20, 2), chance.gauss(400, 20))) for _ in range(2000)],
        load,
    ]
    alarms = [found for numbers in kinds for found in followed(numbers)]
    alarms += [found for seed in range(11) for found in followed(lengths(seed, 2000, spread=1.5), tie=seed)]
    assert len(alarms) <= 3


def test_calls_of_one_run_are_not_as_many_witnesses() -> None:
    """Runs of 20 calls that all go one way, each its own, are no drift; so is a single run that goes its own way."""
    chance = random.Random(1)
    hard = [2.0 ** chance.gauss(each, 0.1) for each in (chance.gauss(5, 1) for _ in range(150)) for _ in range(20)]
    assert list(followed(hard, run=20)) == []
    assert list(followed([*lengths(1, 600), *[9000] * 20, *lengths(2, 300)], run=20)) == []


def test_a_program_that_makes_many_calls_is_many_runs() -> None:
    """Without an agent around them all calls of a batch are in one run: beyond 64 of them each counts as one."""
    runs = Runs()
    numbers = [runs.number("batch") for _ in range(200)]
    assert len({run for run, _ in numbers[:64]}) == 1
    assert len({run for run, _ in numbers[64:]}) == 136
    assert len({alike for _, alike in numbers[64:]}) == 9
    assert [runs.number(str(other))[0] for other in range(3)] == [138, 139, 140]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1e9) | st.integers(0, 5), min_size=1, max_size=80), st.integers(0, 79))
def test_state_is_json_and_all_of_it(numbers: list[float], cut: int) -> None:
    """A stream that was written down and read again goes on as if nothing had been."""
    whole, first = Numbers(), Numbers()
    shares, half = Shares(), Shares()
    for call, number in enumerate(numbers):
        if call == cut:
            first, half = (type(one)(json.loads(json.dumps(one.state()))) for one in (first, half))  # type: ignore[assignment]
        at = At(call, call, call // 3, call // 3, call % 10 == 0)
        assert whole.observe(number, 0.5, at) == first.observe(number, 0.5, at)
        assert shares.observe(str(number)[:1], "", at) == half.observe(str(number)[:1], "", at)
    assert json.dumps(whole.state()) == json.dumps(first.state())
    assert json.dumps(shares.state()) == json.dumps(half.state())


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 2)), min_size=40, max_size=120))
def test_what_is_carried_on_is_what_is_worked_out_anew(calls: list[tuple[int, int]]) -> None:
    """Runs that go side by side, words that come late, objects with many fields: nothing depends on what a stream has in
    mind beside its state."""
    kept: list[Any] = [Numbers(), Shares(), Shapes()]
    anew: list[Any] = [Numbers(), Shares(), Shapes()]
    for call, (number, run) in enumerate(calls):
        anew = [type(one)(json.loads(json.dumps(one.state()))) for one in anew]
        at = At(call, call, run, run, call % 10 == 0)
        names = {chr(97 + place % 26) * (1 + place // 26): 1 for place in range(number)}
        found = [
            (one.observe(number, 0.5, at), two.observe(str(number > 35), "", at), list(three.observe(names, at, ("t", "s"))))
            for one, two, three in (kept, anew)
        ]
        assert found[0] == found[1]
        assert [json.dumps(one.state()) for one in kept] == [json.dumps(one.state()) for one in anew]


def test_memory_is_bounded() -> None:
    """Whatever comes: numbers of 12 orders of magnitude, words without end, objects whose keys are data."""
    chance = random.Random(1)
    numbers, shares, shapes = Numbers(), Shares(), Shapes()
    for call in range(3000):
        at = At(call, call, call, call)
        numbers.observe(10 ** chance.uniform(-3, 9), chance.random(), at)
        shares.observe(str(chance.random()), "", at)
        list(shapes.observe({f"k{chance.randrange(90_000)}": {chr(97 + chance.randrange(26)) * 3: [1]}}, at, ("t", "s")))
    sizes = [len(json.dumps(one.state())) for one in (numbers, shares, shapes)]
    assert all(size < 30_000 for size in sizes), sizes


def test_a_share_that_moves_is_found_and_one_that_does_not_is_not() -> None:
    """From one in fifty to one in five."""
    chance = random.Random(2)

    def changes(shares: Shares, rate: float, calls: range) -> list[int]:
        words = ((call, "yes" if chance.random() < rate else "no") for call in calls)
        return [call for call, word in words if shares.observe(word, "yes", At(call, call, call, call))]

    stream = Shares()
    assert changes(stream, 0.02, range(2000)) == []
    found = changes(stream, 0.2, range(2000, 2200))
    assert len(found) == 1
    assert found[0] < 2060


def test_a_pinned_baseline_stays() -> None:
    """What creeps in does not become usual: it is compared with what was pinned, however long it takes. One that is not
    pinned gets used to it."""
    creeping = [length for step in range(40) for length in lengths(step, 100, 1.012**step)]
    source, free, held = Numbers(), Numbers(), Numbers()
    assert list(followed(lengths(50, 1000), stream=source)) == []
    held.start_from(json.loads(json.dumps(source.baseline())))
    first = next(followed(creeping, stream=held))
    assert first[1].now > first[1].before
    assert len(list(followed(creeping, stream=free))) <= 2
    assert not held.armed


def test_a_head_start_costs_no_false_alarm() -> None:
    """What else changes all the time is no reason to believe in a change: the places that it counts for are saved up."""
    stream = Stream({})
    assert sum(stream._weight(At(0, call, 1, 1, hinted=call % 10 == 9)) for call in range(1000)) <= 1000.5
