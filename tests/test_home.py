"""Runs that travel: pushed while they are driven, fetched, taken up again by name; and what a Ray job changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from called import Call, call
from hypothesis import given
from hypothesis import strategies as st
from toys import make_target

from raysearch.config.layers import configure, set_override
from raysearch.errors import ConfigError, RunError
from raysearch.run import home, job, named, parcel
from raysearch.run.fetch import from_printed, printed
from raysearch.run.folder import RunFolder
from raysearch.run.home import Courier
from raysearch.run.parcel import Content, pieces
from raysearch.run.start import start

__all__ = ["call"]

TOYS = Path(__file__).with_name("toys.py")
QUICK = ("--mutator", f"{TOYS}:Step", "--pool", "inline", "--sandbox", "none", "--seed", "3", "--json")


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def refs(repository: Path) -> dict[str, str]:
    """Ref without the run's name, to commit."""
    listed = git(repository, "for-each-ref", "--format=%(refname) %(objectname)")
    found = dict(line.split() for line in listed.splitlines())
    return {"/".join((*ref.split("/")[1:2], *ref.split("/")[3:])): commit for ref, commit in found.items()}


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--bare", "remote.git")
    return tmp_path / "remote.git"


@pytest.fixture
def toy(tmp_path: Path) -> str:
    return str(make_target(tmp_path / "toy"))


def test_results_are_pushed_and_fetched_and_gone_on_with(
    call: Call,
    toy: str,
    remote: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parcel, "PIECE_BYTES", 500)
    ran = call("run", toy, *QUICK, "--max-candidates", "2", "--push-to", "remote.git")
    assert ran.status == 0, ran.err
    assert (there := refs(remote))["heads/best"] == ran.object["best"]["commit"]
    assert {"tags/0", "tags/1", "tags/2", "tags/origin", "heads/journal"} <= set(there)
    assert "attempt 1" in git(remote, "log", "--format=%s", "--all")

    fetched = call("fetch", "remote.git", "away", "--json")
    assert fetched.status == 0, fetched.err
    assert {**fetched.object, "path": ""} == {**ran.object, "path": ""}
    here, away = Path(ran.object["path"]), Path(fetched.object["path"])
    assert away == tmp_path / "away" / here.name
    for name in ("journal.jsonl", "run.toml", "state.json", "population.json", "attempts/2/attempt.json"):
        assert (away / name).read_bytes() == (here / name).read_bytes(), name
    assert (away / "workspace" / "x.txt").read_text() == (here / "workspace" / "x.txt").read_text()
    assert not os.access(away / "target" / "OBJECTIVE.md", os.X_OK)
    assert (away / "target" / "OBJECTIVE.md").stat().st_mode & 0o222 == 0
    assert call("diff", str(away), "1", "2").status == 0
    assert call("export", str(away), "out", "--json").status == 0

    gone_on = call("resume", str(away), "--max-candidates", "4", "--json")
    assert (gone_on.object["attempts"], gone_on.object["session"]) == (4, 2)
    assert refs(remote)["heads/best"] == gone_on.object["best"]["commit"], "run.toml says where it is pushed to"
    assert not caplog.text

    listed = git(away / "parcel.git", "ls-tree", "--name-only", f"refs/heads/{away.name}/journal", "journal/").split()
    read = [git(away / "parcel.git", "show", f"refs/heads/{away.name}/journal:{name}") for name in listed]
    assert "\n".join(read) == (away / "journal.jsonl").read_text().strip(), "pieces that were there before stay"
    assert len(listed) > 5
    before = refs(remote)
    other = call("resume", str(here), "--max-candidates", "3", "--json")
    assert other.status == 0, "a push that fails ends no run"
    assert "has gone on there by another driver" in caplog.text
    assert refs(remote) == before
    refused = call("fetch", "remote.git", "exp_env")
    assert (refused.status, "has gone on by itself" in refused.told) == (2, True)
    assert call("show", str(here), "--json").object["attempts"] == 3


def test_fetching_again_brings_a_run_up_to_date(call: Call, toy: str, tmp_path: Path) -> None:
    ran = call("run", toy, *QUICK, "--max-candidates", "1").object
    assert call("fetch", ran["path"], "away", "--json").object["attempts"] == 1
    assert not list(Path(ran["path"]).glob("*parcel*")), "a folder that is read stays as it is"
    call("resume", "--max-candidates", "3", "--json")
    again = call("fetch", ran["path"], "away", "--json").object
    assert again["attempts"] == 3
    assert git(Path(again["path"]) / "workspace", "rev-parse", "best") == again["best"]["commit"]
    assert git(Path(again["path"]) / "workspace", "status", "--porcelain") == ""
    assert not list((tmp_path / "away").glob(".*"))
    assert call("resume", again["path"], "--max-candidates", "4", "--json").object["attempts"] == 4


def test_one_repository_holds_several_runs(call: Call, toy: str, remote: Path) -> None:
    first, second = (
        call("run", toy, *QUICK, "--max-candidates", "1", "--push-to", str(remote), "--exp-name", name).object["run"]
        for name in ("one", "two")
    )
    unsaid = call("fetch", str(remote), "away")
    assert (unsaid.status, f"{first}, {second}" in unsaid.told) == (2, True)
    assert call("fetch", str(remote), "away", "--run", "two", "--json").object["run"] == second
    unknown = call("fetch", str(remote), "away", "--run", first.replace("one", "onw"))
    assert (unknown.status, f"Did you mean '{first}'" in unknown.told) == (2, True)


def test_a_remote_that_takes_nothing_ends_no_run(
    call: Call, toy: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "empty").mkdir()
    ran = call("run", toy, *QUICK, "--max-candidates", "1", "--push-to", "empty")
    assert (ran.status, ran.object["attempts"]) == (0, 1)
    assert caplog.text.count("not pushed to") == 1
    assert "does not appear to be a git repository" in caplog.text
    assert f"the results are in {ran.object['path']} alone" in caplog.text


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("nowhere.git", "no such git repository. Make one with `git init --bare"),
        ("https://me:secret@example.org/r.git", "should hold no password"),
    ],
)
def test_a_remote_that_cannot_be_meant_is_refused(call: Call, toy: str, to: str, words: str) -> None:
    ran = call("run", toy, *QUICK, "--push-to", to)
    assert (ran.status, words in ran.told) == (2, True), ran.err
    assert not list(Path("exp_env").glob("*")), "nothing was begun"


@pytest.mark.parametrize("source", ["toy", "nowhere", "https://127.0.0.1:9/r.git", "remote.git"])
def test_what_holds_no_run_is_one_message(call: Call, toy: str, remote: Path, source: str) -> None:
    fetched = call("fetch", source, "away")
    assert fetched.status == 2
    assert source in fetched.told or "does not appear to be a git repository" in fetched.told


def test_a_courier_pushes_while_the_best_improves(
    call: Call, toy: str, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "SHARE", 0)
    folder = RunFolder(Path(call("run", toy, *QUICK, "--max-candidates", "2").object["path"]))
    workspace = folder.workspace

    def pushed() -> bool:
        return refs(remote).get("heads/best") == git(workspace, "rev-parse", "best")

    with Courier(folder, str(remote), first_s=0.0, every_s=0.05):
        wait_for(pushed)
        git(workspace, "update-ref", "refs/heads/best", git(workspace, "rev-parse", "0"))
        wait_for(pushed)
        git(workspace, "update-ref", "refs/heads/best", git(workspace, "rev-parse", "1"))
    assert pushed(), "once more at the end"


def wait_for(met: Callable[[], bool], limit_s: float = 60.0) -> None:
    end_s = time.monotonic() + limit_s
    while not met():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def test_a_run_printed_into_a_log_comes_out_whole_or_not_at_all(call: Call, toy: str, tmp_path: Path) -> None:
    ran = call("run", toy, *QUICK, "--max-candidates", "1").object
    text = call("fetch", "latest", "--as-bundle").out
    log = f"Running entrypoint for job …\n{text}\nand more\n"
    (tmp_path / "bundle").write_bytes(from_printed(log))
    assert call("fetch", "bundle", "away", "--json").object["run"] == ran["run"]
    assert from_printed("\n".join(printed(RunFolder(Path(ran["path"])))))
    for damage in (log[: len(log) // 2], log.replace("A", "B", 1).replace("B", "C", 3), "Traceback: no module"):
        with pytest.raises(RunError, match=r"damaged|did not print"):
            from_printed(damage)


lines = st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"") + b"\n"), max_size=30)


@given(lines, lines, st.integers(1, 40))
def test_all_pieces_of_a_journal_but_the_last_stay_as_they_are(old: list[bytes], new: list[bytes], size: int) -> None:
    before, after = b"".join(old), b"".join(old + new)
    cut = list(pieces(after, size))
    assert b"".join(cut) == after
    assert list(pieces(before, size))[:-1] == cut[: max(0, len(list(pieces(before, size))) - 1)]
    assert all(piece.endswith(b"\n") for piece in cut)
    assert Content.of(before).begins(after)
    assert Content.of(after).begins(before) == (before == after)


def test_the_same_name_is_the_same_run(call: Call, toy: str, tmp_path: Path) -> None:
    command = ("run", toy, *QUICK[:-3], "--json", "--exp-name", "night", "--resume-named", "--max-candidates")
    first = call(*command, "1").object
    second = call(*command, "3")
    assert (second.object["run"], second.object["attempts"]) == (first["run"], 3)
    assert f"raysearch: going on with {first['run']}: same name" in second.err
    assert second.object["seed"] == first["seed"], "drawn once"

    for more, told in (
        (("--outer-loop", "plain"), "run.outer_loop: 'evolve' there, 'plain' here"),
        (("--seed", str(first["seed"] + 1)), f"run.seed: {first['seed']} there, {first['seed'] + 1} here"),
        (("--frontier-bias", "0.5"), "policy.frontier_bias: nothing there, 0.5 here"),
    ):
        other = call(*command, "3", *more)
        assert (other.status, told in other.told) == (2, True), other.err
        assert "--no-resume-named" in other.told
    (tmp_path / "toy/objectives.toml").write_text((tmp_path / "toy/objectives.toml").read_text() + "noise = 0.5\n")
    other = call(*command, "3")
    assert (other.status, "the target: its objectives changed" in other.told) == (2, True)
    fresh = call("run", toy, *QUICK, "--exp-name", "night", "--no-resume-named", "--max-candidates", "1").object
    assert fresh["run"] != first["run"]
    assert call(*command, "2").object["run"] == fresh["run"], "the newest that agrees"

    nameless = call("run", toy, *QUICK, "--resume-named")
    assert (nameless.status, "Give --exp-name" in nameless.told) == (2, True)


JOB = {"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}", "RAY_ADDRESS": "10.0.0.1:6379"}


def test_a_job_has_other_defaults(call: Call, toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert job.defaults({"RAY_ADDRESS": "10.0.0.1:6379"}) == []
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in JOB.items():
        monkeypatch.setenv(name, value)
    shown = call("run", toy, "--show-config", "--json").object["run"]
    assert shown["address"] == {"value": "auto", "origin": "default in a Ray job"}
    assert shown["runs_dir"]["value"] == str(tmp_path / "home/raysearch_runs")
    assert call("run", toy, "--address", "h:1", "--show-config", "--json").object["run"]["address"]["value"] == "h:1"
    first = call("run", toy, *QUICK, "--exp-name", "night", "--max-candidates", "1")
    assert f"keeping runs in {tmp_path}/home/raysearch_runs" in first.err
    second = call("run", toy, *QUICK, "--exp-name", "night", "--max-candidates", "2")
    assert (second.object["run"], second.object["attempts"]) == (first.object["run"], 2), "without being asked"
    assert call("show", "--json").object["attempts"] == 2


def test_a_working_folder_of_jobs_is_no_place_for_runs(call: Call, toy: str, tmp_path: Path) -> None:
    package = tmp_path / "session/runtime_resources/working_dir_files/_ray_pkg_1f"
    refused = call("run", toy, *QUICK, "--runs-dir", str(package / "runs"))
    assert (refused.status, "~/raysearch_runs" in refused.told) == (2, True)
    assert not package.exists()
    (tmp_path / "link").symlink_to(package)
    assert job.package_of(tmp_path / "link/x") == package
    assert job.package_of(tmp_path) is None


def test_a_package_of_another_content_is_the_same_run(
    toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "runtime_resources/working_dir_files"

    def submitted(package: str, attempts: int) -> str:
        """The run that a job with that package drives."""
        here = packages / package
        shutil.copytree(toy, here / "toy")
        shutil.copy(TOYS, here / "own.py")
        sets = (
            *("run.target=toy", 'run.mutators=["own.py:Step"]', "run.pool=inline", "run.sandbox=none"),
            *("run.exp_name=night", "run.resume_named=true", f"limits.max_candidates={attempts}"),
        )
        configuration = configure(overrides=[*map(set_override, sets)], folder=here)
        runs = configuration.settings.run.model_copy(update={"runs_dir": str(tmp_path / "runs")})
        configuration = named.replace(configuration, settings=configuration.settings.model_copy(update={"run": runs}))
        summary = start(configuration, lambda _: Silent(), lambda: "")
        assert summary.state.attempts_total == attempts
        return summary.folder.name

    first = submitted("_ray_pkg_aa", 1)
    shutil.rmtree(packages / "_ray_pkg_aa")  # Ray clears it away
    assert submitted("_ray_pkg_bb", 2) == first


class Silent:
    def told(self, entry: object) -> None: ...
    def started(self, job: object) -> None: ...
    def close(self) -> None: ...


def test_a_name_is_needed_to_resume_by_name() -> None:
    configuration = configure(overrides=[set_override("run.resume_named=true")])
    with pytest.raises(ConfigError, match="which run"):
        named.earlier(configuration, None)  # type: ignore[arg-type]
