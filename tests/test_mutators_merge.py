"""Merge: two candidates and their latest common ancestor, in real repositories."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toys import make_target

from mutators.merge import Conflict, Merge, pieces
from raysearch.config.targets import load_target, snapshot_target
from raysearch.errors import MutatorFault
from raysearch.jobs import Job
from raysearch.plugins import PluginSpec, load
from raysearch.repository import Repository
from raysearch.run.folder import RunFolder
from raysearch.run.search import create
from raysearch.testing.conformance import MutatorConformance
from raysearch.testing.workspace import FolderWorkspace
from raysearch.types import AttemptId, Brief, Change, Commit, Inspiration, Mutation, Stage
from raysearch.worker import Worker, WorkerSpec

LINES = [f"line {number}\n" for number in range(12)]


def text(changes: Mapping[int, str] | None = None) -> str:
    """Twelve lines, some of them other than usual."""
    return "".join((changes or {}).get(number, line) for number, line in enumerate(LINES))


def brief(*commits: Commit) -> Brief:
    return Brief(inspirations=tuple(Inspiration(AttemptId(23 + i), commit) for i, commit in enumerate(commits)))


def family(
    root: Path, base: Mapping[str, str], ours: Mapping[str, str], theirs: Mapping[str, str]
) -> tuple[FolderWorkspace, Commit]:
    """A workspace at ``ours``, and the commit ``theirs``, both children of ``base``."""
    place = FolderWorkspace.make(root, base)
    here, there = place.add(ours, [place.commit]), place.add(theirs, [place.commit])
    for name in {*base, *ours, *theirs}:
        place.restore(here, name)
    return replace(place, commit=here), there


def files(place: FolderWorkspace) -> dict[str, str]:
    return {
        path.relative_to(place.path).as_posix(): path.read_bytes().decode()
        for path in place.path.rglob("*")
        if path.is_file()
    }


def merged(
    place: FolderWorkspace, theirs: Commit, seed: int = 0, conflicts: str = "side"
) -> tuple[dict[str, str], Mutation]:
    mutation = Merge(conflicts=conflicts).mutate(place, brief(theirs), random.Random(seed))  # type: ignore[arg-type]
    return files(place), mutation


def test_what_only_one_changed_is_taken_from_it(tmp_path: Path) -> None:
    base = {"a": text(), "gone/b": "b\n", "c": "c\n", "d": "d\n"}
    ours = {"a": text({1: "ours\n"}), "gone/b": "b\n", "c": "C\n", "d": "d\n"}
    theirs = {"a": text({9: "theirs\n"}), "c": "c\n", "d": "D\n", "new/e": "e\n"}
    place, there = family(tmp_path, base, ours, theirs)
    after, mutation = merged(place, there)
    assert after == {"a": text({1: "ours\n", 9: "theirs\n"}), "c": "C\n", "d": "D\n", "new/e": "e\n"}
    assert mutation.summary == "merged with 23: 4 files"


def test_git_merges_to_the_same_tree(tmp_path: Path) -> None:
    base = {"a": text(), "b": text()}
    ours = {"a": text({1: "ours\n", 6: ""}), "b": text({0: "first\n"})}
    theirs = {"a": text({3: "theirs\nand more\n", 11: ""}), "b": text({5: "x\n"})}
    place, there = family(tmp_path, base, ours, theirs)
    merged(place, there)
    run = ["git", "-C", str(tmp_path / "run"), "merge-tree", "--write-tree", place.commit, there]
    expected = subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    assert place.repository.write_tree(place.path) == expected


def test_modes_links_and_bytes_are_kept(tmp_path: Path) -> None:
    place = FolderWorkspace.make(tmp_path, {"a": "a\n", "b": "b\n"})
    (place.path / "a").write_text("A\n")
    here = place.repository.commit(place.repository.write_tree(place.path), [place.commit], "ours", 0.0)
    (place.path / "a").write_text("a\n")
    (place.path / "tool").write_bytes(b"\x00\xff\x80")
    (place.path / "tool").chmod(0o755)
    (place.path / "link").symlink_to("b")
    there = place.repository.commit(place.repository.write_tree(place.path), [place.commit], "theirs", 0.0)
    for name in ("a", "tool", "link"):
        place.restore(here, name)
    assert not (place.path / "tool").exists()
    Merge().mutate(replace(place, commit=here), brief(there), random.Random(0))
    assert (place.path / "a").read_text() == "A\n"
    assert (place.path / "tool").read_bytes() == b"\x00\xff\x80"
    assert (place.path / "tool").stat().st_mode & 0o111
    assert (place.path / "link").readlink() == Path("b")


CONFLICTING = (
    {"a": text()},
    {"a": text({1: "ours 1\n", 5: "ours 5\n", 9: "ours 9\n"})},
    {"a": text({1: "theirs 1\n", 5: "theirs 5\n", 9: "theirs 9\n"})},
)


def test_conflicts_go_to_one_side_or_the_other(tmp_path: Path) -> None:
    """Never all to the same: that would be a parent again."""
    seen = set()
    place, there = family(tmp_path, *CONFLICTING)
    for seed in range(40):
        place.restore(place.commit, "a")
        after, mutation = merged(place, there, seed)
        sides = tuple(after["a"].splitlines()[number].split()[0] for number in (1, 5, 9))
        assert set(sides) == {"ours", "theirs"}
        counts = f"{sides.count('ours')} ours, {sides.count('theirs')} theirs"
        assert mutation.summary == f"merged with 23: 1 file, 3 conflicts ({counts})"
        seen.add(sides)
    assert len(seen) == 6


def test_conflicts_may_be_dropped(tmp_path: Path) -> None:
    base, ours, theirs = CONFLICTING
    place, there = family(tmp_path / "one", base, {**ours, "b": "b\n"}, theirs)
    after, mutation = merged(place, there, conflicts="drop")
    assert after == {"a": text(), "b": "b\n"}
    assert mutation.summary == "merged with 23: 1 file, 3 conflicts (3 base)"
    place, there = family(tmp_path / "two", *CONFLICTING)
    with pytest.raises(MutatorFault, match="or their ancestor"):
        merged(place, there, conflicts="drop")


def test_a_file_that_is_no_text_is_one_conflict(tmp_path: Path) -> None:
    seen = set()
    place = FolderWorkspace.make(tmp_path, {"a": "a\n", "b": "b\n", "c": text()})
    (place.path / "a").write_bytes(b"\x00ours")
    (place.path / "c").write_text(text({1: "ours\n"}))
    here = place.repository.commit(place.repository.write_tree(place.path), [place.commit], "ours", 0.0)
    (place.path / "a").write_bytes(b"\xff\xfe")
    (place.path / "b").unlink()
    (place.path / "c").write_text(text({7: "theirs\n"}))
    there = place.repository.commit(place.repository.write_tree(place.path), [place.commit], "theirs", 0.0)
    for seed in range(20):
        for name in "abc":
            place.restore(here, name)
        Merge().mutate(replace(place, commit=here), brief(there), random.Random(seed))
        assert not (place.path / "b").exists()
        assert (place.path / "c").read_text() == text({1: "ours\n", 7: "theirs\n"})
        seen.add((place.path / "a").read_bytes())
    assert seen == {b"\x00ours", b"\xff\xfe"}


def test_a_file_that_one_changed_and_the_other_deleted_is_one_conflict(tmp_path: Path) -> None:
    seen = set()
    base, ours = {"a": "a\n", "b": "b\n"}, {"a": "A\n", "b": "b\n"}
    place, there = family(tmp_path, base, {**ours, "c": "c\n"}, {"b": "B\n"})
    for seed in range(20):
        for name in "abc":
            place.restore(place.commit, name)
        after, _ = merged(place, there, seed)
        assert (after["b"], after["c"]) == ("B\n", "c\n")
        seen.add(after.get("a"))
    assert seen == {None, "A\n"}


def test_a_last_line_without_its_end(tmp_path: Path) -> None:
    place, there = family(tmp_path, {"a": "1\n2\n3\n4\n5"}, {"a": "one\n2\n3\n4\n5"}, {"a": "1\n2\n3\n4\nfive"})
    assert merged(place, there)[0] == {"a": "one\n2\n3\n4\nfive"}


def test_lines_that_look_like_marks(tmp_path: Path) -> None:
    base = text({3: "<<<<<<< a\n", 4: "=======\n", 5: ">>>>>>> b\n"})
    place, there = family(tmp_path, {"a": base}, {"a": "ours\n" + base}, {"a": base + "=======\n"})
    assert merged(place, there)[0] == {"a": "ours\n" + base + "=======\n"}


def test_line_ends_are_kept(tmp_path: Path) -> None:
    base = "1\r\n2\r\n3\r\n4\r\n5\r\n"
    place, there = family(tmp_path, {"a": base}, {"a": "0\r\n" + base}, {"a": base + "\x0c6\r\n"})
    assert merged(place, there)[0] == {"a": "0\r\n" + base + "\x0c6\r\n"}


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.dictionaries(st.integers(0, 11), st.sampled_from(["", "x\n", "y\nz\n"]), max_size=4), min_size=4),
    st.integers(0, 2**32),
)
def test_a_merge_is_new_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[dict[int, str]], seed: int
) -> None:
    base, ours = {"a": text(), "b": text()}, {"a": text(changes[0]), "b": text(changes[1])}
    theirs = {"a": text(changes[2]), "b": text(changes[3])}
    results = []
    for _ in range(2):
        place, there = family(tmp_path_factory.mktemp("merge"), base, ours, theirs)
        try:
            after, mutation = merged(place, there, seed)
            assert after not in (base, ours, theirs)
            results.append((after, mutation))
        except MutatorFault as fault:
            assert files(place) == ours
            results.append((ours, str(fault)))
    assert results[0] == results[1]


def test_what_cannot_be_merged_is_said(tmp_path: Path) -> None:
    place = FolderWorkspace.make(tmp_path, {"a": "1\n"})
    child = place.add({"a": "2\n"}, [place.commit])
    twin = place.add({"a": "1\n"}, [child])
    stranger = place.add({"a": "3\n"})
    for other, said in (
        (child, "nothing to merge: 23 descends from this program"),
        (place.commit, "this program and 23 are the same"),
        (twin, "this program and 23 are the same"),
        (stranger, "no common ancestor"),
    ):
        with pytest.raises(MutatorFault, match=said):
            Merge().mutate(place, brief(other), random.Random(0))
    place.restore(child, "a")
    with pytest.raises(MutatorFault, match="nothing to merge: this program descends from 23"):
        Merge().mutate(replace(place, commit=child), brief(place.commit), random.Random(0))
    with pytest.raises(MutatorFault, match="names no other candidate"):
        Merge().mutate(place, Brief(), random.Random(0))


def test_one_place_that_both_changed_cannot_be_merged(tmp_path: Path) -> None:
    place, there = family(tmp_path, {"a": text()}, {"a": text({4: "ours\n"})}, {"a": text({4: "theirs\n"})})
    with pytest.raises(MutatorFault, match=r"changed the same places only \(1\)"):
        merged(place, there)
    assert files(place) == {"a": text({4: "ours\n"})}


def test_only_the_first_inspiration_is_merged(tmp_path: Path) -> None:
    place, there = family(tmp_path, {"a": text()}, {"a": text({1: "ours\n"})}, {"a": text({9: "theirs\n"})})
    third = place.add({"a": text({5: "third\n"})})
    Merge().mutate(place, brief(there, third), random.Random(0))
    assert files(place) == {"a": text({1: "ours\n", 9: "theirs\n"})}


def test_pieces_of_a_merge() -> None:
    mark = {sign: sign * 47 for sign in "<|=>"}
    merge = f"a\n{mark['<']} ours\nb\n{mark['|']} base\nc\n{mark['=']}\n{mark['>']} theirs\nd"
    assert pieces(merge) == ["a\n", Conflict("b\n", "c\n", ""), "d"]
    assert pieces("") == []


# In a run


def test_a_proposal_with_two_parents_becomes_a_merge_commit(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "runs", "toy")
    target_toml = '[candidate]\neditable = ["*.txt"]\n'
    target = snapshot_target(load_target(make_target(tmp_path / "toy", target_toml=target_toml)), folder.target)
    create(folder, target)
    repository = Repository(folder.workspace)
    base = repository.commit_of("origin")

    def child(name: str, content: str) -> Commit:
        made = tmp_path / name
        repository.checkout(base, made)
        (made / f"{name}.txt").write_text(content)
        return repository.commit(repository.write_tree(made), [base], name, 1e9)

    ours, theirs = child("left", "l\n"), child("right", "r\n")
    plugins = {(Stage.MUTATE, "merge"): PluginSpec("mutators", "merge", "merge")}
    worker = Worker(WorkerSpec(folder.identity, 7, folder.workspace, target, plugins, "none"))
    try:
        job = Job(AttemptId(3), Stage.MUTATE, "merge", ours, (ours, theirs), brief(theirs), opened_at_s=1e9)
        change = worker.perform(job).result
    finally:
        worker.close()
    assert isinstance(change, Change)
    assert not change.refusal
    log = ["git", "-C", str(folder.workspace), "log", "-1", "--format=%P%n%s", change.commit]
    said = subprocess.run(log, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == [f"{ours} {theirs}", "attempt 3: merged with 23: 1 file"]
    assert [repository.show(change.commit, name) for name in ("left.txt", "right.txt")] == ["l\n", "r\n"]


def test_it_comes_by_its_name() -> None:
    assert isinstance(load("mutators", "merge", {"conflicts": "drop"}), Merge)


class TestConformance(MutatorConformance):
    """Its jobs need a common ancestor, which the kit's two programs do not have."""

    def make(self) -> Merge:
        return Merge()

    def _workspace(self, root: Path, files: Mapping[str, str] | None = None) -> FolderWorkspace:
        target = self.target(root / "target")
        place = FolderWorkspace.make(root, {"answer.py": text()}, target, evaluation_seed=7)
        there = place.add({"answer.py": text({9: "theirs\n"})}, [place.commit])
        here = place.add({"answer.py": text({1: "ours\n"})}, [place.commit])
        place.restore(here, "answer.py")
        self._mate = there
        return replace(place, commit=here)

    def briefs(self, other: Commit) -> tuple[Brief, ...]:
        return (brief(getattr(self, "_mate", other), other),)
