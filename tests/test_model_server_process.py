"""One process of a model server: start, readiness, crashes, restarts, drain; and that nothing outlives its owner."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from model_servers import LIMIT_S, QUICK, get, looked, nothing_left, poke, spec, until

from raysearch.errors import ConfigError
from raysearch.pools.roles import Role, preflight
from raysearch.process import strays
from raysearch.served import replica as replica_module
from raysearch.served.replica import Patience, Replica, connections, device_lists, environment
from raysearch.served.spec import ServerSpec
from raysearch.served.standing import Phase
from raysearch.types import Stage

Start = Callable[..., Replica]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Makes replicas; at the end nothing of them may be left."""
    made: list[Replica] = []
    run = f"test-{tmp_path.name}-{os.getpid()}"

    def make(*args: str, patience: Patience = QUICK, **more: Any) -> Replica:
        one = Replica(spec(*args, **more), len(made), tmp_path, run=run, patience=patience)
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()
    nothing_left(run)


def test_it_is_ready_when_it_answers_and_lists_its_model(start: Start) -> None:
    server = start("--say", "loading weights")
    assert server.standing().phase is Phase.WAITING
    stands = looked(server, Phase.READY)
    assert (stands.model, stands.window_tokens, stands.restarts, stands.reason) == ("fake-7b", 2048, 0, "")
    assert stands.url == f"http://127.0.0.1:{server.port}"
    assert stands.ready_after_s > 0
    assert len(strays(server.run)) == 2, "it and its child"
    assert "loading weights" in server.log_tail()
    assert f"fake_model_server.py 127.0.0.1 {server.port}" in server.log_file.read_text()
    server.close()
    assert server.look().phase is Phase.STOPPED
    assert strays(server.run) == []


def test_a_server_without_an_address_for_its_health_will_do(start: Start) -> None:
    assert looked(start("--bare"), Phase.READY, Phase.FAILED).phase is Phase.READY


def test_its_own_name_for_the_model_is_taken(start: Start) -> None:
    assert looked(start("--model", "gguf", model="./fake-7b.gguf"), Phase.READY).model == "gguf"


def test_what_ends_before_it_was_ready_fails_with_the_end_of_its_log(start: Start) -> None:
    stands = looked(start("--say", "no such folder", "--fail", "3"), Phase.READY, Phase.FAILED)
    assert stands.phase is Phase.FAILED
    assert re.fullmatch(r"it ended by itself, with exit status 3. Its log ends:\nno such folder", stands.reason)
    assert stands.restarts == 0
    missing = Replica(replace(spec(), command=("no-such-program",)), 9, start().logs, run="x")
    assert "exit status 127" in looked(missing, Phase.FAILED).reason


def test_what_is_not_ready_in_its_time_fails(start: Start) -> None:
    server = start("--loads", ready_timeout_s=0.3)
    stands = looked(server, Phase.READY, Phase.FAILED)
    assert stands.phase is Phase.FAILED
    assert "not ready within 0.3 s (GET /health gave status 503)" in stands.reason
    assert strays(server.run) == []


def test_a_command_that_does_not_say_where_to_listen_is_named(start: Start) -> None:
    server = start(ready_timeout_s=0.2)
    server.spec = replace(server.spec, command=tuple(w.replace("{host}", "127.0.0.2") for w in server.spec.command))
    server.host = "127.0.0.3"
    assert looked(server, Phase.FAILED, Phase.READY).reason.startswith("it was not ready within 0.2 s")
    assert "its command does not name {host}" in server.standing().reason


def test_a_crash_is_noticed_and_mended_a_bounded_number_of_times(start: Start) -> None:
    server = start(restarts_max=2)
    url = looked(server, Phase.READY).url
    for count in (1, 2):
        poke(url, "/crash")
        lost = looked(server, Phase.WAITING)
        assert "exit status 3" in lost.reason
        assert (lost.restarts, lost.url) == (count, "")
        again = looked(server, Phase.READY)
        assert (again.url, again.restarts) == (url, count), "the same address as before"
    poke(url, "/crash")
    assert looked(server, Phase.FAILED).restarts == 2


def test_having_served_for_long_it_is_forgiven(start: Start) -> None:
    server = start(restarts_max=1, patience=replace(QUICK, settled_s=0.0))
    url = looked(server, Phase.READY).url
    for _ in range(3):
        poke(url, "/crash")
        looked(server, Phase.WAITING)
        looked(server, Phase.READY)
        until(lambda: server.look().restarts == 0)


def test_one_that_does_not_come_back_counts_as_restarted(start: Start, tmp_path: Path) -> None:
    server = start("--fail-again", str(tmp_path / "once"), restarts_max=2)
    poke(looked(server, Phase.READY).url, "/crash")
    stands = looked(server, Phase.FAILED)
    assert stands.restarts == 2
    assert "exit status 9" in stands.reason


def test_one_that_no_longer_answers_is_killed_and_started_again(start: Start) -> None:
    server = start(patience=replace(QUICK, probe_s=0.2))
    first = looked(server, Phase.READY)
    get(first.url, "/hang")
    assert "no longer answers" in looked(server, Phase.WAITING).reason
    assert looked(server, Phase.READY).pid != first.pid
    until(lambda: len(strays(server.run)) == 2)


def test_another_port_is_taken_where_the_first_is_in_use(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        free = replica_module.free_port
        ports = iter([other.getsockname()[1]])
        monkeypatch.setattr(replica_module, "free_port", lambda host: next(ports, None) or free(host))
        server = start(patience=replace(QUICK, probe_s=0.1))
        stands = looked(server, Phase.READY, Phase.FAILED)
        assert stands.phase is Phase.READY
        assert server.port != other.getsockname()[1]


def test_a_port_that_was_lost_in_between_is_left_alone(start: Start) -> None:
    server = start(patience=replace(QUICK, first_s=0.3))
    before = looked(server, Phase.READY)
    poke(before.url, "/crash")
    looked(server, Phase.WAITING)
    with socket.create_server(("127.0.0.1", server.port)):
        assert looked(server, Phase.READY).url != before.url


def test_requests_under_way_may_end(start: Start) -> None:
    server = start()
    url = looked(server, Phase.READY).url
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(get(url, "/slow?s=0.6")))
    asking.start()
    until(lambda: connections(server.port) > 0)
    server.close(drain_s=30)
    asking.join()
    assert answers == [{}]
    assert server.look().phase is Phase.STOPPED


def test_draining_is_bounded_and_so_is_patience_with_sigterm(start: Start) -> None:
    server = start("--stubborn")
    url = looked(server, Phase.READY).url
    asking = threading.Thread(target=poke, args=(url, "/slow?s=600"))
    asking.start()
    until(lambda: connections(server.port) > 0)
    server.close(drain_s=0.2)
    asking.join()
    assert strays(server.run) == []


OWNER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from model_servers import QUICK, looked, spec
from raysearch.served.replica import Replica
from raysearch.served.standing import Phase
server = Replica(spec("--stubborn"), 0, Path({logs!r}), run={run!r}, patience=QUICK)
looked(server, Phase.READY)
print("ready", flush=True)
time.sleep(600)
"""


def test_nothing_outlives_an_owner_that_was_killed(tmp_path: Path) -> None:
    run = f"owned-{os.getpid()}"
    script = OWNER.format(tests=str(Path(__file__).parent), logs=str(tmp_path), run=run)
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ready\n"
    assert len(strays(run)) == 2
    owner.send_signal(signal.SIGKILL)
    owner.communicate(timeout=LIMIT_S)
    nothing_left(run)


def test_a_server_that_runs_already_is_only_looked_at(start: Start, tmp_path: Path) -> None:
    theirs = start()
    url = looked(theirs, Phase.READY).url
    for given in (url, f"{url}/v1", f"{url}/v1/"):
        found = looked(Replica(ServerSpec("far", url=given), 0, tmp_path, patience=QUICK), Phase.READY)
        assert (found.url, found.model, found.window_tokens, found.pid) == (url, "fake-7b", 2048, 0)
    ours = Replica(ServerSpec("far", url=url), 0, tmp_path, patience=QUICK)
    looked(ours, Phase.READY)
    poke(url, "/crash")
    away = looked(ours, Phase.STARTING)
    assert away.url == ""
    until(lambda: (stands := theirs.look()).restarts == 1 and stands.phase is Phase.READY)
    assert looked(ours, Phase.READY).url == url
    ours.close()
    assert theirs.look().phase is Phase.READY


def test_a_server_that_runs_already_must_be_there_with_the_model(start: Start, tmp_path: Path) -> None:
    url = looked(start(), Phase.READY).url
    other = Replica(ServerSpec("far", "fake-70b", url), 0, tmp_path, patience=QUICK)
    assert looked(other, Phase.FAILED).reason == "it serves fake-7b, not fake-70b"
    locked = looked(start("--locked"), Phase.FAILED, Phase.READY)
    assert locked.model == "fake-7b", "as it was started with that model"
    url = locked.url
    unnamed = Replica(ServerSpec("far", url=url), 0, tmp_path, patience=QUICK)
    assert "it wants a key, so say which model" in looked(unnamed, Phase.FAILED).reason
    named = Replica(ServerSpec("far", "fake-7b", url), 0, tmp_path, patience=QUICK)
    assert looked(named, Phase.READY).model == "fake-7b"
    nobody = Replica(ServerSpec("far", url="http://127.0.0.1:1", ready_timeout_s=0.1), 0, tmp_path, patience=QUICK)
    assert "not ready within 0.1 s (GET /health: " in looked(nobody, Phase.FAILED).reason


def test_its_log_is_bounded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_module, "LOG_BYTES_MAX", 20_000)
    server = start("--say", "x" * 30_000)
    looked(server, Phase.READY)
    until(lambda: server.look().phase is Phase.READY and server.log_file.stat().st_size < 20_000)
    assert "cut at" in server.log_file.read_text()


def test_no_credential_gets_into_its_environment_unless_it_is_let(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTHROPIC_API_KEY", "HF_TOKEN", "DB_PASSWORD", "PYTHONPATH", "RAY_ADDRESS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "planted")
    monkeypatch.setenv("HF_HOME", "/models")
    server = start(env={"VLLM_CPU_KVCACHE_SPACE": "1"}, pass_env=("HF_TOKEN",), cpus=3.0)
    seen = get(looked(server, Phase.READY).url, "/env")
    assert (seen["HF_TOKEN"], seen["HF_HOME"], seen["VLLM_CPU_KVCACHE_SPACE"]) == ("planted", "/models", "1")
    assert (seen["OMP_NUM_THREADS"], seen["CUDA_VISIBLE_DEVICES"]) == ("3", "")
    assert "planted" not in {value for name, value in seen.items() if name != "HF_TOKEN"}
    two = ServerSpec("two", "m", gpus=2)
    assert environment(two)["CUDA_VISIBLE_DEVICES"] == "planted", "as whoever hands out GPUs has said"
    assert environment(two, "4,5")["CUDA_VISIBLE_DEVICES"] == "4,5"


def test_gpus_are_dealt_out_where_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = (ServerSpec("a", "m", gpus=2, replicas=2), ServerSpec("b", "m"), ServerSpec("c", "m", gpus=1))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert device_lists(servers) == {("a", 0): "0,1", ("a", 1): "2,3", ("c", 0): "4"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c,GPU-d,GPU-e")
    assert device_lists(servers)["a", 1] == "GPU-c,GPU-d"


def test_the_command_line_of_vllm() -> None:
    words = ServerSpec("big", "/models/Llama-3.3-70B", gpus=4, args=("--max-model-len", "32768")).words("10.0.0.2", 81)
    assert words == [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", "/models/Llama-3.3-70B"),
        *("--served-model-name", "Llama-3.3-70B", "--host", "10.0.0.2", "--port", "81"),
        *("--tensor-parallel-size", "4", "--max-model-len", "32768"),
    ]
    hub = ServerSpec("hub", "Qwen/Qwen3-8B").words("127.0.0.1", 81)
    assert "--tensor-parallel-size" not in hub
    assert hub[hub.index("--served-model-name") + 1] == "Qwen/Qwen3-8B"
    own = ServerSpec("own", "m.gguf", command=("llama-server", "-m", "{model}"), args=("--json", '{"a": {"b": 1}}'))
    assert own.words("h", 1) == ["llama-server", "-m", "m.gguf", "--json", '{"a": {"b": 1}}']


def test_what_can_never_be_placed_is_refused_by_name() -> None:
    node = {"CPU": 16.0, "GPU": 8.0}
    roles = {Stage.BENCHMARK: Role(2, 1, gpus=1)}
    preflight(roles, [node], [ServerSpec("big", "m", gpus=3, replicas=2)])
    with pytest.raises(ConfigError, match=r"\[roles.benchmark\] slots = 2, .* do not fit beside the other roles and"):
        preflight(roles, [node], [ServerSpec("big", "m", gpus=4, replicas=2)])
    with pytest.raises(ConfigError, match=r"\[model_server.big\] replicas = 1, each with 1 CPU, 16 GPU, do not fit"):
        preflight({}, [node, node], [ServerSpec("big", "m", gpus=16)])
    with pytest.raises(ConfigError, match=r"\[model_server.big\] asks for 'GPU'; no node has it"):
        preflight({}, [{"CPU": 4.0}], [ServerSpec("big", "m", gpus=1)])
    preflight({}, [{"CPU": 1.0}], [ServerSpec("far", url="http://far", replicas=1)])


def test_the_environment_is_plain_data() -> None:
    assert json.dumps(environment(ServerSpec("a", "m")))
