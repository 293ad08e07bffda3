"""Recipes: a target's bank of patches, from its folder into commits."""

from __future__ import annotations

import difflib
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toys import make_target

from mutators.recipes import Recipes, diff_of, ingredients
from raysearch.config.targets import load_target, snapshot_target
from raysearch.errors import MutatorFault, TargetError
from raysearch.plugins import load
from raysearch.target import Recipe, Target
from raysearch.testing.conformance import MutatorConformance
from raysearch.testing.workspace import FolderWorkspace, tiny_target
from raysearch.types import Brief

PROGRAM = """\
def speed(x):
    cache = None
    # how many at once
    batch = 1
    # how many hands
    threads = 1
    # and out
    return x
"""


def patch(old: str, new: str, program: str = PROGRAM) -> str:
    """A unified diff of ``program``, with three lines around each change."""
    after = program.replace(old, new)
    assert after != program
    return "".join(
        difflib.unified_diff(program.splitlines(keepends=True), after.splitlines(keepends=True), "a/p.py", "b/p.py")
    )


PATCHES = {
    "cache": patch("cache = None", "cache = dict()"),
    "batch": patch("batch = 1", "batch = 64"),
    "threads": patch("threads = 1", "threads = 8"),
    "poison": patch("return x", "return 0"),
    "more": "--- /dev/null\n+++ b/more.py\n@@ -0,0 +1 @@\n+MORE = True\n",
}
INDEX = """\
[[recipe]]
name = "cache"
description = "remember what was asked"

[[recipe]]
name = "batch"
needs = ["cache"]

[[recipe]]
name = "threads"
excludes = ["cache"]

[[recipe]]
name = "poison"
file = "poison.patch"

[[recipe]]
name = "more"
"""


def with_bank(root: Path, index: str = INDEX, patches: Mapping[str, str] = PATCHES) -> Path:
    """A target's folder with recipes."""
    folder = make_target(root) / "recipes"
    folder.mkdir()
    if index:
        (folder / "recipes.toml").write_text(index)
    for name, content in patches.items():
        (folder / f"{name}.patch").write_text(content)
    return root


def a_workspace(root: Path, target: Target | None = None, program: str = PROGRAM) -> FolderWorkspace:
    return FolderWorkspace.make(root / "w", {"p.py": program}, target or load_target(with_bank(root / "target")))


def names_in(place: FolderWorkspace) -> set[str]:
    diffs = [diff_of(recipe) for recipe in place.target.recipes]
    return set(ingredients(place.path, place.scratch / "look", diffs))


# The bank is part of the target


def test_a_target_may_have_recipes(tmp_path: Path) -> None:
    target = load_target(with_bank(tmp_path / "t"))
    assert [recipe.name for recipe in target.recipes] == ["cache", "batch", "threads", "poison", "more"]
    cache, batch, threads, *_ = target.recipes
    assert cache == Recipe("cache", tmp_path / "t/recipes/cache.patch", description="remember what was asked")
    assert (batch.needs, threads.excludes) == (("cache",), ("cache",))


def test_recipes_are_in_the_digest_and_in_the_snapshot(tmp_path: Path) -> None:
    plain = load_target(make_target(tmp_path / "plain"))
    target = load_target(with_bank(tmp_path / "t"))
    taken = snapshot_target(target, tmp_path / "run/target")
    assert taken.digest == target.digest
    assert taken.recipes[0].patch == tmp_path / "run/target/recipes/cache.patch"
    assert taken.recipes[0].patch.read_text() == PATCHES["cache"]
    assert not taken.recipes[0].patch.stat().st_mode & 0o222
    assert [replace(r, patch=Path()) for r in taken.recipes] == [replace(r, patch=Path()) for r in target.recipes]
    (tmp_path / "t/recipes/cache.patch").write_text(PATCHES["cache"].replace("dict()", "set()"))
    changed = load_target(tmp_path / "t")
    assert len({plain.digest, target.digest, changed.digest}) == 3
    assert changed.checker.digest == target.checker.digest
    assert changed.benchmark.digest == target.benchmark.digest


def test_a_folder_called_recipes_with_nothing_for_us_is_left_alone(tmp_path: Path) -> None:
    root = with_bank(tmp_path / "t", index="", patches={})
    (root / "recipes/soup.md").write_text("Boil.\n")
    target = load_target(root)
    assert target.recipes == ()
    assert not (snapshot_target(target, tmp_path / "run").root / "recipes").exists()


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ("", ["recipes/recipes.toml: missing: it says what each patch beside it needs and excludes."]),
        ("[[recipes]]\nname = 'x'\n", ["recipes.toml:1: unknown", "Did you mean 'recipe'?"]),
        ("recipe = []\n", ["recipes.toml:1: recipe should not be empty"]),
        ("[[recipe]]\nfile = 'cache.patch'\n", ["recipes.toml:1: 'name' is missing"]),
        ("[[recipe]]\nname = 'a b'\n", ["recipes.toml:2:", "letters, digits"]),
        ("[[recipe]]\nname = 'cache'\nfile = '../x.patch'\n", ["recipes.toml:3:", "inside the folder of recipes"]),
        ("[[recipe]]\nname = 'cahce'\n", ["recipe 'cahce': no patch", "Did you mean 'cache.patch'?"]),
        ("[[recipe]]\nname = 'empty'\n", ["recipe 'empty': the patch", "is empty"]),
        ("[[recipe]]\nname = 'cache'\nneeds = ['cache']\n", ["recipe 'cache': needs itself."]),
        ("[[recipe]]\nname = 'cache'\nexcludes = ['cash']\n", ["excludes 'cash', which is no recipe.", "'cache'?"]),
        (
            "[[recipe]]\nname = 'cache'\n[[recipe]]\nname = 'batch'\nneeds = ['cache']\nexcludes = ['cache']\n",
            ["recipes.toml:3: recipe 'batch': both needs and excludes 'cache'."],
        ),
        ("[[recipe]]\nname = 'cache'\n" * 2, ["recipes.toml:3: recipe 'cache' is declared twice."]),
        (
            "[[recipe]]\nname = 'cache'\nneeds = ['batch']\n[[recipe]]\nname = 'batch'\nneeds = ['cache']\n",
            ["recipe 'cache' needs itself, by way of 'batch'.", "recipe 'batch' needs itself, by way of 'cache'."],
        ),
        ("[[recipe]]\nname = 3\n", ["recipes.toml:2: ", "string"]),
        ("[[recipe]\n", ["recipes.toml:1:", "not valid TOML"]),
    ],
)
def test_bad_banks_are_refused_with_place_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str, said: Sequence[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TargetError) as caught:
        load_target(with_bank(tmp_path / "t", index, {**PATCHES, "empty": ""}))
    for phrase in said:
        assert phrase in str(caught.value)


# Composition


def test_recipes_are_added_one_at_a_time_as_needs_and_excludes_allow(tmp_path: Path) -> None:
    seen: set[frozenset[str]] = set()
    place = a_workspace(tmp_path)
    for seed in range(48):
        if not seed % 8:
            (place.path / "more.py").unlink(missing_ok=True)
            (place.path / "p.py").write_text(PROGRAM)
        before = names_in(place)
        summary = Recipes(reverting=0.3).mutate(place, Brief(), random.Random(seed)).summary
        after = names_in(place)
        name = summary.removeprefix("without ")
        assert after == (before - {name} if summary != name else before | {name})
        assert len(after ^ before) == 1
        assert "batch" not in after or "cache" in after
        assert not {"cache", "threads"} <= after
        seen.add(frozenset(after))
    assert any(len(names) == 4 for names in seen)
    assert frozenset({"poison"}) in seen
    assert any("threads" in names for names in seen)


def test_what_lies_under_others_is_found(tmp_path: Path) -> None:
    """Each of these changes a line that the one before has made."""
    names, values = ("one", "two", "three"), (1, 2, 4, 8)
    patches = {
        name: patch(f"batch = {old}", f"batch = {new}", PROGRAM.replace("batch = 1", f"batch = {old}"))
        for name, old, new in zip(names, values, values[1:], strict=False)
    }
    needs = ("[]", "['one']", "['two']")
    index = "".join(
        f"[[recipe]]\nname = '{name}'\nneeds = {needed}\n" for name, needed in zip(names, needs, strict=True)
    )
    place = a_workspace(tmp_path, load_target(with_bank(tmp_path / "t", index, patches)))
    told = [Recipes(reverting=0.0).mutate(place, Brief(), random.Random(0)).summary for _ in range(3)]
    assert told == ["one", "two", "three"]
    assert names_in(place) == {"one", "two", "three"}
    assert Recipes(reverting=0.0).mutate(place, Brief(), random.Random(0)).summary == "without three"
    assert (place.path / "p.py").read_text() == PROGRAM.replace("batch = 1", "batch = 4")


@settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**64))
def test_any_order_of_the_same_recipes_gives_the_same_program(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    root = tmp_path_factory.mktemp("order")
    place = a_workspace(root)
    rng = random.Random(seed)
    programs = {}
    for _ in range(12):
        Recipes(reverting=0.4).mutate(place, Brief(), rng)
        program = {path.name: path.read_text() for path in sorted(place.path.iterdir())}
        assert programs.setdefault(frozenset(names_in(place)), program) == program


def test_what_another_mutator_rewrote_counts_as_gone(tmp_path: Path) -> None:
    program = PROGRAM.replace("cache = None", "cache = {}")
    place = a_workspace(tmp_path, program=program)
    assert names_in(place) == set()
    for seed in range(10):
        (place.path / "p.py").write_text(program)
        assert Recipes(reverting=0.0).mutate(place, Brief(), random.Random(seed)).summary in {
            "threads",
            "poison",
            "more",
            "without more",
        }


def test_equal_randomness_gives_equal_programs(tmp_path: Path) -> None:
    told = []
    for way, _ in itertools.product(range(2), range(6)):
        place = a_workspace(tmp_path / f"{way}-{len(told)}")
        told.append(Recipes().mutate(place, Brief(), random.Random(len(told) % 6)).summary)
    assert told[:6] == told[6:]
    assert len(set(told)) > 1


def test_nothing_left_to_do_is_said_with_the_reasons(tmp_path: Path) -> None:
    place = a_workspace(tmp_path, program="nothing like it\n")
    (place.path / "more.py").write_text("mine\n")
    with pytest.raises(MutatorFault) as caught:
        Recipes().mutate(place, Brief(), random.Random(0))
    for phrase in (
        "no recipe applies to this program, and none in it can be taken out:",
        "  cache: error: patch failed: p.py:1",
        "  batch: needs cache",
        "  more: error: more.py: already exists",
    ):
        assert phrase in str(caught.value)
    assert list(place.scratch.iterdir()) == []


def test_a_target_without_recipes_says_how_to_offer_them(tmp_path: Path) -> None:
    with pytest.raises(MutatorFault, match="put patches"):
        Recipes().mutate(a_workspace(tmp_path, tiny_target(tmp_path / "t")), Brief(), random.Random(0))


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="reverting must be from 0 to 1, not 2"):
        Recipes(reverting=2.0)
    assert isinstance(load("mutators", "recipes", {"reverting": 0.5}), Recipes)


class TestConformance(MutatorConformance):
    def make(self) -> Recipes:
        return Recipes()

    def target(self, root: Path) -> Target:
        return replace(load_target(with_bank(root)), editable=("*.py",))

    def program(self) -> Mapping[str, str]:
        return {"p.py": PROGRAM}
