"""A run by each of the real programs: the commit is there, and what it cost is in the journal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from installed_clis import installed
from test_sandbox import needs_bubblewrap
from toys import make_target

from raysearch.facts import AttemptClosed, Mutated
from raysearch.ledger import JOURNAL, read_journal
from raysearch.repository import Repository
from raysearch.run.folder import RunFolder
from raysearch.testing.models import ModelServer, Tokens, characters
from raysearch.types import SEED, Outcome

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), needs_bubblewrap]

KEY = "sk-planted-" + "beef" * 8
MODELS = {
    "claude": ("claude-opus-4-8", ""),
    "codex": ("gpt-5.1-codex", "/v1"),
    "gemini": ("gemini-2.5-pro", ""),
    "opencode": ("scripted", "/v1"),
}
CONFIG = """
[run]
pool = "inline"
mutators = ["writer"]
[limits]
max_candidates = 1
budget_usd = 5.0
[prices.{model}]
input = 1.0
output = 2.0
cached = 0.0
[mutator.writer]
use = "coding"
agent = "{name}"
model = "{model}"
agent_options = {{ base_url = "{url}", program = "{program}", key_from = "PLANTED_KEY" }}
"""


@pytest.mark.parametrize("name", MODELS)
def test_what_it_made_is_a_commit_and_what_it_cost_is_in_the_journal(name: str, tmp_path: Path) -> None:
    model, path = MODELS[name]
    work = characters.good("x.txt", "7\n", tokens=Tokens(prompt=1000, output=50, cached=400))
    with ModelServer(work, keys=[KEY]) as server:
        config = tmp_path / "run.toml"
        quoted = f'"{model}"'
        text = CONFIG.format(name=name, model=model, url=server.url + path, program=installed(name))
        config.write_text(text.replace(f"[prices.{model}]", f"[prices.{quoted}]"))
        ran = subprocess.run(
            [sys.executable, "-m", "raysearch", "run", str(make_target(tmp_path / "toy")), "--config", str(config)],
            cwd=tmp_path,
            env={**os.environ, "PLANTED_KEY": KEY},
            capture_output=True,
            text=True,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    folder = RunFolder(next((tmp_path / "exp_env").glob(f"*/{JOURNAL}")).parent)
    facts = [entry.fact for entry in read_journal(folder.journal)]
    (made,) = (fact for fact in facts if isinstance(fact, Mutated) and fact.attempt != SEED)
    (closed,) = (fact for fact in facts if isinstance(fact, AttemptClosed) and fact.attempt != SEED)
    assert closed.outcome is Outcome.ADMITTED, closed.reason
    repository = Repository(folder.workspace)
    assert repository.commit_of(made.attempt) == made.change.commit
    assert repository.show(made.change.commit, "x.txt") == "7\n"
    usage = made.change.mutation.usage
    assert (usage.tokens_in, usage.tokens_cached, usage.tokens_out, usage.turns) == (3000, 1200, 150, 3)
    assert usage.cost_usd > 0
    assert usage.session
    assert list((folder.attempts / str(made.attempt)).rglob("*.jsonl")), "the transcript is kept"
