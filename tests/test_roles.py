"""Roles that can never be placed are refused before anything waits for them."""

from __future__ import annotations

import pytest

from raysearch.errors import ConfigError
from raysearch.pools.roles import Role, preflight
from raysearch.types import Stage


def test_roles_that_fit() -> None:
    roles = {Stage.MUTATE: Role(4, cpus=0.5), Stage.BENCHMARK: Role(2, cpus=1, gpus=1)}
    preflight(roles, [{"CPU": 3.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 1.0}])


def test_a_resource_that_no_node_has_is_named_with_its_neighbour() -> None:
    with pytest.raises(ConfigError, match=r"\[roles.benchmark\] asks for 'aple'.*'apple'"):
        preflight({Stage.BENCHMARK: Role(resources={"aple": 1})}, [{"CPU": 2.0, "apple": 1.0}])


def test_too_many_slots_are_refused_with_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"slots = 3, each with 1 CPU, 1 GPU.*2 GPU"):
        preflight({Stage.BENCHMARK: Role(3, cpus=1, gpus=1)}, [{"CPU": 8.0, "GPU": 2.0}])


def test_a_whole_worker_must_fit_on_one_node() -> None:
    with pytest.raises(ConfigError, match="do not fit"):
        preflight({Stage.BENCHMARK: Role(1, cpus=1, gpus=2)}, [{"CPU": 2.0, "GPU": 1.0}, {"CPU": 2.0, "GPU": 1.0}])


def test_fractions_add_up() -> None:
    preflight({Stage.MUTATE: Role(10, cpus=0.1)}, [{"CPU": 1.0}])
    with pytest.raises(ConfigError):
        preflight({Stage.MUTATE: Role(11, cpus=0.1)}, [{"CPU": 1.0}])


def test_slots_that_share_a_process_are_placed_together() -> None:
    role = Role(5, cpus=0.5, threads=2)
    assert role.processes() == [2, 2, 1]
    assert role.demand(2) == {"CPU": 1.0}
    preflight({Stage.MUTATE: role}, [{"CPU": 1.5}, {"CPU": 1.0}])
    with pytest.raises(ConfigError, match=r"slots = 5"):
        preflight({Stage.MUTATE: role}, [{"CPU": 0.5}] * 5)
