"""The refs of many attempts: gathered in git's own file, whatever lay in it, and never lost."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from raysearch.repository import Repository
from raysearch.types import AttemptId, Commit


def git(repository: Repository, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", repository.path, *words], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "workspace")


@pytest.fixture
def commits(repository: Repository, tmp_path: Path) -> list[Commit]:
    (tmp_path / "program").mkdir()
    tree = repository.write_tree(tmp_path / "program")
    return [repository.commit(tree, (), f"attempt {number}", 1.0) for number in range(12)]


def named(repository: Repository) -> dict[str, str]:
    return dict(line.split()[::-1] for line in git(repository, "show-ref").splitlines())


def test_all_of_them_mean_the_same_before_and_after(repository: Repository, commits: list[Commit]) -> None:
    for number, commit in enumerate(commits[:8]):
        repository.name(AttemptId(number), commit)
    repository.name("origin", commits[0])
    repository.show_best(commits[3])
    before = named(repository)
    repository.pack_refs()
    assert named(repository) == before
    tags = repository.path / ".git" / "refs" / "tags"
    assert [path.name for path in tags.iterdir()] == ["origin"]
    assert git(repository, "fsck", "--strict", "--no-dangling") == ""
    for number, commit in enumerate(commits[6:], start=6):  # two of them anew, elsewhere
        repository.name(AttemptId(number), commits[0] if number < 8 else commit)
    before = named(repository)
    repository.pack_refs()
    assert named(repository) == before
    assert [path.name for path in tags.iterdir()] == ["origin"]
    assert repository.commit_of(AttemptId(7)) == commits[0]
    assert sorted(repository.attempts()) == list(range(12))


def test_what_git_packed_itself_stays(repository: Repository, commits: list[Commit]) -> None:
    for number, commit in enumerate(commits[:5]):
        repository.name(AttemptId(number), commit)
    git(repository, "-c", "user.name=a", "-c", "user.email=a@b", "tag", "-a", "-m", "by hand", "release", commits[1])
    git(repository, "pack-refs", "--all")
    for number, commit in enumerate(commits[5:], start=5):
        repository.name(AttemptId(number), commit)
    before = named(repository) | {"peeled": git(repository, "rev-parse", "release^{commit}")}
    repository.pack_refs()
    assert named(repository) | {"peeled": git(repository, "rev-parse", "release^{commit}")} == before
    assert git(repository, "rev-parse", "release^{commit}") == commits[1]


@pytest.mark.parametrize("head", ["# pack-refs with: peeled \n", ""])
def test_a_file_of_another_kind_is_left_alone(repository: Repository, commits: list[Commit], head: str) -> None:
    packed = repository.path / ".git" / "packed-refs"
    packed.write_text(f"{head}{commits[0]} refs/tags/0\n")
    repository.name(AttemptId(1), commits[1])
    before = packed.read_bytes()
    repository.pack_refs()
    assert packed.read_bytes() == before
    assert repository.commit_of(AttemptId(1)) == commits[1]


def test_two_do_not_pack_at_once(repository: Repository, commits: list[Commit]) -> None:
    repository.name(AttemptId(1), commits[1])
    lock = repository.path / ".git" / "packed-refs.lock"
    lock.touch()
    repository.pack_refs()
    assert repository.commit_of(AttemptId(1)) == commits[1]
    assert (repository.path / ".git" / "refs" / "tags" / "1").exists()
    assert lock.exists()
