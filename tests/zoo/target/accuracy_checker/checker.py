"""Does the program answer as the reference does?"""

import argparse
import importlib.util
import json
from pathlib import Path

from inputs import inputs


def load(folder):
    spec = importlib.util.spec_from_file_location("solution", Path(folder) / "solution.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


parser = argparse.ArgumentParser()
for name in ("candidate", "reference", "seed", "result"):
    parser.add_argument(f"--{name}", required=True)
given = parser.parse_args()
reference, candidate = load(given.reference).nearest, load(given.candidate).nearest
wrong = ""
for points, queries in [([(0.0, 0.0)], []), *inputs(int(given.seed), 8, 40, 30)]:
    expected, answer = reference(points, queries), candidate(list(points), list(queries))
    if not answer == expected:
        wrong = f"for {len(points)} points it answered {answer!r:.80}, not {expected!r:.80}"
        break
verdict = {"schema": "raysearch.verdict/1", "passed": not wrong, "feedback": wrong}
Path(given.result).write_text(json.dumps(verdict))
