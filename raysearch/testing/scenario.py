"""What befalls a simulated run, drawn from a seed: a plan, sessions with their limits, and bad luck."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from raysearch.jobs import SHORT
from raysearch.seeds import stream
from raysearch.steering import Command
from raysearch.testing.advice import staffed
from raysearch.testing.people import commands
from raysearch.testing.simulated import Faults, Mishap
from raysearch.testing.world import FINAL, JUDGES, Odds
from raysearch.types import Confirmation, Limits, Plan, Stage, Step

POLICIES: Mapping[str, tuple[Mapping[str, object], ...]] = {
    "evolve": (
        {},
        {"islands": 3, "migration_every": 2, "stuck_after": 3, "directions": False},
        {"islands": 2, "migration_every": 3, "restless_after": 2, "stuck_after": 5, "recombine": 0.5},
        {"restless_after": 1},
        {"generational": True, "children_per_generation": 3, "restless_after": 2},
        {"survival": "nsga2", "survivors": 4},
        {"survival": "nsga3", "survivors": 4, "islands": 2},
        {"recombine": 1.0, "descriptors": ["size"], "bins": 3, "restless_after": 3},
        {"stop_after": 4, "stop_at": {"speed": 60.0, "size": 30.0}, "restless_after": 2},
        {"frontier_bias": 0.2, "k_random": 3},
    ),
    "plain": ({}, {"max_rounds": 6, "max_attempts_per_issue": 1, "when_idle": "improve"}, {"stop_after": 3}),
    "agent": ({}, {"max_retries_per_round": 1, "lessons_max": 0, "plateau_after": 1}, {"inner_loop": "single-agent"}),
    "profile-guided": (
        {},
        {"patience": 1, "unfocused": False},
        {"patience": 2, "beam": 3, "repairs": 2, "share_min": 0.6},
        {"patience": 1, "comeback": 1.0, "repairs": 0, "stop_after": 5},
    ),
    "portfolio": (
        {"restless_after": 2},
        {"loops": ["evolve", "agent", "best-of-n", "profile-guided"], "patience": 1, "plateau_after": 1},
        {
            "loops": ["wide", "plain", "chain"],
            "loop": {"wide": {"use": "evolve", "islands": 3, "migration_every": 2, "stuck_after": 3}},
            "exploration": 0.5,
            "stop_after": 8,
        },
        {"loops": ["evolve", "agent"], "generational": True, "stop_at": {"speed": 60.0}},
    ),
    "best-of-n": ({}, {"bootstrap_max_attempts": 1}),
    "chain": ({}, {"lessons_max": 1}),
}
"""The policies that come with raysearch, each with options under which its rarer ways are taken often."""


def options_of(policy: str, seed: int) -> Mapping[str, object]:
    """One of the sets of options for ``policy``, in turn."""
    variants = POLICIES.get(policy, ({},))
    return variants[seed % len(variants)]


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """One driver's time with the run, and how it ends if not by itself."""

    limits: Limits
    faults: Faults
    mishap: Mishap | None = None
    stop_at_step: int | None = None
    """The step at which a person asks the driver to let go."""
    wall_jump_s: float = 0.0
    """How far the wall clock has moved, either way, since the last session."""
    commands: tuple[tuple[int, Command], ...] = ()
    """What people say, and before which of the driver's looks into its inbox."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything about a simulated run beside its policy."""

    seed: int
    plan: Plan
    odds: Odds
    seeded: bool
    slots: Mapping[Stage, int]
    sessions: tuple[SessionPlan, ...]

    @classmethod
    def draw(cls, seed: int) -> Scenario:
        """Some runs are smooth, most are not, and a few are a misery."""
        rng = stream(seed, "scenario")
        trouble = rng.choice((0.0, 0.3, 1.0, 1.0, 2.0))
        odds = Odds(
            crash=0.02 * trouble,
            sandbox=0.03 * trouble,
            refused=0.05,
            same=0.15,
            no=rng.choice((0.05, 0.15, 0.4)),
            partial=rng.choice((0.0, 0.0, 0.05)),
            nonsense=0.01 * trouble,
        )
        return cls(
            seed=seed,
            plan=_plan(rng, seed),
            odds=odds,
            seeded=rng.random() < 0.7,
            slots={Stage.MUTATE: rng.randint(1, 4), Stage.JUDGE: rng.randint(1, 4), Stage.BENCHMARK: rng.randint(1, 2)},
            sessions=_steered(_sessions(rng, trouble), stream(seed, "people")),
        )

    @classmethod
    def calm(cls, seed: int, attempts: int = 30) -> Scenario:
        """One lane, one session, no faults on the way: what every pool must make the same facts of.

        Plug-ins still say no and break, since that is a function of the job.
        """
        rng = stream(seed, "scenario")
        return cls(
            seed=seed,
            plan=replace(_plan(rng, seed), confirmation=None, final=()),
            odds=Odds(crash=0.05, sandbox=0.05, refused=0.05, same=0.1, no=0.2, nonsense=0.02),
            seeded=True,
            slots=dict.fromkeys(Stage, 1),
            sessions=(SessionPlan(Limits(open_max=1, attempts_max=attempts), Faults()),),
        )


def _plan(rng: random.Random, seed: int) -> Plan:
    benchmarks = rng.choice((("both",), ("timing", "footprint"), ("footprint", "timing")))
    steps = [Step(Stage.JUDGE, name, timeout_s=20.0) for name in JUDGES[: rng.randint(1, len(JUDGES))]]
    if (look := stream(seed, "short")).random() < 0.3:
        steps.append(Step(Stage.BENCHMARK, SHORT, timeout_s=20.0, hopeless=look.choice((0.05, 0.2))))
    steps += [Step(Stage.BENCHMARK, name, timeout_s=20.0) for name in benchmarks]
    retries_max, confirmation = rng.randint(0, 3), _confirmation(rng)
    final = tuple(Step(Stage.JUDGE, name, timeout_s=20.0) for name in FINAL[: rng.randint(0, len(FINAL))])
    asked = staffed(stream(seed, "consultants"))
    return Plan(tuple(steps), 20.0, retries_max, confirmation=confirmation, final=final, consultants=asked)


def _confirmation(rng: random.Random) -> Confirmation | None:
    if rng.random() < 0.5:
        return None
    return Confirmation(time_s=20.0, rivals_max=rng.randint(1, 4), doubt=rng.choice((0.05, 0.25, 2.0)))


def _sessions(rng: random.Random, trouble: float) -> tuple[SessionPlan, ...]:
    attempts_max, run_s, cost_usd = rng.randint(12, 36), rng.uniform(5.0, 50.0), rng.uniform(0.2, 1.0)
    by_time, by_cost, patience = rng.random() < 0.3, rng.random() < 0.2, rng.choice((3, 10, 25))
    count = rng.choice((1, 2, 2, 3, 4))
    sessions = []
    for number in range(count):
        last = number == count - 1
        limits = Limits(
            open_max=rng.randint(1, 6),
            attempts_max=attempts_max,
            run_s=run_s if by_time else None,
            cost_usd=cost_usd if by_cost else None,
            drain_s=rng.choice((0.0, 2.0, 10.0)),
            failed_in_row_max=patience,
        )
        faults = Faults(
            lost=0.05 * trouble,
            slow=0.03 * trouble,
            silent=0.02 * trouble,
            late=0.5,
            doubled=0.1 * trouble,
            full=0.0 if last else 0.003 * trouble,
        )
        mishap = None if last else _mishap(rng)
        stop = rng.randint(1, 80) if not last and rng.random() < 0.2 else None
        sessions.append(SessionPlan(limits, faults, mishap, stop, rng.choice((0.0, 0.0, 3600.0, -3600.0))))
        attempts_max, run_s, cost_usd = attempts_max + rng.choice((0, 4)), run_s + 20.0, cost_usd + 0.5
    return tuple(sessions)


def _steered(sessions: tuple[SessionPlan, ...], rng: random.Random) -> tuple[SessionPlan, ...]:
    """With people who interfere, in every other run."""
    if rng.random() < 0.5:
        return sessions
    return tuple(replace(one, commands=commands(rng, one.limits.attempts_max or 20)) for one in sessions)


def _mishap(rng: random.Random) -> Mishap | None:
    kind = rng.choice(("none", "cut", "cut", "whole", "zeros", "full"))
    at = rng.randint(1, 12) if rng.random() < 0.2 else rng.randint(1, 120)
    match kind:
        case "cut":
            return Mishap(at, kept=rng.random())
        case "whole":
            return Mishap(at, kept=1.0, zeros=rng.choice((0, 0, 64)))
        case "zeros":
            return Mishap(at, kept=rng.random() * 0.5, zeros=rng.randint(1, 4096))
        case "full":
            return Mishap(at, full=True)
        case _:
            return None
