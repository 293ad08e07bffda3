"""``ray job submit`` on a head node of its own: submitted, stopped half-way, submitted again, brought home."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from toys import make_target

from raysearch.facts import AttemptClosed, SessionClosed
from raysearch.ledger import JOURNAL, read_journal
from raysearch.process import strays
from raysearch.testing.audit import audit

TOYS = Path(__file__).with_name("toys.py")
BIN = Path(sys.executable).parent
LIMIT_S = 150.0
ATTEMPTS = 6
PATIENT = json.dumps({"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "30"}})

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]


@dataclass(frozen=True)
class Head:
    """A head node with a job server, and a project to submit from."""

    address: str
    project: Path
    environment: dict[str, str]

    def run(self, *words: str) -> str:
        """What one of the environment's commands prints, if it succeeds or not."""
        done = subprocess.run(
            [str(BIN / words[0]), *words[1:]],
            cwd=self.project,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        return done.stdout

    def job(self, verb: str, *words: str) -> str:
        return self.run("ray", "job", verb, "--address", self.address, *words)

    def status(self, job: str) -> str:
        return str(self.ask(f"/api/jobs/{job}")["status"])

    def actors(self, run: str) -> list[str]:
        """Workers of a run that are alive."""
        found = self.ask("/api/v0/actors?limit=1000")["data"]["result"]["result"]
        return [actor["name"] for actor in found if actor["state"] != "DEAD" and actor["name"].startswith(run)]

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(self.address + path, timeout=30) as answer:
            return json.load(answer)


def free_ports(count: int) -> list[str]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_until(met: Any, what: str) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not met():
        assert time.monotonic() < end_s, what
        time.sleep(0.1)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    project = tmp_path_factory.mktemp("project")
    make_target(project / "toy")
    shutil.copy(TOYS, project / "own.py")
    folder = tempfile.mkdtemp(prefix="rs-")  # short: socket paths end at 107 bytes
    home = tmp_path_factory.mktemp("home")
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= {"PATH": path, "HOME": str(home), "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    gcs, dashboard, agent, client = free_ports(4)
    command = [str(BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats", "--temp-dir", folder]
    command += ["--num-cpus", "4", "--object-store-memory", str(100 * 2**20), "--port", gcs]
    command += ["--dashboard-host", "127.0.0.1", "--dashboard-port", dashboard]
    command += ["--dashboard-agent-listen-port", agent, "--ray-client-server-port", client]
    with (project.parent / "head.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    head = Head(f"http://127.0.0.1:{dashboard}", project, environment)

    def answers() -> bool:
        assert process.poll() is None, (project.parent / "head.log").read_text()[-3000:]
        try:
            return bool(head.ask("/api/jobs/") == [])
        except (OSError, urllib.error.URLError):
            return False

    wait_until(answers, "no job server")
    yield head
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def nothing_left(head: Head, run: str) -> None:
    """No process, no worker, nothing in the temporary folder."""
    wait_until(lambda: strays(run) == [] and head.actors(run) == [], f"left: {strays(run)}, {head.actors(run)}")
    assert list(Path(tempfile.gettempdir()).glob(f"raysearch-{run}*")) == []
    assert list(Path(tempfile.gettempdir()).glob("raysearch-fetch-*")) == []


def test_submitted_stopped_submitted_again_and_brought_home(head: Head, tmp_path: Path) -> None:
    runs, remote = tmp_path / "runs", tmp_path / "home.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(remote)], check=True)
    command = ["--working-dir", ".", "--runtime-env-json", PATIENT, "--", "python", "-m", "raysearch", "run", "toy"]
    command += ["--mutator", "own.py:LeavesAgents", "--exp-name", "night", "--runs-dir", str(runs), "--lanes", "2"]
    command += ["--max-candidates", str(ATTEMPTS), "--push-to", str(remote), "--address", "auto", "--json"]

    head.job("submit", "--no-wait", "--submission-id", "first", *command)

    def closed() -> int:
        journals = list(runs.glob(f"*/{JOURNAL}"))
        return sum(isinstance(entry.fact, AttemptClosed) for path in journals for entry in read_journal(path))

    wait_until(lambda: closed() >= 2 or head.status("first") == "FAILED", "the run does not get on")
    head.job("stop", "first")
    assert head.status("first") == "STOPPED", head.job("logs", "first")
    (folder,) = runs.glob("*-night")
    assert isinstance(list(read_journal(folder / JOURNAL))[-1].fact, SessionClosed)
    assert closed() <= ATTEMPTS
    nothing_left(head, folder.name)

    said = head.job("submit", "--submission-id", "second", *command)
    assert f"going on with {folder.name}: same name" in said, said
    assert head.status("second") == "SUCCEEDED"
    result = json.loads(next(line for line in reversed(said.splitlines()) if line.startswith('{"schema"')))
    assert (result["run"], result["session"], result["attempts"]) == (folder.name, 2, ATTEMPTS)
    assert result["frontier"]
    assert [path.name for path in runs.iterdir()] == [folder.name]
    assert audit(list(read_journal(folder / JOURNAL))) == []
    nothing_left(head, folder.name)

    words = ["git", "log", "--format=%H", f"{folder.name}/best"]
    log = subprocess.run(words, cwd=remote, check=True, capture_output=True, text=True).stdout.split()
    assert log[0] == result["best"]["commit"]

    fetch = ["raysearch", "fetch", "--json", "--from-job", head.address, "night"]
    fetched = head.run(*fetch, str(tmp_path / "away"), "--runs-dir", str(runs))
    assert json.loads(fetched.splitlines()[-1])["frontier"] == result["frontier"], fetched
    assert (tmp_path / "away" / folder.name / JOURNAL).read_bytes() == (folder / JOURNAL).read_bytes()
    nothing_left(head, folder.name)


def test_nothing_is_kept_in_the_folder_of_a_job(head: Head) -> None:
    command = ["--working-dir", ".", "--", "python", "-m", "raysearch", "run", "toy", "--runs-dir", "runs"]
    said = head.job("submit", "--submission-id", "inside", *command)
    assert "lies in the unpacked working folder of a Ray job" in said, said
    assert head.status("inside") == "FAILED"
