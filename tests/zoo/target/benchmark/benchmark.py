"""How long does a call take?"""

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "accuracy_checker"))

from inputs import inputs

parser = argparse.ArgumentParser()
for name in ("candidate", "reference", "seed", "result"):
    parser.add_argument(f"--{name}", required=True)
given = parser.parse_args()
sys.path.insert(0, given.candidate)
import solution

samples, repeated, refused = [], [], ""
for points, queries in inputs(int(given.seed), 7, 200, 60):
    began = time.perf_counter()
    answer = solution.nearest(points, queries)
    samples.append(1000 * (time.perf_counter() - began))
    began = time.perf_counter()
    solution.nearest(points, queries)
    repeated.append(1000 * (time.perf_counter() - began))
    for (x, y), number in zip(queries, answer):
        mine = (x - points[number][0]) ** 2 + (y - points[number][1]) ** 2
        if any((x - u) ** 2 + (y - v) ** 2 < mine for u, v in points):
            refused = "an answer was not the nearest point"
result = {"schema": "raysearch.metrics/1", "refused": refused}
if not refused:
    kinds = {"time_ms": samples, "time_ms.repeated": repeated}
    metrics = [{"name": n, "unit": "ms", "direction": "min", "samples": s[2:]} for n, s in kinds.items()]
    result = {"schema": "raysearch.metrics/1", "metrics": metrics}
Path(given.result).write_text(json.dumps(result))
