"""What a worker does with a job: the same code under every pool."""

from __future__ import annotations

import logging
import math
import os
import random
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar, assert_never, cast

from raysearch.config.integrity import Fingerprint, fingerprint, unchanged
from raysearch.consultation import Reply
from raysearch.contest import contest
from raysearch.devices import Leasing, Measuring, Session
from raysearch.errors import (
    EvaluatorFault,
    Fault,
    MutatorFault,
    Refused,
    SandboxFault,
    Unevaluated,
    Void,
    boundary,
)
from raysearch.filing import desk_of, filed, laid_out
from raysearch.jobs import SHORT, Job, Result
from raysearch.plugins import PluginSpec
from raysearch.protocols import Answer, Benchmark, Consultant, Judge, Mutator
from raysearch.repository import Repository, TooLarge, Unfit
from raysearch.sandbox import Held, Sandbox, open_sandbox, warmed
from raysearch.seeds import number, stream
from raysearch.target import Target, may_change
from raysearch.types import SEED, Challenge, Change, Commit, Contest, Measurement, Mutation, Stage, Verdict
from raysearch.workspace import Checkout, LastEvaluated, checked_out

log = logging.getLogger(__name__)

TRUST = 10


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """Everything that a worker needs to know, as data that can be sent to another process."""

    run: str
    seed: int
    repository: Path
    target: Target
    plugins: Mapping[tuple[Stage, str], PluginSpec]
    sandbox: str
    """Back-end that was chosen at the start: ``bubblewrap``, ``landlock`` or ``none``."""
    artifacts: Path | None = None
    """Where what jobs leave (transcripts, profiles) is kept; nowhere if None."""
    min_effect: float = 0.02
    """Smallest gain worth claiming, as a share of the value, where two programs are measured in turns."""
    consultants: Mapping[str, PluginSpec] = field(default_factory=dict)
    """By role."""
    leasing: Leasing = Leasing()
    """Devices that measurements have to themselves."""


@dataclass(slots=True)
class Worker:
    """Performs jobs one at a time. Plug-ins are built at their first job and live as long as the worker."""

    spec: WorkerSpec
    name: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    _plugins: dict[tuple[Stage, str], object] = field(default_factory=dict, init=False)
    _consultants: dict[str, object] = field(default_factory=dict, init=False)
    _stack: ExitStack = field(default_factory=ExitStack, init=False)
    _repository: Repository = field(init=False)
    _folder: Path = field(init=False)
    _sandbox: Sandbox = field(init=False)
    _evaluations: Sandbox = field(init=False)
    """Where judges and benchmarks run their commands."""
    _measuring: Measuring = field(init=False)

    _last: LastEvaluated = field(default_factory=LastEvaluated, init=False)
    _fingerprint: Fingerprint = field(init=False)
    _trust: dict[tuple[Stage, str], int] = field(default_factory=dict, init=False)
    """How often an evaluator may still break before it must prove on the seed that it works."""

    def __post_init__(self) -> None:
        self._sandbox = open_sandbox(self.spec.sandbox, run=self.spec.run)
        self._fingerprint = fingerprint([self.spec.target.root])
        self._repository = Repository(self.spec.repository)
        self._folder = Path(tempfile.mkdtemp(prefix=f"raysearch-{self.spec.run}-{os.getpid()}-"))
        self._stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
        self._evaluations = self._warmed()
        self._measuring = Measuring(self.spec.leasing, self.spec.run)

    def perform(self, job: Job) -> Answer:
        """Do a job; whatever a plug-in does wrong becomes a Fault in the answer."""
        began = time.monotonic()
        result: Result | Fault
        try:
            with boundary(MutatorFault if job.stage is Stage.MUTATE else EvaluatorFault, f"{job.stage} {job.plugin!r}"):
                laid_out(job, self._folder)
                result = self._result(job)
        except Refused as no:
            result = Verdict(False, str(no)) if job.consultation is None else Reply(str(no))
        except Unevaluated as fault:
            result = self._attributed(job, fault)
        except Fault as fault:
            result = fault
        result, filings = filed(job, result, self._folder)
        return Answer(job, result, self.name, round(time.monotonic() - began, 4), filings=filings)

    def close(self) -> None:
        """Leave the plug-ins' contexts and remove the worker's folder."""
        self._stack.close()
        self._plugins.clear()

    def _attributed(self, job: Job, fault: Unevaluated) -> Fault | Verdict:
        """Whose doing it was: the program's where the evaluator is known to work, the evaluator's otherwise."""
        key = (job.stage, job.plugin)
        trust = self._trust.get(key, 0)
        if job.attempt == SEED or job.consultation is not None:
            return fault
        if trust == 0:
            if self.spec.target.seed is None:
                return fault
            seed = replace(job, attempt=SEED, base=self._repository.commit_of("origin"), board=None)
            try:
                with boundary(EvaluatorFault, f"{job.stage} {job.plugin!r}"):
                    self._result(seed)
            except Refused:
                pass
            except Void as void:  # it was not found out
                return void
            except Fault as same:
                log.warning("%s breaks on the seed program too: %s", job.plugin, same)
                return fault
            trust = TRUST
        self._trust[key] = trust - 1
        return Verdict(False, f"{fault}\nIt works on other programs: this one is why.")

    def _result(self, job: Job) -> Result:
        """Do it. Raises Fault and Refused."""
        result = self._done(job)
        self._trust[job.stage, job.plugin] = TRUST
        return result

    def _done(self, job: Job) -> Result:
        rng = stream(self.spec.seed, job.stage, job.plugin, job.attempt, job.try_number)
        sandbox = self._sandbox if job.stage is Stage.MUTATE else self._evaluations
        if not self.spec.leasing.measures(job):
            with self._measuring.aside() as hold:
                if job.challenge is not None:
                    return self._contested(job, job.challenge, rng, Held(sandbox, hold))
                return self._performed(job, rng, Held(sandbox, hold))
        if job.challenge is not None:
            # One lease: both are measured on the same devices.
            with self._measuring.session(patience_s=self.spec.leasing.quiet_s) as session:
                return self._contested(job, job.challenge, rng, Held(sandbox, session.lease.hold), session)

        def once(session: Session) -> Result:
            return self._performed(job, rng, Held(sandbox, session.lease.hold), session)

        return self._measuring.measured(once, again=job.try_number > 0)

    def _performed(self, job: Job, rng: random.Random, sandbox: Sandbox, session: Session | None = None) -> Result:
        """Let a plug-in do it, in a workspace of its own."""
        if job.consultation is not None:
            return self._consulted(job, job.consultation, rng, sandbox)
        plugin = self._plugin(job.stage, job.plugin)
        asks_as = getattr(plugin, "seed_of", job.plugin)  # a judge may ask what another evaluator asked
        secret = 0 if job.stage is Stage.MUTATE else number(self.spec.seed, "evaluation", asks_as)
        target = self.spec.target
        kept = None
        if self.spec.artifacts is not None:
            kept = self.spec.artifacts / str(job.attempt) / f"{job.stage}-{job.plugin}-{job.try_number + 1}"
        evaluating = job.stage is not Stage.MUTATE
        with checked_out(
            job.base,
            self._folder,
            target,
            self._repository,
            sandbox,
            secret,
            kept,
            job.allowance,
            job.parents,
            evaluating,
            self._last if evaluating and self._sandbox.name != "none" else None,
            desk_of(job, self._folder),
        ) as workspace:
            match job.stage:
                case Stage.MUTATE:
                    mutation = cast(Mutator, plugin).mutate(workspace, job.brief, rng)
                    return self._committed(job, workspace, _checked_mutation(mutation))
                case Stage.JUDGE:
                    judge = cast(Judge, plugin)
                    with self._guarded(workspace):
                        verdict, told = _watched(session, lambda: judge.judge(workspace, job.brief, rng))
                    verdict = _checked_verdict(verdict)
                    return replace(verdict, conditions={**verdict.conditions, **told}) if told else verdict
                case Stage.BENCHMARK:
                    return self._measured(cast(Benchmark, plugin), workspace, rng, session)
                case _:
                    assert_never(job.stage)

    def _measured(
        self, plugin: Benchmark, workspace: Checkout, rng: random.Random, session: Session | None
    ) -> tuple[Measurement, ...]:
        """What a benchmark says, and on which devices it was said."""
        with self._guarded(workspace):
            measurements, told = _watched(session, lambda: plugin.measure(workspace, rng))
        found = checked_measurements(measurements, self.spec.target)
        return tuple(replace(m, conditions={**m.conditions, **told}) for m in found) if told else found

    def _consulted(self, job: Job, consultation: int, rng: random.Random, sandbox: Sandbox) -> Reply:
        """Let whoever has the role look at the program and answer. Raises Fault and Refused."""
        role = job.plugin
        if role not in self._consultants:
            self._consultants[role] = self._entered(self.spec.consultants[role])
        rng = stream(self.spec.seed, "consultation", role, consultation, job.try_number)
        kept = None
        if self.spec.artifacts is not None:
            kept = self.spec.artifacts.parent / "consultations" / f"{consultation}-{role}-{job.try_number + 1}"
        secret = number(self.spec.seed, "consultation", consultation)  # no judge and no benchmark draws the same inputs
        place = (self._folder, self.spec.target, self._repository, sandbox, secret, kept, job.allowance, job.parents)
        desk = desk_of(job, self._folder)
        with checked_out(job.base, *place, desk=desk) as workspace, self._guarded(workspace):
            reply = cast(Consultant, self._consultants[role]).consult(workspace, job.brief, rng)
        if not isinstance(reply, Reply):
            raise EvaluatorFault(f"consult() must return raysearch.Reply, not {type(reply).__name__}")
        return reply

    def _contested(
        self, job: Job, challenge: Challenge, rng: random.Random, sandbox: Sandbox, session: Session | None = None
    ) -> Contest:
        """Measure two programs in turns until it is settled which is better."""

        def turn(commit: Commit, refusals: tuple[type[Exception], ...]) -> tuple[Measurement, ...]:
            def anew() -> tuple[Measurement, ...]:
                return self._measured_anew(commit, rng, sandbox, session)

            try:
                return anew() if session is None else session.persist(anew)
            except refusals as fault:  # it was measured before: no word about the programs
                raise Void(f"commit {commit[:10]}, which was measured before, is not now: {fault}") from fault

        return contest(
            challenge,
            self.spec.target.objectives,
            self.spec.min_effect,
            own=lambda: turn(job.base, (Unevaluated,)),
            rival=lambda: turn(challenge.commit, (Unevaluated, Refused)),
            rng=rng,
            clock=lambda: time.monotonic() - (session.lost_s if session else 0.0),
        )

    def _measured_anew(
        self, commit: Commit, rng: random.Random, sandbox: Sandbox, session: Session | None
    ) -> tuple[Measurement, ...]:
        """One run of every benchmark, each in a workspace of its own: nothing passes from one run to the next."""
        found: list[Measurement] = []
        for stage, name in self.spec.plugins:
            if stage is Stage.BENCHMARK and name != SHORT:
                plugin = cast(Benchmark, self._plugin(stage, name))
                place = (self._folder, self.spec.target, self._repository, sandbox)
                secret = number(self.spec.seed, "evaluation", name)
                with checked_out(commit, *place, secret) as workspace:
                    found += self._measured(plugin, workspace, rng, session)
        return tuple(found)

    def _warmed(self) -> Sandbox:
        """The sandbox, with what the target names imported beforehand, where that is as safe."""
        target = self.spec.target
        if not target.warm:
            return self._sandbox
        try:
            warm = warmed(self._sandbox, target.warm, readable=[target.root], writable=[self._folder])
        except SandboxFault as reason:
            log.warning("evaluators are not kept warm: %s", reason)
            return self._sandbox
        return self._stack.enter_context(warm)

    def _plugin(self, stage: Stage, name: str) -> object:
        """Built at its first use; one that is a context manager is entered here, on the device it runs on."""
        if (stage, name) not in self._plugins:
            self._plugins[stage, name] = self._entered(self.spec.plugins[stage, name])
        return self._plugins[stage, name]

    def _entered(self, spec: PluginSpec) -> object:
        plugin = spec.load()
        return self._stack.enter_context(plugin) if isinstance(plugin, AbstractContextManager) else plugin

    def _committed(self, job: Job, workspace: Checkout, mutation: Mutation) -> Change:
        """Commit what the mutator left, and say whether it kept to what it may change."""
        base = self._repository.tree_of(job.base)
        target, refusal = self.spec.target, ""
        try:
            tree = self._repository.write_tree(workspace.path, int(target.program_mb_max * 1e6))
        except (TooLarge, Unfit) as error:
            tree, refusal = base, f"{error}; the largest program accepted is {target.program_mb_max:g} MB"
        origin = self._repository.tree_of(job.parents[0])
        outside = [p for p in self._repository.changed(origin, tree) if not may_change(p, target.editable)]
        if outside:
            shown = ", ".join(map(str, outside[:5])) + (", ..." if len(outside) > 5 else "")
            refusal = f"changed {shown}; only {', '.join(target.editable)} may change"
        message = f"attempt {job.attempt}: {mutation.summary or job.plugin}\n\nmutator: {job.plugin}\n"
        if job.lineage:
            message += f"lineage: {job.lineage}\n"
        commit = self._repository.commit(tree, job.parents, message, job.opened_at_s)
        return Change(commit, tree, mutation, refusal)

    @contextmanager
    def _guarded(self, workspace: Checkout) -> Iterator[None]:
        """Checker, benchmark, reference and program must be the same after an evaluation as before it."""
        tampered = unchanged(self._fingerprint)
        if tampered:
            raise EvaluatorFault(f"the target's own files changed during the run: {tampered}")
        tree = self._repository.tree_of(workspace.commit)
        yield
        changed = unchanged(self._fingerprint)
        if changed:
            raise Refused(f"evaluating it changed {changed}, which is not the program's to change")
        if not self._repository.holds(workspace.path, tree):
            raise Refused("the program changed its own files while it was evaluated")


T = TypeVar("T")


def _watched(session: Session | None, measure: Callable[[], T]) -> tuple[T, Mapping[str, str]]:
    """The answer, and the conditions under which it was given where devices are leased for it."""
    return (measure(), {}) if session is None else session.run(measure)


def _checked_mutation(mutation: object) -> Mutation:
    if not isinstance(mutation, Mutation):
        raise MutatorFault(f"mutate() must return raysearch.Mutation, not {type(mutation).__name__}")
    if not math.isfinite(mutation.usage.cost_usd) or mutation.usage.cost_usd < 0:
        raise MutatorFault(f"usage.cost_usd must be a number from 0, not {mutation.usage.cost_usd}")
    return mutation


def _checked_verdict(verdict: object) -> Verdict:
    if not isinstance(verdict, Verdict):
        raise EvaluatorFault(f"judge() must return raysearch.Verdict, not {type(verdict).__name__}")
    return verdict


def checked_measurements(measurements: object, target: Target) -> tuple[Measurement, ...]:
    """Only finite samples in the declared units and directions are a score."""
    found: tuple[object, ...] = tuple(measurements) if isinstance(measurements, Sequence) else (measurements,)
    declared = {o.name: o for o in target.objectives}
    for m in found:
        if not isinstance(m, Measurement):
            raise EvaluatorFault(f"measure() must return raysearch.Measurement objects, not {type(m).__name__}")
        if not m.samples or not all(map(math.isfinite, m.samples)):
            raise EvaluatorFault(f"metric {m.name!r} needs finite samples; got {m.samples!r:.200}")
        objective = declared.get(m.name)
        other_unit = objective is not None and objective.unit not in {"", m.unit}
        if objective is not None and (m.goal != objective.goal or other_unit):
            raise EvaluatorFault(
                f"metric {m.name!r} came as {m.goal} in {m.unit!r}; declared is {objective.goal} in {objective.unit!r}"
            )
    return cast(tuple[Measurement, ...], found)
