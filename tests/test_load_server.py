"""A server's life: ports, readiness, crashes, and nothing left of it; and the frame of a benchmark script."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import psutil
import pytest

from evaluators.call import VOID_STATUS, Call, read_call
from evaluators.load import Chat, ClosedLoop, Outcome, Prompts, Scenario, Server, Window, measure, run_benchmark
from evaluators.load import server as server_module
from evaluators.results import read_metrics
from raysearch.errors import Refused, TargetError
from raysearch.types import Measurement

HEALTHY = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
    def log_message(self, *_): pass
print("up", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def program(folder: Path, text: str) -> list[str]:
    (folder / "server.py").write_text(dedent(text))
    return [sys.executable, "server.py", "{port}"]


def test_it_is_up_when_entered_and_gone_when_left(tmp_path: Path) -> None:
    with Server(program(tmp_path, HEALTHY), cwd=tmp_path) as server:
        assert server.watch() == ""
        assert psutil.pid_exists(server.pid)
        assert os.getsid(server.pid) == server.pid  # a session, so a process group, of its own
        socket.create_connection(("127.0.0.1", server.port), 5).close()
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert server.ready_after_s > 0
        assert server.ending is None
    assert not psutil.pid_exists(server.pid)
    assert server.ending is not None
    assert server.ending.status == -signal.SIGTERM
    assert server.log_tail() == "up\n"


def test_its_whole_tree_goes_with_it(tmp_path: Path) -> None:
    children = """
        import subprocess, sys
        deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(999)"
        nap = [sys.executable, "-c", deaf]
        left = [subprocess.Popen(nap), subprocess.Popen(nap, start_new_session=True)]
        print(*(child.pid for child in left), flush=True)
    """
    with Server(program(tmp_path, dedent(children) + HEALTHY), cwd=tmp_path, grace_s=0.2) as server:
        pids = [int(word) for word in server.log_tail().split()[:2]]
        assert all(psutil.pid_exists(pid) for pid in pids)
    assert not any(psutil.pid_exists(pid) for pid in pids)


CRASHES = {
    "status": ("print('no weights: model.bin'); raise SystemExit(3)", "exit status 3"),
    "signal": (
        "import os, signal; print('about to', flush=True); os.kill(os.getpid(), signal.SIGSEGV)",
        "signal SIGSEGV",
    ),
    "traceback": ("import nothing_of_this_name", "exit status 1"),
    "missing": (None, "exit status 2"),
}


@pytest.mark.parametrize("name", CRASHES)
def test_a_crash_at_the_start_is_told_with_status_and_last_words(tmp_path: Path, name: str) -> None:
    text, how = CRASHES[name]
    command = program(tmp_path, text or "")
    if text is None:
        (tmp_path / "server.py").unlink()
    with pytest.raises(Refused) as caught, Server(command, cwd=tmp_path):
        pytest.fail("it is not up")
    assert f"The server ended by itself, with {how}. Its log ends:\n" in str(caught.value)
    said = {"status": "no weights: model.bin", "signal": "about to", "traceback": "nothing_of_this_name"}
    assert said.get(name, "server.py") in str(caught.value)


def test_a_command_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="exit status 127"), Server(["./no-such-server"], cwd=tmp_path):
        pytest.fail("it is not up")


def test_a_server_that_never_gets_ready_is_given_up_and_ended(tmp_path: Path) -> None:
    stuck = """
        import os, time
        print(os.getpid(), flush=True)
        time.sleep(999)
    """
    server = Server(program(tmp_path, stuck), cwd=tmp_path, start_timeout_s=1.5)
    with pytest.raises(
        Refused, match=r"not ready within 1\.5 s \(GET /health did not answer with status 200\)"
    ) as caught:
        server.__enter__()
    assert str(server.pid) in str(caught.value)
    assert not psutil.pid_exists(server.pid)


def test_readiness_may_be_a_connection_or_the_target_s_own_word(tmp_path: Path) -> None:
    asked: list[int] = []

    def third_time(port: int) -> bool:
        asked.append(port)
        return len(asked) == 3

    with Server(program(tmp_path, HEALTHY), cwd=tmp_path, ready=None) as server:
        assert server.port
    with Server(program(tmp_path, HEALTHY), cwd=tmp_path, ready=third_time) as server:
        assert asked == [server.port] * 3


def test_the_end_of_a_long_log_is_kept(tmp_path: Path) -> None:
    text = "for number in range(100_000): print('line', number)\nraise SystemExit('the end')"
    with pytest.raises(Refused) as caught, Server(program(tmp_path, text), cwd=tmp_path):
        pytest.fail("it is not up")
    assert str(caught.value).endswith("the end")
    assert len(str(caught.value)) < 5000


def test_another_port_is_tried_where_one_was_taken_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = iter([taken.getsockname()[1], server_module.free_port()])
        monkeypatch.setattr(server_module, "free_port", lambda: next(ports))
        with Server(program(tmp_path, HEALTHY), cwd=tmp_path) as server:
            assert server.port != taken.getsockname()[1]


def test_where_no_port_can_be_opened_it_says_what_helps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Forbidden(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(server_module.socket, "socket", Forbidden)
    with pytest.raises(TargetError, match="network = true"), Server(["true"], cwd=tmp_path):
        pytest.fail("it is not up")


def test_its_environment_is_this_one_s_with_additions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HERE", "1")
    command = program(tmp_path, "import os\nprint(os.environ['FROM_HERE'], os.environ['ADDED'], flush=True)" + HEALTHY)
    with Server(command, cwd=tmp_path, env={"ADDED": "2"}) as server:
        assert server.log_tail().startswith("1 2\n")


TRUTH = Path(__file__).parents[1] / "benchmarks" / "load_truth.py"


def known(folder: Path) -> Server:
    return Server([sys.executable, str(TRUTH), "serve", "{port}", "1", "4"], cwd=folder)


SCENARIO = Scenario(ClosedLoop(4), Window(0.3, 1.5), Prompts(words=8, tokens=4), repeats=None)


def test_a_real_server_is_measured(tmp_path: Path) -> None:
    with known(tmp_path) as server:
        outcome = measure(server, Chat("known"), SCENARIO, seed=1)
    assert outcome.refused == ""
    assert outcome["e2e_ms.p50"].value > 0
    assert {timed.tokens for timed in outcome.requests} == {4}
    assert outcome.conditions["usage"].startswith("0 of ")
    assert "nonce" in outcome.conditions


def test_a_server_that_is_killed_under_load_is_refused_with_its_log(tmp_path: Path) -> None:
    mortal = f"""
        import os, runpy, signal, sys, threading
        print("I am not well", flush=True)
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGKILL)).start()
        sys.argv = ["load_truth.py", "serve", sys.argv[1], "1", "4"]
        runpy.run_path({str(TRUTH)!r}, run_name="__main__")
    """
    with Server(program(tmp_path, mortal), cwd=tmp_path) as server:
        long = Scenario(ClosedLoop(4), Window(0.3, 60.0), Prompts(words=8, tokens=4))
        outcome = measure(server, Chat("known"), long, seed=1)
    assert outcome.refused == "The server ended by itself, with signal SIGKILL. Its log ends:\nI am not well"
    assert not outcome.measurements


def call(folder: Path) -> list[str]:
    words = {"--candidate": folder, "--reference": folder, "--seed": 7, "--result": folder / "result.json"}
    return [str(word) for pair in words.items() for word in pair]


GOOD = Outcome((Measurement("a", (1.0, 2.0), "ms", "min", {"n": "2"}),), {"load": "light"})


def ended(bench: Callable[[Call], Outcome | list[Outcome]], folder: Path) -> int:
    """The exit status of a script around ``bench``."""
    child = os.fork()
    if child == 0:  # its memory becomes unreadable for good, so not in this process
        try:
            run_benchmark(bench, call(folder))
        except SystemExit as ending:
            os._exit(int(ending.code or 0))
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_measurements_are_written_as_the_contract_has_them(tmp_path: Path) -> None:
    second = Outcome((Measurement("b", (3.0,), "req/s", "max"),), {"load": "heavy"})
    assert ended(lambda call: [GOOD, second], tmp_path) == 0
    result = read_metrics(tmp_path / "result.json")
    assert [(m.name, m.samples, m.unit, m.direction) for m in result.metrics] == [
        ("a", (1.0, 2.0), "ms", "min"),
        ("b", (3.0,), "req/s", "max"),
    ]
    assert result.conditions == {"load (1)": "light", "load (2)": "heavy"}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def refuses(call: Call) -> Outcome:
    raise Refused("The server ended by itself, with exit status 3.")


def test_a_refusal_is_a_result(tmp_path: Path) -> None:
    for bench in (refuses, lambda call: Outcome(GOOD.measurements, refused="its answers are wrong")):
        assert ended(bench, tmp_path) == 0
        result = read_metrics(tmp_path / "result.json")
        assert not result.metrics
        assert result.refused in ("The server ended by itself, with exit status 3.", "its answers are wrong")


def test_a_void_measurement_is_none(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert ended(lambda call: Outcome(GOOD.measurements, void="the generator was late"), tmp_path) == VOID_STATUS
    assert not (tmp_path / "result.json").exists()
    assert capfd.readouterr().err == "void: the generator was late\n"


def test_a_mistake_of_the_target_s_author_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert ended(lambda call: Window(0, -1) and GOOD, tmp_path) == 2
    assert capfd.readouterr().err == "measure_s is -1: give a number above 0\n"


def test_arguments_are_those_of_every_benchmark(tmp_path: Path) -> None:
    assert read_call(call(tmp_path), "") == Call(tmp_path, tmp_path, 7, tmp_path / "result.json")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can hide a process's memory")
def test_a_server_cannot_read_the_benchmark_s_memory(tmp_path: Path) -> None:
    """As another process of the same user, without root's rights."""
    script = tmp_path / "bench.py"
    script.write_text(
        dedent("""
        import ctypes, os
        from evaluators.call import hide_memory
        if os.getuid() == 0:
            os.setresuid(65534, 65534, 65534)
        show_memory = lambda: ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # a change of user has hidden it
        for hide in (show_memory, hide_memory):
            hide()
            child = os.fork()
            if child == 0:
                try:
                    open(f"/proc/{os.getppid()}/maps").close()
                    os._exit(0)
                except PermissionError:
                    os._exit(1)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """)
    )
    script.chmod(0o644)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, cwd=TRUTH.parents[1]
    )
    assert done.stdout.split() == ["0", "1"]


def test_the_truth_script_prints_theory_beside_measurement(tmp_path: Path) -> None:
    """That it runs and compares; what it finds is a matter of the machine, so it is not asserted."""
    lines = f"""
        import importlib.util
        from evaluators.load import Window
        spec = importlib.util.spec_from_file_location("load_truth", {str(TRUTH)!r})
        truth = importlib.util.module_from_spec(spec)
        import sys; sys.modules["load_truth"] = truth
        spec.loader.exec_module(truth)
        window = Window(0.2, 1.0)
        case = truth.poisson(0.3, 4)
        print(truth.SERVICE_S, case.e2e_ms)
        truth.compare(case, window, 1)
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(lines)], capture_output=True, text=True, check=True, cwd=TRUTH.parents[1]
    )
    service_s, e2e_ms = map(float, done.stdout.splitlines()[0].split())
    assert service_s == pytest.approx(0.2)
    assert e2e_ms == pytest.approx(200 * (1 + 0.3 / 1.4))
    for name in ("e2e_ms.mean", "ttft_ms.mean", "itl_ms.mean", "requests_per_s", "tokens_per_s"):
        assert any(line.strip().startswith(name) and "theory" in line for line in done.stdout.splitlines())


def test_a_server_that_takes_a_moment_is_waited_for(tmp_path: Path) -> None:
    moment = "import time; time.sleep(0.3)"
    with Server(program(tmp_path, moment + HEALTHY), cwd=tmp_path) as server:
        assert server.ready_after_s >= 0.3
