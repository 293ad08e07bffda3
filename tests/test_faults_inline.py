"""SIGKILL of a driver that does its jobs itself, torn journals and full disks: nothing is lost, nothing doubled."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

import pytest
from drivers import Driver, check, kill_at_random, sigkill
from toys import make_target

ATTEMPTS = 10
KILLS = int(os.environ.get("RAYSEARCH_TEST_KILLS", "6"))
"""More by hand: RAYSEARCH_TEST_KILLS=20."""
FLAGS = ("--pool", "inline", "--max-candidates", str(ATTEMPTS), "--lanes", "3", "--seed", "11")


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    return Driver(make_target(tmp_path / "toy"), tmp_path / "runs", FLAGS)


def test_kills_at_random_moments(driver: Driver) -> None:
    driver.mutator = "LeavesAgents"
    kill_at_random(driver, kills=KILLS, seed=5, strike=sigkill)
    driver.finish()
    check(driver, ATTEMPTS)


def test_the_same_run_comes_out_killed_or_not(driver: Driver, tmp_path: Path) -> None:
    """With one lane the order of events does not depend on time, so neither does what is found."""
    driver.flags = ("--pool", "inline", "--max-candidates", "5", "--seed", "11")
    whole = Driver(driver.target, tmp_path / "whole", driver.flags)
    whole.start()
    expected = whole.finish()
    kill_at_random(driver, kills=2, seed=6, strike=sigkill)
    found = driver.finish()
    assert [c["metrics"] for c in found["frontier"]] == [c["metrics"] for c in expected["frontier"]]  # type: ignore[attr-defined]


def test_a_torn_last_line_never_happened(driver: Driver) -> None:
    driver.start()
    driver.wait_for(lambda: driver.lines() >= 12)
    sigkill(driver)
    journal = driver.folder / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-7])
    torn = whole[whole.rfind(b"\n", 0, -1) + 1 : -7]
    driver.start()
    driver.finish()
    check(driver, ATTEMPTS)
    assert [p.read_bytes() for p in driver.folder.glob("journal.torn-*")] == [torn]


def test_a_driver_killed_while_it_named_a_commit_leaves_no_lock_for_ever(driver: Driver) -> None:
    driver.start()
    driver.wait_for(lambda: driver.lines() >= 12)
    sigkill(driver)
    tags = driver.folder / "workspace" / ".git" / "refs" / "tags"
    for number in range(1, ATTEMPTS + 1):
        (tags / f"{number}.lock").touch()
    driver.start()
    driver.finish()
    check(driver, ATTEMPTS)


def test_a_journal_that_cannot_grow_stops_the_driver_with_its_own_status(driver: Driver) -> None:
    limit = 7_000

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    driver.start(preexec=small_files)
    assert driver.process is not None
    message = driver.output()
    assert driver.process.returncode == 74, message
    assert "Traceback" not in message
    driver.start()
    driver.finish()
    check(driver, ATTEMPTS)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_stops_the_driver_and_the_run_goes_on_with_room(driver: Driver, tmp_path: Path) -> None:
    disk = tmp_path / "runs"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(disk)], check=True)
    try:
        driver.start()
        driver.wait_for(lambda: driver.lines() >= 12)
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file:
            while True:
                try:
                    file.write(b"\0" * 4096)
                except OSError:
                    break
        message = driver.output()
        assert driver.process is not None
        assert driver.process.returncode == 74, message
        assert "Traceback" not in message
        ballast.unlink()
        driver.start()
        driver.finish()
        check(driver, ATTEMPTS)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
