"""The verbs: what a plug-in must do, and nothing else."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from raysearch.board.board import Board
from raysearch.board.types import Filing
from raysearch.consultation import Consultation, Reply
from raysearch.errors import Fault
from raysearch.facts import Entry, Fact
from raysearch.jobs import Job, Result
from raysearch.profile import Profile
from raysearch.steering import Command, Receipt
from raysearch.target import Target
from raysearch.types import (
    Allowance,
    AttemptId,
    Brief,
    Candidate,
    CandidateId,
    Commit,
    Limits,
    Measurement,
    Mutation,
    Objective,
    Outcome,
    Plan,
    Proposal,
    Verdict,
)

if TYPE_CHECKING:  # what runs in a sandbox imports from the standard library alone
    from raysearch.board.desk import Desk


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ran to its end, or was ended."""

    status: int
    """Exit status; negative: minus the signal that ended it."""
    stdout: str
    stderr: str
    took_s: float
    ended_by: str = ""
    """Empty, or which limit ended it: ``time``, ``memory``, ``output``, ``processes``, ``cpu``, ``files``; or
    ``cancelled``."""
    leftovers: tuple[str, ...] = ()
    """Names of processes that it left running, and that were ended with it."""


@dataclass(frozen=True, slots=True)
class Relay:
    """A way out of the sandbox that leads to one server only.

    Inside, ``http://127.0.0.1:port`` answers for ``upstream`` (scheme, host, port and base path). ``headers`` are set
    on every request on the way, outside the sandbox, so that no key is ever inside; what came in their place is
    removed.
    """

    port: int
    upstream: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Guest:
    """A coding agent's own program, as it is started in the sandbox."""

    command: tuple[str, ...]
    """Words may hold ``{candidate}``, ``{target}``, ``{reference}``, ``{scratch}`` and ``{home}``."""
    home: Path
    """A folder of this machine, writable inside, that becomes its HOME (``{home}``)."""
    stdin: bytes = b""
    env: Mapping[str, str] = field(default_factory=dict)
    readable: tuple[Path, ...] = ()
    """Installed programs and files of this machine, visible inside under the same paths."""
    relays: tuple[Relay, ...] = ()
    writable: bool = True
    """Whether it may change the program's files."""
    memory_mb: int = 8192
    processes: int = 512
    output_kb: int = 16_384


class Workspace(Protocol):
    """A program's files, checked out for one job."""

    @property
    def path(self) -> Path:
        """The folder that holds the program; a mutator edits it in place."""
        ...

    @property
    def target(self) -> Target:
        """The target; its paths are valid on this machine and must only be read."""
        ...

    @property
    def commit(self) -> Commit:
        """The commit that was checked out."""
        ...

    @property
    def parents(self) -> Sequence[Commit]:
        """What a judge's or benchmark's program was made from, and what a mutator makes its own from."""
        ...

    @property
    def scratch(self) -> Path:
        """A private empty folder beside the program, gone after the job."""
        ...

    @property
    def evaluation_seed(self) -> int:
        """The run's hidden seed for inputs: the same for every candidate of the run. Mutators see 0."""
        ...

    @property
    def artifacts(self) -> Path:
        """A folder for this job alone; what is written there (transcripts, profiles) is kept with the run."""
        ...

    @property
    def allowance(self) -> Allowance:
        """What this job may spend on models."""
        ...

    @property
    def desk(self) -> Desk | None:
        """Where whoever does this job reads the board of issues and files; None where there is none for it."""
        ...

    def show(self, commit: Commit, path: str) -> str:
        """Text of ``path`` in another commit of the run. Raises FileNotFoundError."""
        ...

    def diff(self, old: Commit, new: Commit) -> str:
        """Unified diff between two commits of the run."""
        ...

    def changed(self, old: Commit, new: Commit) -> Sequence[str]:
        """Paths that differ between two commits of the run, sorted."""
        ...

    def merge_base(self, one: Commit, other: Commit) -> Commit | None:
        """The latest common ancestor of two commits of the run (one of them, if there are several)."""
        ...

    def restore(self, commit: Commit, path: str) -> None:
        """Make ``path`` of this program what it is in another commit of the run: the same file or link, or none."""
        ...

    def run(
        self,
        command: Sequence[str],
        *,
        timeout_s: float,
        cwd: str = "{candidate}",
        writable: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run ``command`` in the sandbox.

        Inside, the program is read-only unless ``writable``, the target's folders are read-only, ``scratch`` is
        writable. In command words ``{candidate}``, ``{reference}``, ``{target}`` and ``{scratch}`` become the paths
        as seen inside; ``cwd`` is a folder at or below one of them. A first word ``python`` is the interpreter
        that raysearch runs under.
        Raises SandboxFault if the sandbox cannot be set up.
        """
        ...

    def host(self, guest: Guest, *, timeout_s: float, cancel: threading.Event | None = None) -> Completed:
        """Run an agent's own program in a sandbox in which it may edit the program at ``{candidate}``.

        It sees the target's public parts, its own ``home``, and of the network only the guest's relays. Everything
        that it started is gone when this returns. Raises SandboxFault if the sandbox cannot be set up.
        """
        ...


class Mutator(Protocol):
    """Edits the files of ``workspace.path``; the kernel commits what it finds there."""

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation: ...


class Judge(Protocol):
    """Says yes or no with reasons. Raises nothing for a bad program: that is a no."""

    def judge(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Verdict: ...


class Benchmark(Protocol):
    """Measures: at least one finite sample for every objective of the target.

    Raises `raysearch.errors.Refused` where the program itself is why there is no measurement.
    """

    def measure(self, workspace: Workspace, rng: random.Random) -> Sequence[Measurement]: ...


class Consultant(Protocol):
    """Answers a policy's questions in one role. It looks at the program of ``workspace`` and changes nothing.

    ``brief.task`` is the question. Raises a Fault where nothing can be said: the question is asked again, elsewhere.
    """

    def consult(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Reply: ...


class Profiler(Protocol):
    """Explains where the time of a program goes; ``focus`` is what whoever asks wants to know more about.

    Raises `raysearch.errors.Refused` where the program itself is why there is no profile.
    """

    def profile(self, workspace: Workspace, focus: str, rng: random.Random) -> Profile: ...


class OpenAttempt(Protocol):
    """An attempt under way, as a policy may see it."""

    @property
    def id(self) -> AttemptId: ...
    @property
    def proposal(self) -> Proposal: ...


class OpenConsultation(Protocol):
    """A question under way."""

    @property
    def question(self) -> Consultation: ...


class View(Protocol):
    """What a policy may see of the run. Read only."""

    @property
    def seq(self) -> int: ...
    @property
    def objectives(self) -> tuple[Objective, ...]: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def candidates(self) -> Mapping[CandidateId, Candidate]: ...
    @property
    def open(self) -> Mapping[AttemptId, OpenAttempt]: ...
    @property
    def closed(self) -> Mapping[AttemptId, Outcome]: ...
    @property
    def commits(self) -> Mapping[AttemptId, Commit]:
        """Of every attempt that got as far as a commit, admitted or not: what can be repaired."""
        ...

    @property
    def consulting(self) -> Mapping[int, OpenConsultation]: ...
    @property
    def plan(self) -> Plan:
        """``plan.consultants`` are the roles that can be asked."""
        ...

    @property
    def board(self) -> Board:
        """Read it; what a policy wants changed it files."""
        ...


Ask = Proposal | Consultation | Filing
"""What a policy may want: a child made, a question answered, something said on the board of issues."""


class Policy(Protocol):
    """Decides whom to breed. ``ask`` is a query; only ``tell`` may change the policy.

    A proposal takes a slot until it is closed, and a consultation until it is answered; what is filed on the board
    of issues takes none. An empty answer means: wait. Empty with nothing under way means: done. The engine opens
    attempt 0 for a seeded target by itself and asks nothing before that has closed.

    A policy may have methods ``over(view) -> str``: why it has no more to ask; ``suits(objectives)``, called before a
    run begins, which raises ConfigError where its options do not go with the target's objectives; and, to be one of a
    portfolio, ``meet(candidate)``, which tells it of what others have found.
    """

    def ask(self, view: View, slots: int, rng: random.Random) -> Sequence[Ask]: ...
    def tell(self, fact: Fact) -> None: ...
    def best(self, view: View) -> Sequence[CandidateId]:
        """The candidates worth keeping, best first."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a job."""

    job: Job
    result: Result | Fault
    worker: str = ""
    took_s: float = 0.0
    gpu_s: float = 0.0
    """Seconds of GPUs that it held."""
    filings: tuple[Filing, ...] = ()
    """What those who did it filed on the board of issues."""


class Pool(Protocol):
    """Where jobs run. Answers every job at least once, in its time limit and a grace: a result or a Fault."""

    def submit(self, job: Job) -> None: ...
    def next(self, timeout_s: float) -> Answer | None: ...
    def close(self) -> None:
        """Stop everything under way, whole process trees included; nothing more is answered."""
        ...


class Ledger(Protocol):
    def append(self, entry: Entry) -> None:
        """Return only when ``entry`` is durable. Raises LedgerError."""
        ...

    def replay(self) -> Iterator[Entry]: ...


class Clock(Protocol):
    def now(self) -> float:
        """Wall clock, seconds since 1970; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, from an arbitrary start."""
        ...

    def sleep(self, seconds: float) -> None: ...


class Steering(Protocol):
    """Where people's commands come from. May raise OSError: nothing is lost then, and it is asked again."""

    def take(self, recorded: Mapping[str, Receipt]) -> Sequence[tuple[str, Command]]:
        """Commands to carry out now, each once; those whose id is ``recorded`` are only answered."""
        ...

    def answer(self, name: str, receipt: Receipt) -> None: ...


class Sink(Protocol):
    """Is shown what happened; may be slow or fail without harm to the run."""

    def told(self, entry: Entry) -> None: ...
    def started(self, job: Job) -> None: ...
    def close(self) -> None: ...
