"""A node of the cluster dies: its jobs are asked again elsewhere. The head dies: the run is resumed on another."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from drivers import Driver, check
from toys import make_target

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

ATTEMPTS = 12


class TwoNodes:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.address = self._read()

    def tell(self, word: str) -> None:
        assert self._process.stdin is not None
        print(word, file=self._process.stdin, flush=True)
        assert self._read() == "done"

    def _read(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == "done" or (":" in line and line.strip().replace(".", "").replace(":", "").isdecimal()):
                return line.strip()
        raise AssertionError("the cluster ended")


@contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    script = Path(__file__).with_name("cluster_of_two.py")
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield TwoNodes(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def flags(address: str) -> tuple[str, ...]:
    return ("--address", address, "--max-candidates", str(ATTEMPTS), "--lanes", "2", "--seed", "11")


def test_a_node_dies_and_another_joins(tmp_path: Path) -> None:
    with two_nodes() as cluster:
        driver = Driver(make_target(tmp_path / "toy"), tmp_path / "runs", flags(cluster.address), "LeavesAgents")
        driver.start()
        assert driver.wait_for(lambda: driver.lines() >= 14)
        cluster.tell("lose")
        cluster.tell("join")
        driver.finish()
        check(driver, ATTEMPTS)


def test_the_head_dies_and_the_run_goes_on_elsewhere(tmp_path: Path) -> None:
    with two_nodes() as cluster:
        driver = Driver(make_target(tmp_path / "toy"), tmp_path / "runs", flags(cluster.address), "LeavesAgents")
        driver.env = {"RAY_gcs_rpc_server_reconnect_timeout_s": "5"}  # a minute, if not said
        driver.start()
        assert driver.wait_for(lambda: driver.lines() >= 14)
        cluster.tell("behead")
        driver.output()
        assert driver.process is not None
        assert driver.process.returncode != 0
    driver.start(("--pool", "inline"))
    driver.finish()
    check(driver, ATTEMPTS)
