"""Arrivals, windows, lengths and prompts: pure, so by properties."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.load import (
    Canaries,
    Canary,
    ClosedLoop,
    Constant,
    Fixed,
    LogNormal,
    OpenLoop,
    Poisson,
    Prompts,
    Scenario,
    Trace,
    Uniform,
    Window,
    recall,
)
from evaluators.load.prompts import Source
from raysearch.errors import TargetError
from raysearch.seeds import stream

rates = st.floats(0.01, 1e4)
seeds = st.integers(0, 2**63 - 1)


@given(rates, seeds, st.floats(0, 2.0))
def test_poisson_times_ascend_below_the_end_and_follow_from_the_seed(rate: float, seed: int, parts: float) -> None:
    until_s = parts * 20 / rate
    times_s = list(Poisson(rate).times_s(until_s, random.Random(seed)))
    assert all(0 <= one < other < until_s for one, other in itertools.pairwise([*times_s, math.nextafter(until_s, 0)]))
    longer_s = list(Poisson(rate).times_s(until_s * 2, random.Random(seed)))
    assert longer_s[: len(times_s)] == times_s  # a longer schedule begins alike


def test_poisson_gaps_have_the_mean_and_spread_of_an_exponential() -> None:
    times_s = list(Poisson(50.0).times_s(400.0, random.Random(3)))
    gaps_s = [later - earlier for earlier, later in itertools.pairwise(times_s)]
    assert statistics.fmean(gaps_s) == pytest.approx(1 / 50, rel=0.02)
    assert statistics.stdev(gaps_s) == pytest.approx(1 / 50, rel=0.03)
    counts = [sum(1 for at_s in times_s if second <= at_s < second + 1) for second in range(400)]
    assert statistics.variance(counts) == pytest.approx(50.0, rel=0.15)  # as many as their mean: Poisson


@given(rates, st.integers(0, 200))
def test_constant_times_are_exact_multiples(rate: float, count: int) -> None:
    times_s = list(Constant(rate).times_s(count / rate, random.Random(0)))
    assert times_s == [number / rate for number in range(len(times_s))]
    assert abs(len(times_s) - count) <= 1  # count / rate may round either way


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50).map(sorted), st.floats(0.1, 10), st.floats(0, 1e6))
def test_a_trace_is_replayed_as_it_was(at_s: list[float], faster: float, until_s: float) -> None:
    trace = Trace(at_s, faster)
    assert list(trace.times_s(until_s, random.Random(0))) == [t / faster for t in at_s if t / faster < until_s]
    assert trace.end_s == at_s[-1] / faster


@given(st.floats(0, 100), st.floats(0.01, 1000), st.floats(0, 2000), st.integers(1, 20))
def test_every_moment_is_in_one_phase_and_slices_tile_the_window(
    warm_up_s: float, measure_s: float, at_s: float, slices: int
) -> None:
    window = Window(warm_up_s, measure_s)
    place = window.slice(at_s, slices)
    assert (window.phase(at_s) == "window") == (place is not None)
    assert (window.phase(at_s) == "warm-up") == (at_s < warm_up_s)
    if place is not None:
        width_s = measure_s / slices
        assert 0 <= place < slices
        assert warm_up_s + place * width_s <= at_s * (1 + 1e-9) + 1e-9
        assert at_s <= warm_up_s + (place + 1) * width_s * (1 + 1e-9) + 1e-9
    assert window.phase(window.start_s) == "window"
    assert window.phase(window.end_s) == "drain"


lengths = st.one_of(
    st.integers(1, 500).map(Fixed),
    st.tuples(st.integers(1, 50), st.integers(0, 50)).map(lambda pair: Uniform(pair[0], pair[0] + pair[1])),
    st.tuples(st.floats(1, 100), st.floats(0, 2)).map(lambda pair: LogNormal(*pair, low=4, high=300)),
)


@given(lengths, seeds)
def test_lengths_keep_their_bounds(length: Fixed | Uniform | LogNormal, seed: int) -> None:
    rng = random.Random(seed)
    drawn = [length.draw(rng) for _ in range(50)]
    most = {Fixed: lambda d: d.count, Uniform: lambda d: d.high, LogNormal: lambda d: d.high}[type(length)](length)
    assert all(isinstance(count, int) and length.least <= count <= most for count in drawn)
    assert length.describe()


def test_log_normal_lengths_have_the_median_that_they_state() -> None:
    rng = random.Random(1)
    drawn = [LogNormal(64, 0.8, 4, 4000).draw(rng) for _ in range(20_000)]
    assert statistics.median(drawn) == pytest.approx(64, rel=0.03)
    assert statistics.stdev(map(math.log, drawn)) == pytest.approx(0.8, rel=0.05)


@given(seeds, seeds, st.integers(0, 500))
def test_prompts_follow_from_seed_and_nonce(seed: int, nonce: int, number: int) -> None:
    prompts = Prompts(words=Uniform(6, 40), tokens=Uniform(1, 20))
    one, same, other = (Source(prompts, seed=seed, nonce=n).request(number) for n in (nonce, nonce, nonce + 1))
    assert one == same
    assert one.prompt != other.prompt  # whoever knows only the seed does not know the words
    assert (len(one.prompt.split()), one.tokens) == (len(other.prompt.split()), other.tokens)  # the load is the same


def test_no_prompt_comes_twice() -> None:
    """Out of 200 possible prompts, 150 are asked: all different, although a draw alone would repeat itself."""
    vocabulary = [f"w{number}" for number in range(2**16)]
    prompts = Prompts(words=2, tokens=1, vocabulary=vocabulary)
    source = Source(prompts, seed=1, nonce=2)
    source._vocabulary = tuple(vocabulary[:15])  # 225 pairs
    asked = [source.request(number).prompt for number in range(150)]
    assert len(set(asked)) == 150


def test_the_length_distribution_is_the_one_stated() -> None:
    source = Source(Prompts(words=Uniform(8, 24), tokens=Uniform(1, 9)), seed=4, nonce=4)
    asked = [source.request(number) for number in range(3000)]
    counts = [len(request.prompt.split()) for request in asked]
    assert (min(counts), max(counts)) == (8, 24)
    assert statistics.fmean(counts) == pytest.approx(16, rel=0.02)
    assert statistics.fmean(request.tokens for request in asked) == pytest.approx(5, rel=0.03)


def test_shared_words_open_every_prompt_and_the_rest_is_fresh() -> None:
    source = Source(Prompts(words=8, tokens=1, shared_words=20), seed=1, nonce=1)
    asked = [source.request(number).prompt.split() for number in range(20)]
    assert len({tuple(words[:20]) for words in asked}) == 1
    assert len({tuple(words[20:]) for words in asked}) == 20


@given(seeds)
def test_a_canary_is_answered_right_by_its_code_word_alone(seed: int) -> None:
    rng = stream(seed, "canary")
    canary = recall(rng, "one two three four five six")
    code = canary.prompt.partition("(The code word is ")[2].partition(".)")[0]
    assert canary.right(f"It is {code}, I think.")
    assert not canary.right("It is")
    assert not recall(rng, "one two three four five six").right(code)


def test_canaries_are_mixed_in_at_their_share() -> None:
    source = Source(Prompts(words=8, tokens=1, canaries=Canaries(share=0.2)), seed=1, nonce=1)
    asked = [source.request(number) for number in range(2000)]
    canaries = [request for request in asked if request.kind == "canary"]
    assert len(canaries) / 2000 == pytest.approx(0.2, abs=0.03)
    assert all(request.right and "code word" in request.prompt for request in canaries)
    assert not any(request.right or "code word" in request.prompt for request in asked if request.kind == "fresh")


def always_the_same(rng: random.Random, filler: str) -> Canary:
    return Canary("What is the capital of France?", lambda text: "Paris" in text)


WRONG = {
    "rate": lambda: Poisson(0),
    "not a number": lambda: Constant(math.nan),
    "users": lambda: ClosedLoop(0),
    "half a user": lambda: ClosedLoop(1.5),  # type: ignore[arg-type]
    "thinking backwards": lambda: ClosedLoop(1, -1.0),
    "how it thinks": lambda: ClosedLoop(1, 1.0, "uniform"),  # type: ignore[arg-type]
    "no trace": lambda: Trace([]),
    "trace descends": lambda: Trace([0.0, 2.0, 1.0]),
    "trace is infinite": lambda: Trace([0.0, math.inf]),
    "no window": lambda: Window(1.0, 0.0),
    "warm-up before time": lambda: Window(-1.0, 1.0),
    "length 0": lambda: Fixed(0),
    "upside down": lambda: Uniform(5, 4),
    "bounds": lambda: LogNormal(10, 1, 9, 8),
    "prompts would repeat": lambda: Prompts(words=2, tokens=1),
    "share": lambda: Canaries(share=1.5),
    "trace too short": lambda: Scenario(OpenLoop(Trace([0.0, 5.0])), Window(1, 10), Prompts(words=8, tokens=1)),
    "time limit": lambda: Scenario(ClosedLoop(1), Window(1, 10), Prompts(words=8, tokens=1), timeout_s=0),
    "canaries alike": lambda: [
        Source(Prompts(words=8, tokens=1, canaries=Canaries(always_the_same, 1.0)), seed=1, nonce=1).request(0),
        (
            source := Source(Prompts(words=8, tokens=1, canaries=Canaries(always_the_same, 1.0)), seed=1, nonce=1)
        ).request(0),
        source.request(1),
    ],
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_asked_is_one_clear_sentence(name: str) -> None:
    with pytest.raises(TargetError) as caught:
        WRONG[name]()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) > 20
