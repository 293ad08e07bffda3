"""Replicas of model servers in actors: placed, found, lost, hired anew."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from model_servers import QUICK, get, nothing_left, poke, spec, until

from raysearch.pools import served
from raysearch.pools.served import Posted
from raysearch.process import strays
from raysearch.served import addresses, fleet
from raysearch.served.addresses import FILE
from raysearch.served.fleet import Fleet
from raysearch.served.spec import ServerSpec
from raysearch.served.standing import Phase, Standing

pytestmark = pytest.mark.ray


@pytest.fixture
def run(tmp_path: Path, ray_address: str) -> Iterator[str]:
    name = f"posts-{tmp_path.name}-{os.getpid()}"
    yield name
    nothing_left(name)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


def posted(server: ServerSpec, logs: Path, run: str, *, loopback: bool = True) -> Posted:
    return Posted(server, 0, logs, run, loopback, QUICK)


def come_to(post: Posted, *phases: Phase) -> Standing:
    until(lambda: post.look().phase in phases)
    return post.look()


def pid_of(post: Posted) -> int:
    import ray

    return int(ray.get(post._actor.__ray_call__.remote(lambda _: os.getpid())))


def test_a_replica_has_an_actor_of_its_own_and_what_it_asks_for(logs: Path, run: str) -> None:
    import ray

    post = posted(spec(cpus=0.5, resources={"apple": 1}), logs, run)
    try:
        ready = come_to(post, Phase.READY, Phase.FAILED)
        assert (ready.phase, ready.model, ready.window_tokens) == (Phase.READY, "fake-7b", 2048)
        assert ready.url.startswith("http://127.0.0.1:")
        assert ray.available_resources().get("apple", 0) == 0, "nobody else gets it"
        assert get(ready.url, "/env")["CUDA_VISIBLE_DEVICES"] == ""
        assert ray.get_actor(f"{run}-server-local-0-1-{os.getpid()}")
        assert (logs / "model-server-local-0.log").is_file()
    finally:
        post.close(0.0)
    assert strays(run) == []
    assert post.look().phase is Phase.STOPPED


def test_a_server_that_crashes_is_started_again_by_its_actor(logs: Path, run: str) -> None:
    post = posted(spec(cpus=0.5), logs, run)
    try:
        ready = come_to(post, Phase.READY, Phase.FAILED)
        actor = pid_of(post)
        poke(ready.url, "/crash")
        until(lambda: post.look().restarts == 1)
        again = come_to(post, Phase.READY, Phase.FAILED)
        assert (again.url, again.restarts, pid_of(post)) == (ready.url, 1, actor)
    finally:
        post.close(0.0)


def test_an_actor_that_is_lost_takes_its_server_along_and_is_hired_anew(tmp_path: Path, logs: Path, run: str) -> None:
    posts: list[Posted] = []

    def hire(server: ServerSpec, number: int) -> Posted:
        posts.append(posted(server, logs, run))
        return posts[-1]

    with Fleet([spec(cpus=0.5)], hire, tmp_path / FILE).start():
        before = strays(run)
        os.kill(pid_of(posts[0]), signal.SIGKILL)
        until(lambda: addresses.read(tmp_path / FILE, "local").coming)
        until(lambda: bool(addresses.read(tmp_path / FILE, "local").urls))
        url = addresses.read(tmp_path / FILE, "local").urls[0]
        get(url, "/health")
        until(lambda: len(strays(run)) == 2)
        assert not set(before) & set(strays(run))
    assert strays(run) == []


def test_losses_are_bounded(logs: Path, run: str) -> None:
    post = posted(spec(cpus=0.5, restarts_max=1), logs, run)
    try:
        for _ in range(2):
            come_to(post, Phase.READY, Phase.FAILED)
            os.kill(pid_of(post), signal.SIGKILL)
            until(lambda: post.look().phase is not Phase.READY)
        lost = come_to(post, Phase.FAILED)
        assert lost.reason.startswith("its actor is gone: ")
        assert lost.restarts == 2
    finally:
        post.close(0.0)


def test_an_actor_that_hangs_is_given_up(logs: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "HUNG_S", 0.5)
    post = posted(spec(cpus=0.5), logs, run)
    try:
        come_to(post, Phase.READY, Phase.FAILED)
        os.kill(pid_of(post), signal.SIGSTOP)
        until(lambda: post.look().phase is not Phase.READY)
        assert "has not answered" in post.look().reason
        monkeypatch.setattr(served, "HUNG_S", 120.0)
        assert come_to(post, Phase.READY, Phase.FAILED).phase is Phase.READY
    finally:
        post.close(0.0)


def test_waiting_for_a_place_says_for_what(logs: Path, run: str) -> None:
    post = posted(spec(cpus=0.5, resources={"apple": 1}), logs, run)
    other = posted(replace(spec(cpus=0.5, resources={"apple": 1}), name="other"), logs, run)
    try:
        come_to(post, Phase.READY, Phase.FAILED)
        other.look()
        time.sleep(0.2)
        assert other.look().reason == "Ray looks for a node with 0.5 CPU, 1 apple"
    finally:
        other.close(0.0)
        post.close(0.0)


def test_where_there_is_no_run_folder_the_log_is_kept_by_the_node(tmp_path: Path, run: str) -> None:
    post = posted(spec("--fail", "4", "--say", "no weights", cpus=0.5), tmp_path / "elsewhere", run)
    try:
        assert "no weights" in come_to(post, Phase.FAILED).reason
    finally:
        post.close(0.0)
    assert not (tmp_path / "elsewhere").exists()


def test_a_node_of_a_cluster_is_reached_at_its_address(logs: Path, run: str) -> None:
    import ray

    post = posted(spec(cpus=0.5), logs, run, loopback=False)
    try:
        ready = come_to(post, Phase.READY, Phase.FAILED)
        assert ready.url.startswith(f"http://{ray.util.get_node_ip_address()}:")
        get(ready.url, "/health")
    finally:
        post.close(0.0)


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "LOOK_S", 0.05)
