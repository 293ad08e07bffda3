"""Sequential paired tests and duels: nothing false more often than said, however often one looks."""

from __future__ import annotations

import itertools
import math
import random
import sys
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch.statistics.claims import Claim, Incomparable, claim
from raysearch.statistics.duel import Comparison, Duel, orders
from raysearch.statistics.paired import VAIN_AFTER, WEIGHTS, ExactTest, PairedTest
from raysearch.types import Objective

SPEED = Claim("speed", "max", "1/s", 0.03)
TIME = Claim("time", "min", "s", 0.03)
values = st.floats(1e-3, 1e3)
pairs = st.lists(st.tuples(values, values), max_size=60)
any_pairs = st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), max_size=40)

Noise = Callable[[random.Random], float]
NOISES: dict[str, Noise] = {
    "log-normal": lambda rng: math.exp(rng.gauss(0, 0.1)),
    "bursts": lambda rng: math.exp(rng.gauss(0, 0.1)) * (rng.uniform(1, 2) if rng.random() < 0.1 else 1),
    "cauchy": lambda rng: math.exp(max(-50, min(50, 0.05 * math.tan(math.pi * (rng.random() - 0.5))))),
    "few values": lambda rng: 1 + rng.choice([0, 0, 0, 0, 0, 0.01, 0.5]),
    "one-sided": lambda rng: 1 + 0.05 * rng.expovariate(1),
}


def filled(test: PairedTest, measured: list[tuple[float, float]]) -> PairedTest:
    for a, b in measured:
        test.add(a, b)
    return test


def duelled(noise: Noise, gain: float, rng: random.Random, count: int, later: float = 1.0) -> PairedTest:
    """``count`` pairs; what is measured second in a pair takes ``later`` times as long."""
    test = PairedTest(TIME)
    for first in itertools.islice(orders(rng), count):
        slots = (noise(rng), noise(rng) * later)
        a, b = slots if first else slots[::-1]
        test.add(a / (1 + gain), b, first)
    return test


@given(pairs)
def test_candidate_and_incumbent_mirror(measured: list[tuple[float, float]]) -> None:
    one, other = filled(PairedTest(TIME), measured), filled(PairedTest(TIME), [(b, a) for a, b in measured])
    assert (one.e_better, one.e_worse) == (other.e_worse, other.e_better)
    assert math.log1p(one.effect) == pytest.approx(-math.log1p(other.effect), rel=1e-9, abs=1e-12)


@given(pairs)
def test_intervals_mirror(measured: list[tuple[float, float]]) -> None:
    plain = Claim("x", min_effect=0.5, relative=False)
    low, high = filled(PairedTest(plain), measured).interval(0.5)
    assert filled(PairedTest(plain), [(b, a) for a, b in measured]).interval(0.5) == (-high, -low)


@given(any_pairs, st.booleans())
def test_minimise_and_maximise_mirror(measured: list[tuple[float, float]], relative: bool) -> None:
    less, more = (
        Claim("x", "min", min_effect=0.5, relative=relative),
        Claim("x", "max", min_effect=0.5, relative=relative),
    )
    one, other = filled(PairedTest(less), measured), filled(PairedTest(more), [(b, a) for a, b in measured])
    assert (one.e_better, one.e_worse, one.e_futile) == (other.e_better, other.e_worse, other.e_futile)
    assert one.interval() == other.interval()
    assert one.verdict() == other.verdict()


@given(pairs, st.integers(-20, 20))
def test_the_scale_of_a_ratio_does_not_matter(measured: list[tuple[float, float]], power: int) -> None:
    scaled = filled(PairedTest(SPEED), [(a * 2.0**power, b * 2.0**power) for a, b in measured])
    plain = filled(PairedTest(SPEED), measured)
    assert scaled.e_better == pytest.approx(plain.e_better, rel=1e-6)
    assert scaled.effect == pytest.approx(plain.effect, rel=1e-6, abs=1e-9)


@given(any_pairs)
def test_whatever_the_values_the_result_is_plain_data(measured: list[tuple[float, float]]) -> None:
    duel = Duel([Claim("x"), Claim("y", "min", relative=False)])
    for a, b in measured:
        duel.add({"x": a, "y": b}, {"x": b, "y": a})
    for found in duel.comparisons():
        encoded = msgspec.json.encode(found)
        assert msgspec.json.decode(encoded, type=Comparison) == found
        assert 0 <= found.evidence <= sys.float_info.max
        if None not in (found.low, found.effect, found.high):
            assert found.low <= found.effect <= found.high


@given(st.lists(st.floats(0.5, 2), max_size=40))
def test_ties_are_no_evidence(measured: list[float]) -> None:
    test = filled(PairedTest(SPEED), [(value, value) for value in measured])
    assert (test.e_better, test.e_worse, test.effect) == (pytest.approx(1), pytest.approx(1), 0)
    assert test.verdict() in {"unsettled", "no_worthwhile_gain"}


Turns = list[tuple[float, float, bool, bool]]
"""What is run first and second, whether the candidate is first, and whether it is run alone."""
turns_of = st.lists(st.tuples(values, values, st.booleans(), st.booleans()), max_size=40)


def turned(turns: Turns) -> PairedTest:
    test = PairedTest(SPEED)
    for one, two, first, alone in turns:
        if alone and test.runs:
            test.add_alone(one, first)
        else:
            test.add(*((one, two) if first else (two, one)), first)
    return test


@given(turns_of, st.tuples(values, values, st.booleans()))
def test_a_factor_is_one_on_average(before: Turns, slots: tuple[float, float, bool]) -> None:
    """However the coin falls: the two outcomes of the next turn add up to what was there. A martingale, exactly."""
    test = turned(before)
    after = [turned([*before, (slots[0], slots[1], first, slots[2])]) for first in (True, False)]
    assert sum(t.e_better for t in after) / 2 == pytest.approx(test.e_better, rel=1e-9)
    assert sum(t.e_worse for t in after) / 2 == pytest.approx(test.e_worse, rel=1e-9)


@given(turns_of)
def test_no_turn_more_than_doubles_the_evidence(turns: Turns) -> None:
    """What is better for sure costs as many turns as coins that fell so; nothing is sure sooner."""
    for count in range(len(turns)):
        assert turned(turns[: count + 1]).e_better <= 2 * turned(turns[:count]).e_better * (1 + 1e-9)


@given(turns_of)
def test_turns_mirror(turns: Turns) -> None:
    one, other = turned(turns), turned([(a, b, not first, alone) for a, b, first, alone in turns])
    assert one.e_better == pytest.approx(other.e_worse, rel=1e-9)
    assert math.log1p(one.effect) == pytest.approx(-math.log1p(other.effect), rel=1e-9, abs=1e-9)
    assert one.apart == other.apart


@pytest.mark.parametrize("noise", sorted(NOISES))
def test_evidence_for_nothing_stays_small_at_all_times(noise: str) -> None:
    """Ville: it reaches 1 / alpha with probability alpha at most; the order has an effect of 5 % besides."""
    rng, count, reached = random.Random(noise), 400, 0
    for _ in range(count):
        test = PairedTest(TIME)
        for first in itertools.islice(orders(rng), 120):
            if test.apart:
                test.add_alone(NOISES[noise](rng), first)
            else:
                slots = (NOISES[noise](rng), NOISES[noise](rng) * 1.05)
                test.add(*(slots if first else slots[::-1]), first)
            if max(test.e_better, test.e_worse) >= 20:
                reached += 1
                break
    assert reached / count <= 2 * 0.05 + 2.5 * math.sqrt(0.1 * 0.9 / count)


@pytest.mark.parametrize("noise", ["log-normal", "bursts", "cauchy", "one-sided"])
@pytest.mark.parametrize("gain", [0.0, 0.05])
def test_the_confidence_sequence_covers(noise: str, gain: float) -> None:
    rng, count, missed = random.Random(11), 60, 0
    for _ in range(count):
        test, inside = PairedTest(TIME), True
        for number, first in enumerate(itertools.islice(orders(rng), 80)):
            test.add(NOISES[noise](rng) / (1 + gain), NOISES[noise](rng), first)
            if number % 20 == 19:
                low, high = test.interval(0.1)
                inside = inside and low <= gain <= high
        missed += not inside
    assert missed / count <= 0.1 + 2.5 * math.sqrt(0.1 * 0.9 / count)


def test_a_gain_is_found_and_located() -> None:
    test = duelled(NOISES["bursts"], 0.1, random.Random(2), 400)
    low, high = test.interval()
    assert test.verdict() == "better"
    assert 0 < low < 0.1 < high < 0.2
    assert test.effect == pytest.approx(0.1, abs=0.03)
    assert duelled(NOISES["bursts"], -0.1, random.Random(2), 400).verdict() == "worse"


def test_nothing_is_given_up_as_nothing() -> None:
    test = duelled(NOISES["log-normal"], 0.0, random.Random(3), 1000)
    assert test.verdict() == "no_worthwhile_gain"
    assert test.interval(0.06)[1] < 0.03


def test_a_true_but_small_gain_is_not_claimed() -> None:
    test = duelled(lambda rng: 1 + rng.uniform(0, 0.001), 0.01, random.Random(4), 100)
    assert test.e_better > 1e6
    assert test.verdict() == "no_worthwhile_gain"


def test_a_worthwhile_gain_is_seldom_given_up() -> None:
    rng, count = random.Random(5), 150
    given_up = 0
    for _ in range(count):
        test = PairedTest(TIME)
        while test.verdict(0.01, 0.1) == "unsettled" and test.pairs < 600:
            test.add(NOISES["bursts"](rng) / 1.03, NOISES["bursts"](rng))
        given_up += test.verdict(0.01, 0.1) in {"no_worthwhile_gain", "worse"}
    assert given_up / count <= 0.1 + 2.5 * math.sqrt(0.09 / count)


def test_single_pairs_say_next_to_nothing() -> None:
    test = PairedTest(SPEED)
    assert (test.e_better, test.interval(), test.verdict()) == (pytest.approx(1), (-math.inf, math.inf), "unsettled")
    with pytest.raises(ValueError, match="after a pair"):
        test.add_alone(2.0, own=True)
    test.add(2.0, 1.0)
    assert (test.pairs, test.verdict(), test.interval()) == (1, "unsettled", (-math.inf, math.inf))
    assert 1 < test.e_better < 2
    assert not test.apart


def test_what_is_obvious_needs_one_run_a_turn() -> None:
    """As many turns as one over the level has binary digits, and three for the share of the steepest bet."""
    rng, test, turns = random.Random(1), PairedTest(SPEED), 0
    for first in orders(rng):
        turns += 1
        if test.apart:
            test.add_alone(rng.gauss(9, 0.1) if first else rng.gauss(1, 0.01), first)
        else:
            test.add(rng.gauss(9, 0.1), rng.gauss(1, 0.01), first)
        if test.verdict(0.001) == "better":
            break
    assert turns <= math.log2(1000) + math.log2(1 / WEIGHTS[-1]) + 1
    assert test.runs == turns + 2
    low, high = test.interval()
    assert 6 < low < test.effect < high < 10


def test_values_that_overlap_need_pairs() -> None:
    test = PairedTest(SPEED)
    test.add(2.0, 1.0)
    test.add(2.1, 1.1)
    assert test.apart
    test.add_alone(1.05, own=True)
    assert not test.apart


def test_what_running_first_costs_is_no_noise() -> None:
    """It takes half as long again: beside it a gain of 3 % is not to be seen, unless it is taken off."""
    test = duelled(lambda rng: math.exp(rng.gauss(0, 0.01)), 0.03, random.Random(4), 60, later=0.66)
    assert test.e_better > 1e3
    assert test.effect == pytest.approx(0.03, abs=0.01)


def test_zero_variance_is_settled_by_signs_alone() -> None:
    """No number of pairs is worth more than a coin that fell so often on one side."""
    test = PairedTest(SPEED)
    for number in range(1, 41):
        test.add(1.5, 1.0)
        assert test.e_better <= 2**number
    assert test.verdict() == "better"
    low, high = test.interval()
    assert low == pytest.approx(0.5, abs=1e-6)
    assert high == pytest.approx(0.5, abs=1e-6)


def test_values_without_a_ratio_count_by_their_sign() -> None:
    test = filled(PairedTest(Claim("errors", "min")), [(0.0, 1.0)] * 60)
    assert test.verdict() == "better"
    (found,) = duel_of(Claim("errors", "min"), [(0.0, 1.0)] * 60).comparisons()
    assert (found.effect, found.low, found.high, found.verdict) == (None, None, None, "better")


def duel_of(one: Claim, measured: list[tuple[float, float]], **options: int) -> Duel:
    duel = Duel([one], **options)
    for a, b in measured:
        duel.add({one.name: a}, {one.name: b})
    return duel


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none(bad: float) -> None:
    for add in (PairedTest(SPEED).add, ExactTest(SPEED).add):
        with pytest.raises(Incomparable, match="pair 1 of 'speed'"):
            add(1.0, bad)
    duel = Duel([SPEED])
    with pytest.raises(Incomparable, match="candidate's 'speed' is"):
        duel.add({"speed": bad}, {"speed": 1.0})
    assert duel.pairs == 0


def test_a_missing_metric_is_named() -> None:
    duel = Duel([SPEED, TIME])
    with pytest.raises(Incomparable, match=r"the incumbent has no 'time'. Did you mean 'times'\?"):
        duel.add({"speed": 1.0, "time": 2.0}, {"speed": 1.0, "times": 2.0})
    assert (duel.pairs, duel.tests["speed"].pairs) == (0, 0)


def test_what_is_declared_deterministic_is_checked() -> None:
    size = Claim("size", "min", "B", 0.0, deterministic=True)
    for a, verdict in ((9, "better"), (10, "no_worthwhile_gain"), (11, "worse")):
        duel = duel_of(size, [(a, 10)] * 2)
        assert (duel.verdict(), duel.settled()) == (verdict, True)
        (found,) = duel.comparisons()
        assert found.low == found.effect == found.high
    with pytest.raises(Incomparable, match=r"declared deterministic, but one program had 9 and then 9.5"):
        duel_of(size, [(9, 10), (9.5, 10)])
    assert (
        duel_of(Claim("size", "min", min_effect=0.2, deterministic=True), [(9, 10)]).verdict() == "no_worthwhile_gain"
    )
    assert Duel([size]).verdict() == "unsettled"


def test_objectives_together() -> None:
    exact = Claim("size", "min", deterministic=True)
    duel = Duel([exact, TIME], pairs_max=10)
    duel.add({"size": 1, "time": 1}, {"size": 2, "time": 1})
    assert duel.verdict() == "better"
    assert [c.verdict for c in duel.comparisons()] == ["better", "unsettled"]
    assert duel.evidence() > 100
    duel = Duel([exact, TIME], pairs_max=3)
    for _ in range(3):
        assert not duel.settled()
        duel.add({"size": 2, "time": 1}, {"size": 1, "time": 1})
    assert (duel.verdict(), duel.settled()) == ("unsettled", True)
    rng = random.Random(1)
    duel = Duel([exact, TIME])
    while not duel.settled():
        duel.add({"size": 2, "time": 1.2 * NOISES["log-normal"](rng)}, {"size": 1, "time": NOISES["log-normal"](rng)})
    assert duel.verdict() == "worse"
    with pytest.raises(ValueError, match="a name of its own"):
        Duel([TIME, TIME])


def test_orders_are_coins() -> None:
    drawn = list(itertools.islice(orders(random.Random(1)), 2000))
    assert 900 < sum(drawn) < 1100
    assert 430 < sum(one != two for one, two in zip(drawn[::2], drawn[1::2], strict=True)) < 570
    assert drawn == list(itertools.islice(orders(random.Random(1)), 2000))


def test_claims_follow_the_record() -> None:
    objective = Objective("loss", "min", "nats")
    assert claim(objective, [1.0, 2.0], min_effect=0.1) == Claim("loss", "min", "nats", 0.1)
    assert claim(objective, [-4.0, 2.0, 8.0], min_effect=0.25) == Claim("loss", "min", "nats", 1.0, False)
    assert claim(objective, [0.0, 0.0, 8.0], min_effect=0.25) == Claim("loss", "min", "nats", 0.0, False)
    assert claim(objective).relative
    with pytest.raises(Incomparable, match="record of 'loss'"):
        claim(objective, [math.nan])
    with pytest.raises(ValueError, match="must be 0 or more"):
        Claim("x", min_effect=-1.0)


def test_a_duel_that_cannot_be_settled_ends_before_its_last_pair_and_others_do_not() -> None:
    def pairs_of(noise: float, gain: float) -> tuple[str, int]:
        duel, rng = Duel([TIME], pairs_max=400), random.Random(5)
        while not duel.settled():
            a, b = (math.exp(rng.gauss(0, noise)) for _ in range(2))
            duel.add({TIME.name: a / (1 + gain)}, {TIME.name: b}, rng.random() < 0.5)
        return duel.verdict(), duel.pairs

    said, pairs = pairs_of(1.0, 0.0)  # a gain of 2 % in noise of 100 %
    assert said == "unsettled"
    assert VAIN_AFTER <= pairs < 300
    assert pairs_of(0.02, 0.0)[0] == "no_worthwhile_gain"
    assert pairs_of(1.0, 4.0)[0] == "better"
