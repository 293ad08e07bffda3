"""A target as the kernel sees it; `raysearch.config.targets` reads one from its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from raysearch.types import Objective


@dataclass(frozen=True, slots=True)
class ShortLook:
    """A benchmark made short, which spares hopeless programs the whole of it."""

    words: tuple[str, ...]
    """Put after the benchmark's command."""
    timeout_s: float
    hopeless: float
    """As in `raysearch.types.Step`."""


@dataclass(frozen=True, slots=True)
class EvaluatorCommand:
    """A command that judges or measures.

    Called with ``--candidate DIR --reference DIR --seed N --result FILE`` appended, from ``folder``.
    A first word ``python`` stands for the interpreter that raysearch itself runs under.
    """

    command: tuple[str, ...]
    folder: Path
    timeout_s: float = 300.0
    digest: str = ""
    heeds_load: bool = False
    """Benchmark: whether it offers the load that ``RAYSEARCH_LOAD_RATE_PER_S`` and its fellows name."""
    short: ShortLook | None = None
    """Benchmark: how it is made short."""


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What a candidate may use. Memory is of the whole process tree."""

    memory_mb: int = 4096
    cpu_s: int = 3600
    processes: int = 256
    file_mb: int = 1024
    output_kb: int = 1024
    network: bool = False


@dataclass(frozen=True, slots=True)
class Tunable:
    """A value in a program's source that may vary.

    ``kind``: ``int``, ``float``, ``log`` (float, varied on a logarithmic scale), ``categorical`` (one of
    ``choices``), ``permutation`` (an order of ``choices``). ``low`` and ``high`` are inclusive.
    The value is the literal assigned to ``name`` at the top level of ``file``.
    """

    name: str
    file: str
    kind: str
    low: float = 0.0
    high: float = 1.0
    choices: tuple[str | int | float | bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """A change to the program that the target offers, good or bad.

    It applies only where all that it ``needs`` is in the program and nothing that it ``excludes``, both names of
    other recipes.
    """

    name: str
    patch: Path
    """A unified diff against the program's folder."""
    needs: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A program that others are compared with: of the same shape as the seed, and subject to the same gates."""

    name: str
    folder: Path
    why: str = ""
    """What it stands for, in words."""


@dataclass(frozen=True, slots=True)
class AuditRules:
    """What a target wants of the cheating audit (`evaluators.audit`)."""

    forbid_imports: tuple[str, ...] = ()
    """Modules that no program may import, with all that is below them."""
    forbid_names: tuple[str, ...] = ()
    """Functions and attributes that no program may use, as in ``scipy.optimize.minimize`` or ``lru_cache``."""
    allow: tuple[str, ...] = ()
    """Rules that are switched off."""
    traced: bool = True
    """Whether checker and benchmark may be run once more, to see what a program opens, starts and replaces."""


@dataclass(frozen=True, slots=True)
class Target:
    """Objective, reference, accuracy checker, benchmark and rules. Paths are absolute."""

    name: str
    root: Path
    objective: str
    """Text of OBJECTIVE.md."""
    objectives: tuple[Objective, ...]
    reference: Path
    checker: EvaluatorCommand
    benchmark: EvaluatorCommand
    seed: Path | None = None
    editable: tuple[str, ...] = ("**",)
    """Glob patterns, relative to the program's folder, of the paths that may change."""
    tunables: tuple[Tunable, ...] = ()
    recipes: tuple[Recipe, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables set for candidate, checker and benchmark."""
    limits: SandboxLimits = SandboxLimits()
    audit: AuditRules = AuditRules()
    warm: tuple[str, ...] = ()
    """Modules that Python evaluators find imported already; empty: every evaluation starts a Python of its own."""
    resources: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Role (``mutate``, ``judge``, ``benchmark``) to Ray resources (``CPU``, ``GPU``, custom names)."""
    program_mb_max: float = 16.0
    """Largest program (all files together) that is accepted."""
    digest: str = ""
    """Content of everything above that is a file."""


def may_change(path: PurePosixPath | str, patterns: Sequence[str]) -> bool:
    """Whether a path, relative to the program's folder, matches one of a target's ``editable`` patterns."""
    inside = PurePosixPath(path)
    return any(inside.match(pattern) or fnmatchcase(str(inside), pattern) for pattern in patterns)
