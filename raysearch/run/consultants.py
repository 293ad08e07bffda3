"""Whom a run's policy can ask: by role, what is configured, or what is there without being told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature

from raysearch.config.choices import Choice
from raysearch.config.layers import Configuration
from raysearch.config.settings import ConsultantTable
from raysearch.consultation import LESSONS_WRITER, PERFORMANCE_EVALUATOR, PLANNER, PROFILER, TRIAGE
from raysearch.errors import ConfigError, nearest
from raysearch.plugins import PluginSpec, check, find
from raysearch.run import agents
from raysearch.types import Stage, Step

ROLES: Mapping[str, Stage] = {
    TRIAGE: Stage.MUTATE,
    PLANNER: Stage.MUTATE,
    LESSONS_WRITER: Stage.MUTATE,
    PROFILER: Stage.BENCHMARK,
    PERFORMANCE_EVALUATOR: Stage.BENCHMARK,
}
"""Whose workers answer: those that measure need the devices that benchmarks run on."""
THINKING = (TRIAGE, PLANNER, LESSONS_WRITER)
"""Roles that are there only where an agent is."""
_AGENT = ("agent", "agent_options", "model", "effort")
DEFAULTS = ConsultantTable.model_validate({})


def consultants(
    configuration: Configuration, mutators: Sequence[Choice]
) -> tuple[dict[str, PluginSpec], tuple[Step, ...]]:
    """Plug-ins by role, and the plan's steps for them.

    An agent that no section names is that of the first mutator that asks one; without any, nobody plans, and the
    profiler and the performance evaluator say what they measure and no more. Raises ConfigError or PluginError.
    """
    settings = configuration.settings
    hired = next((c.options for c in mutators if "agent" in c.options), {})
    by_default = {key: hired[key] for key in _AGENT if key in hired}
    for role in settings.consultant:
        if role not in ROLES:
            at = configuration.origin("consultant", role)
            raise ConfigError(f"{at}: no policy asks a {role!r}: there are {', '.join(ROLES)}.{nearest(role, ROLES)}")
    plugins, steps = {}, []
    for role, stage in ROLES.items():
        table = settings.consultant.get(role, DEFAULTS)
        reference = table.use or role
        takes = signature(find("consultants", reference)).parameters
        options = {**{key: value for key, value in by_default.items() if key in takes}, **table.options}
        if not table.on or (role in THINKING and "agent" in takes and "agent" not in options):
            continue
        choice = Choice("consultants", role, reference, options, table.timeout_s, ("consultant", role))
        origins = configuration.option_origins(*choice.section)
        found = check("consultants", choice.reference, choice.options, origins=origins)
        told = agents.told(found, settings, ["accuracy"])
        if "load_levels" in takes:
            told["load_levels"] = settings.perf_eval.levels()
        if choice.options.get("agent"):
            agents.examine(configuration, choice, found, told)
        plugins[role] = PluginSpec("consultants", role, choice.reference, {**told, **choice.options})
        steps.append(Step(stage, role, table.timeout_s))
    return plugins, tuple(steps)
