"""Edit a program's syntax tree at random: genetic improvement. Needs no model."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from mutators import tunables
from mutators.syntax.edits import KINDS, Bounds, Mutant, mutant
from mutators.syntax.ground import Ground
from mutators.syntax.outline import Language, Outline, Unreadable
from mutators.syntax.settings import frozen
from raysearch.errors import ConfigError, MutatorFault, nearest
from raysearch.protocols import Workspace
from raysearch.target import Target, may_change
from raysearch.types import Brief, Mutation

TRIES_MAX = 60
"""Mutants that are made for one that is a program."""
SMALL = 200
"""Nodes by which any file may grow."""
OUTLINES_MAX = 64
"""Outlines that are kept, the latest used: parents and donors come again."""


class Genetic:
    """A mutator that makes a few random edits of one file's syntax tree, and never runs the program.

    Python is read by LibCST, C and C++ by tree-sitter; all that is not edited keeps its layout. What names stand for
    in place, and whether an expression is a number, a truth or neither, is read from the text, so that most children
    are programs that mean something. Constants that belong to `tune` keep within their bounds.

    Options
        edits_mean: edits of a child, on average (a geometric distribution).
        edits_max: edits of a child, at most.
        transplanting: share of edits (0 to 1) that take an expression, a statement or a function's body from one of
            the brief's inspirations.
        growth_max: how large a file may become, as a multiple of what it is in the target's seed, both counted in
            nodes of the syntax tree; 200 nodes more are always allowed.
        nodes_max: how large any file may become.
        weights: how often each kind of edit is tried, in place of its usual weight; 0: never.
    """

    def __init__(
        self,
        *,
        edits_mean: float = 2.0,
        edits_max: int = 8,
        transplanting: float = 0.25,
        growth_max: float = 3.0,
        nodes_max: int = 20_000,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        for name, value, low, high in (
            ("edits_mean", edits_mean, 1, 100),
            ("edits_max", edits_max, 1, 1000),
            ("transplanting", transplanting, 0, 1),
            ("growth_max", growth_max, 1, 1000),
            ("nodes_max", nodes_max, 10, 10_000_000),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} must be from {low:g} to {high:g}, not {value:g}")
        self.edits_mean, self.edits_max, self.transplanting = edits_mean, edits_max, transplanting
        self.growth_max, self.nodes_max = growth_max, nodes_max
        self.weights = _checked_weights(weights or {})
        self._languages: tuple[Language, ...] = ()
        self._outlines: OrderedDict[tuple[str, bytes], Outline] = OrderedDict()

    @staticmethod
    def unsuited(target: Target) -> str:
        """Why there is nothing to edit in ``target``'s seed program; empty if there is."""
        if target.seed is None:
            return "the target has no seed program"
        known = languages()
        if any(_sources(target.seed, target.editable, known)):
            return ""
        return f"no file among {', '.join(target.editable)} is in {_named(known)}"

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        """Edit one file in place. Raises MutatorFault where there is nothing to edit."""
        self._languages = self._languages or languages()
        files = self._files(workspace)
        path = rng.choices(list(files), [len(outline.expressions) + 1 for _, outline in files.values()])[0]
        language, outline = files[path]
        declared = [tunable for tunable in workspace.target.tunables if tunable.file == path]
        settings = tuple(tunables.settings(path, outline.text.decode(), declared, []))
        outline = replace(outline, frozen=frozen(outline.text.decode(), settings))
        donors = self._donors(workspace, brief, path, language, outline)
        ground = Ground(language, outline, donors, settings)
        bounds = Bounds(self._size_max(workspace, path, language))
        made = self._made(ground, bounds, rng)
        if made is None:
            raise MutatorFault(
                f"{path}: none of {TRIES_MAX} random edits gave another program that parses and has at most "
                f"{bounds.size_max} nodes"
            )
        (workspace.path / path).write_bytes(made.text)
        return Mutation(summary=f"{path}: {made.summary}")

    def _made(self, ground: Ground, bounds: Bounds, rng: random.Random) -> Mutant | None:
        """Several edits at first; where they will not fit, one at a time."""
        for number in range(TRIES_MAX):
            count = 1 if number > TRIES_MAX // 2 else self._count(rng)
            made = mutant(ground, count, bounds, self.weights, self.transplanting, rng)
            if made is not None:
                return made
        return None

    def _count(self, rng: random.Random) -> int:
        count = 1
        while count < self.edits_max and rng.random() > 1 / self.edits_mean:
            count += 1
        return count

    def _files(self, workspace: Workspace) -> dict[str, tuple[Language, Outline]]:
        """Editable files in a language that is known, by path. Raises MutatorFault if there is none."""
        target, found, problems = workspace.target, dict[str, tuple[Language, Outline]](), []
        for path, language in _sources(workspace.path, target.editable, self._languages):
            text = (workspace.path / path).read_bytes()
            try:
                outline = self._outline(language, text)
            except Unreadable as problem:
                problems.append(f"{path}:{problem.line}: cannot be read as {language.name}: {problem}")
                continue
            if outline.expressions or outline.statements:
                found[path] = language, outline
        if not found:
            known = _named(self._languages)
            reasons = "".join(f"\n  {problem}" for problem in problems)
            patterns = ", ".join(target.editable)
            raise MutatorFault(f"nothing to edit: no file among {patterns} holds code in {known}{reasons}")
        return found

    def _donors(
        self, workspace: Workspace, brief: Brief, path: str, language: Language, outline: Outline
    ) -> list[Outline]:
        """The same file in the other programs that the brief names, where it is another."""
        found: dict[bytes, Outline] = {}
        for inspiration in brief.inspirations:
            try:
                text = workspace.show(inspiration.commit, path).encode()
                if text != outline.text and text not in found:
                    found[text] = self._outline(language, text)
            except (FileNotFoundError, Unreadable):
                continue
        return list(found.values())

    def _size_max(self, workspace: Workspace, path: str, language: Language) -> int:
        seed = workspace.target.seed
        text = (seed / path).read_bytes() if seed is not None and (seed / path).is_file() else b""
        checked = language.check(text) if text else None
        return self.nodes_max if checked is None else min(self.nodes_max, SMALL + int(self.growth_max * checked.size))

    def _outline(self, language: Language, text: bytes) -> Outline:
        """Raises Unreadable."""
        key = language.name, text
        if key not in self._outlines:
            self._outlines[key] = language.read(text)
        self._outlines.move_to_end(key)
        while len(self._outlines) > OUTLINES_MAX:
            self._outlines.popitem(last=False)
        return self._outlines[key]


def languages() -> tuple[Language, ...]:
    """All that can be edited; their parsers are loaded here, not before."""
    from mutators.syntax import clike
    from mutators.syntax.python import Python

    return Python(), clike.c(), clike.cpp()


def _named(known: Sequence[Language]) -> str:
    return ", ".join(f"{language.name} ({', '.join(language.suffixes)})" for language in known)


def _checked_weights(weights: Mapping[str, float]) -> dict[str, float]:
    for name, weight in weights.items():
        if name not in KINDS:
            raise ConfigError(f"genetic: there is no kind of edit {name!r} to weigh.{nearest(name, KINDS)}")
        if not 0 <= weight < 1e6:
            raise ConfigError(f"genetic: the weight of {name!r} must be a number from 0, not {weight!r}")
    if all(weights.get(name, kind.weight) == 0 for name, kind in KINDS.items()):
        raise ConfigError("genetic: one kind of edit at least must have a weight above 0")
    return dict(weights)


def _sources(folder: Path, editable: Sequence[str], known: Sequence[Language]) -> Iterator[tuple[str, Language]]:
    """Editable files in a known language, in order of path."""
    for place in sorted(folder.rglob("*")):
        path = PurePosixPath(place.relative_to(folder).as_posix())
        language = next((one for one in known if path.suffix in one.suffixes), None)
        if language is None or place.is_symlink() or not place.is_file():
            continue
        if place.stat().st_size > tunables.FILE_BYTES_MAX or "__pycache__" in path.parts:
            continue
        if may_change(path, editable):
            yield str(path), language
