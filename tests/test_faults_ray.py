"""SIGKILL of drivers, workers and nodes with jobs on a real Ray."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import psutil
import pytest
from drivers import Driver, check, kill_at_random, sigkill
from toys import make_target

from raysearch.run.folder import RunFolder

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

ATTEMPTS = 12


def flags(address: str) -> tuple[str, ...]:
    return ("--address", address, "--max-candidates", str(ATTEMPTS), "--lanes", "3", "--seed", "11")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return make_target(tmp_path / "toy")


def workers(run: str) -> list[psutil.Process]:
    """Processes of the actors that work for a run: those whose folder in the temporary folder names them."""
    import tempfile

    found = []
    for folder in Path(tempfile.gettempdir()).glob(f"raysearch-{run}-*"):
        pid = int(folder.name.removeprefix(f"raysearch-{run}-").split("-")[0])
        if psutil.pid_exists(pid):
            found.append(psutil.Process(pid))
    return sorted(found, key=lambda process: process.pid)


def test_driver_killed_at_random_moments(target: Path, tmp_path: Path, ray_address: str) -> None:
    driver = Driver(target, tmp_path / "runs", flags(ray_address), "LeavesAgents")
    kill_at_random(driver, kills=3, seed=1, strike=sigkill)
    driver.finish()
    check(driver, ATTEMPTS)


def test_workers_killed_at_random_moments(target: Path, tmp_path: Path, ray_address: str) -> None:
    driver = Driver(target, tmp_path / "runs", flags(ray_address), "LeavesAgents")
    rng = random.Random(2)
    killed = []

    def strike(driver: Driver) -> None:
        alive = workers(RunFolder(driver.folder).identity)
        if alive:
            victim = rng.choice(alive)
            victim.send_signal(signal.SIGKILL)
            killed.append(victim.pid)

    kill_at_random(driver, kills=4, seed=2, strike=strike)
    driver.finish()
    assert killed
    check(driver, ATTEMPTS)


def test_plugins_that_take_their_worker_down_are_tried_again(target: Path, tmp_path: Path, ray_address: str) -> None:
    driver = Driver(target, tmp_path / "runs", flags(ray_address), "KillsItsWorker")
    driver.start()
    driver.finish()
    check(driver, ATTEMPTS)
    lost = [e.fact for e in driver.entries() if type(e.fact).__name__ == "JobFailed"]
    assert lost
    assert {fact.fault for fact in lost} == {"WorkerLost"}  # type: ignore[union-attr]
