"""Scripts that a zygote compiles once, and threads of what it forks: nobody can tell."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_warm import EACH, Pair


@pytest.fixture(params=EACH)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    tmp_path.chmod(0o755)
    made = Pair(request.param, tmp_path)
    try:
        yield made
    finally:
        made.warm.close()


def both(pair: Pair, script: str) -> tuple[str, str, int]:
    cold, warm = (pair.play(sandbox, script) for sandbox in (pair.cold, pair.warm))
    assert (warm.stdout, warm.stderr, warm.status) == (cold.stdout, cold.stderr, cold.status)
    return warm.stdout, warm.stderr, warm.status


def test_a_script_that_has_changed_runs_as_it_is_now(pair: Pair) -> None:
    assert both(pair, "print('one')")[0] == "one\n"
    assert both(pair, "print('two')")[0] == "two\n"
    assert both(pair, "print('one')")[0] == "one\n"


def test_what_cannot_be_compiled_says_so_each_time(pair: Pair) -> None:
    for script, said in (("def f(:\n", "SyntaxError"), ("print('\\d')\n", "")) * 2:
        assert said in both(pair, script)[1]


def test_an_error_shows_the_script_and_its_line(pair: Pair) -> None:
    for _ in range(2):
        _, said, status = both(pair, "x = 1\n\nraise ValueError(x)\n")
        assert status == 1
        assert "line 3, in <module>" in said
        assert "raise ValueError(x)" in said


def test_threads_know_who_they_are(pair: Pair) -> None:
    script = textwrap.dedent("""
        import os, threading
        main = threading.main_thread()
        found = []
        def look():
            pid = os.fork()
            if pid == 0:
                os._exit(threading.main_thread() is not threading.current_thread())
            found.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        same = threading.get_native_id() in (main.native_id, None)
        print(main is threading.current_thread(), main.ident == threading.get_ident(), same, found)
    """)
    assert both(pair, script)[0] == "True True True [0]\n"
