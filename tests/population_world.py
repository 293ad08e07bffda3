"""A run without an engine: facts made up from a random walk, and a view that follows them."""

from __future__ import annotations

import pickle
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from raysearch.facts import AttemptClosed, AttemptOpened, Fact, Judged, Measured, Mutated, RunStarted, SessionOpened
from raysearch.protocols import Policy
from raysearch.types import (
    SEED,
    AttemptId,
    Candidate,
    CandidateId,
    Change,
    Commit,
    Limits,
    Measurement,
    Mutation,
    Objective,
    Outcome,
    Plan,
    Proposal,
    Tree,
    Usage,
    Verdict,
)

Start = Literal["seeded", "unseeded", "refused"]
ONE = (Objective("speed"),)
TWO = (Objective("size", "min"), Objective("speed", "max", primary=True))
THREE = (*TWO, Objective("loss", "min"))


@dataclass(frozen=True)
class Lane:
    id: AttemptId
    proposal: Proposal


def candidate(number: int, lineage: str = "", parents: Sequence[int] = (), **scores: float) -> Candidate:
    return Candidate(
        id=AttemptId(number),
        commit=Commit(f"{number:040x}"),
        tree=Tree(f"{number:040x}"),
        parents=tuple(AttemptId(parent) for parent in parents),
        measurements=tuple(Measurement(name, (value,)) for name, value in scores.items()),
        summary=f"program {number}",
        lineage=lineage,
    )


@dataclass
class World:
    """The view, and what makes the facts. Every fact is told to the policy after the view knows it."""

    policy: Policy
    objectives: tuple[Objective, ...] = TWO
    limits: Limits = field(default_factory=lambda: Limits(open_max=4))
    candidates: dict[CandidateId, Candidate] = field(default_factory=dict)
    open: dict[AttemptId, Lane] = field(default_factory=dict)
    closed: dict[AttemptId, Outcome] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)
    committed: set[AttemptId] = field(default_factory=set)
    attempts: int = 0

    @property
    def seq(self) -> int:
        return len(self.facts)

    def record(self, fact: Fact) -> None:
        self.facts.append(fact)
        match fact:
            case AttemptOpened():
                self.open[fact.attempt] = Lane(fact.attempt, fact.proposal)
                self.attempts = max(self.attempts, fact.attempt)
            case Mutated():
                self.committed.add(fact.attempt)
            case AttemptClosed():
                del self.open[fact.attempt]
                self.closed[fact.attempt] = fact.outcome
                if fact.candidate is not None:
                    self.candidates[fact.attempt] = fact.candidate
            case _:
                pass
        self.policy.tell(fact)

    def start(self, how: Start = "seeded", reason: str = "the seed is wrong", **scores: float) -> World:
        scores = scores or {objective.name: 0.0 for objective in self.objectives}
        started = RunStarted(
            run="r",
            seed=1,
            target="t",
            target_digest="",
            objectives=self.objectives,
            plan=Plan(()),
            origin=Commit("0" * 40),
            origin_tree=Tree("0" * 40),
            seeded=how != "unseeded",
        )
        self.record(started)
        self.record(SessionOpened(1, self.limits, "h", 1, "0"))
        if how != "unseeded":
            self.record(AttemptOpened(SEED, Proposal()))
            if how == "seeded":
                self.admit(SEED, **scores)
            else:
                self.reject(SEED, reason)
        return self

    def ask(self, slots: int = 1, seed: int = 0) -> list[Proposal]:
        return list(self.policy.ask(self, slots, random.Random(seed)))

    def propose(self, proposal: Proposal) -> AttemptId:
        number = AttemptId(self.attempts + 1)
        self.record(AttemptOpened(number, proposal))
        return number

    def admit(self, number: AttemptId, memory: str = "", **scores: float) -> None:
        proposal = self.open[number].proposal
        self.mutate(number, memory)
        made = candidate(number, proposal.lineage, proposal.parents, **scores)
        self.record(Measured(number, "benchmark", made.measurements))
        self.record(AttemptClosed(number, Outcome.ADMITTED, "", made))

    def reject(self, number: AttemptId, reason: str, memory: str = "", commit: bool = True) -> None:
        if commit:
            self.mutate(number, memory)
            self.record(Judged(number, "accuracy", Verdict(False, reason)))
        self.record(AttemptClosed(number, Outcome.REJECTED, reason))

    def fail(self, number: AttemptId, outcome: Outcome = Outcome.FAILED) -> None:
        self.record(AttemptClosed(number, outcome, "the worker went away"))

    def mutate(self, number: AttemptId, memory: str = "", cost_usd: float = 0.0) -> None:
        name = f"{number:040x}"
        self.record(Mutated(number, Change(Commit(name), Tree(name), Mutation(memory=memory, usage=Usage(cost_usd)))))

    def bear(self, lineage: str = "", parents: Sequence[int] = (), **scores: float) -> AttemptId:
        """One attempt from proposal to candidate."""
        number = self.propose(Proposal(tuple(AttemptId(p) for p in parents), lineage=lineage))
        self.admit(number, **scores)
        return number

    def miss(self, lineage: str = "", parents: Sequence[int] = (), reason: str = "no") -> AttemptId:
        """One attempt from proposal to refusal."""
        number = self.propose(Proposal(tuple(AttemptId(p) for p in parents), lineage=lineage))
        self.reject(number, reason)
        return number

    def step(self, rng: random.Random) -> list[Proposal]:
        """Fill the free slots, then close one open attempt; what was proposed."""
        slots = self.limits.open_max - len(self.open)
        proposals = self.ask(slots, rng.randrange(2**32))
        check(self, proposals, slots)
        for proposal in proposals:
            self.propose(proposal)
        if self.open:
            self._close(rng.choice(sorted(self.open)), rng)
        return proposals

    def walk(self, seed: int, steps: int = 40) -> World:
        """So many steps of a run that ``seed`` decides."""
        rng = random.Random(seed)
        for _ in range(steps):
            self.step(rng)
        return self

    def _close(self, number: AttemptId, rng: random.Random) -> None:
        proposal, fate = self.open[number].proposal, rng.random()
        if fate < 0.04:
            self.fail(number)
        elif fate < 0.06:
            self.fail(number, Outcome.ABANDONED)
        elif fate < 0.3:
            self.reject(number, f"case {rng.randrange(6)} failed", f"was at {number}", commit=fate < 0.28)
        else:
            parent = self.candidates[proposal.parents[0]].scores if proposal.parents else {}
            walk = {o.name: round(parent.get(o.name, 0.0) + rng.gauss(0, 1), 1) for o in self.objectives}
            self.admit(number, f"was at {number}", **walk)


def check(world: World, proposals: Sequence[Proposal], slots: int) -> None:
    """What the kernel demands of any proposal."""
    assert len(proposals) <= slots
    for proposal in proposals:
        assert all(parent in world.candidates for parent in proposal.parents)
        assert proposal.repair is None or (
            world.closed[proposal.repair] is Outcome.REJECTED and proposal.repair in world.committed
        )
        shown = [inspiration.id for inspiration in proposal.brief.inspirations]
        assert len(set(shown)) == len(shown)
        merged = list(proposal.parents[1:])  # a merge is shown its second parent first
        assert shown[: len(merged)] == merged
        assert not set(shown[len(merged) :]) & set(proposal.parents)
        assert len(set(proposal.parents)) == len(proposal.parents)
        assert all(i.commit == world.candidates[i.id].commit for i in proposal.brief.inspirations)
        _check_standing(world, proposal)


def _check_standing(world: World, proposal: Proposal) -> None:
    """Briefs tell what the parents scored, and of a few others on the frontier."""
    told = proposal.brief
    assert tuple(parent.id for parent in told.parents) == proposal.parents
    assert all(p.scores == world.candidates[p.id].scores for p in told.parents)
    assert all(p.summary == world.candidates[p.id].summary for p in told.parents)
    members = [number for number in world.policy.best(world) if number not in proposal.parents]
    beside = [member.id for member in told.frontier]
    assert beside == sorted(set(beside), key=members.index), "members alone, none twice, best first"
    assert len(beside) <= 5
    assert all(member.scores == world.candidates[member.id].scores for member in told.frontier)
    assert all((member.commit, member.summary) == ("", "") for member in told.frontier)


def memory_of(policy: Policy) -> bytes:
    """All that a policy remembers."""
    return pickle.dumps(policy)
