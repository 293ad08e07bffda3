"""Programs of a run, judged and measured anew on this machine: as a run would, and without touching the run."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from raysearch.config.layers import configure
from raysearch.config.targets import load_target
from raysearch.errors import EvaluatorFault, Fault, RunError
from raysearch.facts import RunStarted
from raysearch.jobs import CONFIRMATION, Job
from raysearch.plugins import known_names
from raysearch.process import sweep
from raysearch.repository import Repository
from raysearch.run.folder import RunFolder, sweep_scratch
from raysearch.run.start import resolve
from raysearch.sandbox import open_sandbox
from raysearch.target import Target
from raysearch.types import AttemptId, Challenge, Commit, Contest, Stage, Verdict
from raysearch.worker import Worker, WorkerSpec

ACCURACY = "accuracy"
LEVEL = 1e-4
"""Chance that an equal program is called better in one comparison; small, so that intervals have pairs to stand on."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured: of each comparison as many pairs as settle it, up to these."""

    pairs_max: int = 60
    time_s: float = 120.0
    level: float = LEVEL
    sandbox: str = ""
    """Where programs run; empty: as in the run, unless that had none."""


@dataclass(slots=True)
class Remeasured:
    """Where programs are measured. Commits of the run are known here; new ones stay here."""

    repository: Repository
    target: Target
    seed: int
    """Of the inputs: drawn for this occasion, so that no program has been chosen for them."""
    extent: Extent
    told: Callable[[str], None]
    sandbox: str
    """Back-end that is in use."""
    _worker: Worker
    _retries_max: int
    _jobs: int = field(default=0, init=False)

    def refused(self, commit: Commit) -> str:
        """Why the target's accuracy checker says no; empty if it says yes. Raises Fault."""
        result = self._done(Job(self._number(), Stage.JUDGE, ACCURACY, commit, opened_at_s=time.time()))
        if not isinstance(result, Verdict):
            raise EvaluatorFault(f"the checker answered {type(result).__name__}")
        return "" if result.passed else result.feedback or "it gives no reason"

    def contest(self, own: Commit, rival: Commit) -> Contest:
        """Both measured in turns by all the run's benchmarks, ``own`` being the challenger. Raises Fault."""
        extent = self.extent
        challenge = Challenge(AttemptId(0), rival, extent.level, extent.pairs_max, extent.time_s)
        job = Job(self._number(), Stage.BENCHMARK, CONFIRMATION, own, opened_at_s=time.time(), challenge=challenge)
        result = self._done(job)
        if isinstance(result, Verdict):
            raise EvaluatorFault(f"it cannot be measured: {result.feedback}")
        if not isinstance(result, Contest):
            raise EvaluatorFault(f"the contest ended with {type(result).__name__}")
        return result

    def _done(self, job: Job) -> object:
        for number in range(self._retries_max + 1):
            result = self._worker.perform(replace(job, try_number=number)).result
            if not isinstance(result, Fault):
                return result
            if not result.retryable or number == self._retries_max:
                raise result
            self.told(f"again: {result}")
        raise AssertionError("unreachable")

    def _number(self) -> AttemptId:
        """Another one for each job: it decides the coins of a contest."""
        self._jobs += 1
        return AttemptId(self._jobs)


@contextmanager
def remeasured(
    folder: RunFolder, start: RunStarted, seed: int, extent: Extent, told: Callable[[str], None] = lambda _: None
) -> Iterator[Remeasured]:
    """A place to measure programs of the run in ``folder``, which began with ``start``.

    The run is only read; its driver may be at work meanwhile. Raises UserError where nothing can be measured here.
    """
    if not folder.config.is_file():
        raise RunError("the run folder has no run.toml, which says how the run measures")
    target = load_target(folder.target)
    if target.digest != start.target_digest:
        raise RunError("the target in the run folder is not the one that the run began with: it was changed")
    search = resolve(configure(folder.config, [], known=known_names()), target)
    sandbox = extent.sandbox or search.sandbox
    if sandbox == "none" and not extent.sandbox:
        raise RunError("the run had no sandbox; if you trust its programs, say --sandbox none")
    with ExitStack() as stack:
        place = Path(tempfile.mkdtemp(prefix="raysearch-measure-"))
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        own = RunFolder(place / place.name)
        own.path.mkdir()
        repository = _borrowing(folder, own)
        repository.name("origin", start.origin)
        stack.callback(sweep_scratch, own.identity)
        stack.callback(sweep, own.identity)
        wanted = {key: spec for key, spec in search.plugins.items() if key[0] is Stage.BENCHMARK or key[1] == ACCURACY}
        spec = WorkerSpec(
            own.identity,
            seed,
            own.workspace,
            target,
            {key: spec for key, spec in wanted.items() if key[0] is not Stage.MUTATE},
            open_sandbox(sandbox, run=own.identity).name,
            leasing=replace(search.leasing, slots=1, crowded=False, cpus=()),
        )
        if search.confirmation is not None:
            spec = replace(spec, min_effect=search.confirmation.min_effect)
        worker = Worker(spec)
        stack.callback(worker.close)
        yield Remeasured(repository, target, seed, extent, told, spec.sandbox, worker, search.retries_max)


def _borrowing(folder: RunFolder, own: RunFolder) -> Repository:
    """A repository that has the run's objects without copying them, and keeps its own to itself."""
    Repository.create(own.workspace)
    info = own.workspace / ".git" / "objects" / "info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "alternates").write_text(f"{folder.workspace.resolve() / '.git' / 'objects'}\n", errors="surrogateescape")
    return Repository(own.workspace)
