"""`doctor`: what is there is found, what is missing is named with what to do, and roles are compared with nodes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from called import Call, call
from toys import make_target

from raysearch.cli.options import configuration_of
from raysearch.errors import RunError
from raysearch.run import machine
from raysearch.run.doctor import examine
from raysearch.run.findings import Finding, Standing, failures

__all__ = ["call"]

Survey = Callable[[str], Sequence[Mapping[str, float]]]


def examined(survey: Survey | None = None, target: str | None = None, **flags: object) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(configuration_of(target, None, flags), survey=survey)}


def command(folder: Path, name: str, script: str) -> None:
    """Put a command on a PATH that starts with ``folder``."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_this_machine_can_start_a_run(call: Call) -> None:
    ran = call("doctor", "--json")
    assert ran.status == 0, ran.out
    found = ran.object
    assert found["conclusion"] == "a run can start here"
    names = [row["name"] for row in found["findings"]]
    for name in (
        "python",
        "raysearch",
        "git",
        "plug-ins",
        "sandbox",
        "control groups",
        "cores",
        "gpus",
        "ray",
        "roles",
    ):
        assert name in names
    assert not Path("exp_env").exists(), "looking changes nothing"


def test_the_page_ends_with_a_plain_line(call: Call) -> None:
    ran = call("doctor", "--pool", "inline")
    assert ran.status == 0
    assert ran.out.splitlines()[-1] == "a run can start here"


def test_keys_are_named_and_never_shown(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-very-secret")
    monkeypatch.setenv("MISTRAL_API_KEY", "")
    for flags in ((), ("--json",)):
        ran = call("doctor", "--pool", "inline", *flags)
        assert "ANTHROPIC_API_KEY" in ran.out
        assert "MISTRAL_API_KEY" not in ran.out
        assert "secret" not in ran.out + ran.err


def test_coding_agents_on_the_path(tmp_path: Path) -> None:
    command(tmp_path / "bin", "codex", "exit 0")
    agents, keys = machine.agents({"PATH": str(tmp_path / "bin")})
    assert (agents.standing, agents.told) == (Standing.OK, f"codex ({tmp_path}/bin/codex)")
    assert keys.standing is Standing.NOTE
    assert next(machine.agents({"PATH": "/nowhere"})).standing is Standing.NOTE


def test_gpus_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = "echo 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)'; echo 'GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-2)'"
    command(tmp_path / "bin", "nvidia-smi", listed)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    assert machine.gpus() == (["GPU 0: NVIDIA H100 80GB HBM3", "GPU 1: NVIDIA H100 80GB HBM3"], "")
    assert machine.Machine.here().node(1.0)["GPU"] == 2
    command(tmp_path / "bin", "nvidia-smi", "echo 'NVIDIA-SMI has failed' >&2; exit 9")
    assert machine.gpus() == ([], "none: nvidia-smi lists no device; is the driver loaded?")


def test_git_that_is_missing_or_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert {f.name: f.standing for f in machine.software()}["git"] is Standing.WARN
    command(tmp_path / "bin", "git", "echo git version 2.17.1")
    old = {f.name: f for f in machine.software()}["git"]
    assert (old.standing, old.told) == (Standing.WARN, "git version 2.17.1; 2.30 or later is expected")
    command(tmp_path / "bin", "git", "echo 'git version 2.47.0 (Apple Git-154)'")
    assert {f.name: f.standing for f in machine.software()}["git"] is Standing.OK


def test_a_sandbox_that_does_not_work_stands_in_the_way_only_if_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(tmp_path / "bin", "bwrap", "echo 'bwrap: No permissions to create new namespace' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    wanted = {f.name: f for f in machine.sandboxes("bubblewrap")}
    assert wanted["sandbox bubblewrap"].standing is Standing.FAIL
    assert "user namespaces" in wanted["sandbox bubblewrap"].told
    unwanted = {f.name: f for f in machine.sandboxes("none")}
    assert unwanted["sandbox bubblewrap"].standing is Standing.NOTE
    assert unwanted["sandbox"].standing is Standing.WARN


def test_runs_that_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = {f.name: f for f in machine.disks(tmp_path / "not" / "yet")}
    assert fine["disk of runs"].told.endswith(f"free in {tmp_path}")
    monkeypatch.setattr(machine, "DISK_FAIL_MB", 1e12)
    assert {f.name: f.standing for f in machine.disks(tmp_path)}["disk of runs"] is Standing.FAIL
    long = tmp_path / ("long" * 10)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    assert {f.name: f for f in machine.disks(tmp_path)}["scratch path"].mend == "set TMPDIR=/tmp"


@pytest.mark.parametrize(
    ("environment", "name", "standing"),
    [
        ({"RAY_kill_child_processes_on_worker_exit_with_raylet_subreaper": "true"}, "RAY_kill_child", Standing.FAIL),
        ({"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "1"}, "RAY_ENABLE_UV", Standing.WARN),
        ({"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}, "RAY_ACCEL", Standing.WARN),
        ({"RAY_ADDRESS": "10.0.0.1:6379"}, "RAY_ADDRESS", Standing.NOTE),
        ({"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}, "RAY_JOB_STOP_WAIT_TIME_S", Standing.WARN),
    ],
)
def test_settings_that_are_traps(environment: dict[str, str], name: str, standing: Standing) -> None:
    quiet = {"RAY_AUTH_MODE": "disabled"}
    assert list(machine.settings(quiet)) == []
    found = list(machine.settings(quiet | environment))
    assert [(f.name.startswith(name), f.standing) for f in found] == [(True, standing)]
    assert found[0].told


def test_a_token_without_its_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert list(machine.settings({})) == []
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("never read")
    assert [f.name for f in machine.settings({})] == ["RAY_AUTH_MODE"]


# -- roles and nodes --------------------------------------------------------------------------------------------

TWO_NODES: list[dict[str, float]] = [{"CPU": 8.0, "memory": 1e10}, {"CPU": 4.0, "GPU": 2.0, "node:10.0.0.2": 1.0}]


@pytest.fixture
def listening() -> Iterator[str]:
    """An address at which something answers."""
    server = socket.create_server(("127.0.0.1", 0))
    server.listen()
    yield f"127.0.0.1:{server.getsockname()[1]}"
    server.close()


def test_roles_that_a_cluster_can_hold(listening: str) -> None:
    asked: list[str] = []

    def survey(address: str) -> list[dict[str, float]]:
        asked.append(address)
        return TWO_NODES

    found = examined(survey, address=listening, sets=("roles.benchmark.gpus=1", "roles.benchmark.slots=2"))
    assert asked == [listening]
    assert found["cluster"].told == "2 nodes: 12 CPU, 2 GPU"
    assert found["roles"].standing is Standing.OK
    assert "2 benchmark (0.25 CPU, 1 GPU each)" in found["roles"].told


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("roles.benchmark.gpus=3", "[roles.benchmark] slots = 1, each with 0.25 CPU, 3 GPU, do not fit"),
        ("roles.judge.resources={aple=1}", "[roles.judge] asks for 'aple'; no node has it."),
        ("roles.mutate.cpus=9", "[roles.mutate] slots = 1, each with 9 CPU"),
    ],
)
def test_roles_that_no_node_can_hold_are_named(listening: str, setting: str, words: str) -> None:
    found = examined(lambda _: TWO_NODES, address=listening, sets=(setting,))
    assert found["roles"].standing is Standing.FAIL
    assert words in found["roles"].told


def test_a_private_ray_has_as_many_cpus_as_are_asked_for() -> None:
    cores = os.cpu_count() or 1
    found = examined(lanes=2 * cores, sets=(f"roles.mutate.slots={2 * cores}", "roles.mutate.cpus=1"))
    assert found["roles"].standing is Standing.WARN
    assert f"on a machine with {cores}, which they will share" in found["roles"].told
    assert examined(sets=("roles.judge.resources={apple=1}",))["roles"].standing is Standing.FAIL


def test_a_cluster_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    found = examined(address=address)
    assert (found["cluster"].standing, "nothing answers at" in found["cluster"].told) == (Standing.FAIL, True)
    assert found["roles"].standing is Standing.NOTE

    def none(address: str) -> Sequence[Mapping[str, float]]:
        raise RunError("no Ray cluster at 'auto': there is none")

    assert failures(examined(none, address="auto").values())[0].told == "no Ray cluster at 'auto': there is none"


def test_the_configuration_of_a_target_is_resolved(tmp_path: Path) -> None:
    folder = make_target(tmp_path / "toy", target_toml="[resources.benchmark]\nquiet = 1\n")
    unsuited = examined(None, str(folder), pool="inline")["configuration"]
    assert (unsuited.standing, "tune: nothing to tune" in unsuited.told) == (Standing.FAIL, True)
    (folder / "seed" / "p.toml").write_text("k = 4  # tune: int 1..9\n")
    found = examined(None, str(folder), pool="inline")
    assert found["configuration"].told == "target toy, policy evolve, mutators tune"
    asked = examined(None, str(folder))["roles"]
    assert "asks for 'quiet'" in asked.told
    missing = examined(None, str(tmp_path / "none"), pool="inline")["configuration"]
    assert (missing.standing, "no such target folder" in missing.told) == (Standing.FAIL, True)


@pytest.mark.ray
def test_ray_is_asked_for_its_nodes(ray_address: str) -> None:
    from raysearch.pools.ray import survey

    assert survey("local")[0]["CPU"] == 8, "an embedding program's own connection is used, and left open"
    import ray

    assert ray.is_initialized()
    found = examined(address=ray_address)
    assert "8 CPU" in found["cluster"].told
    assert "1 apple" in found["cluster"].told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--config", "none.toml"), "none.toml: cannot be read"),
        (("--set", "run.pol=ray"), "Did you mean 'pool'?"),
        (("--adress", "x"), "Did you mean '--address'?"),
    ],
)
def test_a_mistake_is_one_message_and_status_2(call: Call, arguments: tuple[str, ...], words: str) -> None:
    ran = call("doctor", *arguments)
    assert (ran.status, words in ran.told) == (2, True), ran.told


def test_what_stands_in_the_way_is_status_1(call: Call) -> None:
    ran = call("doctor", "--set", "roles.benchmark.resources={quiet=1}")
    assert ran.status == 1
    assert ran.out.splitlines()[-1] == "a run cannot start here: roles"
