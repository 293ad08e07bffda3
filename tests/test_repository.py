"""Candidates are commits: what libgit2 wrote, read back with the git that people use."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raysearch.errors import RepositoryError
from raysearch.repository import Repository, TooLarge, Unfit
from raysearch.types import AttemptId, Commit, Tree

AT_S = 1_700_000_000.75


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "workspace")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    folder = tmp_path / "program"
    folder.mkdir()
    return folder


def git(repository: Repository, *words: str) -> str:
    """What a person's git says, without that person's settings."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C.UTF-8"}
    command = ["git", "-c", "core.quotePath=false", *words]
    done = subprocess.run(
        command, cwd=repository.path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def committed(repository: Repository, folder: Path, number: int, *parents: Commit) -> Commit:
    commit = repository.commit(repository.write_tree(folder), parents, f"attempt {number}: step", AT_S + number)
    repository.name(AttemptId(number), commit)
    return commit


# -- git by hand --------------------------------------------------------------------------------------------


def test_log_diff_and_show_work_by_attempt_number(repository: Repository, program: Path) -> None:
    one = committed(repository, write(program, {"solution.py": "speed = 1\n", "lib/a.py": "a\n"}), 1)
    two = committed(repository, write(program, {"solution.py": "speed = 2\n"}), 2, one)
    repository.show_best(two)
    assert git(repository, "log", "--format=%s by %an at %ct").splitlines() == [
        "attempt 2: step by raysearch at 1700000002",
        "attempt 1: step by raysearch at 1700000001",
    ]
    difference = git(repository, "diff", "1", "2")
    assert "-speed = 1\n+speed = 2\n" in difference
    assert difference == repository.diff(one, two)
    assert git(repository, "show", "1:lib/a.py") == "a\n" == repository.show(one, "lib/a.py")
    assert git(repository, "rev-parse", "2").strip() == two == repository.commit_of(AttemptId(2))
    assert git(repository, "fsck", "--strict", "--no-dangling") == ""


def test_numbers_that_look_like_short_hashes_still_name_attempts(repository: Repository, program: Path) -> None:
    commits = {n: committed(repository, write(program, {"n": str(n)}), n) for n in (1234, 100000, 4711)}
    for number, commit in commits.items():
        assert git(repository, "rev-parse", str(number)).strip() == commit


def test_the_best_is_checked_out_on_its_branch(repository: Repository, program: Path) -> None:
    one = committed(repository, write(program, {"a": "1", "gone/b": "2"}), 1)
    repository.show_best(one)
    assert (repository.path / "gone" / "b").read_text() == "2"
    (program / "gone" / "b").unlink()
    two = committed(repository, write(program, {"a": "3", "new": "4"}), 2, one)
    repository.show_best(two)
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "branch", "--show-current").strip() == "best"
    assert sorted(p.name for p in repository.path.iterdir()) == [".git", "a", "new"]
    assert (repository.path / "a").read_text() == "3"


def test_bisect_finds_the_attempt_that_broke_it(repository: Repository, program: Path) -> None:
    parents: tuple[Commit, ...] = ()
    for number in range(1, 9):
        source = "fine\n" if number < 6 else "broken\n"
        parents = (committed(repository, write(program, {"state": source, "n": f"{number}\n"}), number, *parents),)
    repository.show_best(parents[0])
    git(repository, "bisect", "start", "8", "1")
    said = git(repository, "bisect", "run", "grep", "-q", "fine", "state")
    assert f"{repository.commit_of(AttemptId(6))} is the first bad commit" in said
    git(repository, "bisect", "reset")


def test_a_merge_has_two_parents(repository: Repository, program: Path) -> None:
    one = committed(repository, write(program, {"a": "1"}), 1)
    two = committed(repository, write(program, {"a": "2"}), 2)
    committed(repository, write(program, {"a": "3"}), 3, one, two)
    assert git(repository, "log", "-1", "--format=%P", "3").split() == [one, two]
    assert git(repository, "merge-base", "3", "2").strip() == two


def test_refs_stay_readable_when_they_are_packed(repository: Repository, program: Path) -> None:
    for number in range(12):
        committed(repository, write(program, {"n": str(number)}), number)
    repository.pack_refs()
    committed(repository, program, 12)
    assert sorted(repository.attempts()) == list(range(13))
    assert len(git(repository, "tag").split()) == 13
    assert not (repository.path / ".git" / "refs" / "tags" / "3").exists()


# -- equal programs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lock", ["refs/tags/7.lock", "refs/heads/best.lock", "packed-refs.lock", "HEAD.lock", "index.lock"]
)
def test_what_a_killed_driver_left_locked_is_unlocked(repository: Repository, program: Path, lock: str) -> None:
    commit = repository.commit(repository.write_tree(program), (), "one", 1.0)
    place = repository.path / ".git" / lock
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()
    repository.unlock()
    repository.name(AttemptId(7), commit)
    repository.show_best(commit)
    repository.pack_refs()
    assert repository.commit_of(AttemptId(7)) == commit
    assert not list((repository.path / ".git").rglob("*.lock"))


def test_equal_arguments_give_equal_commits(tmp_path: Path, program: Path) -> None:
    write(program, {"a": "1", "b/c": "2"})
    twins = [Repository.create(tmp_path / name) for name in ("one", "two")]
    first, second = (committed(repository, program, 1) for repository in twins)
    assert first == second
    assert twins[0].tree_of(first) == twins[1].tree_of(second)
    other = twins[0].commit(twins[0].write_tree(program), (), "attempt 1: step", AT_S + 60)
    assert other != first
    assert twins[0].tree_of(other) == twins[0].tree_of(first)


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name not in {".", "..", "__pycache__"} and name.lower() != ".git" and len(name.encode()) < 100
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(names, st.tuples(st.binary(max_size=64), st.booleans()), max_size=5), st.booleans())
def test_any_files_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, tuple[bytes, bool]], below: bool
) -> None:
    root = tmp_path_factory.mktemp("files")
    repository, folder = Repository.create(root / "workspace"), root / "program"
    inner = folder / "folder" if below else folder
    inner.mkdir(parents=True)
    for name, (content, executable) in files.items():
        (inner / name).write_bytes(content)
        (inner / name).chmod(0o755 if executable else 0o644)
    tree = repository.write_tree(folder)
    repository.checkout(repository.commit(tree, (), "", 0.0), root / "out")
    found = {
        path.name: (path.read_bytes(), os.access(path, os.X_OK) and bool(path.stat().st_mode & 0o100))
        for path in (root / "out").rglob("*")
        if path.is_file()
    }
    assert found == files
    assert repository.write_tree(root / "out") == tree


def test_names_modes_and_links_are_kept(repository: Repository, program: Path, tmp_path: Path) -> None:
    write(program, {"größe 数.py": "x", "run.sh": "#!/bin/sh\n", "lib/real": "y"})
    (program / "run.sh").chmod(0o700)
    (program / "link").symlink_to("lib/real")
    (program / "lib" / "up").symlink_to("../run.sh")
    (program / "dangling").symlink_to("not-yet")
    commit = committed(repository, program, 1)
    out = tmp_path / "out"
    repository.checkout(commit, out)
    assert (out / "größe 数.py").read_text() == "x"
    assert os.access(out / "run.sh", os.X_OK)
    assert (out / "link").readlink() == Path("lib/real")
    assert (out / "lib" / "up").read_text() == "#!/bin/sh\n"
    assert not (out / ".git").exists()
    assert git(repository, "ls-tree", "-r", "--format=%(objectmode) %(path)", "1").splitlines() == [
        "120000 dangling",
        "100644 größe 数.py",
        "100644 lib/real",
        "120000 lib/up",
        "120000 link",
        "100755 run.sh",
    ]


def test_caches_and_empty_folders_are_no_part_of_a_program(repository: Repository, program: Path) -> None:
    write(program, {"a.py": "1"})
    tree = repository.write_tree(program)
    write(program, {"__pycache__/a.cpython-311.pyc": "x", "lib/__pycache__/b.pyc": "y"})
    (program / "empty" / "deeper").mkdir(parents=True)
    assert repository.write_tree(program) == tree
    assert repository.write_tree(program / "empty") == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # git's empty tree


def test_changed_names_every_path_of_either_side(repository: Repository, program: Path) -> None:
    before = repository.write_tree(write(program, {"keep": "k", "edit": "1", "old/name": "n"}))
    (program / "old" / "name").rename(program / "new-name")
    after = repository.write_tree(write(program, {"edit": "2", "added/file": "f"}))
    assert list(map(str, repository.changed(before, after))) == ["added/file", "edit", "new-name", "old/name"]
    assert repository.changed(after, after) == []


# -- what is no program -------------------------------------------------------------------------------------


def fifo(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


def unix_socket(folder: Path) -> None:
    here = Path.cwd()
    os.chdir(folder)  # the path of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("sock")
    finally:
        os.chdir(here)


UNFIT = {
    "a link to above": (lambda p: (p / "link").symlink_to("../outside"), "link is a link that leads outside"),
    "an absolute link": (lambda p: (p / "link").symlink_to("/etc/passwd"), "leads outside"),
    "an absolute link to within": (lambda p: (p / "link").symlink_to(p / "a.py"), "leads outside"),
    "a link by way of another": (
        lambda p: ((p / "d").mkdir(), (p / "d" / "up").symlink_to(".."), (p / "link").symlink_to("d/up/../x")),
        "leads outside",
    ),
    "a link to itself": (lambda p: (p / "link").symlink_to("link"), "in circles"),
    "a nested repository": (lambda p: (p / "sub" / ".git").mkdir(parents=True), ".git inside a program"),
    "a nested repository by file": (lambda p: (p / ".git").write_text("gitdir: /elsewhere"), ".git inside"),
    "one spelt otherwise": (lambda p: (p / ".GiT").mkdir(), ".GiT inside a program"),
    "a pipe": (fifo, "pipe is neither file, folder nor link"),
    "a socket": (unix_socket, "sock is neither file, folder nor link"),
    "a name that is no text": (lambda p: Path(os.fsdecode(os.fsencode(p) + b"/\xff\xfe")).touch(), "not UTF-8"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_what_a_program_must_not_hold(repository: Repository, program: Path, what: str) -> None:
    make, says = UNFIT[what]
    write(program, {"a.py": "1"})
    make(program)
    with pytest.raises(Unfit, match=says):
        repository.write_tree(program)


def test_a_program_has_a_size(repository: Repository, program: Path) -> None:
    write(program, {"a": "x" * 600, "b/c": "x" * 400})
    repository.write_tree(program, bytes_max=1000)
    with pytest.raises(TooLarge, match="makes the program too large"):
        repository.write_tree(program, bytes_max=999)


def test_a_sparse_giant_is_refused_unread(repository: Repository, program: Path) -> None:
    with (program / "giant").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(TooLarge, match="giant"):
        repository.write_tree(program, bytes_max=10**6)


# -- what is not there --------------------------------------------------------------------------------------


def test_what_is_not_there_is_said_plainly(repository: Repository, program: Path, tmp_path: Path) -> None:
    commit = committed(repository, write(program, {"a/b": "1"}), 1)
    nowhere = Commit("1" * 40)
    with pytest.raises(RepositoryError, match="no attempt 7 with a commit"):
        repository.commit_of(AttemptId(7))
    with pytest.raises(RepositoryError, match="no commit 1111"):
        repository.tree_of(nowhere)
    with pytest.raises(RepositoryError):
        repository.name(AttemptId(2), nowhere)
    for path in ("nothing", "a", "a/b/c"):
        with pytest.raises(FileNotFoundError, match=f"{path} in commit {commit[:12]}"):
            repository.show(commit, path)
    with pytest.raises(RepositoryError, match="nowhere"):
        Repository(tmp_path / "nowhere")


def test_a_ref_moves_when_an_attempt_is_made_again(repository: Repository, program: Path) -> None:
    """After a power cut a mutation is made anew; its ref must follow."""
    committed(repository, write(program, {"a": "1"}), 1)
    two = committed(repository, write(program, {"a": "2"}), 1)
    assert repository.commit_of(AttemptId(1)) == two
    assert list(repository.attempts()) == [1]


def test_trees_are_named_as_git_names_them(repository: Repository, program: Path) -> None:
    write(program, {"b": "1", "a/x": "2", "a.c": "3", "a0": "4"})  # git sorts folders as if they ended in a slash
    tree: Tree = repository.write_tree(program)
    git(repository, f"--work-tree={program}", "add", "-A")
    assert git(repository, "write-tree").strip() == tree


@pytest.mark.parametrize("name", [".git ", "git~1"])
def test_names_that_some_file_systems_take_for_git_are_unfit(repository: Repository, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "planted"
    folder.mkdir()
    (folder / name).write_text("gitdir: elsewhere")
    with pytest.raises(Unfit, match="git"):
        repository.write_tree(folder)
