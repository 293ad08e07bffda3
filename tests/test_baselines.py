"""Baselines: what a target may declare, what is refused and how, and that a copy keeps them."""

from __future__ import annotations

from pathlib import Path

import pytest
from called import Call, call  # noqa: F401 # a fixture
from toys import make_target

from raysearch.config.targets import load_target, snapshot_target
from raysearch.errors import TargetError
from raysearch.repository import Repository
from raysearch.run.baselines import committed
from raysearch.target import Baseline

RULES = '[candidate]\neditable = ["x.txt"]\n'


def declared(folder: Path, *tables: str) -> Path:
    made = make_target(folder, target_toml=RULES + "".join(f"[[baselines]]\n{table}\n" for table in tables))
    for name, value in (("library", "7\n"), ("others/best", "9\n")):
        (made / name).mkdir(parents=True)
        (made / name / "x.txt").write_text(value)
    return made


LIBRARY = 'name = "library"\npath = "library"\nwhy = "what everybody uses"'
BEST = 'name = "best-known"\npath = "others/best"'


def test_baselines_are_read_in_their_order(tmp_path: Path) -> None:
    made = declared(tmp_path / "toy", LIBRARY, BEST)
    assert load_target(made).baselines == (
        Baseline("library", made / "library", "what everybody uses"),
        Baseline("best-known", made / "others" / "best"),
    )


def test_a_copy_is_the_same_target(tmp_path: Path) -> None:
    target = load_target(declared(tmp_path / "toy", LIBRARY, BEST))
    taken = snapshot_target(target, tmp_path / "copy")
    assert taken.digest == target.digest
    assert [(b.name, b.folder.relative_to(taken.root).as_posix(), b.why) for b in taken.baselines] == [
        ("library", "baselines/library", "what everybody uses"),
        ("best-known", "baselines/best-known", ""),
    ]
    assert (taken.baselines[1].folder / "x.txt").read_text() == "9\n"


def test_they_are_part_of_the_digest(tmp_path: Path) -> None:
    made = declared(tmp_path / "toy", LIBRARY)
    before = load_target(made).digest
    (made / "library" / "x.txt").write_text("8\n")
    after = load_target(made).digest
    assert after != before
    (made / "target.toml").write_text(RULES)
    without = load_target(made).digest
    assert without not in {before, after}
    (made / "target.toml").write_text(RULES + "[[baselines]]\n" + LIBRARY.replace("everybody", "nobody"))
    assert load_target(made).digest not in {before, after, without}


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (('name = "a"\npath = "libary"',), r"libary: missing: the program of baseline 'a'.* Did you mean 'library'\?"),
        (('name = "a"\npath = "OBJECTIVE.md"',), r"OBJECTIVE.md: not a folder: the program of baseline 'a'"),
        ((LIBRARY, LIBRARY), r"target.toml:\d+: baseline 'library' is declared twice"),
        (('name = "a"\npath = "../elsewhere"',), r"target.toml:\d+: .*path.*should be the path of a folder inside"),
        (('name = "a"\npath = "/etc"',), r"path.*should be the path of a folder inside"),
        (('name = "a b"\npath = "library"',), r"name.*should be made of letters, digits"),
        (('name = "a"\npth = "library"',), r"(?s)'pth'.*'path'"),
        (('name = "a"',), r"path"),
        (('name = "a"\npath = "empty"',), r"empty: baseline 'a' must be a program like the seed"),
        (('name = "a"\npath = "linked"',), r"a link to"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, tables: tuple[str, ...], message: str) -> None:
    made = declared(tmp_path / "toy", *tables)
    (made / "empty").mkdir()
    (made / "linked").mkdir()
    (made / "linked" / "x.txt").symlink_to("/etc/hostname")
    with pytest.raises(TargetError, match=message):
        load_target(made)


def test_one_that_is_too_large_is_refused(tmp_path: Path) -> None:
    made = declared(tmp_path / "toy", LIBRARY)
    (made / "library" / "table.txt").write_text("0" * 20_000_000)
    with pytest.raises(TargetError, match=r"library: 20 MB, more than a program may have"):
        load_target(made)


def test_a_misspelt_table_is_named(tmp_path: Path) -> None:
    made = declared(tmp_path / "toy")
    (made / "target.toml").write_text(RULES + '[[baseline]]\nname = "a"\npath = "library"\n')
    with pytest.raises(TargetError, match=r"'baseline'.*'baselines'"):
        load_target(made)


def test_they_are_the_same_commits_everywhere(tmp_path: Path) -> None:
    target = load_target(declared(tmp_path / "toy", LIBRARY, BEST))
    taken = snapshot_target(target, tmp_path / "copy")
    found = [committed(Repository.create(tmp_path / name), t) for name, t in (("one", target), ("other", taken))]
    assert found[0] == found[1]
    assert list(found[0]) == ["library", "best-known"]
    one = Repository(tmp_path / "one")
    assert committed(one, target) == found[0]
    assert one.commit_of("baseline/library") == found[0]["library"]
    assert one.show(found[0]["best-known"], "x.txt") == "9\n"
    assert list(one.attempts()) == []


def test_check_shows_them_beside_the_seed(call: Call) -> None:  # noqa: F811
    declared(Path("toy"), LIBRARY, BEST)
    found = call("check", "toy", "--json", "--repeats", "2").object
    standing = {row["name"]: row["standing"] for row in found["findings"]}
    assert (standing["baseline library"], standing["baseline best-known"]) == ("ok", "ok")
    near = {row["name"]: row["values"]["near"] for row in found["beside"]}
    assert near == {"seed": -5.0, "reference": 0.0, "baseline library": -3.0, "baseline best-known": -1.0}


def test_check_refuses_those_that_fail_a_gate(call: Call) -> None:  # noqa: F811
    made = declared(Path("toy"), LIBRARY, BEST)
    (made / "library" / "x.txt").write_text("-7\n")
    (made / "others" / "best" / "conftest.py").write_text("import time\ntime.time = lambda: 0.0\n")
    called = call("check", "toy", "--repeats", "1")
    assert called.status == 1
    assert "the checker says no: -7.0 is below zero" in " ".join(called.out.split())
    assert "the audit says no" in called.out
    assert "baseline library, baseline best-known" in called.out.splitlines()[-1]
