"""What ``target.toml`` and ``objectives.toml`` may say."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from keyword import iskeyword
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator

from raysearch.config.problems import sentences
from raysearch.config.toml import Document, is_there, read
from raysearch.config.values import Amount, Finite, Seconds, Table, Texts
from raysearch.errors import TargetError, nearest
from raysearch.target import AuditRules, SandboxLimits, Tunable
from raysearch.types import Goal, Objective

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}", re.ASCII)
"""Names of targets, objectives and metrics."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_MISTAKEN = {
    "cpu": "cpus",
    "num_cpus": "cpus",
    "CPU": "cpus",
    "gpu": "gpus",
    "num_gpus": "gpus",
    "GPU": "gpus",
    "memory": "memory_mb in [limits]",
    "memory_mb": "memory_mb in [limits]",
}
"""Names that look like a custom resource and are none."""


def _words(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return shlex.split(value)
    except ValueError as error:
        raise ValueError(f"should be a command line ({str(error).lower()})") from None


class EvaluatorTable(Table):
    command: Annotated[Texts, BeforeValidator(_words)] = ()
    timeout_s: Seconds = 300.0

    @field_validator("command")
    @classmethod
    def _said(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if not command or not all(word and "\0" not in word for word in command):
            raise ValueError("should be the words of a command, none empty")
        return command


class BenchmarkTable(EvaluatorTable):
    heeds_load: bool = False
    """Whether it offers the load that it is told."""
    short: Annotated[Texts, BeforeValidator(_words)] = ()
    """Words after its command that make it short."""
    short_timeout_s: Seconds | None = None
    """Not given: ``timeout_s``."""
    hopeless: Annotated[Finite, Field(gt=0, lt=1)] = 0.5
    """By the short one behind by so much of the larger value in every objective, a program is given up."""

    @field_validator("short_timeout_s", "hopeless")
    @classmethod
    def _of_short(cls, value: float | None, info: ValidationInfo) -> float | None:
        if not info.data.get("short", ("unknown",)):
            raise ValueError('says something of a short benchmark: give its words as well, short = ["--option"]')
        return value


class CandidateTable(Table):
    editable: Annotated[Texts, Field(min_length=1)] = ("**",)
    program_mb_max: Annotated[Finite, Field(gt=0, le=100_000)] = 16.0

    @field_validator("editable")
    @classmethod
    def _inside(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if not is_inside(pattern) or not PurePosixPath(pattern).parts:
                raise ValueError(f"should hold patterns relative to the program's folder, which {pattern!r} is not")
        return patterns


class LimitsTable(Table):
    memory_mb: Annotated[int, Field(ge=16, le=100_000_000)] = 4096
    cpu_s: Annotated[int, Field(ge=1, le=10_000_000)] = 3600
    processes: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    file_mb: Annotated[int, Field(ge=1, le=100_000_000)] = 1024
    output_kb: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    network: bool = False

    def limits(self) -> SandboxLimits:
        return SandboxLimits(**self.model_dump())


class WarmTable(Table):
    imports: Texts = ()

    @field_validator("imports")
    @classmethod
    def _modules(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not all(part.isidentifier() and not iskeyword(part) for part in name.split(".")):
                raise ValueError(f"should name installed modules, which {name!r} is not")
        return names


class ResourcesTable(Table):
    mutate: dict[str, Amount] = Field(default_factory=dict)
    judge: dict[str, Amount] = Field(default_factory=dict)
    benchmark: dict[str, Amount] = Field(default_factory=dict)

    @field_validator("mutate", "judge", "benchmark")
    @classmethod
    def _known(cls, amounts: dict[str, float]) -> dict[str, float]:
        for name in amounts:
            if name in _MISTAKEN:
                raise ValueError(f"should not name {name!r}: use {_MISTAKEN[name]}")
        if amounts.get("gpus", 0) % 1:
            raise ValueError("should count whole gpus: a measurement shares its device with nothing")
        return amounts

    def resources(self) -> dict[str, dict[str, float]]:
        ray = {"cpus": "CPU", "gpus": "GPU"}
        given = {role: getattr(self, role) for role in ("mutate", "judge", "benchmark")}
        return {
            role: {ray.get(name, name): float(amount) for name, amount in amounts.items()}
            for role, amounts in given.items()
            if amounts
        }


_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_RULE = re.compile(r"[a-z]+(-[a-z]+)*")


class AuditTable(Table):
    """``[audit]``: what is forbidden beside what always is, and which rules do not fit this target."""

    forbid_imports: Texts = ()
    forbid_names: Texts = ()
    allow: Texts = ()
    traced: bool = True

    @field_validator("forbid_imports", "forbid_names")
    @classmethod
    def _names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _DOTTED.fullmatch(name):
                raise ValueError(f"should hold names such as 'scipy.optimize', which {name!r} is not")
        return names

    @field_validator("allow")
    @classmethod
    def _rules(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _RULE.fullmatch(name):
                raise ValueError(f"should hold names of rules such as 'network', which {name!r} is not")
        return names

    def rules(self) -> AuditRules:
        return AuditRules(**self.model_dump())


class CheckTable(Table):
    """``[check]``: what `raysearch check` must know. No part of the target itself."""

    reference: bool | None = None
    """Whether ``reference/`` is a program like the seed, and must pass; told by the names of its files otherwise."""


class TunableTable(Table):
    name: str
    file: str
    kind: Literal["int", "float", "log", "categorical", "permutation"]
    low: Finite = 0.0
    high: Finite = 1.0
    choices: Annotated[tuple[str | int | float | bool, ...], Field(strict=False)] = ()

    def tunable(self) -> Tunable:
        return Tunable(self.name, self.file, self.kind, self.low, self.high, self.choices)

    def problem(self) -> str:
        """Why it makes no sense, or nothing."""
        if not self.name.isidentifier():
            return f"{self.name!r} is not a name that source code can assign to."
        if not is_inside(self.file):
            return f"file {self.file!r} is not a path inside the program's folder."
        if self.kind in ("categorical", "permutation"):
            if not all(math.isfinite(choice) for choice in self.choices if isinstance(choice, float)):
                return "`choices` must be finite."
            if len({(type(choice), choice) for choice in self.choices}) < max(2, len(self.choices)):
                return f"a {self.kind} tunable needs `choices`: two or more, all different."
            return ""
        if self.choices:
            return f"`choices` belong to categorical and permutation, not to {self.kind}: use low and high."
        if not self.low < self.high:
            return f"low ({self.low:g}) must be below high ({self.high:g})."
        if self.kind == "int" and (self.low % 1 or self.high % 1):
            return "low and high of an int tunable must be whole numbers."
        return "low of a log tunable must be above 0." if self.kind == "log" and self.low <= 0 else ""


class BaselineTable(Table):
    """``[[baselines]]``: a program that is measured beside the seed."""

    name: str
    path: str
    """Of a folder, relative to the target's."""
    why: str = ""

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not NAME.fullmatch(name) or name.endswith((".", ".lock")) or ".." in name or name == "__pycache__":
            raise ValueError("should be made of letters, digits, '_', '-' and single '.', 64 at most")
        return name

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        if not is_inside(path) or not PurePosixPath(path).parts:
            raise ValueError("should be the path of a folder inside the target's")
        return path


class TargetFile(Table):
    """``target.toml``. Every part may be absent."""

    name: str = ""
    checker: EvaluatorTable | None = None
    benchmark: BenchmarkTable | None = None
    candidate: CandidateTable = CandidateTable()
    limits: LimitsTable = LimitsTable()
    audit: AuditTable = AuditTable()
    warm: WarmTable = WarmTable()
    environment: dict[str, str] = Field(default_factory=dict)
    resources: ResourcesTable = ResourcesTable()
    tunables: Annotated[tuple[TunableTable, ...], Field(strict=False, max_length=1000)] = ()
    baselines: Annotated[tuple[BaselineTable, ...], Field(strict=False, max_length=100)] = ()
    check: CheckTable = CheckTable()

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError("should be made of letters, digits, '_', '-' and '.', 64 at most")
        return name

    @field_validator("environment")
    @classmethod
    def _settable(cls, variables: dict[str, str]) -> dict[str, str]:
        for name, value in variables.items():
            if not _VARIABLE.fullmatch(name) or "\0" in value:
                raise ValueError(f"should name variables by letters, digits and '_', which {name!r} is not")
            if name.startswith(("RAY_", "RAYSEARCH_")):
                raise ValueError(f"should not set {name!r}: RAY_ and RAYSEARCH_ variables are kept from candidates")
        return variables


class ObjectiveTable(Table):
    name: str
    direction: Goal
    unit: str = ""
    noise: Annotated[Finite, Field(ge=0, lt=1)] | None = None
    primary: bool = False
    deterministic: bool = False

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError("should be made of letters, digits, '_', '-' and '.', 64 at most")
        return name


class ParetoTable(Table):
    relative_noise: Annotated[Finite, Field(ge=0, lt=1)] = 0.0


class ObjectivesFile(Table):
    """``objectives.toml``. ``[pareto] relative_noise`` is the noise of every objective that names none."""

    pareto: ParetoTable = ParetoTable()
    objective: Annotated[tuple[ObjectiveTable, ...], Field(strict=False, min_length=1, max_length=16)]


File = TypeVar("File", bound=Table)


def is_inside(path: str) -> bool:
    """Whether a relative POSIX path or pattern stays inside the folder that it is relative to."""
    return bool(path) and "\0" not in path and not path.startswith("/") and ".." not in path.split("/")


def validated(path: Path, model: type[File], problems: list[str]) -> tuple[Document, File] | None:
    """The file, and its content as ``model``; or None, with the reasons added to ``problems``."""
    try:
        document = read(path, TargetError)
    except TargetError as problem:
        problems.append(str(problem))
        return None
    try:
        return document, model.model_validate(document.data)
    except ValidationError as error:
        problems += sentences(error, model, document.where)
        return None


def read_target_file(path: Path, problems: list[str]) -> TargetFile:
    """The file's content, or the defaults with the reasons added to ``problems``. Absent is fine."""
    read_in = validated(path, TargetFile, problems) if is_there(path) else None
    if read_in is None:
        return TargetFile()
    document, found = read_in
    names = [(tunable.file, tunable.name) for tunable in found.tunables]
    for index, tunable in enumerate(found.tunables):
        twice = "declared twice." if names.index(names[index]) < index else ""
        if problem := tunable.problem() or twice:
            problems.append(f"{document.where(('tunables', index))}: tunable {tunable.name!r}: {problem}")
    called = [baseline.name for baseline in found.baselines]
    problems += [
        f"{document.where(('baselines', index))}: baseline {name!r} is declared twice."
        for index, name in enumerate(called)
        if name in called[:index]
    ]
    return found


def read_objectives_file(path: Path, problems: list[str]) -> tuple[Objective, ...]:
    """The file's objectives, exactly one of them primary; reasons why not are added to ``problems``."""
    read_in = validated(path, ObjectivesFile, problems)
    if read_in is None:
        return ()
    document, found = read_in
    problems += _contradictions(found, document)
    noise = found.pareto.relative_noise
    return with_primary(
        [
            Objective(o.name, o.direction, o.unit, noise if o.noise is None else o.noise, o.primary, o.deterministic)
            for o in found.objective
        ]
    )


def _contradictions(found: ObjectivesFile, document: Document) -> list[str]:
    problems = []
    names = [objective.name for objective in found.objective]
    primary = [index for index, objective in enumerate(found.objective) if objective.primary]
    for index, name in enumerate(names):
        if names.index(name) < index:
            problems.append(f"{document.where(('objective', index))}: objective {name!r} is declared twice.")
    return problems + [
        f"{document.where(('objective', index, 'primary'))}: {names[index]!r} cannot be primary, "
        f"{names[primary[0]]!r} is already: say so of one objective."
        for index in primary[1:]
    ]


def objectives_from_flags(
    flags: Sequence[str], declared: Sequence[Objective], problems: list[str]
) -> tuple[Objective, ...]:
    """Objectives from ``NAME:max`` or ``NAME:min``, the first primary.

    They take the place of the file's; unit and noise of one that the file declares too are kept.
    """
    known = {objective.name: objective for objective in declared}
    chosen: dict[str, Objective] = {}
    for flag in flags:
        name, _, direction = flag.partition(":")
        if not NAME.fullmatch(name) or direction not in ("max", "min"):
            hint = nearest(direction, ("max", "min")) if NAME.fullmatch(name) and direction else ""
            problems.append(f"--objective {flag!r}: write NAME:max or NAME:min.{hint}")
            continue
        goal: Goal = "max" if direction == "max" else "min"
        old = known.get(name, Objective(name, goal))
        if old.goal != goal:
            problems.append(f"--objective {flag!r}: objectives.toml declares {name!r} as {old.goal}.")
        if name in chosen:
            problems.append(f"--objective {flag!r}: {name!r} is given twice.")
        chosen[name] = replace(old, goal=goal, primary=False)
    return with_primary(list(chosen.values()))


def with_primary(objectives: Sequence[Objective]) -> tuple[Objective, ...]:
    """The same objectives with exactly one primary: the one that says so, or the first."""
    first = next((o for o in objectives if o.primary), objectives[0] if objectives else None)
    return tuple(replace(o, primary=o is first) for o in objectives)
