"""Runs that bring a model server along, from the configuration to the end: in one process, on Ray, killed."""

from __future__ import annotations

import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from called import Call, call  # noqa: F401 # a fixture
from drivers import Driver
from model_servers import nothing_left
from toys import make_target

from raysearch.config.layers import configure, effective_configuration, set_override
from raysearch.config.targets import load_target
from raysearch.errors import UserError
from raysearch.facts import Mutated
from raysearch.ledger import JOURNAL, read_journal
from raysearch.plugins import known_names
from raysearch.process import strays
from raysearch.run.doctor import placed
from raysearch.run.folder import RunFolder
from raysearch.run.named import differences
from raysearch.run.search import Search
from raysearch.run.start import resolve
from raysearch.served.addresses import FILE

ROOT = Path(__file__).parents[1]
SCRIPT = """
from raysearch.testing.models import Tokens, Turn

def script(request):
    shown = next(line for line in request.prompt.splitlines() if line.replace(".", "").strip().isdigit())
    patch = f"x.txt\\n<<<<<<< SEARCH\\n{shown}\\n=======\\n{float(shown) + 0.5}\\n>>>>>>> REPLACE\\n"
    return Turn(f"Higher.\\n{patch}\\nSUMMARY: higher\\nMEMORY: none\\n", tokens=Tokens(prompt=500, output=50))
"""
CONFIG = f"""
[run]
target = "target"
mutators = ["mine"]
outer_loop = "chain"
seed = 1

[limits]
max_candidates = 2

[mutator.mine]
use = "coding"
agent = "diff"
agent_options = {{ server = "local" }}

[model_server.local]
model = "tiny"
cpus = 0.5
command = ["{sys.executable}", "-m", "raysearch.testing.models", "--script", "./models.py", "--port", "{{port}}",
    "--model", "{{name}}"]
"""


def settle(folder: Path, more: str = "") -> str:
    """Writes a target and a configuration whose agent asks a server of the run; the configuration's path."""
    make_target(folder / "target")
    (folder / "models.py").write_text(SCRIPT)
    (folder / "run.toml").write_text(CONFIG + more)
    return str(folder / "run.toml")


def resolved(folder: Path, *sets: str, more: str = "") -> Search:
    config = settle(folder, more)
    configuration = configure(Path(config), [set_override(text) for text in sets], known=known_names())
    return resolve(configuration, load_target(folder / "target"))


def mutations(folder: Path) -> list[Mutated]:
    return [entry.fact for entry in read_journal(folder / JOURNAL) if isinstance(entry.fact, Mutated)]


def whole(found: dict[str, Any], told: str) -> None:
    """What must hold of a run of two candidates that brought its server along."""
    folder = Path(found["path"])
    assert found["admitted"] == 2
    made = [fact.change.mutation for fact in mutations(folder) if fact.attempt]
    assert [(each.usage.model, each.usage.calls, each.usage.tokens_in) for each in made] == [("tiny", 1, 500)] * 2
    assert [each.usage.cost_usd for each in made] == [0.0, 0.0]
    assert re.search(r"model server local: starting one replica of tiny.*local: tiny is ready after [0-9.]+ s", told)
    assert "http://127.0.0.1:" in (folder / "logs/model-server-local-0.log").read_text()
    assert json.loads((folder / FILE).read_text())["local"]["urls"] == []
    nothing_left(RunFolder(folder).identity)


def test_a_run_in_one_process(call: Call, tmp_path: Path) -> None:  # noqa: F811
    config = settle(tmp_path)
    found = call("run", "--config", config, "--pool", "inline", "--json")
    whole(found.object, found.told)
    again = call("resume", "--max-candidates", "3", "--json")
    assert again.object["admitted"] == 3
    assert "model server local: tiny is ready after" in again.told


@pytest.mark.ray
def test_a_run_on_ray(call: Call, tmp_path: Path, ray_address: str) -> None:  # noqa: F811
    config = settle(tmp_path, "resources = { apple = 1 }\n")
    found = call("run", "--config", config, "--address", ray_address, "--json")
    assert found.status == 0, found.err
    whole(found.object, found.told)


def test_a_server_that_does_not_start_ends_the_run_before_it_begins(call: Call, tmp_path: Path) -> None:  # noqa: F811
    config = settle(tmp_path)
    (tmp_path / "models.py").write_text("raise RuntimeError('no weights')")
    found = call("run", "--config", config, "--pool", "inline")
    assert found.status == 2
    assert "the model server 'local' (replica 0) is not there: it ended by itself, with exit status 2." in found.told
    assert "RuntimeError: no weights" in found.told
    assert list((tmp_path / "exp_env").iterdir()) == []


def test_servers_of_a_driver_that_was_killed_end_with_it(tmp_path: Path) -> None:
    config = settle(tmp_path, "args = []\n")
    flags = ["--config", config, "--pool", "inline", "--max-candidates", "1000"]
    driver = Driver(tmp_path / "target", tmp_path / "runs", flags)
    driver.start(["--mutator", "mine"])
    assert driver.wait_for(lambda: driver.lines() > 6), driver.output()
    run = RunFolder(driver.folder).identity
    assert strays(run)
    driver.kill(signal.SIGKILL)
    driver.output()
    nothing_left(run)


# -- the configuration


def test_what_the_configuration_says_of_a_server(tmp_path: Path) -> None:
    (server,) = resolved(tmp_path).servers
    words = server.words("127.0.0.1", 99)
    assert words[4:] == [str(tmp_path / "models.py"), "--port", "99", "--model", "tiny"]
    assert (server.replicas, server.gpus, server.cpus, server.ready_timeout_s) == (1, 0, 0.5, 900.0)
    (path,) = resolved(tmp_path, "model_server.local.model=../models/it").servers
    assert path.model == str(Path.cwd().parent / "models/it")
    (hub,) = resolved(tmp_path, "model_server.local.model=Qwen/Qwen3-8B").servers
    assert hub.model == "Qwen/Qwen3-8B"


def test_a_configuration_with_a_server_is_kept_whole(tmp_path: Path) -> None:
    more = 'env = { A = "1" }\npass_env = ["HF_TOKEN"]\n[model_server.far]\nurl = "http://far:8000/v1"\n'
    before = configure(Path(settle(tmp_path, more)), known=known_names())
    (tmp_path / "again.toml").write_text(effective_configuration(before))
    after = configure(tmp_path / "again.toml", known=known_names())
    assert after.settings == before.settings
    assert "model_server.local" in "".join(".".join(section) for section in before.settings.tables())
    moved = configure(tmp_path / "again.toml", [set_override("model_server.far.url=http://near")]).settings
    assert differences(before.settings, moved) == [], "where a model is served is not what the search is"


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["mutator.mine.agent_options.server=locale"], r"mutator 'mine': no model server is called 'locale'. Did you"),
        (["mutator.mine.agent_options.sever=x"], r"sever.*server"),
        (['model_server.local.command=["serve"]'], r"model_server.local `command` should have {port} in it"),
        (["model_server.x.gpus=1"], r"model_server.x should have a `model` to serve, or the `url`"),
        (["model_server.x.url=far:8000"], r"model_server.x `url` should begin with http:// or https://"),
        (["model_server.x.url=http://me:secret@far"], r"model_server.x `url` should hold no password"),
        (["model_server.local.url=http://far"], r"somebody else runs, so `cpus` has no meaning beside it"),
        (["model_server.local.replica=2"], r"unknown key 'replica' in \[model_server.local\]. Did you mean 'replicas'"),
        (["model_server.local.gpus=0.5"], r"model_server.local.gpus should be a whole number"),
        (["model_server.a/b.model=m"], r"should have a name of letters, digits, .* which 'a/b' is not"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(tmp_path: Path, sets: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        resolved(tmp_path, *sets)


def test_a_model_of_ones_own_needs_no_price_and_no_name(tmp_path: Path) -> None:
    from raysearch.config.layers import flag_override

    settle(tmp_path)
    flags = [flag_override("--model", "claude-opus-5-5"), flag_override("--mutator", ("mine", "agent"))]
    configuration = configure(tmp_path / "run.toml", flags, known=known_names())
    plugins = resolve(configuration, load_target(tmp_path / "target")).plugins
    assert "model" not in plugins["mutate", "mine"].options, "its server has one"  # type: ignore[index]
    assert plugins["mutate", "agent"].options["model"] == "claude-opus-5-5"  # type: ignore[index]


def test_what_cannot_be_placed_is_named_before_a_run(tmp_path: Path) -> None:
    search = resolved(tmp_path, "model_server.local.gpus=4")
    (finding,) = placed(search, [{"CPU": 64.0, "GPU": 2.0}])
    assert "[model_server.local] replicas = 1, each with 0.5 CPU, 4 GPU, do not fit" in finding.told
    (fine,) = placed(search, [{"CPU": 64.0, "GPU": 4.0}])
    assert fine.standing == "ok"


# -- what is documented


def documented() -> list[str]:
    text = (ROOT / "docs/local-models.md").read_text(encoding="utf-8")
    return re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_documented_configurations_are_accepted(tmp_path: Path) -> None:
    blocks = documented()
    assert len(blocks) >= 3
    make_target(tmp_path / "target")
    for block in blocks:
        (tmp_path / "run.toml").write_text(block)
        sets = [set_override("run.seed=1")]
        search = resolve(configure(tmp_path / "run.toml", sets, known=known_names()), load_target(tmp_path / "target"))
        assert search.servers


def test_the_documentation_names_every_key() -> None:
    from raysearch.config.served import ModelServerTable

    for page in ("docs/local-models.md", "docs/configuration.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert [key for key in ModelServerTable.model_fields if f"`{key}`" not in text] == [], page
