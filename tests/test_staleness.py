"""What children missed while they were under way, against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from population_world import World

from population.policies.evolve import Evolve
from raysearch.cli.text import run_page
from raysearch.facts import AttemptClosed, AttemptOpened, Entry
from raysearch.testing.scenario import Scenario
from raysearch.testing.simulation import simulate
from raysearch.types import SEED, AttemptId, Limits, Outcome, Proposal
from raysearch.views import fold
from raysearch.views.documents import summary
from raysearch.views.staleness import Staleness, staleness


def entries(*steps: tuple[str, int]) -> list[Entry]:
    facts = [
        AttemptOpened(AttemptId(number), Proposal())
        if step == "open"
        else AttemptClosed(AttemptId(number), Outcome(step))
        for step, number in steps
    ]
    return [Entry(seq, 0.0, 0.0, fact) for seq, fact in enumerate(facts, start=1)]


def test_only_what_was_admitted_meanwhile_is_missed() -> None:
    found = staleness(
        entries(
            ("open", 0),
            ("admitted", 0),
            *(("open", 1), ("open", 2), ("open", 3), ("open", 4)),
            ("admitted", 1),
            ("rejected", 2),
            ("open", 5),
            ("failed", 3),
            ("admitted", 5),
            ("admitted", 4),
            ("open", 6),
            ("abandoned", 6),
        )
    )
    assert found.counts == {0: 2, 1: 2, 2: 1}
    assert (found.children, found.mean, found.most) == (5, pytest.approx(4 / 5), 2)
    assert [found.quantile(share) for share in (0.2, 0.4, 0.5, 0.8, 0.9, 1.0)] == [0, 0, 1, 1, 2, 2]


def test_before_there_is_a_child_nothing_was_missed() -> None:
    found = Staleness()
    assert (found.children, found.mean, found.most, found.quantile(0.5)) == (0, 0.0, 0, 0)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_it_is_what_one_counts_by_hand(seed: int, lanes: int) -> None:
    world = World(Evolve(), limits=Limits(open_max=lanes)).start().walk(seed)
    missed = []
    for at, fact in enumerate(world.facts):
        if isinstance(fact, AttemptClosed) and fact.attempt != SEED and fact.outcome is not Outcome.ABANDONED:
            between = world.facts[opened(world, fact.attempt) : at]
            missed.append(sum(isinstance(f, AttemptClosed) and f.outcome is Outcome.ADMITTED for f in between))
    found = staleness([Entry(seq, 0.0, 0.0, fact) for seq, fact in enumerate(world.facts, start=1)])
    assert sorted(found.counts.elements()) == sorted(missed)
    assert found.most == max(missed, default=0)
    if missed:
        assert found.quantile(0.5) == np.quantile(missed, 0.5, method="inverted_cdf")
        assert found.mean == pytest.approx(np.mean(missed))


def opened(world: World, attempt: AttemptId) -> int:
    """Where the attempt's first fact stands."""
    return next(n for n, f in enumerate(world.facts) if isinstance(f, AttemptOpened) and f.attempt == attempt)


def test_one_lane_misses_nothing() -> None:
    report = simulate(3, scenario=Scenario.calm(3))
    found = staleness(report.entries)
    assert found.children > 20
    assert found.most == 0


def test_a_run_s_page_and_state_say_what_children_missed() -> None:
    alone, many = (fold(simulate(seed, "evolve").entries) for seed in (2, 3))
    for run in (alone, many):
        row = summary(run)["staleness"]
        assert row["children"] == run.staleness.children
        assert row["most"] == run.staleness.most
        assert ("\nstaleness  a child missed " in run_page(run, "here", "over")) == (run.staleness.most > 0)
    assert max(alone.staleness.most, many.staleness.most) > 0
