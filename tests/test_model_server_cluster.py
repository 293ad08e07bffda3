"""Model servers on clusters: GPUs are dealt out, a node is lost, a driver is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from drivers import Driver, check
from model_servers import FAKE, nothing_left, until
from test_faults_node import two_nodes
from toys import make_target

from raysearch.process import strays
from raysearch.run.folder import RunFolder
from raysearch.served.addresses import FILE

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(300)]

CONFIG = f"""
[mutator.mine]
use = "coding"
agent = "diff"
agent_options = {{ server = "local" }}

[model_server.local]
model = "fake-7b"
cpus = CPUS
command = {json.dumps(FAKE)}
args = ["--think", "1.5"]
"""
FLAGS = ["--outer-loop", "chain", "--seed", "1", "--mutator", "mine"]


def driver_of(folder: Path, cpus: float, *flags: str) -> Driver:
    make_target(folder / "target")
    (folder / "run.toml").write_text(CONFIG.replace("CPUS", str(cpus)))
    return Driver(folder / "target", folder / "runs", [*FLAGS, "--config", str(folder / "run.toml"), *flags])


def start(driver: Driver) -> None:
    """As `Driver.start`, but with our mutator alone."""
    words = ["run", str(driver.target), *driver.flags, "--runs-dir", str(driver.runs), "--json"]
    driver.process = subprocess.Popen(
        [sys.executable, "-m", "raysearch", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_node_that_is_lost_costs_its_server_an_address_not_the_run(tmp_path: Path) -> None:
    with two_nodes() as cluster:
        driver = driver_of(tmp_path, 2.0, "--address", cluster.address, "--max-candidates", "24")
        start(driver)
        assert driver.wait_for(lambda: driver.lines() > 8), driver.output()
        known = driver.folder / FILE
        before = json.loads(known.read_text())["local"]["urls"]
        assert len(before) == 1
        assert not before[0].startswith("http://127.0.0.1"), "other nodes must reach it"
        cluster.tell("lose")
        until(lambda: json.loads(known.read_text())["local"]["coming"])
        cluster.tell("join")
        until(lambda: bool(json.loads(known.read_text())["local"]["urls"]))
        done = driver.finish()
        assert (done["attempts"], done["failed"], done["abandoned"]) == (24, 0, 0)
        check(driver, 24)


def test_servers_of_a_killed_driver_end_with_its_own_ray(tmp_path: Path) -> None:
    driver = driver_of(tmp_path, 0.5, "--max-candidates", "1000")
    start(driver)
    assert driver.wait_for(lambda: driver.lines() > 8), driver.output()
    run = RunFolder(driver.folder).identity
    assert strays(run)
    driver.kill(signal.SIGKILL)
    driver.output()
    nothing_left(run)


GPUS = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import raysearch.pools.ray
import ray
from model_servers import QUICK, get, spec, until
from raysearch.pools.served import Posted
from raysearch.served.standing import Phase
ray.init(num_cpus=4, num_gpus=5, include_dashboard=False, log_to_driver=False, _temp_dir=sys.argv[2])
logs = Path(sys.argv[1])
posts = [Posted(spec(gpus=2, cpus=0.5), number, logs, "gpus", True, QUICK) for number in range(3)]
until(lambda: all(post.look().phase is Phase.READY for post in posts[:2]))
posts[2].look()
time.sleep(0.5)
print(json.dumps({{
    "seen": [get(post.look().url, "/env")["CUDA_VISIBLE_DEVICES"] for post in posts[:2]],
    "third": posts[2].look().reason,
}}))
for post in posts:
    post.close(0.0)
ray.shutdown()
"""


def test_every_replica_has_gpus_of_its_own(tmp_path: Path) -> None:
    import shutil
    import tempfile

    script = GPUS.format(tests=str(Path(__file__).parent))
    short = tempfile.mkdtemp(prefix="rs-")
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), short], capture_output=True, text=True, check=False
        )
    finally:
        shutil.rmtree(short, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    first, second = (set(seen.split(",")) for seen in found["seen"])
    assert len(first) == len(second) == 2
    assert not first & second
    assert found["third"] == "Ray looks for a node with 0.5 CPU, 2 GPU"
    nothing_left("gpus")
