"""Targets from folders and parts: what is read, what is refused and how, snapshots, integrity."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raysearch.config import integrity
from raysearch.config.targets import load_target, snapshot_target, target_from_parts
from raysearch.config.toml import key_lines
from raysearch.errors import EvaluatorFault, TargetError
from raysearch.target import SandboxLimits, Target, Tunable
from raysearch.types import Objective

OBJECTIVES = """\
[[objective]]
name = "score"
direction = "max"
unit = "points"
noise = 0.02

[[objective]]
name = "cost"
direction = "min"
"""


def fill(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def usual() -> dict[str, str]:
    return {
        "OBJECTIVE.md": "Make it better.\n",
        "reference/answer.txt": "42\n",
        "accuracy_checker/checker.py": "print('check')\n",
        "benchmark/benchmark.py": "print('measure')\n",
        "objectives.toml": OBJECTIVES,
        "README.md": "# Example\n",
    }


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return fill(tmp_path / "example", usual())


def refused(root: Path, *objectives: str) -> str:
    with pytest.raises(TargetError) as caught:
        load_target(root, objectives)
    return str(caught.value)


def test_a_folder_by_convention(root: Path) -> None:
    target = load_target(root)
    assert (target.name, target.objective, target.root) == ("example", "Make it better.\n", root)
    assert target.objectives == (
        Objective("score", "max", "points", 0.02, primary=True),
        Objective("cost", "min"),
    )
    assert target.checker.command == ("python", "checker.py")
    assert target.checker.folder == root / "accuracy_checker"
    assert target.benchmark.command == ("python", "benchmark.py")
    assert target.reference == root / "reference"
    assert target.seed is None
    assert target.limits == SandboxLimits()
    assert len({target.digest, target.checker.digest, target.benchmark.digest}) == 3
    assert all(len(d) == 64 for d in (target.digest, target.checker.digest, target.benchmark.digest))


def test_everything_that_target_toml_can_say(root: Path) -> None:
    fill(
        root,
        {
            "seed/solution.py": "RATE = 0.5\nMODE = 'a'\n",
            "target.toml": """\
name = "my-target"
[checker]
command = ["python", "checker.py", "--strict"]
timeout_s = "2m"
[benchmark]
command = "python benchmark.py --load 'two words'"
timeout_s = 90
[candidate]
editable = ["*.py", "lib/**"]
program_mb_max = 2
[limits]
memory_mb = 512
cpu_s = 60
processes = 8
file_mb = 10
output_kb = 64
network = true
[environment]
OMP_NUM_THREADS = "1"
[resources.mutate]
cpus = 0.5
[resources.benchmark]
cpus = 2
gpus = 1
apple = 1
[[tunables]]
name = "RATE"
file = "solution.py"
kind = "float"
low = 0.1
high = 1
[[tunables]]
name = "MODE"
file = "solution.py"
kind = "categorical"
choices = ["a", "b", 3, true]
""",
        },
    )
    target = load_target(root)
    assert target.name == "my-target"
    assert (target.checker.command, target.checker.timeout_s) == (("python", "checker.py", "--strict"), 120.0)
    assert target.benchmark.command == ("python", "benchmark.py", "--load", "two words")
    assert target.benchmark.timeout_s == 90.0
    assert (target.editable, target.program_mb_max) == (("*.py", "lib/**"), 2.0)
    assert target.limits == SandboxLimits(512, 60, 8, 10, 64, network=True)
    assert target.environment == {"OMP_NUM_THREADS": "1"}
    assert target.resources == {"mutate": {"CPU": 0.5}, "benchmark": {"CPU": 2.0, "GPU": 1.0, "apple": 1.0}}
    assert target.tunables == (
        Tunable("RATE", "solution.py", "float", 0.1, 1.0),
        Tunable("MODE", "solution.py", "categorical", choices=("a", "b", 3, True)),
    )
    assert target.seed == root / "seed"


def test_a_command_may_name_its_script_from_the_target_folder(root: Path) -> None:
    fill(root, {"target.toml": "[checker]\ncommand = ['python', '-O', 'accuracy_checker/checker.py']\n"})
    assert load_target(root).checker.command == ("python", "-O", "checker.py")


def test_the_single_script_of_a_folder_is_its_command(root: Path) -> None:
    (root / "accuracy_checker/checker.py").rename(root / "accuracy_checker/verify_all.py")
    (root / "benchmark/benchmark.py").unlink()
    script = root / "benchmark/run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    target = load_target(root)
    assert target.checker.command == ("python", "verify_all.py")
    assert target.benchmark.command == ("./run.sh",)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"OBJECTIVE.md": " \n"}, ["OBJECTIVE.md: empty"]),
        ({"objectives.toml": ""}, ["objectives.toml: 'objective' is missing"]),
        ({"objectives.toml": "[[objective]]\nname = 'a'"}, ["objectives.toml:1: 'direction' is missing"]),
        (
            {"objectives.toml": "[[objective]]\nname = 'a'\ndirection = 'mx'"},
            ["objectives.toml:3: objective.#1.direction must be", "not 'mx'", "Did you mean 'max'?"],
        ),
        (
            {"objectives.toml": "[[objective]]\nname = 'a'\ndirection = 'max'\nnoize = 0.1"},
            ["objectives.toml:4: unknown key 'noize'", "Did you mean 'noise'?"],
        ),
        ({"objectives.toml": "[[objective]]\nname = 'a b'\ndirection = 'max'"}, ["objectives.toml:2:", "letters"]),
        ({"objectives.toml": "[[objective]]\nname = 'a'\ndirection = 'max'\nnoise = nan"}, ["objectives.toml:4:"]),
        ({"objectives.toml": "[[objective]]\nname = 'a'\ndirection = 'max'\nnoise = 1.5"}, ["objectives.toml:4:"]),
        (
            {"objectives.toml": OBJECTIVES + "[[objective]]\nname = 'score'\ndirection = 'max'"},
            ["objectives.toml:10: objective 'score' is declared twice"],
        ),
        (
            {"objectives.toml": OBJECTIVES.replace("direction", "primary = true\ndirection")},
            ["objectives.toml:10: 'cost' cannot be primary, 'score' is already"],
        ),
        ({"objectives.toml": "[[objective]\n"}, ["objectives.toml:1:", "not valid TOML"]),
        ({"target.toml": "[chekcer]\ntimeout_s = 3"}, ["target.toml:1: unknown section 'chekcer'", "'checker'?"]),
        ({"target.toml": "[checker]\ntimeout = 3"}, ["target.toml:2: unknown key 'timeout'", "'timeout_s'?"]),
        ({"target.toml": "[checker]\ntimeout_s = -3"}, ["target.toml:2: checker.timeout_s should be greater"]),
        ({"target.toml": "[checker]\ntimeout_s = true"}, ["target.toml:2:", "number"]),
        ({"target.toml": "[checker]\ntimeout_s = 'soon'"}, ["target.toml:2:", "a duration such as 90"]),
        ({"target.toml": "[checker]\ncommand = []"}, ["target.toml:2:", "words of a command"]),
        ({"target.toml": '[checker]\ncommand = "python \'x"'}, ["target.toml:2:"]),
        (
            {"target.toml": "[checker]\ncommand = ['python', 'chekcer.py']"},
            ["[checker] command: no file 'chekcer.py'", "Did you mean 'checker.py'?"],
        ),
        ({"target.toml": "[checker]\ncommand = ['./run']"}, ["'./run' is not an executable file"]),
        ({"target.toml": "[candidate]\neditable = ['/etc/*']"}, ["target.toml:2:", "relative"]),
        ({"target.toml": "[candidate]\neditable = []"}, ["target.toml:2:"]),
        ({"target.toml": "[limits]\nmemory_mb = 1"}, ["target.toml:2:", "16"]),
        ({"target.toml": "[limits]\nnetwork = 'yes'"}, ["target.toml:2:", "true or false"]),
        ({"target.toml": "[environment]\nRAY_ADDRESS = 'x'"}, ["RAY_ADDRESS"]),
        ({"target.toml": "[environment]\nN = 3"}, ["target.toml:2:", "string"]),
        ({"target.toml": "[resources.judges]\ncpus = 1"}, ["target.toml:1: unknown", "Did you mean 'judge'?"]),
        ({"target.toml": "[resources.judge]\ncpu = 1"}, ["should not name 'cpu': use cpus"]),
        ({"target.toml": "[resources.benchmark]\ngpus = 0.5"}, ["whole gpus"]),
        (
            {"target.toml": "[[tunables]]\nname='X'\nfile='s.py'\nkind='flaot'"},
            ["target.toml:4:", "Did you mean 'float'?"],
        ),
        (
            {"target.toml": "[[tunables]]\nname='X'\nfile='../s.py'\nkind='int'"},
            ["target.toml:1: tunable 'X'", "inside"],
        ),
        ({"target.toml": "[[tunables]]\nname='X'\nfile='s.py'\nkind='log'"}, ["low of a log tunable"]),
        ({"target.toml": "[[tunables]]\nname='X'\nfile='s.py'\nkind='int'\nhigh=0.5"}, ["whole numbers"]),
        ({"target.toml": "[[tunables]]\nname='X'\nfile='s.py'\nkind='int'\nlow=3\nhigh=2"}, ["must be below"]),
        ({"target.toml": "[[tunables]]\nname='X'\nfile='s.py'\nkind='categorical'\nchoices=['a']"}, ["two or more"]),
        (
            {"target.toml": "[[tunables]]\nname='X'\nfile='s.py'\nkind='int'\n" * 2},
            ["target.toml:5: tunable 'X': declared twice"],
        ),
        (
            {"seed/a.py": "", "target.toml": "[[tunables]]\nname='X'\nfile='s.py'\nkind='int'"},
            ["seed/s.py: missing, yet tunable 'X'"],
        ),
        (
            {"seed/a.py": "x" * 2000, "target.toml": "[candidate]\nprogram_mb_max = 0.001"},
            ["seed: 0.002 MB, more than a program may have"],
        ),
        ({"target.toml": "name = 'has space'"}, ["target.toml:1: name should"]),
        ({"target.toml": "\n\nsize = 3"}, ["target.toml:3: unknown key 'size'"]),
    ],
)
def test_bad_files_are_refused_with_place_and_remedy(root: Path, files: dict[str, str], expected: list[str]) -> None:
    fill(root, files)
    message = refused(root)
    for phrase in expected:
        assert phrase in message
    assert "Traceback" not in message
    assert "pydantic" not in message


def test_all_problems_come_at_once(root: Path) -> None:
    (root / "OBJECTIVE.md").unlink()
    (root / "accuracy_checker").rename(root / "accuracy-checker")
    fill(root, {"target.toml": "[limits]\nmemory_mb = 'lots'\ncpu = 3\n", "benchmark/other.py": ""})
    (root / "benchmark/benchmark.py").unlink()
    (root / "benchmark/third.py").write_text("")
    message = refused(root)
    assert message.startswith("target example has 5 problems:")
    for phrase in (
        "example/OBJECTIVE.md: missing",
        "example/accuracy_checker: missing: the checker's folder. Did you mean 'accuracy-checker'?",
        "example/target.toml:2: limits.memory_mb should be a whole number, not 'lots'.",
        "example/target.toml:3: unknown key 'cpu' in [limits]. Did you mean 'cpu_s'?",
        "example/benchmark: several scripts (other.py, third.py)",
    ):
        assert phrase in message


def test_a_missing_folder_names_the_nearest(root: Path) -> None:
    assert refused(root.parent / "exampel") == "exampel: missing: no such target folder. Did you mean 'example'?"
    assert "not a folder" in refused(root / "README.md")


def test_files_that_are_not_text(root: Path) -> None:
    (root / "target.toml").write_bytes(b"name = '\xff'")
    assert "target.toml: not UTF-8 text" in refused(root)
    (root / "target.toml").write_bytes(b"#" * 1_000_001)
    assert "larger than 1000 kB" in refused(root)


def test_objectives_from_flags(root: Path) -> None:
    (root / "objectives.toml").unlink()
    assert "pass --objective NAME:max" in refused(root)
    target = load_target(root, ["speed:max", "latency_ms.p50:min"])
    assert target.objectives == (Objective("speed", "max", primary=True), Objective("latency_ms.p50", "min"))


def test_flags_take_the_place_of_the_file_and_keep_its_units(root: Path) -> None:
    target = load_target(root, ["cost:min", "score:max"])
    assert target.objectives == (Objective("cost", "min", primary=True), Objective("score", "max", "points", 0.02))
    assert "objectives.toml declares 'score' as max" in refused(root, "score:min")


@pytest.mark.parametrize("flag", ["score", "score:", ":max", "score:maximum", "a b:max", "score:max:min", ""])
def test_bad_flags(root: Path, flag: str) -> None:
    assert "write NAME:max or NAME:min" in refused(root, flag)


def test_a_flag_given_twice(root: Path) -> None:
    assert "is given twice" in refused(root, "score:max", "score:max")


def test_common_noise_of_the_pareto_table(root: Path) -> None:
    fill(root, {"objectives.toml": "[pareto]\nrelative_noise = 0.03\n" + OBJECTIVES})
    assert [o.noise for o in load_target(root).objectives] == [0.02, 0.03]


def test_parts_from_folders(root: Path) -> None:
    parts = target_from_parts(root / "reference", root / "accuracy_checker", root / "benchmark")
    assert parts == load_target(root)


def test_parts_from_scripts_beside_everything_else_are_taken_alone(tmp_path: Path) -> None:
    fill(tmp_path, {"OBJECTIVE.md": "x", "ref/a": "1", "check.py": "c", "bench.py": "b", "unrelated/big": "z" * 100})
    target = target_from_parts(tmp_path / "ref", tmp_path / "check.py", tmp_path / "bench.py", ["score:max"])
    taken = snapshot_target(target, tmp_path / "run/target")
    assert [path.name for path in taken.checker.folder.iterdir()] == ["check.py"]
    assert [path.name for path in taken.benchmark.folder.iterdir()] == ["bench.py"]
    assert taken.checker.command == ("python", "check.py")
    (tmp_path / "unrelated/big").write_text("other")
    again = target_from_parts(tmp_path / "ref", tmp_path / "check.py", tmp_path / "bench.py", ["score:max"])
    assert again.digest == target.digest


def test_a_script_in_a_folder_of_its_own_comes_with_it(root: Path) -> None:
    fill(root, {"accuracy_checker/data.json": "[]"})
    target = target_from_parts(root / "reference", root / "accuracy_checker/checker.py", root / "benchmark")
    assert target == load_target(root)


def test_a_folder_that_holds_the_other_parts_is_refused(root: Path) -> None:
    with pytest.raises(TargetError, match="no script"):
        target_from_parts(root / "reference", root, root / "benchmark")
    fill(root, {"target.toml": "[checker]\ncommand = ['python', '-m', 'check']\n"})
    with pytest.raises(TargetError, match="holds other parts of the target"):
        target_from_parts(root / "reference", root, root / "benchmark")


def test_digests_follow_content_and_nothing_else(root: Path) -> None:
    before = load_target(root)
    (root / "accuracy_checker/__pycache__").mkdir()
    fill(root, {"accuracy_checker/__pycache__/x.pyc": "x", "benchmark/.git/HEAD": "x", "README.md": "other"})
    os.utime(root / "reference/answer.txt", (1, 1))
    (root / "reference/answer.txt").chmod(0o600)
    assert load_target(root) == before
    (root / "benchmark/benchmark.py").write_text("changed")
    after = load_target(root)
    assert after.checker.digest == before.checker.digest
    assert after.benchmark.digest != before.benchmark.digest
    assert after.digest != before.digest


@pytest.mark.parametrize("change", ["content", "rename", "executable", "new", "command", "reference", "limits"])
def test_every_change_that_matters_changes_the_digest(root: Path, change: str) -> None:
    before = load_target(root)
    checker = root / "accuracy_checker/checker.py"
    match change:
        case "content":
            checker.write_text("other")
        case "rename":
            checker.rename(checker.with_name("check.py"))
        case "executable":
            checker.chmod(0o755)
        case "new":
            fill(root, {"accuracy_checker/tests/data": "1"})
        case "command":
            fill(root, {"target.toml": "[checker]\ncommand = 'python checker.py -v'"})
        case "reference":
            fill(root, {"reference/answer.txt": "43"})
        case "limits":
            fill(root, {"target.toml": "[limits]\nmemory_mb = 100"})
    after = load_target(root)
    assert after.checker.digest != before.checker.digest
    assert after.digest != before.digest


def test_what_has_no_content_of_its_own_is_refused(root: Path) -> None:
    (root / "reference/inside").symlink_to("answer.txt")
    load_target(root)
    (root / "reference/outside").symlink_to(root / "README.md")
    assert "not a relative link inside example/reference" in refused(root)
    (root / "reference/outside").unlink()
    (root / "reference/broken").symlink_to("nowhere")
    assert "reference/broken: cannot be read" in refused(root)
    (root / "reference/broken").unlink()
    os.mkfifo(root / "reference/pipe")
    assert "neither a file, a folder nor a link" in refused(root)


def test_a_snapshot_is_the_same_target_elsewhere_and_read_only(root: Path, tmp_path: Path) -> None:
    fill(root, {"seed/main.py": "A = 1\n", "seed/run.sh": "#!/bin/sh\n", "reference/deep/er/x": "1"})
    (root / "seed/run.sh").chmod(0o755)
    (root / "reference/link").symlink_to("deep/er/x")
    fill(
        root,
        {
            "target.toml": "[environment]\nA = 'quote \" \\u007f \\n'\n"
            "[resources.benchmark]\ngpus = 1\n'odd name' = 2\n"
            "[[tunables]]\nname='A'\nfile='main.py'\nkind='permutation'\nchoices=['x', 2.5, true, 1]\n"
        },
    )
    original = load_target(root)
    taken = snapshot_target(original, tmp_path / "run/target")
    assert taken.digest == original.digest
    assert relocated(taken) == relocated(original)
    assert load_target(tmp_path / "run/target") == taken
    for path in taken.root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert not path.stat().st_mode & 0o222
    assert os.access(taken.root / "seed/run.sh", os.X_OK)
    shutil.rmtree(root)
    assert (taken.reference / "link").read_text() == "1"


def relocated(target: Target) -> tuple[object, ...]:
    """All of a target that does not say where it lies."""
    return (
        target.name,
        target.objective,
        target.objectives,
        target.checker.command,
        target.checker.digest,
        target.benchmark.digest,
        target.editable,
        target.tunables,
        target.environment,
        target.limits,
        target.resources,
        target.program_mb_max,
    )


def test_a_snapshot_keeps_objectives_that_came_from_flags(root: Path, tmp_path: Path) -> None:
    (root / "objectives.toml").unlink()
    original = load_target(root, ["speed:max", "memory:min"])
    assert snapshot_target(original, tmp_path / "taken").objectives == original.objectives


def test_a_snapshot_goes_to_a_new_place_and_not_into_itself(root: Path, tmp_path: Path) -> None:
    target = load_target(root)
    with pytest.raises(TargetError, match="not an empty folder"):
        snapshot_target(target, root)
    with pytest.raises(TargetError, match="lies inside"):
        snapshot_target(target, root / "reference/run")


def test_a_target_that_changes_while_it_is_copied_is_refused(root: Path, tmp_path: Path) -> None:
    target = load_target(root)
    (root / "reference/answer.txt").write_text("43\n")
    with pytest.raises(TargetError, match="changed while it was being copied"):
        snapshot_target(target, tmp_path / "taken")


def test_integrity_holds_where_nothing_changed(root: Path) -> None:
    before = integrity.fingerprint([root / "accuracy_checker", root / "reference", root / "OBJECTIVE.md"])
    os.utime(root / "reference/answer.txt")
    assert integrity.changes(before) == ()
    assert integrity.unchanged(before) == ""
    (root / "benchmark/benchmark.py").write_text("not watched")
    assert integrity.changes(before) == ()


@pytest.mark.parametrize("kind", ["edit", "same size and time", "new", "gone", "planted module", "pipe", "executable"])
def test_integrity_names_the_file_that_changed(root: Path, kind: str) -> None:
    before = integrity.fingerprint([root / "accuracy_checker"])
    checker = root / "accuracy_checker/checker.py"
    named = checker
    match kind:
        case "edit":
            checker.write_text("print('yes')\n")
        case "same size and time":
            old = checker.stat()
            checker.write_text(checker.read_text().replace("check", "kcehc"))
            os.utime(checker, ns=(old.st_atime_ns, old.st_mtime_ns))
        case "new":
            named = checker.with_name("sitecustomize.py")
            named.write_text("")
        case "gone":
            checker.unlink()
        case "planted module":
            named = checker.parent / "__pycache__/json.cpython-311.pyc"
            fill(root, {"accuracy_checker/__pycache__/json.cpython-311.pyc": ""})
        case "pipe":
            checker.unlink()
            os.mkfifo(checker)
        case "executable":
            checker.chmod(0o755)
    assert [phrase for phrase in integrity.changes(before) if str(named) in phrase]
    assert named.name in integrity.unchanged(before)


def test_integrity_names_a_few_of_many_files(root: Path) -> None:
    before = integrity.fingerprint([root])
    fill(root, {f"reference/{number}": "" for number in range(8)})
    assert integrity.unchanged(before).endswith(" and 3 more")


def test_integrity_of_a_root_that_is_gone(root: Path) -> None:
    before = integrity.fingerprint([root / "reference"])
    shutil.rmtree(root / "reference")
    assert "reference (cannot be read)" in integrity.unchanged(before)
    with pytest.raises(EvaluatorFault, match="cannot be read"):
        integrity.fingerprint([root / "reference"])


def test_integrity_is_checked_without_loading_pydantic() -> None:
    script = "import sys, raysearch.config.integrity; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_lines_of_keys() -> None:
    text = '''\
a = 1
b.c = [
  1, # ] "
  "]",
]
"x y" = """
[not.a.table]
d = 2
"""
[t.'u.v']
e = { f = 1, g = "[" }
[[l]]
h = 1
[[l]]
h = 2
[l.sub]
i = 3
[[l.more]]
j = 1
[[l.more]]
j = 2
'''
    lines = key_lines(text)
    assert lines[("a",)] == 1
    assert lines[("b", "c")] == 2
    assert lines[("x y",)] == 6
    assert ("d",) not in lines
    assert lines[("t", "u.v")] == 10
    assert lines[("t", "u.v", "e")] == 11
    assert lines[("l", 0, "h")] == 13
    assert lines[("l", 1, "h")] == 15
    assert lines[("l", 1, "sub", "i")] == 17
    assert lines[("l", 1, "more", 1, "j")] == 21


SAID = st.recursive(
    st.sampled_from(["1", "-3", "1e400", "nan", "true", '"x"', '"max"', "[]", "1979-05-27", "'''\n'''", '"9h"']),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | inner.map(lambda item: f"{{ name = {item} }}")
    ),
    max_leaves=4,
)
KEYS = st.sampled_from(
    re.findall(
        r"\w+",
        "name direction unit noise primary objective pareto command timeout_s editable limits memory_mb environment "
        "resources judge cpus tunables file kind low high choices checker candidate",
    )
)
LINES = st.one_of(
    st.tuples(KEYS, SAID).map(lambda pair: f"{pair[0]} = {pair[1]}"),
    KEYS.map(lambda key: f"[{key}]"),
    KEYS.map(lambda key: f"[[{key}]]"),
    st.tuples(KEYS, KEYS).map(lambda pair: f"[{pair[0]}.{pair[1]}]"),
    st.text(max_size=12),
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=8).map("\n".join), st.sampled_from(["target.toml", "objectives.toml"]))
def test_no_file_makes_anything_but_a_target_or_a_target_error(root: Path, text: str, name: str) -> None:
    fill(root, usual())
    (root / "target.toml").unlink(missing_ok=True)
    (root / name).write_text(text, encoding="utf-8", errors="replace")
    with suppress(TargetError):
        assert sum(objective.primary for objective in load_target(root).objectives) == 1
