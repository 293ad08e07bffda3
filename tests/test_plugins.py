"""The plug-in loader: three kinds of reference, checked options, checked methods, clear refusals."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch import plugins
from raysearch.errors import PluginError
from raysearch.plugins import Kind, PluginSpec, load

MUTATOR = """\
from __future__ import annotations
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from collections.abc import Mapping, Sequence
import companion

class Move:
    resources = {"cpus": 1, "apple": 2}

    def __init__(self, rate: float = 0.5, tries: int = 3, *, names: tuple[str, ...] = (), mode: Literal["a", "b"] = "a",
                 where: Path | None = None, table: Mapping[str, float] = {}, pair: tuple[int, str] = (1, "x"),
                 either: int | str = 0, items: list[int] | None = None, on: bool = False, anything=None):
        self.__dict__.update(locals())
        self.word = companion.WORD
        if tries < 0:
            raise ValueError("tries must not be negative")

    def mutate(self, workspace, brief, rng):
        return None

class NoMethod:
    def mutates(self, workspace, brief, rng): ...

class TooFew:
    def mutate(self, workspace): ...

class Needs:
    def __init__(self, model: str): self.model = model
    def mutate(self, workspace, brief, rng): ...

class Open:
    def __init__(self, **options): self.options = options
    def mutate(self, workspace, brief, rng): ...

class Static:
    @staticmethod
    def mutate(workspace, brief, rng): ...

def factory(): ...
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "companion.py").write_text("WORD = 'beside'\n")
    path = tmp_path / "moves.py"
    path.write_text(MUTATOR)
    sys.modules.pop("companion", None)
    return path


def refused(reference: str, kind: Kind = "mutators", **options: object) -> str:
    with pytest.raises(PluginError) as caught:
        load(kind, reference, options)
    return str(caught.value)


def test_by_file(file: Path) -> None:
    before = list(sys.path)
    move = cast(Any, load("mutators", f"{file}:Move", {"rate": 1, "names": ["x", "y"], "where": "a/b", "mode": "b"}))
    assert (move.rate, move.names, move.where, move.mode) == (1.0, ("x", "y"), Path("a/b"), "b")
    assert type(move.rate) is float
    assert move.word == "beside"
    assert sys.path == before
    assert type(load("mutators", f"{file}:Move", {})) is type(move)


def test_by_relative_path(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert type(load("mutators", "moves.py:Move", {})) is type(load("mutators", f"{file}:Move", {}))


def test_by_module() -> None:
    assert type(load("mutators", f"{__name__}:Anything", {})) is Anything
    assert "Random has no method mutate" in refused("random:Random")


def test_a_sibling_whose_name_is_taken_is_refused(file: Path, tmp_path: Path) -> None:
    load("mutators", f"{file}:Move", {})
    other = tmp_path / "other"
    other.mkdir()
    (other / "companion.py").write_text("WORD = 'another'\n")
    (other / "moves.py").write_text(MUTATOR)
    assert "imports 'companion' from its folder, but another module" in refused(f"{other}/moves.py:Move")
    sys.modules.pop("companion")
    assert cast(Any, load("mutators", f"{other}/moves.py:Move", {})).word == "another"


def test_files_of_one_name_in_two_folders_are_two_modules(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.py").write_text(
            f"class M:\n    said = {name!r}\n    def mutate(self, workspace, brief, rng): ..."
        )
    assert [cast(Any, load("mutators", f"{tmp_path}/{n}/m.py:M", {})).said for n in ("one", "two")] == ["one", "two"]


def test_names_of_installed_plugins() -> None:
    assert {"evolve", "plain", "agent", "best-of-n", "chain"} <= set(plugins.available("policies"))
    assert plugins.available("judges")["accuracy"] == "evaluators.command:CommandJudge"
    assert type(load("judges", "accuracy", {})).__name__ == "CommandJudge"
    assert "tune" in plugins.known_names()["mutators"]
    assert refused("evlove", "policies").startswith("no policy is called 'evlove'. Did you mean 'evolve'?")
    assert "scripted, tune" in refused("qqqqqqqq")


def test_a_spec_loads_again_in_another_process(file: Path) -> None:
    spec = PluginSpec("mutators", "mine", f"{file}:Move", {"tries": 7})
    script = "import pickle, sys; print(pickle.loads(sys.stdin.buffer.read()).load().tries)"
    done = subprocess.run([sys.executable, "-c", script], input=pickle.dumps(spec), capture_output=True, check=True)
    assert done.stdout.strip() == b"7"


def test_offers_fill_what_no_option_says(file: Path) -> None:
    move = cast(Any, load("mutators", f"{file}:Move", {"rate": 0.1}, offers={"rate": 9.0, "tries": 4, "other": 1}))
    assert (move.rate, move.tries) == (0.1, 4)
    needs = cast(Any, load("mutators", f"{file}:Needs", {}, offers={"model": "m"}))
    assert needs.model == "m"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"rat": 1}, "has no option 'rat'. Did you mean 'rate'?"),
        ({"rate": "fast"}, "option 'rate' must be a finite number, not 'fast'"),
        ({"rate": True}, "must be a finite number, not True"),
        ({"rate": float("nan")}, "must be a finite number, not nan"),
        ({"rate": 10**400}, "must be a finite number"),
        ({"tries": 1.5}, "option 'tries' must be a whole number, not 1.5"),
        ({"tries": True}, "a whole number, not True"),
        ({"names": "xy"}, "option 'names' must be a list of text, not 'xy'"),
        ({"names": ["x", 1]}, "must be a list of text"),
        ({"mode": "c"}, "option 'mode' must be 'a' or 'b', not 'c'"),
        ({"where": 3}, "option 'where' must be a path, not 3"),
        ({"table": {"x": "y"}}, "option 'table' must be a table"),
        ({"table": 3}, "option 'table' must be a table"),
        ({"pair": [1]}, "option 'pair' must be a list"),
        ({"pair": ["x", 1]}, "option 'pair' must be a list"),
        ({"either": 1.5}, "option 'either' must be a whole number or text"),
        ({"items": ["x"]}, "must be a list of a whole number"),
        ({"on": 1}, "option 'on' must be true or false, not 1"),
        ({"tries": -1}, "refuses its options: "),
    ],
)
def test_wrong_options(file: Path, options: dict[str, object], expected: str) -> None:
    assert expected in refused(f"{file}:Move", **options)


def test_right_options(file: Path) -> None:
    options = {"table": {"x": 1}, "pair": [2, "y"], "either": "z", "items": [1], "on": True, "anything": [{}]}
    move = cast(Any, load("mutators", f"{file}:Move", options))
    assert (move.table, move.pair, move.either, move.items, move.on) == ({"x": 1.0}, (2, "y"), "z", [1], True)
    assert cast(Any, load("mutators", f"{file}:Open", {"what": 3})).options == {"what": 3}
    load("mutators", f"{file}:Static", {})


def test_every_wrong_option_is_named_with_its_origin(file: Path) -> None:
    with pytest.raises(PluginError) as caught:
        load("mutators", f"{file}:Move", {"rat": 1, "tries": "x"}, origins={"rat": "run.toml:3", "tries": "--set"})
    first, second = str(caught.value).split("\n")
    assert first.startswith("run.toml:3: mutator ")
    assert second.startswith("--set: mutator ")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NoMethod", "NoMethod has no method mutate(self, workspace, brief, rng). Did you mean 'mutates'?"),
        ("TooFew", "TooFew.mutate cannot be called as mutate(self, workspace, brief, rng)"),
        ("Needs", "needs the option 'model'"),
        ("Mov", "no class 'Mov' in"),
        ("factory", "no class 'factory' in"),
    ],
)
def test_wrong_classes(file: Path, name: str, expected: str) -> None:
    assert expected in refused(f"{file}:{name}")


def test_a_judge_is_not_a_policy(file: Path) -> None:
    assert "Move has no method ask(self, view, slots, rng)." in refused(f"{file}:Move", "policies")


def test_a_file_without_a_class_lists_its_classes(file: Path) -> None:
    assert "It defines Move, NoMethod, TooFew, Needs, Open, Static." in refused(str(file))
    assert "path/to/file.py:Class" in refused("some.module")


def test_missing_files_and_modules(file: Path) -> None:
    assert "Did you mean 'moves.py'?" in refused(f"{file.parent}/move.py:Move")
    assert "no file" in refused("/nowhere/at/all.py:Move")
    assert "there is no module 'nowhere'" in refused("nowhere.at.all:Move")
    assert "there is no module 'json.nowhere'" in refused("json.nowhere:Move")
    assert refused("")
    assert refused(":Move")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("class M(:\n", "broken.py:1: invalid syntax"),
        ("import nowhere_at_all\n", "broken.py:1: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("\n\nraise ValueError('two\\nlines')\n", "broken.py:3: ValueError: two"),
        ("import sys\nsys.exit(3)\n", "broken.py:2: SystemExit: 3"),
        ("x = '\\ud800'\nraise OSError\n", "broken.py:2: OSError"),
    ],
)
def test_files_that_cannot_be_imported(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    assert expected in refused(f"{path}:M")
    path.write_text("class M:\n    def mutate(self, workspace, brief, rng): ...\n")
    load("mutators", f"{path}:M", {})


def test_files_that_are_no_python(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    assert "its name must end in .py" in refused(f"{tmp_path}/notes.txt:M")
    (tmp_path / "bytes.py").write_bytes(b"\xff\x00")
    assert "importing it failed" in refused(f"{tmp_path}/bytes.py:M")


def test_a_module_that_fails_inside_names_the_module_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fails_inside.py").write_text("import nowhere_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "importing fails_inside failed" in refused("fails_inside:M")
    assert "No module named 'nowhere_at_all'" in refused("fails_inside:M")


def test_resources(file: Path) -> None:
    assert plugins.resources(load("mutators", f"{file}:Move", {})) == {"cpus": 1.0, "apple": 2.0}
    assert plugins.resources(load("mutators", f"{file}:Open", {})) == {}


@pytest.mark.parametrize(
    "said", [["cpus"], {"cpus": "two"}, {"cpus": -1}, {"cpus": True}, {"cpus": float("nan")}, {1: 1}]
)
def test_wrong_resources(said: object) -> None:
    greedy = type("Greedy", (), {"resources": said})
    with pytest.raises(PluginError, match=r"Greedy\.resources"):
        plugins.resources(greedy)


def test_the_packages_are_ours(tmp_path: Path) -> None:
    plugins.check_packages()
    with pytest.raises(PluginError, match="not the one that came with raysearch"):
        plugins.check_packages(("json",))
    with pytest.raises(PluginError, match="missing"):
        plugins.check_packages(("no_such_package_anywhere",))


def test_a_package_that_shadows_one_of_ours_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "mutators").mkdir()
    (tmp_path / "mutators/__init__.py").write_text("")
    script = textwrap.dedent(
        f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        from raysearch import plugins
        try:
            plugins.check_packages()
        except plugins.PluginError as error:
            print(error)
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert str(tmp_path / "mutators") in done.stdout


def test_the_loader_loads_nothing_heavy() -> None:
    script = "import sys, raysearch.plugins; print([m for m in ('ray', 'pydantic', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
OPTION_NAMES = st.sampled_from(
    ["rate", "tries", "names", "mode", "where", "table", "pair", "either", "items", "on", "x"]
)


class Anything:
    """As MUTATOR's Move, importable by name."""

    def __init__(
        self,
        rate: float = 1.0,
        names: tuple[str, ...] = (),
        where: Path | None = None,
        table: dict[str, float] | None = None,
        pair: tuple[int, str] = (1, "x"),
        items: list[int] | None = None,
    ) -> None:
        self.rate = rate

    def mutate(self, workspace: object, brief: object, rng: object) -> None: ...


@given(st.dictionaries(OPTION_NAMES, VALUES, max_size=3))
def test_no_options_make_anything_but_a_plugin_or_a_plugin_error(options: dict[str, object]) -> None:
    try:
        built = load("mutators", f"{__name__}:Anything", options)
    except PluginError:
        return
    assert type(cast(Anything, built).rate) is float


@given(st.text(max_size=20) | st.from_regex(r"[a-z./:]{0,20}", fullmatch=True))
def test_no_reference_makes_anything_but_a_plugin_error(reference: str) -> None:
    assert refused(reference)
