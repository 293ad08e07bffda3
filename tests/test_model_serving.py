"""The scripted model server's command line, and what it needs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from model_scripts import TOKENS, greeting

from raysearch.errors import UserError
from raysearch.testing.models.__main__ import load

SCRIPTS = Path(__file__).with_name("model_scripts.py")


def _serving(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "raysearch.testing.models", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _ask(url: str) -> bytes:
    body = json.dumps({"model": "m", "input": "?"}).encode()
    headers = {"authorization": "Bearer sk-planted", "content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/responses", body, headers), timeout=20) as answer:
        return bytes(answer.read())


def test_a_script_is_served_from_a_file(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    with _serving("--script", str(SCRIPTS), "--record", str(record)) as process:
        assert process.stdout is not None
        assert b"You said: ?" in _ask(process.stdout.readline().strip())
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    (line,) = record.read_text().splitlines()
    kept = json.loads(line)
    assert (kept["status"], kept["outcome"], kept["request"]["dialect"]) == (200, "complete", "openai_responses")
    assert kept["turn"]["tokens"]["prompt"] == TOKENS.prompt
    assert "sk-planted" not in line


def test_a_script_that_failed_is_the_exit_status(tmp_path: Path) -> None:
    with _serving("--script", f"{SCRIPTS}:failing") as process:
        assert process.stdout is not None
        with pytest.raises(urllib.error.HTTPError) as refused:
            _ask(process.stdout.readline().strip())
        refused.value.close()
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=20)[1]
    assert process.returncode == 1
    assert told == "the script failed: RuntimeError: nothing comes to mind\n"


def test_a_script_that_cannot_be_served_is_said_in_one_line(tmp_path: Path) -> None:
    assert load(f"{SCRIPTS}:greeting") == greeting
    assert isinstance(load(f"{SCRIPTS}:twice"), list)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "script.txt").write_text("")
    for where, reason in (
        (f"{tmp_path}/none.py", "there is no file"),
        (f"{SCRIPTS}:greting", "Did you mean 'greeting'"),
        (f"{SCRIPTS}:number", "number must be a function, a Turn or a list of turns, is int"),
        (f"{tmp_path}/broken.py", "cannot be loaded: ModuleNotFoundError"),
        (f"{tmp_path}/script.txt", "is no Python file"),
    ):
        with pytest.raises(UserError, match=reason):
            load(where)
    with _serving("--script", str(tmp_path / "none.py")) as process:
        told = process.communicate(timeout=20)[1]
    assert process.returncode == 2
    assert told.endswith("there is no file " + str(tmp_path / "none.py") + "\n")
    assert len(told.splitlines()) == 1


def test_the_kit_needs_no_sdk_and_loads_no_heavy_library() -> None:
    program = (
        "import sys, raysearch.testing.models, raysearch.testing.models.characters, raysearch.testing.models.__main__\n"
        "heavy = {'anthropic', 'openai', 'google', 'httpx2', 'pydantic', 'ray', 'numpy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
