"""What a run's configuration may say, section by section. `raysearch.config.layers` reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, field_validator

from raysearch.config.perf_eval import PerfEvalTable
from raysearch.config.prices import PriceRow
from raysearch.config.served import ModelServerTable
from raysearch.config.target_file import NAME
from raysearch.config.values import Amount, Count, Finite, Patience, Seconds, Table, Texts
from raysearch.kinds import Backend, Modality

_OBJECTIVE = re.compile(rf"{NAME.pattern}:(max|min)", re.ASCII)
CONSTRAINT_CHARS = 10_000
BOARD_LOOPS = ("agent", "plain")
"""Loops whose agents are shown the board of issues unless told otherwise."""


def _plain(value: Any) -> Any:
    """Options are text, numbers, true and false, lists and tables of such."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if not isinstance(value, str | int | float | bool) or value != value:  # noqa: PLR0124 - nan is no number
        raise ValueError("should be text, a number, true or false, or a list or table of such")
    return value


Option = Annotated[Any, AfterValidator(_plain)]


class RunTable(Table):
    """``[run]``: what is searched, how, and where. Paths are absolute once read."""

    target: str = ""
    """The target's folder. Or, instead, ``ref``, ``acc_checker`` and ``bench``."""
    ref: str = ""
    """Reference folder; OBJECTIVE.md lies beside it."""
    acc_checker: str = ""
    """Accuracy checker, a folder or a script."""
    bench: str = ""
    """Benchmark, a folder or a script."""
    objectives: Texts = ()
    """``NAME:max`` or ``NAME:min``, the first primary; takes the place of objectives.toml."""
    constraints: Texts = ()
    """Rules beside the objective; all who write or judge a program are told them, as part of it."""
    modality: Modality = ""
    """What kind of program it is: a paragraph of what agents are told. None for ``generic``."""
    backend: Backend = ""
    """On what kind of device it works: likewise."""
    outer_loop: str = "evolve"
    """The policy: an installed one's name, ``package.module:Class`` or ``path/to/file.py:Class``."""
    mutators: Annotated[Texts, Field(min_length=1)] = ("auto",)
    """Names of ``[mutator.NAME]`` sections or installed mutators, or references like ``outer_loop``; ``auto``: those
    that need no model and suit the target."""
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None
    """Seed of all randomness; drawn at the start, and kept, where none is given."""
    lanes: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Attempts under way at once."""
    pool: Literal["ray", "inline"] = "ray"
    """Where jobs run: Ray actors, or this process."""
    address: str = "local"
    """Ray cluster, ``HOST:PORT`` or ``auto``; ``local`` starts one on this machine."""
    sandbox: Literal["auto", "bubblewrap", "landlock", "none"] = "auto"
    """How candidates are confined; ``auto`` refuses to run without a sandbox."""
    exp_name: str = ""
    """Last part of the run folder's name; the target's name if not given."""
    runs_dir: str = "exp_env"
    """Folder of run folders."""
    resume_named: bool | None = None
    """Go on with the newest run called ``exp_name`` in ``runs_dir``. Not given: in a Ray job, if there is a name."""
    push_to: str = ""
    """A git repository, URL or path, that the run's results are pushed to while it is driven."""

    @field_validator("objectives")
    @classmethod
    def _directed(cls, objectives: tuple[str, ...]) -> tuple[str, ...]:
        for objective in objectives:
            if not _OBJECTIVE.fullmatch(objective):
                raise ValueError(f"should hold NAME:max or NAME:min, which {objective!r} is not")
        return objectives

    @field_validator("constraints")
    @classmethod
    def _said(cls, constraints: tuple[str, ...]) -> tuple[str, ...]:
        for text in constraints:
            if not text.strip() or len(text) > CONSTRAINT_CHARS:
                raise ValueError(f"should hold texts of 1 to {CONSTRAINT_CHARS:,} characters")
        return constraints

    @field_validator("exp_name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if name and not NAME.fullmatch(name):
            raise ValueError("should be made of letters, digits, '_', '-' and '.', 64 at most")
        return name

    @field_validator("push_to")
    @classmethod
    def _without_secret(cls, url: str) -> str:
        if re.match(r"[a-z+]+://[^/@]*:[^/@]*@", url):
            raise ValueError("should hold no password, which would be kept with the run: use git's credential helper")
        if url.startswith("-"):
            raise ValueError("should be the URL or path of a git repository")
        return url


class LimitsTable(Table):
    """``[limits]``: when a run stops, and what one attempt may take. Not given: no limit."""

    max_candidates: Count | None = None
    """Attempts ever opened, the seed not counted."""
    max_rounds: Count | None = None
    """Rounds of the single-lineage policies."""
    max_generations: Count | None = None
    """Generations of the population policies."""
    children_per_generation: Count | None = None
    """Attempts that make a generation."""
    budget_time_s: Seconds | None = None
    """Driving time, over all sessions of the run."""
    budget_usd: Amount | None = None
    """Money for models."""
    budget_tokens: Count | None = None
    """Tokens of models, input (cached too) and output."""
    budget_calls: Count | None = None
    """Calls of models."""
    budget_gpu_h: Amount | None = None
    """Hours of GPUs that jobs held."""
    candidate_usd: Amount | None = None
    """Money for one candidate, its judges included; likewise the next two."""
    candidate_tokens: Count | None = None
    candidate_calls: Count | None = None
    drain_s: Patience = 60.0
    """How long attempts under way may still take once a limit is reached."""
    failed_in_row_max: Count = 25
    """Failures in a row, none a program's own doing, that end the run."""
    known_in_row_max: Count = 1000
    """Attempts in a row whose program was known already, that end the run."""
    retries_max: Annotated[int, Field(ge=0, le=100)] = 2
    """How often a job is asked again after its worker, and not its program, failed."""
    mutate_timeout_s: Seconds = 3600.0
    """Time for one mutation."""


class ConfirmTable(Table):
    """``[confirm]``: how a place on the frontier is earned, in interleaved pairs against a member."""

    on: bool = True
    """Off: medians decide."""
    min_effect: Annotated[Finite, Field(ge=0, le=10)] = 0.02
    """Smallest gain worth claiming, as a share of the value; an objective's noise, if that is more."""
    alpha: Annotated[Finite, Field(gt=0, lt=1)] = 0.05
    """``e-lond``: share of all places that may be false; ``fixed``: chance that an equal program gets one."""
    control: Literal["e-lond", "fixed"] = "e-lond"
    pairs_max: Annotated[int, Field(ge=3, le=1_000_000)] = 500
    time_s: Seconds | None = None
    """No pair of a contest is begun after so long. Not given: ten minutes, or a tenth of the time for the run."""
    rivals_max: Annotated[int, Field(ge=1, le=1000)] = 3
    """Members that a candidate meets at most."""
    margin: Annotated[Finite, Field(ge=0, le=100)] = 2.0
    """A candidate that seems worse by so many standard deviations of the difference meets nobody."""
    doubt: Annotated[Finite, Field(ge=0)] = 0.25
    """Once it has won, a lead over another member beyond this share of its value needs no pairs."""


class AuditTable(Table):
    """``[audit]``: which of the gates against cheating are on; ``[judge.NAME]`` has their options."""

    static: bool = True
    """The judge ``audit``, which reads every program, before it is run."""
    traced: bool = True
    """The judge ``traced``, which watches those run that would stand on the frontier."""
    holdout: bool = True
    """The judge ``holdout``, which asks the same with inputs that nobody has seen."""


class DevicesTable(Table):
    """``[devices]``: what measurements have to themselves, where the benchmark asks for whole CPUs or for GPUs."""

    lease: bool = True
    """Off: benchmarks share the machine with everything else, unseen."""
    contention: Literal["void", "warn", "off"] = "void"
    """What comes of a disturbed measurement: it is taken again, it says so, or nobody looks."""
    quiet_s: Patience = 300.0
    """How long a job whose measurement was void waits for quiet, and measures again, before it counts as failed once
    more."""
    wait_s: Patience = 600.0
    """How long a job waits for devices that others hold."""


class AgentsTable(Table):
    """``[agents]``: a coding agent to write programs, and what holds for all of them. Paths are absolute once read."""

    backend: Literal["", "cli", "api", "deepagents"] = ""
    """``cli``: the program ``provider`` (claude if not given) writes; ``api``: the agent that calls a model itself;
    ``deepagents``: the package of that name, an extra."""
    provider: Literal["", "claude", "codex", "gemini", "opencode"] = ""
    model: str = ""
    """Of every coding agent among the mutators that has none of its own."""
    effort: str = ""
    """How hard they think, in the agent's own words."""
    prices: str = ""
    """A file of prices (``configs/prices.toml``) whose rows go over the shipped ones."""
    no_price: bool = False
    """Use models of which nobody knows the price; they count as free."""


class IssuesTable(Table):
    """``[issues]``: the board of issues."""

    agents: Literal["auto", True, False] = "auto"
    """Whether agents see it and may file: ``auto``: in the loops `BOARD_LOOPS`."""

    def shown(self, loop: str) -> bool:
        """Whether agents see the board where ``loop`` says what is done next."""
        return loop in BOARD_LOOPS if self.agents == "auto" else self.agents


class MutatorTable(Table):
    """``[mutator.NAME]``: a mutator's options; ``use`` refers to its class where NAME is not an installed one."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Option]

    use: str = ""

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.__pydantic_extra__ or {})


class EvaluatorTable(MutatorTable):
    """``[judge.NAME]`` or ``[benchmark.NAME]``: one more evaluator beside the target's own."""

    timeout_s: Seconds = 3600.0


class ConsultantTable(EvaluatorTable):
    """``[consultant.ROLE]``: whom a policy asks as ROLE; its options, and ``use`` where it is a class of one's own."""

    on: bool = True
    """Off: nobody is there to be asked."""
    timeout_s: Seconds = 1800.0


class RoleTable(Table):
    """``[roles.mutate]``, ``[roles.judge]``, ``[roles.benchmark]``: workers. Not given: the target's or plug-in's."""

    slots: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """How many jobs of the role at once."""
    threads: Annotated[int, Field(ge=1, le=256)] | None = None
    """So many of the slots share one process: for plug-ins that mostly wait, as for a model."""
    cpus: Amount | None = None
    gpus: Amount | None = None
    memory_mb: Count | None = None
    resources: dict[str, Amount] = Field(default_factory=dict)
    """Custom Ray resources."""

    @field_validator("gpus")
    @classmethod
    def _whole(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus % 1:
            raise ValueError("should be whole: a measurement shares its device with nothing")
        return gpus


class RolesTable(Table):
    mutate: RoleTable = RoleTable()
    judge: RoleTable = RoleTable()
    benchmark: RoleTable = RoleTable()


class Settings(Table):
    """A whole configuration. Immutable; equal settings make equal runs."""

    run: RunTable = RunTable()
    limits: LimitsTable = LimitsTable()
    confirm: ConfirmTable = ConfirmTable()
    audit: AuditTable = AuditTable()
    devices: DevicesTable = DevicesTable()
    agents: AgentsTable = AgentsTable()
    issues: IssuesTable = IssuesTable()
    prices: dict[str, PriceRow] = Field(default_factory=dict)
    """What models cost, by name; goes over all other prices."""
    policy: dict[str, Option] = Field(default_factory=dict)
    """Options of the policy that ``run.outer_loop`` names."""
    mutator: dict[str, MutatorTable] = Field(default_factory=dict)
    judge: dict[str, EvaluatorTable] = Field(default_factory=dict)
    benchmark: dict[str, EvaluatorTable] = Field(default_factory=dict)
    consultant: dict[str, ConsultantTable] = Field(default_factory=dict)
    roles: RolesTable = RolesTable()
    model_server: dict[str, ModelServerTable] = Field(default_factory=dict)
    """Models of one's own, by the name that agents call their server."""
    perf_eval: PerfEvalTable = PerfEvalTable()

    @field_validator("model_server")
    @classmethod
    def _named(cls, servers: dict[str, ModelServerTable]) -> dict[str, ModelServerTable]:
        for name in servers:
            if not NAME.fullmatch(name):
                raise ValueError(f"should have a name of letters, digits, '_', '-' and '.', which {name!r} is not")
        return servers

    def tables(self) -> Mapping[tuple[str, ...], Mapping[str, Any]]:
        """Every section that holds keys, in the order of a file: its path to its keys and values."""
        found: dict[tuple[str, ...], Mapping[str, Any]] = {
            ("run",): self.run.model_dump(),
            ("limits",): self.limits.model_dump(),
            ("confirm",): self.confirm.model_dump(),
            ("audit",): self.audit.model_dump(),
            ("devices",): self.devices.model_dump(),
            ("agents",): self.agents.model_dump(),
            ("issues",): self.issues.model_dump(),
            ("policy",): self.policy,
        }
        for name, row in self.prices.items():
            found["prices", name] = row.model_dump(exclude_none=True)
        for kind in ("mutator", "judge", "benchmark", "consultant"):
            for name, table in getattr(self, kind).items():
                found[kind, name] = table.model_dump()
        for role in ("mutate", "judge", "benchmark"):
            found["roles", role] = getattr(self.roles, role).model_dump()
        for name, server in self.model_server.items():
            found["model_server", name] = server.model_dump()
        found["perf_eval",] = self.perf_eval.model_dump()
        return found
