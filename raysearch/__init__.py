"""Evolutionary search over programs: every candidate a git commit, every number measured by the framework.

What plug-ins and scripts need, under one name; each is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raysearch.consultation import Consultation, Decision, Reply, Task
    from raysearch.errors import (
        ConfigError,
        EvaluatorFault,
        Fault,
        LedgerError,
        MutatorFault,
        PluginError,
        RaysearchError,
        Refused,
        RunError,
        SandboxFault,
        TargetError,
        UserError,
    )
    from raysearch.profile import Finding, Profile
    from raysearch.protocols import (
        Benchmark,
        Completed,
        Consultant,
        Judge,
        Mutator,
        Policy,
        Profiler,
        Sink,
        View,
        Workspace,
    )
    from raysearch.target import Target, Tunable
from raysearch.types import (
    SEED,
    AttemptId,
    Brief,
    Candidate,
    CandidateId,
    Case,
    Commit,
    Inspiration,
    Limits,
    Measurement,
    Mutation,
    Objective,
    Outcome,
    Proposal,
    Stage,
    Usage,
    Verdict,
)

_HOME = {
    "errors": (
        "ConfigError EvaluatorFault Fault LedgerError MutatorFault PluginError RaysearchError Refused RunError "
        "SandboxFault TargetError UserError"
    ),
    "consultation": "Consultation Decision Reply Task",
    "profile": "Finding Profile",
    "protocols": "Benchmark Completed Consultant Judge Mutator Policy Profiler Sink View Workspace",
    "target": "Target Tunable",
    "types": (
        "SEED AttemptId Brief Candidate CandidateId Case Commit Inspiration Limits Measurement Mutation "
        "Objective Outcome Proposal Stage Usage Verdict"
    ),
}

__all__ = [
    "SEED",
    "AttemptId",
    "Benchmark",
    "Brief",
    "Candidate",
    "CandidateId",
    "Case",
    "Commit",
    "Completed",
    "ConfigError",
    "Consultant",
    "Consultation",
    "Decision",
    "EvaluatorFault",
    "Fault",
    "Finding",
    "Inspiration",
    "Judge",
    "LedgerError",
    "Limits",
    "Measurement",
    "Mutation",
    "Mutator",
    "MutatorFault",
    "Objective",
    "Outcome",
    "PluginError",
    "Policy",
    "Profile",
    "Profiler",
    "Proposal",
    "RaysearchError",
    "Refused",
    "Reply",
    "RunError",
    "SandboxFault",
    "Sink",
    "Stage",
    "Target",
    "TargetError",
    "Task",
    "Tunable",
    "Usage",
    "UserError",
    "Verdict",
    "View",
    "Workspace",
]


def __getattr__(name: str) -> object:
    for module, names in _HOME.items():
        if name in names.split():
            from importlib import import_module

            return getattr(import_module(f"raysearch.{module}"), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("raysearch")
    raise AttributeError(f"module 'raysearch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
