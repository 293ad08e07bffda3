"""A run on imagined workers: the engine, the policy and the limits of production, and a clock that nobody waits for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

from raysearch.engine import Engine
from raysearch.facts import Entry, SessionOpened
from raysearch.jobs import Job, Ticket
from raysearch.pools.inline import InlinePool
from raysearch.protocols import Answer, Pool
from raysearch.run.rehearsal import Assumptions, Imagined
from raysearch.run.search import Search, policy_of
from raysearch.seeds import stream
from raysearch.target import Target
from raysearch.testing.simulated import FakeClock, SimDisk, SimPool, Span, answered
from raysearch.types import Outcome, Stage

ATTEMPTS_MAX = 2000
"""Attempts rehearsed of a run that no limit ends."""
UNLIMITED = f"no limit ends it: {ATTEMPTS_MAX} attempts rehearsed"
REHEARSED_MAX = 20_000
"""Attempts rehearsed of any run: some ten seconds, and more would tell nothing new."""
CUT = f"it would go on: {REHEARSED_MAX} attempts rehearsed"
PACE_S = (0.5, 30.0)
"""How often the driver looks at its limits, at least and at most: as in production where jobs are short."""
HOUR_S = 3600.0
FULL = 0.9
"""Share of its time from which on a role counts as full."""

Key = tuple[Ticket, Stage, str, int]


@dataclass(frozen=True, slots=True)
class Load:
    """What the workers of one role had to do. Seconds are of the rehearsed run."""

    stage: Stage
    slots: int
    jobs: int
    busy_s: float
    """Of all slots together."""
    waited_s: float
    """By all jobs together, from when they were handed out to when a worker was free."""
    run_s: float

    @property
    def utilisation(self) -> float:
        return self.busy_s / (self.slots * self.run_s) if self.run_s else 0.0

    @property
    def waiting(self) -> float:
        """Jobs that waited for a worker, averaged over the run (Little's law)."""
        return self.waited_s / self.run_s if self.run_s else 0.0

    @property
    def wait_s(self) -> float:
        """Of each job, on average."""
        return self.waited_s / self.jobs if self.jobs else 0.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """What became of the rehearsed run."""

    attempts: int
    counts: Mapping[Outcome, int]
    run_s: float
    cost_usd: float
    ended: str
    lanes: int
    loads: tuple[Load, ...]
    """By role; a single one, of every stage's jobs, where all share one worker."""
    shared: bool

    @property
    def per_hour(self) -> float:
        """Attempts closed."""
        closed = sum(self.counts.values())
        return HOUR_S * closed / self.run_s if self.run_s else 0.0

    @property
    def bottleneck(self) -> Load | None:
        """The role that is full, the fullest first; None where none is: then the lanes are what limits."""
        fullest = max(self.loads, key=lambda load: load.utilisation)
        return fullest if fullest.utilisation >= FULL else None


def rehearse(search: Search, target: Target, assumed: Assumptions) -> Outlook:
    """Drive the imagined run to its end. Deterministic. Raises PluginError for a policy that cannot be made."""
    policy = policy_of(search, target)
    clock, world, limits = FakeClock(), Imagined(assumed, target, search), search.limits
    endless = limits.attempts_max is None and limits.run_s is None and (not limits.cost_usd or not assumed.mutate_usd)
    most, told = (ATTEMPTS_MAX, UNLIMITED) if endless else (REHEARSED_MAX, CUT)
    cut = limits.attempts_max is None or limits.attempts_max > most
    if cut:
        limits = replace(limits, attempts_max=most)
    spans: list[Span] = []
    pool: Pool
    if search.pool == "inline":
        pool, slots = InlinePool(_Alone(world, clock, spans)), dict.fromkeys(Stage, 1)
    else:
        slots = {stage: role.slots for stage, role in search.roles.items()}
        pool = SimPool(world.perform, clock, stream(search.seed, "pool"), slots, spans=spans, lasts=world.lasts_s)
    watch = _Watch(clock)
    with closing(SimDisk().open()) as ledger:
        engine = Engine(policy, _Paced(pool, _pace_s(assumed)), ledger, clock, watch)
        state = engine.run(world.start, SessionOpened(0, limits, "rehearsal", 0, "0"))
    return Outlook(
        attempts=state.attempts_total,
        counts={o: n - (o is Outcome.ADMITTED and state.start.seeded) for o, n in state.counts.items()},
        run_s=state.run_s,
        cost_usd=state.cost_usd,
        ended=told if cut and state.attempts_total == most else state.ended,
        lanes=limits.open_max,
        loads=tuple(_load(stage, slots[stage], spans, watch.handed_out, state.run_s) for stage in Stage),
        shared=search.pool == "inline",
    )


def _pace_s(assumed: Assumptions) -> float:
    """Fine enough to notice a limit in time, and no finer."""
    shortest_s = min((d.median_s for d in assumed.durations.values() if d.median_s > 0), default=0.0)
    return min(max(shortest_s / 4, PACE_S[0]), PACE_S[1])


def _load(stage: Stage, slots: int, spans: list[Span], handed_out: Mapping[Key, float], run_s: float) -> Load:
    own = [span for span in spans if span.stage is stage]
    busy_s = sum(min(span.ends_s, run_s) - min(span.began_s, run_s) for span in own)
    waited_s = sum(span.began_s - handed_out[_key(span.job)] for span in own)
    return Load(stage, slots, len(own), busy_s, waited_s, run_s)


def _key(job: Job) -> Key:
    return job.ticket, job.stage, job.plugin, job.try_number


@dataclass(slots=True)
class _Watch:
    """Remembers when each job was handed out."""

    clock: FakeClock
    handed_out: dict[Key, float] = field(default_factory=dict)

    def told(self, entry: Entry) -> None:
        pass

    def started(self, job: Job) -> None:
        self.handed_out.setdefault(_key(job), self.clock.monotonic())

    def close(self) -> None:
        pass


@dataclass(slots=True)
class _Paced:
    """A pool that may keep its driver waiting for longer than that asked for."""

    pool: Pool
    pace_s: float

    def submit(self, job: Job) -> None:
        self.pool.submit(job)

    def next(self, timeout_s: float) -> Answer | None:
        return self.pool.next(max(timeout_s, self.pace_s))

    def close(self) -> None:
        self.pool.close()


@dataclass(slots=True)
class _Alone:
    """The one worker of a driver without a pool: the clock goes on while it works."""

    world: Imagined
    clock: FakeClock
    spans: list[Span]

    def perform(self, job: Job) -> Answer:
        began_s, lasts_s = self.clock.monotonic(), self.world.lasts_s(job)
        self.clock.sleep(lasts_s)
        self.spans.append(Span(job.stage, 0, job, began_s, began_s + lasts_s))
        return Answer(job, answered(self.world.perform, job), "imagined", lasts_s)

    def close(self) -> None:
        """Nothing is held."""
