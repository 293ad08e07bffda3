"""Single odd inputs that once ended in a traceback, a hang or a loss: each gives one clear error, or just works."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from called import Call, call
from fuzz_calls import RUN, ground
from toys import make_target

from raysearch.config.layers import configure, set_override
from raysearch.config.targets import load_target, snapshot_target
from raysearch.config.toml import BYTES_MAX, read_text
from raysearch.errors import ConfigError, TargetError
from raysearch.run.noise import noise_of
from raysearch.sinks.lines import number
from raysearch.types import Measurement, Objective

__all__ = ["call"]
TOY = ("toy", "--mutator", "plugins.py:Step", "--max-candidates", "1")
RUN_TOY = ("run", *TOY, "--pool", "inline", "--sandbox", "none")
REHEARSE = ("rehearse", *TOY)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((*REHEARSE, "--mutate-s", "nan"), "'nan' is no duration"),
        ((*REHEARSE, "--judge-s", "inf"), "'inf' is no duration"),
        ((*REHEARSE, "--benchmark-s", "-5"), "'-5' is no duration"),
        ((*REHEARSE, "--spread", "nan"), "'nan' is not a number"),
        ((*REHEARSE, "--mutate-usd", "inf"), "inf is not in the range"),
        ((*REHEARSE, "--set", "policy.islands=0x" + "f" * 300), "islands must be a whole number, from 1 to 10000"),
        ((*REHEARSE, "--set", "a." * 60 + "b=1"), "write --set section.key=value"),
        ((*RUN_TOY, "--runs-dir", "loop"), "cannot be made"),
        ((*RUN_TOY, "--runs-dir", "loop/below"), "cannot be made"),
        ((*RUN_TOY, "--push-to", "caf\udce9"), r"holds bytes that are not UTF-8, '"),
        ((*RUN_TOY, "--ref", "~nobody-of-that-name"), "`target` is given already"),
        ((*RUN_TOY, "--mutator", "~nobody-of-that-name/x.py:X"), "no file"),
        (("show", RUN, "9" * 5000, "--runs-dir", "runs"), "is no attempt of"),
        (("replay", "--speed", "1e-300", "--runs-dir", "runs"), "is no speed"),
        (("run", "n" * 300), "File name too long"),
        (("rehearse", "toy", "--config", "fifo"), "fifo: cannot be read: it is no plain file"),
    ],
)
def test_one_clear_error(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(ground(tmp_path / "here"))
    ended = call(*words)
    assert ended.status == 2
    assert told in ended.told
    assert max(map(len, ended.err.split("\n"))) < 1500


def test_a_job_with_a_nonsensical_patience_is_told(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CONFIG_JSON_ENV_VAR": "{}", "STOP_WAIT_TIME_S": "soon"}.items():
        monkeypatch.setenv(f"RAY_JOB_{name}", value)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    ended = call("doctor", "--pool", "inline", "--sandbox", "none", "--json")
    assert "below 15" in next(f["told"] for f in ended.object["findings"] if f["name"] == "RAY_JOB_STOP_WAIT_TIME_S")


def test_a_run_in_a_folder_whose_name_is_not_utf8_can_be_shown(call: Call, tmp_path: Path) -> None:
    ground(tmp_path / "caf\udce9")
    runs = str(tmp_path / "caf\udce9" / "runs")
    assert call("show", "--runs-dir", runs).status == 0
    assert "caf\\udce9" in call("show", "--runs-dir", runs, "--json").object["path"]


def test_a_failed_fetch_leaves_no_folder(call: Call, tmp_path: Path) -> None:
    assert call("fetch", "nowhere", "dest").status == 2
    assert not (tmp_path / "dest").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b".".join([b"a"] * 200_000) + b" = 1\n", "nested more than 50 deep"),
        (b"a = {" + b".".join([b"a"] * 200_000) + b" = 1}\n", "nested more than 50 deep"),
        (b"a = " + b"[" * 60 + b"]" * 60, "nested more than 50 deep"),
        (b"a = " + b"9" * 5_000, "a number of thousands of digits"),
        (b"".join(b"k%d = 1\n" % i for i in range(20_000)), "and 19980 more problems from here on"),
        (b"[run]\n" + b"lanes = 1\n" * 20_000, "run.toml:3:"),
        (b"[a]\nb = 1\n" + b"#" * 300 * 900 + b"\n" * 900 + b"[a.b]\n", "run.toml:903:"),
        (b"x" * (BYTES_MAX + 1), "larger than 1000 kB"),
    ],
)
def test_a_configuration_that_takes_no_time(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "run.toml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        configure(tmp_path / "run.toml")
    assert told in str(caught.value)


def test_many_options_take_no_time(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_bytes(b"[policy]\n" + b"".join(b"k%d = 1\n" % i for i in range(20_000)))
    assert len(configure(tmp_path / "run.toml").settings.policy) == 20_000


def test_a_value_takes_the_place_of_a_table_and_of_the_origins_below_it(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("[policy.weights]\na = 1\n")
    replaced = configure(tmp_path / "run.toml", [set_override("policy.weights=2")])
    assert (replaced.settings.policy, replaced.origin("policy", "weights", "a")) == ({"weights": 2}, "--set")


def test_files_as_editors_of_all_systems_save_them(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\r\nthree\rfour\n")
    assert read_text(file, ConfigError) == "one\ntwo\nthree\rfour\n"
    target = make_target(tmp_path / "toy")
    (target / "OBJECTIVE.md").write_bytes(b"\xef\xbb\xbfMake\r\r\nit\r\n")
    (target / "objectives.toml").write_bytes(b"\xef\xbb\xbf" + (target / "objectives.toml").read_bytes())
    loaded = load_target(target)
    assert snapshot_target(loaded, tmp_path / "copy").digest == loaded.digest


SPOIL: dict[str, tuple[Callable[[Path], object], str]] = {
    "target.toml leads nowhere": (lambda t: replaced(t / "target.toml").symlink_to("nowhere"), "target.toml: cannot"),
    "objectives.toml leads nowhere": (
        lambda t: replaced(t / "objectives.toml").symlink_to("x"),
        "toml: cannot be read",
    ),
    "the seed leads nowhere": (lambda t: (t / "seed").rename(t / "s") and (t / "seed").symlink_to("x"), "be a folder"),
    "recipes is a file": (lambda t: (t / "recipes").touch(), "recipes: must be a folder"),
    "a pipe": (lambda t: os.mkfifo(replaced(t / "target.toml")), "target.toml: cannot be read: it is no plain file"),
    "a name that git refuses": (lambda t: (t / "seed" / ".git ").touch(), "git takes no file of that name"),
    "in a circle": (lambda t: (t / "seed" / "a").symlink_to("a"), "a link that leads in a circle"),
    "everything, or nothing": (
        lambda t: (t / "target.toml").write_text('[candidate]\neditable = ["."]\n'),
        "should hold patterns relative to the program's folder, which '.' is not",
    ),
    "one sentence a value": (
        lambda t: (t / "target.toml").write_text(
            '[[tunables]]\nname = "x"\nfile = "x.txt"\nkind = "categorical"\nchoices = [{}, 1]\n'
        ),
        "target.toml:5: tunables.#1.choices.#1 should be text or a whole number or a number or true or false, not {}.",
    ),
}


def replaced(path: Path) -> Path:
    path.unlink()
    return path


@pytest.mark.parametrize("what", SPOIL)
def test_a_target_that_cannot_be_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.chdir(tmp_path)
    spoil, told = SPOIL[what]
    spoil(make_target(tmp_path / "toy"))
    with pytest.raises(TargetError) as caught:
        load_target(Path("toy"))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_seed_nested_too_deeply_for_its_parser(call: Call, tmp_path: Path) -> None:
    tunable = '[[tunables]]\nname = "x"\nfile = "p.py"\nkind = "int"\nlow = 0\nhigh = 9\n'
    target = make_target(tmp_path / "toy", target_toml=f'[candidate]\neditable = ["p.py"]\n{tunable}')
    (target / "seed" / "p.py").write_text(f"x = 1\ny = {'.'.join(['a'] * 3_000)}\n")
    ended = call("rehearse", "toy")
    assert (ended.status, "p.py:1: it is nested too deeply to be read as Python" in ended.told) == (2, True)


def test_the_largest_floats_are_numbers() -> None:
    largest = Measurement("near", (1.7e308, 1.7e308))
    assert largest.value == 1.7e308
    assert number(math.inf) == "inf"
    apart = [(Measurement("near", (value, -value)),) for value in (1.7e308, -1.7e308, -1.7e308)]
    noise = noise_of(Objective("near"), apart)
    assert noise.spread == math.inf or math.isfinite(noise.spread)
