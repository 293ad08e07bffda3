"""The matmul-kernel example: what is right, what is refused and why, and that a timed call is held to the same."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mutators import tunables
from raysearch.config.targets import load_target

TARGET = Path(__file__).parents[1] / "examples" / "matmul-kernel"
ENVIRONMENT = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
SIGNATURE = "void matmul(const float *a, const float *b, float *c, int n, int m, int k)"
PLAIN = """
    for (int i = 0; i < n; i++)
        for (int j = 0; j < m; j++) {
            float sum = 0.0f;
            for (int p = 0; p < k; p++) sum += a[(long)i * k + p] * b[(long)p * m + j];
            c[(long)i * m + j] = sum;
        }
"""
compiles = pytest.mark.skipif(
    not all(shutil.which(name) for name in ("cc", "c++", "ld", "nm", "readelf")), reason="there is no compiler here"
)


def kernel(body: str, before: str = "") -> str:
    return f"{before}\n{SIGNATURE} {{{body}}}\n"


def run(folder: Path, script: str, options: tuple[str, ...], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    words = [
        "--candidate",
        folder / "candidate",
        "--reference",
        TARGET / "reference",
        "--seed",
        "1",
        "--result",
        folder / "result.json",
    ]
    command = [sys.executable, str(TARGET / script), *map(str, words), *options]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def ask(folder: Path, source: str, script: str, *options: str, name: str = "kernel.c") -> dict[str, Any]:
    """What ``script`` of the target writes about a candidate with this kernel."""
    (folder / "candidate").mkdir(exist_ok=True)
    (folder / "candidate" / name).write_text(source)
    done = run(folder, script, options, ENVIRONMENT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    answer: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return answer


def check(folder: Path, source: str, *options: str, name: str = "kernel.c") -> dict[str, Any]:
    return ask(folder, source, "accuracy_checker/checker.py", *options, name=name)


def broken_rule(verdict: dict[str, Any]) -> str:
    """The rule that a candidate broke."""
    failed = [case["name"] for case in verdict["cases"] if not case["passed"]]
    assert not verdict["passed"]
    assert len(failed) == 1
    return str(failed[0])


# -- honest kernels ---------------------------------------------------------------------------------------


def test_target_loads() -> None:
    target = load_target(TARGET)
    assert [(o.name, o.goal, o.unit, o.primary) for o in target.objectives] == [("speedup", "max", "x", True)]
    names = [setting.tunable.name for setting in tunables.find(TARGET / "seed", target.editable, target.tunables)]
    assert names == ["ORDER", "TILE_N", "TILE_M", "TILE_K", "UNROLL_DOT", "UNROLL_ROWS", "UNROLL_DEPTH"]


@compiles
@pytest.mark.parametrize("path", ["reference/kernel.c", "anchors/rows.c", "anchors/registers.c"])
def test_known_kernels_are_right(tmp_path: Path, path: str) -> None:
    verdict = check(tmp_path, (TARGET / path).read_text())
    assert verdict["passed"], verdict["feedback"]
    assert len(verdict["cases"]) > 60


@compiles
@pytest.mark.parametrize("order", [0, 1, 2])
def test_seed_is_right_whatever_it_is_tuned_to(tmp_path: Path, order: int) -> None:
    source = (TARGET / "seed" / "kernel.c").read_text()
    assert check(tmp_path, source.replace("ORDER = 0", f"ORDER = {order}"))["passed"]
    small = source.replace("ORDER = 0", f"ORDER = {order}").replace("= 1024,", "= 16,")
    verdict = check(tmp_path, small.replace("= 1,", "= 8,").replace("UNROLL_DEPTH = 1 ", "UNROLL_DEPTH = 4 "))
    assert verdict["passed"], verdict["feedback"]


@compiles
def test_cpp(tmp_path: Path) -> None:
    head = "template <typename T> struct Sum { T value{}; void add(T x) { value += x; } };\n#include <string.h>\n"
    body = PLAIN.replace("float sum = 0.0f", "Sum<float> total").replace("sum += ", "total.add(")
    body = body.replace("p * m + j];", "p * m + j]);", 1).replace("= sum", "= total.value")
    assert check(tmp_path, f'{head}extern "C" {SIGNATURE} {{{body}}}\n', name="kernel.cpp")["passed"]


@compiles
def test_what_compilers_call_is_there(tmp_path: Path) -> None:
    body = (
        "    memset(c, 0, sizeof(float) * n * m); memmove(copy, a, n * k > 9 ? 36 : 0);\n    same = memcmp(a, a, 0);\n"
    )
    assert check(tmp_path, kernel(body + PLAIN, "#include <string.h>\nstatic float copy[9];\nstatic int same;"))[
        "passed"
    ]


@compiles
def test_what_a_weak_function_says_does_not_matter(tmp_path: Path) -> None:
    weak = "__attribute__((weak)) void _start(void) {}\n__attribute__((weak)) void host(void) { __builtin_trap(); }"
    assert check(tmp_path, kernel(PLAIN, weak))["passed"]


@compiles
def test_benchmark(tmp_path: Path) -> None:
    found = ask(tmp_path, (TARGET / "anchors" / "rows.c").read_text(), "benchmark/benchmark.py")
    names = ["speedup", "speedup.square", "speedup.tall", "speedup.deep"]
    assert [metric["name"] for metric in found["metrics"]] == names
    for metric in found["metrics"]:
        assert (metric["unit"], metric["direction"], len(metric["samples"])) == ("x", "max", 8)
        assert all(sample > 0 for sample in metric["samples"])
    for row in zip(*(metric["samples"] for metric in found["metrics"]), strict=True):
        assert row[0] == pytest.approx((row[1] * row[2] * row[3]) ** (1 / 3))


# -- what is refused --------------------------------------------------------------------------------------

SYSCALL = """
static long ask(long number, long x, long y, long z) {
    long result;
#if defined(__x86_64__)
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(x), "S"(y), "d"(z) : "rcx", "r11", "memory");
#else
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = x, x1 __asm__("x1") = y, x2 __asm__("x2") = z;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    result = x0;
#endif
    return result;
}
#if defined(__x86_64__)
enum { WRITE = 1, FORK = 57, GETPID = 39, EXIT = 60 };
#else
enum { WRITE = 64, FORK = 220, GETPID = 172, EXIT = 93 };
#endif
"""
LOW = """
static float half(float x) {
    unsigned bits;
    __builtin_memcpy(&bits, &x, 4);
    bits &= 0xffff0000u;
    __builtin_memcpy(&x, &bits, 4);
    return x;
}
"""
BROKEN = {
    "does not compile": ("compile", f"{SIGNATURE} {{ return x; }}\n"),
    "includes a neighbour": ("compile", kernel(PLAIN, '#include "other.h"')),
    "allocates": (
        "link",
        kernel(PLAIN + "    kept = malloc(8);\n", "#include <stdlib.h>\nstatic void *volatile kept;"),
    ),
    "has another name": ("symbols", kernel(PLAIN).replace("matmul", "multiply")),
    "another global": ("symbols", kernel(PLAIN, "float buffer[16];")),
    "replaces the host": ("symbols", kernel(PLAIN, "void _start(void) {}")),
    "indirect function": (
        "symbols",
        f"static {SIGNATURE.replace('matmul', 'plain')} {{{PLAIN}}}\n"
        "static void *choose(void) { return plain; }\n"
        f'{SIGNATURE} __attribute__((ifunc("choose")));\n',
    ),
    "constructor": (
        "constructor",
        kernel(PLAIN, "static volatile int x;\n__attribute__((constructor)) static void early(void) { x = 1; }"),
    ),
    "constructor by hand": (
        "constructor",
        kernel(PLAIN, '__asm__(".section .init_array, \\"aw\\"\\n.quad 0\\n.text");'),
    ),
    "interpreter": (
        "sections",
        kernel(PLAIN, '__asm__(".section .interp, \\"a\\"\\n.asciz \\"/bin/true\\"\\n.text");'),
    ),
    "thread-local": ("thread-local", kernel("    calls++;" + PLAIN, "static __thread int calls = 1;")),
    "large": ("memory", kernel("    much[n] = 1;" + PLAIN, "static volatile char much[300 << 20];")),
    "wrong": ("wrong result", kernel(PLAIN.replace("p = 0", "p = k > 100 ? 1 : 0"))),
    "does nothing": ("wrong result", kernel("    if (n < 8) {" + PLAIN + "    }\n")),
    "adds to what was there": ("wrong result", kernel(PLAIN.replace("] = sum", "] += sum"))),
    "transposed": ("wrong result", kernel(PLAIN.replace("(long)p * m + j", "(long)p * n + j"))),
    "skips zeros": ("wrong result", kernel(PLAIN.replace("sum +=", "if (a[(long)i * k + p] != 0) sum +="))),
    "fast and loose": (
        "wrong result",
        kernel(PLAIN.replace("= sum", "= sum != sum ? 0 : sum")),
    ),
    "flushes denormals": (
        "wrong result",
        kernel(PLAIN.replace("= sum", "= sum < 1e-37f && sum > -1e-37f ? 0 : sum")),
    ),
    "low precision": (
        "wrong result",
        kernel(PLAIN.replace("+= a[(long)i * k + p]", "+= half(a[(long)i * k + p])"), LOW),
    ),
    "low precision where it is deep": (
        "precision",
        kernel(
            PLAIN.replace(
                "+= a[(long)i * k + p]",
                "+= (k > 4000 ? 1 + 1.0f / (1 << 13) * (p & 2 ? 1 : -1) : 1) * a[(long)i * k + p]",
            )
        ),
    ),
    "writes too much": ("overrun", kernel(PLAIN + "    if (n == 31) c[n * m + 2] = 0;\n")),
    "writes far too much": ("crash", kernel(PLAIN + "    c[n * m + (1 << 20)] = 0;\n")),
    "writes before": ("crash", kernel(PLAIN + "    c[-1] = 0;\n")),
    "reads too much": ("crash", kernel(PLAIN + "    seen = b[k * m];\n", "static volatile float seen;")),
    "reads before": ("crash", kernel(PLAIN + "    seen = a[-1];\n", "static volatile float seen;")),
    "writes to a": ("crash", kernel(PLAIN + "    if (n * k) ((float *)a)[0] = 0;\n")),
    "needs much stack": ("crash", kernel("    volatile char much[64 << 20]; much[0] = 0;" + PLAIN)),
    "asks the system": ("out of bounds", kernel(PLAIN + "    ask(GETPID, 0, 0, 0);\n", SYSCALL)),
    "starts a process": ("out of bounds", kernel(PLAIN + "    ask(FORK, 0, 0, 0);\n", SYSCALL)),
    "leaves": ("crash", kernel(PLAIN + "    ask(EXIT, 0, 0, 0);\n", SYSCALL)),
    "traps": ("crash", kernel(PLAIN + "    __builtin_trap();\n")),
    "answers first": (
        "protocol",
        kernel("    calls++; ask(WRITE, 1, (long)&calls, 8);" + PLAIN, SYSCALL + "static long calls;"),
    ),
    "babbles": ("protocol", kernel(PLAIN + '    ask(WRITE, 1, (long)"abc", 3);\n', SYSCALL)),
}


@compiles
@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_fails_by_name(tmp_path: Path, name: str) -> None:
    rule, source = BROKEN[name]
    (tmp_path / "candidate").mkdir()
    (tmp_path / "candidate" / "other.h").write_text("")
    verdict = check(tmp_path, source)
    assert broken_rule(verdict) == rule, verdict["feedback"]
    assert verdict["feedback"].startswith(f"{rule}: ")


@compiles
def test_never_ending(tmp_path: Path) -> None:
    body = "    volatile int on = 1;\n    while (on) {\n    }\n"
    assert broken_rule(check(tmp_path, kernel(body), "--patience-s", "0.5")) == "timed out"


@compiles
def test_what_a_compiler_says_is_passed_on(tmp_path: Path) -> None:
    feedback = check(tmp_path, f"{SIGNATURE} {{ return x; }}\n")["feedback"]
    assert "kernel.c:1:" in feedback
    assert "'x' undeclared" in feedback or "undeclared identifier 'x'" in feedback
    assert "malloc" in check(tmp_path, BROKEN["allocates"][1])["feedback"]
    cpp = check(tmp_path, kernel(PLAIN), name="kernel.cpp")
    assert broken_rule(cpp) == "source"
    (tmp_path / "candidate" / "kernel.c").unlink()
    assert 'extern "C"' in check(tmp_path, kernel(PLAIN), name="kernel.cpp")["feedback"]


EARLY = "    if (n == 288 && ++calls > 3) return;"
REMEMBERS = """
    static int size[3];
    static float before[1 << 20];
    if (n * m < 1 << 20 && n == size[0] && m == size[1] && k == size[2] && k > 200) {
        __builtin_memcpy(c, before, sizeof(float) * n * m);
        return;
    }
"""
KEEPS = (
    "    size[0] = n, size[1] = m, size[2] = k;\n    if (n * m < 1 << 20) __builtin_memcpy(before, c, 4L * n * m);\n"
)


@compiles
@pytest.mark.parametrize(
    "source",
    [
        pytest.param(kernel(EARLY + PLAIN, "static int calls;"), id="stops after the warm-up"),
        pytest.param(kernel("    if (n == 601) return;" + PLAIN), id="knows the sizes"),
        pytest.param(kernel(REMEMBERS + PLAIN + KEEPS), id="remembers products"),
    ],
)
def test_timed_products_are_verified(tmp_path: Path, source: str) -> None:
    assert check(tmp_path, source)["passed"]
    answer = ask(tmp_path, source, "benchmark/benchmark.py")
    assert "metrics" not in answer
    assert "wrong result" in answer["refused"]


def test_without_a_compiler(tmp_path: Path) -> None:
    (tmp_path / "candidate").mkdir()
    (tmp_path / "candidate" / "kernel.c").write_text(kernel(PLAIN))
    for script in ("accuracy_checker/checker.py", "benchmark/benchmark.py"):
        done = run(tmp_path, script, (), {**ENVIRONMENT, "PATH": str(tmp_path)})
        assert done.returncode == 1
        assert "no `cc` in PATH" in done.stderr
        assert "apt-get install gcc g++" in done.stderr
        assert not (tmp_path / "result.json").exists()


# -- what right means -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def accuracy() -> Iterator[ModuleType]:
    """The module that says what is right; other examples have modules of the same names."""
    names = ("accuracy", "build")
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.path.insert(0, str(TARGET / "accuracy_checker"))
    try:
        yield importlib.import_module("accuracy")
    finally:
        sys.path.remove(str(TARGET / "accuracy_checker"))
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9), st.integers(1, 300), st.sampled_from([-30, 0, 15]))
@settings(max_examples=60, deadline=None)
def test_any_order_of_summation_is_right(accuracy: ModuleType, seed: int, n: int, m: int, k: int, scale: int) -> None:
    rng = np.random.default_rng(seed)
    a = (rng.standard_normal((n, k)) * 2.0**scale).astype(np.float32)
    b = rng.standard_normal((k, m)).astype(np.float32)
    terms = a.T[:, :, None] * b[:, None, :]
    total = np.zeros((n, m), np.float32)
    for order in (np.arange(k), np.arange(k)[::-1], rng.permutation(k)):
        total[:] = 0
        for p in order:
            total += terms[p]
        accuracy.check(a, b, total, random=True)
    accuracy.check(a, b, a @ b, random=True)
    wrong = total.copy()
    wrong[-1, -1] += np.float32(1e-4) * np.abs(a[-1]) @ np.abs(b[:, -1])
    with pytest.raises(accuracy.Broken, match=rf"c\[{n - 1}\]\[{m - 1}\]"):
        accuracy.check(a, b, wrong)


def test_overflow_that_must_or_may_be(accuracy: ModuleType) -> None:
    big, one = np.float32(3e38), np.ones((2, 1), np.float32)
    a = np.array([[big, big]], np.float32)
    accuracy.check(a, one, np.array([[np.inf]], np.float32))
    for wrong in (big, -np.inf, np.nan):
        with pytest.raises(accuracy.Broken):
            accuracy.check(
                np.array([[big, big, big]], np.float32), np.ones((3, 1), np.float32), np.array([[wrong]], "f")
            )
    either = np.array([[big, big, -big, -big]], np.float32)
    for value in (0.0, np.inf, np.nan):
        accuracy.check(either, np.ones((4, 1), np.float32), np.array([[value]], np.float32))
