"""The kits for authors: everything built in passes them, and each kind of mistake fails the check that names it."""

from __future__ import annotations

import os
import random
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from evaluators.command import CommandBenchmark, CommandJudge
from mutators.scripted import Scripted
from mutators.tune import Tune
from population.policies.evolve import Evolve
from raysearch.config.targets import load_target
from raysearch.errors import Refused
from raysearch.facts import Fact, Mutated
from raysearch.plugins import load
from raysearch.protocols import Benchmark, Judge, Mutator, Policy, View, Workspace
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
    Brief,
    CandidateId,
    Measurement,
    Mutation,
    Outcome,
    Proposal,
    Usage,
    Verdict,
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


# -- what is not right --------------------------------------------------------------------------------------


def failing(kit: object, folder: Path, checks: Iterable[str] = ()) -> set[str]:
    """Which of ``checks``, or of all, fail. Each gets an empty folder, where it takes one.

    A check may fail by what the plug-in raises; where it fails by its own word, that must say something.
    """
    failed = set()
    for name in checks or (name for name in dir(kit) if name.startswith("test_")):
        place = folder / name
        place.mkdir(parents=True)
        check = cast(Callable[..., None], getattr(kit, name))
        error = raised_by(lambda: check(place) if "tmp_path" in check.__annotations__ else check())  # noqa: B023
        if error is not None:
            failed.add(name)
            assert not isinstance(error, AssertionError) or len(str(error)) > 20, f"{name} says too little: {error}"
    return failed


def raised_by(act: Callable[[], None]) -> Exception | None:
    try:
        act()
    except Exception as error:
        return error
    return None


def asks_for_too_much(policy: Evolve, view: View, slots: int, rng: random.Random) -> Sequence[Proposal]:
    return Evolve.ask(policy, view, slots + 1, rng)


def changes_when_asked(policy: Evolve, view: View, slots: int, rng: random.Random) -> Sequence[Proposal]:
    policy.frontier_bias = 1.0 - policy.frontier_bias
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
        seeds = range(4)

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


@dataclass
class Edits:
    """A good mutator, for as long as nothing is added to it."""

    also: Callable[[Workspace, random.Random], object] = lambda workspace, rng: None
    mutation: Mutation = Mutation("a step")
    jobs: list[int] = field(default_factory=list)

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        value = rng.randint(0, 100)
        (workspace.path / "answer.py").write_text(f"VALUE = {value}  # tune: int 0..100\n")
        (workspace.scratch / "notes").write_text("mine")
        self.also(workspace, rng)
        return self.mutation


def remembers(mutator: Edits) -> Callable[[Workspace, random.Random], None]:
    def also(workspace: Workspace, rng: random.Random) -> None:
        mutator.jobs.append(1)
        (workspace.path / "answer.py").write_text(f"VALUE = {len(mutator.jobs)}\n")

    mutator.also = also
    return also


def spawns(workspace: Workspace, rng: random.Random) -> None:
    CHILDREN.append(subprocess.Popen(["sleep", "60"]))


CHILDREN: list[subprocess.Popen[bytes]] = []
STOP = threading.Event()
BAD_EDITS: dict[str, tuple[Edits, str]] = {
    "returns nothing": (Edits(mutation=cast(Mutation, None)), "test_it_returns_a_mutation"),
    "writes beside the program": (
        Edits(lambda w, rng: (w.path.parent / "stray").write_text("x")),
        "test_it_keeps_to_its_folder",
    ),
    "edits the target": (
        Edits(lambda w, rng: (w.target.checker.folder / "check.py").write_text("")),
        "test_it_keeps_to_its_folder",
    ),
    "changes what it must not": (
        Edits(lambda w, rng: (w.path / "Makefile").write_text("x")),
        "test_it_changes_only_what_may_change",
    ),
    "leaves a repository": (Edits(lambda w, rng: (w.path / ".git").mkdir()), "test_what_it_leaves_can_be_committed"),
    "leaves a pipe": (Edits(lambda w, rng: os.mkfifo(w.path / "pipe")), "test_what_it_leaves_can_be_committed"),
    "ignores its generator": (
        Edits(lambda w, rng: (w.path / "answer.py").write_text(os.urandom(8).hex())),
        "test_equal_randomness_gives_equal_changes",
    ),
    "uses the global generator": (Edits(lambda w, rng: random.random()), "test_it_disturbs_nothing_around_it"),
    "changes the environment": (
        Edits(lambda w, rng: os.environ.__setitem__("CONFORMANCE", str(w.path))),
        "test_it_disturbs_nothing_around_it",
    ),
    "leaves a process": (Edits(spawns), "test_it_disturbs_nothing_around_it"),
    "leaves a thread": (
        Edits(lambda w, rng: threading.Thread(target=STOP.wait, args=(60,)).start()),
        "test_it_disturbs_nothing_around_it",
    ),
    "costs less than nothing": (
        Edits(mutation=Mutation(usage=Usage(cost_usd=-1.0))),
        "test_its_account_can_be_recorded",
    ),
    "costs no number": (
        Edits(mutation=Mutation(usage=Usage(cost_usd=float("nan")))),
        "test_its_account_can_be_recorded",
    ),
    "speaks in broken text": (Edits(mutation=Mutation("\udc80")), "test_its_account_can_be_recorded"),
}


@pytest.fixture
def _clean_up() -> Iterator[None]:
    yield
    STOP.set()
    os.environ.pop("CONFORMANCE", None)
    while CHILDREN:
        child = CHILDREN.pop()
        child.kill()
        child.wait()
    STOP.clear()


@pytest.mark.usefixtures("_clean_up")
@pytest.mark.parametrize("mistake", BAD_EDITS)
def test_a_mutator_s_mistake_fails_its_check(mistake: str, tmp_path: Path) -> None:
    mutator, check = BAD_EDITS[mistake]

    class Kit(MutatorConformance):
        def make(self) -> Mutator:
            return mutator

    assert failing(Kit(), tmp_path, [check]) == {check}


def test_a_mutator_that_remembers(tmp_path: Path) -> None:
    class Kit(MutatorConformance):
        def make(self) -> Mutator:
            mutator = Edits()
            remembers(mutator)
            return mutator

    assert failing(Kit(), tmp_path) == {"test_it_remembers_nothing_between_jobs"}


def test_a_good_mutator_passes_and_an_agent_need_not_repeat_itself(tmp_path: Path) -> None:
    class Good(MutatorConformance):
        def make(self) -> Mutator:
            return Edits()

    class Agent(MutatorConformance):
        deterministic = False

        def make(self) -> Mutator:
            return Edits(lambda w, rng: (w.path / "answer.py").write_text(os.urandom(8).hex()))

    assert failing(Good(), tmp_path / "good") == set()
    assert failing(Agent(), tmp_path / "agent") == set()


@dataclass
class Reads:
    """A good judge and benchmark for `tiny_target`, for as long as nothing is changed about it."""

    judges: Callable[[Workspace, random.Random, int | None], Verdict] | None = None
    measures: Callable[[Workspace, random.Random, int], Sequence[Measurement]] | None = None

    def judge(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Verdict:
        value = value_of(workspace)
        if self.judges is not None:
            return self.judges(workspace, rng, value)
        return Verdict(value is not None, "" if value is not None else "there is no VALUE")

    def measure(self, workspace: Workspace, rng: random.Random) -> Sequence[Measurement]:
        value = value_of(workspace)
        if value is None:
            raise Refused("there is no VALUE")
        return self.measures(workspace, rng, value) if self.measures is not None else measured(value)


def value_of(workspace: Workspace) -> int | None:
    try:
        return int((workspace.path / "answer.py").read_text().split("=")[1].split("#")[0])
    except (OSError, ValueError, IndexError):
        return None


def measured(value: float, size: float = 1.0) -> list[Measurement]:
    return [Measurement("score", (-abs(value - 42),), "points", "max"), Measurement("size", (size,), "B", "min")]


def counting() -> Callable[[Workspace, random.Random, int | None], Verdict]:
    calls: list[int] = []

    def judge(workspace: Workspace, rng: random.Random, value: int | None) -> Verdict:
        calls.append(1)
        return Verdict(value is not None, f"call {len(calls)}")

    return judge


def spoils(workspace: Workspace, what: object) -> object:
    (workspace.path / "answer.py").write_text("VALUE = 42\n")
    return what


BAD_JUDGES: dict[str, tuple[Reads, set[str]]] = {
    "none": (Reads(), set()),
    "says yes to all": (Reads(lambda w, rng, v: Verdict(True)), {"test_it_says_no_to_a_bad_program"}),
    "says no to all": (Reads(lambda w, rng, v: Verdict(False, "no")), {"test_it_says_yes_to_a_good_program"}),
    "raises for a bad program": (
        Reads(lambda w, rng, v: Verdict(cast(int, v) + 1 > 0)),
        {"test_it_says_no_to_a_bad_program"},
    ),
    "gives no reason": (Reads(lambda w, rng, v: Verdict(v is not None)), {"test_a_no_has_a_reason"}),
    "says something else each time": (Reads(counting()), {"test_it_says_the_same_twice"}),
    "tosses its own coin": (
        Reads(lambda w, rng, v: Verdict(v is not None, f"{random.random()}")),
        {"test_it_says_the_same_twice", "test_it_disturbs_nothing_around_it"},
    ),
    "names its folder": (
        Reads(lambda w, rng, v: Verdict(v is not None, f"in {w.path}")),
        {"test_it_says_the_same_twice"},
    ),
    "mends the program": (
        Reads(lambda w, rng, v: cast(Verdict, spoils(w, Verdict(v is not None, "no")))),
        {"test_it_changes_nothing"},
    ),
    "speaks in broken text": (
        Reads(lambda w, rng, v: Verdict(v is not None, "\udc80")),
        {"test_its_verdicts_can_be_recorded"},
    ),
    "answers with a word": (
        Reads(lambda w, rng, v: cast(Verdict, "yes")),
        {"test_it_says_yes_to_a_good_program"},
    ),
}


@pytest.mark.parametrize("mistake", BAD_JUDGES)
def test_a_judge_s_mistake_fails_its_check(mistake: str, tmp_path: Path) -> None:
    judge, checks = BAD_JUDGES[mistake]

    class Kit(JudgeConformance):
        def make(self) -> Judge:
            return judge

    assert failing(Kit(), tmp_path, checks) == checks


def flickering() -> Callable[[Workspace, random.Random, int], Sequence[Measurement]]:
    calls: list[int] = []

    def measure(workspace: Workspace, rng: random.Random, value: int) -> Sequence[Measurement]:
        calls.append(1)
        extra = [Measurement("heat", (1.0,))] if len(calls) % 2 else []
        return [*measured(value), *extra]

    return measure


class Guesses(Reads):
    def measure(self, workspace: Workspace, rng: random.Random) -> Sequence[Measurement]:
        return measured(0)


class Stumbles(Reads):
    def measure(self, workspace: Workspace, rng: random.Random) -> Sequence[Measurement]:
        value = value_of(workspace)
        assert value is not None, "no value"
        return measured(value)


BAD_BENCHMARKS: dict[str, tuple[Reads, set[str]]] = {
    "none": (Reads(), set()),
    "leaves one out": (Reads(measures=lambda w, rng, v: measured(v)[:1]), {"test_it_measures_every_objective"}),
    "measures one twice": (
        Reads(measures=lambda w, rng, v: [*measured(v), *measured(v)]),
        {"test_it_measures_every_objective"},
    ),
    "gives no number": (Reads(measures=lambda w, rng, v: measured(float("nan"))), {"test_its_samples_are_finite"}),
    "gives no sample": (
        Reads(measures=lambda w, rng, v: [*measured(v), Measurement("heat", ())]),
        {"test_its_samples_are_finite"},
    ),
    "measures in another unit": (
        Reads(measures=lambda w, rng, v: [measured(v)[0], Measurement("size", (0.001,), "kB", "min")]),
        {"test_its_units_and_goals_are_the_declared_ones"},
    ),
    "turns an objective around": (
        Reads(measures=lambda w, rng, v: [measured(v)[0], Measurement("size", (1.0,), "B", "max")]),
        {"test_its_units_and_goals_are_the_declared_ones"},
    ),
    "measures what cannot run": (Guesses(), {"test_a_bad_program_is_refused"}),
    "stumbles over a bad program": (Stumbles(), {"test_a_bad_program_is_refused"}),
    "measures now this, now that": (Reads(measures=flickering()), {"test_it_measures_the_same_metrics_twice"}),
    "changes the program": (
        Reads(measures=lambda w, rng, v: cast(Sequence[Measurement], spoils(w, measured(v)))),
        {"test_it_changes_nothing"},
    ),
    "uses the global generator": (
        Reads(measures=lambda w, rng, v: measured(v, random.random())),
        {"test_it_disturbs_nothing_around_it"},
    ),
    "gives a list of samples": (
        Reads(measures=lambda w, rng, v: [*measured(v), Measurement("heat", cast(tuple[float, ...], [1.0]))]),
        {"test_its_measurements_can_be_recorded"},
    ),
}


@pytest.mark.parametrize("mistake", BAD_BENCHMARKS)
def test_a_benchmark_s_mistake_fails_its_check(mistake: str, tmp_path: Path) -> None:
    benchmark, checks = BAD_BENCHMARKS[mistake]

    class Kit(BenchmarkConformance):
        def make(self) -> Benchmark:
            return benchmark

    assert failing(Kit(), tmp_path, checks) == checks


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
