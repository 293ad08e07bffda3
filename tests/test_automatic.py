"""``auto`` among the mutators: what it stands for on which target, and that a run says so and keeps it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from called import Call, call
from toys import make_target

from raysearch.config.layers import Configuration, Override, configure, effective_configuration
from raysearch.config.targets import load_target
from raysearch.errors import ConfigError, TargetError
from raysearch.plugins import known_names
from raysearch.run.automatic import expanded
from raysearch.run.start import resolve

__all__ = ["call"]

RECIPE = "--- a/x.txt\n+++ b/x.txt\n@@ -1 +1 @@\n-5\n+6\n"


def target(folder: Path, seed: dict[str, str] | None, *, recipes: bool = False, rules: str = "") -> Path:
    """A toy target whose seed program has further files."""
    make_target(folder, seed=None if seed is None else "5", target_toml=rules or '[candidate]\neditable = ["**"]\n')
    for name, text in (seed or {}).items():
        (folder / "seed" / name).write_text(text)
    if recipes:
        (folder / "recipes").mkdir()
        (folder / "recipes" / "six.patch").write_text(RECIPE)
        (folder / "recipes" / "recipes.toml").write_text('[[recipe]]\nname = "six"\n')
    return folder


def chosen(folder: Path, *mutators: str, lanes: int = 1) -> tuple[Configuration, str]:
    overrides = [Override(("run", "lanes"), lanes, "--lanes")]
    if mutators:
        overrides.append(Override(("run", "mutators"), list(mutators), "--mutator"))
    return expanded(configure(None, overrides, known=known_names()), load_target(folder))


def names(folder: Path, *mutators: str, lanes: int = 1) -> tuple[str, ...]:
    return chosen(folder, *mutators, lanes=lanes)[0].settings.run.mutators


def test_each_is_taken_where_it_has_something_to_do(tmp_path: Path) -> None:
    tunable = target(tmp_path / "a", {"p.toml": "size = 4  # tune: int 1..9\n"})
    code = target(tmp_path / "b", {"p.py": "def f(x):\n    return x + 1\n"})
    every = target(tmp_path / "c", {"p.py": "K = 4  # tune: int 1..9\n"}, recipes=True)
    declared = '[[tunables]]\nname = "K"\nfile = "p.py"\nkind = "int"\nlow = 1\nhigh = 9\n'
    told = target(tmp_path / "d", {"p.py": "K = 4\n"}, rules=declared)
    assert names(tunable) == ("tune",)
    assert names(tunable, lanes=2) == ("tune", "merge")
    assert names(code) == ("genetic",)
    assert names(every) == ("tune", "genetic", "recipes", "merge")
    assert names(told) == ("tune", "genetic", "merge")


def test_others_stay_where_they_were_named(tmp_path: Path) -> None:
    folder = target(tmp_path, {"p.py": "K = 4  # tune: int 1..9\n"})
    assert names(folder, "scripted") == ("scripted",)
    assert names(folder, "scripted", "auto", "tune") == ("scripted", "genetic", "merge", "tune")
    assert names(folder, "auto", "merge") == ("tune", "genetic", "merge")


def test_what_was_chosen_is_said_and_written_down(tmp_path: Path) -> None:
    folder = target(tmp_path, {"p.py": "K = 4  # tune: int 1..9\n"})
    configuration, line = chosen(folder)
    assert line == (
        "mutators: tune, genetic, merge, which need no model; add a coding agent with --mutator auto --mutator NAME"
    )
    assert 'mutators = ["tune", "genetic", "merge"]  # auto\n' in effective_configuration(configuration)
    assert expanded(configuration, load_target(folder)) == (configuration, "")
    configuration, line = chosen(folder, "auto", "scripted")
    assert line == "mutators: tune, genetic, merge, which need no model"
    assert configuration.origin("run", "mutators") == "--mutator, auto"


def test_nothing_to_do_is_said_before_anything_is_spent(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        chosen(target(tmp_path / "a", {}))
    said = str(caught.value)
    for part in ("target a:", "tune: nothing to tune", "genetic: no file among **", "recipes: the target offers no"):
        assert part in said
    assert "Name one with --mutator" in said
    with pytest.raises(ConfigError, match="tune: the target has no seed program"):
        chosen(target(tmp_path / "b", None))
    with pytest.raises(TargetError, match=r"p.py:1: K: its value 40 is outside 1..9"):
        chosen(target(tmp_path / "c", {"p.py": "K = 40  # tune: int 1..9\n"}))


def test_a_search_is_never_asked_for_auto_itself(tmp_path: Path) -> None:
    folder = target(tmp_path, {"p.py": "K = 4  # tune: int 1..9\n"})
    configuration = configure(None, [Override(("run", "seed"), 1, "--seed")], known=known_names())
    search = resolve(configuration, load_target(folder))
    assert search.offers["mutators"] == ("tune", "genetic", "merge")


def test_a_run_says_what_it_searches_with(tmp_path: Path, call: Call) -> None:
    folder = target(tmp_path / "target", {"p.py": "K = 4  # tune: int 1..9\n"})
    flags = ("--pool", "inline", "--sandbox", "none", "--max-candidates", "2", "--runs-dir", str(tmp_path / "runs"))
    done = call("run", str(folder), *flags)
    assert done.status == 0, done.err
    assert "raysearch: mutators: tune, genetic, merge, which need no model; add a coding agent" in done.told
    (config,) = (tmp_path / "runs").glob("*/run.toml")
    assert tomllib.loads(config.read_text())["run"]["mutators"] == ["tune", "genetic", "merge"]
