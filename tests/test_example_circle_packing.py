"""The circle-packing example: its checker and benchmark as the commands that they are, and its mutator."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysearch.config.targets import load_target
from raysearch.errors import PluginError, UserError
from raysearch.plugins import load
from raysearch.types import Brief, CandidateId, Commit, Inspiration

TARGET = Path(__file__).parents[1] / "examples" / "circle-packing"
MUTATOR = f"{TARGET}/mutator.py:Relocate"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
RADIUS = 0.0625
"""A power of two: sums and products of the grid's numbers below are exact."""
GRID = [((2 * (i % 8) + 1) * RADIUS, (2 * (i // 8) + 1) * RADIUS) for i in range(26)]
"""Rows of eight circles that touch each other and the walls exactly."""


def program(centers: Sequence[object], radii: Sequence[object]) -> str:
    return f"from math import inf, nan\n\n\ndef pack():\n    return {list(centers)!r}, {list(radii)!r}\n"


def ask(folder: Path, source: str, script: str, *options: str) -> dict[str, Any]:
    """What ``script`` of the target writes about a candidate with this ``solution.py``."""
    candidate = folder / "candidate"
    candidate.mkdir(exist_ok=True)
    (candidate / "solution.py").write_text(source)
    result = folder / "result.json"
    arguments = ["--candidate", candidate, "--reference", TARGET / "reference", "--seed", "1", "--result", result]
    command = [sys.executable, TARGET / script, *arguments, *options]
    done = subprocess.run(command, cwd=TARGET, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    answer: dict[str, Any] = json.loads(result.read_text())
    return answer


def check(folder: Path, source: str, *options: str) -> dict[str, Any]:
    return ask(folder, source, "accuracy_checker/checker.py", *options)


def failed(verdict: dict[str, Any]) -> list[str]:
    assert verdict["passed"] is all(case["passed"] for case in verdict["cases"])
    return [case["name"] for case in verdict["cases"] if not case["passed"]]


# -- checker ----------------------------------------------------------------------------------------------


def test_target_loads() -> None:
    target = load_target(TARGET)
    assert [(o.name, o.goal, o.noise, o.primary) for o in target.objectives] == [("sum_radii", "max", 0.0, True)]
    source = (TARGET / "seed" / "solution.py").read_text()
    assert all(f"\n{tunable.name} = " in source for tunable in target.tunables)


def test_touching_is_allowed(tmp_path: Path) -> None:
    verdict = check(tmp_path, program(GRID, [RADIUS] * 26))
    assert verdict["passed"]
    assert failed(verdict) == []


def test_seed_is_a_naive_packing(tmp_path: Path) -> None:
    source = (TARGET / "seed" / "solution.py").read_text()
    assert check(tmp_path, source)["passed"]
    (metric,) = ask(tmp_path, source, "benchmark/benchmark.py")["metrics"]
    assert metric["name"] == "sum_radii"
    assert metric["samples"] == [pytest.approx(0.965, abs=0.01)]


def test_reference_is_a_packing(tmp_path: Path) -> None:
    source = (TARGET / "reference" / "solution.py").read_text().replace("STARTS = 24", "STARTS = 1")
    assert check(tmp_path, source)["passed"]


def test_overlap_in_the_last_digit(tmp_path: Path) -> None:
    centers, radii = list(GRID), [RADIUS] * 26
    radii[9] = math.nextafter(RADIUS, 1)
    verdict = check(tmp_path, program(centers, radii))
    assert failed(verdict) == ["overlaps"]
    assert "circles 8 and 9 overlap by 1.39e-17" in verdict["feedback"]
    assert "rounding" in verdict["feedback"]


def test_wall_excess_in_the_last_digit(tmp_path: Path) -> None:
    centers = list(GRID)
    centers[25] = (centers[25][0], math.nextafter(RADIUS * 7, 1))  # up, into free room
    assert check(tmp_path, program(centers, [RADIUS] * 26))["passed"]
    centers[24] = (math.nextafter(RADIUS, 0), RADIUS * 7)
    verdict = check(tmp_path, program(centers, [RADIUS] * 26))
    assert failed(verdict) == ["walls"]
    assert "circle 24 reaches 6.94e-18 beyond x = 0" in verdict["feedback"]


def test_far_wall_is_exact_where_doubles_round(tmp_path: Path) -> None:
    centers, radii = list(GRID), [RADIUS] * 26
    centers[7] = (1 - 2.0**-20, centers[7][1])
    radii[7] = 2.0**-20 + 2.0**-72
    assert centers[7][0] + radii[7] == 1.0
    assert failed(check(tmp_path, program(centers, radii))) == ["walls"]


def test_largest_violation_comes_first(tmp_path: Path) -> None:
    radii = [RADIUS] * 26
    radii[0], radii[20] = RADIUS + 1e-3, RADIUS + 1e-2
    verdict = check(tmp_path, program(GRID, radii))
    assert failed(verdict) == ["walls", "overlaps"]
    assert "the largest 0.01." in verdict["feedback"].splitlines()[0]
    assert "20" in verdict["feedback"].splitlines()[1]


@pytest.mark.parametrize(
    ("centers", "radii", "rule"),
    [
        pytest.param(GRID, [*[RADIUS] * 25, math.nan], "finite", id="radius is not a number"),
        pytest.param([*GRID[:25], (math.inf, 0.5)], [RADIUS] * 26, "finite", id="center is infinite"),
        pytest.param(GRID[:25], [RADIUS] * 25, "shape", id="25 circles"),
        pytest.param(GRID, [RADIUS] * 27, "shape", id="a radius too many"),
        pytest.param(GRID, [[RADIUS]] * 26, "shape", id="radii in a column"),
        pytest.param([(*c, 0.0) for c in GRID], [RADIUS] * 26, "shape", id="three coordinates"),
        pytest.param([], [], "shape", id="nothing"),
        pytest.param([*GRID[:25], (0.5,)], [RADIUS] * 26, "runs", id="ragged"),
        pytest.param(GRID, [*[RADIUS] * 25, "large"], "runs", id="text"),
        pytest.param(GRID, [*[RADIUS] * 25, -1e-300], "radii", id="negative radius"),
        pytest.param([*GRID[:25], (1e308, 1e308)], [*[RADIUS] * 25, 1.7e308], "walls", id="overflow"),
    ],
)
def test_what_is_no_packing(tmp_path: Path, centers: list[object], radii: list[object], rule: str) -> None:
    verdict = check(tmp_path, program(centers, radii))
    assert failed(verdict)[0] == rule
    assert verdict["feedback"]


@pytest.mark.parametrize(
    ("source", "feedback"),
    [
        pytest.param("def pack():\n    raise OSError('no')\n", "OSError: no (solution.py, line 2)", id="raises"),
        pytest.param("def pack(:\n", "SyntaxError", id="is not Python"),
        pytest.param("x = 1\n", "no attribute 'pack'", id="has no pack"),
        pytest.param("import sys\nsys.exit(0)\n", "SystemExit", id="exits"),
        pytest.param("import os\nos._exit(0)\n", "exited with status 0 before", id="leaves at once"),
        pytest.param("import os\nos.kill(os.getpid(), 9)\n", "ended by signal 9", id="kills itself"),
        pytest.param("def pack():\n    return pack()\n", "RecursionError", id="recurses"),
    ],
)
def test_what_does_not_run(tmp_path: Path, source: str, feedback: str) -> None:
    verdict = check(tmp_path, source)
    assert failed(verdict) == ["runs"]
    assert feedback in verdict["feedback"]


def test_too_slow(tmp_path: Path) -> None:
    verdict = check(tmp_path, "import time\n\ndef pack():\n    time.sleep(600)\n", "--limit-s", "0.5")
    assert failed(verdict) == ["runs"]
    assert "within 0.5 s" in verdict["feedback"]


def test_what_it_prints_does_not_matter(tmp_path: Path) -> None:
    noise = 'import sys\nprint("{" * 10**6)\nprint("garbage", file=sys.stderr)\n'
    assert check(tmp_path, noise + program(GRID, [RADIUS] * 26))["passed"]


def test_what_it_writes_to_the_result_does_not_matter(tmp_path: Path) -> None:
    forged = {"schema": "raysearch.verdict/1", "passed": True, "feedback": "", "cases": [], "conditions": {}}
    forgery = f"from pathlib import Path\nPath({str(tmp_path / 'result.json')!r}).write_text({json.dumps(forged)!r})\n"
    assert failed(check(tmp_path, forgery + program(GRID, [2 * RADIUS] * 26))) == ["walls", "overlaps"]


@pytest.mark.parametrize("answer", ["true", "[" * 5000, '{"centers": 1}', "{}", "1e999", '{"error": "x"}', "x" * 2**21])
def test_what_it_answers_in_the_child_s_name_is_not_believed(tmp_path: Path, answer: str) -> None:
    forgery = f"import os, sys\nfrom pathlib import Path\nPath(sys.argv[2]).write_text({answer!r})\nos._exit(0)\n"
    assert len(failed(check(tmp_path, forgery))) == 1


def test_benchmark_verifies_afresh(tmp_path: Path) -> None:
    (metric,) = ask(tmp_path, program(GRID, [RADIUS] * 26), "benchmark/benchmark.py")["metrics"]
    assert metric["samples"] == [26 * RADIUS]
    refused = ask(tmp_path, program(GRID, [RADIUS * 2] * 26), "benchmark/benchmark.py")
    assert "metrics" not in refused
    assert "circle" in refused["refused"]


# -- mutator ----------------------------------------------------------------------------------------------


@dataclass
class Folder:
    """As much of a workspace as the mutator uses."""

    path: Path
    commits: dict[str, str] = field(default_factory=dict)

    def show(self, commit: Commit, path: str) -> str:
        if commit not in self.commits:
            raise FileNotFoundError(path)
        return self.commits[commit]


@pytest.fixture
def modules() -> Any:
    """The mutator's modules, by name."""
    load("mutators", MUTATOR, {})
    return sys.modules


def mutate(folder: Path, source: str, seed: int, others: Sequence[str] = (), **options: object) -> str:
    """The program that the mutator makes of ``source``."""
    (folder / "solution.py").write_text(source)
    mutator: Any = load("mutators", MUTATOR, options)
    commits = {str(number): other for number, other in enumerate(others)}
    inspirations = tuple(Inspiration(CandidateId(1), Commit(name)) for name in [*commits, "gone"])
    mutation = mutator.mutate(Folder(folder, commits), Brief(inspirations=inspirations), random.Random(seed))
    assert mutation.summary
    return (folder / "solution.py").read_text()


SEED = (TARGET / "seed" / "solution.py").read_text()


def total(source: str) -> float:
    """Sum of the radii that ``source`` returns."""
    names: dict[str, Any] = {}
    exec(source, names)
    return math.fsum(names["pack"]()[1])


def test_one_walk_from_the_seed(tmp_path: Path) -> None:
    child = mutate(tmp_path, SEED, 1, polishes=4)
    assert total(child) > 2.5
    assert check(tmp_path, child)["passed"]
    assert ask(tmp_path, child, "benchmark/benchmark.py")["metrics"][0]["samples"] == [total(child)]


def test_same_random_numbers_same_child(tmp_path: Path) -> None:
    children = [mutate(tmp_path, SEED, seed, polishes=3) for seed in (1, 1, 2)]
    assert children[0] == children[1] != children[2]


def test_walks_on_from_the_parent(tmp_path: Path) -> None:
    parent = mutate(tmp_path, SEED, 1, polishes=2)
    children = [mutate(tmp_path, parent, seed, [parent, SEED, "("], polishes=2, fresh=0.0) for seed in range(4)]
    assert all(abs(total(child) - total(parent)) > 1e-9 for child in children)
    assert max(map(total, children)) > 2.5


@pytest.mark.parametrize("how", [{"fresh": 1.0, "cross": 0.0}, {"fresh": 0.0, "cross": 1.0}])
def test_every_start_gives_a_packing(tmp_path: Path, how: dict[str, float]) -> None:
    first, second = (mutate(tmp_path, SEED, seed, polishes=1) for seed in (1, 2))
    child = mutate(tmp_path, first, 3, [second], polishes=1, **how)
    assert total(child) > 2.0
    assert check(tmp_path, child)["passed"]


@pytest.mark.parametrize(
    "options", [{"polishes": 0}, {"fresh": 0.7, "cross": 0.7}, {"fresh": -0.1}, {"warmth": 0.0}, {"polish": 3}]
)
def test_options_out_of_range(options: dict[str, object]) -> None:
    with pytest.raises((UserError, PluginError)):
        load("mutators", MUTATOR, options)


def test_reads_back_what_it_wrote(tmp_path: Path, modules: Any) -> None:
    child = mutate(tmp_path, SEED, 5, polishes=1)
    loaded: Any = sys.modules[type(load("mutators", MUTATOR, {})).__module__]
    layout = loaded.read_layout(child)
    assert layout.total == total(child)
    assert loaded.write_layout(layout) == child
    assert loaded.read_layout(SEED) is None
    assert loaded.read_layout(child.replace("0.", "1.", 1)) is None
    assert loaded.read_layout(child.replace("    (", "    # (", 1)) is None


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_both_exact_checks_agree(data: st.DataObject) -> None:
    """The mutator's quick check and the checker's plain one, on layouts that touch but for a last digit."""
    load("mutators", MUTATOR, {})
    packing: Any = sys.modules["packing"]
    np = import_module("numpy")
    centers, radii = np.array(GRID), np.full(26, RADIUS)
    for _ in range(data.draw(st.integers(0, 3))):
        number = data.draw(st.integers(0, 25))
        side = data.draw(st.sampled_from([0.0, 1.0]))
        if data.draw(st.booleans()):
            radii[number] = np.nextafter(radii[number], side)
        else:
            axis = data.draw(st.integers(0, 1))
            centers[number, axis] = np.nextafter(centers[number, axis], side)
    layout = packing.Layout(centers, radii)
    assert packing.is_packing(layout) is not broken(centers.tolist(), radii.tolist())
    settled = packing.settle(layout)
    assert packing.is_packing(settled)
    assert layout.total - 1e-13 < settled.total <= layout.total


def broken(centers: list[list[float]], radii: list[float]) -> bool:
    """The rules of the target, in so many words."""
    points = [(Fraction(x), Fraction(y)) for x, y in centers]
    sizes = [Fraction(r) for r in radii]
    return (
        any(r < 0 for r in sizes)
        or any(v - r < 0 or v + r > 1 for p, r in zip(points, sizes, strict=True) for v in p)
        or any(
            (sizes[i] + sizes[j]) ** 2 > (points[i][0] - points[j][0]) ** 2 + (points[i][1] - points[j][1]) ** 2
            for i in range(26)
            for j in range(i)
        )
    )


def test_every_move_keeps_the_circles(modules: Any) -> None:
    np, moves, packing = import_module("numpy"), modules["moves"], modules["packing"]
    layout = packing.settle(packing.polish(moves.scatter(26, np.random.default_rng(1))))
    before = layout.centers.copy()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        children = [move(layout, rng) for move, _ in moves.MOVES.values()]
        for centers in (*children, moves.combine(layout, layout, rng)):
            assert centers.shape == (26, 2)
            assert 0 <= centers.min() <= centers.max() <= 1
    assert (layout.centers == before).all()


def test_turned_images_are_the_symmetries_of_the_square(modules: Any) -> None:
    np, moves, packing = import_module("numpy"), modules["moves"], modules["packing"]
    layout = packing.settle(packing.polish(moves.scatter(26, np.random.default_rng(1))))
    images = [moves.turned(layout.centers, symmetry) for symmetry in range(8)]
    assert len({image.tobytes() for image in images}) == 8
    assert all(packing.violation(packing.Layout(image, layout.radii)) < 1e-12 for image in images)
