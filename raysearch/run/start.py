"""From a configuration to a run: a new one, or one that is taken up again."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from raysearch.config import choices
from raysearch.config.choices import Choice
from raysearch.config.layers import Configuration, Override, configure, effective_configuration
from raysearch.config.settings import Settings
from raysearch.config.targets import constrained, load_target, snapshot_target, target_from_parts
from raysearch.errors import ConfigError, RunError
from raysearch.jobs import SHORT
from raysearch.plugins import Kind, PluginSpec, check, check_packages, find, known_names, resources
from raysearch.pools.roles import Role
from raysearch.protocols import Sink
from raysearch.run import agents, job, loops, named, serving
from raysearch.run.automatic import expanded
from raysearch.run.consultants import consultants
from raysearch.run.folder import RunFolder
from raysearch.run.leasing import leasing_of
from raysearch.run.named import CHANGEABLE
from raysearch.run.search import Search, create, drive
from raysearch.state import State
from raysearch.target import Target
from raysearch.types import Confirmation, Limits, Stage, Step

CHILDREN_PER_GENERATION = 2
"""Where ``max_generations`` is given alone."""
CONTEST_S, CONTEST_SHARE = 600.0, 0.1
"""How long a contest may take where nothing is said: so many seconds, or this share of the run's time."""

SinkFor = Callable[[RunFolder], Sink]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a driver leaves: the run, and its state when the driver let go."""

    folder: RunFolder
    state: State


def start(
    configuration: Configuration, sink: SinkFor, stop: Callable[[], str], told: Callable[[str], None] = lambda _: None
) -> Summary:
    """Make a run folder and drive it; or go on with the run of that name, and say through ``told`` what was chosen.

    Raises UserError before anything is spent.
    """
    check_packages()
    job.keep_out(Path(configuration.settings.run.runs_dir))
    target = target_of(configuration.settings)
    configuration, chosen = expanded(configuration, target)
    earlier = named.earlier(configuration, target)
    if earlier is not None:
        told(f"going on with {earlier[0].name}: same name, same target, same configuration")
        return _go_on(*earlier, sink, stop, told)
    if chosen:
        told(chosen)
    configuration = _seeded(configuration)
    settings = configuration.settings
    search = resolve(configuration, target)
    folder = RunFolder.create(Path(settings.run.runs_dir), settings.run.exp_name or target.name)
    try:
        create(folder, snapshot_target(target, folder.target))
        folder.config.write_text(effective_configuration(configuration))
        return Summary(folder, drive(folder, search, sink, stop, told))
    except BaseException:
        if not folder.journal.exists():  # nothing has happened that is worth keeping
            shutil.rmtree(folder.path, ignore_errors=True)
        raise


def resume(
    folder: RunFolder,
    overrides: Sequence[Override],
    sink: SinkFor,
    stop: Callable[[], str],
    told: Callable[[str], None] = lambda _: None,
) -> Summary:
    """Take a run up where its journal ends. Raises UserError."""
    check_packages()
    if not folder.config.is_file():
        raise RunError(f"{folder.path} has no run.toml: it is no run folder, or not a whole one")
    for override in overrides:
        path = ".".join(override.keys)
        if not path.startswith(CHANGEABLE):
            raise ConfigError(
                f"{override.origin} {path}: a run keeps it for life; resume may change {', '.join(CHANGEABLE)}. Start"
                " a new run to change anything else"
            )
    return _go_on(folder, configure(folder.config, overrides, known=known_names()), sink, stop, told)


def _go_on(
    folder: RunFolder,
    configuration: Configuration,
    sink: SinkFor,
    stop: Callable[[], str],
    told: Callable[[str], None],
) -> Summary:
    state = drive(folder, resolve(configuration, load_target(folder.target)), sink, stop, told)
    folder.config.write_text(effective_configuration(configuration))
    return Summary(folder, state)


def target_of(settings: Settings) -> Target:
    """The target that the settings name. Raises TargetError or ConfigError."""
    run = settings.run
    if run.target:
        return constrained(load_target(Path(run.target), run.objectives), run.constraints)
    if run.ref:
        parts = target_from_parts(Path(run.ref), Path(run.acc_checker), Path(run.bench), run.objectives)
        return constrained(parts, run.constraints)
    raise ConfigError("no target: give TARGET, its folder, or --ref, --acc-checker and --bench")


def resolve(configuration: Configuration, target: Target) -> Search:
    """Every name looked up and every option checked; nothing is built yet. Raises PluginError."""
    configuration, _ = expanded(configuration, target)
    settings = configuration.settings
    policy = choices.policy(settings)
    mutators = choices.mutators(settings)
    judges, benchmarks = choices.judges(settings), choices.benchmarks(settings)
    first, last = choices.first_gates(settings), choices.last_gates(settings)
    last = tuple(choice for choice in last if choice.name != "traced" or target.audit.traced)
    offers: dict[str, object] = {"mutators": tuple(choice.name for choice in mutators)}
    limits = {key: getattr(settings.limits, key) for key in ("max_rounds", "children_per_generation")}
    offers |= {key: value for key, value in limits.items() if value is not None}
    offers["load_levels"] = settings.perf_eval.levels()
    loops.require_own(configuration, policy.name, find("policies", policy.reference))
    _checked(configuration, policy, offers)
    agents.require_no_secret(configuration)
    plugins: dict[tuple[Stage, str], PluginSpec] = {}
    wishes: dict[Stage, dict[str, float]] = {stage: {} for stage in Stage}
    measuring: list[str] = []
    for stage, group in (
        (Stage.MUTATE, mutators),
        (Stage.JUDGE, (*judges, *first, *last)),
        (Stage.BENCHMARK, benchmarks),
    ):
        for choice in group:
            found = _checked(configuration, choice)
            told = agents.told(found, settings, [judge.name for judge in judges])
            agents.examine(configuration, choice, found, told)
            plugins[stage, choice.name] = _spec(choice, told)
            for name, amount in resources(found).items():
                wishes[stage][name] = max(amount, wishes[stage].get(name, 0.0))
            if stage is Stage.JUDGE and getattr(found, "measures", False):
                measuring.append(choice.name)
    if target.benchmark.short is not None:
        plugins[Stage.BENCHMARK, SHORT] = PluginSpec("benchmarks", SHORT, SHORT)
    roles = {stage: _role(settings, target, stage, wishes[stage]) for stage in Stage}
    asked, asked_in = consultants(configuration, mutators)
    extra = [(Stage.JUDGE, c) for c in judges[1:]] + [(Stage.BENCHMARK, c) for c in benchmarks[1:]]
    assert settings.run.seed is not None, "drawn at the start"
    return Search(
        seed=settings.run.seed,
        policy=_spec(policy),
        offers=offers,
        plugins=plugins,
        steps=tuple((stage, choice.name, choice.timeout_s or 3600.0) for stage, choice in extra),
        first=_gates(first),
        last=_gates(last),
        consultants=asked,
        asked=asked_in,
        board=settings.issues.shown(policy.name),
        limits=_limits(settings, len(target.baselines)),
        mutate_timeout_s=settings.limits.mutate_timeout_s,
        retries_max=settings.limits.retries_max,
        confirmation=_confirmation(settings),
        pool=settings.run.pool,
        address=settings.run.address,
        roles=roles,
        leasing=leasing_of(settings, roles[Stage.BENCHMARK], target.objectives, measuring),
        sandbox=settings.run.sandbox,
        push_to=settings.run.push_to,
        servers=serving.servers(settings),
        load_levels=settings.perf_eval.levels(),
    )


def _gates(chosen: Sequence[Choice]) -> tuple[Step, ...]:
    return tuple(Step(Stage.JUDGE, choice.name, choice.timeout_s or 3600.0) for choice in chosen)


def _confirmation(settings: Settings) -> Confirmation | None:
    table = settings.confirm.model_dump()
    if table["time_s"] is None:
        budget_s = settings.limits.budget_time_s
        table["time_s"] = CONTEST_S if budget_s is None else min(CONTEST_S, CONTEST_SHARE * budget_s)
    return Confirmation(**table) if table.pop("on") else None


def _seeded(configuration: Configuration) -> Configuration:
    run = configuration.settings.run
    if run.seed is not None:
        return configuration
    seeded = run.model_copy(update={"seed": secrets.randbits(32)})
    origins = {**configuration.origins, ("run", "seed"): "drawn"}
    return replace(configuration, settings=configuration.settings.model_copy(update={"run": seeded}), origins=origins)


def _spec(choice: Choice, offers: Mapping[str, object] | None = None) -> PluginSpec:
    return PluginSpec(cast(Kind, choice.kind), choice.name, choice.reference, {**(offers or {}), **choice.options})


def _checked(configuration: Configuration, choice: Choice, offers: Mapping[str, object] | None = None) -> type:
    origins = configuration.option_origins(*choice.section)
    return check(cast(Kind, choice.kind), choice.reference, choice.options, offers=offers, origins=origins)


def _limits(settings: Settings, baselines: int) -> Limits:
    limits = settings.limits
    attempts_max = limits.max_candidates
    if limits.max_generations is not None:
        said = settings.policy.get("children_per_generation")
        children = limits.children_per_generation or (said if isinstance(said, int) else CHILDREN_PER_GENERATION)
        generations = limits.max_generations * children
        attempts_max = min(generations, attempts_max or generations)
    return Limits(
        open_max=settings.run.lanes,
        attempts_max=None if attempts_max is None else attempts_max + baselines,
        run_s=limits.budget_time_s,
        cost_usd=limits.budget_usd,
        tokens=limits.budget_tokens,
        calls=limits.budget_calls,
        gpu_s=None if limits.budget_gpu_h is None else limits.budget_gpu_h * 3600,
        candidate_usd=limits.candidate_usd,
        candidate_tokens=limits.candidate_tokens,
        candidate_calls=limits.candidate_calls,
        drain_s=limits.drain_s,
        failed_in_row_max=limits.failed_in_row_max,
        known_in_row_max=limits.known_in_row_max,
    )


def _role(settings: Settings, target: Target, stage: Stage, wishes: Mapping[str, float]) -> Role:
    """Workers of a role: the configuration's word first, then the target's, then the plug-ins', then defaults.

    As many mutators and judges as lanes; one benchmark, so that two measurements never disturb each other.
    """
    table = getattr(settings.roles, stage.value)
    asked = {_SPELT.get(name, name): amount for name, amount in wishes.items()}
    asked |= {_SPELT.get(name, name): amount for name, amount in target.resources.get(stage.value, {}).items()}
    default = Role(slots=1 if stage is Stage.BENCHMARK else settings.run.lanes)
    cpus, gpus, memory_mb = asked.pop("cpus", None), asked.pop("gpus", None), asked.pop("memory_mb", None)
    threads = table.threads or int(asked.pop("threads", 1))
    asked.pop("threads", None)
    return Role(
        threads=threads,
        slots=table.slots or default.slots,
        cpus=_first(table.cpus, cpus, default.cpus),
        gpus=_first(table.gpus, gpus, default.gpus),
        memory_mb=int(_first(table.memory_mb, memory_mb, default.memory_mb)),
        resources={**asked, **table.resources},
    )


_SPELT = {"CPU": "cpus", "GPU": "gpus"}


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)
