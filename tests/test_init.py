"""`init`: what it makes passes `check` as it is, and nothing that is there is touched."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from called import Call, call

from raysearch.cli import main
from raysearch.config.targets import load_target
from raysearch.errors import TargetError
from raysearch.ledger import read_journal
from raysearch.run.check import check_target
from raysearch.run.scaffold import scaffold
from raysearch.run.scaffold.project import expected_of, read_head
from raysearch.types import Objective
from raysearch.views import fold

__all__ = ["call"]
ROOT = Path(__file__).parents[1]

PRIMES = """
STEP = 1  # tune: int 1..2

def primes(n):
    return [k for k in range(2, n, STEP) if all(k % d for d in range(2, k))]
"""
TESTS = """
import sys, unittest
sys.path.insert(0, "src")
from primes import primes

class TestPrimes(unittest.TestCase):
    def test_small(self):
        self.assertEqual(primes(12), [2, 3, 5, 7, 11])

if __name__ == "__main__":
    unittest.main()
"""
BENCH = """
import json, sys
sys.path.insert(0, "src")
from primes import primes
found = {"count": len(primes(60)), "nested": {"sizes": [1, 2, 3]}}
json.dump(found, open("numbers.json", "w"))
print("noise before the last line")
print(json.dumps(found))
"""
TEST, RUN = "python -m unittest -q tests/test_primes.py 2>&1", "python bench.py"


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A git project in the working directory of ``call``, with a test, a benchmark, a link and something untracked."""
    for name, text in {"src/primes.py": PRIMES, "tests/test_primes.py": TESTS, "bench.py": BENCH}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "run.sh").write_text("#!/bin/sh\nexec python bench.py\n")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "link.py").symlink_to("src/primes.py")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "a project")
    (tmp_path / "untracked.txt").write_text("not yet\n")
    return tmp_path


def linted(folder: Path) -> str:
    """What the project's own linter says of Python files."""
    config = str(ROOT / "pyproject.toml")
    said = []
    for words in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        command = [sys.executable, "-m", "ruff", words[0], "--config", config, *words[1:], str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said.append(done.stdout + done.stderr if done.returncode else "")
    return "".join(said)


# -- a new target -----------------------------------------------------------------------------------------------


def test_what_it_makes_passes_check_as_it_is(call: Call, tmp_path: Path) -> None:
    ran = call("init", "fast")
    assert ran.status == 0
    assert "next:  raysearch check fast" in ran.out
    folder = tmp_path / "fast"
    report = check_target(load_target(folder), repeats=2)
    assert report.ready, report.conclusion
    assert {finding.name: finding.standing.value for finding in report.findings if finding.name[:8] != "noise of"} == {
        "seed": "ok",
        "reference": "ok",
        "verdicts": "ok",
        "empty program": "ok",
        "garbage": "ok",
        "ends at once, status 0": "ok",
        "half of solution.py": "ok",
        "benchmark": "ok",
        "left behind": "ok",
        "writes": "ok",
        "network": "ok",
    }
    assert report.noise[0].samples == 9


def test_its_files_are_complete_and_read_well(tmp_path: Path) -> None:
    target = scaffold(tmp_path / "my-target")
    assert target.name == "my-target"
    files = {path.relative_to(target.root).as_posix() for path in target.root.rglob("*") if path.is_file()}
    assert files == {
        "OBJECTIVE.md",
        "README.md",
        "accuracy_checker/candidate.py",
        "accuracy_checker/checker.py",
        "accuracy_checker/child.py",
        "benchmark/benchmark.py",
        "objectives.toml",
        "reference/solution.py",
        "seed/solution.py",
        "target.toml",
    }
    texts = {name: (target.root / name).read_text() for name in files}
    assert not [name for name, text in texts.items() if "{{" in text]
    assert texts["README.md"].startswith("# my-target\n")
    assert linted(target.root) == ""


def test_its_seed_can_be_bettered_without_a_model(call: Call, tmp_path: Path) -> None:
    call("init", "fast")
    ran = call("run", "fast", "--mutator", "tune", "--pool", "inline", "--max-candidates", "2", "--seed", "1", "--json")
    assert ran.status == 0
    assert ran.object["admitted"] == 2


@pytest.mark.parametrize("wrong", ["return 0", "return float(_counted(values)[1])", "print('x'); raise SystemExit(0)"])
def test_its_checker_says_no_to_what_is_wrong(tmp_path: Path, wrong: str) -> None:
    target = scaffold(tmp_path / "fast")
    program = tmp_path / "program"
    program.mkdir()
    source = (target.root / "seed" / "solution.py").read_text()
    (program / "solution.py").write_text(source.replace("return _counted(values)[1]", wrong))
    result = tmp_path / "result.json"
    words = ["--candidate", str(program), "--reference", str(target.reference), "--seed", "3", "--result", str(result)]
    for script in ("accuracy_checker/checker.py", "benchmark/benchmark.py"):
        subprocess.run([sys.executable, str(target.root / script), *words], check=True)
        said = json.loads(result.read_text())
        assert said.get("passed") is False or said.get("refused")
        assert not said.get("metrics")


# -- around a project -------------------------------------------------------------------------------------------


def test_around_a_project_passes_check_too(call: Call, project: Path) -> None:
    flags = ("--editable", "src/**", "--test-command", TEST, "--bench-command", RUN, "--objective", "count:max")
    ran = call("init", "--here", *flags)
    assert ran.status == 0, ran.err
    folder = project / "raysearch"
    target = load_target(folder)
    assert target.objectives == (Objective("count", "max", "", 0.05, primary=True),)
    assert target.editable == ("src/**",)
    seed = {path.relative_to(folder / "seed").as_posix() for path in (folder / "seed").rglob("*") if not path.is_dir()}
    assert seed == {"src/primes.py", "tests/test_primes.py", "bench.py", "run.sh", "link.py"}
    assert (folder / "seed" / "link.py").is_symlink()
    assert (folder / "seed" / "run.sh").stat().st_mode & 0o111
    report = check_target(target, repeats=2)
    assert report.ready, report.conclusion
    found = {finding.name: finding.standing.value for finding in report.findings}
    assert (found["ends at once, status 0"], found["half of src/primes.py"]) == ("ok", "ok")
    assert report.noise[0].value == 17
    assert report.noise[0].same
    for part in ("accuracy_checker", "benchmark"):
        assert linted(folder / part) == ""


def test_the_winner_goes_home_as_a_patch(call: Call, project: Path) -> None:
    call("init", "--here", "--editable", "src/**", "--test-command", "true", "--bench-command", "true")
    ran = call(
        "run", "raysearch", "--mutator", "tune", "--pool", "inline", "--sandbox", "none", "--max-candidates", "1"
    )
    assert ran.status == 0, ran.err
    assert call("export", "latest", "best", "--candidate", "1").status == 0
    git(project, "apply", "best/from-start.diff")
    assert "STEP = 2" in (project / "src" / "primes.py").read_text()


@pytest.mark.parametrize(
    ("flags", "metric", "samples"),
    [
        (("--objective", "count:max"), "last-line", [17.0] * 5),
        (("--objective", "count:max", "--bench-json", "numbers.json"), "numbers.json", [17.0] * 5),
        (("--objective", "nested.sizes.1:min"), "last-line", [2.0] * 5),
        (("--objective", "nested.sizes:min"), "last-line", [1.0, 2.0, 3.0] * 5),
    ],
)
def test_numbers_are_read_from_where_they_are(
    call: Call, project: Path, flags: tuple[str, ...], metric: str, samples: list[float]
) -> None:
    ran = call("init", "--here", "mine", "--editable", "src/**", "--test-command", TEST, "--bench-command", RUN, *flags)
    assert ran.status == 0, ran.err
    command = tomllib.loads((project / "mine" / "target.toml").read_text())["benchmark"]["command"]
    assert command == ["python", "benchmark.py", "--run", RUN, "--metric", metric]
    said = measured(project / "mine")
    assert said["metrics"][0]["samples"] == samples
    assert said["metrics"][0]["direction"] == load_target(project / "mine").objectives[0].goal


def measured(folder: Path, program: Path | None = None) -> dict[str, list[dict[str, object]]]:
    target, result = load_target(folder), folder.parent / "result.json"
    words = ["--candidate", str(program or target.seed), "--reference", str(target.reference), "--seed", "3"]
    command = [sys.executable, *target.benchmark.command[1:], *words, "--result", str(result)]
    subprocess.run(command, cwd=target.benchmark.folder, check=True)
    found: dict[str, list[dict[str, object]]] = json.loads(result.read_text())
    return found


def test_time_counts_where_nothing_else_is_named(call: Call, project: Path) -> None:
    call("init", "--here", "--editable", "src/**", "--test-command", TEST, "--bench-command", RUN)
    said = measured(project / "raysearch")["metrics"][0]
    assert (said["name"], said["unit"], said["direction"]) == ("time_s", "s", "min")
    assert isinstance(said["samples"], list)
    assert len(said["samples"]) == 5
    assert not (project / "raysearch" / "seed" / "numbers.json").exists(), "commands run on a copy"


def test_a_benchmark_without_a_number_refuses_the_program(call: Call, project: Path) -> None:
    call(
        "init",
        "--here",
        "a",
        "--editable",
        "src/**",
        "--test-command",
        TEST,
        "--bench-command",
        RUN,
        "--objective",
        "x:max",
    )
    assert "no number for 'x' in the last line" in measured(project / "a")["refused"]  # type: ignore[operator]
    call("init", "--here", "b", "--editable", "src/**", "--test-command", TEST, "--bench-command", "echo 1; exit 3")
    assert "ended with status 3" in measured(project / "b")["refused"]  # type: ignore[operator]


def test_only_the_files_below_are_taken_from_a_subfolder(
    call: Call, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "src")
    flags = ("--editable", "*.py", "--test-command", "true", "--bench-command", "true")
    ran = call("init", "--here", *flags, "--json")
    assert ran.status == 0, ran.err
    assert [name for name in ran.object["files"] if name.startswith("seed/")] == ["seed/primes.py"]
    assert "--directory=src" in (project / "src" / "raysearch" / "README.md").read_text()


def test_what_is_not_committed_is_named(call: Call, project: Path) -> None:
    (project / "bench.py").write_text("print(1)\n")
    flags = ("--editable", "src/**", "--test-command", "true", "--bench-command", "true")
    ran = call("init", "--here", *flags, "--json")
    assert len(ran.object["notes"]) == 1
    assert "what is not committed is not in it: bench.py" in ran.object["notes"][0]
    assert (project / "raysearch" / "seed" / "bench.py").read_text() == BENCH


@pytest.mark.parametrize(
    ("command", "pattern"),
    [
        ("python -m pytest -q", r"\d+ passed"),
        ("cd x && cargo test", "test result: ok"),
        ("go test ./...", r"^ok\s"),
        ("python -m unittest", "^OK"),
        ("make check", ""),
        ("./mypytests", ""),
    ],
)
def test_known_test_runners_must_say_that_tests_ran(command: str, pattern: str) -> None:
    assert expected_of(command) == pattern


# -- refusals ---------------------------------------------------------------------------------------------------

ALL = ("--editable", "src/**", "--test-command", "t", "--bench-command", "b")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "a NAME for the folder is needed, or --here"),
        (("taken",), "taken: there is something already"),
        (("a file",), "'a file' names no target"),
        (("notes.txt",), "there is something already"),
        (("new", "--editable", "x"), "--editable goes with --here"),
        (("--here",), "--here also needs --editable, --test-command, --bench-command"),
        (("--here", "taken", *ALL), "there is something already"),
        (("--here", "--editable", "lib/**", *ALL[2:]), "no tracked file matches; there are bench.py, link.py"),
        (("--here", *ALL, "--bench-json", "x.json"), "--bench-json needs --objective"),
        (("--here", *ALL, "--objective", "x:mx"), "write NAME:max or NAME:min. Did you mean 'max'?"),
        (("--heer",), "Did you mean '--here'?"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(
    call: Call, project: Path, arguments: tuple[str, ...], words: str
) -> None:
    (project / "taken").mkdir()
    (project / "taken" / "file").write_text("mine\n")
    (project / "notes.txt").write_text("mine\n")
    before = sorted(project.rglob("*"))
    ran = call("init", *arguments)
    assert (ran.status, words in ran.told) == (2, True), ran.told
    assert sorted(project.rglob("*")) == before


def test_there_must_be_a_project_with_a_commit(call: Call, tmp_path: Path) -> None:
    assert "no git project here" in call("init", "--here", *ALL).told
    git(tmp_path, "init", "-q")
    assert "nothing is committed yet" in call("init", "--here", *ALL).told


def test_files_kept_elsewhere_are_refused(project: Path) -> None:
    (project / "big.bin").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    git(project, "add", "big.bin")
    git(project, "commit", "-qm", "big")
    with pytest.raises(TargetError, match=r"big\.bin: kept in Git LFS"):
        read_head(project)


def test_submodules_are_left_out_and_named(call: Call, project: Path) -> None:
    head = git(project, "rev-parse", "HEAD").strip()
    git(project, "update-index", "--add", "--cacheinfo", f"160000,{head},vendor")
    git(project, "commit", "-qm", "a submodule")
    ran = call("init", "--here", *ALL, "--json")
    assert any(note.startswith("vendor: a submodule") for note in ran.object["notes"])


def test_what_was_made_goes_away_if_it_cannot_be_finished(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "out.txt").symlink_to("/etc/hostname")
    git(project, "add", "out.txt")
    git(project, "commit", "-qm", "a link that leads outside")
    monkeypatch.chdir(project)
    with pytest.raises(SystemExit) as ended:
        main(["init", "--here", *ALL])
    assert ended.value.code == 2
    assert not (project / "raysearch").exists()


def test_a_run_of_it_is_a_run_like_any_other(call: Call, project: Path) -> None:
    call(
        "init",
        "--here",
        "--editable",
        "src/**",
        "--test-command",
        "true",
        "--bench-command",
        "echo 3",
        "--objective",
        "n:min",
    )
    flags = ("--mutator", "tune", "--pool", "inline", "--sandbox", "none", "--max-candidates", "1")
    ran = call("run", "raysearch", *flags, "--json")
    run = fold(read_journal(Path(ran.object["path"]) / "journal.jsonl"))
    assert run.started is not None
    assert run.started.target == project.name
