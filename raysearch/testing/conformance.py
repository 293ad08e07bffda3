"""What authors of plug-ins inherit: classes of checks, each of which says its rule and how to keep it.

    from raysearch.testing.conformance import MutatorConformance

    class TestMine(MutatorConformance):
        def make(self):
            return Mine()

Run with pytest, which hands each check a fresh folder. Nothing here imports pytest: a check is a method that
raises AssertionError, and may be called with any empty folder.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from raysearch.codec import CodecError, check
from raysearch.errors import EvaluatorFault, Fault, Refused, RepositoryError
from raysearch.facts import Judged, Measured, Mutated
from raysearch.protocols import Benchmark, Judge, Mutator
from raysearch.target import may_change
from raysearch.testing.on_programs import OnPrograms, OnUnchangedPrograms, around, evaluated
from raysearch.testing.policy_conformance import PolicyConformance
from raysearch.testing.profiler_conformance import ProfilerConformance
from raysearch.testing.surroundings import Snapshot, difference, snapshot, undisturbed
from raysearch.testing.workspace import FolderWorkspace
from raysearch.types import AttemptId, Brief, Change, Commit, Inspiration, Measurement, Mutation, Tree, Verdict

__all__ = [
    "BenchmarkConformance",
    "JudgeConformance",
    "MutatorConformance",
    "PolicyConformance",
    "ProfilerConformance",
]

NOTHING = Commit("0" * 40)


class MutatorConformance(OnPrograms):
    """For a changer of files. Override ``make``, and ``target`` and ``program`` where it needs others."""

    deterministic: bool = True
    """Whether equal arguments give equal changes. Only what asks a model may say no."""

    def make(self) -> Mutator:
        """A new mutator at each call, with whatever stands in for a model."""
        raise NotImplementedError("say how to make the mutator: def make(self): return Mine()")

    def other_program(self) -> Mapping[str, str]:
        """Another good program, which it may be shown."""
        return {"answer.py": "VALUE = 41  # tune: int 0..100\n"}

    def briefs(self, other: Commit) -> Sequence[Brief]:
        """What it may be told, ``other`` being the commit of `other_program`. By default: nothing; and everything."""
        shown = Inspiration(AttemptId(1), other, {"score": -1.0}, "a better one")
        everything = Brief(
            task="Go further.",
            feedback="accuracy: VALUE is too large",
            inspirations=(shown,),
            lessons=("accuracy: 101 was too much",),
            memory="tried 3 and 5 before",
            parents=(shown,),
            frontier=(shown, shown),
            profile="half of its time: reading",
        )
        return Brief(), everything

    def test_it_returns_a_mutation(self, tmp_path: Path) -> None:
        """``mutate`` returns its own account as a `raysearch.Mutation`, whatever the brief holds."""
        for _, mutation in self._mutated(tmp_path):
            assert isinstance(mutation, Mutation), f"mutate() returned {type(mutation).__name__}, not a Mutation"

    def test_it_keeps_to_its_folder(self, tmp_path: Path) -> None:
        """Only ``workspace.path``, ``workspace.scratch`` and ``workspace.artifacts`` may be written to."""
        for workspace, brief in self._jobs(tmp_path):
            before = around(workspace)
            self.make().mutate(workspace, brief, random.Random(1))
            touched = difference(before, around(workspace))
            assert not touched, f"it wrote outside the program: {touched}; keep what is yours in workspace.scratch"

    def test_it_changes_only_what_may_change(self, tmp_path: Path) -> None:
        """Paths that match none of ``workspace.target.editable`` would make the guard refuse the child."""
        for workspace, brief in self._jobs(tmp_path):
            before, patterns = snapshot(workspace.path), workspace.target.editable
            self.make().mutate(workspace, brief, random.Random(1))
            after = snapshot(workspace.path)
            changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
            files = [PurePosixPath(name) for name in changed if not (workspace.path / name).is_dir()]
            outside = [p for p in files if not may_change(p, patterns)]
            assert not outside, f"it changed {outside[0]}; workspace.target.editable allows {', '.join(patterns)}"

    def test_what_it_leaves_can_be_committed(self, tmp_path: Path) -> None:
        """No nested repository, no pipe or device, no link that leads outside."""
        for workspace, _ in self._mutated(tmp_path):
            try:
                workspace.repository.write_tree(workspace.path)
            except RepositoryError as error:
                raise AssertionError(f"what it left cannot be committed: {error}") from error

    def test_equal_randomness_gives_equal_changes(self, tmp_path: Path) -> None:
        """``rng`` is all the randomness there is."""
        first, second = (self._made(tmp_path / way, [self.make(), self.make()]) for way in ("first", "second"))
        assert not self.deterministic or first == second, "equal rng gave different changes: draw from `rng` alone"

    def test_it_remembers_nothing_between_jobs(self, tmp_path: Path) -> None:
        """Any worker may get the next job, so one that has done others must do it as a new one would."""
        used = self.make()
        self._made(tmp_path / "warm", [used, used])
        first, second = self._made(tmp_path / "new", [self.make()] * 2), self._made(tmp_path / "used", [used, used])
        assert not self.deterministic or first == second, (
            "a job after others gave another result than it gives to a new mutator: keep nothing between jobs; what "
            "must be remembered goes into Mutation.memory, and comes back in brief.memory"
        )

    def test_it_disturbs_nothing_around_it(self, tmp_path: Path) -> None:
        """No global generators, threads, processes, working directory or environment."""
        for workspace, brief in self._jobs(tmp_path):
            with undisturbed("the mutator"):
                self.make().mutate(workspace, brief, random.Random(1))

    def test_its_account_can_be_recorded(self, tmp_path: Path) -> None:
        """Costs are finite and not below zero; texts are text."""
        for _, mutation in self._mutated(tmp_path):
            usage = mutation.usage
            counts = (usage.cost_usd, usage.tokens_in, usage.tokens_cached, usage.tokens_out, usage.calls)
            assert all(math.isfinite(n) and n >= 0 for n in counts), f"usage must be finite, from 0: {usage}"
            try:
                check(Mutated(AttemptId(1), Change(NOTHING, Tree(NOTHING), mutation)))
            except CodecError as error:
                raise AssertionError(f"its account cannot be recorded: {error}") from error

    def _jobs(self, root: Path) -> Iterator[tuple[FolderWorkspace, Brief]]:
        """A fresh workspace for each brief."""
        for number in range(len(self.briefs(NOTHING))):
            workspace = self._workspace(root / str(number))
            yield workspace, self.briefs(workspace.add(self.other_program()))[number]

    def _mutated(self, root: Path) -> Iterator[tuple[FolderWorkspace, Mutation]]:
        for workspace, brief in self._jobs(root):
            yield workspace, self.make().mutate(workspace, brief, random.Random(1))

    def _made(self, root: Path, mutators: Sequence[Mutator]) -> list[tuple[Snapshot, str, str]]:
        """What comes of each brief, done by the mutators in turn."""
        found = []
        for number, (workspace, brief) in enumerate(self._jobs(root)):
            mutation = mutators[number % len(mutators)].mutate(workspace, brief, random.Random(5))
            found.append((snapshot(workspace.path), mutation.summary, mutation.memory))
        return found


class JudgeConformance(OnUnchangedPrograms):
    """For a gate. Override ``make``; also ``target``, ``program`` and ``bad_programs`` where it needs others."""

    def make(self) -> Judge:
        """A new judge at each call."""
        raise NotImplementedError("say how to make the judge: def make(self): return Mine()")

    def test_it_says_yes_to_a_good_program(self, tmp_path: Path) -> None:
        """``judge`` returns a `raysearch.Verdict`, and passes what is right."""
        verdict = self._judged(self._workspace(tmp_path))
        assert isinstance(verdict, Verdict), f"judge() returned {type(verdict).__name__}, not a Verdict"
        assert verdict.passed, f"it refused a good program: {verdict.feedback!r}; or override program() with a good one"

    def test_it_says_no_to_a_bad_program(self, tmp_path: Path) -> None:
        """A bad program is a no, never an exception: an exception says that the judge is broken."""
        for number, (wrong, files) in enumerate(self.bad_programs().items()):
            try:
                verdict = self._judged(self._workspace(tmp_path / str(number), files))
            except Exception as error:
                raise AssertionError(
                    f"{wrong}: it raised {type(error).__name__}: {error}. Return Verdict(False, why) instead"
                ) from error
            assert not verdict.passed, f"{wrong}: it said yes"

    def test_a_no_has_a_reason(self, tmp_path: Path) -> None:
        """The feedback of a no is what the next attempt is told."""
        for number, (wrong, files) in enumerate(self.bad_programs().items()):
            verdict = self._judged(self._workspace(tmp_path / str(number), files))
            assert verdict.passed or verdict.feedback.strip(), f"{wrong}: a no without feedback; say what is wrong"

    def test_it_says_the_same_twice(self, tmp_path: Path) -> None:
        """Equal programs and randomness get equal verdicts, from this judge and from a new one."""
        programs = [self.program(), *self.bad_programs().values()]
        for number, files in enumerate(programs):
            judge = self.make()
            verdicts = [
                maker.judge(self._workspace(tmp_path / f"{number}-{way}", files), Brief(), random.Random(5))
                for way, maker in enumerate((judge, judge, self.make()))
            ]
            said = {(verdict.passed, verdict.feedback) for verdict in verdicts}
            assert len(said) == 1, (
                f"one program got {len(said)} different verdicts: draw from `rng` and workspace.evaluation_seed "
                "alone, and keep paths and times out of the feedback"
            )

    def test_it_changes_nothing(self, tmp_path: Path) -> None:
        """Neither the program nor the target is the judge's to change."""
        workspace = self._workspace(tmp_path)
        before = evaluated(workspace)
        self._judged(workspace)
        self._untouched(workspace, before)

    def test_it_disturbs_nothing_around_it(self, tmp_path: Path) -> None:
        """No global generators, threads, processes, working directory or environment."""
        workspace = self._workspace(tmp_path)
        with undisturbed("the judge"):
            self._judged(workspace)

    def test_its_verdicts_can_be_recorded(self, tmp_path: Path) -> None:
        """Texts are text, and every field is of its type."""
        for number, files in enumerate((self.program(), *self.bad_programs().values())):
            verdict = self._judged(self._workspace(tmp_path / str(number), files))
            try:
                check(Judged(AttemptId(1), "judge", verdict))
            except CodecError as error:
                raise AssertionError(f"its verdict cannot be recorded: {error}") from error

    def _judged(self, workspace: FolderWorkspace) -> Verdict:
        return self.make().judge(workspace, Brief(), random.Random(5))


class BenchmarkConformance(OnUnchangedPrograms):
    """For a measurer. Override ``make``; also ``target``, ``program`` and ``bad_programs`` where it needs others."""

    def make(self) -> Benchmark:
        """A new benchmark at each call."""
        raise NotImplementedError("say how to make the benchmark: def make(self): return Mine()")

    def test_it_measures_every_objective(self, tmp_path: Path) -> None:
        """One `raysearch.Measurement` for each of ``workspace.target.objectives``; side metrics are welcome."""
        workspace, measured = self._measured(tmp_path)
        for item in measured:
            assert isinstance(item, Measurement), f"measure() returned {type(item).__name__}s, not Measurements"
        names = [measurement.name for measurement in measured]
        missing = [o.name for o in workspace.target.objectives if o.name not in names]
        assert not missing, f"objective {missing[0]} is missing; it measured {', '.join(names) or 'nothing'}"
        assert len(set(names)) == len(names), f"it measured {max(names, key=names.count)} twice: once with all samples"

    def test_its_samples_are_finite(self, tmp_path: Path) -> None:
        """At least one sample each, all finite numbers. What cannot be measured is an error, not a NaN."""
        for measurement in self._measured(tmp_path)[1]:
            finite = [math.isfinite(sample) for sample in measurement.samples]
            assert finite, f"{measurement.name} has no samples: raise EvaluatorFault or Refused instead"
            assert all(finite), f"{measurement.name} is {measurement.samples}: raise EvaluatorFault or Refused instead"

    def test_its_units_and_goals_are_the_declared_ones(self, tmp_path: Path) -> None:
        """A number in another unit or direction is another number."""
        workspace, measured = self._measured(tmp_path)
        by_name = {measurement.name: measurement for measurement in measured}
        for objective in workspace.target.objectives:
            found = by_name.get(objective.name)
            if found is not None:
                came, declared = (found.goal, found.unit), (objective.goal, objective.unit or found.unit)
                assert came == declared, f"{objective.name} came as {came}; the target declares {declared}"

    def test_a_bad_program_is_refused(self, tmp_path: Path) -> None:
        """Where the program is to blame it raises Refused; EvaluatorFault says that the benchmark broke."""
        for number, (wrong, files) in enumerate(self.bad_programs().items()):
            workspace = self._workspace(tmp_path / str(number), files)
            try:
                self.make().measure(workspace, random.Random(5))
            except (Refused, EvaluatorFault):
                continue
            except Exception as error:
                raise AssertionError(
                    f"{wrong}: it raised {type(error).__name__}: {error}. Raise Refused(why) instead"
                ) from error
            raise AssertionError(f"{wrong}: it measured a program that cannot run. Raise Refused(why) instead")

    def test_it_measures_the_same_metrics_twice(self, tmp_path: Path) -> None:
        """Values may differ by noise; names, units, directions and the number of samples may not."""
        benchmark = self.make()
        shapes = [
            [
                (m.name, m.unit, m.goal, len(m.samples))
                for m in benchmark.measure(self._workspace(root), random.Random(5))
            ]
            for root in (tmp_path / "first", tmp_path / "second")
        ]
        assert shapes[0] == shapes[1], f"it measured {shapes[0]}, then {shapes[1]}"

    def test_it_changes_nothing(self, tmp_path: Path) -> None:
        """Neither the program nor the target is the benchmark's to change."""
        workspace = self._workspace(tmp_path)
        before = evaluated(workspace)
        self.make().measure(workspace, random.Random(5))
        self._untouched(workspace, before)

    def test_it_disturbs_nothing_around_it(self, tmp_path: Path) -> None:
        """No global generators, threads, processes, working directory or environment."""
        benchmark, workspace = self.make(), self._workspace(tmp_path)
        with undisturbed("the benchmark"):
            benchmark.measure(workspace, random.Random(5))

    def test_its_measurements_can_be_recorded(self, tmp_path: Path) -> None:
        """Plain numbers and texts: a library's own number types do not read back from the journal."""
        try:
            check(Measured(AttemptId(1), "benchmark", tuple(self._measured(tmp_path)[1])))
        except CodecError as error:
            raise AssertionError(f"its measurements cannot be recorded: {error}; convert with float()") from error

    def _measured(self, root: Path) -> tuple[FolderWorkspace, Sequence[Measurement]]:
        workspace = self._workspace(root)
        try:
            return workspace, self.make().measure(workspace, random.Random(5))
        except (Fault, Refused) as error:
            raise AssertionError(
                f"it measured nothing of a good program: {error}; or override program() with a good one"
            ) from error
