"""The command line: what each verb prints, and how every way of ending leaves the process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cli_runs import MadeRun
from click.testing import CliRunner
from toys import make_target

import raysearch
from raysearch.cli import exits, main, patches
from raysearch.cli.commands import root
from raysearch.cli.options import Duration
from raysearch.errors import Invariant, LedgerError, nearest
from raysearch.ledger import JOURNAL, read_journal
from raysearch.state import State

TOYS = Path(__file__).with_name("toys.py")
VERBS = ["init", "check", "rehearse", "run", "resume", "pause", "unpause", "steer", "budget", "stop", "issues"]
VERBS += ["show", "frontier", "diff", "brief", "replay", "export", "fetch", "doctor", "completion"]


class Ran:
    """What a call of the command line in this process left."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def object(self) -> dict[str, Any]:
        """The last line of standard output, parsed strictly."""

        def refuse(word: str) -> float:
            raise AssertionError(f"{word} is not JSON")

        found = json.loads(self.out.splitlines()[-1], parse_constant=refuse)
        assert isinstance(found, dict)
        return found


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command in ``tmp_path``, as ``raysearch`` would."""
    monkeypatch.chdir(tmp_path)

    def calling(*arguments: str) -> Ran:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, out, err)

    return calling


@pytest.fixture
def made(tmp_path: Path) -> MadeRun:
    """Seed, candidate 1, refused 2, candidate 3 (the best), in exp_env."""
    run = MadeRun(tmp_path / "exp_env").begin()
    run.admit((1.5, 18.0))
    run.reject("circles 3 and 4 overlap by 0.0012")
    run.admit((2.5, 25.0))
    return run


# -- help and mistakes ------------------------------------------------------------------------------------------


def test_help_names_every_verb() -> None:
    result = CliRunner().invoke(root, ["-h"])
    assert result.exit_code == 0
    verbs = [line.split()[0] for line in result.output.partition("Commands:")[2].splitlines() if line.strip()]
    assert verbs == VERBS
    assert CliRunner().invoke(root, ["--version"]).output == f"raysearch, version {raysearch.__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_json_and_help(verb: str) -> None:
    result = CliRunner().invoke(root, [verb, "--help"])
    assert result.exit_code == 0
    assert "--json" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("shwo",), "no command 'shwo'. Did you mean 'show'?"),
        (("run", "--max-candidate", "3"), "no option '--max-candidate'. Did you mean '--max-candidates'?"),
        (("run", "--pool", "inlin"), "'inlin' is none of ray, inline. Did you mean 'inline'?"),
        (("run", "--sandbox", "off"), "'off' is none of auto, bubblewrap, landlock, none."),
        (("run", "--budget-time", "3 parsecs"), "'3 parsecs' is no duration"),
        (("run", "--lanes", "many"), "'many' is not a valid integer"),
        (("run", "--max-candidates", "0", "x"), "--max-candidates: limits.max_candidates"),
        (("run", "--set", "limits.max_candidate=3", "x"), "Did you mean 'max_candidates'?"),
        (("run", "--set", "nonsense", "x"), "--set 'nonsense': write --set section.key=value"),
        (("run", "--outer-loop", "evolv", "x"), "no policy is called 'evolv'. Did you mean 'evolve'?"),
        (("run", "--mutator", "tun", "x"), "no mutator is called 'tun'. Did you mean 'tune'?"),
        (("run", "--config", "missing.toml", "x"), "missing.toml: cannot be read"),
        (("run",), "no target: give TARGET"),
        (("run", "no/such/target"), "no/such/target"),
        (("run", "x", "--resume"), "takes no TARGET"),
        (("run", "--ref", "x"), "acc_checker, bench must be given too"),
        (("resume",), "no runs in exp_env/. Start one with `raysearch run TARGET`"),
        (("show", "--runs-dir", "nowhere"), "no runs in nowhere/"),
        (("diff", "1"), "diff takes [RUN] A B"),
    ],
)
def test_a_mistake_is_one_message_and_status_2(call: Any, arguments: tuple[str, ...], words: str) -> None:
    ran = call(*arguments)
    assert ran.status == 2
    assert words in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
    assert ran.out == ""


def test_an_unknown_run_is_answered_with_the_nearest(call: Any, made: MadeRun) -> None:
    ran = call("show", "20261127-120000-circle-s")
    assert ran.status == 2
    assert "Did you mean '20261127-120000-circles'?" in ran.err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("180", 180.0), ("1.5", 1.5), ("90s", 90.0), ("15m", 900.0), ("1h30m", 5400.0), ("2D", 172800.0)],
)
def test_durations_are_read_with_units(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


def test_the_configuration_is_shown_with_origins(call: Any, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("[run]\nlanes = 3\nseed = 4\n")
    arguments = ("run", "x", "--config", "my.toml", "--set", "limits.drain_s=5", "--seed", "9", "--budget-time", "2m")
    text = call(*arguments, "--show-config").out
    for line in (
        "lanes = 3  # my.toml:2",
        "seed = 9  # --seed",
        "drain_s = 5.0  # --set",
        "budget_time_s = 120.0  # --budget-time",
        'pool = "ray"  # default',
    ):
        assert line in text
    said = call(*arguments, "--show-config", "--json").object
    assert said["run"]["lanes"] == {"value": 3, "origin": "my.toml:2"}
    assert said["limits"]["max_candidates"]["value"] is None


# -- reading verbs ----------------------------------------------------------------------------------------------


def test_show_is_a_page_of_the_run(call: Any, made: MadeRun) -> None:
    text = call("show").out
    for words in (
        "target     circle-packing, sum_radii (max), latency (min, ms); seed 7",
        "attempts   3: 2 admitted, 1 rejected, 0 failed, 0 abandoned; 0 under way",
        "state      stopped: its driver is gone. Go on with: raysearch resume 20261127-120000-circles",
        "  #3          2.5            25  tune  #1",
        "#2  rejected  accuracy: circles 3 and 4 overlap by 0.0012",
    ):
        assert words in text
    said = call("show", "circles", "--json").object
    assert (said["attempts"], said["admitted"], said["rejected"]) == (3, 2, 1)
    assert said["best"]["id"] == 3
    assert said["best"] == said["frontier"][0]
    assert said["path"] == str(made.path)


def test_show_says_who_drives_a_run(call: Any, made: MadeRun) -> None:
    (made.path / "driver.lock").write_text(
        json.dumps({"host": os.uname().nodename, "pid": os.getpid(), "since_s": time.time()})
    )
    assert f"driven by process {os.getpid()} on" in call("show").out
    made.journal.end("10 candidates")
    made.save()
    assert "state      over: 10 candidates" in call("show").out


@pytest.mark.parametrize("arguments", [("2",), ("#2",), ("circles", "2"), ("latest", "2")])
def test_show_an_attempt(call: Any, made: MadeRun, arguments: tuple[str, ...]) -> None:
    text = call("show", *arguments).out
    for words in (
        "attempt    #2 rejected",
        "parents    #1",
        "task       move one circle",
        "lesson     do not overlap",
        "accuracy   no: circles 3 and 4 overlap by 0.0012 (1 of 2 cases passed)",
        "failed: apart: circles 3 and 4 overlap by 0.0012",
        "solution.py  +1  -1",
    ):
        assert words in text
    said = call("show", *arguments, "--json").object
    assert said["verdicts"][0]["cases"][1]["passed"] is False
    assert said["changes"] == [{"path": "solution.py", "added": 1, "deleted": 1}]


def test_show_the_best_and_the_seed(call: Any, made: MadeRun) -> None:
    text = call("show", "best").out
    assert "attempt    #3 admitted" in text
    assert "  latency       25  ms    min         3   24.5  25.5" in text
    assert "attempt    seed admitted" in call("show", "seed").out
    assert "it has 1 to 3, and 0 for a seed" in call("show", "8").err


def test_show_before_anything_has_happened(call: Any, made: MadeRun) -> None:
    made.folder.journal.write_bytes(b"")
    assert "nothing has happened yet" in call("show").out
    assert call("show", "--json").object["status"] == "open"
    assert call("show", "1").status == 2


def test_frontier(call: Any, made: MadeRun) -> None:
    assert [line.split()[0] for line in call("frontier").out.splitlines()[1:]] == ["#3", "#1"]
    said = call("frontier", "--json").object
    assert [row["id"] for row in said["frontier"]] == [3, 1]
    assert said["frontier"][0]["metrics"] == {"sum_radii": 2.5, "latency": 25.0}
    assert said["objectives"][1]["unit"] == "ms"


def test_diff(call: Any, made: MadeRun) -> None:
    text = call("diff", "seed", "best").out
    assert "-    return 0\n+    return 3" in text
    assert "\x1b" not in text
    assert call("diff", "circles", "1", "3", "--stat").out == "solution.py  +1  -1\n"
    said = call("diff", "1", "3", "--json").object
    assert (said["a"], said["b"]) == (1, 3)
    assert "+    return 3" in said["patch"]
    assert call("diff", "1", "1", "--stat").out == "no difference\n"
    assert "no attempt 77 with a commit" in call("diff", "1", "77").err
    assert "'x' is no attempt" in call("diff", "1", "x").err


def test_export_is_a_working_folder_with_its_evidence(call: Any, made: MadeRun, tmp_path: Path) -> None:
    said = call("export", "circles", "winner", "--json").object
    assert (said["id"], said["path"]) == (3, str(tmp_path / "winner"))
    winner = tmp_path / "winner"
    assert (winner / "program" / "solution.py").read_text() == "def pack():\n    return 3\n"
    evidence = json.loads((winner / "evidence.json").read_text())
    assert evidence["target_digest"] == "d" * 64
    assert evidence["candidate"]["commit"] == said["commit"]
    assert [m["samples"] for m in evidence["candidate"]["measurements"]] == [[2.5, 3.0, 2.0], [25.0, 25.5, 24.5]]
    assert [row["id"] for row in evidence["lineage"]] == [1, 0]
    assert evidence["on_frontier"] is True
    assert "+    return 3" in (winner / "from-start.diff").read_text()
    assert "| latency (min, ms) | 25 |" in (winner / "README.md").read_text()
    assert "holds something already" in call("export", "circles", "winner").err
    assert call("export", "latest", "one", "--candidate", "1").out.startswith("candidate 1 of 20261127-120000-circles")
    refused = call("export", "latest", "two", "--candidate", "2")
    assert refused.status == 2
    assert "attempt 2 of 20261127-120000-circles is no candidate" in refused.err
    assert not (tmp_path / "two").exists()


def test_a_damaged_journal_is_status_74(call: Any, made: MadeRun) -> None:
    lines = made.folder.journal.read_bytes().splitlines(keepends=True)
    made.folder.journal.write_bytes(b"".join([*lines[:3], b"garbage\n", *lines[3:]]))
    ran = call("show")
    assert ran.status == 74
    assert f"{JOURNAL}:4" in ran.err


# -- ways of ending ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), 130),
        (LedgerError("disk"), 74),
        (OSError(28, "No space left on device", "x"), 74),
        (PermissionError(13, "Permission denied", "x"), 2),
        (SystemExit(3), 3),
    ],
)
def test_statuses(error: BaseException, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert exits.status_of(error) == status
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("error", [Invariant("each judge speaks once"), TypeError("x")])
def test_a_bug_names_run_seq_and_how_to_report(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    error.add_note("run 20261127-120000-circles at seq 17")
    assert exits.status_of(error) == 70
    said = capsys.readouterr().err
    for words in (str(error), "run 20261127-120000-circles at seq 17", "Please report it"):
        assert words in said
    assert "Traceback" not in said
    trace = Path(said.partition("The traceback is in ")[2].partition(".txt")[0] + ".txt")
    assert type(error).__name__ in trace.read_text()
    trace.unlink()


def test_a_reader_that_has_seen_enough_is_no_error(made: MadeRun) -> None:
    command = f"{sys.executable} -m raysearch show --json --runs-dir {made.path.parent} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout.split()[-1], done.stderr) == ("0", "")


# -- driving ----------------------------------------------------------------------------------------------------


def run_flags(target: Path, **more: object) -> list[str]:
    """A quick run: inline, a mutator of this folder, and values of the configuration by their keys."""
    sets = [part for key, value in more.items() for part in ("--set", f"{key}={value}")]
    return ["run", str(target), "--pool", "inline", "--mutator", f"{TOYS}:Step", "--seed", "7", "--json", *sets]


def strictly(text: str) -> dict[str, Any]:
    return Ran(0, text, "").object


def test_run_then_resume_then_look(call: Any, tmp_path: Path) -> None:
    ran = call(*run_flags(make_target(tmp_path / "target")), "--max-candidates", "3")
    assert ran.status == 0
    said = ran.object
    keys = {"run", "attempts", "admitted", "rejected", "failed", "frontier", "best", "elapsed_s", "cost_usd"}
    assert keys <= set(said)
    assert said["attempts"] == said["admitted"] + said["rejected"] + said["failed"] + said["abandoned"] == 3
    assert said["stopped_by"] == "3 candidates"
    assert said["best"] in said["frontier"]
    assert set(said["best"]) == {"id", "commit", "metrics"}
    folder = tmp_path / "exp_env" / said["run"]
    for name in ("state.json", "population.json", "rounds.json"):
        assert strictly(" ".join((folder / name).read_text().split()))["run"] == said["run"]
    assert strictly(" ".join((folder / "state.json").read_text().split()))["best"] == said["best"]
    assert len(list((folder / "attempts").glob("*/attempt.json"))) == 4
    assert len(list((folder / "logs").glob("run-*.log"))) == 1
    head = subprocess.run(
        ["git", "rev-parse", "best"], cwd=folder / "workspace", capture_output=True, text=True, check=True
    )
    assert head.stdout.strip() == said["best"]["commit"]
    again = call("resume", "--max-candidates", "4", "--json")
    assert again.status == 0
    assert again.object["run"] == said["run"]
    assert again.object["attempts"] == 4
    third = call("run", "--resume", "--max-candidates", "5", "--json")
    assert third.object["attempts"] == 5
    assert "seed: a run keeps it for life" in call("run", "--resume", "--seed", "3").err.replace("run.seed", "seed")
    shown = call("show", "--json").object
    assert shown["frontier"] == third.object["frontier"]
    assert (shown["session"], shown["attempts"]) == (3, 5)


def test_parts_instead_of_a_target(call: Any, tmp_path: Path) -> None:
    target = make_target(tmp_path / "target", seed=None)
    parts = ["--ref", "reference", "--acc-checker", "accuracy_checker", "--bench", "benchmark"]
    flags = [str(target / part) if not part.startswith("--") else part for part in parts]
    objectives = ["--objective", "small:min", "--objective", "near:max"]
    ran = call(*run_flags(target)[:1], *run_flags(target)[2:], *flags, *objectives, "--max-candidates", "1")
    assert ran.status == 0, ran.err
    assert set(ran.object["best"]["metrics"]) == {"near", "small"}


def test_a_run_without_a_candidate_is_status_1(call: Any, tmp_path: Path) -> None:
    ran = call(
        *run_flags(make_target(tmp_path / "target", seed="-5")), "--max-candidates", "1", "--outer-loop", "plain"
    )
    assert ran.status == 1
    assert ran.object["best"] is None
    assert ran.object["frontier"] == []


def begin(arguments: list[str], cwd: Path) -> subprocess.Popen[str]:
    """A driver in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "raysearch", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def closed_attempts(cwd: Path) -> int:
    journals = list((cwd / "exp_env").glob(f"*/{JOURNAL}"))
    return journals[0].read_bytes().count(b'"attempt_closed"') if journals else 0


def until(driver: subprocess.Popen[str], cwd: Path, closed: int) -> None:
    """Wait until so many attempts have closed."""
    while closed_attempts(cwd) < closed:
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_one_signal_stops_in_order(call: Any, tmp_path: Path, number: signal.Signals, status: int) -> None:
    driver = begin([*run_flags(make_target(tmp_path / "target")), "--max-candidates", "500"], tmp_path)
    until(driver, tmp_path, 1)
    driver.send_signal(number)
    out, err = driver.communicate(timeout=60)
    assert driver.returncode == status, err
    said = strictly(out)
    assert said["status"] == "stopped"
    assert said["stopped_by"].startswith("interrupted")
    assert f"Go on with: raysearch resume {said['run']}" in err
    if number == signal.SIGINT:
        resumed = call("resume", "--max-candidates", str(said["attempts"] + 1), "--json")
        assert resumed.object["attempts"] == said["attempts"] + 1


def test_two_signals_stop_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    flags = run_flags(make_target(tmp_path / "target"), **{"mutator.Step.sleep_s": 3600.0})
    driver = begin(flags, tmp_path)
    until(driver, tmp_path, 1)
    while not any("#1 mutate Step handed out" in log.read_text() for log in tmp_path.glob("exp_env/*/logs/run-*.log")):
        time.sleep(0.02)
    driver.send_signal(signal.SIGINT)
    time.sleep(0.2)  # two signals of a kind that arrive together are one
    driver.send_signal(signal.SIGINT)
    _, err = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "stopped at once" in err
    state = State()
    (journal,) = (tmp_path / "exp_env").glob(f"*/{JOURNAL}")
    for entry in read_journal(journal):
        state.apply(entry)
    assert state.open
    again = begin(["resume"], tmp_path)
    while b'"kind":"session_opened","fact":{"session":2' not in journal.read_bytes():
        assert again.poll() is None, again.communicate()
        time.sleep(0.02)
    again.kill()
    again.communicate()


def test_on_a_terminal_the_live_view_draws_and_leaves_it_as_it_was(tmp_path: Path) -> None:
    master, slave = os.openpty()
    driver = subprocess.Popen(
        [sys.executable, "-m", "raysearch", *run_flags(make_target(tmp_path / "target")), "--max-candidates", "2"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            shown += os.read(master, 65_536)
        except OSError:  # how a pseudo-terminal says that nobody writes to it any more
            break
    os.close(master)
    out, _ = driver.communicate(timeout=60)
    assert driver.returncode == 0, shown
    assert strictly(out)["attempts"] == 2
    assert b"under way" in shown
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")  # the cursor is back


def test_a_run_that_is_driven_is_not_taken_up_again(call: Any, tmp_path: Path) -> None:
    driver = begin(run_flags(make_target(tmp_path / "target"), **{"mutator.Step.sleep_s": 3600.0}), tmp_path)
    until(driver, tmp_path, 1)
    ran = call("resume")
    assert ran.status == 2
    assert f"is being driven by process {driver.pid}" in ran.err
    driver.kill()
    driver.communicate()


# -- small parts ------------------------------------------------------------------------------------------------


def test_patch_statistics_count_lines_that_look_like_headers() -> None:
    patch = "\n".join(
        [
            "diff --git a/one.txt b/one.txt",
            "--- a/one.txt",
            "+++ b/one.txt",
            "@@ -1,2 +1,3 @@",
            " same",
            "--- gone",
            "+++ new",
            "+diff --git a/x b/x",
            "diff --git a/two.bin b/two.bin",
            "Binary files a/two.bin and b/two.bin differ",
            "diff --git a/three b/three",
            "@@ -1 +1 @@",
            "-a",
            "+b",
            "\\ No newline at end of file",
            "",
        ]
    )
    found = [(f.path, f.added, f.deleted) for f in patches.changes(patch)]
    assert found == [("one.txt", 2, 1), ("two.bin", 0, 0), ("three", 1, 1)]
    assert patches.changes("") == []


def test_public_names_are_what_they_are_called() -> None:
    for name in raysearch.__all__:
        assert getattr(raysearch, name) is not None
    assert set(raysearch.__all__) < set(dir(raysearch))
    with pytest.raises(AttributeError, match="no attribute 'Candidat'"):
        raysearch.Candidat  # noqa: B018
    assert nearest("Candidat", raysearch.__all__) == " Did you mean 'Candidate'?"
