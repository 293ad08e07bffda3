"""Credentials: where they are found, and that planted ones are nowhere in a run, its processes or its programs."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pygit2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_agents import FILE
from toys import CHECKER, make_target

from raysearch.agents.credentials import (
    ENV_FILE,
    NAMES,
    REDACTED,
    SHORTEST,
    credential,
    env_file,
    leaks,
    located,
    redact,
    scrub,
    secrets,
)
from raysearch.config.layers import configure, set_override
from raysearch.config.targets import load_target
from raysearch.errors import ConfigError
from raysearch.run.start import resolve

ROOT = Path(__file__).parents[1]
KEY = 'sk-ant-plantéd/"key"+1234567890'
OTHER = "sk-proj-planted-0987654321abcdef"
FOREIGN = "planted-registry-token-5555"
"""Of no model provider, yet named like a secret."""
PLANTED = {"ANTHROPIC_API_KEY": KEY, "OPENAI_API_KEY": OTHER, "MY_REGISTRY_TOKEN": FOREIGN}
DOTENV = "".join(f"{name}='{value}'\n" for name, value in PLANTED.items())


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*NAMES, ENV_FILE):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert credential("OPENAI_API_KEY") is None
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-the-file\nGEMINI_API_KEY=\n")
    assert credential("OPENAI_API_KEY") == "from-the-file"
    assert credential("GEMINI_API_KEY") is None
    monkeypatch.setenv("OPENAI_API_KEY", "")
    assert credential("OPENAI_API_KEY") == "from-the-file"
    monkeypatch.setenv("OPENAI_API_KEY", "from-the-environment")
    assert credential("OPENAI_API_KEY") == "from-the-environment"
    assert "OPENAI_API_KEY" not in {name for name in os.environ if os.environ[name] == "from-the-file"}


def test_the_nearest_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=far-far-away\nGEMINI_API_KEY=only-far-away\n")
    (tmp_path / "here" / ".env").write_text("OPENAI_API_KEY=near-and-dear\n")
    assert env_file() == tmp_path / "here" / ".env"
    assert credential("OPENAI_API_KEY") == "near-and-dear"
    assert credential("GEMINI_API_KEY") is None  # one file, not a mixture
    assert credential("OPENAI_API_KEY", tmp_path) == "far-far-away"
    monkeypatch.setenv(ENV_FILE, str(tmp_path / ".env"))
    assert credential("GEMINI_API_KEY") == "only-far-away"


def test_others_are_told_the_file_and_not_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / ".env").write_text("OPENAI_API_KEY=of-the-project\n")
    before = dict(os.environ)
    with located(folder):
        assert credential("OPENAI_API_KEY") == "of-the-project"
        assert {k: v for k, v in os.environ.items() if before.get(k) != v} == {ENV_FILE: str(folder / ".env")}
        with located(tmp_path):
            assert os.environ[ENV_FILE] == str(folder / ".env")
    assert dict(os.environ) == before
    with located(None):
        assert dict(os.environ) == before
    (tmp_path / "here" / ".env").write_text("OPENAI_API_KEY=of-the-place\n")
    with located(None):
        assert credential("OPENAI_API_KEY") == "of-the-place"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("export OPENAI_API_KEY=plain-value", "plain-value"),
        ("OPENAI_API_KEY = 'single quoted' # why", "single quoted"),
        ('OPENAI_API_KEY="a\\"b"', 'a"b'),
        ("OPENAI_API_KEY=${HOME}/x", "${HOME}/x"),  # nothing is filled in
        ("# OPENAI_API_KEY=commented", None),
        ("nonsense\n\nOPENAI_API_KEY=after-it\n", "after-it"),
        ("OPENAI_API_KEY", None),
    ],
)
def test_the_usual_forms_are_understood(tmp_path: Path, text: str, value: str | None) -> None:
    (tmp_path / ".env").write_text(text)
    assert credential("OPENAI_API_KEY") == value


def test_a_file_that_cannot_be_read_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV_FILE, str(tmp_path / "no-such"))
    with pytest.raises(ConfigError, match=r"no-such: the credentials in it cannot be read: No such file"):
        credential("OPENAI_API_KEY")
    (tmp_path / "bytes").write_bytes(b"OPENAI_API_KEY=\xff\xfe\n")
    monkeypatch.setenv(ENV_FILE, str(tmp_path / "bytes"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        credential("OPENAI_API_KEY")


def test_the_example_lists_each_and_holds_none() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == [f"{name}=" for name in NAMES]
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    for what in NAMES.values():
        assert f"# {what}" in lines


def test_what_is_named_like_a_secret_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"OPENAI_API_KEY": OTHER, "EDITOR": "a-long-editor", "A_TOKEN": "short"})
    (tmp_path / ".env").write_text("DB_PASSWORD=correct-horse\nMONKEY=business-as-usual\nHOST=example.org.xyz\n")
    assert set(secrets()) == {OTHER, "correct-horse"}
    assert list(secrets()) == sorted(secrets(), key=len, reverse=True)


SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=SHORTEST, max_size=40)


@given(SECRETS, st.text(max_size=40), st.text(max_size=40))
def test_no_spelling_of_a_secret_is_left(secret: str, before: str, after: str) -> None:
    spelt = [
        secret,
        json.dumps(secret)[1:-1],
        urllib.parse.quote(secret, safe=""),
        base64.b64encode(secret.encode()).decode().rstrip("="),
    ]
    if any(form in REDACTED or form in before + after for form in spelt):
        return
    for form in spelt:
        found = redact(f"{before}\n{form}\n{after}", [secret])
        assert form not in found
        assert REDACTED in found
    assert redact(f"{before}{after}", [secret]) == f"{before}{after}"


def test_a_value_that_is_no_key_redacts_nothing() -> None:
    assert redact("the key is 12345", ["12345", ""]) == "the key is 12345"


def test_files_are_scrubbed_byte_for_byte(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "raw.bin").write_bytes(b"\xff\x00" + KEY.encode() + b"\xfe")
    (folder / "plain.txt").write_text("nothing here")
    (tmp_path / "outside").write_text(KEY)
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / OTHER).write_text("")
    assert leaks(folder, [KEY, OTHER]) == [Path("deep/raw.bin"), Path(OTHER)]
    stamp = (folder / "plain.txt").stat().st_mtime_ns
    assert scrub(folder, [KEY]) == [Path("deep/raw.bin")]
    assert (folder / "deep" / "raw.bin").read_bytes() == b"\xff\x00" + REDACTED.encode() + b"\xfe"
    assert (folder / "plain.txt").stat().st_mtime_ns == stamp
    assert (tmp_path / "outside").read_text() == KEY


def test_a_credential_in_the_configuration_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    target = load_target(make_target(tmp_path / "target"))
    sets = (f"mutator.mine.agent={FILE}:Writes", "mutator.mine.use=coding", "run.seed=1", "agents.no_price=true")
    overrides = [set_override(text) for text in (*sets, "run.mutators=['mine']")]
    resolve(configure(None, overrides), target)
    overrides.append(set_override(f"mutator.mine.agent_options.reply={json.dumps({'a': f'x{KEY}'}['a'])}"))
    with pytest.raises(ConfigError, match=r"--set: mutator\.mine\.agent_options\.reply holds a credential") as error:
        resolve(configure(None, overrides), target)
    assert KEY not in str(error.value)


# -- a whole run


NOSY = (
    CHECKER
    + """
import os
seen = dict(os.environ)
for place in pathlib.Path("/proc").glob("[0-9]*/*"):
    if place.name in ("environ", "cmdline"):
        try:
            seen[str(place)] = place.read_bytes().decode(errors="replace")
        except OSError:
            pass
for place in (".env", "../.env", "../../.env", a.candidate + "/../.env", a.reference + "/../../../.env"):
    try:
        seen[place] = pathlib.Path(place).read_text()
    except OSError:
        pass
text = "\\n".join(f"{name}={value}" for name, value in sorted(seen.items())) + "\\nall of it was told"
pieces = [text[at : at + 1600] for at in range(0, len(text), 1400)]  # overlapping, so that no key is cut
assert len(pieces) <= 100
found = json.loads(pathlib.Path(a.result).read_text())
found["cases"] = [{"name": f"seen {n}", "passed": True, "detail": piece} for n, piece in enumerate(pieces)]
pathlib.Path(a.result).write_text(json.dumps(found))
"""
)
"""A checker that reports whatever can be seen from where candidates run."""


def forms(value: str) -> Iterator[bytes]:
    yield value.encode()
    yield json.dumps(value)[1:-1].encode()
    yield json.dumps(value, ensure_ascii=False)[1:-1].encode()
    yield base64.b64encode(value.encode()).rstrip(b"=")
    yield urllib.parse.quote(value, safe="").encode()


def holding(content: bytes) -> list[str]:
    return [name for name, value in PLANTED.items() if any(form in content for form in forms(value))]


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below ``folder`` by name, and every object in its git repositories, unpacked."""
    for place in folder.rglob("*"):
        yield f"name of {place}", os.fsencode(place.name)
        if place.is_file() and not place.is_symlink():
            yield str(place), place.read_bytes()
    repository = pygit2.Repository(str(folder / "workspace"))
    for oid in repository:
        yield f"object {oid}", repository[oid].read_raw()


def command_lines() -> Iterator[bytes]:
    """Of every process of the machine."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield place.read_bytes()
        except OSError:
            continue


def run_planted(folder: Path, *sets: str, environment: Mapping[str, str] = {}) -> tuple[Path, bytes, dict[str, Any]]:
    """A run that ``Blabs`` mutates, in a process of its own; its folder, its output, and its last object."""
    make_target(folder / "target", checker=NOSY)
    words = ["run", "target", "--pool", "inline", "--outer-loop", "plain", "--seed", "1", "--mutator", "mine", "--json"]
    words += ["--max-candidates", "1", "--set", "mutator.mine.use=coding", "--set", f"mutator.mine.agent={FILE}:Blabs"]
    words += [word for text in sets for word in ("--set", text)]
    process = subprocess.Popen(
        [sys.executable, "-m", "raysearch", *words],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    seen = set()
    while process.poll() is None:
        seen |= {name for line in command_lines() for name in holding(line)}
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    out = process.stdout.read()
    process.stdout.close()
    assert not seen, "keys in the process table"
    found = json.loads(out.splitlines()[-1])
    return Path(found["path"]), out, found


@pytest.mark.parametrize(("way", "sandbox"), [("environment", "bubblewrap"), ("file", "landlock")])
def test_planted_keys_are_nowhere(tmp_path: Path, way: str, sandbox: str) -> None:
    if way == "file":
        (tmp_path / ".env").write_text(DOTENV)
    environment = PLANTED if way == "environment" else {}
    folder, out, found = run_planted(tmp_path, f"run.sandbox={sandbox}", environment=environment)
    assert found["admitted"] == 1
    assert holding(out) == []
    assert {name: held for name, content in contents(folder) if (held := holding(content))} == {}
    journal = (folder / "journal.jsonl").read_text()
    assert "PYTHONDONTWRITEBYTECODE=1" in journal  # the checker has looked
    assert "all of it was told" in journal
    assert sandbox == "landlock" or re.search(r"/proc/\d+/cmdline", journal)  # which hides /proc altogether
    assert f"the keys are {REDACTED} and {REDACTED}" in journal  # and the agent has had them to tell
    transcript = folder / "attempts" / "1" / "mutate-mine-1"
    assert REDACTED.encode() in (transcript / "logs" / "raw.bin").read_bytes()
    assert REDACTED in (transcript / "turns.jsonl").read_text()


def test_a_program_with_a_key_in_it_is_never_kept(tmp_path: Path) -> None:
    folder, out, found = run_planted(tmp_path, "mutator.mine.agent_options.into_program=true", environment=PLANTED)
    assert (found["failed"], found["admitted"]) == (1, 0)
    assert found["cost_usd"] > 0
    assert holding(out) == []
    assert {name: held for name, content in contents(folder) if (held := holding(content))} == {}
    assert "the agent wrote a credential into x.txt" in (folder / "journal.jsonl").read_text()


def test_a_fault_is_a_fact_without_keys(tmp_path: Path) -> None:
    sets = ("mutator.mine.agent_options.fails=true", "limits.retries_max=0")
    folder, out, found = run_planted(tmp_path, *sets, environment=PLANTED)
    assert found["failed"] == 1
    assert holding(out) == []
    assert {name: held for name, content in contents(folder) if (held := holding(content))} == {}
    assert f"401: the keys are {REDACTED} and {REDACTED}" in (folder / "journal.jsonl").read_text()


def test_what_looks_for_keys_would_find_them(tmp_path: Path) -> None:
    """The search itself, on files that hold them in each form, and in a packed object."""
    repository = pygit2.init_repository(str(tmp_path / "workspace"), bare=True)
    repository.create_blob(f"x = {KEY}".encode())
    for number, form in enumerate(forms(KEY)):
        (tmp_path / f"{number}.txt").write_bytes(b"\x00" + form)
    found = [name for name, content in contents(tmp_path) if "ANTHROPIC_API_KEY" in holding(content)]
    assert sum(name.startswith("object") for name in found) == 1
    assert sum(bool(re.search(r"/\d\.txt$", name)) for name in found) == 5


@pytest.mark.ray
def test_workers_on_ray_find_the_file_beside_the_configuration(tmp_path: Path) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    project.mkdir()
    elsewhere.mkdir()
    make_target(project / "target", checker=NOSY)
    (project / ".env").write_text(DOTENV)
    (project / "run.toml").write_text(
        f'[run]\ntarget = "target"\nmutators = ["mine"]\nouter_loop = "plain"\nseed = 1\n'
        f'[mutator.mine]\nuse = "coding"\nagent = "{FILE}:Blabs"\n'
    )
    words = ["run", "--config", str(project / "run.toml"), "--max-candidates", "1", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "raysearch", *words], cwd=elsewhere, capture_output=True, check=True, timeout=100
    )
    folder = Path(json.loads(done.stdout.splitlines()[-1])["path"])
    assert f"the keys are {REDACTED} and {REDACTED}" in (folder / "journal.jsonl").read_text()
    assert holding(done.stdout + done.stderr) == []
    assert {name: held for name, content in contents(folder) if (held := holding(content))} == {}
