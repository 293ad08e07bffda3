"""Elites by behaviour against a brute force, and evolve breeding from them."""

from __future__ import annotations

import pickle
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from population_world import ONE, TWO, World, memory_of

from population.archive import Archive, behaviour
from population.policies.evolve import Evolve
from raysearch.errors import ConfigError
from raysearch.types import SEED, AttemptId, Candidate, Commit, Measurement, Tree

finite = st.floats(allow_nan=False, allow_infinity=False)
told = st.lists(st.tuples(st.tuples(finite, st.integers(0, 5).map(float)), st.integers(0, 9).map(float)), max_size=60)


def filled(points, bins: int = 3) -> Archive:
    archive = Archive(2, bins)
    for number, (place, value) in enumerate(points):
        archive.add(AttemptId(number), place, value)
    return archive


@settings(deadline=None, max_examples=60)
@given(told, st.integers(2, 6))
def test_each_cell_holds_its_best_the_first_of_equals(points, bins: int) -> None:
    archive = filled(points, bins)
    best: dict[tuple[int, ...], int] = {}
    for number, (place, value) in enumerate(points):
        cell = archive._cell(place)
        if cell not in best or value > points[best[cell]][1]:
            best[cell] = number
    assert archive.elites == best
    assert len(archive) == len(best)
    assert all(0 <= index < bins for cell in best for index in cell)


@settings(deadline=None, max_examples=30)
@given(told.filter(bool))
def test_an_archive_told_again_is_the_same(points) -> None:
    one, other = filled(points), pickle.loads(pickle.dumps(filled(points)))
    assert one.elites == other.elites
    draws = [archive.draw(random.Random(3)) for archive in (one, other) for _ in range(2)]
    assert len(set(draws)) == 1
    assert draws[0] in one.elites.values()


def test_bins_are_cut_where_programs_are() -> None:
    """However far apart sizes lie, each of ten bins has its share."""
    rng, archive = random.Random(1), Archive(1, 10)
    sizes = [10.0 ** rng.uniform(0, 9) for _ in range(1000)]
    for number, size in enumerate(sizes):
        archive.add(AttemptId(number), (size,), 0.0)
    shares = Counter(archive._cell((size,)) for size in sizes)
    assert len(shares) == 10
    assert max(shares.values()) < 130


def test_few_are_told_apart() -> None:
    archive = Archive(1, 10)
    for number, size in enumerate((3.0, 7.0, 4.0)):
        archive.add(AttemptId(number), (size,), 0.0)
    assert sorted(archive.elites.values()) == [0, 1, 2]


def test_a_cell_is_drawn_as_often_as_any_other() -> None:
    archive, rng = filled([((float(n), 0.0), 0.0) for n in range(3)], bins=4), random.Random(2)
    counts = Counter(archive.draw(rng) for _ in range(3000))
    assert set(counts) == {0, 1, 2}
    assert all(abs(count - 1000) < 120 for count in counts.values())


def made(*measured: str) -> Candidate:
    values = tuple(Measurement(name, (1.0, 3.0)) for name in measured)
    return Candidate(AttemptId(1), Commit("c"), Tree("t"), (), values)


def test_what_is_not_described_has_no_place() -> None:
    assert behaviour(made("speed", "size"), ("size", "speed")) == (2.0, 2.0)
    assert behaviour(made("speed"), ("size", "speed")) is None
    assert behaviour(made("speed"), ()) is None


# -- in evolve ----------------------------------------------------------------------------------------------


def world(**options: object) -> World:
    made = Evolve(descriptors=("lines",), frontier_bias=1.0, stuck_after=3, migration_every=0, **options)  # type: ignore[arg-type]
    return World(made, ONE).start(speed=1.0, lines=10.0)


def drawn(at: World, lineage: str, asks: int = 300) -> Counter[int]:
    found: Counter[int] = Counter()
    for seed in range(asks):
        found.update(p.parents[0] for p in at.ask(4, seed) if p.lineage == lineage)
    return found


def test_a_poor_program_of_another_kind_is_bred_from() -> None:
    at = world(cell_share=0.5)
    best = at.bear("island-0", parents=(0,), speed=9.0, lines=11.0)
    short = at.bear("island-0", parents=(0,), speed=0.1, lines=2.0)
    found = drawn(at, "island-0")
    total = found.total()
    assert set(found) == {SEED, best, short}
    assert abs(found[short] / total - 1 / 6) < 0.04, "half of the parents, of three cells"
    worse = at.bear("island-0", parents=(0,), speed=0.05, lines=2.0)
    assert worse not in drawn(at, "island-0")
    assert set(drawn(world(cell_share=0.0), "island-0")) == {SEED}


def test_islands_have_cells_of_their_own() -> None:
    at = world(islands=2, cell_share=1.0)
    short = at.bear("island-0", parents=(0,), speed=0.1, lines=2.0)
    assert set(drawn(at, "island-0")) == {SEED, short}
    assert set(drawn(at, "island-1")) == {SEED}
    for _ in range(3):
        at.miss("island-0", parents=(0,))
    assert set(drawn(at, "island-0")) == {SEED}, "forgotten at the restart"


def test_visitors_take_their_place_with_them() -> None:
    policy = Evolve(descriptors=("lines",), cell_share=1.0, islands=2, migration_every=1)
    at = World(policy, ONE).start(speed=1.0, lines=10.0)
    visitor = at.bear("island-0", parents=(0,), speed=5.0, lines=2.0)
    assert set(drawn(at, "island-1")) == {SEED, visitor}


def test_a_descriptor_that_nobody_measures_is_named() -> None:
    at = World(Evolve(descriptors=("line",)), ONE).start(speed=1.0, lines=10.0)
    with pytest.raises(ConfigError, match=r"descriptors: no benchmark measures 'line'. Did you mean 'lines'"):
        at.ask()


def test_a_candidate_without_a_descriptor_is_bred_all_the_same() -> None:
    at = world(cell_share=0.5)
    best = at.bear("island-0", parents=(0,), speed=9.0)
    assert set(drawn(at, "island-0")) == {SEED, best}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"descriptors": ("a", "b", "c", "d"), "bins": 40}, "4 descriptors of 40 bins each make more than 1,000,000"),
        ({"bins": 1}, "bins must be a whole number, 2 or more; it is 1."),
        ({"descriptors": "lines"}, "descriptors must be a list of names; it is 'lines'."),
        ({"cell_share": 2}, "cell_share must be a number, from 0 to 1; it is 2."),
    ],
)
def test_bad_options_are_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Evolve(**options)  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_memory_grows_by_numbers_alone() -> None:
    at, rng = world(cell_share=0.5), np.random.default_rng(1)
    sizes = []
    for _ in range(2):
        for _ in range(300):
            at.bear("island-0", parents=(0,), speed=float(rng.random()), lines=float(rng.random()))
        sizes.append(len(memory_of(at.policy)))
    assert sizes[1] - sizes[0] < 300 * 120


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 2**32), st.sampled_from(["seeded", "unseeded", "refused"]))
def test_with_every_option_asking_changes_nothing_and_replaying_restores(seed: int, start) -> None:
    def make() -> Evolve:
        return Evolve(
            descriptors=("speed",),
            bins=4,
            survival="nsga3",
            survivors=3,
            islands=2,
            migration_every=4,
            stuck_after=6,
            restless_after=2,
            recombine=1.0,
            mutators=("a", "b"),
            stop_after=60,
            stop_below_per_usd=0.1,
        )

    at, rng = World(make(), TWO).start(start), random.Random(seed)
    for _ in range(40):
        at.step(rng)
        before, first = memory_of(at.policy), at.ask(4, seed=7)
        assert at.ask(4, seed=7) == first
        assert memory_of(at.policy) == before
    rebuilt = make()
    for fact in at.facts:
        rebuilt.tell(fact)
    assert [list(rebuilt.ask(at, 4, random.Random(n))) for n in range(5)] == [at.ask(4, seed=n) for n in range(5)]
    assert rebuilt.best(at) == at.policy.best(at)
