"""A mutator that searches the structure of packings, without a model.

It reads the parent's layout from `solution.py`, walks a few changes of structure from there (`moves`), each polished
to its local optimum (`packing.polish`), and writes the best layout that is new back as literals. Where the parent is
not in that form, such as the naive seed, it starts from circles scattered at random.
"""

from __future__ import annotations

import ast
import math
import random

import numpy as np
from moves import MOVES, combine, scatter
from packing import COUNT, Array, Layout, is_packing, polish, settle

from raysearch.errors import ConfigError
from raysearch.protocols import Workspace
from raysearch.types import Brief, Mutation

PROGRAM = "solution.py"
ROUGH = 1e-6
"""Change of the sum at which a polish within a walk ends; convergence is quadratic, so the error is far smaller."""
SAME = 1e-6
"""Two layouts whose sums differ by less are taken for one (or for images of one)."""
PATIENCE = 4
WARMTHS = 4.0
"""A layout that is so many warmths worse than the last is not walked on from: no need to polish it to the end."""

TEMPLATE = '''"""26 circles in the unit square; the sum of their radii is {total!r}."""

import numpy as np

CENTERS = [
{centers}
]
RADII = [
{radii}
]


def pack():
    return np.array(CENTERS), np.array(RADII)
'''


class Relocate:
    """Walks from the parent's layout through changes of structure, and keeps the best one that is new.

    ``polishes`` is the length of a walk: how many layouts are polished (some 9 ms each). A walk starts, with
    probability ``fresh``, from scattered circles; with probability ``cross``, from the parent crossed with one of
    the brief's inspirations; otherwise from the parent. A worse layout is walked on from with probability
    ``exp(loss / warmth)``, ``warmth`` in units of the sum of radii. The result depends on nothing but the
    programs and ``rng``. Raises ConfigError for options out of range.
    """

    def __init__(self, *, polishes: int = 40, fresh: float = 0.2, cross: float = 0.1, warmth: float = 0.0005) -> None:
        if polishes < 1:
            raise ConfigError(f"Relocate: polishes must be 1 or more, not {polishes}")
        if min(fresh, cross) < 0.0 or fresh + cross > 1.0:
            raise ConfigError(f"Relocate: fresh {fresh} and cross {cross} are probabilities that add up to 1 at most")
        if warmth <= 0.0:
            raise ConfigError(f"Relocate: warmth must be positive, not {warmth}")
        self.polishes = polishes
        self.fresh = fresh
        self.cross = cross
        self.warmth = warmth

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        """Write `solution.py` anew. The files of parent and inspirations need not be in this mutator's form."""
        program = workspace.path / PROGRAM
        parent = read_layout(program.read_text(encoding="utf-8")) if program.is_file() else None
        inspirations = _layouts_of(workspace, brief)
        known = [layout.total for layout in (parent, *inspirations) if layout is not None]
        best, how = self._walk(parent, inspirations, known, np.random.default_rng(rng.getrandbits(64)))
        program.write_text(write_layout(best), encoding="utf-8")
        before = "a program without a layout" if parent is None else f"{parent.total:.10f}"
        return Mutation(summary=f"{how}: {best.total:.10f}, from {before}")

    def _walk(
        self, parent: Layout | None, others: list[Layout], known: list[float], rng: np.random.Generator
    ) -> tuple[Layout, str]:
        """The best layout met whose sum is not among ``known``, and the move that led to it.

        A walk that met nothing new goes on, up to `PATIENCE` times its length; then the best of all must do.
        """
        at, how = self._start(parent, others, rng)
        met = [] if at is parent else [(at, how)]
        new = _unknown(met, known)
        while len(met) < self.polishes or (not new and len(met) < PATIENCE * self.polishes):
            move = _draw_move(rng)
            there = polish(MOVES[move][0](at, rng), tolerance=ROUGH, worth=at.total - WARMTHS * self.warmth)
            met.append((there, move))
            new += _unknown(met[-1:], known)
            if there.total >= at.total or rng.random() < math.exp((there.total - at.total) / self.warmth):
                at = there
        best, how = max(new or met, key=lambda item: item[0].total)
        return settle(polish(best.centers)), how

    def _start(self, parent: Layout | None, others: list[Layout], rng: np.random.Generator) -> tuple[Layout, str]:
        draw = rng.random()
        if parent is None or draw < self.fresh:
            return polish(scatter(COUNT, rng), tolerance=ROUGH), "scatter"
        if others and draw < self.fresh + self.cross:
            other = others[int(rng.integers(len(others)))]
            return polish(combine(parent, other, rng), tolerance=ROUGH), "combine"
        return parent, "parent"


def read_layout(source: str) -> Layout | None:
    """The valid layout that ``source`` holds as literals ``CENTERS`` and ``RADII``; None if there is none."""
    found: dict[str, object] = {}
    try:
        for statement in ast.parse(source).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id="CENTERS" | "RADII" as name)], value=value):
                    found[name] = ast.literal_eval(value)
                case _:
                    pass
        layout = Layout(_array(found["CENTERS"]), _array(found["RADII"]))
    except (SyntaxError, ValueError, TypeError, KeyError, RecursionError, MemoryError):
        return None
    if layout.centers.shape != (COUNT, 2) or layout.radii.shape != (COUNT,) or not is_packing(layout):
        return None
    return layout


def write_layout(layout: Layout) -> str:
    """Source of a `solution.py` that returns exactly ``layout``; `read_layout` reads it back."""
    centers = "\n".join(f"    ({x!r}, {y!r})," for x, y in layout.centers.tolist())
    radii = "\n".join(f"    {r!r}," for r in layout.radii.tolist())
    return TEMPLATE.format(total=layout.total, centers=centers, radii=radii)


def _unknown(met: list[tuple[Layout, str]], known: list[float]) -> list[tuple[Layout, str]]:
    return [(layout, move) for layout, move in met if all(abs(layout.total - total) > SAME for total in known)]


def _array(value: object) -> Array:
    return np.asarray(value, dtype=np.float64)


def _layouts_of(workspace: Workspace, brief: Brief) -> list[Layout]:
    """The layouts of the inspirations that hold one."""
    found = []
    for inspiration in brief.inspirations:
        try:
            layout = read_layout(workspace.show(inspiration.commit, PROGRAM))
        except FileNotFoundError:
            continue
        if layout is not None:
            found.append(layout)
    return found


def _draw_move(rng: np.random.Generator) -> str:
    names = list(MOVES)
    weights = np.array([weight for _, weight in MOVES.values()])
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]
