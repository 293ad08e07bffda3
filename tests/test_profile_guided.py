"""The loop that keeps to one measured component: whom it asks, in which order, and when it goes on to the next."""

from __future__ import annotations

import random

import pytest
from component_world import Components, run, shown
from golden import same
from hypothesis import given, settings
from hypothesis import strategies as st
from population_world import World, candidate

from population.attention import HEADROOM, Attention, component, task, told
from population.policies.profile_guided import ProfileGuided
from raysearch.errors import ConfigError
from raysearch.facts import AttemptOpened, ConsultationOpened, Entry, Unanswered
from raysearch.profile import Finding, Profile
from raysearch.testing.conformance import PolicyConformance
from raysearch.testing.simulation import simulate
from raysearch.types import AttemptId, Plan, Stage, Step

FLOORS = {"sort": 3.0, "parse": 1.5, "print": 1.4}
UNASKED = Plan((Step(Stage.JUDGE, "accuracy"), Step(Stage.BENCHMARK, "benchmark")))


class TestConformance(PolicyConformance):
    def make(self) -> ProfileGuided:
        return ProfileGuided(patience=2, beam=2, repairs=2)


def profile(**shares: float) -> Profile:
    return Profile("scripted", tuple(Finding(name, share) for name, share in shares.items()), 1.0)


def attention(patience: int = 2, share_min: float = 0.1, comeback: float = 1.25) -> Attention:
    return Attention(patience, share_min, comeback)


def aim(attention: Attention) -> str:
    return "" if attention.focus is None else component(attention.focus)


def openings(entries: list[Entry]) -> list[AttemptOpened]:
    return [entry.fact for entry in entries if isinstance(entry.fact, AttemptOpened) and entry.fact.attempt]


# -- whole runs ---------------------------------------------------------------------------------------------


def test_the_order_of_things() -> None:
    world = Components(FLOORS, refused=frozenset({3, 7, 8}))
    same("profile_guided/one_lane.txt", shown(run(ProfileGuided(patience=2), world, 14)[1]))


def test_the_order_of_things_in_lanes() -> None:
    world = Components(FLOORS, refused=frozenset({3, 7, 8}))
    _, entries = run(ProfileGuided(patience=2, unfocused=False, share_min=0.3), world, 40, lanes=4)
    same("profile_guided/four_lanes.txt", shown(entries))


def test_the_part_that_takes_most_gets_its_chance_first() -> None:
    state, entries = run(ProfileGuided(), Components(FLOORS), 20)
    aims = [opening.proposal.lineage for opening in openings(entries)]
    changes = [here for n, here in enumerate(aims) if n == 0 or aims[n - 1] != here]
    assert changes[0] == "sort"
    assert len(changes) <= 4, "attention stays where it is until a plateau"
    best = min(candidate.scores["time_s"] for candidate in state.candidates.values())
    assert best == pytest.approx(sum(FLOORS.values()) + 0.5), "every part is at its floor"


def test_a_brief_has_the_task_and_the_profile() -> None:
    _, entries = run(ProfileGuided(), Components(FLOORS), 1)
    brief = openings(entries)[0].proposal.brief
    assert brief.task.startswith("sort takes 60% of the time, bound by memory.")
    assert brief.profile.splitlines()[:2] == ["Of candidate 0, by scripted.", " 60.0%  sort, bound by memory"]


def test_without_a_profiler_children_have_no_focus() -> None:
    _, entries = run(ProfileGuided(), Components(), 3, plan=UNASKED)
    assert [(o.proposal.lineage, o.proposal.brief.task) for o in openings(entries)] == [("", "")] * 3


def test_without_a_profiler_it_may_rather_be_over() -> None:
    state, entries = run(ProfileGuided(unfocused=False), Components(), 3, plan=UNASKED)
    assert openings(entries) == []
    assert state.ended == "nobody can be asked where the time goes: this run has no profiler"


def test_a_profiler_that_breaks_is_asked_again_when_the_head_has_changed() -> None:
    _, entries = run(ProfileGuided(), Components(mute=frozenset({1})), 3)
    asked = [entry.fact.question.about for entry in entries if isinstance(entry.fact, ConsultationOpened)]
    assert sum(isinstance(entry.fact, Unanswered) for entry in entries) == 1
    assert [o.proposal.lineage for o in openings(entries)] == ["", "sort", "sort"]
    assert asked == [0, 1, 2]


def test_a_profiler_that_never_answers_is_left_alone() -> None:
    state, entries = run(ProfileGuided(), Components(mute=frozenset(range(99))), 12)
    assert state.counsel.total == 3
    assert len(openings(entries)) == 12
    state, _ = run(ProfileGuided(unfocused=False), Components(mute=frozenset(range(99))), 12)
    assert state.ended.startswith("nobody says where the time goes: WorkerLost: the profiler went away")


def test_a_refused_try_is_repaired_so_often() -> None:
    for repairs, wanted in ((0, [None] * 4), (1, [None, 1, None, 3]), (2, [None, 1, 2, None])):
        world = Components(refused=frozenset({1, 2, 3, 4}))
        _, entries = run(ProfileGuided(repairs=repairs, patience=9), world, 4)
        assert [opening.proposal.repair for opening in openings(entries)] == wanted


def test_children_of_the_beam() -> None:
    _, entries = run(ProfileGuided(beam=3), Components(FLOORS), 20)
    assert len({o.proposal.parents for o in openings(entries)[6:]}) > 1
    _, entries = run(ProfileGuided(), Components(), 6)
    assert [o.proposal.parents for o in openings(entries)] == [(n,) for n in range(6)], (
        "each gains: from the head alone"
    )


@pytest.mark.parametrize("lanes", [1, 3, 16])
def test_a_replay_restores_it(lanes: int) -> None:
    world = Components(FLOORS, refused=frozenset({2, 5, 11}))
    policy = ProfileGuided(patience=2)
    state, entries = run(policy, world, 17, lanes)
    again = ProfileGuided(patience=2)
    for entry in entries:
        again.tell(entry.fact)
    asked = policy.ask(state, 4, random.Random(1))
    assert len(asked) == 4
    assert again.ask(state, 4, random.Random(1)) == asked


@pytest.mark.parametrize("seed", range(8))
def test_whole_runs_are_sound(seed: int) -> None:
    simulate(seed, "profile-guided", {"patience": 1, "unfocused": seed % 2 == 0}).check()


def test_it_goes_on_from_what_others_find() -> None:
    policy = ProfileGuided()
    world = World(policy).start()
    policy.meet(candidate(7, size=-1.0, speed=5.0))
    world.candidates[AttemptId(7)] = candidate(7, size=-1.0, speed=5.0)
    assert list(policy.best(world)) == [7]
    world.attempts = 7
    assert [one.parents for one in policy._bred(world, 1, random.Random(0))] == [(7,)]


# -- where the attention goes -------------------------------------------------------------------------------


def test_share_times_headroom() -> None:
    here = attention()
    computing, waiting = Finding("a", 0.5, "compute"), Finding("b", 0.4, "latency")
    here.seen(Profile("t", (computing, waiting)))
    assert aim(here) == "b"
    told_otherwise = Attention(2, 0.1, 1.25, {**HEADROOM, "compute": 1.0})
    told_otherwise.seen(Profile("t", (computing, waiting)))
    assert aim(told_otherwise) == "a"


def test_a_plateau_and_a_comeback() -> None:
    here = attention()
    here.seen(profile(a=0.6, b=0.3))
    here.closed("a", gained=False)
    here.closed("a", gained=True)
    here.closed("a", gained=False)
    assert aim(here) == "a", "a gain starts the count anew"
    here.closed("a", gained=False)
    assert aim(here) == "b"
    here.seen(profile(a=0.7, b=0.2))
    assert aim(here) == "b"
    for _ in range(2):
        here.closed("b", gained=False)
    assert aim(here) == "", "a has not grown by a quarter"
    here.seen(profile(a=0.76, b=0.2))
    assert aim(here) == "a"


def test_attention_stays_though_another_part_is_larger_now() -> None:
    here = attention()
    here.seen(profile(a=0.5, b=0.4))
    here.seen(profile(b=0.5, a=0.4))
    assert aim(here) == "a"
    here.seen(profile(b=0.8, a=0.05))
    assert aim(here) == "b", "what is below share_min is let go"


def test_a_late_gain_brings_a_part_back() -> None:
    here = attention(patience=1)
    here.seen(profile(a=0.6, b=0.05))
    here.closed("a", gained=False)
    assert aim(here) == ""
    here.closed("a", gained=True)
    assert aim(here) == "a"


def test_what_a_tool_puts_in_brackets_is_no_component() -> None:
    here = attention()
    imports = Finding("find_spec (<frozen importlib._bootstrap_external>)", 0.5)
    here.seen(Profile("t", (Finding("(waiting)", 0.9), imports, Finding("loop (solve.py:12)", 0.1))))
    assert aim(here) == "loop (solve.py)"
    here.seen(Profile("t", (Finding("loop (solve.py:31)", 0.2),)))
    assert aim(here) == "loop (solve.py)", "a line that moved is no other component"


def test_words() -> None:
    found = Finding("sort", 0.623, "memory", "40 % of cycles stalled")
    assert task(found) == (
        "sort takes 62% of the time, bound by memory (40 % of cycles stalled). Make it take less, and leave the rest"
        " of the program alone."
    )
    assert told(Profile("perf", (found,), summary="Sorting."), 7, 5).splitlines() == [
        "Of candidate 7, by perf. Sorting.",
        " 62.3%  sort, bound by memory: 40 % of cycles stalled",
    ]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40), st.integers(1, 4))
def test_attention_is_never_on_what_is_small_or_gone(steps: list[tuple[str, bool]], patience: int) -> None:
    here = attention(patience)
    for n, (name, gained) in enumerate(steps):
        if n % 5 == 0:
            here.seen(profile(a=0.5 - n / 100, b=0.3, c=0.05 + n / 100))
        here.closed(name, gained)
        assert here.focus is None or here.focus.share >= 0.1
        assert here.focus is None or (here.profile is not None and here.focus in here.profile.findings)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"patience": 0}, "patience must be a whole number, 1 or more"),
        ({"share_min": 2.0}, "share_min must be a number, from 0 to 1"),
        ({"comeback": 0.5}, "comeback must be a number, 1 or more"),
        ({"beam": 0}, "beam must be"),
        ({"repairs": -1}, "repairs must be"),
        ({"headroom": {"memori": 1.0}}, "nothing is bound by 'memori'. Did you mean 'memory'"),
        ({"headroom": {"memory": 2.0}}, "headroom.memory must be a number, from 0 to 1"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("'", ".")):
        ProfileGuided(**options)  # type: ignore[arg-type] # that is the point
