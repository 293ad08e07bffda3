"""docs/first-hour.md does what it says: its files are written, its commands run, in order, in an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from raysearch.ledger import JOURNAL, read_journal
from raysearch.views import fold

DOCUMENT = Path(__file__).parents[1] / "docs" / "first-hour.md"
FENCE = re.compile(r"^```(\w*) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LIMIT_S = 300


@dataclass(frozen=True)
class Block:
    """A fenced block: commands (``sh``), or a file of that name."""

    kind: str
    name: str
    text: str


def blocks() -> list[Block]:
    return [Block(*found) for found in FENCE.findall(DOCUMENT.read_text())]


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run commands as a reader would, raysearch and its Python first on the PATH."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def test_every_block_is_a_command_or_a_file() -> None:
    found = blocks()
    assert DOCUMENT.read_text().count("```") == 2 * len(found)
    for block in found:
        assert (block.kind == "sh") == (not block.name), f"what is {block.text[:60]!r}?"
    commands = [line for block in found if block.kind == "sh" for line in block.text.splitlines()]
    verbs = {line.split()[1] for line in commands if line.startswith("raysearch ")}
    assert verbs >= {"doctor", "init", "check", "rehearse", "run", "show", "brief", "replay", "export"}
    runs = [line for line in commands if line.startswith("raysearch run")]
    assert all("--pool inline" in line or "mine.toml" in line for line in runs), "small, and without Ray"


def test_its_files_read_well(tmp_path: Path) -> None:
    for block in blocks():
        if block.kind == "python":
            (tmp_path / block.name).write_text(block.text)
    config = str(DOCUMENT.parents[1] / "pyproject.toml")
    for words in (["check", "--no-cache", "--ignore", "ARG,I"], ["format", "--check", "--no-cache"]):
        command = [sys.executable, "-m", "ruff", words[0], "--config", config, *words[1:], str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_first_hour(tmp_path: Path) -> None:
    said = {}
    for block in blocks():
        if block.kind != "sh":
            (tmp_path / block.name).write_text(block.text)
            continue
        done = run(block.text, tmp_path)
        told = f"{block.text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert done.returncode == 0, told
        assert "Traceback" not in done.stderr, told
        said[block.text.splitlines()[0]] = done.stdout
    assert said["raysearch doctor"].splitlines()[-1] == "a run can start here"
    assert said["raysearch init fast"].splitlines()[-1].startswith("ready")
    assert "A simulation" in next(text for first, text in said.items() if first.startswith("raysearch rehearse"))
    conformed = {first.split("_")[-1]: text for first, text in said.items() if first.startswith("python -m pytest")}
    assert list(conformed) == ["mutator.py", "judge.py", "policy.py"]
    for text in conformed.values():
        assert re.search(r"\b\d+ passed", text)
    runs = {path.parent.name[16:]: fold(read_journal(path)) for path in (tmp_path / "exp_env").glob(f"*/{JOURNAL}")}
    assert set(runs) == {"fast", "halve", "judged", "greedy"}
    assert all(len(one.skyline) for one in runs.values())
    assert {row["mutator"] for row in map(json.loads, runs["halve"].round_rows) if row["attempt"]} == {"Halve"}
    assert (tmp_path / "winner" / "program" / "solution.py").is_file()
    assert (tmp_path / "project" / "raysearch" / "target.toml").is_file()
