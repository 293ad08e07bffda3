"""What every policy must keep to; see `raysearch.testing.conformance`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

from raysearch.errors import PluginError
from raysearch.facts import AttemptClosed, Entry, Fact
from raysearch.protocols import Ask, Policy, View
from raysearch.seeds import stream
from raysearch.state import State
from raysearch.testing.scenario import Scenario
from raysearch.testing.simulation import Parts, Report, simulate
from raysearch.testing.surroundings import undisturbed
from raysearch.types import Candidate, CandidateId, Proposal


class Wanderer:
    """Breeds from anyone: the smallest policy there is, and whose journals others are told."""

    def ask(self, view: View, slots: int, rng: random.Random) -> Sequence[Proposal]:
        everyone = sorted(view.candidates)
        return [Proposal((rng.choice(everyone),) if everyone else ()) for _ in range(slots)]

    def tell(self, fact: Fact) -> None:
        """Remembers nothing."""

    def best(self, view: View) -> Sequence[CandidateId]:
        return sorted(view.candidates)


@cache
def _journal(seed: int) -> tuple[Entry, ...]:
    return tuple(simulate(seed, Wanderer).entries)


class PolicyConformance:
    """Inherit as ``class TestMine(PolicyConformance)`` and say how to make the policy.

    The checks drive it with the production engine through simulated runs, and tell it the journals of others.
    """

    seeds: Sequence[int] = range(6)
    """More seeds are more proof; a run takes some ten milliseconds."""

    def make(self) -> Policy:
        """A new policy at each call."""
        raise NotImplementedError("say how to make the policy: def make(self): return Mine()")

    def test_it_makes_a_new_policy_each_time(self) -> None:
        """Nothing may pass from one run to another."""
        assert self.make() is not self.make(), "make() returned one policy twice: it must return a new one each time"

    def test_no_more_proposals_than_slots(self) -> None:
        """``ask`` may return at most ``slots`` proposals, none for no slots."""
        for entries in self._journals():
            policy, state = self._told(entries, len(entries))
            for slots in (0, 1, 2, 7):
                got = len(policy.ask(state, slots, random.Random(0)))
                assert got <= slots, f"ask(slots={slots}) returned {got} proposals: cut the list to `slots`"

    def test_asking_changes_nothing(self) -> None:
        """``ask`` is a query: asked often or never, a policy answers the same afterwards."""
        for entries in self._journals():
            often, never, state = self.make(), self.make(), State()
            for entry in entries:
                state.apply(entry)
                often.tell(entry.fact)
                never.tell(entry.fact)
                if state.started is not None and not state.ended:
                    often.ask(state, 3, random.Random(state.seq))
            assert self._answer(often, state) == self._answer(never, state), (
                "ask() changed the policy: only tell() may. Decide from `view`, `rng` and what tell() has stored"
            )

    def test_equal_randomness_gives_equal_proposals(self) -> None:
        """``rng`` is all the randomness there is, so that a run can be replayed."""
        for entries in self._journals():
            policy, state = self._told(entries, len(entries))
            assert self._answer(policy, state) == self._answer(policy, state), (
                "two asks with equal rng gave different proposals: draw from `rng` alone, and let no order of a set "
                "or a clock decide"
            )

    def test_it_disturbs_nothing_around_it(self) -> None:
        """No global generators, threads, processes, working directory or environment."""
        with undisturbed("the policy"):
            for entries in self._journals():
                policy, state = self._told(entries, len(entries))
                policy.ask(state, 4, random.Random(1))
                policy.best(state)

    def test_a_replay_restores_it(self) -> None:
        """Told the journal again, a policy must go on as if the driver had never died."""
        for seed in self.seeds:
            self._without(
                simulate(seed, self.make, parts=Parts(whole_frontier=False)),
                "asks for something else",
                "keep nothing but what tell() can rebuild from the facts",
            )

    def test_it_proposes_what_can_be_made(self) -> None:
        """Parents are candidates; what is repaired has a commit; a proposal is plain data."""
        for seed in self.seeds:
            report = simulate(seed, self.make, parts=Parts(whole_frontier=False))
            found = [problem for problem in report.problems if PluginError.__name__ in problem]
            assert not found, f"{found[0]}: choose parents from view.candidates; {report.replay_line}"

    def test_it_starts_from_nothing(self) -> None:
        """A target may have no seed, or one that is refused: then there are no candidates at first."""
        for entries in self._journals():
            first = next((n for n, e in enumerate(entries) if isinstance(e.fact, AttemptClosed)), len(entries))
            policy, state = self._told(entries, first)
            for proposal in policy.ask(state, 2, random.Random(0)):
                assert not isinstance(proposal, Proposal) or not proposal.parents, (
                    f"it proposed parents {proposal.parents} while there are no candidates: propose no parents then"
                )

    def test_its_best_are_candidates(self) -> None:
        """``best`` names candidates of the view, each once, none before there are any."""
        for entries in self._journals():
            for at in (2, len(entries) // 2, len(entries)):
                policy, state = self._told(entries, at)
                best = list(policy.best(state))
                strangers = [number for number in best if number not in state.candidates]
                assert not strangers, f"best() named {strangers[0]}, which is no candidate"
                assert len(set(best)) == len(best), f"best() named {max(best, key=best.count)} twice"

    def test_its_runs_are_sound_and_end(self) -> None:
        """Through faults, power cuts and new sessions; and under every limit the run comes to its end."""
        for seed in self.seeds:
            simulate(seed, self.make, parts=Parts(whole_frontier=False)).check()

    def test_it_makes_something_of_a_calm_run(self) -> None:
        """With a seed, thirty attempts and no faults on the way, there must be children."""
        reports = [simulate(seed, self.make, scenario=Scenario.calm(seed)) for seed in self.seeds]
        children = [c for r in reports for c in _candidates(r) if c.id != 0]
        assert children, "not one child was admitted in calm runs: does ask() return proposals while slots are free?"

    def _journals(self) -> list[tuple[Entry, ...]]:
        return [_journal(seed) for seed in self.seeds]

    def _told(self, entries: Sequence[Entry], count: int) -> tuple[Policy, State]:
        policy, state = self.make(), State()
        for entry in entries[:count]:
            state.apply(entry)
            policy.tell(entry.fact)
        return policy, state

    def _answer(self, policy: Policy, state: State) -> tuple[Ask, ...]:
        return tuple(policy.ask(state, 4, stream(1, "conformance")))

    def _without(self, report: Report, problem: str, mend: str) -> None:
        found = [said for said in report.problems if problem in said]
        assert not found, f"{found[0]}: {mend}; replay: {report.replay_line}"


def _candidates(report: Report) -> list[Candidate]:
    facts = [entry.fact for entry in report.entries]
    return [f.candidate for f in facts if isinstance(f, AttemptClosed) and f.candidate is not None]
