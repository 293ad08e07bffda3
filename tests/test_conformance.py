"""The kits for authors: everything built in passes them, and each kind of mistake fails the check that names it."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest
from failing import failing

from evaluators.command import CommandBenchmark, CommandJudge
from mutators.scripted import Scripted
from mutators.tune import Tune
from population.policies.evolve import Evolve
from raysearch.config.targets import load_target
from raysearch.facts import Fact, Mutated
from raysearch.plugins import load
from raysearch.protocols import Benchmark, Judge, Mutator, Policy, View
from raysearch.target import Target
from raysearch.testing.conformance import (
    BenchmarkConformance,
    JudgeConformance,
    MutatorConformance,
    PolicyConformance,
)
from raysearch.testing.scenario import POLICIES
from raysearch.testing.workspace import FolderWorkspace, tiny_target
from raysearch.types import (
    AttemptId,
    CandidateId,
    Outcome,
    Proposal,
)

# -- what is built in ---------------------------------------------------------------------------------------


class OfPolicy(PolicyConformance):
    name = ""

    def make(self) -> Policy:
        return cast(Policy, load("policies", self.name, POLICIES[self.name][-1]))


class TestEvolve(OfPolicy):
    name = "evolve"


class TestPlain(OfPolicy):
    name = "plain"


class TestAgent(OfPolicy):
    name = "agent"


class TestBestOfN(OfPolicy):
    name = "best-of-n"


class TestChain(OfPolicy):
    name = "chain"


class TestTune(MutatorConformance):
    def make(self) -> Mutator:
        return Tune()


class TestScripted(MutatorConformance):
    def make(self) -> Mutator:
        edits = [{"file": "answer.py", "search": "VALUE = 3", "replace": f"VALUE = {value}"} for value in (4, 5)]
        return Scripted(edits=edits, order="random")


class TestCommandJudge(JudgeConformance):
    def make(self) -> Judge:
        return CommandJudge()


class TestCommandBenchmark(BenchmarkConformance):
    def make(self) -> Benchmark:
        return CommandBenchmark()


# -- policies that are not right ----------------------------------------------------------------------------


def asks_for_too_much(policy: Evolve, view: View, slots: int, rng: random.Random) -> Sequence[Proposal]:
    return Evolve.ask(policy, view, slots + 1, rng)


def changes_when_asked(policy: Evolve, view: View, slots: int, rng: random.Random) -> Sequence[Proposal]:
    policy.k_top = 2 - policy.k_top
    return Evolve.ask(policy, view, slots, rng)


def draws_from_elsewhere(policy: Evolve, view: View, slots: int, rng: random.Random) -> Sequence[Proposal]:
    return Evolve.ask(policy, view, slots, random.Random(random.getrandbits(64)))


def breeds_from_the_refused(policy: Evolve, view: View, slots: int, rng: random.Random) -> Sequence[Proposal]:
    refused = [number for number, outcome in view.closed.items() if outcome is Outcome.REJECTED]
    return [Proposal((refused[-1],))] if refused and slots else Evolve.ask(policy, view, slots, rng)


def needs_a_seed(policy: Evolve, view: View, slots: int, rng: random.Random) -> Sequence[Proposal]:
    return [Proposal((AttemptId(0),))] * slots


def asks_for_nothing(policy: Evolve, view: View, slots: int, rng: random.Random) -> Sequence[Proposal]:
    return ()


BAD_ASKS: dict[str, tuple[Callable[[Evolve, View, int, random.Random], Sequence[Proposal]], str]] = {
    "asks for too much": (asks_for_too_much, "test_no_more_proposals_than_slots"),
    "changes when asked": (changes_when_asked, "test_asking_changes_nothing"),
    "changes when asked, so a replay differs": (changes_when_asked, "test_a_replay_restores_it"),
    "draws from elsewhere": (draws_from_elsewhere, "test_equal_randomness_gives_equal_proposals"),
    "draws from what all share": (draws_from_elsewhere, "test_it_disturbs_nothing_around_it"),
    "breeds from the refused": (breeds_from_the_refused, "test_it_proposes_what_can_be_made"),
    "needs a seed": (needs_a_seed, "test_it_starts_from_nothing"),
    "asks for nothing": (asks_for_nothing, "test_it_makes_something_of_a_calm_run"),
}


@pytest.mark.parametrize("mistake", BAD_ASKS)
def test_a_policy_that_asks_wrongly(mistake: str, tmp_path: Path) -> None:
    ask, check = BAD_ASKS[mistake]

    class Bad(Evolve):
        def ask(self, view: View, slots: int, rng: random.Random) -> Sequence[Proposal]:
            return ask(self, view, slots, rng)

    class Kit(PolicyConformance):
        seeds = range(6)

        def make(self) -> Policy:
            return Bad()

    assert failing(Kit(), tmp_path, [check]) == {check}


def test_a_policy_that_remembers_what_it_was_not_told(tmp_path: Path) -> None:
    shared = Evolve()

    class Shared(PolicyConformance):
        seeds = range(2)

        def make(self) -> Policy:
            return shared

    check = "test_it_makes_a_new_policy_each_time"
    assert failing(Shared(), tmp_path, [check]) == {check}


def test_a_policy_whose_best_are_nobody(tmp_path: Path) -> None:
    class Boastful(Evolve):
        def best(self, view: View) -> Sequence[CandidateId]:
            return [AttemptId(999), *super().best(view)]

    class Kit(PolicyConformance):
        seeds = range(2)

        def make(self) -> Policy:
            return Boastful()

    assert failing(Kit(), tmp_path) == {"test_its_best_are_candidates", "test_its_runs_are_sound_and_end"}


def test_a_policy_that_breaks_on_a_fact(tmp_path: Path) -> None:
    class Fragile(Evolve):
        def tell(self, fact: Fact) -> None:
            assert not isinstance(fact, Mutated), "nobody told me about this"
            super().tell(fact)

    class Kit(PolicyConformance):
        seeds = range(2)

        def make(self) -> Policy:
            return Fragile()

    check = "test_its_runs_are_sound_and_end"
    assert failing(Kit(), tmp_path, [check]) == {check}


@pytest.mark.parametrize("kit", [PolicyConformance, MutatorConformance, JudgeConformance, BenchmarkConformance])
def test_a_kit_without_a_plug_in_says_what_to_write(kit: type) -> None:
    with pytest.raises(NotImplementedError, match=r"def make\(self\): return Mine\(\)"):
        kit().make()


# -- the workspace ------------------------------------------------------------------------------------------


def test_commands_see_the_folders_and_little_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    workspace = FolderWorkspace.make(tmp_path, {"a.py": "1"})
    script = "import os, sys; e = os.environ; print(os.listdir(), sys.argv[1:], e.get('SECRET'), e['K'])"
    words = ["{candidate}/x", "{scratch}", "{reference}"]
    done = workspace.run(["python", "-c", script, *words], timeout_s=60, env={"K": "v"})
    paths = [f"{workspace.path}/x", str(workspace.scratch), str(workspace.target.reference)]
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout == f"['a.py'] {paths} None v\n"
    assert workspace.run(["python", "-c", "raise SystemExit(3)"], timeout_s=60).status == 3


def test_a_command_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    workspace = FolderWorkspace.make(tmp_path, {})
    done = workspace.run(["sh", "-c", "sleep 600 & echo started; sleep 600"], timeout_s=0.5)
    assert (done.status, done.ended_by, done.stdout) == (-9, "time", "started\n")


def test_other_programs_of_the_run_can_be_read(tmp_path: Path) -> None:
    workspace = FolderWorkspace.make(tmp_path, {"a": "1\n"})
    one = workspace.add({"a": "2\n", "b": "x"}, [workspace.commit])
    two = workspace.add({"a": "3\n"}, [workspace.commit])
    assert workspace.show(one, "a") == "2\n"
    assert "-2\n+3\n" in workspace.diff(one, two)
    assert workspace.changed(one, two) == ["a", "b"]
    assert workspace.merge_base(one, two) == workspace.commit
    workspace.restore(one, "b")
    assert (workspace.path / "b").read_text() == "x"


def test_the_tiny_target_is_a_target_like_any_other(tmp_path: Path) -> None:
    assert tiny_target(tmp_path) == load_target(tmp_path)
    assert [objective.name for objective in load_target(tmp_path).objectives] == ["score", "size"]


EXAMPLES = Path(__file__).parents[1] / "examples"


class TestCirclePackingMutator(MutatorConformance):
    """The example of a mutator of one's own, by the kit that its author would use."""

    def make(self) -> Mutator:
        options: Mapping[str, object] = {"polishes": 2}
        return cast(Mutator, load("mutators", f"{EXAMPLES / 'circle-packing' / 'mutator.py'}:Relocate", options))

    def target(self, root: Path) -> Target:
        return load_target(EXAMPLES / "circle-packing")


def test_nothing_here_needs_pytest_to_be_imported() -> None:
    script = "import sys, raysearch.testing.conformance; print({'pytest', 'hypothesis', 'ray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
