"""What a run leases, and what becomes of a measurement that was disturbed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from raysearch.cli.options import configuration_of
from raysearch.config.settings import Settings
from raysearch.devices import Core, Leasing, Measuring, Request, Session, aside, inventory, leased
from raysearch.devices.leases import on_cpus
from raysearch.devices.locks import Locks
from raysearch.errors import Refused, Unevaluated, Void
from raysearch.jobs import Job
from raysearch.pools.roles import Role
from raysearch.run.leasing import leasing_of, offered, placed_here, request_of, wanted
from raysearch.types import AttemptId, Commit, Objective, Stage

TIMED, COUNTED = Objective("time_s", "min"), Objective("length", "min", deterministic=True)
A_CORE = Role(cpus=1)
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has affinity and says who uses a core")
several = pytest.mark.skipif(len(inventory().cores) < 2, reason="a single core cannot be shared out")


def job(stage: Stage, plugin: str = "") -> Job:
    return Job(AttemptId(1), stage, plugin, Commit("0" * 40))


def measuring(folder: Path, **options: object) -> Measuring:
    return Measuring(Leasing(**{"on": True, "request": Request(), "folder": folder / "locks", **options}))  # type: ignore[arg-type]


@contextmanager
def burner(cpu: int) -> Iterator[None]:
    """Something else on a core: it says when it has begun."""
    with on_cpus((cpu,)):
        process = subprocess.Popen(
            [sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE, text=True
        )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("role", "request_"),
    [
        (Role(), None),
        (Role(cpus=0.99), None),
        (Role(resources={"quiet": 1}), None),
        (Role(cpus=1), Request(cores=1)),
        (Role(cpus=2.5), Request(cores=3)),
        (Role(cpus=0.25, gpus=1), Request(cores=1, gpus=1)),
        (Role(cpus=0, gpus=2), Request(cores=1, gpus=2)),
        (Role(cpus=0.25, resources={"apple": 1}), Request(cores=1, apple=True)),
    ],
)
def test_whoever_asks_for_whole_devices_has_them_to_himself(role: Role, request_: Request | None) -> None:
    assert request_of(role) == request_


def test_what_is_counted_needs_no_devices() -> None:
    settings = Settings()
    assert leasing_of(settings, A_CORE, [TIMED, COUNTED], ()).request == Request()
    assert leasing_of(settings, A_CORE, [COUNTED], ()).request is None
    assert leasing_of(settings, A_CORE, [COUNTED], ()).reserved == 0


def test_only_what_measures_is_given_more_time() -> None:
    leasing = leasing_of(Settings(), A_CORE, [TIMED], ("holdout",))
    assert leasing.patience_s(job(Stage.BENCHMARK, "benchmark")) == leasing.quiet_s + leasing.wait_s > 0
    assert leasing.patience_s(job(Stage.JUDGE, "holdout")) > 0
    assert leasing.patience_s(job(Stage.JUDGE, "accuracy")) == 0
    assert leasing.patience_s(job(Stage.MUTATE, "tune")) == 0
    assert not Leasing(request=Request()).measures(job(Stage.BENCHMARK))


def test_the_configuration_decides() -> None:
    flags = {"sets": ("devices.contention=warn", "devices.quiet_s=1m", "devices.wait_s=5", "run.pool=inline")}
    leasing = leasing_of(configuration_of(None, None, flags).settings, Role(slots=3, cpus=2), [TIMED], ())
    assert (leasing.contention, leasing.quiet_s, leasing.wait_s) == ("warn", 60.0, 5.0)
    assert leasing.reserved == 2, "one job at a time in the driver's process"
    assert placed_here(leasing, "local") == leasing
    crowded = leasing_of(Settings(), Role(slots=3, cpus=2), [TIMED], ())
    assert crowded.reserved == 6
    assert placed_here(crowded, "local").cpus
    assert not placed_here(crowded, "10.0.0.2:6379").cpus, "workers are elsewhere"
    off = leasing_of(configuration_of(None, None, {"sets": ("devices.lease=false",)}).settings, A_CORE, [TIMED], ())
    assert not off.measures(job(Stage.BENCHMARK))


@several
def test_the_first_core_is_left_to_everything_else(tmp_path: Path) -> None:
    cores = inventory().cores
    with measuring(tmp_path).session(patience_s=0.0) as session:
        assert session.apart
        assert session.lease.cores == cores[-1:]
    with measuring(tmp_path, request=Request(cores=len(cores))).session(patience_s=0.0) as session:
        assert set(session.lease.cores) == set(cores)
        assert not session.apart


@linux
@several
def test_other_work_goes_where_nobody_measures_or_will(tmp_path: Path) -> None:
    mine = inventory().cores
    first, last = mine[0], mine[-1]
    pair = (first, last)

    def where(reserved: int, held: tuple[Core, ...] = ()) -> set[int]:
        locks = Locks.open(tmp_path)
        open_files = [locks.take(core.name, "") for core in held]
        try:
            with aside(folder=tmp_path, reserved=reserved, mine=pair) as hold:
                return set(hold.cpus)
        finally:
            for number in open_files:
                assert number is not None
                os.close(number)
            locks.close()

    assert where(0) == {*first.cpus, *last.cpus}
    assert where(1) == set(first.cpus)
    assert where(0, (last,)) == set(first.cpus)
    assert where(1, (first,)) == set(last.cpus), "nobody has it yet"
    assert where(1, pair) == set(first.cpus)
    assert where(2) == {*first.cpus, *last.cpus}, "somewhere it must be"


def raising(error: Exception) -> Callable[[], str]:
    def measure() -> str:
        time.sleep(0.2)
        raise error

    return measure


@linux
@pytest.mark.parametrize("error", [Refused("too slow"), Unevaluated("it crashed")])
def test_who_was_disturbed_is_not_to_blame(tmp_path: Path, error: Exception) -> None:
    def disturbed(contention: str, expected: type[Exception]) -> None:
        session: Session
        with measuring(tmp_path, contention=contention).session(patience_s=0.0) as session:
            stack = burner(session.lease.affinity[0])
            with stack, pytest.raises(expected):
                session.run(raising(error))

    disturbed("void", Void)
    disturbed("warn", type(error))
    disturbed("off", type(error))


@linux
def test_a_disturbed_measurement_is_void_or_says_so(tmp_path: Path) -> None:
    def measure() -> str:
        time.sleep(0.2)
        return "fast"

    for contention, told in (("warn", "others used"), ("off", "")):
        leasing = measuring(tmp_path, contention=contention)
        with leasing.session(patience_s=0.0) as session, burner(session.lease.affinity[0]):
            found, conditions = session.run(measure)
        assert found == "fast"
        assert conditions["cores"]
        assert told in conditions.get("contention", "")
        assert ("contention" in conditions) == bool(told)
        assert ("foreign_cpu_s" in conditions) == bool(told)


def test_a_pair_goes_on_after_what_was_void_as_long_as_there_is_patience(tmp_path: Path) -> None:
    answers = ["third", Void("b"), Void("a")]

    def measure() -> str:
        answer = answers.pop()
        if isinstance(answer, Void):
            raise answer
        return str(answer)

    with measuring(tmp_path).session(patience_s=60.0) as session:
        assert session.persist(measure) == "third"
        assert session.voids == 2
        assert 0.0 < session.lost_s < 60.0
        assert session.patience_s == pytest.approx(60.0 - session.lost_s)
        session.patience_s = 0.0
        answers.append(Void("c"))
        with pytest.raises(Void, match="c"):
            session.persist(measure)


def test_void_at_first_is_told_at_once_and_later_only_when_patience_ends(tmp_path: Path) -> None:
    seen: list[Session] = []

    def always(session: Session) -> str:
        seen.append(session)
        raise Void("others used it")

    with pytest.raises(Void, match=r"^others used it$"):
        measuring(tmp_path, quiet_s=60.0).measured(always, again=False)
    assert len(seen) == 1
    with pytest.raises(Void, match=r"others used it\nVoid \d+ times within 0.5 s"):
        measuring(tmp_path, quiet_s=0.5).measured(always, again=True)
    assert len(seen) > 1

    def third(session: Session) -> int:
        if session.voids < 2:
            raise Void("others used it")
        return session.voids

    assert measuring(tmp_path, quiet_s=60.0).measured(third, again=True) == 2


def test_what_others_hold_is_waited_for_and_then_void(tmp_path: Path) -> None:
    folder, everything = tmp_path / "locks", Request(cores=len(inventory().cores))
    with leased(everything, folder=folder, label="another search"), pytest.raises(Void, match="another search"):
        measuring(tmp_path, wait_s=0.1).measured(lambda _: None, again=False)


def test_a_folder_that_cannot_be_used_keeps_no_other_work_from_being_done(tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("in the way")
    with measuring(tmp_path).aside() as hold:
        assert not hold.cpus
    with Measuring(Leasing()).aside() as hold:
        assert not hold.cpus


def test_doctor_says_what_can_be_leased_and_what_would_be(tmp_path: Path) -> None:
    (found,) = offered(tmp_path / "locks")
    assert f"{len(inventory().cores)} core" in found.told
    if sys.platform == "linux":
        assert "sensed: processors" in found.told
    locks, name = Locks.open(tmp_path / "locks"), inventory().cores[-1].name
    held = locks.take(name, "")
    assert held is not None
    (found,) = offered(tmp_path / "locks")
    assert f"held now: {name}" in found.told
    os.close(held)
    locks.close()
    (tmp_path / "other").write_text("in the way")
    (found,) = offered(tmp_path / "other")
    assert found.standing == "warn"

    def told(role: Role, *flags: str, objective: Objective = TIMED) -> str:
        settings = configuration_of(None, None, {"sets": flags}).settings
        finding = wanted(leasing_of(settings, role, [objective], ()), [objective])
        return f"{finding.standing}: {finding.told}"

    assert told(A_CORE, "run.pool=inline").startswith("ok: each has 1 core to itself")
    assert told(Role()).startswith("note: share the machine")
    assert "lease = false" in told(A_CORE, "devices.lease=false")
    assert told(Role(), objective=COUNTED).startswith("ok: every objective is deterministic")
    assert told(Role(cpus=1, gpus=99)).startswith("warn: each has 1 core, 99 GPUs to itself")
    assert told(Role(cpus=9999)).startswith("warn: each has 9999 cores to itself")
