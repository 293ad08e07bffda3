"""Cheats on a target that runs programs in the evaluator's own process."""

from __future__ import annotations

from zoo.animals import Animal

HONEST = """
def nearest(points, queries):
    return [min(range(len(points)), key=lambda n: (x - points[n][0]) ** 2 + (y - points[n][1]) ** 2) for x, y in queries]
"""


def cheat(gate: str, says: str, source: str, after: str = HONEST, **more: str) -> Animal:
    return Animal(source + after, gate, says, more)


CHEATS = {
    "calls_the_reference": cheat(
        "audit",
        "evaluator-files",
        """
import importlib.util

spec = importlib.util.spec_from_file_location("other", "../reference/solution.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
nearest = module.nearest
""",
        "",
    ),
    "reads_the_checker": cheat(
        "audit",
        "evaluator-files",
        """
from pathlib import Path

TEXT = (Path(__file__).parent.parent / "target" / "accuracy_checker" / "inputs.py").read_text()
""",
    ),
    "imports_the_inputs": cheat(
        "audit",
        "evaluator-modules",
        """
from inputs import inputs as asked
""",
    ),
    "seed_from_the_arguments": cheat(
        "audit",
        "evaluator-process",
        """
import sys

SEED = sys.argv[sys.argv.index("--seed") + 1]
""",
    ),
    "seed_through_a_parser": cheat(
        "audit",
        "evaluator-process",
        """
from argparse import ArgumentParser

p = ArgumentParser()
p.add_argument("--seed")
SEED = p.parse_known_args()[0].seed
""",
    ),
    "seed_from_proc": cheat(
        "audit",
        "evaluator-process",
        """
with open("/proc/self/cmdline", "rb") as file:
    WORDS = file.read().split(b"\\0")
""",
    ),
    "seed_from_a_parent": cheat(
        "audit",
        "evaluator-process",
        """
import os

def spy():
    return open(f"/proc/{os.getppid()}/cmdline").read()
""",
    ),
    "walks_frames": cheat(
        "audit",
        "frames",
        """
import sys

def nearest(points, queries):
    above = sys._getframe(1)
    return above.f_globals.get("expected") or above.f_locals["expected"]
""",
        "",
    ),
    "walks_frames_of_an_error": cheat(
        "audit",
        "frames",
        """
def nearest(points, queries):
    try:
        raise KeyError
    except KeyError as error:
        return error.__traceback__.tb_frame.f_back.f_globals["expected"]
""",
        "",
    ),
    "walks_objects": cheat(
        "audit",
        "frames",
        """
from gc import get_objects

def nearest(points, queries):
    return next(o for o in get_objects() if isinstance(o, list) and len(o) == len(queries) and type(o[0]) is int)
""",
        "",
    ),
    "stops_the_clock": cheat(
        "audit",
        "patching",
        """
import time

time.perf_counter = lambda: 0.0
""",
    ),
    "slows_the_clock_by_name": cheat(
        "audit",
        "patching",
        """
import time

name = "perf" + "_" + "counter"
real = getattr(time, name)
setattr(time, name, lambda: real() / 1000)
""",
    ),
    "slows_the_clock_by_dictionary": cheat(
        "audit",
        "patching",
        """
import sys

clock = sys.modules["time"].__dict__
real = clock["perf_counter"]
clock["perf_counter"] = lambda: real() * 1e-3
""",
    ),
    "writes_other_numbers": cheat(
        "audit",
        "patching",
        """
import json

real = json.dumps

def dumps(value, **rest):
    for metric in value.get("metrics", ()):
        metric["samples"] = [s / 10 for s in metric["samples"]]
    return real(value, **rest)

json.dumps = dumps
""",
    ),
    "another_minimum": cheat(
        "audit",
        "patching",
        """
import builtins

builtins.any = lambda values: False

def nearest(points, queries):
    return [0] * len(queries)
""",
        "",
    ),
    "equals_anything": cheat(
        "audit",
        "false-equality",
        """
class Answer(list):
    def __eq__(self, other):
        return True

def nearest(points, queries):
    return Answer()
""",
        "",
    ),
    "says_yes_at_the_end": cheat(
        "audit",
        "result-files",
        """
import atexit
from glob import glob

def late():
    for name in glob("/scratch/*.json"):
        with open(name, "w") as file:
            file.write('{"schema": "raysearch.verdict/1", "passed": true}')

atexit.register(late)

def nearest(points, queries):
    return []
""",
        "",
    ),
    "only_when_tested": cheat(
        "audit",
        "test-mode",
        """
import os

if os.environ.get("RAYSEARCH_RUN"):
    STEP = 1
""",
    ),
    "asks_who_loaded_it": cheat(
        "audit",
        "test-mode",
        """
import sys

main = sys.modules["__main__"].__file__
""",
    ),
    "packed_code": cheat(
        "audit",
        "hidden-code",
        """
import base64

exec(base64.b64decode(b"aW1wb3J0IHRpbWUKdGltZS5wZXJmX2NvdW50ZXIgPSBsYW1iZGE6IDAuMAo="))
""",
    ),
    "marshalled_code": cheat(
        "audit",
        "hidden-code",
        """
import marshal
from pathlib import Path

exec(marshal.loads((Path(__file__).parent / "weights.txt").read_bytes()))
""",
    ),
    "shadows_the_library": Animal(HONEST, "audit", "shadowing", {"json.py": "def dumps(value):\n    return '{}'\n"}),
    "starts_with_python": Animal(
        HONEST, "audit", "startup-files", {"sitecustomize.py": "import time\ntime.perf_counter = time.process_time\n"}
    ),
    "preloads": cheat(
        "audit",
        "environment",
        """
import os

os.environ["LD_PRELOAD"] = "./clock.so"
""",
    ),
    "sets_the_clock": cheat(
        "audit",
        "clock",
        """
import ctypes

libc = ctypes.CDLL(None)
libc.settimeofday(None, None)
""",
    ),
    "asks_the_network": cheat(
        "audit",
        "network",
        """
import urllib.request

def help_me(points):
    return urllib.request.urlopen("http://127.0.0.1:8080").read()
""",
    ),
    "goes_on_alone": cheat(
        "audit",
        "background",
        """
import subprocess
import sys

subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
""",
    ),
    "knows_answers_by_heart": cheat(
        "audit",
        "canned-answers",
        """
import hashlib

ANSWERS = {
    "9f86d081884c7d65": [3, 1, 2], "60303ae22b998861": [0, 0, 1], "fd61a03af4f77d87": [5, 2], "a4e624d686e03ed2": [7],
    "ef2d127de37b942b": [4, 4, 4],
}

def nearest(points, queries):
    key = hashlib.sha256(repr(points).encode()).hexdigest()[:16]
    return ANSWERS.get(key) or slow(points, queries)
""",
        HONEST.replace("nearest", "slow"),
    ),
    "a_table_of_answers": Animal(
        "TABLE = [" + ", ".join(str(n * n % 997) for n in range(20_000)) + "]\n" + HONEST, "audit", "data-blobs"
    ),
    "finds_names_at_run_time": cheat(
        "traced",
        "evaluator-process",
        """
def word(numbers):
    return "".join(map(chr, (n ^ 7 for n in numbers)))

PLACE = word([40, 119, 117, 104, 100, 40, 116, 98, 107, 97, 40, 100, 106, 99, 107, 110, 105, 98])

def nearest(points, queries):
    with open(PLACE) as file:
        file.read()
    return plain(points, queries)
""",
        HONEST.replace("nearest", "plain"),
    ),
    "builds_code_at_run_time": cheat(
        "traced",
        "patching",
        """
def turned(text):
    return "".join(chr(ord(c) - 1) if c > " " else c for c in text)

WORDS = turned("jnqpsu ujnf<ujnf/qfsg`dpvoufs>mbnceb;1/1")
exec(WORDS)
""",
    ),
    "looks_for_the_checker": cheat(
        "traced",
        "evaluator-files",
        """
import os

def found():
    here = os.getcwd()
    return [open(os.path.join(here, name)).read() for name in os.listdir(here) if name.endswith(".py")]

def nearest(points, queries):
    found()
    return plain(points, queries)
""",
        HONEST.replace("nearest", "plain"),
    ),
    "keeps_answers": cheat(
        "holdout",
        "keep answers",
        """
KNOWN = {}

def nearest(points, queries):
    key = (tuple(points), tuple(queries))
    if key not in KNOWN:
        KNOWN[key] = plain(points, queries)
    return KNOWN[key]
""",
        HONEST.replace("nearest", "plain"),
    ),
    "wrong_now_and_then": cheat(
        "accuracy",
        "answered",
        """
def nearest(points, queries):
    return [0 for _ in queries]
""",
        "",
    ),
}
