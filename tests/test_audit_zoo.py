"""Every cheat of the zoo is caught by the gate that is meant to; every honest program passes all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from zoo import cheats_nearest, cheats_others, honest
from zoo.animals import TARGETS, Animal

from evaluators.audit.ground import ground_of
from evaluators.audit.signs import Sign
from evaluators.audit.static import read_tree, static_signs
from raysearch.config.targets import load_target, snapshot_target
from raysearch.jobs import Job
from raysearch.plugins import PluginSpec
from raysearch.repository import Repository
from raysearch.run.folder import RunFolder
from raysearch.run.search import create
from raysearch.seeds import number
from raysearch.types import AttemptId, Commit, Stage, Verdict
from raysearch.worker import Worker, WorkerSpec

CHEATS: Mapping[str, Mapping[str, Animal]] = {
    "nearest": cheats_nearest.CHEATS,
    "circle-packing": cheats_others.CIRCLES,
    "cache-eviction": cheats_others.CACHE,
    "online-bin-packing": cheats_others.BINS,
    "matmul-kernel": cheats_others.MATMUL,
}
HONEST: Mapping[str, Mapping[str, Animal]] = {
    "nearest": honest.NEAREST,
    "circle-packing": honest.CIRCLES,
    "cache-eviction": honest.CACHE,
    "online-bin-packing": honest.BINS,
    "matmul-kernel": honest.MATMUL,
}
ALL_CHEATS = [(target, name) for target, zoo in CHEATS.items() for name in zoo]
ALL_HONEST = [(target, name) for target, zoo in HONEST.items() for name in zoo]
RUN_SEED = 7
ORDER = ("audit", "accuracy", "traced", "holdout")


def signs(target: str, animal: Animal) -> list[Sign]:
    loaded = load_target(TARGETS[target])
    assert loaded.seed is not None
    seed = read_tree(loaded.seed)
    program = {**seed, **{name: text.encode() for name, text in animal.files(target).items()}}
    return static_signs(program, seed, ground_of(loaded))


def test_the_zoo_is_large_enough() -> None:
    assert len(ALL_CHEATS) >= 36
    assert len(ALL_HONEST) >= 30
    assert sum(bool(zoo) for zoo in CHEATS.values()) >= 3


@pytest.mark.parametrize(("target", "name"), ALL_CHEATS)
def test_files_alone_give_a_cheat_away_where_they_are_meant_to(target: str, name: str) -> None:
    animal = CHEATS[target][name]
    refused = {sign.rule for sign in signs(target, animal) if sign.severity == "refuse"}
    if animal.gate == "audit":
        assert animal.says in refused
    else:
        assert not refused, "another gate is to catch it, and would not be tested"


@pytest.mark.parametrize(("target", "name"), ALL_HONEST)
def test_files_of_honest_programs_show_nothing(target: str, name: str) -> None:
    assert [str(s) for s in signs(target, HONEST[target][name]) if s.severity == "refuse"] == []


@pytest.fixture(scope="module", params=list(TARGETS))
def keeper(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Worker]]:
    """A worker with every gate, for one target."""
    name = request.param
    folder = RunFolder.create(tmp_path_factory.mktemp("zoo"), name)
    target = snapshot_target(load_target(TARGETS[name]), folder.target)
    create(folder, target)
    plugins = {(Stage.JUDGE, gate): PluginSpec("judges", gate, gate) for gate in ORDER}
    worker = Worker(WorkerSpec(folder.identity, RUN_SEED, folder.workspace, target, plugins, "bubblewrap"))
    yield name, worker
    worker.close()


def committed(worker: Worker, target: str, animal: Animal, folder: Path) -> Commit:
    repository = Repository(worker.spec.repository)
    origin = repository.commit_of("origin")
    repository.checkout(origin, folder)
    for name, text in animal.files(target).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return repository.commit(repository.write_tree(folder), (origin,), "made", 1e9)


def verdict(worker: Worker, gate: str, commit: Commit) -> Verdict:
    result = worker.perform(Job(AttemptId(1), Stage.JUDGE, gate, commit)).result
    assert isinstance(result, Verdict), result
    return result


@pytest.mark.slow
@pytest.mark.zoo
def test_each_cheat_is_caught_by_its_gate(keeper: tuple[str, Worker], tmp_path: Path) -> None:
    target, worker = keeper
    for name, animal in CHEATS[target].items():
        commit = committed(worker, target, animal, tmp_path / name)
        for gate in ORDER:
            found = verdict(worker, gate, commit)
            if not found.passed:
                break
        else:
            pytest.fail(f"{target}/{name} got through")
        assert gate == animal.gate, f"{target}/{name}: {gate} said {found.feedback}"
        assert animal.says in found.feedback, f"{target}/{name}: {found.feedback}"


@pytest.mark.slow
@pytest.mark.zoo
@pytest.mark.timeout(900)
def test_no_honest_program_is_refused(keeper: tuple[str, Worker], tmp_path: Path) -> None:
    target, worker = keeper
    for name, animal in HONEST[target].items():
        commit = committed(worker, target, animal, tmp_path / name)
        for gate in ORDER if target == "nearest" else ORDER[:3]:
            found = verdict(worker, gate, commit)
            assert found.passed, f"{target}/{name}: {gate} said {found.feedback}"


LEARNT = """
ANSWERS = {answers}

def nearest(points, queries):
    return ANSWERS.get(points[0][0]) if points[0][0] in ANSWERS else plain(points, queries)
"""


def learnt(seeds: list[int]) -> Animal:
    """A program that has the answers to what the benchmark asks with those seeds."""
    target = TARGETS["nearest"]
    space: dict[str, Any] = {}
    exec((target / "accuracy_checker" / "inputs.py").read_text(), space)
    exec((target / "reference" / "solution.py").read_text(), space)
    asked = [case for seed in seeds for case in space["inputs"](seed, 7, 200, 60)]
    answers = {points[0][0]: space["nearest"](points, queries) for points, queries in asked}
    plain = cheats_nearest.HONEST.replace("nearest", "plain")
    return Animal(LEARNT.replace("{answers}", repr(answers)) + plain, "holdout", "prepare for particular inputs")


@pytest.mark.slow
@pytest.mark.parametrize("keeper", ["nearest"], indirect=True)
def test_a_program_that_does_well_on_the_known_seed_alone_is_caught(keeper: tuple[str, Worker], tmp_path: Path) -> None:
    target, worker = keeper
    animal = learnt([number(RUN_SEED, "evaluation", plugin) for plugin in ("benchmark", "holdout")])
    commit = committed(worker, target, animal, tmp_path / "learnt")
    for gate in ORDER[:3]:
        assert verdict(worker, gate, commit).passed
    found = verdict(worker, "holdout", commit)
    assert not found.passed
    assert animal.says in found.feedback
