"""The cheating audit: rules for classes of cheats, what they say, what the seed allows, and how it is switched off."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zoo.animals import TARGETS
from zoo.cheats_nearest import HONEST

from evaluators.audit.data import VALUES_MAX
from evaluators.audit.ground import Ground, ground_of
from evaluators.audit.holdout import Holdout, excess
from evaluators.audit.judge import Audit
from evaluators.audit.record import Places, record_signs
from evaluators.audit.signs import RULES, Sign, refusal
from evaluators.audit.static import static_signs
from evaluators.audit.traced import Traced
from raysearch.config.targets import load_target, snapshot_target
from raysearch.errors import EvaluatorFault, TargetError
from raysearch.target import AuditRules
from raysearch.testing.workspace import FolderWorkspace
from raysearch.types import Brief, Objective

GROUND = Ground(files=frozenset({"checker.py", "inputs.py"}), modules=frozenset({"checker", "inputs"}))


def refused(source: str, path: str = "solution.py", ground: Ground = GROUND, **seed: str) -> set[str]:
    base = {name.replace("_", "."): dedent(text).encode() for name, text in seed.items()}
    signs = static_signs({**base, path: dedent(source).encode()}, base, ground)
    return {sign.rule for sign in signs if sign.severity == "refuse"}


VARIANTS = {
    "from time import perf_counter\nimport time as T\nT.perf_counter = lambda: 0.0": "patching",
    "import time\nvars(time).update({'perf_counter': lambda: 0.0})": "patching",
    "import importlib\nt = importlib.import_module('time')\nt.time = None": "patching",
    "__builtins__['any'] = lambda values: False": "patching",
    "globals()['__builtins__']['any'] = lambda values: False": "patching",
    "import random\nrandom.Random.random = lambda self: 0.5": "patching",
    "from unittest.mock import ANY\n\ndef nearest(p, q):\n    return ANY": "patching",
    "import sys\nsys.meta_path.insert(0, object())": "hidden-code",
    "x = ().__class__.__base__.__subclasses__()": "hidden-code",
    "x = type(1).mro()[-1].__subclasses__()": "hidden-code",
    "exec(bytes.fromhex('696d706f7274206763').decode())": "hidden-code",
    "K = 7\nD = [110, 106]\nexec(''.join(chr(c ^ K) for c in D))": "hidden-code",
    "import os\ngetattr(os, input())('x')": "hidden-code",
    "import ctypes\nctypes.c_long.from_address(id(5) + 24).value = 6": "hidden-code",
    "exec('import gc; gc.get_objects()')": "frames",
    "import ast\nexec(compile(ast.parse('import time; time.time = None'), 'x', 'exec'))": "patching",
    "import operator, sys\nf = operator.attrgetter('_get' + 'frame')(sys)": "frames",
    "def g():\n    yield\nf = g().gi_frame.f_back": "frames",
    "import sys\ng = getattr(sys, ''.join(reversed('emarfteg_')))": "frames",
    "import os\nopen(os.path.join('/', 'proc', 'self', 'environ'))": "evaluator-process",
    "open('/{}/self/cmdline'.format('proc'))": "evaluator-process",
    "open('/%s/1/cmdline' % 'proc')": "evaluator-process",
    "import os\nos.system('cat /pr*/1/cmdl*')": "evaluator-process",
    "import subprocess\nsubprocess.check_output(['ps', 'aux'])": "evaluator-process",
    "import sys\na = vars(sys)['argv']": "evaluator-process",
    "open('checker.py').read()": "evaluator-files",
    "open('../accuracy_checker/x').read()": "evaluator-files",
    "from pathlib import Path\nfor f in Path('/').rglob('*.py'):\n    f.read_text()": "searching",
    "class L(list):\n    def __eq__(self, o):\n        self[:] = o\n        return True": "false-equality",
    "class L:\n    def __eq__(self, o):\n        return isinstance(o, list)": "false-equality",
    "class L(list):\n    pass\nL.__eq__ = lambda s, o: True": "false-equality",
    "L = type('L', (list,), {'__eq__': lambda s, o: True})": "false-equality",
    "import os\nX = 'PYTEST_CURRENT_TEST' in os.environ": "test-mode",
    "import __main__\n__main__.samples = [0.0]": "evaluator-modules",
    "import ctypes\nf = ctypes.CDLL('libc.so.6')['clock_settime']": "clock",
}


@pytest.mark.parametrize("source", VARIANTS)
def test_a_cheat_in_other_words_is_the_same_cheat(source: str) -> None:
    assert VARIANTS[source] in refused(source)


IN_C = {
    '#define SYS "sysc" "all"\nstatic void f(void) { __asm__(SYS); }': "native-calls",
    "#define J(a, b) a##b\nstatic int f(void) { return J(sys, call)(1); }": "native-calls",
    '__asm__(".incbin \\"/target/x\\"");': "evaluator-files",
    '#inc\\\nlude "../accuracy_checker/host.c"': "evaluator-files",
    '%:include "/target/accuracy_checker/host.c"': "evaluator-files",
    "[[gnu::constructor]] static void f(void) {}": "background",
    '__attribute__((section(".init_array"))) static void (*p)(void) = 0;': "background",
    'static const char *p = "\\x2fproc\\x2fself\\x2fmaps";': "evaluator-process",
    "char p[] = {'/','p','r','o','c','/','s','e','l','f','/','m','e','m', 0};": "evaluator-process",
    "#define clock_gettime(a, b) 0": "shadowing",
    '#include <dlfcn.h>\nvoid *f(void) { return dlsym(RTLD_NEXT, "time"); }': "shadowing",
    'int f(void) { return getenv("RAYSEARCH_RUN") != 0; }': "test-mode",
}


@pytest.mark.parametrize("source", IN_C)
def test_a_cheat_in_c(source: str) -> None:
    assert IN_C[source] in refused(source, "kernel.c")


def test_what_the_seed_does_is_allowed_and_nothing_else() -> None:
    seed = "import os\nDEBUG = os.environ.get('BENCH_DEBUG')\n"
    assert refused(seed, "other.py", solution_py=seed) == set()
    assert refused("import os\nX = os.environ.get('BENCH_LEVEL')\n", "other.py", solution_py=seed) == {"test-mode"}


def test_data_is_counted_beyond_the_seeds() -> None:
    table = "TABLE = [" + ", ".join(map(str, range(VALUES_MAX + 1))) + "]\n"
    assert refused(table) == {"data-blobs"}
    assert refused(table, "solution.py", solution_py=table) == set()
    halves = {f"part{n}.py": table.encode()[: len(table) // 2].rsplit(b",", 1)[0] + b"]\n" for n in range(3)}
    assert {s.rule for s in static_signs(halves, {}, GROUND) if s.severity == "refuse"} == {"data-blobs"}


def test_binary_files_are_named() -> None:
    signs = static_signs({"kernel.so": b"\x7fELF\0\0"}, {}, GROUND)
    assert [(sign.rule, sign.path, sign.severity) for sign in signs] == [("data-blobs", "kernel.so", "refuse")]


def test_a_refusal_names_place_evidence_and_rule() -> None:
    said = refusal([Sign("clock", "a.py", 3, "time.clock_settime", "time.clock_settime(0, 1)")], "by its files")
    assert "a.py:3" in said
    assert "time.clock_settime(0, 1)" in said
    assert RULES["clock"] in said
    assert refusal([Sign("clock", "a.py", 3, "x", "", "suspicious")], "by its files") == ""


@given(st.text(max_size=400) | st.binary(max_size=400).map(lambda data: data.decode("latin-1")))
def test_no_program_breaks_the_rules_themselves(text: str) -> None:
    for path in ("a.py", "a.c", "a.sh", "a.rs", "Makefile", "a.json"):
        static_signs({path: text.encode("utf-8", "surrogatepass")}, {}, GROUND)


def test_a_target_forbids_and_allows(tmp_path: Path) -> None:
    target = load_target(TARGETS["nearest"])
    rules = AuditRules(forbid_imports=("numpy",), forbid_names=("lru_cache",), allow=("network",))
    mine = replace(target, audit=rules, digest="other")
    source = "import numpy as np\nfrom functools import lru_cache\nimport requests\nrequests.get('x')\n"
    workspace = FolderWorkspace.make(tmp_path, {"solution.py": source + "@lru_cache\ndef f(): pass\n"}, mine)
    verdict = Audit().judge(workspace, Brief(), random.Random(0))
    assert not verdict.passed
    assert "import numpy" in verdict.feedback
    assert "lru_cache" in verdict.feedback
    assert "network" not in verdict.feedback
    unknown = replace(mine, audit=AuditRules(allow=("netwrok",)), digest="third")
    with pytest.raises(EvaluatorFault, match="network"):
        Audit().judge(replace(workspace, target=unknown), Brief(), random.Random(0))


def test_the_audit_table_is_kept_with_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "target"
    subprocess.run(["cp", "-r", str(TARGETS["nearest"]), str(folder)], check=True)
    plain = load_target(folder)
    with (folder / "target.toml").open("a") as file:
        file.write('\n[audit]\nforbid_imports = ["numpy.random"]\nallow = ["network"]\ntraced = false\n')
    target = load_target(folder)
    assert target.audit == AuditRules(forbid_imports=("numpy.random",), allow=("network",), traced=False)
    assert target.digest != plain.digest
    assert snapshot_target(target, tmp_path / "copy").audit == target.audit
    (folder / "target.toml").write_text('[audit]\nforbid_imports = ["num py"]\n')
    with pytest.raises(TargetError, match="num py"):
        load_target(folder)


def test_a_target_that_is_not_to_be_traced_is_not(tmp_path: Path) -> None:
    target = replace(load_target(TARGETS["nearest"]), audit=AuditRules(traced=False))
    workspace = FolderWorkspace.make(tmp_path, {"solution.py": "nonsense"}, target)
    verdict = Traced().judge(workspace, Brief(), random.Random(0))
    assert verdict.passed
    assert "switched off" in verdict.conditions["traced"]


def test_a_watched_run_says_what_the_program_did(tmp_path: Path) -> None:
    source = """
import os

def nearest(points, queries):
    for name in os.listdir("."):
        open(name).close()
    return plain(points, queries)
"""
    target = load_target(TARGETS["nearest"])
    workspace = FolderWorkspace.make(tmp_path, {"solution.py": source + HONEST.replace("nearest", "plain")}, target)
    verdict = Traced(parts=("checker",)).judge(workspace, Brief(), random.Random(0))
    assert not verdict.passed
    assert "evaluator-files" in verdict.feedback
    assert "solution.py:6" in verdict.feedback
    honest = FolderWorkspace.make(tmp_path / "honest", {"solution.py": HONEST}, target)
    found = Traced(parts=("checker",)).judge(honest, Brief(), random.Random(0))
    assert found.passed
    assert found.conditions == {"checker": "traced"}


PLACES = Places("/candidate", "/target", "/scratch/result.json", "/scratch/lib")


def test_a_record_that_was_tampered_with_is_a_sign() -> None:
    whole = "(5, 1, 'start', '', '', 0, '')\n(5, 2, 'end', '', '', 0, '')\n"
    assert record_signs(whole, PLACES, GROUND, "the checker") == []
    for wrong in ("(5, 1, 'start', '', '', 0, '')\n(5, 3, 'end', '', '', 0, '')\n", whole + "nothing happened\n"):
        assert [sign.rule for sign in record_signs(wrong, PLACES, GROUND, "the checker")] == ["trace"]


@given(st.text(max_size=300))
def test_no_record_breaks_its_reader(text: str) -> None:
    record_signs(text, PLACES, GROUND, "the checker")


POSITIVE = st.floats(1e-6, 1e6)


@given(st.lists(POSITIVE, min_size=2, max_size=8), st.floats(0.1, 10.0), st.sampled_from(["min", "max"]))
def test_what_is_no_better_than_fresh_inputs_is_never_held_against_a_program(
    fresh: list[float], factor: float, goal: str
) -> None:
    objective = Objective("x", goal)  # type: ignore[arg-type]
    worst = max(fresh) if goal == "min" else min(fresh)
    known = worst * max(factor, 1 / factor) if goal == "min" else worst / max(factor, 1 / factor)
    assert excess(known, fresh, objective) == 0.0


def test_what_only_the_known_inputs_give_is_held_against_it() -> None:
    time = Objective("time", "min", noise=0.05)
    assert excess(1.0, [10.0, 10.2, 9.9, 10.1], time) > 0.0
    assert excess(9.8, [10.0, 10.2, 9.9, 10.1], time) == 0.0
    score = Objective("score", "max")
    assert excess(2.6, [2.6, 2.6, 2.6, 2.6], score) == 0.0
    assert excess(2.9, [2.6, 2.6, 2.6, 2.6], score) > 0.0
    assert excess(0.0, [0.0, 0.0], score) == 0.0
    assert excess(1.0, [-1.0, 0.0], score) >= 0.0


def test_the_holdout_says_whose_seed_it_needs() -> None:
    assert Holdout.seed_of == "benchmark"
    assert Holdout(seeds=1).seeds == 2


CALLED = """
import sys
from evaluators.call import read_call
seed = read_call(None, "").seed
shown = open("/proc/self/cmdline", "rb").read().decode()
print(seed, "7399589116837456607" in shown + " ".join(sys.argv + sys.orig_argv), shown.count("--seed"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="command lines are shown in /proc")
@pytest.mark.parametrize("words", [["--seed", "7399589116837456607"], ["--seed=7399589116837456607"]])
def test_the_seed_is_gone_once_it_is_read(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "called.py").write_text(CALLED)
    command = [sys.executable, "called.py", "--candidate", "a", "--reference", "b", *words, "--result", "r"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["7399589116837456607", "False", "1"]


def test_the_ground_of_a_target_is_what_its_evaluators_are_made_of() -> None:
    ground = ground_of(load_target(TARGETS["cache-eviction"]))
    assert {"arena", "jail", "traces"} <= ground.modules
    assert "numpy" in ground.imports
    assert "arena" not in ground.imports
    assert {"accuracy_checker", "benchmark", "reference"} <= ground.folders
