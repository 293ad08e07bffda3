"""Settings that must stand before Ray is imported, and the one Ray that the tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")

import pytest
from hypothesis import settings

settings.register_profile("the same each time", derandomize=True, deadline=None)
settings.register_profile("at random", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "the same each time"))

SLOW = {
    "test_agents_whole_run",
    "test_escapes",
    "test_faults_node",
    "test_first_hour",
    "test_init",
    "test_ray_job",
    "test_warm",
}
"""Modules that take long, or look at the whole machine, so that nothing else may run beside them."""


PROGRAMS = {"test_agent_clis", "test_agent_clis_in_runs", "test_agents_whole_run", "test_model_server_vllm"}
"""Of the slow modules, those that install real programs first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on Ray share one local cluster, so they stay together when tests are spread over processes."""
    for item in items:
        if item.path.stem in SLOW:
            item.add_marker(pytest.mark.slow)
        if item.path.stem in PROGRAMS:
            item.add_marker(pytest.mark.programs)
        if item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.xdist_group("ray"))


@pytest.fixture(scope="session")
def ray_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a local Ray with 8 logical CPUs and one custom resource, to which drivers can connect."""
    import shutil
    import tempfile

    import ray

    folder = Path(tempfile.mkdtemp(prefix="rs-"))
    context = ray.init(
        address="local",
        num_cpus=8,
        resources={"apple": 1},
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 * 2**20,
        namespace="raysearch",
        _temp_dir=str(folder),
    )
    yield context.address_info["gcs_address"]
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
