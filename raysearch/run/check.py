"""Is a target sound? Its checker, its benchmark and its sandbox, tried out as a run would use them."""

from __future__ import annotations

import math
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from raysearch.config.integrity import changes, fingerprint
from raysearch.config.target_file import read_target_file
from raysearch.config.targets import snapshot_target
from raysearch.errors import Fault
from raysearch.jobs import SHORT, Job
from raysearch.plugins import PluginSpec
from raysearch.process import strays, sweep
from raysearch.protocols import Answer
from raysearch.repository import Repository
from raysearch.run import baselines
from raysearch.run.breakage import Broken, apply, broken, editable_files
from raysearch.run.containment import probe
from raysearch.run.findings import Finding, Standing, fail, failures, note, ok, warn
from raysearch.run.folder import RunFolder, sweep_scratch
from raysearch.run.leasing import tried_out
from raysearch.run.noise import Noise, noise_of
from raysearch.run.search import create
from raysearch.sandbox import open_sandbox
from raysearch.target import Target
from raysearch.types import SEED, Commit, Measurement, Stage, Verdict
from raysearch.worker import Worker, WorkerSpec
from raysearch.workspace import PROGRAM, checked_out

REPEATS = 7
"""Evaluations for the noise: their range holds the median with 98.4 %."""
HIDDEN_SEEDS = 3
"""Hidden seeds of inputs under which the seed program must pass."""
LEAVE_S = 5.0
"""How long processes may take to go when their worker goes."""
SPREAD_NOTABLE = 0.2
"""A spread from here on hides most gains."""

PLUGINS = {
    (Stage.JUDGE, "audit"): PluginSpec("judges", "audit", "audit"),
    (Stage.JUDGE, "accuracy"): PluginSpec("judges", "accuracy", "accuracy"),
    (Stage.BENCHMARK, "benchmark"): PluginSpec("benchmarks", "benchmark", "benchmark"),
    (Stage.BENCHMARK, SHORT): PluginSpec("benchmarks", SHORT, SHORT),
}


def silent(_: str) -> None:
    """Nobody is told."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One program, evaluated once."""

    name: str
    values: tuple[float, ...]
    """The median of each objective, in the target's order."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `check_target` found. Times are medians, None where nothing was timed."""

    target: Target
    sandbox: str
    findings: tuple[Finding, ...]
    noise: tuple[Noise, ...]
    beside: tuple[Measured, ...]
    """Seed, reference and baselines beside each other; empty without baselines."""
    judge_s: float | None
    benchmark_s: float | None

    @property
    def ready(self) -> bool:
        return not failures(self.findings)

    @property
    def conclusion(self) -> str:
        """One plain sentence."""
        wrong = failures(self.findings)
        if wrong:
            others = f" (and {', '.join(finding.name for finding in wrong[1:])})" if wrong[1:] else ""
            return f"not ready: {wrong[0].name}: {wrong[0].told}{others}"
        warnings = sum(finding.standing is Standing.WARN for finding in self.findings)
        return f"ready, with {warnings} warning{'s' if warnings > 1 else ''}" if warnings else "ready"


def check_target(
    target: Target,
    *,
    sandbox: str = "auto",
    repeats: int = REPEATS,
    seed: int = 0,
    told: Callable[[str], None] = silent,
) -> CheckReport:
    """Try a target out; ``repeats`` (1 or more) evaluations show its noise, ``seed`` stands for a run's.

    ``told`` hears what is about to be done. Raises TargetError or ConfigError where nothing can be tried at all.
    """
    with ExitStack() as stack:
        place = Path(tempfile.mkdtemp(prefix="raysearch-check-"))
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        folder = RunFolder(place / place.name)
        folder.path.mkdir()
        name = open_sandbox(sandbox, run=folder.identity).name
        parts = (target.reference, target.checker.folder, target.benchmark.folder, target.seed)
        before = fingerprint([part for part in parts if part is not None])
        taken = snapshot_target(target, folder.target)
        create(folder, taken)
        stack.callback(sweep_scratch, folder.identity)
        stack.callback(sweep, folder.identity)
        trial = Trial(folder, taken, name, seed, told)
        stack.callback(trial.close)
        findings = [*trial.accuracy(*_is_program(target)), *trial.measuring(repeats), *trial.comparing()]
        findings += trial.containment()
        touched = changes(before)
        if touched:
            findings.append(fail("files", f"the target itself was changed: {touched[0]}", "see what writes there"))
        return CheckReport(
            target=target,
            sandbox=name,
            findings=tuple(findings),
            noise=trial.noise,
            beside=tuple(trial.beside),
            judge_s=statistics.median(trial.judged_s) if trial.judged_s else None,
            benchmark_s=statistics.median(trial.measured_s) if trial.measured_s else None,
        )


def _is_program(target: Target) -> tuple[bool, str]:
    """Whether ``reference/`` is a program of the seed's interface, and why not.

    It is one if target.toml says so, or, where that says nothing, if it has all the seed's files by name.
    """
    said = read_target_file(target.root / "target.toml", []).check.reference
    if said is not None:
        return said, "target.toml says that it is no program"
    if target.seed is None:
        return False, "the target has no seed that it could be like"
    names = [path.relative_to(target.seed) for path in target.seed.rglob("*") if path.is_file()]
    like = bool(names) and all((target.reference / name).is_file() for name in names)
    return (
        like,
        "its files have other names than the seed's; if it is a program: [check] reference = true in target.toml",
    )


@dataclass(slots=True)
class Trial:
    """A run folder without a run: programs are committed, and evaluated by the workers of production."""

    folder: RunFolder
    target: Target
    sandbox: str
    seed: int
    told: Callable[[str], None]
    noise: tuple[Noise, ...] = ()
    beside: list[Measured] = field(default_factory=list)
    judged_s: list[float] = field(default_factory=list)
    measured_s: list[float] = field(default_factory=list)
    _repository: Repository = field(init=False)
    _workers: dict[int, Worker] = field(default_factory=dict)
    _good: dict[str, Commit] = field(default_factory=dict)
    """Programs that passed, the best to measure first."""

    def __post_init__(self) -> None:
        self._repository = Repository(self.folder.workspace)

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()

    def accuracy(self, reference_is_program: bool, why_not: str) -> Iterator[Finding]:
        """What must pass passes; what must not is refused, and for a reason."""
        if self.target.seed is not None:
            yield self._passes("seed", self._repository.commit_of("origin"))
        else:
            yield note("seed", "none: the search starts from an empty folder")
        if reference_is_program:
            yield self._passes("reference", self._committed(self.target.reference))
        else:
            yield note("reference", f"not tried: {why_not}")
        program = self.target.seed or (self.target.reference if reference_is_program else None)
        if program is None:
            empty = Broken("empty program", {}, True, "say no where there is no program")
            yield self._refused(empty, self._repository.commit_of("origin"))
            return
        if self._good:
            yield self._says_the_same(next(iter(self._good.values())))
        for ruin in broken(program, editable_files(program, self.target.editable)):
            with self._copied(program) as copy:
                apply(ruin, copy)
                commit = self._committed(copy)
            yield self._refused(ruin, commit)

    def measuring(self, repeats: int) -> Iterator[Finding]:
        """The benchmark answers; how far its answers differ, and which gains they can tell."""
        if not self._good:
            mend = "mend what is above first" if self.target.seed else "give the target a seed program"
            yield (fail if self.target.seed else warn)("benchmark", "not tried: no program passes the checker", mend)
            return
        evaluations: list[tuple[Measurement, ...]] = []
        for number in range(1, repeats + 1):
            self.told(f"measuring, {number} of {repeats}")
            answer = self._evaluate(Stage.BENCHMARK, "benchmark", next(iter(self._good.values())))
            wrong = self._unmeasured(answer)
            if wrong is not None:
                yield wrong
                return
            assert isinstance(answer.result, tuple)
            evaluations.append(answer.result)
            self.measured_s.append(answer.took_s)
        self.noise = tuple(noise_of(objective, evaluations) for objective in self.target.objectives)
        samples = ", ".join(f"{n.samples} of {n.objective.name}" for n in self.noise)
        took_s = statistics.median(self.measured_s)
        yield ok("benchmark", f"answers: {repeats} evaluation{_s(repeats)}; samples in each: {samples}", took_s)
        for noise in self.noise:
            yield _trusted(noise, repeats)
        if self.target.benchmark.short is not None:
            yield self._short(took_s)

    def _short(self, whole_s: float) -> Finding:
        """The short benchmark answers, and sooner than the whole."""
        answer = self._evaluate(Stage.BENCHMARK, SHORT, next(iter(self._good.values())))
        wrong = self._unmeasured(answer)
        if wrong is not None:
            return replace(wrong, name="short benchmark")
        if answer.took_s >= 0.75 * whole_s:
            told = f"{answer.took_s:.2g} s, and the whole takes {whole_s:.2g} s"
            return warn("short benchmark", told, "make it shorter, or leave `short` out of [benchmark] in target.toml")
        return ok("short benchmark", f"answers; the whole takes {whole_s:.2g} s", answer.took_s)

    def comparing(self) -> Iterator[Finding]:
        """Each baseline passes the gates; its measurements are seen beside the seed's and the reference's."""
        for baseline, commit in baselines.committed(self._repository, self.target).items():
            name = f"baseline {baseline}"
            said = self._evaluate(Stage.JUDGE, "audit", commit).result
            if isinstance(said, Verdict) and said.passed:
                yield self._passes(name, commit)
            else:
                why = said.feedback if isinstance(said, Verdict) else said
                yield fail(
                    name, f"the audit says no: {why}", "mend it, or allow the rule: [audit] allow in target.toml"
                )
        if not self.noise or not self.target.baselines:
            return
        for name, commit in self._good.items():
            self.told(f"measuring the {name}")
            answer = self._evaluate(Stage.BENCHMARK, "benchmark", commit)
            wrong = self._unmeasured(answer)
            if wrong is not None:
                yield replace(wrong, name=name)
                continue
            assert isinstance(answer.result, tuple)
            found = {measurement.name: measurement.value for measurement in answer.result}
            self.beside.append(Measured(name, tuple(found[o.name] for o in self.target.objectives)))

    def containment(self) -> Iterator[Finding]:
        """Nothing is left behind, and nothing gets out."""
        scratch = Path(tempfile.gettempdir()).glob(f"raysearch-{self.folder.identity}-*/*")
        # Workers keep the program that they evaluated last, and nothing else.
        left = [path.name for path in scratch if {part.name for part in path.iterdir()} != {PROGRAM}]
        self.close()  # evaluators that are kept warm belong to their workers
        running, until_s = strays(self.folder.identity), time.monotonic() + LEAVE_S
        while running and time.monotonic() < until_s:
            time.sleep(0.05)
            running = strays(self.folder.identity)
        if left or running:
            told = ", ".join([*left[:5], *(f"process {pid}" for pid in running[:5])])
            yield fail("left behind", told, "end every process and close every file before the result is written")
        else:
            yield ok("left behind", "nothing: no file, no process")
        self.told("trying to get out of the sandbox")
        commit = self._repository.commit_of("origin")
        sandbox = open_sandbox(self.sandbox, run=self.folder.identity)
        with checked_out(commit, self.folder.path, self.target, self._repository, sandbox, 0) as workspace:
            yield from probe(workspace)

    def _passes(self, name: str, commit: Commit) -> Finding:
        """Judge a program that must pass, under several hidden seeds."""
        took_s = []
        for number in range(HIDDEN_SEEDS):
            self.told(f"judging the {name}, {number + 1} of {HIDDEN_SEEDS}")
            answer = self._evaluate(Stage.JUDGE, "accuracy", commit, self.seed + number)
            took_s.append(answer.took_s)
            if isinstance(answer.result, Fault):
                return fail(name, f"the checker broke: {answer.result}", "mend the checker: a no is a result too")
            assert isinstance(answer.result, Verdict)
            if not answer.result.passed:
                but = f"though it passes with {number} other hidden seed{_s(number)}, " if number else ""
                mend = f"mend the checker, or {name if name.startswith('baseline ') else name + '/'}"
                return fail(name, f"{but}the checker says no: {answer.result.feedback}", mend)
        self.judged_s += took_s
        self._good[name] = commit
        return ok(name, f"passes, with {HIDDEN_SEEDS} hidden seeds", statistics.median(took_s))

    def _says_the_same(self, commit: Commit) -> Finding:
        self.told("judging once more")
        answers = [self._evaluate(Stage.JUDGE, "accuracy", commit).result for _ in range(2)]
        said = [(a.passed, a.feedback, a.cases) if isinstance(a, Verdict) else str(a) for a in answers]
        if said[0] == said[1]:
            return ok("verdicts", "the same program and seed get the same verdict")
        return warn("verdicts", "the same program and seed get two verdicts", "draw from --seed alone; leave out times")

    def _refused(self, ruin: Broken, commit: Commit) -> Finding:
        """Judge a program that must not pass."""
        self.told(f"judging: {ruin.name}")
        answer = self._evaluate(Stage.JUDGE, "accuracy", commit)
        match answer.result:
            case Verdict(passed=False, feedback=feedback) if self.target.seed and not self._good:
                return note(ruin.name, f"refused, which says nothing as long as the seed is too: {feedback}")
            case Verdict(passed=False, feedback=""):
                return warn(ruin.name, "refused, but no reason is given", "say why: the next attempt is told")
            case Verdict(passed=False, feedback=feedback):
                return ok(ruin.name, f"refused: {feedback}", answer.took_s)
            case Verdict():
                return (fail if ruin.sound else warn)(ruin.name, "passes", ruin.mend)
            case _:
                mend = "write passed = false where the program is to blame, and end with status 0"
                return fail(ruin.name, f"the checker broke instead of saying no: {answer.result}", mend)

    def _unmeasured(self, answer: Answer) -> Finding | None:
        if isinstance(answer.result, Verdict):
            told = f"it refuses a program that passes the checker: {answer.result.feedback}"
            return fail("benchmark", told, "mend the benchmark, or let the checker say no")
        if isinstance(answer.result, Fault):
            return fail("benchmark", f"it broke: {answer.result}", "mend the benchmark (docs/results-schema.md)")
        return None

    def _evaluate(self, stage: Stage, plugin: str, commit: Commit, seed: int | None = None) -> Answer:
        chosen = self.seed if seed is None else seed
        if chosen not in self._workers:
            spec = WorkerSpec(
                self.folder.identity,
                chosen,
                self.folder.workspace,
                self.target,
                PLUGINS,
                self.sandbox,
                leasing=tried_out(self.target),
            )
            self._workers[chosen] = Worker(spec)
        return self._workers[chosen].perform(Job(SEED, stage, plugin, commit, opened_at_s=time.time()))

    def _committed(self, program: Path) -> Commit:
        tree = self._repository.write_tree(program)
        return self._repository.commit(tree, (), "tried out", 0.0)

    @contextmanager
    def _copied(self, program: Path) -> Iterator[Path]:
        """A copy that may be changed."""
        with tempfile.TemporaryDirectory(dir=self.folder.path) as place:
            copy = Path(place) / "program"
            self._repository.checkout(self._committed(program), copy)
            yield copy


def _trusted(noise: Noise, repeats: int) -> Finding:
    """What the spread of one objective means for a run."""
    name, declared = f"noise of {noise.objective.name}", noise.objective.noise
    if repeats < 2:
        return note(name, "unknown: one evaluation says nothing of it", "leave out --repeats 1")
    if noise.same:
        return ok(name, f"none: {repeats} evaluations gave the same samples")
    if not noise.relative:
        return note(name, f"{noise.spread:.3g} {noise.objective.unit}, about a value of zero".replace("  ", " "))
    told = f"{percent(noise.spread)} from evaluation to evaluation, {percent(declared)} declared"
    if noise.understated:
        declare = ""
        if noise.spread < 0.5:
            declare = f"declare noise = {math.ceil(noise.spread * 1000) / 1000:g} in objectives.toml, or "
        return warn(name, told, f"{declare}measure more calmly, or for longer")
    if noise.spread > SPREAD_NOTABLE:
        return warn(name, told, "measure for longer, or count something steadier: most gains drown in this")
    return ok(name, told)


def percent(share: float) -> str:
    """``0.0123`` as ``1.2 %``."""
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _s(count: int) -> str:
    return "" if count == 1 else "s"
