"""A target's bank of patches: ``recipes/recipes.toml`` and the ``*.patch`` files beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from raysearch.config.target_file import NAME, is_inside, validated
from raysearch.config.toml import Document, is_there, shown
from raysearch.config.values import Table, Texts
from raysearch.errors import nearest
from raysearch.target import Recipe

INDEX = "recipes.toml"


class RecipeTable(Table):
    name: str
    file: str = ""
    """Default: the name with ``.patch`` behind it."""
    needs: Texts = ()
    excludes: Texts = ()
    description: str = ""

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError("should be made of letters, digits, '_', '-' and '.', 64 at most")
        return name

    @field_validator("file")
    @classmethod
    def _beside(cls, file: str) -> str:
        if not is_inside(file):
            raise ValueError("should be the path of a patch inside the folder of recipes")
        return file


class RecipesFile(Table):
    """``recipes.toml``."""

    recipe: Annotated[tuple[RecipeTable, ...], Field(strict=False, min_length=1, max_length=1000)]


def read_recipes(folder: Path, problems: list[str]) -> tuple[Recipe, ...]:
    """The bank in ``folder``; none without ``recipes.toml``. What is wrong with it is added to ``problems``."""
    index = folder / INDEX
    if is_there(folder) and not folder.is_dir():
        problems.append(f"{shown(folder)}: must be a folder, with {INDEX} and the patches that it lists.")
        return ()
    if not is_there(index):
        if any(folder.glob("*.patch")):
            problems.append(f"{shown(index)}: missing: it says what each patch beside it needs and excludes.")
        return ()
    read = validated(index, RecipesFile, problems)
    if read is None:
        return ()
    document, found = read
    files = {table.name: table.file or f"{table.name}.patch" for table in found.recipe}
    for number, table in enumerate(found.recipe):
        where = document.where(("recipe", number))
        problems += [f"{where}: recipe {table.name!r}: {problem}" for problem in _problems(folder, table, files)]
    problems += _contradictions(document, found)
    return tuple(
        Recipe(table.name, folder / files[table.name], table.needs, table.excludes, table.description)
        for table in found.recipe
    )


def _problems(folder: Path, table: RecipeTable, files: Mapping[str, str]) -> list[str]:
    """What is wrong with one recipe: its patch, and the others that it names."""
    problems = []
    patch = folder / (table.file or f"{table.name}.patch")
    if not patch.is_file():
        hint = nearest(patch.name, [path.name for path in folder.glob("*.patch")])
        problems.append(f"no patch {shown(patch)}.{hint}")
    elif not patch.stat().st_size:
        problems.append(f"the patch {shown(patch)} is empty.")
    for key, names in (("needs", table.needs), ("excludes", table.excludes)):
        for name in names:
            if name == table.name:
                problems.append(f"{key} itself.")
            elif name not in files:
                problems.append(f"{key} {name!r}, which is no recipe.{nearest(name, files)}")
    problems += [f"both needs and excludes {name!r}." for name in table.needs if name in table.excludes]
    return problems


def _contradictions(document: Document, found: RecipesFile) -> list[str]:
    """Names given twice, and recipes that need themselves by way of others."""
    problems = []
    names = [table.name for table in found.recipe]
    needs = {table.name: table.needs for table in found.recipe}
    for number, name in enumerate(names):
        where = document.where(("recipe", number))
        if names.index(name) < number:
            problems.append(f"{where}: recipe {name!r} is declared twice.")
        elif name not in needs[name] and name in _all_needs(name, needs):
            problems.append(f"{where}: recipe {name!r} needs itself, by way of {', '.join(map(repr, needs[name]))}.")
    return problems


def _all_needs(name: str, needs: Mapping[str, tuple[str, ...]]) -> set[str]:
    """What must be there before ``name``, directly or not."""
    found: set[str] = set()
    waiting = list(needs[name])
    while waiting:
        other = waiting.pop()
        if other not in found:
            found.add(other)
            waiting += needs.get(other, ())
    return found
