"""Jobs on Ray: one actor a slot, each pinned to what its role needs. Only `raysearch.pools.served` imports Ray, too.

Ray's own restarts and retries are off (they would pay twice in silence): an actor that is lost, hung or killed
is replaced here, and its job is answered with a Fault that the engine may ask again. Never more calls than
slots are submitted, since Ray cannot cancel one that is queued.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, cast

os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # else `uv run` uploads the working folder
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_worker_niceness", "0")  # measurements must not give way to every other process
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # a worker without GPUs must not see them

import ray

from raysearch.errors import Fault, RunError, TimedOut, WorkerLost
from raysearch.jobs import Job
from raysearch.pools.roles import Role, preflight
from raysearch.protocols import Answer
from raysearch.types import Stage
from raysearch.worker import Worker, WorkerSpec

LOCAL = "local"
GRACE_S = 30.0
"""Beyond a job's own limit, which its worker enforces, before the worker itself counts as hung."""
HIRES_MAX = 3
"""So many workers of a role may fail to start in a row before the run is refused."""
STARVED_S = 60.0

log = logging.getLogger(__name__)


class Host:
    """The actor: a process with a worker for each job that it does at once."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._free: SimpleQueue[Worker] = SimpleQueue()
        self._free.put(Worker(spec))

    def hello(self) -> None:
        """Answers when the process is there."""

    def perform(self, job: Job) -> Answer:
        """The answer, without the job (the other side has it: a brief can be long)."""
        try:
            worker = self._free.get_nowait()
        except Empty:
            worker = Worker(self._spec)
        try:
            return replace(worker.perform(job), job=cast(Job, None))
        finally:
            self._free.put(worker)


@dataclass(slots=True)
class _Busy:
    job: Job
    actor: Any
    due_s: float


@dataclass(slots=True)
class _Crew:
    """The workers of one role."""

    role: Role
    idle: deque[Any] = field(default_factory=deque)
    """The actor of each free slot."""
    starting: dict[Any, tuple[Any, int]] = field(default_factory=dict)
    """Actor and its slots, by the reference of its greeting."""
    queue: deque[Job] = field(default_factory=deque)
    hired: int = 0
    failed_in_row: int = 0
    starved_since_s: float | None = None


@dataclass(slots=True)
class Connection:
    """To the Ray at ``address``; a private one has ``cpus`` at least. A context manager, which may be nested."""

    address: str
    cpus: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)
    _folder: Path | None = field(default=None, init=False)
    _opened: bool = field(default=False, init=False)

    def __enter__(self) -> Connection:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Connect, unless this process is connected already. Raises RunError."""
        if ray.is_initialized():  # an embedding program's own connection, or one around this: used, and left open
            return
        options: dict[str, Any] = {"namespace": "raysearch", "log_to_driver": False, "logging_level": logging.ERROR}
        if self.address == LOCAL:
            cores = os.cpu_count() or 1
            if self.cpus > cores:
                log.warning("the run asks for %g CPUs on a machine with %d: they are shared", self.cpus, cores)
            self._folder = Path(tempfile.mkdtemp(prefix="rs-"))  # short: socket paths end at 107 bytes
            options |= {
                "num_cpus": max(cores, -int(-self.cpus // 1)),
                "resources": dict(self.resources) or None,
                "include_dashboard": False,
                "object_store_memory": 100 * 2**20,
                "_temp_dir": str(self._folder),
            }
        try:
            ray.init(address=self.address, **options)
        except ray.exceptions.AuthenticationError as error:
            raise RunError(_locked_out(self.address)) from error
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise RunError(
                f"no Ray cluster at {self.address!r}: {str(error).splitlines()[0]} Start one with `ray start --head`,"
                " use --address local, or set RAY_AUTH_MODE to what it is there"
            ) from error
        self._opened = True

    def close(self) -> None:
        if self._opened:
            ray.shutdown()
            self._opened = False
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


@dataclass(slots=True)
class RayPool:
    """``address``: ``local`` starts a private Ray, anything else is the address of a running cluster.

    There is no default that joins whatever cluster is found. Raises ConfigError if the roles cannot be placed.
    """

    spec: WorkerSpec
    roles: Mapping[Stage, Role]
    address: str = LOCAL
    resources: Mapping[str, float] = field(default_factory=dict)
    """Custom resources of a private Ray."""
    _crews: dict[Stage, _Crew] = field(init=False)
    _busy: dict[Any, _Busy] = field(default_factory=dict, init=False)
    _answers: deque[Answer] = field(default_factory=deque, init=False)
    _connection: Connection = field(init=False)

    def __post_init__(self) -> None:
        wanted = sum(role.slots * role.cpus for role in self.roles.values())
        self._connection = Connection(self.address, wanted, self.resources)
        self._crews = {stage: _Crew(role) for stage, role in self.roles.items()}
        try:
            self._connection.open()
            preflight(self.roles, nodes())
            for stage in self._crews:  # the others when there is work for them: the first answer comes sooner
                self._hire(stage)
        except BaseException:
            self.close()
            raise

    def _hire(self, stage: Stage) -> None:
        crew = self._crews[stage]
        crew.hired += 1
        role = crew.role
        slots = min(role.threads, role.slots - self._present(stage))
        actor: Any = (
            ray.remote(Host)
            .options(
                name=f"{self.spec.run}-{stage}-{crew.hired}-{os.getpid()}",
                num_cpus=role.cpus * slots,
                num_gpus=role.gpus * slots or None,
                memory=role.memory_mb * 10**6 * slots or None,
                resources={name: amount * slots for name, amount in role.resources.items()} or None,
                max_concurrency=slots,
                max_restarts=0,
                max_task_retries=0,
            )
            .remote(self.spec)
        )
        crew.starting[actor.hello.remote()] = actor, slots

    def submit(self, job: Job) -> None:
        self._crews[job.stage].queue.append(job)
        self._assign(job.stage)

    def _assign(self, stage: Stage) -> None:
        crew = self._crews[stage]
        while crew.queue and crew.idle:
            actor, job = crew.idle.popleft(), crew.queue.popleft()
            allowed_s = job.timeout_s + self.spec.leasing.patience_s(job) + GRACE_S
            self._busy[actor.perform.remote(job)] = _Busy(job, actor, time.monotonic() + allowed_s)
        self._staff(stage)

    def _staff(self, stage: Stage) -> None:
        """Hire for jobs that wait, as far as the role has slots."""
        crew = self._crews[stage]
        coming = sum(slots for _, slots in crew.starting.values())
        while self._present(stage) < crew.role.slots and coming < len(crew.queue):
            self._hire(stage)
            coming += crew.role.threads

    def _present(self, stage: Stage) -> int:
        """Slots that are there, or on their way."""
        crew = self._crews[stage]
        busy = sum(busy.job.stage is stage for busy in self._busy.values())
        return len(crew.idle) + busy + sum(slots for _, slots in crew.starting.values())

    def next(self, timeout_s: float) -> Answer | None:
        """The next answer, or None after ``timeout_s``. Raises RunError if a role's workers cannot start."""
        until_s = time.monotonic() + timeout_s
        while True:
            if self._answers:
                return self._answers.popleft()
            self._expire()
            waited = list(self._busy) + [ref for crew in self._crews.values() for ref in crew.starting]
            left_s = until_s - time.monotonic()
            if not self._answers and (not waited or left_s <= 0):
                return None
            ready, _ = ray.wait(waited, num_returns=1, timeout=max(0.0, min(left_s, 0.5)), fetch_local=False)
            for ref in ready:
                if ref in self._busy:
                    self._finish(ref)
                else:
                    self._greet(ref)

    def _greet(self, ref: Any) -> None:
        stage = next(stage for stage, crew in self._crews.items() if ref in crew.starting)
        crew = self._crews[stage]
        actor, slots = crew.starting.pop(ref)
        try:
            ray.get(ref)
        except ray.exceptions.RayError as error:
            crew.failed_in_row += 1
            if crew.failed_in_row >= HIRES_MAX:
                raise RunError(f"workers for the role {stage} do not start: {reason(error)}") from error
            self._staff(stage)
            return
        crew.failed_in_row, crew.starved_since_s = 0, None
        crew.idle.extend([actor] * slots)
        self._assign(stage)

    def _finish(self, ref: Any) -> None:
        busy = self._busy[ref]
        try:
            answer: Answer = ray.get(ref)
        except ray.exceptions.RayTaskError as error:  # the worker lives, but could not even say what went wrong
            answer = Answer(busy.job, Fault(reason(error)))
        except ray.exceptions.RayError as error:
            self._replace(ref, WorkerLost(reason(error)))
            return
        del self._busy[ref]
        gpus = self._crews[busy.job.stage].role.gpus
        self._answers.append(
            replace(answer, job=busy.job, gpu_s=round(answer.took_s * gpus, 3) if gpus else answer.gpu_s)
        )
        self._crews[busy.job.stage].idle.append(busy.actor)
        self._assign(busy.job.stage)

    def _replace(self, ref: Any, fault: WorkerLost | TimedOut) -> None:
        busy = self._busy.pop(ref)
        ray.kill(busy.actor)  # what else it was doing is lost too, and answered when Ray says so
        crew = self._crews[busy.job.stage]
        crew.idle = deque(actor for actor in crew.idle if actor != busy.actor)
        self._answers.append(Answer(busy.job, fault))
        self._staff(busy.job.stage)

    def _expire(self) -> None:
        now_s = time.monotonic()
        for ref, busy in list(self._busy.items()):
            if now_s >= busy.due_s:
                self._replace(ref, TimedOut(f"no answer in {busy.job.timeout_s:g} s and a grace of {GRACE_S:g} s"))
        for stage, crew in self._crews.items():
            if not crew.queue or crew.idle or any(busy.job.stage is stage for busy in self._busy.values()):
                crew.starved_since_s = None
            elif crew.starved_since_s is None:
                crew.starved_since_s = now_s
            elif now_s - crew.starved_since_s > STARVED_S:
                log.warning("%s: still waiting for a worker with %s", stage, crew.role.demand())
                crew.starved_since_s = now_s

    def close(self) -> None:
        """Kill every worker; their guards end what they had started."""
        actors = [busy.actor for busy in self._busy.values()]
        for crew in self._crews.values():
            actors += [*crew.idle, *(actor for actor, _ in crew.starting.values())]
            crew.idle.clear()
            crew.starting.clear()
        self._busy.clear()
        if ray.is_initialized():
            for actor in actors:
                ray.kill(actor)
        self._connection.close()


def survey(address: str) -> list[Mapping[str, float]]:
    """Total resources of each node of the cluster at ``address``, which is let go again; ``local`` starts one.

    Raises RunError if there is none.
    """
    pool = RayPool(cast(WorkerSpec, None), {}, address)  # without roles nobody is hired
    try:
        return nodes()
    finally:
        pool.close()


def job_output(address: str, entrypoint: str, timeout_s: float) -> str:
    """What a command prints that runs to its end as a job on the cluster whose job server is at ``address``.

    Raises RunError if it cannot be run there, or fails.
    """
    from ray.job_submission import JobStatus, JobSubmissionClient

    try:
        client = JobSubmissionClient(address)
        job = client.submit_job(entrypoint=entrypoint)
        end_s = time.monotonic() + timeout_s
        while not (status := client.get_job_status(job)).is_terminal():
            if time.monotonic() > end_s:
                client.stop_job(job)
                raise RunError(f"the job {job} at {address} took more than {timeout_s:g} s")
            time.sleep(0.5)
        output: str = client.get_job_logs(job)
    except ImportError as error:
        raise RunError(f"{error}. Talking to a job server needs `pip install 'raysearch[cluster]'`") from error
    except ray.exceptions.AuthenticationError as error:
        raise RunError(_locked_out(address)) from error
    except (OSError, RuntimeError, ValueError) as error:
        raise RunError(f"no Ray job server at {address!r}: {str(error).splitlines()[0]}") from error
    if status is not JobStatus.SUCCEEDED:
        said = [line for line in output.splitlines() if line.strip()]
        raise RunError(f"the job {job} at {address} failed: {said[-1] if said else 'it printed nothing'}")
    return output


def _locked_out(address: str) -> str:
    return (
        f"the Ray cluster at {address} wants a token that was not sent, or refuses the one that was: set RAY_AUTH_MODE"
        " to the same value (token or disabled) where the cluster, `ray job submit` and raysearch are started"
    )


def nodes() -> list[Mapping[str, float]]:
    """Total resources of each node of the cluster that this process is connected to."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call] # Ray's


def reason(error: Exception) -> str:
    """The telling line of one of Ray's long messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    own = [line for line in lines if line.startswith("raysearch.errors.")]
    return f"{type(error).__name__}: {(own or lines or [''])[-1 if own else 0]}"[:500]
