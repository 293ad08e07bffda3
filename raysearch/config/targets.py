"""Reads targets from their folders, and copies them into a run.

::

    <name>/
    ├── OBJECTIVE.md        what to build, in words
    ├── reference/          what is right
    ├── accuracy_checker/   says yes or no
    ├── benchmark/          measures
    ├── README.md
    ├── objectives.toml     (optional) axes of the search; without it, --objective NAME:max|min
    ├── seed/               (optional) the first program; without it the search starts from an empty folder
    ├── recipes/            (optional) patches for the mutator `recipes`, and recipes.toml, which lists them
    └── target.toml         (optional) commands, limits, tunables, baselines, environment, resources
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from raysearch.config import folders
from raysearch.config.baselines import baselines_of, parts_of, table_of
from raysearch.config.constraints import with_constraints
from raysearch.config.digests import Part, combined, copy, digest, size_bytes
from raysearch.config.folders import BENCHMARK, CHECKER, OBJECTIVE, RECIPES, REFERENCE, SEED
from raysearch.config.problems import together
from raysearch.config.recipes import read_recipes
from raysearch.config.target_file import (
    NAME,
    TargetFile,
    is_inside,
    objectives_from_flags,
    read_objectives_file,
    read_target_file,
)
from raysearch.config.toml import at_home, is_there, read_text, shown, written, written_key
from raysearch.errors import TargetError
from raysearch.target import AuditRules, EvaluatorCommand, ShortLook, Target
from raysearch.types import Objective


@dataclass(frozen=True, slots=True)
class _Places:
    """Where each part of a target is."""

    root: Path
    reference: Path
    checker: Path
    benchmark: Path


def load_target(root: Path, objectives: Sequence[str] = ()) -> Target:
    """The target in the folder ``root``.

    ``objectives`` are ``NAME:max`` or ``NAME:min``, the first primary; they take the place of objectives.toml.
    Raises TargetError, which names every problem found.
    """
    root = at_home(root).absolute()
    problems: list[str] = []
    with _readable():
        if folders.absent(root, "no such target folder", problems, folder=True):
            raise TargetError(problems[0])
        return _load(_Places(root, root / REFERENCE, root / CHECKER, root / BENCHMARK), objectives)


def target_from_parts(ref: Path, acc_checker: Path, bench: Path, objectives: Sequence[str] = ()) -> Target:
    """The target made of a reference folder, a checker and a benchmark (each a folder or a script).

    OBJECTIVE.md, and objectives.toml, seed/, recipes/ and target.toml if any, are read from beside ``ref``.
    Raises TargetError, which names every problem found.
    """
    ref, acc_checker, bench = (at_home(path).absolute() for path in (ref, acc_checker, bench))
    with _readable():
        return _load(_Places(ref.parent, ref, acc_checker, bench), objectives)


def constrained(target: Target, constraints: Sequence[str]) -> Target:
    """``target`` with rules of a run's own at the end of its objective. Raises TargetError."""
    if not constraints:
        return target
    with _readable():
        return _with_digests(replace(target, objective=with_constraints(target.objective, constraints)))


@contextmanager
def _readable() -> Iterator[None]:
    """What cannot even be looked at, such as a path that is too long, is the target's fault."""
    try:
        yield
    except OSError as problem:
        place = shown(Path(problem.filename)) if problem.filename else "target"
        raise TargetError(f"{place}: cannot be read: {problem.strerror or problem}.") from None


def _load(places: _Places, flags: Sequence[str]) -> Target:
    problems: list[str] = []
    root = places.root
    objective = _objective_text(root / OBJECTIVE, problems)
    folders.absent(places.reference, "the folder that shows what is right", problems, folder=True)
    file = read_target_file(root / "target.toml", problems)
    checker = _evaluator("checker", places.checker, root, file, problems)
    benchmark = _evaluator("benchmark", places.benchmark, root, file, problems)
    objectives = _objectives(root, flags, problems)
    seed = _seed(root / SEED, file, problems)
    recipes = read_recipes(root / RECIPES, problems)
    baselines = baselines_of(root, file, problems)
    if problems:
        raise TargetError(together(f"target {shown(root)}", problems))
    target = Target(
        name=file.name or _name_of(root),
        root=root,
        objective=objective,
        objectives=objectives,
        reference=places.reference,
        checker=checker,
        benchmark=benchmark,
        seed=seed,
        editable=file.candidate.editable,
        tunables=tuple(tunable.tunable() for tunable in file.tunables),
        recipes=recipes,
        baselines=baselines,
        environment=dict(file.environment),
        limits=file.limits.limits(),
        audit=file.audit.rules(),
        warm=file.warm.imports,
        resources=file.resources.resources(),
        program_mb_max=file.candidate.program_mb_max,
    )
    return _with_digests(target)


def _evaluator(role: str, place: Path, root: Path, file: TargetFile, problems: list[str]) -> EvaluatorCommand:
    if not place.is_file() and folders.absent(place, f"the {role}'s folder", problems, folder=True):
        return EvaluatorCommand((), place)
    found = folders.evaluator(role, place, getattr(file, role), root, problems)
    plain, table = EvaluatorCommand(found.command, found.folder, found.timeout_s), file.benchmark
    if role != "benchmark" or table is None:
        return plain
    short = ShortLook(table.short, table.short_timeout_s or table.timeout_s, table.hopeless) if table.short else None
    return replace(plain, heeds_load=table.heeds_load, short=short)


def _objective_text(path: Path, problems: list[str]) -> str:
    if folders.absent(path, "it says in words what to build", problems, folder=False):
        return ""
    try:
        text = read_text(path, TargetError)
    except TargetError as problem:
        problems.append(str(problem))
        return ""
    if not text.strip():
        problems.append(f"{shown(path)}: empty: say in words what to build.")
    return text


def _objectives(root: Path, flags: Sequence[str], problems: list[str]) -> tuple[Objective, ...]:
    path = root / "objectives.toml"
    declared = read_objectives_file(path, problems) if is_there(path) else ()
    if flags:
        return objectives_from_flags(flags, declared, problems)
    if not is_there(path):
        problems.append(
            f"{shown(path)}: missing, and nothing else names an objective: pass --objective NAME:max (or min), "
            'or write the file:  [[objective]]  name = "…"  direction = "max"'
        )
    return declared


def _seed(path: Path, file: TargetFile, problems: list[str]) -> Path | None:
    if not is_there(path):
        return None
    if not path.is_dir():
        problems.append(f"{shown(path)}: must be a folder, the first program.")
        return None
    try:
        size_mb = size_bytes(Part(path)) / 1e6
    except TargetError as problem:
        problems.append(str(problem))
        return None
    if size_mb > file.candidate.program_mb_max:
        problems.append(
            f"{shown(path)}: {size_mb:.3g} MB, more than a program may have: "
            f"raise [candidate] program_mb_max ({file.candidate.program_mb_max:g}) in target.toml, or slim it."
        )
    problems += [
        f"{shown(path / tunable.file)}: missing, yet tunable {tunable.name!r} is said to be in it."
        for tunable in file.tunables
        if is_inside(tunable.file) and not (path / tunable.file).is_file()
    ]
    return path


def _name_of(root: Path) -> str:
    """The folder's own name, without what names cannot hold."""
    plain = "".join(char if NAME.fullmatch(f"a{char}") else "-" for char in root.resolve().name)[:64]
    return plain if NAME.fullmatch(plain) else "target"


def _part(evaluator: EvaluatorCommand, other: EvaluatorCommand, target: Target) -> Part:
    shared = (target.root / OBJECTIVE, target.reference, other.folder)
    return folders.part_of(evaluator.folder, evaluator.command, shared)


def _with_digests(target: Target) -> Target:
    """The digests of evaluators take in all that their answer depends on; the target's takes in everything."""
    reference = digest(Part(target.reference))
    checking = digest(_part(target.checker, target.benchmark, target))
    measuring = digest(_part(target.benchmark, target.checker, target))
    checker = _digested(target.checker, target, reference, checking)
    benchmark = _digested(target.benchmark, target, reference, checking, measuring)  # it may use what checks
    rules = (target.editable, target.tunables, sorted(target.environment.items()), target.program_mb_max)
    resources = sorted((role, sorted(amounts.items())) for role, amounts in target.resources.items())
    whole = combined(
        target.name,
        target.objective,
        repr(target.objectives),
        checker.digest,
        benchmark.digest,
        digest(Part(target.seed)) if target.seed else "no seed",
        repr(rules),
        repr(resources),
        *([digest(Part(target.root / RECIPES))] if target.recipes else []),
        *(combined(name, digest(part)) for name, part in parts_of(target).items()),
        *(baseline.why for baseline in target.baselines),
        *([repr(target.warm)] if target.warm else []),
        *([repr(target.audit)] if target.audit != AuditRules() else []),
    )
    return replace(target, checker=checker, benchmark=benchmark, digest=whole)


def _digested(command: EvaluatorCommand, target: Target, *contents: str) -> EvaluatorCommand:
    rules = repr((command.command, command.timeout_s, target.limits, *([command.short] if command.short else [])))
    return replace(command, digest=combined(rules, *contents))


def snapshot_target(target: Target, into: Path) -> Target:
    """Copy ``target`` to the folder ``into`` (new or empty) in the usual layout, its files read-only.

    Later edits of the original change nothing. `load_target` of ``into`` gives the same target again, also where
    the original came from parts or flags. Raises TargetError if a file cannot be copied or changes meanwhile.
    """
    into = into.absolute()
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise TargetError(f"{shown(into)}: not an empty folder: the target is copied to a new one.")
    parts = {
        REFERENCE: Part(target.reference),
        CHECKER: _part(target.checker, target.benchmark, target),
        BENCHMARK: _part(target.benchmark, target.checker, target),
        **({SEED: Part(target.seed)} if target.seed else {}),
        **({RECIPES: Part(target.root / RECIPES)} if target.recipes else {}),
        **parts_of(target),
    }
    for part in parts.values():
        if not part.only and into.resolve().is_relative_to(part.folder.resolve()):
            raise TargetError(f"{shown(into)}: lies inside {shown(part.folder)}: choose another place for the run.")
    for name, part in parts.items():
        copy(part, into / name)
    texts = {
        OBJECTIVE: target.objective,
        "objectives.toml": _objectives_toml(target.objectives),
        "target.toml": _target_toml(target),
    }
    try:
        for name, text in texts.items():
            (into / name).write_bytes(text.encode())
            (into / name).chmod(0o444)
    except OSError as problem:
        raise TargetError(f"{shown(into)}: cannot be written: {problem.strerror or problem}.") from None
    taken = load_target(into)
    if taken.digest != target.digest:
        raise TargetError(f"{shown(target.root)}: changed while it was being copied: start again.")
    return taken


def _objectives_toml(objectives: Sequence[Objective]) -> str:
    return "\n".join(
        _table(
            "[[objective]]",
            {
                "name": o.name,
                "direction": o.goal,
                "unit": o.unit,
                "noise": o.noise,
                "primary": o.primary,
                "deterministic": o.deterministic,
            },
        )
        for o in objectives
    )


def _target_toml(target: Target) -> str:
    names = {"CPU": "cpus", "GPU": "gpus"}
    blocks = [
        f"name = {written(target.name)}\n",
        *(
            _table(
                f"[{role}]",
                {"command": command.command, "timeout_s": command.timeout_s}
                | ({"heeds_load": True} if command.heeds_load else {})
                | _short(command.short),
            )
            for role, command in (("checker", target.checker), ("benchmark", target.benchmark))
        ),
        _table("[candidate]", {"editable": target.editable, "program_mb_max": target.program_mb_max}),
        _table("[limits]", asdict(target.limits)),
        *([_table("[audit]", asdict(target.audit))] if target.audit != AuditRules() else []),
        *([_table("[warm]", {"imports": target.warm})] if target.warm else []),
        _table("[environment]", target.environment),
        *(
            _table(f"[resources.{role}]", {names.get(name, name): amount for name, amount in amounts.items()})
            for role, amounts in target.resources.items()
        ),
        *(_table("[[tunables]]", asdict(tunable)) for tunable in target.tunables),
        *(_table("[[baselines]]", table_of(baseline)) for baseline in target.baselines),
    ]
    return "\n".join(blocks)


def _short(look: ShortLook | None) -> dict[str, object]:
    if look is None:
        return {}
    return {"short": look.words, "short_timeout_s": look.timeout_s, "hopeless": look.hopeless}


def _table(header: str, values: Mapping[str, object]) -> str:
    return "\n".join([header, *(f"{written_key(key)} = {written(value)}" for key, value in values.items()), ""])
